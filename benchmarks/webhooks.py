"""
Webhooks of Twilio, signed, over keep-alive connections: the hook alone, and the daemon that commits
each text to SQLite before it answers.

The hook alone is the same code on the same site with an inbox that keeps nothing: what the store
costs is the difference.
"""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing
from typing import Any

from benchmarks import rig
from benchmarks.child import Child, Load, python
from benchmarks.figures import Section
from benchmarks.http_load import ACCOUNT
from benchmarks.phones import number_of_line
from benchmarks.rig import SECRET, Bridge, Setup, free_port, profiled

DESCRIPTION = "signed webhooks of a provider, with 1 and 50 connections, kept and not kept"
LINES = 4
PATH = "/hook/work"
PUBLIC_URL = "https://sms.example.org"
COLUMNS = (
    "what",
    "connections",
    "calls/s",
    "p50 ms",
    "p99 ms",
    "max ms",
    "us/call",
    "core",
    "refused",
    "missing",
)
#: How the second half of a run is paced, as a share of what was reached.
_PACED = 0.5


def run(setup: Setup) -> list[Section]:
    """Measure."""
    section = Section("Webhooks: signed, committed, answered", COLUMNS)
    port = free_port()
    with _alone(setup, port) as hook:
        hook.hear()
        for connections in (1, 50):
            measure(setup, section, "hook alone", hook, port, connections)
    daemon = bridge(setup, users=0)
    answered = 0
    with daemon.start() as child:
        port = port_of(daemon)
        rate = 0.0
        for connections in (1, 50):
            count, rate = measure(
                setup, section, "smsbridge", child, port, connections, number=connections
            )
            answered += count
        count, _ = measure(
            setup, section, "smsbridge at half", child, port, 50, number=99, rate=rate * _PACED
        )
        answered += count
        kept = _kept(daemon)
    section.details["lost"] = answered - kept
    section.notes.append(f"{answered} texts were answered, {kept} are in the store.")
    return [section]


def bridge(setup: Setup, users: int, **more: Any) -> Bridge:
    """Return a daemon with an account at Twilio."""
    port = free_port()
    return Bridge(
        setup.folder / "bridge",
        lines=LINES,
        users=users,
        line_gateway="work",
        more=f"[http]\nlisten = tcp:{port}:interface=127.0.0.1\npublic_url = {PUBLIC_URL}\n"
        f"[gateway:work]\nkind = twilio\naccount_sid = {ACCOUNT}\nauth_token = {SECRET}\n"
        "base_url = http://127.0.0.1:9\nreconcile_every = 0\n"
        + ("" if users else "[person:program]\nlines = line1 line2 line3 line4\n"),
        **more,
    )


def port_of(daemon: Bridge) -> int:
    """Return the port on which it listens for HTTP."""
    return int(daemon.more.partition("tcp:")[2].partition(":")[0])


def load(
    setup: Setup, name: str, port: int, connections: int, count: int, number: int, rate: float
) -> Child:
    """Make the clients; they wait to be told to begin."""
    command = python(
        "benchmarks.http_load",
        *(port, "--hook", PUBLIC_URL + PATH, "--secret", SECRET, "--lines", LINES),
        *("--connections", connections, "--count", count, "--run", number, "--rate", rate),
        *("--times", rig.times_file(setup, name)),
    )
    return Child(name, command, setup.folder / f"{name}.log", talks=True)


def measure(
    setup: Setup,
    section: Section,
    what: str,
    child: Child,
    port: int,
    connections: int,
    *,
    number: int = 0,
    rate: float = 0.0,
) -> tuple[int, float]:
    """
    Call as fast as possible, or at a rate; returns the count and the calls a second.

    :param number: of the run; the same ids twice would be repeats.
    """
    count = setup.count(int(rate * 8) if rate else 20_000 if connections > 1 else 4000)
    name = f"{what.replace(' ', '-')}-{connections}"
    with load(setup, name, port, connections, count, number, rate) as clients:
        clients.hear()
        costs = Load(child=child)
        with profiled(setup, child, name):
            clients.tell()
            posted = clients.hear(300)
        seconds, cpu_s = costs.so_far()
    took_s = (posted["last_ns"] - posted["first_ns"]) / 1e9
    section.add(
        what,
        connections,
        posted["answered"] / took_s,
        posted["p50_ms"],
        posted["p99_ms"],
        posted["max_ms"],
        cpu_s["child"] / count * 1e6,
        cpu_s["child"] / seconds,
        posted["refused"],
        count - posted["answered"],
    )
    section.details.setdefault("runs", []).append({"what": what, "posted": posted})
    if posted["first_refusal"]:
        section.notes.append(f"the first refusal: {posted['first_refusal'].splitlines()[0]}")
    return count, posted["answered"] / took_s


def _alone(setup: Setup, port: int) -> Child:
    command = python("benchmarks.webhooks", "--port", port)
    return Child("hook alone", command, setup.folder / "alone.log", talks=True)


def _serve() -> None:
    """Serve the hook with an inbox that keeps nothing."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    from twisted.internet import reactor
    from twisted.internet.defer import succeed

    from smsbridge.core.directory import World
    from smsbridge.core.message import Accepted
    from smsbridge.gateways.twilio import FACTORY
    from smsbridge.gateways.twilio.config import TwilioGateway
    from smsbridge.provider.account import Account
    from smsbridge.provider.arrivals import Arrivals
    from smsbridge.provider.client import Client
    from smsbridge.provider.dialect import ProviderLine
    from smsbridge.provider.early import Early
    from smsbridge.provider.hook import HookResource
    from smsbridge.web.site import Hooks, http_site

    class Nowhere:
        """Accepts whatever comes."""

        def accept(self, incoming: object) -> Any:
            """Say that it is kept."""
            return succeed(Accepted(message_id="kept-nowhere"))

    loop: Any = reactor
    inbox: Any = Nowhere()
    config = TwilioGateway(account_sid=ACCOUNT, auth_token=(SECRET,))
    lines = {
        f"line{index + 1}": ProviderLine(
            label=f"line{index + 1}", gateway="work", number=number_of_line(index)
        )
        for index in range(LINES)
    }
    world = World(public_url=PUBLIC_URL)
    account = Account("work", config, FACTORY.dialect(config), lines)
    arrivals = Arrivals(loop, account, inbox, world, Early(loop), Client(loop).ask)
    hook = HookResource(loop, account, arrivals, world)
    site = http_site({"hook": Hooks(lambda label: hook)}, reactor=loop)
    loop.listenTCP(given.port, site, interface="127.0.0.1")
    loop.callWhenRunning(print, '{"ready": true}', flush=True)
    loop.run()


def _kept(daemon: Bridge) -> int:
    """Count the texts in the store."""
    with closing(sqlite3.connect(daemon.state / "smsbridge.sqlite3")) as database:
        count: int = database.execute("SELECT count(*) FROM messages").fetchone()[0]
    return count


if __name__ == "__main__":
    _serve()
