"""Lines without hardware."""

from __future__ import annotations

import io
from typing import Any

from attrs import evolve
from PIL import Image
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.directory import World
from smsbridge.core.message import Delivery, Direction, FromNetwork, Kind, Media, Sent, Status
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.demo import FACTORY
from smsbridge.gateways.demo.config import BEHAVIORS, DemoGateway, DemoLine
from smsbridge.interfaces import ILineControl, IUssd
from tests.contracts import NOBODY_KNOWS, GatewayContract
from tests.fakes import StubInbox, StubLanes

OWN = "+12025550100"
NUMBER = "+12025550123"
OTHER = "+12025550124"
CONFIG = DemoGateway()
LINES = {"one": DemoLine(label="one", gateway="demo", number=OWN)}


class KeepingFiles:
    """Keeps files in a list; full when the test says so."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.full = False

    def keep(
        self, data: bytes, name: str = "", content_type: str = "", *, received: bool = False
    ) -> Deferred[Media]:
        """See `Files.keep`."""
        if self.full:
            return fail(Refused("storage-full"))
        self.kept.append(data)
        return succeed(Media(digest=f"{len(self.kept):064x}", name=name, size=len(data)))


class DemoTestCase(SynchronousTestCase):
    """A started gateway on a clock."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.inbox = StubInbox()
        self.lanes = StubLanes()
        self.files: Any = KeepingFiles()
        self.world = World(media=self.files)
        self.number = NUMBER
        self.gateway = FACTORY.build(
            self.clock, "demo", CONFIG, LINES, self.inbox, self.lanes, self.world
        )
        self.gateway.startService()

    def delivery(self, name: str, body: str = "hello", **changes: Any) -> Delivery:
        """Make a delivery to the number."""
        values: dict[str, Any] = {
            "delivery_id": name,
            "message_id": name,
            "kind": Kind.MESSAGE,
            "gateway": "demo",
            "lane": "demo/one",
            "line": "one",
            "person": "",
            "destination": self.number,
            "order_key": self.number,
            "status": Status.SENDING,
            "attempts": 1,
            "created_at_ms": 0,
            "expires_at_ms": 10**9,
            "body": body,
            "recipients": (self.number,),
            "direction": Direction.OUT,
        }
        values.update(changes)
        return Delivery(**values)

    def send(self, body: str = "hello", number: str = NUMBER, **changes: Any) -> Any:
        """Send one text; returns its outcome."""
        self.number = number
        sending = self.gateway.deliver("demo/one", [self.delivery(f"m{number}", body, **changes)])
        self.pass_time(5)
        (outcome,) = self.successResultOf(sending)
        return outcome

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.5] * max(1, round(seconds * 2)))

    def answers(self) -> list[FromNetwork]:
        """Return what arrived."""
        return [text for text in self.inbox.messages if isinstance(text, FromNetwork)]


class DemoContractTests(GatewayContract, DemoTestCase):
    """The contract of gateways."""

    factory = FACTORY
    silence_is = NOBODY_KNOWS

    # The mixin's own come first in the order of the bases.
    delivery = DemoTestCase.delivery
    pass_time = DemoTestCase.pass_time

    def start_gateway(self) -> Any:
        """Return the gateway, which is started."""
        return self.gateway

    def lane(self) -> str:
        """Return the lane of the line."""
        return "demo/one"

    def peer_takes(self) -> None:
        """Write to an ordinary number."""
        self.number = NUMBER

    def peer_refuses(self) -> None:
        """Write to a number that does not exist."""
        self.number = "+12025550155"

    def peer_takes_and_is_silent(self) -> None:
        """Write to a number of which nobody hears again."""
        self.number = "+12025550167"

    def peer_is_gone(self) -> None:
        """Write to a number that times out first."""
        self.number = "+12025550177"

    def bodies_at_peer(self) -> list[str]:
        """Tell by the answers what was got."""
        self.pass_time(5)
        return [text.body.removeprefix('You wrote: "')[:-1] for text in self.answers()]

    def configuration(self) -> tuple[Any, Any]:
        """Return what it was built with."""
        return CONFIG, LINES


