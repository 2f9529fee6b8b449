"""Tests of what the running daemon is asked about providers and about who wants no texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smsbridge.config import load
from smsbridge.core.message import FromPerson
from smsbridge.core.records import FoundLine, Reconciled
from smsbridge.daemon import Daemon, Gateways
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.interfaces import IDiscover, IReconcile
from smsbridge.web.bridge import IBridge
from tests.core.gateways import ScriptedGateway
from tests.core.optouts import FakeOptOuts
from tests.core.rig import NUMBER, OTHER, Rig

_INI = """\
[smsbridge]
state = state
[gateway:box]
kind = demo
[line:one]
gateway = box
number = +12025550100
"""


@implementer(IReconcile, IDiscover)
class Provider(ScriptedGateway):
    """A gateway whose peer lists what it has."""

    def reconcile(self, since_ms: int, told: Callable[[str], None]) -> Deferred[Reconciled]:
        """See `IReconcile`."""
        told(f"since {since_ms}")
        return succeed(Reconciled(seen=1, missed=0, statuses=0))

    def discover(self) -> Deferred[list[FoundLine]]:
        """See `IDiscover`."""
        return succeed([FoundLine(number="+12025550100"), FoundLine(number="+12025550109")])


class DaemonTests(SynchronousTestCase):
    """A daemon with a box that can nothing of this, and a provider that can."""

    def setUp(self) -> None:
        """Build it; nothing is started."""
        rig = Rig(self.mktemp())
        self.addCleanup(rig.close)
        self.rig = rig
        path = Path(self.mktemp())
        path.write_text(_INI, "utf-8")
        config = load(path)
        self.world = rig.world
        self.world.directory = config.directory
        self.out = self.world.opt_outs = FakeOptOuts()
        gateways = Gateways(rig.clock, rig.inbox, rig.dispatcher, rig.world)
        gateways._by_label = {"box": rig.box, "work": Provider("work")}
        unused: Any = None
        self.daemon = Daemon(
            rig.clock,
            config,
            rig.now_ms,
            rig.store,
            rig.dispatcher,
            rig.inbox,
            rig.world,
            rig.changes,
            gateways,
            unused,
        )

    def refusal(self, asked: Deferred[Any]) -> str:
        """Return the sentence with which something was refused."""
        error = self.failureResultOf(asked, Refused).value
        assert isinstance(error, Refused)
        return error.text

    def committed(self, asked: Deferred[Any]) -> Any:
        """Commit, and return the result."""
        self.rig.settle()
        return self.successResultOf(asked)

    def test_provides_what_the_web_was_promised(self) -> None:
        """The control API can ask all of it."""
        verifyObject(IBridge, self.daemon)

    def test_a_provider_is_asked(self) -> None:
        """The gateway hears since when, and its sentences are passed on."""
        told: list[str] = []

        result = self.successResultOf(self.daemon.reconcile("work", 5, told.append))

        self.assertEqual((result.seen, told), (1, ["since 5"]))
        self.assertEqual((self.daemon.reconciling(), self.daemon.discovering()), (["work"],) * 2)

    def test_a_gateway_that_cannot_be_asked_names_those_that_can(self) -> None:
        """The operator reads which name to use."""
        for asked in (self.daemon.reconcile("box", 5, print), self.daemon.discover("box")):
            said = self.refusal(asked)
            self.assertIn("The gateway box (", said)
            self.assertIn("these can: work.", said)
        self.assertIn("there are: box, work.", self.refusal(self.daemon.discover("nope")))

    def test_numbers_of_an_account_come_with_their_lines(self) -> None:
        """Which number is configured already is told here, where lines are known."""
        found = self.successResultOf(self.daemon.discover("work"))

        self.assertEqual([each.line for each in found], ["one", ""])

    def test_the_operator_puts_numbers_out_as_they_are_typed(self) -> None:
        """National spelling is read; twice is once."""
        self.assertTrue(self.committed(self.daemon.opt_out("one", "(202) 555-0123")))
        self.assertFalse(self.committed(self.daemon.opt_out("one", "+12025550123")))

        (out,) = self.daemon.opt_outs("one")
        self.assertEqual((out.number, out.source), ("+12025550123", "operator"))
        self.assertEqual(self.daemon.opt_outs(""), [out])
        self.assertTrue(self.successResultOf(self.daemon.opt_in("one", "202-555-0123")))
        self.assertEqual(self.daemon.opt_outs("one"), [])

    def test_wrong_lines_and_numbers_are_refused(self) -> None:
        """Each is a sentence."""
        self.assertIn("there are: one", self.refusal(self.daemon.opt_out("two", "+12025550123")))
        self.assertIn("twelve", self.refusal(self.daemon.opt_out("one", "twelve")))
        self.assertIn("there are: one", self.refusal(self.daemon.opt_in("two", "+12025550123")))
        self.assertRaises(Refused, self.daemon.opt_outs, "two")

    def test_numbers_of_a_line_that_was_removed_can_be_taken_back(self) -> None:
        """What is kept stays within reach."""
        self.successResultOf(self.out.opt_out("old", "+12025550123", "words"))

        self.assertEqual(len(self.daemon.opt_outs("old")), 1)
        self.assertTrue(self.successResultOf(self.daemon.opt_in("old", "+12025550123")))

    def test_what_is_sent_again_leaves_out_who_is_out(self) -> None:
        """What STOP took back cannot be sent by the back door; the rest of it can."""
        for number in (NUMBER, OTHER):
            self.rig.inbox.accept(
                FromPerson(person="", recipients=(number,), body="hello", line="one")
            )
        self.rig.settle()
        ids = tuple(row.delivery_id for row in self.rig.store.rows())
        self.assertEqual(self.committed(self.daemon.drop(ids)), 2)
        self.committed(self.daemon.opt_out("one", NUMBER))

        self.assertEqual(self.committed(self.daemon.retry(ids)), 1)
        self.assertEqual(self.rig.statuses(), ["dropped", "queued"])
        self.assertIn("opt-out remove one", self.refusal(self.daemon.retry(ids[:1])))
        self.committed(self.daemon.opt_in("one", NUMBER))
        self.assertEqual(self.committed(self.daemon.retry(ids[:1])), 1)

    def test_before_the_database_is_open_there_is_nothing_to_ask(self) -> None:
        """The command says so instead of showing an empty list."""
        self.world.opt_outs = None

        self.assertRaises(TemporaryFailure, self.daemon.opt_outs, "")
        self.failureResultOf(self.daemon.opt_out("one", "+12025550123"), TemporaryFailure)
