"""Tests of `smsbridge.provider.hook`: who may call, what is answered, and when."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from attrs import evolve
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.provider.dialect import Answer, Hook, StatusUpdate
from smsbridge.provider.hook import MAX_HOOK_BYTES, HookResource
from smsbridge.web.site import Hooks, http_site
from tests.provider.fakes import FakeDialect, sign, text_event
from tests.provider.keeping import Inbound

SECRET = "not-a-secret"
PASSWORD = "not:a-pässword"
BASE = "https://sms.example.org/hook/work"


class HookTestCase(SynchronousTestCase):
    """Has a hook below a site; what is sent to it names another host than the public one."""

    def setUp(self) -> None:
        """Make one with a signing key."""
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.use(signing_key=SECRET)

    def use(self, **config: Any) -> None:
        """Make the hook anew, with another section."""
        self.inbound = Inbound(Path(self.mktemp()), **config)
        self.arrivals = self.inbound.arrivals
        self.hook = HookResource(
            self.inbound.clock, self.inbound.account, self.arrivals, self.inbound.world
        )
        self.treq = StubTreq(http_site({"hook": Hooks(lambda label: self.hook)}).resource)

    def call(
        self, body: Any = None, path: str = "", method: str = "POST", **headers: str
    ) -> Deferred[Any]:
        """Call as the provider does; without a signature if `headers` has one."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"x-signature": sign(SECRET, BASE + path, data)} | headers
        sent = {name.replace("_", "-"): value for name, value in sent.items()}
        return self.treq.request(
            method, f"http://inside.test/hook/work{path}", data=data, headers=sent
        )

    def answer(self, *arguments: Any, **more: Any) -> tuple[int, bytes]:
        """Call, and return what is answered at once."""
        response = self.successResultOf(self.call(*arguments, **more))
        self.response = response
        return response.code, self.successResultOf(self.treq.content(response))

    def warnings(self) -> list[str]:
        """Return what the log warns of."""
        return [
            "{gateway}: {reason}{more}".format(**event)
            for event in self.logged
            if event["log_level"] is LogLevel.warn and "more" in event
        ]

    @property
    def bodies(self) -> list[str]:
        """The texts that were accepted."""
        return [message.body for message in self.inbound.inbox.messages]


