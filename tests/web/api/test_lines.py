"""Tests of `smsbridge.web.api.lines`."""

from __future__ import annotations

from smsbridge.web.access.caller import Scope
from smsbridge.web.api.shapes import bars
from tests.web.api.setting import ApiTestCase


class LineTests(ApiTestCase):
    """Lines, USSD and calls."""

    def test_own_lines_with_their_state(self) -> None:
        """Each line tells what it can; operators see all on demand."""
        one, two = self.get("/lines")["data"]

        self.assertEqual((one["id"], two["id"]), ("one", "two"))
        self.assertEqual(one["attributes"]["signal"], 4)
        self.assertEqual((one["attributes"]["ussd"], two["attributes"]["ussd"]), (True, False))
        self.assertEqual(one["attributes"]["commands"]["forward"]["arguments"], "REASON NUMBER")
        everything = self.get("/lines?all=true")["data"]
        self.assertEqual([each["id"] for each in everything], ["one", "two", "three"])
        self.assertEqual(everything[2]["attributes"]["state"], "its gateway does not run")
        self.get("/lines?all=true", 403, "jane")

    def test_signal_bars(self) -> None:
        """Strong is four, nothing is unknown."""
        for dbm, count in ((-60, 4), (-80, 3), (-95, 2), (-105, 1), (-113, 0), (None, None)):
            self.assertEqual(bars(dbm), count)

    def test_ussd_on_own_lines(self) -> None:
        """The network's answer comes back; its refusal is a sentence."""
        text = self.post("/lines/one/ussd", {"code": "*100#"})["data"]["attributes"]["text"]
        self.assertIn("*100#", text)
        self.refused("POST", "/lines/one/ussd", 422, {"code": "*999#"})
        self.refused("POST", "/lines/one/ussd", 422, {"code": ""})
        self.refused("POST", "/lines/nothing/ussd", 404, {"code": "*100#"})
        self.refused("POST", "/lines/two/ussd", 404, {"code": "*100#"}, person="jane")
        reader = self.scoped("jane", Scope.READ)
        self.refused("POST", "/lines/one/ussd", 403, {"code": "*100#"}, person=reader)

    def test_calls_of_own_lines(self) -> None:
        """Newest first, only what the caller's lines saw."""
        self.assertEqual(
            [each["attributes"]["line"] for each in self.get("/calls")["data"]], ["one", "two"]
        )
        self.assertEqual(
            [each["attributes"]["line"] for each in self.get("/calls", person="jane")["data"]],
            ["one"],
        )
        self.assertEqual(self.get("/calls?line=three")["data"], [])
        self.assertEqual(len(self.get("/calls?limit=1")["data"]), 1)
