"""Tests of `smsbridge.web.control`, over HTTP in memory against a bridge in memory."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.message import Status
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.web import control
from smsbridge.web.bridge import IBridge, Reloaded
from smsbridge.web.control import About, Control
from tests.web.bridge import OUR_NUMBER, START_MS, FakeBridge, delivery_id, message_id

ABOUT = About(version="1.2.3", config="a.ini", state="/state", node="here")
URL = "http://bridge.test"


class ControlTestCase(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        """Put the control API in front of a bridge in memory."""
        self.clock = Clock()
        self.clock.advance(START_MS / 1000)
        self.bridge = FakeBridge()
        self.control = Control(self.bridge, self.clock, ABOUT)
        self.treq = StubTreq(self.control.resource())

    def ask(self, method: str, path: str, body: object = None, code: int = 200) -> bytes:
        """Make a request and return the body of its answer."""
        data = None if body is None else json.dumps(body).encode()
        response = self.successResultOf(self.treq.request(method, URL + path, data=data))
        content = self.successResultOf(self.treq.content(response))
        self.assertEqual(response.code, code, content)
        self.phrase = response.phrase
        return content

    def get(self, path: str, code: int = 200) -> Any:
        """Make a GET and return the decoded answer."""
        return json.loads(self.ask("GET", path, code=code))

    def post(self, path: str, body: object, code: int = 200) -> Any:
        """Make a POST and return the decoded answer."""
        return json.loads(self.ask("POST", path, body, code=code))

    def rows(self, path: str) -> list[Any]:
        """Make a GET and return the decoded lines of the answer."""
        return [json.loads(each) for each in self.ask("GET", path).splitlines()]


class FakeBridgeTests(SynchronousTestCase):
    """The fake is what the control API expects."""

    def test_provides_the_interface(self) -> None:
        """The bridge in memory has every method with the right signature."""
        verifyObject(IBridge, FakeBridge())


class SendTests(ControlTestCase):
    """``POST /messages``."""

    def test_answers_with_the_id(self) -> None:
        """What was accepted is named by its message id."""
        answer = self.post(
            "/messages", {"line": "demo1", "to": ["+12025550123"], "text": "Grüße"}, 202
        )

        self.assertEqual(answer, {"id": message_id(1)})
        self.assertEqual(self.bridge.sent, [("demo1", ("+12025550123",), "Grüße", ())])

    def test_attachments_arrive_as_they_were(self) -> None:
        """Attachments travel as Base64 and reach the bridge byte by byte."""
        media = {
            "name": "cat.png",
            "content_type": "image/png",
            "data": base64.b64encode(bytes(range(256))).decode(),
        }

        self.post("/messages", {"to": ["+12025550123"], "media": [media]}, 202)

        (attachment,) = self.bridge.sent[0][3]
        self.assertEqual(
            (attachment.name, attachment.content_type, attachment.data),
            ("cat.png", "image/png", bytes(range(256))),
        )

    def test_refusal_is_told_with_reason_and_sentence(self) -> None:
        """A refusal of the core reaches programs as a reason and people as a sentence."""
        answer = self.post("/messages", {"to": ["twelve"], "text": "x"}, 422)

        self.assertEqual(answer["error"], "invalid-number")
        self.assertIn("+12025550123", answer["message"])

    def test_reasons_have_fitting_statuses(self) -> None:
        """Forbidden, unknown and overloaded are told apart by the HTTP status as well."""
        for reason, code in (
            ("destination-not-allowed", 403),
            ("unknown-line", 404),
            ("daily-cap", 429),
            ("too-long", 422),
        ):
            self.bridge.refusal = Refused(reason)
            self.assertEqual(self.post("/messages", {"to": ["+1"]}, code)["error"], reason)

    def test_statuses_have_words(self) -> None:
        """Whoever looks at the status line reads what it means, not "Unknown"."""
        self.bridge.refusal = Refused("throttled")

        self.post("/messages", {"to": ["+1"]}, 429)

        self.assertEqual(self.phrase, b"Too Many Requests")

    def test_bug_is_500_and_logged(self) -> None:
        """A text that we stumble over has an answer all the same."""
        self.bridge.refusal = KeyError("a bug")

        answer = self.post("/messages", {"to": ["+12025550123"], "text": "x"}, 500)

        self.assertEqual(answer["error"], "internal")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_nothing_but_this_path_is_for_texts(self) -> None:
        """Other paths and methods are what they always were."""
        self.post("/messages/", {"to": ["+12025550123"], "text": "x"}, 404)
        self.ask("PUT", "/messages", {}, 405)

        self.assertEqual(self.bridge.sent, [])

    def test_a_text_goes_its_way_without_its_sender(self) -> None:
        """Who goes away stops nothing; a failure that nobody hears is in the log."""
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for result in (message_id(1), TemporaryFailure("peer-down")):
            accepting: Deferred[str] = Deferred()
            self.bridge.send = lambda *_, accepting=accepting: accepting  # type: ignore[method-assign, misc]
            asked = self.treq.request("POST", URL + "/messages", data=b'{"to": ["+12025550123"]}')
            asked.cancel()
            self.failureResultOf(asked)
            self.treq.flush()

            self.assertFalse(accepting.called)
            if isinstance(result, Exception):
                accepting.errback(result)
            else:
                accepting.callback(result)

        said = [formatEvent(event) for event in observer]
        self.assertEqual(len([each for each in said if "nobody waited to hear" in each]), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_store_out_of_reach_is_503(self) -> None:
        """What may work later is answered so."""
        self.bridge.refusal = TemporaryFailure("peer-down", "The database does not answer.")

        answer = self.post("/messages", {"to": ["+12025550123"], "text": "x"}, 503)

        self.assertEqual(answer["message"], "The database does not answer.")

    def test_bad_requests_say_what_is_wrong(self) -> None:
        """Each way to get the body wrong has its own sentence, and nothing is sent."""
        for body, word in (
            ({"text": "x"}, "to"),
            ({"to": "+12025550123"}, "list"),
            ({"to": ["+12025550123"], "txt": "x"}, "txt"),
            ({"to": ["+12025550123"], "text": 5}, "text"),
            ({"to": ["+12025550123"], "media": [{"name": "a"}]}, "Base64"),
            ({"to": ["+12025550123"], "media": {}}, "media"),
            ([], "object"),
        ):
            answer = self.post("/messages", body, 400)
            self.assertEqual(answer["error"], "bad-request")
            self.assertIn(word, answer["message"])
        self.assertEqual(self.bridge.sent, [])

    def test_body_that_is_no_json_is_refused(self) -> None:
        """Bytes that are not JSON, or nest without end, get a 400."""
        for data in (b"\xff\xfe", b"{", b"[" * 100_000):
            response = self.successResultOf(self.treq.post(URL + "/messages", data=data))
            self.assertEqual(response.code, 400)

    def test_bug_is_logged_and_answered(self) -> None:
        """An unforeseen error leaves a traceback in the log and a sentence for the command."""
        self.bridge.refusal = ZeroDivisionError("secret detail")

        answer = self.post("/messages", {"to": ["+12025550123"], "text": "x"}, 500)

        self.assertEqual(answer["error"], "internal")
        self.assertNotIn("secret", answer["message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DoorTests(ControlTestCase):
    """Passwords and tokens; the commands' tests play them with a real door."""

    def test_without_a_door_there_is_nothing_to_change(self) -> None:
        """A daemon that keeps no accounts says so."""
        for path, body in (
            ("/password", {"person": "john", "password": "x"}),
            ("/tokens", {"name": "x", "person": "john"}),
            ("/tokens/remove", {"name": "x"}),
        ):
            self.assertIn("no passwords", self.post(path, body, code=404)["message"])
        self.assertIn("no passwords", self.get("/tokens", code=404)["message"])

    def test_expiry_is_a_number(self) -> None:
        """What is no span of time is refused before anything is made."""
        for expires_s in (0, -1, "90d", True, 1e12):
            said = self.post(
                "/tokens", {"name": "x", "person": "john", "expires_s": expires_s}, code=400
            )
            self.assertIn("number of seconds", said["message"])


