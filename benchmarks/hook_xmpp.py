"""
Signed webhooks of Twilio to four XMPP users behind a real Prosody, committed to SQLite before each
is answered.
"""

from __future__ import annotations

from benchmarks import rig, webhooks
from benchmarks.child import Child, Load
from benchmarks.figures import Section, latencies
from benchmarks.rig import Prosody, Setup, profiled
from benchmarks.webhooks import port_of

DESCRIPTION = "signed webhooks of a provider to XMPP users behind Prosody"
_CONNECTIONS = 50
_COLUMNS = (
    "pace",
    "calls/s",
    "texts/s",
    "answer p50 ms",
    "answer p99 ms",
    "user p50 ms",
    "user p99 ms",
    "bridge us/text",
    "bridge core",
    "refused",
    "missing",
    "doubles",
)


def run(setup: Setup) -> list[Section]:
    """Measure."""
    server = Prosody(setup.folder / "prosody")
    section = Section("Webhooks to XMPP, end to end", _COLUMNS)
    with server.start():
        daemon = webhooks.bridge(setup, users=4, component_port=server.component_port)
        with daemon.start() as bridge:
            daemon.wait_for_link()
            port = port_of(daemon)
            reached = _measure(setup, section, server, bridge, port, 1, 0.0)
            _measure(setup, section, server, bridge, port, 2, reached / 2)
            section.details["left_open"] = daemon.open_deliveries()
    return [section]


def _measure(
    setup: Setup,
    section: Section,
    server: Prosody,
    bridge: Child,
    port: int,
    number: int,
    rate: float,
) -> float:
    """Call; returns the texts a second that reached the users."""
    count = setup.count(int(rate * 8) if rate else 20_000)
    with (
        rig.users(setup, "count", server.client_port, 4, "count", count=count) as users,
        webhooks.load(setup, "load", port, _CONNECTIONS, count, number, rate) as clients,
    ):
        users.hear()
        clients.hear()
        costs = Load(bridge=bridge)
        with profiled(setup, bridge, f"hook-xmpp-{number}"):
            clients.tell()
            posted = clients.hear(300)
            counted = users.hear(300)
        seconds, cpu_s = costs.so_far()
    came = counted["came"]
    came_per_s = came / ((counted["last_ns"] - posted["first_ns"]) / 1e9)
    times = latencies(rig.delays_s(setup, "load", "count"))
    section.add(
        "half" if rate else "full",
        posted["answered"] / ((posted["last_ns"] - posted["first_ns"]) / 1e9),
        came_per_s,
        posted["p50_ms"],
        posted["p99_ms"],
        times["p50_ms"],
        times["p99_ms"],
        cpu_s["bridge"] / count * 1e6,
        cpu_s["bridge"] / seconds,
        posted["refused"],
        count - came,
        counted["doubles"],
    )
    section.details.setdefault("runs", []).append({"posted": posted, "counted": counted, **times})
    return float(came_per_s)