class StrangerTests(HookTestCase):
    """Who is sent away."""

    def test_a_signed_call_is_taken(self) -> None:
        """The provider's own call is committed and answered in its words."""
        self.assertEqual(self.answer(text_event()), (200, b"ok"))
        self.assertEqual(self.bodies, ["hello"])

    def test_the_address_is_the_public_one(self) -> None:
        """What Host says is the caller's word, and behind a proxy not what was signed."""
        body = json.dumps(text_event()).encode()
        forged = sign(SECRET, "http://inside.test/hook/work", body)

        self.assertEqual(self.answer(body, x_signature=forged)[0], 403)

    def test_the_query_is_signed_as_it_came(self) -> None:
        """Escapes and order of the query stay as the provider wrote them."""
        self.assertEqual(self.answer(text_event(), path="?b=%7e&a=%C3%A9&&x")[0], 200)
        self.assertEqual(self.answer(text_event("t2"), path="/status?a=1")[0], 200)

    def test_a_wrong_signature_is_refused_without_a_word(self) -> None:
        """Nothing is kept and nothing is said."""
        code, body = self.answer(text_event(), x_signature="0" * 40)

        self.assertEqual((code, body), (403, b""))
        self.assertEqual(self.inbound.inbox.asked, 0)
        self.assertEqual(self.response.length, 0)
        self.assertTrue(self.response.headers.hasHeader("content-type"))

    def test_a_missing_signature_is_refused(self) -> None:
        """It is the same as a wrong one."""
        self.assertEqual(self.answer(text_event(), x_signature="")[0], 403)

    def test_a_signature_that_cannot_be_checked_is_refused(self) -> None:
        """A stranger does not learn what makes us stumble."""

        class Stumbling(FakeDialect):
            def authentic(self, hook: Hook) -> bool:
                raise RuntimeError(hook.url)

        self.inbound.account.dialect = Stumbling(self.inbound.config)

        self.assertEqual(self.answer(text_event()), (403, b""))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_without_any_secret_nobody_may_call(self) -> None:
        """A hook that anybody could call takes nothing, and the log says what to set."""
        self.use()

        self.assertEqual(self.answer(text_event()), (403, b""))
        self.assertIn("http_password", self.warnings()[0])
        self.assertEqual(self.inbound.inbox.asked, 0)

    def test_a_password_may_stand_alone(self) -> None:
        """Where nothing is signed the password is the lock; the user name is free."""
        self.use(http_password=PASSWORD)
        given = b64encode(f"whoever:{PASSWORD}".encode()).decode()

        for scheme in ("Basic", "basic"):
            self.assertEqual(self.answer(text_event(), authorization=f"{scheme} {given}")[0], 200)

    def test_a_wrong_password_is_asked_for_again(self) -> None:
        """What is no password, or another one, gets the challenge and an empty body."""
        self.use(http_password=PASSWORD)
        wrong = [
            f"Basic {b64encode(f'whoever:{each}'.encode()).decode()}"
            for each in ("other", "", PASSWORD[:-1], f"{PASSWORD}0", PASSWORD.upper())
        ]

        for header in ("", "Basic", "Basic %%%", *wrong, f"Bearer {PASSWORD}", "Basic é"):
            code, body = self.answer(text_event(), authorization=header)
            self.assertEqual((code, body), (401, b""), header)
            (challenge,) = self.response.headers.getRawHeaders("www-authenticate")
            self.assertTrue(challenge.startswith("Basic realm="))
        self.assertEqual(self.inbound.inbox.asked, 0)

    def test_two_locks_must_both_open(self) -> None:
        """With a password and a signature neither is enough."""
        self.use(http_password=PASSWORD, signing_key=SECRET)
        given = "Basic " + b64encode(f":{PASSWORD}".encode()).decode()

        self.assertEqual(self.answer(text_event())[0], 401)
        self.assertEqual(self.answer(text_event(), authorization=given, x_signature="")[0], 403)
        self.assertEqual(self.answer(text_event(), authorization=given)[0], 200)

    def test_a_signature_may_need_the_header_of_the_password(self) -> None:
        """Then it is the one lock: a JWT leaves no room for the password, and is no weaker."""
        self.use(http_password=PASSWORD, signing_key=SECRET)

        self.assertEqual(self.answer(text_event(), authorization="Bearer a.b.c")[0], 200)
        forged = self.answer(text_event("t2"), authorization="Bearer a.b.c", x_signature="0" * 40)
        self.assertEqual(forged, (403, b""))

    def test_a_signature_without_a_public_url_says_what_is_missing(self) -> None:
        """The log tells the operator of public_url, and not that somebody forges calls."""
        self.inbound.world.public_url = ""

        self.assertEqual(self.answer(text_event())[0], 403)
        self.assertIn("public_url", self.warnings()[0])

    def test_signatures_over_the_body_alone_need_no_public_url(self) -> None:
        """Some providers do not sign the address; nothing is missing for them."""
        self.inbound.world.public_url = ""
        body = json.dumps(text_event()).encode()

        self.assertEqual(self.answer(body, x_signature=sign(SECRET, "", body))[0], 200)

    def test_the_log_warns_once_a_minute(self) -> None:
        """Whoever tries a thousand times fills no disk; the rest is counted."""
        for _ in range(5):
            self.answer(text_event(), x_signature="")
        self.inbound.clock.advance(61)
        self.answer(text_event(), x_signature="")

        first, second = self.warnings()
        self.assertIn(BASE, first)
        self.assertIn("4 times more", second)
        for secret in (SECRET, "+1202", "hello"):
            self.assertNotIn(secret, first + second)

    def test_a_reload_changes_the_lock(self) -> None:
        """The secret that counts is the one of the configuration now."""
        account = self.inbound.account
        config = evolve(self.inbound.config, signing_key="another")
        account.replace(config, FakeDialect(config), account.lines)

        self.assertEqual(self.answer(text_event())[0], 403)


