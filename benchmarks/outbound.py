"""
Chat messages of XMPP users, through a real Prosody and the daemon, to GoIP channels that send them.

The channels take no time to send, so the figure is that of the bridge: from the first stanza to the
last text on its way, durable in between.
"""

from __future__ import annotations

from typing import Any

from benchmarks import rig
from benchmarks.child import Child, Load
from benchmarks.figures import Section, latencies
from benchmarks.rig import Bridge, Prosody, Setup, profiled

DESCRIPTION = "chat messages from XMPP users to 4 and 64 GoIP channels, in bulk and one-shot mode"

_USERS = 4


def run(setup: Setup) -> list[Section]:
    """Measure."""
    section = Section(
        "Outbound: XMPP to GoIP, end to end",
        (
            "mode",
            "channels",
            "texts/s",
            "p50 ms",
            "p99 ms",
            "bridge us/text",
            "bridge core",
            "missing",
            "twice",
            "errors",
        ),
    )
    for mode in setup.options.get("modes", "bulk one-shot").split():
        for lines in (int(n) for n in setup.options.get("channels", "4 64").split()):
            _measure(setup, section, mode, lines)
    return [section]


def _measure(setup: Setup, section: Section, mode: str, lines: int) -> None:
    folder = setup.folder / f"{mode}-{lines}"
    folder.mkdir()
    server = Prosody(folder / "prosody")
    daemon = Bridge(
        folder / "bridge",
        lines=lines,
        component_port=server.component_port,
        line_keys=f"mode = {mode}\n",
    )
    with server.start(), daemon.start() as bridge:
        daemon.wait_for_link()
        name = f"{mode}-{lines}"
        with profiled(setup, bridge, f"outbound-{name}"):
            count = setup.count(10_000)
            rate = _texts(setup, section, mode, name, bridge, daemon, server, count, 0.0)
        count = setup.count(int(rate / 2 * 6))
        _texts(setup, section, f"{mode} at half", name, bridge, daemon, server, count, rate / 2)


def _texts(
    setup: Setup,
    section: Section,
    mode: str,
    name: str,
    bridge: Child,
    daemon: Bridge,
    server: Prosody,
    count: int,
    rate: float,
) -> float:
    lines = daemon.lines
    options: dict[str, Any] = {"count": count, "lines": lines}
    with (
        rig.phones(setup, "take", daemon.udp_port, f"{name}-take", **options) as take,
        rig.users(
            setup, "talk", server.client_port, _USERS, f"{name}-talk", rate=rate, **options
        ) as talk,
    ):
        take.hear()
        talk.hear()
        load = Load(bridge=bridge)
        talk.tell()
        taken = take.hear(300)
        seconds, cpu_s = load.so_far()
        talked = talk.hear(300)
    elapsed_s = (taken["last_ns"] - talked["first_ns"]) / 1e9
    times = latencies(rig.delays_s(setup, f"{name}-talk", f"{name}-take"))
    section.add(
        mode,
        lines,
        taken["sent"] / elapsed_s,
        times["p50_ms"],
        times["p99_ms"],
        cpu_s["bridge"] / count * 1e6,
        cpu_s["bridge"] / seconds,
        count - taken["sent"],
        taken["twice"],
        talked["errors"],
    )
    section.details.setdefault("runs", []).append(
        {"mode": mode, "lines": lines, "rate": rate, "talked": talked, "taken": taken, **times}
    )
    if talked["first_error"]:
        section.notes.append(f"the first error: {talked['first_error']}")
    return float(taken["sent"] / elapsed_s)
