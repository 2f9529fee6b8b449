"""
Texts that came while the XMPP server was away, drained when it is back.

The users log in while Prosody starts; the rate is that of the texts that reach them, from the first
to the last.
"""

from __future__ import annotations

from benchmarks import rig
from benchmarks.child import Load
from benchmarks.figures import Section
from benchmarks.rig import Bridge, Prosody, Setup, profiled

DESCRIPTION = "a backlog of 10,000 texts, drained when Prosody comes back"


def run(setup: Setup) -> list[Section]:
    """Measure."""
    section = Section(
        "Backlog towards XMPP",
        ("texts", "drained/s", "seconds until back", "bridge us/text", "missing", "doubles"),
    )
    count = setup.count(10_000)
    server = Prosody(setup.folder / "prosody")
    daemon = Bridge(setup.folder / "bridge", component_port=server.component_port)
    with daemon.start() as bridge:
        with rig.phones(setup, "push", daemon.udp_port, "push", count=count, window=64) as push:
            push.hear()
            push.tell()
            push.hear(300)
        with (
            server.start(),
            rig.users(setup, "count", server.client_port, 4, "count", count=count) as users,
        ):
            users.hear()
            load = Load(bridge=bridge)
            with profiled(setup, bridge, "backlog"):
                waited_s = daemon.wait_for_link()
                counted = users.hear(300)
            _, cpu_s = load.so_far()
    elapsed_s = (counted["last_ns"] - counted["first_ns"]) / 1e9
    section.add(
        count,
        counted["came"] / elapsed_s,
        waited_s,
        cpu_s["bridge"] / count * 1e6,
        count - counted["came"],
        counted["doubles"],
    )
    section.details.update(counted=counted)
    return [section]