class AnswerTests(HookTestCase):
    """What is answered, and when."""

    def test_answers_only_after_the_commit(self) -> None:
        """The provider hears of success when the text is durable, not before."""
        self.inbound.inbox.held = True

        calling = self.call([text_event("t1"), text_event("t2")])
        self.assertNoResult(calling)
        self.inbound.inbox.commit()
        self.treq.flush()

        self.assertEqual(self.successResultOf(calling).code, 200)
        self.assertEqual(len(self.bodies), 2)
        self.assertEqual(self.inbound.clock.getDelayedCalls(), [])

    def test_a_repeat_gets_the_same_answer(self) -> None:
        """The second call changes nothing and cannot be told from the first."""
        self.assertEqual(self.answer(text_event()), self.answer(text_event()))
        self.assertEqual(self.bodies, ["hello"])

    def test_a_store_out_of_reach_is_503(self) -> None:
        """The provider repeats what could not be kept, and then it is."""
        self.inbound.away()
        self.assertEqual(self.answer(text_event()), (503, b""))
        self.assertEqual(self.answer([text_event("a"), text_event("b")]), (503, b""))

        self.inbound.back()
        self.assertEqual(self.answer(text_event())[0], 200)

    def test_a_slow_commit_is_503_within_the_limit(self) -> None:
        """Just before the provider gives up it is asked to call again, and the repeat is known."""
        self.inbound.inbox.held = True
        calling = self.call(text_event())

        self.inbound.clock.advance(4.4)
        self.assertNoResult(calling)
        self.inbound.clock.advance(0.2)
        self.treq.flush()
        self.assertEqual(self.successResultOf(calling).code, 503)

        self.inbound.inbox.commit()
        self.inbound.inbox.held = False
        self.assertEqual(self.answer(text_event())[0], 200)
        self.assertEqual(self.bodies, ["hello"])

    def test_a_failure_after_the_limit_is_harmless(self) -> None:
        """What happens after the answer is not answered."""
        self.inbound.inbox.held = True
        calling = self.call(text_event())
        self.inbound.clock.advance(5)
        self.inbound.away()
        self.inbound.inbox.commit()
        self.treq.flush()

        self.assertEqual(self.successResultOf(calling).code, 503)

    def test_a_bug_while_keeping_is_503(self) -> None:
        """What was not committed is asked for again, whatever the reason, and the log has it."""
        self.inbound.inbox.failure = RuntimeError("a bug")

        self.assertEqual(self.answer(text_event())[0], 503)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_what_cannot_be_read_is_answered_with_success(self) -> None:
        """Authentic nonsense must not come back for ever."""
        for body in (b"", b"{", b"[]", b'{"type": "text"}', b'{"type": "novelty"}', b"\xff"):
            self.assertEqual(self.answer(body), (200, b"ok"), body)
        self.assertEqual(self.inbound.inbox.asked, 0)

    def test_what_a_bug_of_ours_cannot_read_comes_again(self) -> None:
        """The provider repeats it until the bug is mended, so no text is lost by it."""

        class Stumbling(FakeDialect):
            def events(self, hook: Hook) -> Any:
                raise RuntimeError("a bug")

        self.inbound.account.dialect = Stumbling(self.inbound.config)

        self.assertEqual(self.answer(text_event()), (503, b""))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_without_words_for_the_provider_it_is_a_plain_success(self) -> None:
        """What is committed must not come again because of a bug in the answer."""

        class Mute(FakeDialect):
            def answer(self, hook: Hook) -> Answer:
                raise RuntimeError("a bug")

        self.inbound.account.dialect = Mute(self.inbound.config)

        self.assertEqual(self.answer(text_event()), (200, b""))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_other_answers_are_the_providers(self) -> None:
        """Status, type and body are what the dialect says; a 204 has no body."""

        class Quiet(FakeDialect):
            def answer(self, hook: Hook) -> Answer:
                if hook.path:
                    return Answer(status=204)
                return Answer(content_type="text/xml", body=b"<Response></Response>")

        self.inbound.account.dialect = Quiet(self.inbound.config)

        self.assertEqual(self.answer(text_event()), (200, b"<Response></Response>"))
        self.assertEqual(self.response.headers.getRawHeaders("content-type"), ["text/xml"])
        self.assertEqual(self.response.length, 21)
        self.assertEqual(self.answer(text_event("t2"), path="/status"), (204, b""))

    def test_a_check_of_the_address_is_answered(self) -> None:
        """Providers look whether somebody is there; HEAD gets the head of the same."""
        self.assertEqual(self.answer(b"", method="GET"), (200, b"ok"))
        self.assertEqual(self.answer(b"", method="HEAD"), (200, b""))
        self.assertEqual(self.inbound.inbox.asked, 0)

    def test_other_methods_are_not_allowed(self) -> None:
        """The answer says which are."""
        self.assertEqual(self.answer(text_event(), method="PUT")[0], 405)
        self.assertEqual(self.response.headers.getRawHeaders("allow"), ["GET, HEAD, POST"])

    def test_other_paths_are_not_there(self) -> None:
        """There is the hook, its status, and nothing else."""
        for path, status in (("", 200), ("/", 200), ("/status", 200), ("/other", 404)):
            self.assertEqual(self.answer(text_event(), path=path)[0], status, path)
        self.assertEqual(self.answer(text_event(), path="/status/more")[0], 404)
        self.assertEqual(self.answer(text_event(), path="/%ff")[0], 404)

    def test_a_large_call_is_refused(self) -> None:
        """No provider says so much."""
        event = text_event(text="x" * MAX_HOOK_BYTES)

        self.assertEqual(self.answer(event)[0], 413)
        self.assertEqual(self.inbound.inbox.asked, 0)

    def test_a_provider_that_goes_away_is_no_error(self) -> None:
        """The text is kept all the same, and nothing is written to nobody."""
        self.inbound.inbox.held = True
        calling = self.call(text_event())
        calling.addErrback(lambda _: None)
        calling.cancel()
        self.treq.flush()

        self.inbound.inbox.commit()

        self.assertEqual(self.bodies, ["hello"])
        self.assertEqual(self.inbound.clock.getDelayedCalls(), [])


