"""Tests of `smsbridge.install` and of ``smsbridge install-service``."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from smsbridge import install
from smsbridge.cli import main
from smsbridge.install import Installer, InstallError, Run

ROOT = Path(__file__).parent.parent


class InstallTestCase(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        """Make an empty system."""
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.installer = Installer(self.root, Path("/usr/bin/twistd"), self.run_nothing)
        self.units = self.root / "etc/systemd/system"
        self.configs = self.root / "etc/smsbridge"

    def run_nothing(self, command: Sequence[str]) -> tuple[int, str]:
        """Fail: below a folder nothing is run."""
        raise AssertionError(command)

    def install(self, name: str = "", **how: bool) -> list[str]:
        """Install; returns the steps."""
        steps = self.installer.install(name, **how)
        self.installer.carry_out(steps, lambda said: None)
        return [str(step).replace(str(self.root), "") for step in steps]


class InstallTests(InstallTestCase):
    """Installing."""

    def test_writes_unit_user_and_configuration(self) -> None:
        """A first installation has everything that the service needs."""
        self.assertEqual(
            self.install(),
            [
                "write /etc/sysusers.d/smsbridge.conf",
                "write /etc/smsbridge/smsbridge.ini",
                "write /etc/systemd/system/smsbridge.service",
            ],
        )
        config = configparser.ConfigParser()
        config.read(self.configs / "smsbridge.ini")
        self.assertEqual(config["smsbridge"]["state"], "/var/lib/smsbridge")
        self.assertEqual((self.configs / "smsbridge.ini").stat().st_mode & 0o777, 0o640)

    def test_named_instances_share_a_template(self) -> None:
        """Every name has a configuration and messages of its own, and one unit file serves all."""
        self.install("office")
        again = self.install("shop")

        self.assertEqual(again, ["write /etc/smsbridge/shop.ini"])
        self.assertEqual([each.name for each in self.units.iterdir()], ["smsbridge@.service"])
        self.assertIn("state = /var/lib/smsbridge/shop", (self.configs / "shop.ini").read_text())
        text = (self.units / "smsbridge@.service").read_text()
        self.assertIn("--config /etc/smsbridge/%i.ini", text)
        self.assertIn("StateDirectory=smsbridge/%i", text)

    def test_again_changes_nothing(self) -> None:
        """What is as it should be is not written again."""
        self.install("office")

        self.assertEqual(self.install("office"), [])

    def test_configuration_is_never_overwritten(self) -> None:
        """What the operator wrote stays."""
        self.configs.mkdir(parents=True)
        (self.configs / "office.ini").write_text("mine")

        self.install("office")

        self.assertEqual((self.configs / "office.ini").read_text(), "mine")

    def test_older_unit_is_replaced(self) -> None:
        """A file that an older version wrote is brought up to date without asking."""
        old = install.unit("", Path("/opt/old/twistd"))
        self.units.mkdir(parents=True)
        (self.units / "smsbridge.service").write_text(old)

        self.assertIn("write /etc/systemd/system/smsbridge.service", self.install())
        self.assertIn("/usr/bin/twistd", (self.units / "smsbridge.service").read_text())

    def test_unit_changed_by_hand_is_left_alone(self) -> None:
        """The operator is told where changes belong, and nothing is done."""
        self.install()
        path = self.units / "smsbridge.service"
        path.write_text(path.read_text().replace("RestartSec=5", "RestartSec=50"))

        with self.assertRaisesRegex(InstallError, "systemctl edit smsbridge"):
            self.install()

        self.assertIn("RestartSec=50", path.read_text())

    def test_unit_changed_by_hand_is_kept_aside_on_demand(self) -> None:
        """When it is to be replaced, the old one is kept."""
        self.install()
        path = self.units / "smsbridge.service"
        path.write_text("mine\n")

        self.install(replace=True)

        self.assertEqual(path.with_name("smsbridge.service.bak").read_text(), "mine\n")
        self.assertIn("RestartSec=5\n", path.read_text())

    def test_names_that_cannot_be(self) -> None:
        """A name that systemd or the file system would misread is refused."""
        for name in ("../x", "a b", "-x", "a@b", "a%i", "x" * 65, "smsbridge"):
            with self.assertRaises(InstallError, msg=name):
                self.installer.install(name)

    def test_failure_says_what_and_why(self) -> None:
        """A folder that cannot be written ends it with a sentence."""
        (self.root / "etc").write_text("in the way")

        with self.assertRaisesRegex(InstallError, "Could not write"):
            self.install()


class LiveTests(SynchronousTestCase):
    """What is run on a real system, without doing it."""

    def steps(self, name: str, **how: bool) -> list[str]:
        """Return the commands of an installation."""
        installer = Installer(Path("/"), Path(sys.executable), lambda command: (0, ""))
        installer._twistd = Path("/usr/bin/env")
        return [str(each) for each in installer.install(name, **how) if isinstance(each, Run)]

    def test_user_is_made_and_service_enabled(self) -> None:
        """The user exists before the configuration is given to its group."""
        self.assertEqual(
            self.steps("office"),
            [
                "systemd-sysusers /etc/sysusers.d/smsbridge.conf",
                "chgrp smsbridge /etc/smsbridge/office.ini",
                "systemctl daemon-reload",
                "systemctl enable smsbridge@office",
            ],
        )

    def test_start_on_demand(self) -> None:
        """With --now it is started, too."""
        self.assertIn("systemctl enable --now smsbridge", self.steps("", start=True))

    def test_program_out_of_the_users_reach_is_refused(self) -> None:
        """A program in /root cannot be started by the service's user."""
        for twistd, word in (("/nope/twistd", "no /nope/twistd"), ("/root/", "/opt/smsbridge")):
            installer = Installer(Path("/"), Path(twistd), lambda command: (0, ""))
            with self.assertRaisesRegex(InstallError, word):
                installer.install("")

    def test_command_that_fails_is_told_with_its_words(self) -> None:
        """What a program said about its failure is passed on."""
        installer = Installer(Path("/"), Path("/x"), lambda command: (1, "Access denied\n"))

        with self.assertRaisesRegex(InstallError, "'systemctl x' failed: Access denied"):
            installer.carry_out([Run(("systemctl", "x"))], lambda said: None)


