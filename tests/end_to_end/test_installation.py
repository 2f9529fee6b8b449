"""Tests of what an installation puts in place: built, installed and started as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smsbridge

ROOT = Path(__file__).parent.parent.parent

#: What is copied to be built: all that git keeps, or would.
LEAVE_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "build", "dist", "_build", "__pycache__", "_trial_temp*", "*.egg-info"
)

#: Calls twistd where its script is not on the PATH.
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program to its end and return what it said; fail with that when it fails."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


class _Built:
    """The distributions and an environment with the wheel, made once for a whole run."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="smsbridge-install-")
        self.folder = Path(self._kept.name)
        self.source = self.folder / "source"
        shutil.copytree(ROOT, self.source, ignore=LEAVE_OUT)
        out = self.folder / "dist"
        # The wheel is built from the source distribution, which shows that the latter is whole.
        run(sys.executable, "-m", "build", "--outdir", out, self.source, cwd=self.folder)
        self.sdist = next(out.glob("*.tar.gz"))
        self.wheel = next(out.glob("*.whl"))
        self.bin = self.folder / "env" / "bin"
        run(sys.executable, "-m", "venv", "--without-pip", self.bin.parent, cwd=self.folder)
        pip = (sys.executable, "-m", "pip", "--python", self.bin / "python")
        run(*pip, "install", "--no-deps", "--no-index", self.wheel, cwd=self.folder)
        # The libraries of this environment, but not its link to the checkout: Python reads .pth
        # files in the environment's own folder only.
        libraries = sysconfig.get_path("purelib")
        site = next((self.folder / "env" / "lib").glob("python*/site-packages"))
        (site / "libraries.pth").write_text(libraries + "\n", encoding="utf-8")


_built: list[_Built] = []


def built() -> _Built:
    """Build and install on first use."""
    if not _built:
        _built.append(_Built())
    return _built[0]


class DistributionTests(SynchronousTestCase):
    """What the files for publication hold."""

    def test_wheel_has_the_package_its_data_and_the_plugin(self) -> None:
        """All modules and data files of the package and the plugin are in the wheel, no tests."""
        names = set(zipfile.ZipFile(built().wheel).namelist())
        source = built().source
        wanted = {
            str(path.relative_to(source))
            for path in (source / "smsbridge").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

        self.assertEqual((wanted | {"twisted/plugins/smsbridge_plugin.py"}) - names, set())
        self.assertEqual({name for name in names if name.startswith("tests/")}, set())
        self.assertNotIn("twisted/__init__.py", names)

    def test_source_distribution_has_tests_and_configuration(self) -> None:
        """Whoever has the source distribution can run the tests and read the manual."""
        with tarfile.open(built().sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}

        for wanted in ("Makefile", "tests/test_layers.py", "docs/index.rst", "scripts", "LICENSE"):
            self.assertIn(wanted, names)


class InstalledTests(SynchronousTestCase):
    """What can be started afterwards, from a folder that has nothing to do with smsbridge."""

    def python(self, *arguments: str) -> str:
        """Run the environment's Python somewhere else."""
        with tempfile.TemporaryDirectory() as elsewhere:
            return run(built().bin / "python", *arguments, cwd=Path(elsewhere))

    def test_package_is_the_installed_one(self) -> None:
        """The other tests of this class do not see the checkout."""
        where = self.python("-c", "import smsbridge; print(smsbridge.__file__)")

        self.assertTrue(where.startswith(str(built().folder)), where)

    def test_twistd_lists_smsbridge(self) -> None:
        """`twistd --help` names smsbridge among what it can start."""
        self.assertRegex(self.python("-c", TWISTD, "--help"), r"\n +smsbridge +Carries texts")

    def test_twistd_explains_smsbridge(self) -> None:
        """`twistd -n smsbridge --help` names the option for the configuration."""
        self.assertIn("--config", self.python("-c", TWISTD, "-n", "smsbridge", "--help"))

    def test_command_is_in_place(self) -> None:
        """`smsbridge --help` and `--version` work."""
        with tempfile.TemporaryDirectory() as elsewhere:
            command = built().bin / "smsbridge"
            self.assertIn("--config", run(command, "--help", cwd=Path(elsewhere)))
            version = run(command, "--version", cwd=Path(elsewhere))

        self.assertIn(smsbridge.__version__, version)