class DeliveryIdTests(HookTestCase):
    """Our own id in the query of a status call."""

    def setUp(self) -> None:
        """Look at what is taken."""
        super().setUp()
        self.taken: list[Any] = []

        def take(event: Any) -> Deferred[bool]:
            self.taken.append(event)
            return succeed(True)

        taking: Any = self.arrivals
        taking.take = take

    def status(self, path: str, **changes: Any) -> str:
        """Return the delivery that a status call is about."""
        event = {"type": "status", "id": "r1", "status": "delivered", **changes}
        self.assertEqual(self.answer(event, path=path)[0], 200)
        update = self.taken.pop()
        self.assertIsInstance(update, StatusUpdate)
        self.assertIs(update.status, Status.DELIVERED)
        return str(update.delivery_id)

    def test_names_the_delivery(self) -> None:
        """The callback of a text carries it, among whatever else is there."""
        self.assertEqual(self.status("/status?delivery=0198-ab.0"), "0198-ab.0")
        self.assertEqual(self.status("/status?a=1&delivery=0198-ab.0&b=2"), "0198-ab.0")
        self.assertEqual(self.status("/status"), "")

    def test_what_the_provider_gives_back_goes_first(self) -> None:
        """An id in the call itself is about exactly this text."""
        self.assertEqual(self.status("/status?delivery=a.0", reference="b.0"), "b.0")

    def test_what_is_no_id_is_nothing(self) -> None:
        """Nothing strange gets as far as the store."""
        for query in ("delivery=", "delivery=a%00", f"delivery={'a' * 65}", "xdelivery=a.0"):
            self.assertEqual(self.status("/status?" + query), "", query)

    def test_texts_have_none(self) -> None:
        """A text that comes to an address with an id is a text."""
        self.answer(text_event(), path="?delivery=a.0")

        self.assertEqual(self.taken[0].remote_id, "t1")


class FailureTests(HookTestCase):
    """Several events in one call."""

    def test_the_first_failure_decides(self) -> None:
        """One text that could not be kept lets the whole call be repeated."""
        results = [succeed(True), Deferred(), succeed(True)]
        taking: Any = self.arrivals
        taking.take = lambda event: results.pop(0)
        pending = results[1]

        calling = self.call([text_event("a"), text_event("b"), text_event("c")])
        self.assertNoResult(calling)
        pending.errback(Failure(RuntimeError("a bug")))
        self.treq.flush()

        self.assertEqual(self.successResultOf(calling).code, 503)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
