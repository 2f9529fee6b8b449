"""Tests of `smsbridge.web.api.served`: what every operation gets without asking for it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from smsbridge.core.book import Book
from smsbridge.core.directory import Person, World
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import ApiError, Arguments, Body, Call, Raw, operation
from smsbridge.web.api.served import Api
from tests.web.bridge import START_MS, FakeBridge

URL = "http://bridge.test"
JSON_API = "application/vnd.api+json"


class Sizes(Arguments):
    """Arguments of a query."""

    limit: int = Field(50, ge=1, le=200)
    word: str = ""


class Thing(Body):
    """A body."""

    name: str = Field(max_length=5)
    count: int = 0
    sender: str = Field("", alias="from")
    to: list[str] = []


class Things:
    """Operations for tests; `next` is what the next call does."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.next: Any = None

    async def _do(self, call: Call[Any], *parts: str) -> Any:
        self.calls.append((call.caller, call.query, call.body, *parts))
        if isinstance(self.next, Exception):
            raise self.next
        if isinstance(self.next, Deferred):
            return await self.next
        return {"data": {"type": "thing"}} if self.next is None else self.next

    @operation("GET", "/things", scope=Scope.READ, tag="things", query=Sizes, answer=dict)
    async def listed(self, call: Call[None]) -> Any:
        """List the things."""
        return await self._do(call)

    @operation(
        "POST", "/things", scope=Scope.SEND, tag="things", body=Thing, answer=dict, status=201
    )
    async def make(self, call: Call[Thing]) -> Any:
        """Make a thing."""
        return await self._do(call)

    @operation("GET", "/things/<thing_id>", scope=Scope.READ, tag="things", answer=dict)
    async def one(self, call: Call[None], thing_id: str) -> Any:
        """Show a thing."""
        return await self._do(call, thing_id)

    @operation("DELETE", "/things/<other_name>", scope=Scope.MANAGE, tag="things")
    async def remove(self, call: Call[None], other_name: str) -> None:
        """Remove a thing."""
        await self._do(call, other_name)

    @operation(
        "PUT",
        "/file",
        scope=Scope.SEND,
        tag="things",
        body_type="text/plain",
        most_bytes=10,
        answer_type="text/plain",
    )
    async def file(self, call: Call[bytes]) -> Raw:
        """Take bytes and give them back."""
        return Raw("text/plain; charset=utf-8", call.body[::-1])

    @operation("GET", "/secret", scope=Scope.ADMIN, tag="things", answer=dict)
    async def secret(self, call: Call[None]) -> Any:
        """Show what is for operators."""
        return await self._do(call)

    @operation("GET", "/open", scope=None, tag="things", answer=dict)
    async def public(self, call: Call[None]) -> Any:
        """Show what everybody may see."""
        return await self._do(call)

    @operation(
        "GET", "/stream", scope=Scope.READ, tag="things", answer_type="text/plain", streams=True
    )
    async def stream(self, call: Call[None]) -> None:
        """Write piece by piece."""
        self.request = call.request
        call.request.write(b"one ")


class StubAccess:
    """Knows one caller."""

    def __init__(self, caller: Caller | None) -> None:
        self.known = caller

    async def caller(self, request: Request) -> Caller:
        """See `Access`."""
        if self.known is None:
            raise ApiError(
                401, "credentials", "Log in.", headers={"WWW-Authenticate": "Basic realm=x"}
            )
        return self.known


def caller(*scopes: Scope, rate: float = 1.0, admin: bool = False) -> Caller:
    """Make a caller."""
    return Caller(
        person=Person(label="john", rate=rate, admin=admin), name="t", scopes=frozenset(scopes)
    )


