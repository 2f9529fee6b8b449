"""Tests of `smsbridge.web.api.conversations`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from smsbridge.core.book import PersonalBook
from smsbridge.web.access.caller import Scope
from smsbridge.web.api.shapes import conversation_id, conversation_of
from tests.web.api.setting import BASE, ApiTestCase
from tests.web.backend import NUMBER, OTHER

WITH_NUMBER = conversation_id(f"one|{NUMBER}")


class ConversationTestCase(ApiTestCase):
    """What the tests below share."""

    def name(self, person: str, **names: str) -> None:
        """Give a person names for numbers."""
        self.rig.world.book.put(person, PersonalBook(names={NUMBER: names["number"]}))

    def titles(self, query: str = "", person: str = "john") -> list[str]:
        """Return the titles of a list of conversations."""
        answer = self.get(f"/conversations{query}", person=person)
        return [each["attributes"]["title"] for each in answer["data"]]


class IdTests(ConversationTestCase):
    """The ids of conversations."""

    def test_id_holds_the_name(self) -> None:
        """A name comes back from its id, and only from that one spelling."""
        for name in ("one|+12025550123", "|jane,john", "line|Ünï"):
            self.assertEqual(conversation_of(conversation_id(name)), name)
        for wrong in ("", "é", "b25l=", "x", "////", WITH_NUMBER + "=="):
            self.assertEqual(conversation_of(wrong), "", wrong)


class ListTests(ConversationTestCase):
    """``GET /conversations``."""

    def test_newest_first_with_unread_counts(self) -> None:
        """Each conversation has its title, its last text and what is unread."""
        self.name("john", number="Ann")
        self.receive("1")
        self.receive("2", OTHER, "two")
        self.receive("3")
        answer = self.get("/conversations")

        first, second = (each["attributes"] for each in answer["data"])
        self.assertEqual((first["title"], first["unread"]), ("Ann", 2))
        self.assertEqual((second["title"], second["unread"]), ("(202) 555-0124", 1))
        self.assertEqual(first["last_message"]["attributes"]["body"], "3")
        self.assertEqual(first["parties"], [{"number": NUMBER, "name": "Ann", "person": ""}])
        self.assertEqual(answer["meta"], {"unread": 2})

    def test_persons_are_called_by_name(self) -> None:
        """An internal conversation shows the others, and not who looks."""
        self.between("hi", "john", "jane")
        (mine,) = self.get("/conversations")["data"]
        (hers,) = self.get("/conversations", person="jane")["data"]

        self.assertEqual(mine["attributes"]["title"], "jane")
        self.assertTrue(mine["attributes"]["internal"])
        self.assertEqual(
            hers["attributes"]["parties"], [{"number": "", "name": "john", "person": "john"}]
        )

    def test_filters(self) -> None:
        """By line, folder, and the beginning of a name or a part of a number."""
        self.name("john", number="Ann Lee")
        self.receive("1")
        self.receive("2", OTHER, "two")
        self.between("3", "john", "jane")
        for query, titles in (
            ("?line=two", ["(202) 555-0124"]),
            ("?folder=unread", ["(202) 555-0124", "Ann Lee"]),
            ("?folder=archived", []),
            ("?q=lee", ["Ann Lee"]),
            ("?q=0123", ["Ann Lee"]),
            ("?q=202-555-0124", ["(202) 555-0124"]),
            ("?q=jan", ["jane"]),
            ("?q=nobody", []),
        ):
            self.assertEqual(self.titles(query), titles, query)

    def test_pages(self) -> None:
        """Following the links gives every conversation once."""
        for number in range(5):
            self.receive("x", f"+1202555013{number}")
        seen: list[str] = []
        path: str | None = "/conversations?limit=2"
        while path:
            answer = self.get(path)
            seen += [each["id"] for each in answer["data"]]
            path = (answer["links"]["next"] or "").removeprefix(BASE)

        self.assertEqual(len(seen), 5)
        self.assertEqual(len(set(seen)), 5)

    def test_blocked_stand_apart(self) -> None:
        """A conversation with a blocked number is in its own folder."""
        self.receive("1")
        self.ask("PUT", f"{BASE}/blocks/{quote(NUMBER)}")

        self.assertEqual(self.titles(), [])
        (blocked,) = self.get("/conversations?folder=blocked")["data"]
        self.assertTrue(blocked["attributes"]["blocked"])


class OpenTests(ConversationTestCase):
    """``POST /conversations`` and one conversation."""

    def test_finds_the_one_that_a_text_would_be_in(self) -> None:
        """The conversation of a text to the same recipients has the same id."""
        for to, line in (([NUMBER], None), ([OTHER, NUMBER], "two"), (["jane"], None)):
            opened = self.post("/conversations", {"to": to, "line": line})["data"]
            self.assertIsNone(opened["attributes"]["last_message"])
            self.assertEqual(self.get(f"/conversations/{opened['id']}")["data"], opened)
            sent = self.send(to, **({"line": line} if line else {}))
            self.assertEqual(sent["attributes"]["conversation"], opened["id"])
            known = self.post("/conversations", {"to": to, "line": line})["data"]
            self.assertEqual(known["attributes"]["last_message"]["id"], sent["id"])

    def test_wrong_numbers_and_foreign_lines(self) -> None:
        """What could not be written to cannot be opened."""
        self.refused("POST", "/conversations", 422, {"to": "12"})
        self.refused("POST", "/conversations", 404, {"to": NUMBER, "line": "three"})

    def test_ids_that_mean_nothing_of_mine_are_404(self) -> None:
        """Conversations of others, and what no conversation is called, are not there."""
        for name in (
            f"three|{NUMBER}",
            "one|nobody at all",
            f"one|{OTHER},{NUMBER},{OTHER}",
            "|jane,joe",
            "|john,stranger",
            "one|",
        ):
            self.get(f"/conversations/{conversation_id(name)}", 404)
            self.get(f"/conversations/{conversation_id(name)}/messages", 404)
        self.get("/conversations/%C3%A9", 404)


class ThreadTests(ConversationTestCase):
    """``GET /conversations/<cid>/messages``."""

    def test_reads_in_both_directions(self) -> None:
        """Oldest first, with what there is on either side."""
        for number in range(5):
            self.receive(str(number))
        ids = [each["id"] for each in self.get("/messages")["data"]][::-1]
        for query, bodies, older, newer in (
            ("?limit=2", "34", True, False),
            (f"?before={ids[3]}&limit=2", "12", True, True),
            (f"?after={ids[0]}&limit=2", "12", True, True),
            (f"?around={ids[2]}&limit=3", "123", True, True),
            ("", "01234", False, False),
        ):
            answer = self.get(f"/conversations/{WITH_NUMBER}/messages{query}")
            found = "".join(each["attributes"]["body"] for each in answer["data"])
            self.assertEqual(found, bodies, query)
            self.assertEqual(answer["meta"], {"has_older": older, "has_newer": newer}, query)

    def test_one_place_at_a_time(self) -> None:
        """Two places in one question are a mistake."""
        self.refused("GET", f"/conversations/{WITH_NUMBER}/messages?before=a&after=b", 400)
        self.refused("GET", f"/conversations/{WITH_NUMBER}/messages?before=%00", 400)

    def test_a_new_conversation_is_empty(self) -> None:
        """Before the first text there is nothing to read, and that is no error."""
        answer = self.get(f"/conversations/{WITH_NUMBER}/messages")

        self.assertEqual(answer["data"], [])


class ChangeTests(ConversationTestCase):
    """Read, archive, mute, draft, delete."""

    def change(self, **attributes: Any) -> Any:
        """Change the conversation; returns its attributes."""
        answer = self.patch(f"/conversations/{WITH_NUMBER}", attributes)
        return answer["data"]["attributes"]

    def test_each_person_has_an_own_view(self) -> None:
        """What John reads, mutes and writes is nothing to Jane, and his windows hear of it."""
        self.receive("1")
        message_id = self.get("/messages")["data"][0]["id"]

        changed = self.change(read_to=message_id, muted=True, draft="not yet")

        self.assertEqual(
            (changed["unread"], changed["read_to"], changed["muted"], changed["draft"]),
            (0, message_id, True, "not yet"),
        )
        hers = self.get(f"/conversations/{WITH_NUMBER}", person="jane")["data"]["attributes"]
        self.assertEqual((hers["unread"], hers["muted"], hers["draft"]), (1, False, ""))
        self.assertEqual(self.setting.live.told, [("john", f"one|{NUMBER}")])

    def test_archived_until_the_next_text(self) -> None:
        """What was put away comes back with the next text."""
        self.receive("1")
        self.assertTrue(self.change(archived=True)["archived"])
        self.assertEqual(self.titles(), [])
        self.receive("2")

        self.assertEqual(len(self.titles()), 1)

    def test_deleted_with_undo(self) -> None:
        """All texts are gone for John, not for Jane, and come back."""
        self.receive("1")
        undo = self.delete(f"/conversations/{WITH_NUMBER}", 200)["meta"]["undo"]
        self.assertEqual(self.titles(), [])
        self.assertEqual(self.get("/messages")["data"], [])
        self.assertEqual(len(self.titles(person="jane")), 1)
        self.post(f"/conversations/{WITH_NUMBER}/restore", {"undo": undo})

        self.assertEqual(len(self.titles()), 1)

    def test_what_is_not_there_cannot_be_changed(self) -> None:
        """A conversation without a text keeps nothing, and a wrong undo restores nothing."""
        self.refused("PATCH", f"/conversations/{WITH_NUMBER}", 404, {"muted": True})
        self.refused("DELETE", f"/conversations/{WITH_NUMBER}", 404)
        self.refused("POST", f"/conversations/{WITH_NUMBER}/restore", 404, {"undo": "x"})
        self.refused("PATCH", f"/conversations/{WITH_NUMBER}", 422, {"read_to": "no id"})

    def test_reading_is_no_changing(self) -> None:
        """A token that may only read marks nothing."""
        self.receive("1")
        reader = self.scoped("john", Scope.READ)
        self.refused("PATCH", f"/conversations/{WITH_NUMBER}", 403, {"muted": True}, person=reader)


class SearchTests(ConversationTestCase):
    """``GET /search``."""

    def bodies(self, query: str, person: str = "john") -> list[str]:
        """Return the texts that are found."""
        answer = self.get(f"/search?{query}", person=person)
        return [each["attributes"]["body"] for each in answer["data"]]

    def test_finds_words_and_names(self) -> None:
        """Beginnings of words, names of contacts, within a conversation or all."""
        self.name("john", number="Ann")
        self.receive("the quick fox")
        self.receive("a quiet day", OTHER, "two")
        self.receive("quite foreign", line="three")
        for query, bodies in (
            ("q=qui", ["a quiet day", "the quick fox"]),
            ("q=quick+fo", ["the quick fox"]),
            ("q=ann", ["the quick fox"]),
            (f"q=qui&conversation={WITH_NUMBER}", ["the quick fox"]),
            ("q=qui&line=two", ["a quiet day"]),
            ("q=%22%28*", []),
            ("q=", []),
        ):
            self.assertEqual(self.bodies(query), bodies, query)

    def test_conversations_are_included(self) -> None:
        """What was found can be shown with its title."""
        self.receive("the quick fox")
        (included,) = self.get("/search?q=fox")["included"]

        self.assertEqual(included["id"], WITH_NUMBER)

    def test_foreign_conversation_is_404(self) -> None:
        """Searching in a conversation of others finds that it is not there."""
        self.receive("the quick fox", line="three")
        foreign = conversation_id(f"three|{NUMBER}")

        self.refused("GET", f"/search?q=fox&conversation={foreign}", 404)
        self.refused("GET", "/search", 400)
