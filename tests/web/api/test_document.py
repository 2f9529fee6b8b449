"""Tests of `smsbridge.web.api.document`, and of the answers of all operations against it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from smsbridge.core.accounts import Session
from smsbridge.web.api.document import describe
from smsbridge.web.api.served import Api
from smsbridge.web.api.shapes import conversation_id
from tests.web.api.setting import BASE, FAILED, ApiTestCase
from tests.web.backend import NUMBER

ROOT = Path(__file__).parents[3]
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nTEL:+12025550124\r\nEND:VCARD\r\n"


class AnswerTests(ApiTestCase):
    """Every operation answers as it is described."""

    def test_every_operation_answers_as_described(self) -> None:
        """A good answer of each operation is held against the document, which has no more."""
        self.use_messages()
        self.use_contacts()
        self.use_lines()
        self.use_account()
        self.use_admin()

        named = {each.name for each in self.api.operations if not each.streams}
        self.assertEqual(named - self.well_answered, set(), "have no good answer here")

    def use_messages(self) -> None:
        """Use the operations on messages, conversations and media."""
        file = self.ask("POST", f"{BASE}/media?name=a.png", b"x", 201, content_type="image/png")[
            "data"
        ]
        self.post(f"/media/{file['id']}/fit?line=two")
        self.receive("hello")
        self.between("hello", "john", "jane")
        sent = self.send(NUMBER, line="two", media=[file["id"]])
        self.settle_last(FAILED)
        self.post("/messages?test=true", {"to": NUMBER, "body": "x"})
        self.post("/messages", {"to": NUMBER, "body": "x"}, 202, prefer="return=minimal")
        self.get("/messages")
        path = f"/messages/{sent['id']}"
        self.get(path)
        self.post(f"{path}/retry")
        later = self.send(NUMBER, scheduled_at="2027-02-01T00:00:00Z")
        self.post(f"/messages/{later['id']}/cancel")
        self.delete(path)
        self.post(f"{path}/restore")
        self.get("/conversations")
        self.post("/conversations", {"to": NUMBER})
        cid = conversation_id(f"one|{NUMBER}")
        self.get(f"/conversations/{cid}")
        self.get(f"/conversations/{cid}/messages")
        self.patch(f"/conversations/{cid}", {"muted": True})
        undo = self.delete(f"/conversations/{cid}", 200)["meta"]["undo"]
        self.post(f"/conversations/{cid}/restore", {"undo": undo})
        self.get("/search?q=hello")

    def use_contacts(self) -> None:
        """Use the operations on contacts and blocked numbers."""
        made = self.post(
            "/contacts",
            {"name": "Ann", "numbers": [{"number": NUMBER, "label": "x"}], "groups": ["family"]},
            201,
        )["data"]
        self.get("/contacts")
        self.get(f"/contacts/{made['id']}")
        self.patch(f"/contacts/{made['id']}", {"note": "x"})
        self.get("/groups")
        self.ask("POST", f"{BASE}/contacts/import", CARD, content_type="text/vcard")
        self.get("/contacts/export")
        self.delete(f"/contacts/{made['id']}")
        self.ask("PUT", f"{BASE}/blocks/{NUMBER}")
        self.get("/blocks")
        self.delete(f"/blocks/{NUMBER}")

    def use_lines(self) -> None:
        """Use the operations on lines."""
        self.get("/lines")
        self.post("/lines/one/ussd", {"code": "*100#"})
        self.get("/calls")

    def use_account(self) -> None:
        """Use the operations on one's own account."""
        settings = self.logins.set_password("john", "correct horse battery")
        self.wait(settings)
        self.ask(
            "POST",
            f"{BASE}/session",
            {"person": "john", "password": "correct horse battery"},
            201,
            x_requested_with="smsbridge",
        )
        (session,) = self.wait(self.logins.sessions("john"))
        assert isinstance(session, Session)
        self.access.known["me"] = self.setting.caller(
            "john", name=session.session_id, by_session=True
        )
        self.get("/me", person="me")
        self.post(
            "/me/password",
            {"current": "correct horse battery", "new": "battery horse correct"},
            204,
            "me",
        )
        self.get("/me/sessions", person="me")
        self.post("/me/tokens", {"name": "work", "scopes": ["read"]}, 201, "me")
        self.get("/me/tokens", person="me")
        self.delete("/me/tokens/work", person="me")
        subscription = {
            "endpoint": "https://push.example.com/1",
            "keys": {"p256dh": "B" + "A" * 86, "auth": "A" * 22},
        }
        self.post("/push", subscription, 201, "me")
        self.ask("DELETE", f"{BASE}/push", {"endpoint": subscription["endpoint"]}, 204, "me")
        self.delete(f"/me/sessions/{session.session_id}", person="me")
        self.ask("DELETE", f"{BASE}/session", None, 204, x_requested_with="smsbridge")

    def wait(self, coroutine: Any) -> Any:
        """Return what a coroutine comes to."""
        done = Deferred.fromCoroutine(coroutine)
        self.setting.turn()
        return self.successResultOf(done)

    def use_admin(self) -> None:
        """Use the operations for operators."""
        for path in ("/queue", "/links", "/people", "/log", "/status"):
            self.get(path)
        self.post("/queue/retry", {"ids": ["x"]})
        self.post("/queue/drop", {"ids": ["x"]})
        self.ask("PUT", f"{BASE}/people/jane/password", {"password": "a long one"}, 204)
        self.post("/reload")


