"""
Starts a private Prosody or ejabberd for a test, on free ports of the loopback and in a folder of
its own.

Each holds the users ``alice`` and ``bob`` (password: the name and ``-pw``) of ``example.org`` and
admits the component ``sms.example.org``.  Nothing of the machine's own configuration or services
is touched, and only processes started here are ended.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.end_to_end.ports import free_port

DOMAIN = "example.org"
COMPONENT = "sms.example.org"
SECRET = "not-a-secret"
USERS = ("alice", "bob")

CONF = Path(__file__).resolve().parents[2] / "conf"


class ServerFailed(Exception):
    """The server is not installed, did not come up, or went away by itself."""


def password_of(user: str) -> str:
    """Return the password of one of `USERS`."""
    return f"{user}-pw"


def make_certificate(folder: Path) -> tuple[Path, bytes]:
    """Write a key and a certificate for 127.0.0.1 into one file; return it and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    path = folder / "server.pem"
    path.write_bytes(
        public
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path, public


class _Process(ProcessProtocol):
    """Keeps what a server prints, and tells when it ended."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.ended: Deferred[None] = Deferred()
        self.is_running = True

    def outReceived(self, data: bytes) -> None:
        self.output += data
        del self.output[:-20_000]

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.is_running = False
        self.ended.callback(None)


@define(eq=False)
class XmppServer:
    """
    One private server; `start` it, and in the test's clean-up `stop` it.

    :param reactor: the test's reactor.
    :param folder: an empty folder for configuration, data and logs.
    :param archive: whether messages are archived on the server (XEP-0313), which is slower.
    """

    package: ClassVar[str]
    label: ClassVar[str]

    reactor: Any
    folder: Path = field(converter=lambda p: Path(p).resolve())
    archive: bool = True
    client_port: int = field(factory=free_port)
    component_port: int = field(factory=free_port)
    http_port: int = field(factory=free_port)
    tls_component_port: int = field(factory=free_port)  # of ejabberd alone
    certificate: bytes = b""
    secret: str = SECRET
    _process: _Process | None = None
    _transport: Any = None

    def _write_configuration(self) -> None:
        raise NotImplementedError

    def _command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def _missing(self, program: str) -> ServerFailed:
        return ServerFailed(
            f"{program} is not installed; install the Debian package {self.package} "
            f"(scripts/install-test-packages does)"
        )

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._transport.pid if self.is_running else None

    @property
    def is_running(self) -> bool:
        """Tell whether the process is there, frozen or not."""
        return self._process is not None and self._process.is_running

    def start(self) -> Deferred[None]:
        """Start it on the folder's data; fires when its ports answer."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command, environment = self._command()
        self._write_configuration()
        self._process = process = _Process()
        self._transport = self.reactor.spawnProcess(
            process,
            command[0],
            args=command,
            env={**os.environ, **environment},
            path=str(self.folder),
        )
        deadline_s = self.reactor.seconds() + 60
        for port in (self.component_port, self.client_port):
            await self._port_answers(process, port, deadline_s)

    async def _port_answers(self, process: _Process, port: int, deadline_s: float) -> None:
        while True:
            if not process.is_running or self.reactor.seconds() > deadline_s:
                said = self.output()
                await self.kill()
                raise ServerFailed(f"{self.label} did not come up; it said:\n{said}")
            endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port, timeout=2)
            try:
                connected = await connectProtocol(endpoint, Protocol())
            except ConnectError:
                await deferLater(self.reactor, 0.05)
                continue
            connected.transport.abortConnection()
            return

    def stop(self) -> Deferred[None]:
        """Ask it to end, and make it end after 15 s; fires when it is gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if not self.is_running:
            return
        process = self._process
        assert process is not None
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        last_resort = self.reactor.callLater(15, self._signal, signal.SIGKILL)
        await process.ended
        if last_resort.active():
            last_resort.cancel()

    async def _kill(self) -> None:
        process = self._process
        if process is not None and process.is_running:
            self._signal(signal.SIGKILL)
            await process.ended

    def kill(self) -> Deferred[None]:
        """End it as ``kill -9`` does; fires when it is gone."""
        return Deferred.fromCoroutine(self._kill())

    def restart(self) -> Deferred[None]:
        """Stop it and start it on the same ports and data."""
        return self.stop().addCallback(lambda _: self.start())

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.is_running:
            os.kill(self._transport.pid, number)

    def output(self) -> str:
        """Return the end of what it printed and logged, for messages of failed tests."""
        parts = [bytes(self._process.output).decode("utf-8", "replace") if self._process else ""]
        for path in sorted(self.folder.glob("*.log")):
            parts.append(path.read_text("utf-8", "replace")[-4000:])
        return "\n".join(part for part in parts if part)


class ProsodyServer(XmppServer):
    """Prosody with archive, offline store, privileges, HTTP upload and our alias module."""

    package = "prosody"
    label = "Prosody"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        program = shutil.which(
            "prosody", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin"
        )
        if program is None:
            raise self._missing("Prosody")
        root = ["--root"] if os.geteuid() == 0 else []
        return [program, *root, "--config", str(self.folder / "prosody.cfg.lua"), "-F"], {}

    def _write_configuration(self) -> None:
        accounts = self.folder / "data" / "example%2eorg" / "accounts"
        if not accounts.exists():
            accounts.mkdir(parents=True)
            for user in USERS:
                (accounts / f"{user}.dat").write_text(
                    f'return {{ ["password"] = "{password_of(user)}"; }};\n'
                )
        mam = '"mam";' if self.archive else ""
        # The component's section is the one that operators copy.
        component = (CONF / "prosody" / "smsbridge.cfg.lua").read_text("utf-8")
        component = component.replace("change-me", self.secret)
        (self.folder / "prosody.cfg.lua").write_text(
            f"""
