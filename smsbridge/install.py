"""
Installs the daemon as systemd services: makes up what is to be done, and does it.

Without a name the service is ``smsbridge`` with /etc/smsbridge/smsbridge.ini; with one it is the
instance ``smsbridge@NAME`` with /etc/smsbridge/NAME.ini, and there may be many.  A file that
somebody changed by hand is not overwritten without being told to, and configuration and messages
are never removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["InstallError", "Installer", "Instance", "Remove", "Run", "Step", "Write", "unit"]

_UNITS = Path("etc/systemd/system")
_CONFIGS = Path("etc/smsbridge")
_SYSUSERS = Path("etc/sysusers.d/smsbridge.conf")
_STATES = Path("var/lib/smsbridge")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHECKSUM = re.compile(r"^# smsbridge-checksum: ([0-9a-f]{16})\n\Z", re.MULTILINE)

_SYSUSERS_TEXT = """\
# The user of the smsbridge services; see sysusers.d(5).
u smsbridge - "smsbridge" /var/lib/smsbridge
"""

_CONFIG_TEXT = """\
; Configuration of {service}. 'smsbridge sample-config' prints every key with an explanation,
; 'smsbridge --config {path} check' tells whether this file is right.

[smsbridge]
state = {state}
"""

_UNIT_TEXT = """\
# Written by 'smsbridge install-service'. Changes of your own belong into a drop-in, which
# 'systemctl edit {example}' opens; this file is replaced by newer versions.

[Unit]
Description=smsbridge{which}: texts between phone lines and people
Wants=network-online.target
After=network-online.target mariadb.service postgresql.service prosody.service ejabberd.service

[Service]
Type=notify
ExecStart={twistd} --nodaemon --pidfile= smsbridge --config /etc/smsbridge/{config}.ini
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
# The daemon reports by itself that it lives; a hung one is started again.
WatchdogSec=60
# An upgrade of a large database takes its time at the first start.
TimeoutStartSec=600
TimeoutStopSec=60

User=smsbridge
Group=smsbridge
StateDirectory={state}
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536

# SIP and webhooks may listen below port 1024; nothing else is needed.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


class InstallError(Exception):
    """It cannot be done; the text is a sentence for the operator."""


@frozen
class Write:
    """Write a file; `backup` keeps what was there beside it."""

    path: Path
    text: str
    mode: int = 0o644
    backup: bool = False

    def __str__(self) -> str:
        return f"write {self.path}"


