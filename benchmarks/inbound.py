"""
Texts from four GoIP channels to four XMPP users behind a real Prosody, committed to SQLite.

The null bridge runs in the same set-up just before, with the same phones, users and Prosody.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import define

from benchmarks import rig
from benchmarks.child import Child, Load, python
from benchmarks.figures import Section, latencies
from benchmarks.rig import Bridge, Prosody, Setup, free_port, profiled

DESCRIPTION = "texts from 4 GoIP channels to XMPP users behind Prosody, beside a null bridge"

_COLUMNS = (
    "bridge",
    "window",
    "texts/s",
    "p50 ms",
    "p99 ms",
    "bridge us/text",
    "bridge core",
    "Prosody us/text",
    "missing",
    "doubles",
)


def run(setup: Setup) -> list[Section]:
    """Measure."""
    server = Prosody(setup.folder / "prosody")
    windows = [int(w) for w in setup.options.get("windows", "64 256").split()]
    with server.start() as prosody:
        run = _Run(setup, Section("Inbound: GoIP to XMPP, end to end", _COLUMNS), server, prosody)
        port = free_port(socket.SOCK_DGRAM)
        with _null_bridge(setup, server, port) as bridge:
            bridge.hear()
            null_rate = max(run.burst("null", bridge, port, window) for window in windows)
            run.paced("null at half", bridge, port, null_rate / 2)
        daemon = Bridge(setup.folder / "bridge", component_port=server.component_port)
        with daemon.start() as bridge:
            daemon.wait_for_link()
            reached = 0.0
            for window in windows:
                with profiled(setup, bridge, f"inbound-{window}"):
                    rate = run.burst("smsbridge", bridge, daemon.udp_port, window)
                reached = max(reached, rate)
            run.paced("smsbridge at half", bridge, daemon.udp_port, reached / 2)
            left = daemon.open_deliveries()
    section = run.section
    section.notes.append(
        f"smsbridge reaches {reached / null_rate:.2f} of the null bridge; "
        f"{left} deliveries are left open."
    )
    section.details.update(share_of_null_bridge=reached / null_rate, left_open=left)
    return [section]


def _null_bridge(setup: Setup, server: Prosody, port: int) -> Child:
    command = python(
        "benchmarks.null_bridge",
        *("--udp", port, "--component", server.component_port, "--secret", rig.SECRET),
    )
    return Child("null bridge", command, setup.folder / "null.log", talks=True)


@define
class _Run:
    """The measurements of one Prosody."""

    setup: Setup
    section: Section
    server: Prosody
    prosody: Child

    def burst(self, name: str, bridge: Child, port: int, window: int) -> float:
        """Push as fast as the window allows; returns the texts a second that reached the users."""
        return self._measure(name, bridge, port, self.setup.count(40_000), window, 0.0)

    def paced(self, name: str, bridge: Child, port: int, rate: float) -> None:
        """Push at a rate, for the latency."""
        self._measure(name, bridge, port, self.setup.count(int(rate * 8)), 0, rate)

    def _measure(
        self, name: str, bridge: Child, port: int, count: int, window: int, rate: float
    ) -> float:
        setup = self.setup
        options: dict[str, Any] = {"rate": rate} if rate else {"window": window}
        with (
            rig.users(setup, "count", self.server.client_port, 4, "count", count=count) as users,
            rig.phones(setup, "push", port, "push", count=count, **options) as push,
        ):
            users.hear()
            push.hear()
            load = Load(bridge=bridge, prosody=self.prosody)
            push.tell()
            pushed = push.hear(300)
            counted = users.hear(300)
            seconds, cpu_s = load.so_far()
        came = counted["came"]
        came_per_s = came / ((counted["last_ns"] - pushed["first_ns"]) / 1e9)
        times = latencies(rig.delays_s(setup, "push", "count"))
        self.section.add(
            name,
            window or None,
            came_per_s,
            times["p50_ms"],
            times["p99_ms"],
            cpu_s["bridge"] / count * 1e6,
            cpu_s["bridge"] / seconds,
            cpu_s["prosody"] / count * 1e6,
            count - came,
            counted["doubles"],
        )
        self.section.details.setdefault("runs", []).append(
            {
                "bridge": name,
                "window": window,
                "rate": rate,
                "count": count,
                "pushed": pushed,
                "counted": counted,
                "cpu_s": cpu_s,
                "memory_mb": bridge.memory_mb(),
                **times,
            }
        )
        return float(came_per_s)
