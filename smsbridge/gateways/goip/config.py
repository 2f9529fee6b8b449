"""
What an operator sets for GoIP boxes: the keys of ``[gateway:NAME] kind = goip`` and of its lines.

It reads and checks words; it opens nothing and knows no line's state.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping

import attrs
from attrs import frozen

from smsbridge.core.directory import Line
from smsbridge.core.segments import Charset
from smsbridge.gateways.goip import codec
from smsbridge.keys import ConfigError, boolean, duration, endpoints, key, one_of, split_endpoint

__all__ = ["GoipGateway", "GoipLine", "Network", "check", "is_within", "networks", "udp_address"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A device gives a push up after about 12 s; a text may be held back no longer than this.
_LONGEST_JOIN_S = 8.0


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks separated by blanks, such as ``192.0.2.10 198.51.100.0/24``."""
    found = []
    for word in text.split():
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise ValueError(
                f"{word!r} is neither an address nor a network such as 192.0.2.0/24"
            ) from None
    return tuple(found)


def is_within(host: str, networks: Iterable[Network]) -> bool:
    """Tell whether an address lies in one of the networks; IPv4 mapped into IPv6 counts as IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def _span(shortest_s: float, longest_s: float) -> Callable[[str], float]:
    """Make a reader of time spans within bounds."""

    def read(text: str) -> float:
        value = duration(text)
        if not shortest_s <= value <= longest_s:
            raise ValueError(f"{text!r} is not between {shortest_s:g}s and {longest_s:g}s")
        return value

    return read


def udp_address(endpoint: str) -> tuple[int, str]:
    """Cut ``udp:PORT:interface=ADDRESS`` into port and interface ('' for all of them)."""
    _, arguments, named = split_endpoint(endpoint)
    return int(named.get("port", arguments[0] if arguments else "0")), named.get("interface", "")


@frozen(kw_only=True)
class GoipGateway:
    """``[gateway:NAME]`` of kind ``goip``: where the boxes find us."""

    listen: tuple[str, ...] = key(
        "Where to listen for the boxes' datagrams; several are separated by blanks. The boxes' "
        "'SMS Server' setting names this address and port.",
        default=("udp:44444",),
        convert=endpoints("udp"),
        example="udp:44444",
    )
    silent: bool = key(
        "Whether unknown ids and wrong passwords get no answer at all. With 'no' they are refused "
        "in the vendor's words, a few times a minute for each source.",
        default=False,
        convert=boolean,
    )
    sources: tuple[Network, ...] = key(
        "The networks that boxes may send from; what comes from elsewhere is dropped without an "
        "answer. By default from everywhere.",
        default=(),
        convert=networks,
        example="192.0.2.0/24",
    )
    simulate: bool = key(
        "Whether a simulated box plays all lines of this gateway: it answers every text and "
        "reports delivery. For trying things out; nothing reaches the phone network.",
        default=False,
        convert=boolean,
    )
    trace: bool = key(
        "Whether everything that the boxes say is logged, at level debug, without passwords.",
        default=False,
        convert=boolean,
    )


@frozen(kw_only=True)
class GoipLine(Line):
    """``[line:NAME]`` on a GoIP gateway: one channel (SIM slot) of a box."""

    id: str = key(
        "The channel's client ID, as set in the box under 'SMS Server'.",
        convert=codec.check_id,
        example="goip01",
    )
    password: str = key(
        "The channel's password, as set in the box under 'SMS Server'.",
        convert=codec.check_password,
        secret=True,
    )
    mode: str = key(
        "How texts are handed to the box: in a bulk session, which every firmware knows, or "
        "one-shot, a single datagram with the password in it, which newer firmware knows.",
        default="bulk",
        convert=one_of("bulk", "one-shot"),
    )
    resend_send: bool = key(
        "Whether a text is handed over once more when the box has not answered at all for 10 "
        "seconds. Some firmware then sends it twice.",
        default=False,
        convert=boolean,
    )
    dialect: str = key(
        "How received texts are acknowledged: standard, or goippy for clients that were made for "
        "that program.",
        default="standard",
        convert=one_of("standard", "goippy"),
    )
    join_parts: bool = key(
        "Whether the parts of a long text are joined, for firmware that hands on each part by "
        "itself.",
        default=False,
        convert=boolean,
    )
    join_within: float = key(
        "How long a part may wait for the next one. Meanwhile the box repeats it, and gives it up "
        f"after about 12 seconds; at most {_LONGEST_JOIN_S:g}s.",
        default=_LONGEST_JOIN_S,
        convert=_span(0.5, _LONGEST_JOIN_S),
    )
    sources: tuple[Network, ...] = key(
        "The networks that this channel may send from, in addition to what the gateway demands.",
        default=(),
        convert=networks,
        example="192.0.2.10",
    )
    pin_address: bool = key(
        "Whether the first address that this channel reports from with the right password is the "
        "only one until the daemon restarts; its port may change.",
        default=False,
        convert=boolean,
    )
    liveness: float = key(
        "After what time without a keepalive the channel counts as gone. Boxes send one every 30 "
        "seconds.",
        default=92.0,
        convert=_span(5, 3600),
    )
    answer_timeout: float = key(
        "How long the box may take to answer a step of the conversation before it is repeated.",
        default=5.0,
        convert=_span(0.1, 20),
    )
    send_timeout: float = key(
        "How long the sending of one text may take in all. The box itself gives up after 90 "
        "seconds.",
        default=60.0,
        convert=_span(1, 85),
    )
    ussd_repeat: float = key(
        "After what time without an answer a USSD code is sent once more. An early repeat breaks "
        "the dialogue.",
        default=60.0,
        convert=_span(10, 600),
    )
    ussd_timeout: float = key(
        "How long the network may take to answer a USSD code.",
        default=120.0,
        convert=_span(10, 600),
    )
    # The boxes choose the 7-bit alphabet for ASCII alone (vendor's change log), not for all it has.
    charset: Charset = attrs.field(default=Charset.ASCII, kw_only=True)


def check(lines: Mapping[str, GoipLine]) -> None:
    """
    Refuse lines of one gateway that contradict each other.

    :raises ConfigError: two lines have the same id, so that nothing tells them apart.
    """
    owners: dict[str, str] = {}
    for label, line in lines.items():
        first = owners.setdefault(line.id, label)
        if first != label:
            raise ConfigError(
                f"the id {line.id!r} of [line:{label}] is that of [line:{first}] already; "
                "every channel of a gateway needs an id of its own",
                key="id",
            )
