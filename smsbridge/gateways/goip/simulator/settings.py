"""
What a simulated box is like: its lines, its firmware's generation, how long things take.

The defaults are those of real hardware.  Every duration may be set down to zero, except the time
between two transmissions of a push.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

from smsbridge.gateways.goip import codec


@attrs.frozen
class Span:
    """A random duration in seconds between two bounds, or a fixed one."""

    low_s: float = 0.0
    high_s: float = attrs.field()

    @high_s.default
    def _same(self) -> float:
        return self.low_s

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.low_s <= self.high_s:
            raise ValueError("a duration is a number of seconds, or LOW-HIGH with LOW below HIGH")

    def draw(self, rng: random.Random) -> float:
        """Return a duration in seconds."""
        if self.low_s == self.high_s:
            return self.low_s
        return rng.uniform(self.low_s, self.high_s)

    @classmethod
    def parse(cls, text: str) -> Span:
        """
        Read ``2`` or ``2-5``.

        :raises ValueError: for anything else.
        """
        low, dash, high = text.partition("-")
        try:
            return cls(float(low), float(high)) if dash else cls(float(low))
        except ValueError:
            raise ValueError(f"{text!r} is not a duration such as 2 or 2-5 (seconds)") from None

    def __str__(self) -> str:
        if self.low_s == self.high_s:
            return f"{self.low_s:g}"
        return f"{self.low_s:g}-{self.high_s:g}"


@attrs.frozen(kw_only=True)
class Timing:
    """
    How long a device takes.

    ``keepalive_s`` zero sends a keepalive at power-up and none after it.
    """

    keepalive_s: float = 30.0
    resend_s: float = 3.0
    resends: int = 3
    session_s: float = 90.0
    gsm_init: Span = Span(5.0, 30.0)
    sms: Span = Span(2.0, 5.0)
    part_s: float = 2.0
    part_gap: Span = Span(0.0)
    delivery_report: Span = Span(1.0, 60.0)
    ussd: Span = Span(1.0, 8.0)
    ussd_menu_s: float = 60.0
    reboot_module: Span = Span(20.0, 40.0)
    reboot_box: Span = Span(60.0, 90.0)
    cells_s: float = 5.0

    def __attrs_post_init__(self) -> None:
        if self.resend_s <= 0:
            raise ValueError("the time between two transmissions of a push must be above zero")
        if self.keepalive_s < 0 or self.resends < 0 or self.session_s <= 0:
            raise ValueError("times and counts must not be negative")


INSTANT = Timing(
    gsm_init=Span(0),
    sms=Span(0),
    part_s=0,
    delivery_report=Span(0),
    ussd=Span(0),
    reboot_module=Span(0),
    reboot_box=Span(0),
    cells_s=0,
)
"""A device that takes no time at all, for tests and for load."""


@attrs.frozen(kw_only=True)
class Profile:
    """
    What a generation of firmware does.

    ``keepalive`` names the edition of the keepalive (1 ends after voip_status, 2 after pro, 3 has
    all fields).  ``resend_dup`` is the kind of device that sends a text again for a repeated SEND;
    the others only repeat its status.  ``wait_share`` is how often WAIT comes before OK.
    """

    name: str = "v3"
    keepalive: int = 3
    one_shot: bool = True
    ok_has_sms_no: bool = True
    report_has_num: bool = True
    report_per_part: bool = False
    reassembles: bool = True
    sends_smsc: bool = False
    cuts_by_length: bool = True
    resend_dup: bool = False
    lenient_ack: bool = False
    serial_pushes: bool = False
    ussd_padding: bool = False
    ussd_failure_as_answer: bool = False
    ussd_repeat_cancels: bool = True
    wait_share: float = 0.8
    max_sessions: int = 5
    sms_no_wrap: int = 256
    remembered_telids: int = 10


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "v1": Profile(
            name="v1",
            keepalive=1,
            one_shot=False,
            ok_has_sms_no=False,
            report_has_num=False,
            reassembles=False,
            ussd_padding=True,
            ussd_failure_as_answer=True,
        ),
        "v2": Profile(name="v2", keepalive=2, one_shot=False, reassembles=False),
        "v3": Profile(name="v3"),
    }
)


@attrs.frozen
class Menu:
    """What the network answers to a USSD code, and the choices that it then offers."""

    text: str
    choices: Mapping[str, Menu] = attrs.field(factory=dict)


def menu_tree(entries: Iterable[tuple[str, str]]) -> dict[str, Menu]:
    """
    Build the network's menus from pairs of path and text, such as ``*111#/1`` and its answer.

    A path must follow the path above it.

    :raises ValueError: when it does not.
    """
    root: dict[str, Menu] = {}
    menus: dict[str, dict[str, Menu]] = {}
    for path, text in entries:
        above, _, choice = path.rpartition("/")
        if above and above not in menus:
            raise ValueError(f"the menu {above!r} must be given before {path!r}")
        siblings = menus[above] if above else root
        menus[path] = {}
        siblings[choice] = Menu(text, menus[path])
    return root


DEFAULT_MENU = menu_tree(
    [
        ("*100#", "Your balance is 10.00"),
        ("*111#", "1) Balance\n2) Top up\n0) Leave"),
        ("*111#/1", "Your balance is 10.00"),
        ("*111#/2", "Choose an amount\n1) 5.00\n2) 10.00"),
        ("*111#/2/1", "Topped up by 5.00"),
        ("*111#/2/2", "Topped up by 10.00"),
        ("*111#/0", "Goodbye"),
    ]
)


def _checked_id(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    codec.check_id(value)


def _checked_password(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    codec.check_password(value)


@attrs.frozen(kw_only=True)
class LineSettings:
    """One channel: what is set on the device, and the SIM in it."""

    id: str = attrs.field(validator=_checked_id)
    password: str = attrs.field(repr=False, validator=_checked_password)
    num: str = ""
    imei: str = "860000000000011"
    imsi: str = "310150000000001"
    iccid: str = "8901000000000000001F"
    carrier: str = "Testnet"
    smsc: str = "+12025550199"


def numbered_lines(ids: Iterable[str], password: str) -> tuple[LineSettings, ...]:
    """Make a line for each id, each with a SIM and a fictional number of its own."""
    return tuple(
        LineSettings(
            id=id_,
            password=password,
            num=f"+1{202 + index // 100}55501{index % 100:02d}",
            imei=f"86{index:013d}",
            imsi=f"310150{index:09d}",
            iccid=f"8901{index:015d}F",
        )
        for index, id_ in enumerate(ids, 1)
    )


@attrs.frozen(kw_only=True)
class BoxSettings:
    """
    A whole box.

    ``server`` is where it reports to.  ``base_port`` n binds channel k to n + k, as devices do with
    9990 or 10990; 0 takes any free ports.  ``recvid_clock`` is ``real`` (numbers count down from
    the time of day) or ``epoch`` (from a small number, again after every reboot).  ``answer`` texts
    back to whoever was texted.  ``kept`` bounds what is remembered of the past.
    """

    server: tuple[str, int]
    lines: tuple[LineSettings, ...]
    timing: Timing = Timing()
    profile: Profile = PROFILES["v3"]
    base_port: int = 0
    interface: str = ""
    recvid_clock: str = "real"
    first_recvid: int | None = None
    delivery_reports: bool = True
    answer: bool = False
    answer_delay: Span = Span(2.0)
    menu: Mapping[str, Menu] = attrs.field(factory=lambda: DEFAULT_MENU)
    start_spread_s: float = 0.0
    kept: int = 100_000
    seed: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.lines:
            raise ValueError("a box needs at least one line")
        ids = [line.id for line in self.lines]
        twice = sorted({id_ for id_ in ids if ids.count(id_) > 1}) if len(ids) < 5000 else []
        if twice:
            raise ValueError(f"every line needs an id of its own; given twice: {', '.join(twice)}")
        if self.recvid_clock not in ("real", "epoch"):
            raise ValueError("the clock of the push numbers is 'real' or 'epoch'")
        if self.base_port and not 0 < self.base_port <= 65535 - len(self.lines):
            raise ValueError("the base port leaves no room below 65535 for every line")


DEMO_TIMING = Timing(
    keepalive_s=10.0,
    gsm_init=Span(0),
    sms=Span(0.3, 1.0),
    part_s=0.3,
    delivery_report=Span(2.0),
    ussd=Span(0.5, 1.5),
    reboot_module=Span(5.0),
    reboot_box=Span(8.0),
)


def demo_settings(
    server: tuple[str, int],
    password: str,
    ids: Iterable[str] = ("demo1", "demo2"),
    seed: int | None = None,
) -> BoxSettings:
    """Describe a brisk, friendly box that answers every text, for a first look at smsbridge."""
    return BoxSettings(
        server=server,
        lines=numbered_lines(ids, password),
        timing=DEMO_TIMING,
        answer=True,
        kept=1000,
        seed=seed,
    )