class UninstallTests(InstallTestCase):
    """Removing, and listing."""

    def uninstall(self, name: str = "", **how: bool) -> list[str]:
        """Remove a service; returns the steps."""
        steps = self.installer.uninstall(name, **how)
        self.installer.carry_out(steps, lambda said: None)
        return [str(step).replace(str(self.root), "") for step in steps]

    def enable(self, service: str) -> None:
        """Do what `systemctl enable` would."""
        wants = self.units / "multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / f"{service}.service").symlink_to("/nowhere")

    def test_configuration_stays(self) -> None:
        """Only the unit goes."""
        self.install()

        self.assertEqual(self.uninstall(), ["remove /etc/systemd/system/smsbridge.service"])
        self.assertTrue((self.configs / "smsbridge.ini").exists())

    def test_template_stays_while_another_needs_it(self) -> None:
        """The unit file of all named services goes with the last of them."""
        self.install("office")
        self.install("shop")
        self.enable("smsbridge@office")
        self.enable("smsbridge@shop")

        self.assertEqual(self.uninstall("office"), [])
        (self.units / "multi-user.target.wants/smsbridge@office.service").unlink()
        self.assertEqual(self.uninstall("shop"), ["remove /etc/systemd/system/smsbridge@.service"])

    def test_what_is_not_there_cannot_be_removed(self) -> None:
        """A service that was never installed is named."""
        with self.assertRaisesRegex(InstallError, "smsbridge@office"):
            self.uninstall("office")

    def test_unit_changed_by_hand_is_not_removed(self) -> None:
        """What the operator changed goes only on demand."""
        self.install()
        (self.units / "smsbridge.service").write_text("mine")

        with self.assertRaisesRegex(InstallError, "--replace"):
            self.uninstall()
        self.assertEqual(len(self.uninstall(replace=True)), 1)

    def test_list_tells_what_is_enabled_and_configured(self) -> None:
        """Every service is listed with its configuration."""
        self.install()
        self.install("office")
        self.enable("smsbridge@office")
        self.enable("smsbridge@gone")

        found = {
            each.service: (each.configured, each.enabled) for each in self.installer.instances()
        }

        self.assertEqual(
            found,
            {
                "smsbridge": (True, False),
                "smsbridge@gone": (False, True),
                "smsbridge@office": (True, True),
            },
        )


class UnitTests(SynchronousTestCase):
    """The unit files."""

    def test_files_for_packages_are_up_to_date(self) -> None:
        """conf/systemd has what is installed, for a program in /usr/bin."""
        for name, file in (("", "smsbridge.service"), ("NAME", "smsbridge@.service")):
            text = (ROOT / "conf" / "systemd" / file).read_text(encoding="utf-8")
            self.assertEqual(text, install.unit(name, Path("/usr/bin/twistd")))

    def test_program_in_a_home_can_be_reached(self) -> None:
        """An environment in somebody's home folder is readable for the service."""
        text = install.unit("", Path("/home/john/my apps/50%/bin/twistd"))

        self.assertIn("ProtectHome=read-only", text)
        self.assertIn(r"ExecStart=/home/john/my\x20apps/50%%/bin/twistd ", text)

    def test_systemd_understands_them(self) -> None:
        """systemd itself finds nothing wrong, where it is installed."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            return
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, file in (("", "smsbridge.service"), ("x", "smsbridge@x.service")):
            path = folder / file
            path.write_text(install.unit(name, Path(shutil.which("env") or "/usr/bin/env")))
            done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True)
            about_us = [line for line in done.stderr.splitlines() if "smsbridge" in line]
            self.assertEqual(about_us, [])


class CommandTests(InstallTestCase):
    """``smsbridge install-service``."""

    def call(self, *arguments: str) -> Result:
        """Run the command below the test's folder."""
        return CliRunner().invoke(main, ["install-service", "--root", str(self.root), *arguments])

    def test_install_list_uninstall(self) -> None:
        """The way of a service, with what the operator is told."""
        result = self.call("office")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("office.ini", result.stdout)
        self.assertIn("systemctl start smsbridge@office", result.stdout)

        self.assertIn("smsbridge@office  disabled", self.call("--list").stdout)

        self.assertEqual(self.call("office", "--uninstall").exit_code, 0)
        self.assertIn("No service", self.call("--list").stderr)

    def test_dry_run_writes_nothing(self) -> None:
        """What would be written is shown with its text."""
        result = self.call("office", "--dry-run")

        self.assertIn("smsbridge@.service", result.stdout)
        self.assertIn("    Type=notify", result.stdout)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_refusal_is_one_sentence(self) -> None:
        """A wrong name is exit code 1 with a sentence."""
        result = self.call("../x")

        self.assertEqual(result.exit_code, 1)
        self.assertEqual(result.stderr.count("\n"), 1)
