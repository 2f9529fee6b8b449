"""
What a measurement is put together from: a private Prosody, a daemon with its ini file, their ports.

Everything lives in one temporary folder on a real disk (a commit must cost what it costs) and on
the loopback interface.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from benchmarks.child import ROOT, Child, ChildFailed, python
from benchmarks.phones import number_of_line
from benchmarks.users import COMPONENT, DOMAIN, password_of

__all__ = ["Bridge", "Control", "Prosody", "Setup", "free_port", "wait_until"]

SECRET = "not-a-secret"


def _absolute(path: Path) -> Path:
    return path.absolute()


@frozen(kw_only=True)
class Setup:
    """
    How a benchmark is to be run.

    :ivar scale: what counts and durations are multiplied by; 1 for figures worth keeping.
    :ivar profile: where py-spy writes what the daemon spends its time on; None: not at all.
    """

    scale: float = 1.0
    folder: Path = field(converter=_absolute)
    profile: Path | None = None
    seconds: float | None = None
    options: dict[str, str] = field(factory=dict)

    def count(self, full: int, least: int = 200) -> int:
        """Scale a count."""
        return max(least, int(full * self.scale))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of the loopback that nobody uses just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Any, what: str, timeout_s: float = 60.0, every_s: float = 0.02) -> float:
    """Wait until a callable returns something true; returns the seconds that it took."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > timeout_s:
            raise ChildFailed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(every_s)
    return time.monotonic() - began_s


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder on disk, and remove it."""
    path = Path(tempfile.mkdtemp(prefix="smsbridge-bench-", dir="/var/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a TCP port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@define
class Prosody:
    """
    A private Prosody with users user1, user2, ... and our component.

    No archive and no rate limits: it is the peer here, not what is measured.
    """

    folder: Path
    users: int = 4
    client_port: int = field(factory=free_port)
    component_port: int = field(factory=free_port)

    def start(self) -> Child:
        """Start it on what the folder holds, and wait until it answers."""
        program = shutil.which("prosody", path=os.environ.get("PATH", "") + ":/usr/bin")
        if program is None:
            raise ChildFailed("Prosody is not installed; install the Debian package prosody")
        self.folder.mkdir(exist_ok=True)
        self._configure()
        root = ["--root"] if os.geteuid() == 0 else []
        child = Child(
            "Prosody",
            [program, *root, "--config", str(self.folder / "prosody.cfg.lua"), "-F"],
            self.folder / "output.log",
            folder=self.folder,
        )

        def is_up() -> bool:
            if not child.is_running:
                raise ChildFailed(f"Prosody did not come up\n{child.log_end()}")
            return answers(self.component_port) and answers(self.client_port)

        wait_until(is_up, "Prosody")
        return child

    def _configure(self) -> None:
        accounts = self.folder / "data" / DOMAIN.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.users + 1):
            user = f"user{number}"
            account = f'return {{ ["password"] = "{password_of(user)}" }};'
            (accounts / f"{user}.dat").write_text(account)
        (self.folder / "prosody.cfg.lua").write_text(
            f"""
run_as_root = true
daemonize = false
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
plugin_paths = {{ "{ROOT}/conf/prosody", "/usr/share/prosody-modules", "/usr/lib/prosody/modules" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.client_port} }}
s2s_ports = {{ }}
component_ports = {{ {self.component_port} }}
component_interfaces = {{ "127.0.0.1" }}
http_ports = {{ }}
https_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
log = {{ warn = "{self.folder}/prosody.log" }}
modules_disabled = {{ "s2s"; "s2s_auth_certs"; "limits" }}
modules_enabled = {{
    "roster"; "saslauth"; "disco"; "presence"; "message"; "iq"; "ping"; "offline"; "privilege";
}}

VirtualHost "{DOMAIN}"
    privileged_entities = {{
        ["{COMPONENT}"] = {{ roster = "both"; message = "outgoing"; presence = "managed_entity" }};
    }}

Component "{COMPONENT}"
    component_secret = "{SECRET}"
    modules_enabled = {{ "privilege" }}