class TextTests(DemoTestCase):
    """What becomes of texts."""

    def test_interfaces_are_kept(self) -> None:
        """It has USSD and commands."""
        self.assertTrue(verifyObject(IUssd, self.gateway))
        self.assertTrue(verifyObject(ILineControl, self.gateway))

    def test_a_text_is_delivered_after_a_second_and_answered_after_another(self) -> None:
        """The sender sees one tick after the other, and then somebody writes back."""
        sending = self.gateway.deliver("demo/one", [self.delivery("m1", "How are you?")])
        self.assertIsInstance(self.successResultOf(sending)[0], Sent)
        self.assertEqual(self.inbox.reports, [])

        self.clock.advance(1)
        (report,) = self.inbox.reports
        self.assertEqual((report.delivery_id, report.status), ("m1", Status.DELIVERED))
        self.assertEqual(self.answers(), [])

        self.clock.advance(1)
        (answer,) = self.answers()
        self.assertEqual(
            (answer.line, answer.sender, answer.body, answer.recipients),
            ("one", NUMBER, 'You wrote: "How are you?"', ()),
        )

    def test_a_picture_is_answered_with_a_picture(self) -> None:
        """MMS goes both ways; what went as a link is only a text."""
        self.send("look", media=(Media(digest="a" * 64),))
        (answer,) = self.answers()
        self.assertEqual(len(answer.media), 1)
        picture = Image.open(io.BytesIO(self.files.kept[0]))
        self.assertEqual((picture.format, picture.size), ("JPEG", (320, 240)))

        self.send("look", OTHER, media=(Media(digest="a" * 64, url="https://x/"),))
        self.assertEqual(self.answers()[-1].media, ())

    def test_without_room_the_answer_has_no_picture(self) -> None:
        """The text comes all the same."""
        self.files.full = True

        self.send("", media=(Media(digest="a" * 64),))

        self.assertEqual(self.answers()[0].media, ())
        self.assertIn("picture", self.answers()[0].body)

    def test_a_group_is_answered_once_and_to_all(self) -> None:
        """The answer stands in the same conversation."""
        group = (NUMBER, OTHER)
        for number in group:
            self.send("Hi all", number, recipients=group)

        (answer,) = self.answers()

        self.assertEqual((answer.sender, answer.recipients), (NUMBER, (OWN, OTHER)))
        self.assertEqual(len(self.inbox.reports), 2)

    def test_certain_numbers_fail(self) -> None:
        """Every way to fail can be seen."""
        refused = self.send(number="+12025550155")
        self.assertIsInstance(refused, PermanentFailure)
        self.assertEqual(refused.reason, "unknown-subscriber")
        self.assertIsInstance(self.send(number="+12025550156"), Sent)
        self.assertEqual(
            (self.inbox.reports[-1].status, self.inbox.reports[-1].reason),
            (Status.FAILED, "unreachable"),
        )
        count = len(self.inbox.reports)
        self.assertIsInstance(self.send(number="+12025550166"), Sent)
        self.assertEqual(len(self.inbox.reports), count)
        self.assertIsInstance(self.send(number="+12025550167"), UnknownOutcome)
        self.assertIsInstance(self.send(number="+12025550177"), TemporaryFailure)
        self.assertIsInstance(self.send(number="+12025550177"), Sent)
        self.assertIsInstance(self.send(number="+12025550188"), Sent)
        self.assertEqual([text.sender for text in self.answers()], ["+12025550177"])

    def test_certain_numbers_answer_in_other_ways(self) -> None:
        """With a picture, or several times."""
        self.send(number="+12025550198")
        self.assertEqual(len(self.answers()[-1].media), 1)
        self.send(number="+12025550199")
        self.pass_time(5)
        self.assertEqual([text.sender[-2:] for text in self.answers()], ["98", "99", "99", "99"])

    def test_help_tells_the_numbers(self) -> None:
        """Who asks by text is answered by text, who asks the line as well."""
        self.send("Help")
        told = self.successResultOf(self.gateway.control("one", "numbers", []))

        for ending in BEHAVIORS:
            self.assertIn(f"{ending} ", self.answers()[0].body)
            self.assertIn(f"{ending} ", told)

    def test_answers_can_be_switched_off(self) -> None:
        """Reports come all the same."""
        self.gateway.update(DemoGateway(answers=False, delay=0.5), LINES)

        self.send()

        self.assertEqual(self.answers(), [])
        self.assertEqual(len(self.inbox.reports), 1)

    def test_what_follows_a_timeout_does_not_overtake_it(self) -> None:
        """The order of a conversation is kept, and others do not wait."""
        self.number = "+12025550177"
        first, second = self.delivery("m1"), self.delivery("m2")
        self.number = NUMBER
        third = self.delivery("m3")
        sending = self.gateway.deliver("demo/one", [first, second, third])
        self.pass_time(5)

        outcomes = self.successResultOf(sending)

        self.assertEqual(
            [type(outcome).__name__ for outcome in outcomes],
            ["TemporaryFailure", "NotTried", "Sent"],
        )

    def test_answers_wait_while_the_database_is_away(self) -> None:
        """Nothing is lost meanwhile."""
        self.inbox.failure = TemporaryFailure("internal")
        self.send()
        self.assertEqual(self.answers(), [])

        self.inbox.failure = None
        self.pass_time(5)

        self.assertEqual(len(self.answers()), 1)

    def test_nothing_is_left_after_the_stop(self) -> None:
        """No timer outlives the gateway, and its lanes are closed."""
        self.gateway.deliver("demo/one", [self.delivery("m1")])

        self.gateway.stopService()

        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.lanes.is_open("demo/one"))


