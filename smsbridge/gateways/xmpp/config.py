"""
What an operator sets for an XMPP component: the keys of ``[gateway:NAME] kind = xmpp``.

It reads and checks words; it opens nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen
from twisted.words.protocols.jabber.jid import JID, InvalidFormat

from smsbridge.gateways.xmpp.stream import is_loopback, parent_domain
from smsbridge.keys import ConfigError, boolean, file_path, key, one_of

__all__ = ["Address", "XmppGateway", "server_address"]

_DEFAULT_PORT = 5347


@frozen
class Address:
    """Where the server takes components: a TCP port, or a socket file if `path` is set."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_SERVER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>[0-9]+))?")


def server_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``HOST`` or ``unix:PATH``."""
    word = text.strip()
    if word.startswith(("unix:", "/")):
        path = word.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError(f"{text!r} needs the whole path, such as unix:/run/prosody/sms.sock")
        return Address(path=path)
    found = _SERVER.fullmatch(word)
    port = int(found["port"] or _DEFAULT_PORT) if found and len(found["port"] or "") < 6 else 0
    if found is None or not 0 < port < 65536:
        raise ValueError(f"{text!r} is neither HOST:PORT, such as 127.0.0.1:5347, nor unix:PATH")
    return Address(found["v6"] or found["host"], port)


def read_domain(text: str) -> str:
    """Read a domain as XMPP servers write it."""
    try:
        jid = JID(text.strip())
    except InvalidFormat as e:
        raise ValueError(f"{text!r} is not a domain such as sms.example.org: {e}") from None
    if jid.user or jid.resource or not jid.host:
        raise ValueError(f"{text!r} is not a domain such as sms.example.org")
    return str(jid.host)


def read_domains(text: str) -> tuple[str, ...]:
    """Read domains separated by blanks."""
    return tuple(read_domain(word) for word in text.split())


@frozen(kw_only=True)
class XmppGateway:
    """``[gateway:NAME]`` of kind ``xmpp``: an external component of an XMPP server."""

    server: Address = key(
        "Where the XMPP server takes external components: HOST:PORT, or unix:PATH.",
        default=Address("127.0.0.1", _DEFAULT_PORT),
        convert=server_address,
        example="127.0.0.1:5347",
    )
    domain: str = key(
        "The component's domain: contacts are +NUMBER@DOMAIN. It must be the one in the server's "
        "configuration.",
        convert=read_domain,
        example="sms.example.org",
    )
    secret: str = key("The secret that the server's configuration has for it.", secret=True)
    server_domain: str = key(
        "The domain of the server's users, which is asked whether it has taken everything. By "
        "default the component's domain without its first label.",
        default="",
        convert=read_domain,
        example="example.org",
    )
    tls: bool = key(
        "Whether the server speaks TLS on that port from the first byte (ejabberd's 'tls: true', "
        "or a proxy).",
        default=False,
        convert=boolean,
    )
    tls_name: str = key(
        "The name in the server's certificate, if it is not that of 'server'.",
        default="",
        convert=str.strip,
        example="example.org",
    )
    tls_ca: Path | None = key(
        "A file with the certificates (PEM) that the server's is checked against, instead of the "
        "system's.",
        default=None,
        convert=file_path,
        example="/etc/smsbridge/xmpp-ca.pem",
    )
    insecure: bool = key(
        "Whether an unencrypted link to another machine is allowed. It carries the secret and all "
        "texts.",
        default=False,
        convert=boolean,
    )
    name: str = key(
        "The name under which clients list the gateway.",
        default="SMS gateway",
        convert=str.strip,
    )
    registration: str = key(
        "Whether people may add their JID by themselves: closed, or code (who gets a code on the "
        "'mobile' of a [person:NAME] may use the bridge as that person).",
        default="closed",
        convert=one_of("closed", "code"),
    )
    allowed_domains: tuple[str, ...] = key(
        "The domains whose users may register and ask what the gateway is. JIDs of a "
        "[person:NAME] are always allowed. By default server_domain.",
        default=(),
        convert=read_domains,
        example="example.org",
    )
    upload: str = key(
        "The JID of the server's upload service (XEP-0363). Files from the phone network are then "
        "put there, and users get its links instead of ours; the service must admit the "
        "component's domain.",
        default="",
        convert=read_domain,
        example="upload.example.org",
    )
    own_number_commands: bool = key(
        "Whether texts of a person to the number of an own line are commands (status, log, *100#), "
        "as those to the gateway's JID are.",
        default=True,
        convert=boolean,
    )
    group_author: str = key(
        "How the author is shown in front of a text to a group: name (the name or number), uri "
        "(as the client Cheogram reads it) or none.",
        default="name",
        convert=one_of("name", "uri", "none"),
    )
    phone_context: str = key(
        "What stands behind ';phone-context=' in the JIDs of short codes and names. By default the "
        "component's domain.",
        default="",
        convert=read_domain,
        example="us.sms.example.org",
    )
    log_traffic: bool = key(
        "Whether everything that the server says is logged, at level debug.",
        default=False,
        convert=boolean,
    )

    def __attrs_post_init__(self) -> None:
        if self.server.path and self.tls:
            raise ConfigError("a server at a unix socket speaks no TLS: remove 'tls'", key="tls")
        if (
            not self.server.path
            and not self.tls
            and not self.insecure
            and not is_loopback(self.server.host)
        ):
            raise ConfigError(
                f"the link to {self.server.host} would carry the secret and all texts "
                "unencrypted: set 'tls = yes', reach the server through a tunnel on 127.0.0.1, or "
                "say 'insecure = yes'",
                key="server",
            )
        if not self.secret:
            raise ConfigError("key 'secret' is empty", key="secret")

    @property
    def users_domain(self) -> str:
        """The domain that is pinged."""
        return self.server_domain or parent_domain(self.domain)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The domains of strangers that get answers."""
        return self.allowed_domains or (self.users_domain,)
