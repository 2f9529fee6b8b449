"""
Every operation tried by others on what is John's: as another person, and with a token for one line.

The tries are made from the declarations of the operations.  An operation that is not known here
fails the test, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from smsbridge.core.message import Media
from smsbridge.web.access.caller import Scope
from smsbridge.web.api.operation import Operation
from smsbridge.web.api.shapes import conversation_id
from tests.web.api.setting import BASE, FAILED, ApiTestCase
from tests.web.backend import NUMBER

#: Operations on nobody's things in particular: what they show or do is the caller's own, which the
#: tests below look at.
OWN: Final = {
    "account_change_password",
    "account_log_in",
    "account_log_out",
    "account_me",
    "account_add_token",
    "account_sessions",
    "account_tokens",
    "attachments_upload",
    "contacts_add",
    "contacts_blocks",
    "contacts_bring",
    "contacts_groups",
    "contacts_listed",
    "contacts_take",
    "conversations_listed",
    "events_listen",
    "lines_calls",
    "lines_listed",
    "messages_listed",
    "pushoperations_subscribe",
    "pushoperations_unsubscribe",
}
#: Operations that name what is there by its content or number and belong to nobody: whoever can say
#: the name may do it for himself.
NAMED: Final = {"attachments_fit", "contacts_block", "contacts_unblock"}
#: What is in John's texts, and whom he knows.
SECRET = "the secret of John"
FRIEND = "a friend of John"


class ForeignTests(ApiTestCase):
    """John's line two, his messages, contacts, files and what he writes to Joe, for others."""

    def setUp(self) -> None:
        """Let John have one of everything."""
        super().setUp()
        self.receive(SECRET, line="two")
        sent = self.send(NUMBER, SECRET, line="two")
        self.settle_last(FAILED)
        scheduled = self.send(NUMBER, SECRET, line="two", scheduled_at="2027-02-01T00:00:00Z")
        contact = self.post(
            "/contacts",
            {"name": FRIEND, "numbers": [{"number": NUMBER}], "groups": ["secret"]},
            201,
        )["data"]
        self.ask("PUT", f"{BASE}/blocks/{quote('+12025550199')}")
        media: Media = self.successResultOf(self.setting.files.keep(b"secret", SECRET, "image/png"))
        self.cid = conversation_id(f"two|{NUMBER}")
        self.inside = conversation_id("|joe,john")
        self.cids = [self.cid, self.inside]
        self.messages = [sent["id"], scheduled["id"], self.between(SECRET, "john", "joe")]
        self.parts = {
            "message_id": sent["id"],
            "cid": self.cid,
            "contact_id": contact["id"],
            "label": "two",
            "digest": media.digest,
            "number": NUMBER,
            "name": "johns-token",
            "session_id": "0" * 64,
        }
        self.attributes: dict[str, Any] = {
            "to": NUMBER,
            "body": "x",
            "line": "two",
            "code": "*100#",
            "muted": True,
            "undo": "x",
            "ids": [sent["id"]],
            "name": "changed",
            "password": "correct horse",
        }
        self.others = {
            "another person": self.scoped("jane", name="session", by_session=True),
            "a token of his for another line": self.scoped(
                "john",
                *(frozenset(Scope) - {Scope.ADMIN}),
                only_lines=("one",),
            ),
        }

    def try_all(self, person: str) -> None:
        """Try every operation as somebody; all must be out of reach, or show nothing."""
        for declared in self.api.operations:
            if declared.name in OWN | NAMED:
                continue
            if self.is_token(person) and declared.tag == "contacts":
                continue  # the address book is the person's, whatever the line
            for parts in self.spellings(declared):
                path = declared.path
                for name, value in parts.items():
                    path = path.replace(f"<{name}>", quote(value, safe=""))
                self.assertNotIn("<", path, f"{declared.name}: say what its part is")
                with self.subTest(declared.name):
                    self.try_one(declared, path, person)

    def is_token(self, person: str) -> bool:
        """Tell whether it is John himself with less right."""
        return person != "jane-scoped"

    def spellings(self, declared: Operation) -> list[dict[str, str]]:
        """Return the parts of a path for every one of John's messages."""
        if "<message_id>" in declared.path:
            return [{**self.parts, "message_id": each} for each in self.messages]
        if "<cid>" in declared.path:
            return [{**self.parts, "cid": each} for each in self.cids]
        return [self.parts]

    def try_one(self, declared: Operation, path: str, person: str) -> None:
        """Make one request, which must be refused."""
        data = None
        if declared.body is not None:
            data = json.dumps({"data": {"attributes": self.attributes}}).encode()
        query = f"?conversation={self.cid}&q=secret" if declared.name.endswith("_search") else ""
        asked = self.treq.request(
            declared.method,
            f"http://bridge.test/v2.2{path}{query}",
            data=data,
            headers={"X-Person": person, "Content-Type": "application/json"},
        )
        self.setting.turn()
        self.treq.flush()
        response = self.successResultOf(asked)
        content = self.successResultOf(self.treq.content(response))
        self.assertIn(response.code, (401, 403, 404), f"{declared.name}: {content!r}")
        self.assertNotIn(b"secret", content)

    def test_another_person_reaches_nothing(self) -> None:
        """Jane, who has other lines, gets 403 or 404 for everything that is John's."""
        before = self.rig.store.rows(), self.rig.store.records()
        self.try_all("jane-scoped")

        self.assertEqual((self.rig.store.rows(), self.rig.store.records()), before)
        self.assert_nothing_changed()

    def test_a_token_for_another_line_reaches_nothing(self) -> None:
        """A token of John's own for line one gets nothing of line two."""
        before = self.rig.store.rows(), self.rig.store.records()
        self.try_all("john-scoped")

        self.assertEqual((self.rig.store.rows(), self.rig.store.records()), before)
        self.assert_nothing_changed()

    def test_strangers_reach_nothing(self) -> None:
        """Without credentials there is 401 everywhere, but for what is open to log in."""
        for declared in self.api.operations:
            path = declared.path
            for name, value in self.parts.items():
                path = path.replace(f"<{name}>", quote(value, safe=""))
            if declared.scope is None:
                self.assertTrue(declared.name.startswith("account_log"), declared.name)
                continue
            asked = self.treq.request(declared.method, f"http://bridge.test/v2.2{path}")
            self.setting.turn()
            self.treq.flush()
            self.assertEqual(self.successResultOf(asked).code, 401, declared.name)

    def test_own_things_show_nothing_of_others(self) -> None:
        """Lists show the caller's own: Jane sees nothing of what is John's in any of them."""
        for person in self.others.values():
            for declared in self.api.operations:
                if declared.method != "GET" or declared.name not in OWN or declared.streams:
                    continue
                if self.is_token(person) and declared.tag in ("contacts", "session"):
                    continue
                content = self.ask("GET", BASE + declared.path, None, 200, person)
                self.assertNotIn("secret", str(content), f"{declared.name} as {person}")
                if not self.is_token(person):
                    self.assertNotIn("friend", str(content), f"{declared.name} as {person}")
        self.assertEqual(self.get("/search?q=secret", person="jane")["data"], [])
        self.assertEqual(self.get("/search?q=secret", person="john-scoped")["data"], [])
        self.assertEqual(self.get("/messages?line=two", person="jane")["data"], [])

    def test_groups_of_others_mean_nothing(self) -> None:
        """Jane cannot write to John's groups."""
        self.refused("POST", "/messages", 422, {"to": "@secret", "body": "x"}, person="jane")

    def test_a_token_for_a_line_does_not_write_to_persons(self) -> None:
        """Neither to one nor beside numbers, neither now nor tried, and it opens nothing there."""
        for to in ("joe", ["joe", NUMBER]):
            for more in ({}, {"line": "one"}, {"group": False}):
                body = {"to": to, "body": "x", **more}
                for path in ("/messages", "/messages?test=true"):
                    error = self.refused("POST", path, 403, body, person="john-scoped")
                    self.assertEqual(error["source"], {"pointer": "/data/attributes/to"})
            self.refused("POST", "/conversations", 403, {"to": to}, person="john-scoped")
        begun = conversation_id("|jane,john")
        self.get(f"/conversations/{begun}", 404, "john-scoped")
        self.get(f"/conversations/{begun}")

    def test_a_token_for_a_line_counts_its_own_unread(self) -> None:
        """What a person has not read is not told by a number either."""
        self.between("for John", "joe", "john")

        self.assertEqual(self.get("/conversations", person="john-scoped")["meta"]["unread"], 0)
        self.assertEqual(self.get("/conversations")["meta"]["unread"], 2)

    def assert_nothing_changed(self) -> None:
        """Fail unless John's things are as they were."""
        conversations = self.get("/conversations")["data"]
        self.assertEqual([each["id"] for each in conversations], [self.inside, self.cid])
        self.assertFalse(any(each["attributes"]["muted"] for each in conversations))
        (contact,) = self.get("/contacts")["data"]
        self.assertEqual(contact["attributes"]["name"], FRIEND)
        self.assertEqual(len(self.get("/messages")["data"]), 4)

    def test_every_operation_is_known_here(self) -> None:
        """The lists above name operations that there are."""
        names = {declared.name for declared in self.api.operations}

        self.assertEqual((OWN | NAMED) - names, set())
