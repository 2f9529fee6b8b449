"""
What ``twistd smsbridge`` runs: the one place where store, core, gateways and web meet.

`makeService` builds and wires and opens nothing: twistd forks between it and the start.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uuid_utils
from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogPublisher
from twisted.python import usage

from smsbridge import __version__
from smsbridge.config import Config, ConfigErrors, load
from smsbridge.core.changes import Changes
from smsbridge.core.counts import Counts
from smsbridge.core.directory import World
from smsbridge.core.dispatcher import Dispatcher
from smsbridge.core.inbox import Inbox
from smsbridge.core.stages import StagedService
from smsbridge.daemon import Daemon, Gateways
from smsbridge.front import Front
from smsbridge.keys import ConfigError
from smsbridge.logs import LastErrors, Levels, use
from smsbridge.metrics import Exposition
from smsbridge.notify import Notices, Notifier
from smsbridge.openfiles import raise_open_files
from smsbridge.store.database import DatabaseError
from smsbridge.store.optouts import StoredOptOuts
from smsbridge.store.pending import PendingNotes
from smsbridge.store.service import MessageStore, StateFolder, StateFolderTaken
from smsbridge.web.api.admin import Installation
from smsbridge.web.control import About, Control
from smsbridge.web.site import ControlSocket

__all__ = ["Options", "build", "makeService"]

#: How soon the writer's thread gets the interpreter from a busy reactor; see `store.bulk`.
_SWITCH_INTERVAL_S = 0.0005
_GC_THRESHOLD = (20_000, 50, 100)


class Options(usage.Options):
    """The command line behind ``twistd smsbridge``."""

    synopsis = "[--config FILE]"
    longdesc = (
        "Joins phone lines (GoIP boxes, modems, providers) with people's chat programs. Everything "
        "is set in an ini file; 'smsbridge sample-config' prints one with every key explained, and "
        "'smsbridge check' tells whether yours is right."
    )
    optParameters = [
        ["config", "c", "/etc/smsbridge/smsbridge.ini", "The configuration to run with."]
    ]
    config: Config

    def postOptions(self) -> None:
        """Read the configuration; a wrong one ends the start with what is wrong."""
        # twistd changes its folder when it goes to the background.
        path = Path(os.path.abspath(self["config"]))
        try:
            self.config = load(path)
        except ConfigErrors as e:
            raise usage.UsageError(
                "the configuration cannot be used:\n  "
                + "\n  ".join(str(error) for error in e.errors)
            ) from None
        except ConfigError as e:
            raise usage.UsageError(f"the configuration cannot be used: {e}") from None
        settings = self.config.settings
        use(self.parent or {}, settings.log, Levels.parse(settings.log_level))


def makeService(options: Options) -> IService:
    """Build the daemon on the global reactor."""
    from twisted.internet import reactor

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    raise_open_files()
    config = options.config
    try:
        # Said here as a sentence; the lock itself is taken at the start, by the daemon's user.
        folder = StateFolder(config.settings.state)
        if folder.path.is_dir():
            folder.take()
            folder.leave()
    except StateFolderTaken as e:
        raise SystemExit(f"smsbridge: {e}") from None
    except OSError:
        pass  # not ours to write yet; the start tells
    return build(reactor, config)


def build(reactor: Any, config: Config) -> MultiService:
    """
    Build the daemon; starting the returned service opens everything.

    The services start in the order in which they are added here and stop in the reverse order.
    """
    settings = config.settings
    root = _Root()
    changes = Changes()
    counts = Counts()
    world = World(config.directory)
    # A SQLite file has one node, whatever the host is called today.
    node = settings.node or ("local" if settings.database == "sqlite" else platform.node())
    store = MessageStore(
        reactor, StateFolder(settings.state), settings.database, node, settings.threads
    )
    opt_outs = world.opt_outs = StoredOptOuts(store, _now_ms)
    world.pending = PendingNotes(store, _now_ms)
    dispatcher = Dispatcher(
        reactor,
        _now_ms,
        random.SystemRandom().random,
        store,
        world,
        changes,
        counts,
        settings.notify_after,
    )
    inbox = Inbox(store, dispatcher, world, changes, _now_ms, reactor.seconds, _new_id)
    gateways = Gateways(reactor, inbox, dispatcher, world)
    for label, (kind, gateway_config) in config.gateways.items():
        gateways.build(label, kind, gateway_config, config.lines_of(label))
    errors = LastErrors()
    globalLogPublisher.addObserver(errors)
    front = Front(
        reactor,
        config,
        _now_ms,
        store,
        world,
        inbox,
        Exposition(counts, lambda: store.statistics),
        errors,
        Installation(version=__version__, node=node, database=settings.database.partition(":")[0]),
        _print_line,
    )
    daemon = Daemon(
        reactor,
        config,
        _now_ms,
        store,
        dispatcher,
        inbox,
        world,
        changes,
        gateways,
        front.rebuild,
    )
    front.attend(daemon)
    daemon.reconfigured = front.reconfigured
    about = About(
        version=__version__,
        config=str(config.path),
        state=str(settings.state),
        node=node,
    )
    control = Control(daemon, reactor, about, front.door)
    notices = Notices(
        reactor, Notifier(os.environ.get("NOTIFY_SOCKET", "")), os.environ, daemon.unready
    )
    daemon.reloading = lambda: notices.reloading(time.monotonic())
    daemon.reloaded = notices.reloaded
    for service in (
        store,
        opt_outs,
        *front.before,
        dispatcher,
        gateways,
        front,
        ControlSocket(reactor, settings.state, control),
        daemon,
        notices,
    ):
        service.setServiceParent(root)
    return root


class _Root(StagedService):
    """Ends the program with a sentence, not a traceback, when something cannot be opened."""

    def privilegedStartService(self) -> None:
        """Open what only root may open."""
        with _sentences():
            super().privilegedStartService()

    def startService(self) -> None:
        """Start everything."""
        with _sentences():
            super().startService()
        # What is there now stays, so the collector (off until now, see `smsbridge.start`) need not
        # look at it; and what a text makes is gone with it, without the collector, which took a
        # third of the time at its defaults.
        gc.freeze()
        gc.enable()
        gc.set_threshold(*_GC_THRESHOLD)


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except (CannotListenError, DatabaseError, StateFolderTaken, OSError) as e:
        raise SystemExit(f"smsbridge cannot start: {e}") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _print_line(line: str) -> None:
    """Show a line on the terminal, past the log."""
    if sys.__stdout__ is not None:
        print(line, file=sys.__stdout__, flush=True)


def _new_id() -> str:
    return str(uuid_utils.uuid7())