class DocumentTests(ApiTestCase):
    """The document and the page."""

    def setUp(self) -> None:
        """Serve the document too."""
        super().setUp()
        self.api = Api(self.setting.backend, self.access, self.subjects, describe("1.2.3"))
        self.treq = StubTreq(self.api.resource())

    def fetch(self, path: str) -> tuple[Any, bytes]:
        """Fetch a page without credentials."""
        response = self.successResultOf(self.treq.get(f"http://bridge.test{path}"))
        return response, self.successResultOf(self.treq.content(response))

    def test_document_is_open_and_whole(self) -> None:
        """Every operation is in it once, with a summary, and every reference leads somewhere."""
        response, content = self.fetch("/openapi.json")
        document = json.loads(content)

        self.assertEqual(response.code, 200)
        self.assertEqual(document["openapi"], "3.1.0")
        described = [
            operation for methods in document["paths"].values() for operation in methods.values()
        ]
        self.assertEqual(
            sorted(each["operationId"] for each in described),
            sorted(each.name for each in self.api.operations),
        )
        self.assertTrue(all(each["summary"] for each in described))
        for name in set(re.findall(rb'"#/components/schemas/([^"]+)"', content)):
            self.assertIn(name.decode(), document["components"]["schemas"])

    def test_every_parameter_of_a_path_is_described(self) -> None:
        """What stands in braces in a path is a parameter of its operations."""
        _, content = self.fetch("/openapi.json")
        for path, methods in json.loads(content)["paths"].items():
            for operation in methods.values():
                named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
                self.assertEqual(named, set(re.findall(r"\{(\w+)\}", path)))

    def test_page_has_every_operation_and_nothing_active(self) -> None:
        """The page needs no script and no style of its own."""
        response, content = self.fetch("/")

        self.assertIn(
            "default-src 'none'", str(response.headers.getRawHeaders("content-security-policy"))
        )
        for each in self.api.operations:
            self.assertIn(f'id="{each.name}"'.encode(), content)
        for forbidden in (b"<script", b"style=", b"<style", b"http://", b"https://"):
            self.assertNotIn(forbidden, content)

    def test_address_without_a_slash_leads_there(self) -> None:
        """Relative links of the page work from the address that people type."""
        root = Resource()
        root.putChild(b"api", self.api.resource())
        response = self.successResultOf(
            StubTreq(root).get("http://bridge.test/api", allow_redirects=False)
        )

        self.assertEqual(response.code, 302)
        self.assertEqual(response.headers.getRawHeaders("location"), ["/api/"])


class ManualTests(SynchronousTestCase):
    """``docs/api.rst``."""

    def test_every_operation_is_in_the_manual(self) -> None:
        """The page of the manual names every method and path."""
        manual = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
        case = ApiTestCase("setUp")
        case.setUp()
        self.addCleanup(case.doCleanups)
        missing = [
            f"{each.method} {each.path}"
            for each in case.api.operations
            if f"``{each.method} {each.path}``" not in manual
        ]

        self.assertEqual(missing, [])