class UnbrokenTests(SynchronousTestCase):
    """Changes whose reader goes away."""

    def test_goes_on_when_the_reader_is_gone(self) -> None:
        """Cancelling the wait does not cancel the work."""
        working: Deferred[int] = Deferred()
        waiting = control._unbroken(working)

        waiting.cancel()

        self.failureResultOf(waiting)
        self.assertFalse(working.called)
        working.callback(1)

    def test_late_failure_is_logged(self) -> None:
        """A change that fails after its reader went away leaves a line in the log."""
        working: Deferred[int] = Deferred()
        waiting = control._unbroken(working)
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        waiting.cancel()
        self.failureResultOf(waiting)

        working.errback(TemporaryFailure("peer-down"))

        self.assertIn("does not answer", formatEvent(observer[-1]))

    def test_result_and_failure_pass(self) -> None:
        """Who stays hears what came of it."""
        good: Deferred[int] = Deferred()
        bad: Deferred[int] = Deferred()
        waiting = [control._unbroken(good), control._unbroken(bad)]

        good.callback(5)
        bad.errback(Refused("empty"))

        self.assertEqual(self.successResultOf(waiting[0]), 5)
        self.failureResultOf(waiting[1], Refused)


class ListingTests(ControlTestCase):
    """``GET /messages`` without following."""

    def test_message_has_the_promised_shape(self) -> None:
        """The names, their order and their kinds are those that programs rely on."""
        self.bridge.add("hi\nthere", incoming=True, status=Status.DELIVERED)

        (row,) = self.rows("/messages")

        self.assertEqual(
            list(row), ["id", "line", "from", "to", "body", "media", "created_at", "deliveries"]
        )
        self.assertEqual(
            row,
            {
                "id": message_id(1),
                "line": "demo1",
                "from": "+12025550123",
                "to": [OUR_NUMBER],
                "body": "hi\nthere",
                "media": [],
                "created_at": "2026-11-21T10:00:00.000Z",
                "deliveries": [
                    {
                        "to": "john@example.com",
                        "gateway": "xmpp",
                        "status": "delivered",
                        "attempts": 1,
                        "reason": "",
                        "remote_id": "",
                    }
                ],
            },
        )

    def test_detail_adds_direction_and_author(self) -> None:
        """People's tables ask for more than programs are promised."""
        self.bridge.add("hi")

        (row,) = self.rows("/messages?detail=1")

        self.assertEqual((row["direction"], row["author"]), ("out", ""))

    def test_every_message_comes_oldest_first(self) -> None:
        """A listing without a limit has all messages, whatever the pages' size."""
        for count in range(control._PAGE * 2 + 1):
            self.bridge.add(f"text {count}")

        rows = self.rows("/messages")

        self.assertEqual(
            [row["body"] for row in rows], [f"text {n}" for n in range(control._PAGE * 2 + 1)]
        )
        self.assertEqual(self.bridge.pages_read, 4)

    def test_limit_gives_the_newest(self) -> None:
        """With a limit the newest come, oldest of them first, on one page or many."""
        total = control._PAGE * 3 + 10
        for count in range(total):
            self.bridge.add(f"text {count}")

        for limit in (0, 1, control._PAGE, control._PAGE + 1, control._PAGE * 2 + 10, total, 9999):
            bodies = [row["body"] for row in self.rows(f"/messages?limit={limit}")]
            self.assertEqual(bodies, [f"text {n}" for n in range(max(0, total - limit), total)])

    def test_filters_reach_the_bridge(self) -> None:
        """Line, number and time choose among the messages."""
        self.bridge.add("one")
        self.bridge.add("two", line="demo2")
        self.bridge.add("three", number="+12025550124")

        def bodies(query: str) -> list[str]:
            return [row["body"] for row in self.rows("/messages?" + query)]

        self.assertEqual(bodies("line=demo2"), ["two"])
        self.assertEqual(bodies("number=%2B12025550124"), ["three"])
        self.assertEqual(bodies(f"since_ms={START_MS + 1000}"), ["two", "three"])

    def test_line_ends_and_controls_do_not_break_a_line(self) -> None:
        """Whatever a text holds, each message is one line, and comes out exact."""
        body = "a\nb\rc\x1b[31m\x85\x9b\u2028\u2029\x7f\ud83d e"
        self.bridge.add(body)

        content = self.ask("GET", "/messages").decode("utf-8")

        self.assertEqual(len(content.splitlines()), 1)
        self.assertEqual(json.loads(content)["body"], body)

    def test_bad_query_is_refused(self) -> None:
        """A field that is unknown or no number is named."""
        self.assertIn("limt", self.get("/messages?limt=5", 400)["message"])
        self.assertIn("limit", self.get("/messages?limit=-5", 400)["message"])
        self.assertIn("UTF-8", self.get("/messages?line=%ff", 400)["message"])

    def test_broken_store_ends_the_stream_with_the_error(self) -> None:
        """When the headers are out, the last line says what went wrong."""
        self.bridge.broken = TemporaryFailure("peer-down", "The database does not answer.")

        (row,) = self.rows("/messages")

        self.assertEqual(row["error"], "peer-down")

    def test_unforeseen_error_in_a_stream_is_logged(self) -> None:
        """A bug within a stream has a traceback in the log and ends the stream with an error."""
        self.bridge.broken = ZeroDivisionError()

        (row,) = self.rows("/messages")

        self.assertEqual(row["error"], "internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FollowTests(ControlTestCase):
    """``GET /messages?follow=1``."""

    def follow(self, query: str = "") -> list[Any]:
        """Begin to follow; returns the list that grows with what arrives."""
        arrived: list[Any] = []
        response = self.successResultOf(self.treq.get(URL + "/messages?follow=1" + query))
        self.addCleanup(self.treq.flush)
        self.addCleanup(self.control.close)

        def collect(data: bytes) -> None:
            arrived.extend(json.loads(line) for line in data.splitlines())

        self.collected: Deferred[None] = self.treq.collect(response, collect)
        self.treq.flush()
        return arrived

    def test_shows_what_is_there_and_then_what_changes(self) -> None:
        """A follower sees the past, a new message, and what becomes of it."""
        self.bridge.add("before")

        arrived = self.follow()
        new = self.bridge.add("after")
        self.treq.flush()
        self.bridge.settle(new, Status.DELIVERED)
        self.treq.flush()

        self.assertEqual(
            [(row["body"], row["deliveries"][0]["status"]) for row in arrived],
            [("before", "queued"), ("after", "queued"), ("after", "delivered")],
        )

    def test_limit_zero_shows_only_what_is_new(self) -> None:
        """A follower may leave out the past."""
        self.bridge.add("before")

        arrived = self.follow("&limit=0")
        self.bridge.add("after")
        self.treq.flush()

        self.assertEqual([row["body"] for row in arrived], ["after"])

    def test_filter_holds_for_changes(self) -> None:
        """A follower of one line hears nothing of another."""
        arrived = self.follow("&line=demo2")

        self.bridge.add("one", line="demo1")
        self.bridge.add("two", line="demo2")
        self.treq.flush()

        self.assertEqual([row["body"] for row in arrived], ["two"])

    def test_close_ends_the_answer(self) -> None:
        """When the daemon stops, followers get the end of their answer, and the bridge is left."""
        self.follow()

        self.control.close()
        self.treq.flush()

        self.successResultOf(self.collected)
        self.assertEqual(self.bridge.followers, [])


class ChangesTests(SynchronousTestCase):
    """What waits for one follower."""

    def test_each_message_waits_once(self) -> None:
        """A message that changes ten times before it is read is read once."""
        changes = control._Changes()

        for _ in range(10):
            changes.add(["a", "b"])

        taken = self.successResultOf(Deferred.fromCoroutine(changes.take(10)))
        self.assertEqual(taken, ("a", "b"))

    def test_slow_reader_is_cut_off(self) -> None:
        """Memory stays bounded: a reader too far behind is told to ask again."""
        changes = control._Changes()
        changes.add(str(n) for n in range(control._MAX_BEHIND + 1))
        changes.add(["more"])

        failure = self.failureResultOf(Deferred.fromCoroutine(changes.take(10)))

        self.assertIn("slow", failure.getErrorMessage())
        self.assertEqual(changes._ids, {})


class TraceTests(ControlTestCase):
    """``GET /messages/ID``."""

    def test_shows_deliveries_with_their_history(self) -> None:
        """Every step of every delivery is there with its time and reason."""
        message = self.bridge.add("hi")
        self.bridge.settle(message, Status.FAILED, "unreachable")

        answer = self.get(f"/messages/{message}")

        (delivery,) = answer["deliveries"]
        self.assertEqual(delivery["id"], delivery_id(1))
        self.assertEqual(
            delivery["history"],
            [
                {
                    "at": "2026-11-21T10:00:00.500Z",
                    "status": "failed",
                    "attempt": 1,
                    "reason": "unreachable",
                    "text": "",
                }
            ],
        )

    def test_unknown_id_is_404(self) -> None:
        """An id that nobody knows is answered with where to find ids."""
        self.assertIn("smsbridge messages", self.get("/messages/nope", 404)["message"])


class LinesTests(ControlTestCase):
    """Lines, links, calls, USSD and commands."""

    def test_lines_and_links_are_listed(self) -> None:
        """Each line and link is an object of its own."""
        self.assertEqual(
            [(row["line"], row["up"]) for row in self.rows("/lines")],
            [("demo1", True), ("demo2", False)],
        )
        self.assertEqual([row["gateway"] for row in self.rows("/links")], ["box", "xmpp"])

    def test_many_lines_come_in_pages(self) -> None:
        """A thousand lines are all there."""
        statuses = self.bridge.lines() * 500
        self.bridge.lines = lambda: statuses  # type: ignore[method-assign]

        self.assertEqual(len(self.rows("/lines")), 1000)

    def test_ussd_answers_with_the_networks_text(self) -> None:
        """The code goes out and the text comes back."""
        answer = self.post("/ussd", {"line": "demo1", "code": "*100#"})

        self.assertEqual(answer, {"text": "Balance: 5.00\nCode was *100#"})

    def test_webhook_test_answers_with_what_came_back(self) -> None:
        """A sample is posted; a person who is not there is a sentence."""
        answer = self.post("/webhooks/test", {"person": "john"})

        self.assertEqual(answer["answers"], ["https://app.example.org/texts: taken, status 200"])
        self.assertIn("no [person:x]", self.post("/webhooks/test", {"person": "x"}, 404)["message"])

    def test_ussd_refusals(self) -> None:
        """An unknown line, a refusing network, a line that is away and no code differ."""
        for line, code, status in (
            ("nope", "*100#", 404),
            ("demo1", "*999#", 422),
            ("demo2", "*100#", 503),
            ("demo1", "", 400),
        ):
            self.assertIn("message", self.post("/ussd", {"line": line, "code": code}, status))

    def test_line_commands_can_be_listed_and_run(self) -> None:
        """A line says what it can be asked, and does it."""
        self.assertEqual(
            self.rows("/commands?line=demo1"),
            [
                {"command": "forward", "arguments": "REASON NUMBER", "help": "Forward calls."},
                {"command": "signal", "arguments": "", "help": "Ask for the signal."},
            ],
        )
        answer = self.post(
            "/commands",
            {"line": "demo1", "command": "forward", "arguments": ["busy", "+12025550124"]},
        )
        self.assertEqual(answer, {"text": "done: forward busy +12025550124"})
        self.post("/commands", {"line": "nope", "command": "signal"}, 404)
        self.get("/commands?line=nope", 404)

    def test_calls_are_listed(self) -> None:
        """The call log tells direction, time and length."""
        rows = self.rows("/calls?line=demo1")

        self.assertEqual(
            rows,
            [
                {
                    "line": "demo1",
                    "direction": "in",
                    "number": "+12025550123",
                    "started_at": "2026-11-21T10:01:00.000Z",
                    "duration_s": 75,
                    "cause": "",
                }
            ],
        )
        self.assertEqual(len(self.rows("/calls?limit=1")), 1)


class QueueTests(ControlTestCase):
    """The queue, and what an operator may do to it."""

    def setUp(self) -> None:
        """Let one message wait, one be uncertain and one have failed."""
        super().setUp()
        self.bridge.add("waits")
        self.bridge.settle(self.bridge.add("perhaps", line="demo2"), Status.UNCERTAIN)
        self.bridge.settle(self.bridge.add("failed"), Status.FAILED, "unreachable")

    def statuses(self) -> list[str]:
        """Return the status of every delivery."""
        return [str(each.deliveries[0].status) for each in self.bridge.records.values()]

    def test_lists_what_waits(self) -> None:
        """By default the queue is what waits or may need a decision."""
        rows = self.rows("/queue")

        self.assertEqual([row["status"] for row in rows], ["queued", "uncertain"])
        self.assertEqual(rows[0]["message_id"], message_id(1))
        self.assertEqual(rows[0]["due_at"], "2026-11-21T10:00:00.000Z")

    def test_filters_and_limits(self) -> None:
        """Status, line, gateway, message and a limit choose among deliveries."""
        self.assertEqual(len(self.rows("/queue?status=failed%20uncertain")), 2)
        self.assertEqual(len(self.rows("/queue?line=demo2")), 1)
        self.assertEqual(len(self.rows("/queue?gateway=xmpp")), 0)
        self.assertEqual(len(self.rows(f"/queue?message={message_id(1)}")), 1)
        self.assertEqual(len(self.rows("/queue?limit=1")), 1)
        self.assertIn("lost", self.get("/queue?status=lost", 400)["message"])

    def test_retry_by_delivery_or_message_id(self) -> None:
        """Both kinds of ids name what to send again."""
        answer = self.post("/queue/retry", {"ids": [delivery_id(2), message_id(3)]})

        self.assertEqual(answer, {"count": 2})
        self.assertEqual(self.statuses(), ["queued", "queued", "queued"])

    def test_unknown_id_changes_nothing(self) -> None:
        """With one wrong id among several, nothing is done."""
        answer = self.post("/queue/drop", {"ids": [delivery_id(1), "nope"]}, 404)

        self.assertIn("nope", answer["message"])
        self.assertEqual(self.statuses(), ["queued", "uncertain", "failed"])

    def test_drop_by_filter(self) -> None:
        """A filter drops all that it matches, in pages."""
        for count in range(control._PAGE + 5):
            self.bridge.add(f"more {count}")

        answer = self.post("/queue/drop", {"line": "demo1"})

        self.assertEqual(answer, {"count": control._PAGE + 6})
        self.assertEqual(self.statuses().count("dropped"), control._PAGE + 6)

    def test_retry_by_filter(self) -> None:
        """A filter on a status takes those deliveries and no others."""
        self.assertEqual(self.post("/queue/retry", {"statuses": ["failed"]}), {"count": 1})


class ProviderTests(ControlTestCase):
    """What providers are asked, and who wants no texts."""

    def reconciled(self, body: object) -> list[dict[str, Any]]:
        """Have providers asked; return the lines of the answer."""
        content = self.ask("POST", "/reconcile", body)
        return [json.loads(line) for line in content.splitlines()]

    def test_progress_comes_before_the_results(self) -> None:
        """Whoever waits sees what is being done, then a result for each gateway."""
        rows = self.reconciled({"since_s": 86400})

        self.assertEqual(
            [(row["gateway"], sorted(set(row) - {"gateway"})[-1]) for row in rows],
            [("work", "told"), ("work", "statuses"), ("other", "told"), ("other", "message")],
        )
        self.assertEqual(self.bridge.asked_since_ms, [START_MS - 86400_000] * 2)

    def test_a_named_gateway_that_fails_ends_with_the_error(self) -> None:
        """There is nothing else to tell."""
        rows = self.reconciled({"gateway": "other", "since_s": 1})

        self.assertEqual((rows[-1]["error"], rows[-1]["detail"]), ("credentials", "401"))

    def test_where_nobody_can_be_asked_is_a_refusal(self) -> None:
        """The sentence comes with an error's status."""
        self.bridge.able = []

        self.assertEqual(self.post("/reconcile", {"since_s": 1}, 422)["error"], "unsupported")
        self.assertIn(b"No gateway", self.ask("GET", "/numbers", code=422))

    def test_how_far_back_has_bounds(self) -> None:
        """Thirty days are the most, and a time must be given."""
        for since_s in (None, 0, -1, 31 * 86400, "7d", True):
            self.post("/reconcile", {"since_s": since_s}, 400)
        self.assertEqual(self.bridge.asked_since_ms, [])

    def test_what_is_told_after_the_end_is_dropped(self) -> None:
        """A provider that is still being asked when the reader left writes to nobody."""
        written: list[object] = []

        class Stream:
            def put(self, values: list[object]) -> None:
                written.extend(values)

        telling = control._Telling(Stream(), "work")  # type: ignore[arg-type]
        telling.told("one")
        telling.end()
        telling.told("two")

        self.assertEqual(written, [{"gateway": "work", "told": "one"}])

    def test_numbers_hide_the_password_of_their_webhook(self) -> None:
        """A provider may give back the address with all that was put into it."""
        content = self.ask("GET", "/numbers?gateway=work")

        self.assertIn(b"https://smsbridge:***@sms.example.org/hook/work", content)
        self.assertNotIn(b"s3cret", content)

    def test_one_account_that_fails_hides_no_other(self) -> None:
        """Its error stands among the numbers of the others."""
        rows = [json.loads(line) for line in self.ask("GET", "/numbers").splitlines()]

        self.assertEqual(len(rows), 5)
        self.assertEqual((rows[-1]["gateway"], rows[-1]["error"]), ("other", "peer-down"))

    def test_numbers_that_are_out_are_kept_and_told(self) -> None:
        """Put out, listed, taken back in; each says whether it changed anything."""
        body = {"line": "demo1", "number": "+12025550123"}

        self.assertEqual(self.post("/opt-outs", body), {"changed": True})
        self.assertEqual(self.post("/opt-outs", body), {"changed": False})
        listed = json.loads(self.ask("GET", "/opt-outs?line=demo1"))
        self.assertEqual(
            listed, {**body, "source": "operator", "since": "2026-11-21T10:00:00.000Z"}
        )
        self.assertEqual(self.post("/opt-outs/remove", body), {"changed": True})
        self.assertEqual(self.post("/opt-outs/remove", body), {"changed": False})
        self.post("/opt-outs", {"line": "nope", "number": "+12025550123"}, 404)


class OperationsTests(ControlTestCase):
    """Status, reload and purge."""

    def test_status_tells_what_runs(self) -> None:
        """One answer has version, links, lines and what waits."""
        self.bridge.add("waits")
        self.bridge.not_ready = "The store is not open yet."

        answer = self.get("/status")

        self.assertEqual((answer["version"], answer["pid"]), ("1.2.3", os.getpid()))
        self.assertEqual(answer["unready"], "The store is not open yet.")
        self.assertEqual(answer["queue"][0]["count"], 1)
        self.assertEqual([len(answer["lines"]), len(answer["links"])], [2, 2])

    def test_reload_tells_what_changed(self) -> None:
        """What was applied is listed."""
        self.assertEqual(
            self.post("/reload", {}), {"changes": ["line demo3 added"], "warnings": []}
        )

    def test_reload_tells_every_error(self) -> None:
        """A wrong configuration is a 422 with one sentence for each error."""
        self.bridge.reloaded = Reloaded(errors=("a.ini: [x] one", "a.ini: [y] two"))

        answer = self.post("/reload", {}, 422)

        self.assertEqual(answer["errors"], ["a.ini: [x] one", "a.ini: [y] two"])
        self.assertIn("2 errors; nothing was changed", answer["message"])

    def test_purge_goes_from_the_oldest_in_steps(self) -> None:
        """History is deleted from its old end, and each step is told."""
        for count in range(10):
            self.bridge.add(f"text {count}")
        self.clock.advance(30 * 86400)

        content = self.ask("POST", "/purge", {"older_than_s": 86400})

        rows = [json.loads(line) for line in content.splitlines()]
        self.assertEqual(len(rows), control._PURGE_STEPS)
        self.assertEqual(rows[-1]["count"], 10)
        self.assertEqual([row["done"] for row in rows[-2:]], [False, True])
        self.assertEqual(self.bridge.purged_before_ms, sorted(self.bridge.purged_before_ms))
        self.assertEqual(self.bridge.purged_before_ms[-1], START_MS + 29 * 86400_000)

    def test_purge_of_nothing_is_one_step(self) -> None:
        """Where nothing is old enough, one look is enough."""
        self.bridge.add("young")

        content = self.ask("POST", "/purge", {"older_than_s": 86400})

        self.assertEqual(json.loads(content)["count"], 0)
        self.assertEqual(len(self.bridge.records), 1)

    def test_purge_needs_an_age(self) -> None:
        """Without a number nothing is deleted."""
        for body in ({}, {"older_than_s": "90d"}, {"older_than_s": -1}, {"older_than_s": True}):
            self.post("/purge", body, 400)
        self.assertEqual(self.bridge.purged_before_ms, [])


class RoutesTests(ControlTestCase):
    """What is not there."""

    def test_unknown_path_and_method(self) -> None:
        """A wrong path or method is JSON as well."""
        self.assertEqual(self.get("/nope", 404)["error"], "not-found")
        self.assertEqual(self.get("/reload", 405)["error"], "not-found")

    def test_large_request_without_attachments_is_refused(self) -> None:
        """Only texts with attachments may be large."""
        self.post("/queue/drop", {"line": "x" * 2_000_000}, 413)