class ServedTestCase(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        """Serve the operations above."""
        self.clock = Clock()
        self.things = Things()
        self.access = StubAccess(caller(*Scope))
        none: Any = None
        self.api = Api(
            Backend(
                reactor=self.clock,
                now_ms=lambda: START_MS,
                bridge=FakeBridge(),
                inbox=none,
                world=World(book=Book()),
                threads=none,
                contacts=none,
                live=none,
                public_url=lambda: "",
            ),
            self.access,
            [self.things],
            lambda _: {"/": lambda: Raw("text/html; charset=utf-8", b"<p>docs", {"X-Own": "1"})},
        )
        self.treq = StubTreq(self.api.resource())

    def ask(
        self, method: str, path: str, data: bytes | None = None, code: int = 200, **headers: str
    ) -> Any:
        """Make a request; returns the answer and its decoded body."""
        if data is not None:
            headers.setdefault("content_type", JSON_API)
        response = self.successResultOf(
            self.treq.request(
                method,
                URL + path,
                data=data,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            )
        )
        content = self.successResultOf(self.treq.content(response))
        self.assertEqual(response.code, code, content)
        self.answer = response
        kind = response.headers.getRawHeaders(b"content-type", [b""])[0]
        return json.loads(content) if b"json" in kind and content else content

    def error(self, method: str, path: str, code: int, data: Any = None, **headers: str) -> Any:
        """Make a request that fails with one error, and return it."""
        raw = json.dumps(data).encode() if data is not None and type(data) is not bytes else data
        (error,) = self.ask(method, path, raw, code, **headers)["errors"]
        self.assertEqual(error["status"], code)
        return error

    def header(self, name: str) -> str:
        """Return a header of the last answer."""
        values = self.answer.headers.getRawHeaders(name, [""])
        assert values is not None
        return "; ".join(values)


class RequestTests(ServedTestCase):
    """What is understood of a request."""

    def test_query_is_read_with_its_types(self) -> None:
        """Arguments arrive as the types that were declared, with their defaults."""
        self.ask("GET", "/v2.2/things?word=%C3%A9")

        self.assertEqual(self.things.calls[0][1], Sizes(limit=50, word="é"))

    def test_wrong_query_names_the_parameter(self) -> None:
        """What is wrong with an argument is said in plain words, with its name."""
        for query, parameter, words in (
            ("limit=0", "limit", "'limit' must be at least 1."),
            ("limit=x", "limit", "'limit' must be a whole number."),
            ("limti=3", "limti", "There is no query argument 'limti' here; known: limit, word."),
        ):
            error = self.error("GET", f"/v2.2/things?{query}", 400)
            self.assertEqual(error["source"], {"parameter": parameter})
            self.assertEqual(error["detail"], words)
        self.assertEqual(self.error("GET", "/v2.2/open?x=1", 400)["source"], {"parameter": "x"})

    def test_query_that_is_no_text_is_refused(self) -> None:
        """Bytes that are not UTF-8 are an answer 400."""
        self.error("GET", "/v2.2/things?word=%ff", 400)
        self.error("GET", "/v2.2/%ff", 400)

    def test_body_is_taken_with_and_without_its_frame(self) -> None:
        """The frame of JSON:API may be left out."""
        for document in (
            {"data": {"type": "thing", "attributes": {"name": "a", "from": "x", "more": 1}}},
            {"name": "a", "from": "x"},
        ):
            self.ask("POST", "/v2.2/things", json.dumps(document).encode(), 201)
        for _, _, body in self.things.calls:
            self.assertEqual((body.name, body.sender), ("a", "x"))

    def test_all_faults_of_a_body_are_told_at_once(self) -> None:
        """Each field has an error with a pointer and a sentence."""
        document = {"data": {"attributes": {"count": "x", "name": "longer", "to": [1]}}}

        errors = self.ask("POST", "/v2.2/things", json.dumps(document).encode(), 422)["errors"]

        self.assertEqual(
            {each["source"]["pointer"]: each["detail"] for each in errors},
            {
                "/data/attributes/name": "'name' may have 5 characters at most.",
                "/data/attributes/count": "'count' must be a whole number.",
                "/data/attributes/to/0": "'to.0' must be a text.",
            },
        )
        self.assertEqual(len({each["id"] for each in errors}), 3)

    def test_pointer_follows_the_form_of_the_body(self) -> None:
        """Without the frame the pointer has none either."""
        error = self.error("POST", "/v2.2/things", 422, {"count": 1})

        self.assertEqual(error["source"], {"pointer": "/name"})
        self.assertEqual(error["detail"], "'name' is missing.")

    def test_what_is_no_document_is_400(self) -> None:
        """Bytes that are no JSON object never reach an operation."""
        for data in (b"{", b"\xff", b"[]", b'{"name": NaN}', b"[" * 100_000, b"1" * 9000):
            self.error("POST", "/v2.2/things", 400, data)
        for data in ({"data": None}, {"data": []}, {"data": {"attributes": "x"}}):
            self.assertIn(
                "/data", self.error("POST", "/v2.2/things", 422, data)["source"]["pointer"]
            )
        self.assertEqual(self.things.calls, [])

    def test_what_no_database_holds_is_replaced(self) -> None:
        """NUL and lone surrogates arrive as U+FFFD, wherever they stand."""
        self.ask("POST", "/v2.2/things", b'{"name": "a\\u0000b", "to": ["\\ud800"]}', 201)
        self.ask("GET", "/v2.2/things/a%00b")
        self.ask("GET", "/v2.2/things?word=a%00")

        self.assertEqual(self.things.calls[0][2].name, "a\ufffdb")
        self.assertEqual(self.things.calls[0][2].to, ["\ufffd"])
        self.assertEqual(self.things.calls[1][3], "a\ufffdb")
        self.assertEqual(self.things.calls[2][1].word, "a\ufffd")

    def test_other_content_types_are_415(self) -> None:
        """A form is not taken for JSON; JSON under both of its names is."""
        self.error("POST", "/v2.2/things", 415, b"a=b", content_type="text/plain")
        self.ask(
            "POST", "/v2.2/things", b'{"name":""}', 201, content_type="application/json; charset=x"
        )

    def test_answers_in_the_type_that_is_asked_for(self) -> None:
        """JSON:API is the default, plain JSON on demand, anything else 406."""
        for accept, kind in (
            ("*/*", JSON_API),
            ("text/html, */*;q=0.1", JSON_API),
            ("application/json", "application/json"),
            ("application/*", JSON_API),
        ):
            self.ask("GET", "/v2.2/things", accept=accept)
            self.assertEqual(self.header("content-type"), kind)
        self.error("GET", "/v2.2/things", 406, accept="text/html")
        self.error("GET", "/v2.2/things", 406, accept="*/*;q=0")

    def test_too_much_is_413(self) -> None:
        """A body larger than the operation takes is refused."""
        self.assertEqual(self.ask("PUT", "/v2.2/file", b"0123456789"), b"9876543210")
        self.assertEqual(self.error("PUT", "/v2.2/file", 413, b"0123456789a")["code"], "too-large")

    def test_parts_of_a_path_have_each_methods_own_names(self) -> None:
        """Two methods on one path may call its part differently."""
        self.ask("GET", "/v2.2/things/a%20b")
        self.ask("DELETE", "/v2.2/things/c", code=204)

        self.assertEqual([each[3] for each in self.things.calls], ["a b", "c"])

    def test_statuses_have_words(self) -> None:
        """The status line and the title of the error say what a status means."""
        for failure, words in (
            (Refused("throttled"), "Too Many Requests"),
            (Refused("too-long"), "Unprocessable Content"),
        ):
            self.things.next = failure
            code = 429 if failure.reason == "throttled" else 422
            error = self.error("GET", "/v2.2/things", code)
            self.assertEqual((self.answer.phrase.decode(), error["title"]), (words, words))


class MethodTests(ServedTestCase):
    """Which methods a path takes."""

    def test_other_methods_are_405(self) -> None:
        """The answer names the methods that there are."""
        self.error("PATCH", "/v2.2/things", 405)
        self.assertEqual(self.header("allow"), "GET, HEAD, OPTIONS, POST")
        self.error("POST", "/", 405)

    def test_options_names_the_methods(self) -> None:
        """OPTIONS is open and allows no other site anything."""
        self.access.known = None
        self.ask("OPTIONS", "/v2.2/things/1", code=204)

        self.assertEqual(self.header("allow"), "DELETE, GET, HEAD, OPTIONS")
        self.assertEqual(self.header("access-control-allow-origin"), "")

    def test_head_is_get_without_a_body(self) -> None:
        """HEAD answers with the headers of GET."""
        self.assertEqual(self.ask("HEAD", "/v2.2/things"), b"")
        self.assertEqual(len(self.things.calls), 1)

    def test_unknown_paths_are_404(self) -> None:
        """What is not served is told so as every other error."""
        for path in ("/v2.2/nothing", "/v2.2//things", "/v2.2/things/", "/v2.2", "/x"):
            self.assertEqual(self.error("GET", path, 404)["code"], "not-found")


class AccessTests(ServedTestCase):
    """Who may ask."""

    def test_without_credentials_only_what_is_open(self) -> None:
        """Everything but an open operation asks who is there."""
        self.access.known = None

        self.error("GET", "/v2.2/things", 401)
        self.assertEqual(self.header("www-authenticate"), "Basic realm=x")
        self.ask("GET", "/v2.2/open")
        self.assertIsNone(self.things.calls[0][0])

    def test_nothing_is_read_before_access(self) -> None:
        """A stranger learns nothing about a body or a query."""
        self.access.known = None

        self.error("POST", "/v2.2/things", 401, b"{")
        self.error("GET", "/v2.2/things?limit=x", 401)

    def test_scope_is_needed(self) -> None:
        """A token does what its scopes say and no more."""
        self.access.known = caller(Scope.READ)

        self.ask("GET", "/v2.2/things")
        error = self.error("POST", "/v2.2/things", 403, {"name": "a"})

        self.assertEqual(error["code"], "not-permitted")
        self.assertIn("scope send", error["detail"])

    def test_operators_things_need_an_operator(self) -> None:
        """The scope admin does nothing for a person who is no operator."""
        self.error("GET", "/v2.2/secret", 403)
        self.access.known = caller(Scope.ADMIN, admin=True)
        self.ask("GET", "/v2.2/secret")
        self.access.known = caller(Scope.READ, admin=True)
        self.error("GET", "/v2.2/secret", 403)

    def test_a_flood_is_slowed_down(self) -> None:
        """A caller gets 429 with Retry-After, and goes on later; one without a rate never does."""
        for _ in range(500):
            self.ask("GET", "/v2.2/things")
        self.error("GET", "/v2.2/things", 429)
        self.assertEqual(self.header("retry-after"), "1")
        self.clock.advance(1)
        self.ask("GET", "/v2.2/things")
        self.access.known = caller(*Scope, rate=0)
        for _ in range(600):
            self.ask("GET", "/v2.2/things")


class ErrorTests(ServedTestCase):
    """What an operation may raise."""

    def test_refusals_have_status_and_pointer(self) -> None:
        """The reason decides on the status, and on the field that is pointed at."""
        body = {"data": {"attributes": {"name": "a", "to": ["1"]}}}
        for reason, code, pointer in (
            ("invalid-number", 422, "/data/attributes/to"),
            ("destination-not-allowed", 403, "/data/attributes/to"),
            ("unknown-line", 404, "/data/attributes/from"),
            ("daily-cap", 429, ""),
            ("file-gone", 410, ""),
            ("too-large", 413, ""),
            ("storage-full", 507, ""),
            ("loop", 422, ""),
        ):
            self.things.next = Refused(reason, "Because.")
            error = self.error("POST", "/v2.2/things", code, body)
            self.assertEqual((error["code"], error["detail"]), (reason, "Because."))
            self.assertEqual(error.get("source", {}).get("pointer", ""), pointer)

    def test_daily_cap_says_when_the_day_ends(self) -> None:
        """Retry-After of a daily cap leads to midnight UTC."""
        self.things.next = Refused("daily-cap")
        self.error("GET", "/v2.2/things", 429)

        self.assertEqual(self.header("retry-after"), str(14 * 3600 + 1))

    def test_what_may_work_later_is_503(self) -> None:
        """Retry-After says when."""
        self.things.next = TemporaryFailure("peer-down", retry_after_s=2.5)
        self.error("GET", "/v2.2/things", 503)

        self.assertEqual(self.header("retry-after"), "3")

    def test_a_bug_is_500_with_an_id_that_the_log_has(self) -> None:
        """The reader learns an id and nothing else; the log has the traceback."""
        self.things.next = KeyError("secret of ours")
        error = self.error("GET", "/v2.2/things", 500)

        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertNotIn("secret", json.dumps(error))
        self.assertIn(error["id"], error["detail"])
        self.assertEqual(self.header("x-request-id"), error["id"])

    def test_an_operation_ends_without_its_reader(self) -> None:
        """When the reader goes away, what was begun is done to its end, without noise."""
        waiting: Deferred[Any] = Deferred()
        self.things.next = waiting
        asked = self.treq.request("GET", URL + "/v2.2/things")
        asked.cancel()
        self.failureResultOf(asked)
        self.treq.flush()

        self.assertFalse(waiting.called)
        waiting.callback({"data": None})
        self.assertEqual(self.flushLoggedErrors(), [])


class AnswerTests(ServedTestCase):
    """What every answer has."""

    def test_answers_are_for_the_asker_alone(self) -> None:
        """No cache keeps an answer and no browser takes it for a page, errors included."""
        for path, code in (("/v2.2/things", 200), ("/v2.2/nothing", 404)):
            self.ask("GET", path, code=code)
            self.assertEqual(self.header("cache-control"), "no-store")
            self.assertEqual(self.header("x-content-type-options"), "nosniff")
            self.assertIn("default-src 'none'", self.header("content-security-policy"))

    def test_status_of_a_good_answer_is_the_declared_one(self) -> None:
        """201 where something was made, 204 where there is nothing to say."""
        self.ask("POST", "/v2.2/things", b'{"name": "a"}', 201)
        self.assertEqual(self.ask("DELETE", "/v2.2/things/1", code=204), b"")

    def test_a_stream_stays_open_until_it_is_ended(self) -> None:
        """An operation that writes by itself decides when the answer ends."""
        response = self.successResultOf(self.treq.request("GET", URL + "/v2.2/stream"))
        content = self.treq.content(response)
        self.assertNoResult(content)
        self.things.request.write(b"two")
        self.things.request.finish()
        self.treq.flush()

        self.assertEqual(self.successResultOf(content), b"one two")

    def test_pages_are_open(self) -> None:
        """What describes the API is served to everybody, with its own headers."""
        self.access.known = None

        self.assertEqual(self.ask("GET", "/"), b"<p>docs")
        self.assertEqual(self.header("x-own"), "1")
