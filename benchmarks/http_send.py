"""
Texts posted to the control socket and to the API, accepted durably, and sent by GoIP channels in
one-shot mode.

The rate of the way out is that of the texts leaving the channels, from the first request on.
"""

from __future__ import annotations

from benchmarks import rig
from benchmarks.child import Child, Load, python
from benchmarks.figures import Section
from benchmarks.rig import Bridge, Setup, profiled

_LINES = 64

DESCRIPTION = "HTTP requests that send texts, with 1 and 50 connections, to GoIP channels"


def run(setup: Setup) -> list[Section]:
    """Measure."""
    section = Section(
        "HTTP send, durable, end to end",
        (
            "to",
            "connections",
            "accept/s",
            "p50 ms",
            "p99 ms",
            "out/s",
            "bridge us/text",
            "refused",
            "missing",
            "twice",
        ),
    )
    for api in (False, True):
        for connections in (1, 50):
            _measure(setup, section, connections, api)
    return [section]


def _measure(setup: Setup, section: Section, connections: int, api: bool) -> None:
    count = setup.count(10_000 if connections > 1 else 4000)
    name = f"{'api' if api else 'http'}-{connections}"
    port = rig.free_port()
    lines = " ".join(f"line{number}" for number in range(1, _LINES + 1))
    daemon = Bridge(
        setup.folder / f"bridge-{name}",
        lines=_LINES,
        users=0,
        line_keys="mode = one-shot\n",
        more=f"[http]\nlisten = tcp:{port}:interface=127.0.0.1\n"
        f"[person:program]\nlines = {lines}\nrate = 0\n",
    )
    with (
        daemon.start() as bridge,
        rig.phones(
            setup, "take", daemon.udp_port, f"{name}-take", count=count, lines=_LINES, idle=10
        ) as take,
    ):
        take.hear()
        where: list[object] = [daemon.state / "control.sock"]
        if api:
            asked = {"name": "bench", "person": "program"}
            token = daemon.control.ask("POST", "/tokens", asked)["token"]
            where = [port, "--path", "/api/v2.2/messages", "--token", token]
        command = python(
            "benchmarks.http_load",
            *where,
            "--connections",
            connections,
            "--count",
            count,
            "--lines",
            _LINES,
        )
        with Child(name, command, setup.folder / f"{name}.log", talks=True) as clients:
            clients.hear()
            load = Load(bridge=bridge)
            with profiled(setup, bridge, name):
                clients.tell()
                posted = clients.hear(300)
                taken = take.hear(300)
            _, cpu_s = load.so_far()
    accept_s = (posted["last_ns"] - posted["first_ns"]) / 1e9
    out_s = (taken["last_ns"] - posted["first_ns"]) / 1e9
    section.add(
        "API" if api else "control",
        connections,
        posted["answered"] / accept_s,
        posted["p50_ms"],
        posted["p99_ms"],
        taken["sent"] / out_s,
        cpu_s["bridge"] / count * 1e6,
        posted["refused"],
        count - taken["sent"],
        taken["twice"],
    )
    section.details.setdefault("runs", []).append({"posted": posted, "taken": taken})
    if posted["first_refusal"]:
        section.notes.append(f"the first refusal: {posted['first_refusal'].splitlines()[-1]}")
