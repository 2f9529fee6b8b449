"""Tests of `smsbridge.web.api.contacts`."""

from __future__ import annotations

from typing import Any

from tests.web.api.setting import BASE, ApiTestCase
from tests.web.backend import NUMBER, OTHER

ANN = {
    "name": "Ann",
    "numbers": [{"number": "(202) 555-0123", "label": "mobile"}],
    "groups": ["family"],
    "note": "met at work",
}
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nTEL;TYPE=CELL:+12025550124\r\nEND:VCARD\r\n"


class ContactTests(ApiTestCase):
    """The address book."""

    def add(self, **changes: Any) -> Any:
        """Add a contact; returns the resource."""
        return self.post("/contacts", {**ANN, **changes}, 201)["data"]

    def test_added_and_shown(self) -> None:
        """Numbers are kept in E.164, and texts carry the name at once."""
        made = self.add()

        self.assertEqual(made["attributes"]["numbers"], [{"number": NUMBER, "label": "mobile"}])
        self.assertEqual(made["attributes"]["source"], "own")
        self.assertEqual(self.get(f"/contacts/{made['id']}")["data"], made)
        self.assertEqual(self.get("/contacts")["data"], [made])
        self.receive("hi")
        (conversation,) = self.get("/conversations")["data"]
        self.assertEqual(conversation["attributes"]["title"], "Ann")
        self.assertIn(("john",), self.setting.live.told)

    def test_found_by_name_number_and_group(self) -> None:
        """The list can be narrowed."""
        self.add()
        self.add(name="Zoe", numbers=[{"number": OTHER}], groups=[])
        for typed, names in (
            ("an", ["Ann"]),
            ("0124", ["Zoe"]),
            ("@family", ["Ann"]),
            ("ann zoe", []),
            ("", ["Ann", "Zoe"]),
        ):
            found = self.get(f"/contacts?q={typed.replace(' ', '+')}")["data"]
            self.assertEqual([each["attributes"]["name"] for each in found], names, typed)

    def test_a_long_book_comes_in_pages(self) -> None:
        """In the order of names, each contact once."""
        for number in range(5):
            self.add(name=f"Ann {number}")

        pages, path = [], "/contacts?limit=2&q=ann"
        while path:
            document = self.get(path)
            pages.append([each["attributes"]["name"] for each in document["data"]])
            path = (document["links"]["next"] or "").removeprefix(BASE)

        self.assertEqual(pages, [["Ann 0", "Ann 1"], ["Ann 2", "Ann 3"], ["Ann 4"]])
        self.refused("GET", "/contacts?limit=0", 400)
        self.refused("GET", "/contacts?cursor=%21", 400)

    def test_changed_in_part(self) -> None:
        """What is not named stays."""
        made = self.add()
        changed = self.patch(f"/contacts/{made['id']}", {"name": "Anne"})["data"]["attributes"]

        self.assertEqual((changed["name"], changed["note"]), ("Anne", "met at work"))
        self.assertEqual(changed["groups"], ["family"])
        self.delete(f"/contacts/{made['id']}")
        self.delete(f"/contacts/{made['id']}", 404)

    def test_wrong_numbers_are_told_at_the_field(self) -> None:
        """A number that cannot be understood is no contact."""
        error = self.refused("POST", "/contacts", 422, {"name": "x", "numbers": [{"number": "1"}]})
        self.assertEqual(error["source"], {"pointer": "/data/attributes/numbers"})
        error = self.refused("POST", "/contacts", 422, {"name": ""})
        self.assertEqual(error["detail"], "'name' must have at least 1 characters.")

    def test_groups_are_handles(self) -> None:
        """A text to the handle goes to the members."""
        self.add()
        self.add(name="Bob", numbers=[{"number": OTHER}])
        (group,) = self.get("/groups")["data"]
        sent = self.send("@family")

        self.assertEqual(group["id"], "family")
        self.assertEqual(
            [each["number"] for each in group["attributes"]["members"]], [NUMBER, OTHER]
        )
        self.assertEqual(sorted(sent["attributes"]["to"]), [NUMBER, OTHER])

    def test_vcards_in_and_out(self) -> None:
        """A file is taken over once, and all contacts come out as one."""
        for added in (1, 0):
            answer = self.ask("POST", f"{BASE}/contacts/import", CARD, content_type="text/vcard")
            self.assertEqual(answer["meta"]["added"], added)
        file = self.get("/contacts/export")

        self.assertIn(b"Bob", file)
        self.assertIn("attachment", str(self.headers.getRawHeaders("content-disposition")))

    def test_file_contacts_are_the_operators(self) -> None:
        """What stands in the configuration's file is shown and not changed."""
        from smsbridge.core.book import Contact

        shelf = self.setting.shelf
        shelf.put_cards(
            {"john": (Contact(contact_id="file:0", name="Bob", numbers=((OTHER, ""),)),)}
        )
        (shown,) = self.get("/contacts")["data"]

        self.assertEqual(shown["attributes"]["source"], "file")
        self.refused("PATCH", f"/contacts/{shown['id']}", 409, {"name": "x"})
        self.refused("DELETE", f"/contacts/{shown['id']}", 409)


class BlockTests(ApiTestCase):
    """Blocked numbers."""

    def test_blocked_and_no_longer(self) -> None:
        """A number is blocked in any spelling, listed, and unblocked."""
        self.ask("PUT", f"{BASE}/blocks/2025550123")
        (block,) = self.get("/blocks")["data"]
        self.receive("nobody hears this")

        self.assertEqual(block["id"], NUMBER)
        self.assertEqual([batch.batch[0].person for batch in self.rig.chat.attempts], ["jane"])
        self.delete(f"/blocks/{NUMBER}")
        self.delete(f"/blocks/{NUMBER}", 404)
        self.assertEqual(self.get("/blocks")["data"], [])
