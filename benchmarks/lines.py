"""
A thousand registered lines, each sending one text a second in bulk sessions, for a while.

``--set feed=control`` posts the texts to the control socket as they fall due; ``feed=store`` puts
them into the database beforehand and lets ``pace = 1s`` of each line space them, which leaves out
what accepting costs.
"""

from __future__ import annotations

import time

from benchmarks import history, rig
from benchmarks.child import Child, Load, python
from benchmarks.figures import Section
from benchmarks.rig import Bridge, Setup, profiled

DESCRIPTION = "1,000 lines, each sending a text a second in bulk sessions, with keepalives"


def run(setup: Setup) -> list[Section]:
    """Measure."""
    section = Section(
        "Lines: registered and sending",
        (
            "lines",
            "feed",
            "seconds",
            "texts/s",
            "bridge core",
            "idle core",
            "memory MB",
            "refused",
            "missing",
            "twice",
        ),
    )
    for feed in setup.options.get("feed", "control store").split():
        _measure(setup, section, feed)
    return [section]


def _measure(setup: Setup, section: Section, feed: str) -> None:
    lines = int(setup.options.get("lines", "1000"))
    seconds = int(setup.seconds or max(10.0, 60 * setup.scale))
    count = lines * seconds
    keys = "receipts = never\n" + ("pace = 1s\n" if feed == "store" else "")
    daemon = Bridge(setup.folder / f"bridge-{feed}", lines=lines, users=0, line_keys=keys)
    if feed == "store":
        daemon.start().stop()  # makes the tables
        history.queue_texts(daemon.state / "smsbridge.sqlite3", lines, count)
    with (
        daemon.start() as bridge,
        rig.phones(
            setup,
            "take",
            daemon.udp_port,
            f"lines-{feed}",
            count=count,
            lines=lines,
            idle=15,
            seconds=seconds * 3 + 60,
        ) as take,
    ):
        take.hear(120)
        idle_core = 0.0
        if feed == "control":
            resting = Load(bridge=bridge)
            time.sleep(min(5, seconds))
            rested_s, cpu_s = resting.so_far()
            idle_core = cpu_s["bridge"] / rested_s
            command = python(
                "benchmarks.http_load",
                daemon.state / "control.sock",
                "--connections",
                50,
                "--count",
                count,
                "--lines",
                lines,
                "--rate",
                lines,
                "--seconds",
                seconds + 30,
            )
            with Child("feed", command, setup.folder / "feed.log", talks=True) as clients:
                clients.hear(60)
                load = Load(bridge=bridge)
                with profiled(setup, bridge, f"lines-{feed}"):
                    clients.tell()
                    posted = clients.hear(seconds + 90)
                    loaded_s, cpu_s = load.so_far()
                taken = take.hear(seconds + 90)
        else:
            load = Load(bridge=bridge)
            with profiled(setup, bridge, f"lines-{feed}"):
                taken = take.hear(seconds * 3 + 90)
                loaded_s, cpu_s = load.so_far()
            posted = {"refused": 0, "first_refusal": ""}
        memory_mb = bridge.memory_mb()
        left = [
            f"{each['status']}: {each['reason'] or 'no reason yet'}"
            for each in daemon.control.ask("GET", "/queue?status=queued+sending+uncertain&limit=20")
        ]
    elapsed_s = (taken["last_ns"] - taken["first_ns"]) / 1e9 or float("inf")
    section.add(
        lines,
        feed,
        elapsed_s,
        taken["sent"] / elapsed_s,
        cpu_s["bridge"] / loaded_s,
        idle_core,
        memory_mb,
        posted["refused"],
        count - taken["sent"],
        taken["twice"],
    )
    section.details.setdefault("runs", []).append({"feed": feed, "taken": taken, "posted": posted})
    if left:
        section.notes.append(f"{feed}: not sent within 15 s: {', '.join(left)}.")
    if posted["first_refusal"]:
        section.notes.append(f"the first refusal: {posted['first_refusal'].splitlines()[-1]}")