""",
            "utf-8",
        )


class Control:
    """The daemon's control socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """
        Call the control API; returns the JSON object, or the list of objects of a listing.

        :raises OSError: nobody answers.
        """
        connection = http.client.HTTPConnection("daemon", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        try:
            connection.sock.connect(str(self._path))
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            if response.status >= 300:
                raise ChildFailed(f"{method} {path}: {response.status} {text}")
            if response.getheader("Content-Type", "") == "application/jsonl":
                return [json.loads(line) for line in text.splitlines()]
            return json.loads(text)
        finally:
            connection.close()


@define
class Bridge:
    """
    The daemon as twistd runs it, with `lines` GoIP channels named line1, line2, ...

    :ivar users: each has the lines whose number, from 1, leaves the remainder of the user's when
        divided by `users`; 0 makes no XMPP gateway.
    :ivar line_keys: more keys for every line.
    :ivar line_gateway: the gateway of the lines where it is not the GoIP; `more` has its section.
    """

    folder: Path
    lines: int = 4
    users: int = 4
    component_port: int = 0
    database: str = "sqlite"
    line_keys: str = ""
    more: str = ""
    line_gateway: str = ""
    udp_port: int = field(factory=lambda: free_port(socket.SOCK_DGRAM))

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    @property
    def control(self) -> Control:
        """The control socket."""
        return Control(self.state / "control.sock")

    def write(self) -> Path:
        """Write the ini file."""
        self.folder.mkdir(exist_ok=True)
        parts = [
            f"[smsbridge]\nstate = {self.state}\ndatabase = {self.database}\nnode = bench\n"
            "country = US\n",
            f"[gateway:box]\nkind = goip\nlisten = udp:{self.udp_port}:interface=127.0.0.1\n",
            self.more,
        ]
        for index in range(self.lines):
            keys = f"gateway = box\nid = line{index + 1}\npassword = secret\n"
            if self.line_gateway:
                keys = f"gateway = {self.line_gateway}\n"
            parts.append(
                f"[line:line{index + 1}]\n{keys}number = {number_of_line(index)}\n{self.line_keys}"
            )
        if self.users:
            parts.append(
                f"[gateway:xmpp]\nkind = xmpp\nserver = 127.0.0.1:{self.component_port}\n"
                f"domain = {COMPONENT}\nsecret = {SECRET}\n"
            )
        for number in range(1, self.users + 1):
            lines = " ".join(f"line{line}" for line in range(number, self.lines + 1, self.users))
            parts.append(
                f"[person:user{number}]\nxmpp = user{number}@{DOMAIN}\nlines = {lines}\nrate = 0\n"
            )
        path = self.folder / "smsbridge.ini"
        path.write_text("\n".join(parts), "utf-8")
        path.chmod(0o600)
        return path

    def start(self, *, wait: bool = True) -> Child:
        """Start it and wait until it is ready."""
        config = self.write()
        child = Child(
            "smsbridge",
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
                "--nodaemon",
                "--pidfile=",
                "smsbridge",
                "--config",
                str(config),
            ],
            self.folder / "smsbridge.log",
        )
        if wait:
            self.wait_until_ready(child)
        return child

    def wait_until_ready(self, child: Child) -> float:
        """Wait until it says so; returns the seconds."""

        def is_ready() -> bool:
            if not child.is_running:
                raise ChildFailed(f"smsbridge ended\n{child.log_end()}")
            try:
                return not self.control.ask("GET", "/status")["unready"]
            except OSError:
                return False

        return wait_until(is_ready, "the daemon")

    def wait_for_link(self, gateway: str = "xmpp") -> float:
        """Wait until a gateway's link is up."""

        def is_up() -> bool:
            links = self.control.ask("GET", "/status")["links"]
            return any(link["gateway"] == gateway and link["up"] for link in links)

        return wait_until(is_up, f"the link of {gateway}")

    def open_deliveries(self) -> int:
        """Return how many deliveries are not finished."""
        queue = self.control.ask("GET", "/status")["queue"]
        return sum(depth["count"] for depth in queue)


def phones(setup: Setup, mode: str, port: int, name: str, **options: Any) -> Child:
    """Start GoIP channels; see `benchmarks.phones`."""
    return _peer(setup, "benchmarks.phones", mode, name, port=port, **options)


def users(setup: Setup, mode: str, port: int, people: int, name: str, **options: Any) -> Child:
    """Start so many XMPP users; see `benchmarks.users`."""
    return _peer(
        setup,
        "benchmarks.users",
        mode,
        name,
        port=port,
        user=[f"user{number}" for number in range(1, people + 1)],
        **options,
    )


def _peer(setup: Setup, module: str, mode: str, name: str, **options: Any) -> Child:
    arguments: list[object] = [mode, "--times", times_file(setup, name)]
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif isinstance(value, list):
            arguments += [part for each in value for part in (flag, each)]
        elif value is not None and value is not False:
            arguments += [flag, value]
    return Child(name, python(module, *arguments), setup.folder / f"{name}.log", talks=True)


def times_file(setup: Setup, name: str) -> Path:
    """Return where a peer writes its nanoseconds."""
    return setup.folder / f"{name}.ns"


def times(setup: Setup, name: str) -> array[int]:
    """Read the nanoseconds that a peer wrote, by the number of the text; 0 for none."""
    data = array("q")
    data.frombytes(times_file(setup, name).read_bytes())
    return data


def delays_s(setup: Setup, begun: str, ended: str) -> list[float]:
    """Return the seconds between two peers for each text that passed both."""
    pairs = zip(times(setup, begun), times(setup, ended), strict=True)
    return [(end - begin) / 1e9 for begin, end in pairs if begin and end]


@contextmanager
def profiled(setup: Setup, child: Child, name: str) -> Iterator[None]:
    """Let py-spy look at the child meanwhile, if that is wanted."""
    if setup.profile is None:
        yield
        return
    output = setup.profile / f"{name}.folded"
    spy = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("py-spy")),
            "record",
            "--pid",
            str(child.pid),
            "--rate",
            "200",
            "--format",
            "raw",
            "--output",
            str(output),
            "--duration",
            "600",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        spy.send_signal(2)  # SIGINT: write what was seen
        spy.wait(30)