run_as_root = true
daemonize = false
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
certificates = "{self.folder}"
plugin_paths = {{ "{CONF}/prosody", "/usr/lib/prosody/modules", "/usr/share/prosody-modules" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.client_port} }}
s2s_ports = {{ }}
component_ports = {{ {self.component_port} }}
component_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {self.http_port} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
archive_expires_after = "1w"
log = {{ info = "{self.folder}/prosody.log" }}
limits = {{ c2s = {{ rate = "50mb/s" }} }}
modules_disabled = {{ "s2s" }}
modules_enabled = {{
    "roster"; "saslauth"; "disco"; "presence"; "message"; "iq"; "carbons"; "pep"; "ping"; {mam}
    "offline"; "smacks"; "version"; "time"; "vcard_legacy"; "blocklist"; "limits"; "privilege";
}}

VirtualHost "{DOMAIN}"
    modules_enabled = {{ "sms_alias" }}
    sms_alias_component = "{COMPONENT}"
    disco_items = {{ {{ "{COMPONENT}", "SMS gateway" }}; {{ "upload.{DOMAIN}", "Upload" }} }}
    privileged_entities = {{
        ["{COMPONENT}"] = {{ roster = "both"; message = "outgoing"; presence = "managed_entity" }};
    }}

{component}
    modules_enabled = {{ "privilege" }}

Component "upload.{DOMAIN}" "http_file_share"
    http_external_url = "http://127.0.0.1:{self.http_port}/"
    http_host = "127.0.0.1"
    http_file_share_access = {{ "{COMPONENT}"; "{DOMAIN}" }}
""",
            "utf-8",
        )


class EjabberdServer(XmppServer):
    """ejabberd, as an Erlang machine without node name and epmd; with a component port for TLS."""

    package = "ejabberd"
    label = "ejabberd"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        program = shutil.which("erl", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")
        libraries = glob.glob("/usr/lib/*/ejabberd-*/ebin") + glob.glob("/usr/lib/ejabberd-*/ebin")
        if program is None or not libraries:
            raise self._missing("ejabberd")
        registrations = "; ".join(
            f'ejabberd_auth:try_register(<<"{user}">>,<<"{DOMAIN}">>,<<"{password_of(user)}">>)'
            for user in USERS
        ).replace("; ", ", ")
        # Users are registered as soon as the authentication modules are up.
        register = (
            "spawn(fun W() -> case catch ejabberd_auth:user_exists("
            f'<<"nobody">>,<<"{DOMAIN}">>) of false -> {registrations}; '
            "_ -> timer:sleep(100), W() end end)."
        )
        command = [
            program,
            "-noinput",
            "+P",
            "250000",
            "-mnesia",
            "dir",
            f'"{self.folder}/db"',
            "-s",
            "ejabberd",
            "-eval",
            register,
        ]
        environment = {
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_LIBS": str(Path(libraries[0]).parents[1]),
            "ERL_CRASH_DUMP": str(self.folder / "crash.dump"),
            "HOME": str(self.folder),
        }
        return command, environment

    def _write_configuration(self) -> None:
        (self.folder / "db").mkdir(exist_ok=True)
        if not self.certificate:
            _, self.certificate = make_certificate(self.folder)
        (self.folder / "ejabberd.yml").write_text(
            f"""
hosts: ["{DOMAIN}"]
loglevel: info
auth_method: internal
auth_password_format: plain
certfiles: ["{self.folder}/server.pem"]
listen:
  - port: {self.client_port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: false
    max_stanza_size: 262144
    shaper: none
    access: all
  - port: {self.component_port}
    ip: "127.0.0.1"
    module: ejabberd_service
    access: all
    check_from: true
    shaper: none
    hosts:
      "{COMPONENT}":
        password: "{self.secret}"
  - port: {self.tls_component_port}
    ip: "127.0.0.1"
    module: ejabberd_service
    access: all
    check_from: true
    shaper: none
    tls: true
    certfile: "{self.folder}/server.pem"
    hosts:
      "{COMPONENT}":
        password: "{self.secret}"
  - port: {self.http_port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /upload: mod_http_upload
acl:
  gateway:
    server: "{COMPONENT}"
access_rules:
  gateway:
    - allow: gateway
shaper:
  normal: 1000000
modules:
  mod_disco:
    extra_domains: ["{COMPONENT}"]
  mod_roster: {{}}
  mod_carboncopy: {{}}
  mod_caps: {{}}
  mod_ping: {{}}
  mod_offline: {{}}
  mod_mam:
    default: {"always" if self.archive else "never"}
  mod_last: {{}}
  mod_version: {{}}
  mod_time: {{}}
  mod_vcard: {{}}
  mod_pubsub:
    plugins: [flat, pep]
  mod_stream_mgmt: {{}}
  mod_http_upload:
    docroot: "{self.folder}/upload"
    put_url: "http://127.0.0.1:{self.http_port}/upload"
    access: all
  mod_privilege:
    roster:
      both: gateway
    message:
      outgoing: gateway
    presence:
      managed_entity: gateway
""",
            "utf-8",
        )