@frozen
class Remove:
    """Remove a file."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"


@frozen
class Run:
    """Run a program."""

    command: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.command)


Step = Write | Remove | Run


@frozen(kw_only=True)
class Instance:
    """An installed service."""

    name: str  # empty for the one without a name
    service: str
    config: Path
    state: Path
    configured: bool
    enabled: bool


def unit(name: str, twistd: Path) -> str:
    """
    Return the text of the unit file: of all named instances for a name, of the one without else.

    :param twistd: the program that the service starts.
    """
    in_home = any(twistd.is_relative_to(home) for home in ("/home", "/root"))
    text = _UNIT_TEXT.format(
        example="smsbridge@NAME" if name else "smsbridge",
        which=" %i" if name else "",
        twistd=str(twistd).replace("%", "%%").replace(" ", r"\x20"),
        config="%i" if name else "smsbridge",
        state="smsbridge/%i" if name else "smsbridge",
        # The program itself may be there, in an environment of somebody's own.
        home="read-only" if in_home else "yes",
    )
    return text + f"# smsbridge-checksum: {_checksum(text)}\n"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _is_as_written(text: str) -> bool:
    """Tell whether a unit file is as some version of this program wrote it."""
    found = _CHECKSUM.search(text)
    return found is not None and _checksum(text[: found.start()]) == found[1]


class Installer:
    """
    Makes up and does what is needed below one root.

    :param root: ``/``, or a folder that a package is built in: there nothing is run.
    :param twistd: the program that the services start.
    :param run: runs a program; returns its exit code and what it said.
    """

    def __init__(
        self, root: Path, twistd: Path, run: Callable[[Sequence[str]], tuple[int, str]]
    ) -> None:
        self._root = root
        self._twistd = twistd
        self._run = run
        self._live = root.resolve() == Path("/")

    def install(self, name: str, *, start: bool = False, replace: bool = False) -> list[Step]:
        """
        Return the steps that install a service.

        :param start: start it at once, too.
        :param replace: overwrite a unit file that was changed by hand.
        :raises InstallError: the name cannot be one, or a file was changed by hand.
        """
        _check(name)
        service, path = self._names(name)
        if self._live and not self._twistd.exists():
            raise InstallError(f"There is no {self._twistd}, which the service would start.")
        if self._live and self._twistd.is_relative_to("/root"):
            raise InstallError(
                f"The service runs as the user smsbridge, who cannot enter /root where "
                f"{self._twistd} is; install the program elsewhere, such as in /opt/smsbridge."
            )
        steps: list[Step] = []
        sysusers = self._root / _SYSUSERS
        if not sysusers.exists():
            steps.append(Write(sysusers, _SYSUSERS_TEXT))
        if self._live:
            steps.append(Run(("systemd-sysusers", str(sysusers))))
        config = self._config(name)
        if not config.exists():
            text = _CONFIG_TEXT.format(
                service=service,
                path="/" / config.relative_to(self._root),
                state="/" / self._state(name).relative_to(self._root),
            )
            steps.append(Write(config, text, 0o640))  # it will hold passwords
            if self._live:
                steps.append(Run(("chgrp", "smsbridge", str(config))))
        wanted = unit(name, self._twistd)
        present = _text(path)
        if present != wanted:
            changed = present is not None and not _is_as_written(present)
            if changed and not replace:
                raise InstallError(
                    f"{path} was changed by hand. Move your changes into a drop-in with "
                    f"'systemctl edit {service}', then say --replace; the old file is kept as "
                    f"{path.name}.bak."
                )
            steps.append(Write(path, wanted, backup=changed))
        if self._live:
            steps.append(Run(("systemctl", "daemon-reload")))
            steps.append(Run(("systemctl", "enable", *(("--now",) if start else ()), service)))
        return steps

    def uninstall(self, name: str, *, replace: bool = False) -> list[Step]:
        """
        Return the steps that remove a service; configuration and messages stay.

        :param replace: remove a unit file that was changed by hand.
        :raises InstallError: there is no such service, or its file was changed by hand.
        """
        _check(name)
        service, path = self._names(name)
        present = _text(path)
        if name not in [each.name for each in self.instances()]:
            raise InstallError(
                f"There is no service {service}; see 'smsbridge install-service --list'."
            )
        steps: list[Step] = []
        if self._live:
            steps.append(Run(("systemctl", "disable", "--now", service)))
        others = [
            each for each in self.instances() if each.name and each.name != name and each.enabled
        ]
        if present is not None and not (name and others):
            if not _is_as_written(present) and not replace:
                raise InstallError(f"{path} was changed by hand; say --replace to have it removed.")
            steps.append(Remove(path))
        if self._live:
            steps.append(Run(("systemctl", "daemon-reload")))
        return steps

    def instances(self) -> list[Instance]:
        """Return what is enabled, or has a unit and a configuration."""
        units = self._root / _UNITS
        wants = units / "multi-user.target.wants"
        enabled = {each.name for each in wants.glob("smsbridge*.service")}
        names = {_name_of(each) for each in enabled}
        if (units / "smsbridge@.service").exists():
            names.update(
                each.stem
                for each in (self._root / _CONFIGS).glob("*.ini")
                if each.stem != "smsbridge" and _NAME.fullmatch(each.stem)
            )
        if (units / "smsbridge.service").exists():
            names.add("")
        return [
            Instance(
                name=name,
                service=self._names(name)[0],
                config=self._config(name),
                state=self._state(name),
                configured=self._config(name).exists(),
                enabled=f"{self._names(name)[0]}.service" in enabled,
            )
            for name in sorted(names)
        ]

    def state_of(self, instance: Instance) -> str:
        """Ask systemd how a service is: active, failed and so on; empty if it cannot be asked."""
        if not self._live:
            return ""
        try:
            return self._run(("systemctl", "is-active", instance.service))[1].strip()
        except OSError:
            return ""

    def carry_out(self, steps: Sequence[Step], tell: Callable[[str], None]) -> None:
        """
        Do the steps one after another.

        :param tell: hears of each step before it is done.
        :raises InstallError: a step failed; those before it are done, and it can all be repeated.
        """
        for step in steps:
            tell(str(step))
            try:
                self._carry_out(step)
            except PermissionError as e:
                raise InstallError(f"You may not {step}; run this as root.") from e
            except FileNotFoundError as e:
                missing = step.command[0] if isinstance(step, Run) else e.filename
                raise InstallError(f"There is no {missing}; is this a system with systemd?") from e
            except OSError as e:
                raise InstallError(f"Could not {step}: {e.strerror or e}.") from e

    def _carry_out(self, step: Step) -> None:
        if isinstance(step, Run):
            code, said = self._run(step.command)
            if code:
                raise InstallError(f"'{step}' failed: {said.strip() or f'exit code {code}'}")
        elif isinstance(step, Remove):
            step.path.unlink(missing_ok=True)
        else:
            step.path.parent.mkdir(parents=True, exist_ok=True)
            if step.backup:
                step.path.replace(step.path.with_name(step.path.name + ".bak"))
            new = step.path.with_name(f".{step.path.name}.new")
            new.write_text(step.text, encoding="utf-8")
            os.chmod(new, step.mode)
            new.replace(step.path)

    def _names(self, name: str) -> tuple[str, Path]:
        """Return the service's name and its unit file."""
        if not name:
            return "smsbridge", self._root / _UNITS / "smsbridge.service"
        return f"smsbridge@{name}", self._root / _UNITS / "smsbridge@.service"

    def _config(self, name: str) -> Path:
        return self._root / _CONFIGS / f"{name or 'smsbridge'}.ini"

    def _state(self, name: str) -> Path:
        return self._root / _STATES / name


def _check(name: str) -> None:
    if name and not _NAME.fullmatch(name):
        raise InstallError(
            f"{name!r} cannot be a name; use letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit."
        )
    if name == "smsbridge":
        raise InstallError("'smsbridge' is the service without a name; leave the name out.")


def _name_of(service: str) -> str:
    stem = service.removesuffix(".service")
    return stem.partition("@")[2]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