class LineTests(DemoTestCase):
    """USSD, commands and changes."""

    def ussd(self, code: str) -> Any:
        """Send a code; returns the answer."""
        asking = self.gateway.ussd("one", code)
        self.pass_time(2)
        return asking

    def test_ussd_answers_and_has_a_menu(self) -> None:
        """A balance, and a dialogue of two steps."""
        self.assertIn("12.34", self.successResultOf(self.ussd("*100#")))
        self.assertIn("1 Balance", self.successResultOf(self.ussd("*111#")))
        self.assertIn("GB", self.successResultOf(self.ussd("2")))
        self.failureResultOf(self.ussd("2"), PermanentFailure)
        self.failureResultOf(self.ussd("*9#"), PermanentFailure)

    def test_commands_let_things_happen(self) -> None:
        """Texts, pictures, calls and notices arrive on demand."""
        for command, arguments in (
            ("receive", [OTHER, "good", "morning"]),
            ("receive", []),
            ("picture", []),
            ("call", [OTHER]),
            ("notice", ["Hello"]),
        ):
            self.successResultOf(self.gateway.control("one", command, arguments))

        first, second, third = self.answers()
        self.assertEqual((first.sender, first.body), (OTHER, "good morning"))
        self.assertEqual(second.sender, NUMBER)
        self.assertEqual(len(third.media), 1)
        self.assertEqual(self.inbox.calls[0].number, OTHER)
        self.assertEqual(self.inbox.notices[0].body, "Hello")
        self.failureResultOf(self.gateway.control("one", "fly", []), PermanentFailure)
        self.failureResultOf(self.gateway.control("none", "up", []), PermanentFailure)

    def test_a_line_can_be_taken_down_and_up(self) -> None:
        """What waits stays queued meanwhile, and the state says so."""
        self.successResultOf(self.gateway.control("one", "down", []))
        self.assertEqual(self.lanes.closed["demo/one"], ("line-down", ""))
        self.assertFalse(self.gateway.line_status()[0].up)
        self.assertIsInstance(self.send(), TemporaryFailure)
        self.failureResultOf(self.ussd("*100#"), TemporaryFailure)

        self.successResultOf(self.gateway.control("one", "up", []))

        self.assertTrue(self.lanes.is_open("demo/one"))
        self.assertEqual(self.gateway.line_status()[0].operator, "Demo network")

    def test_lines_come_and_go_with_the_configuration(self) -> None:
        """A reload opens new lines, closes old ones, and leaves the rest alone."""
        two = evolve(LINES["one"], label="two", number="")
        self.assertTrue(self.gateway.update(CONFIG, {**LINES, "two": two}))
        self.assertTrue(self.lanes.is_open("demo/two"))
        self.assertEqual(self.lanes.history.count(("open", "demo/one")), 1)

        off = evolve(LINES["one"], enabled=False)
        self.gateway.update(CONFIG, {"one": off})

        self.assertEqual(self.lanes.closed["demo/two"], ("unknown-line", ""))
        self.assertEqual(self.lanes.closed["demo/one"], ("line-disabled", ""))
        self.assertIn("switched off", self.gateway.line_status()[0].state)
