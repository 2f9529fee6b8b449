"""Tests of `smsbridge.web.api.admin`."""

from __future__ import annotations

from smsbridge.web.bridge import Reloaded
from tests.web.api.setting import BASE, FAILED, ApiTestCase
from tests.web.backend import NUMBER, OTHER


class QueueTests(ApiTestCase):
    """The queue."""

    def test_lists_what_waits_or_has_a_status(self) -> None:
        """By default what waits; on demand what failed, page by page."""
        self.send(NUMBER)
        self.settle_last(FAILED)
        self.send(OTHER)
        (waiting,) = self.get("/queue")["data"]
        (failed,) = self.get("/queue?status=failed&gateway=box&line=one")["data"]

        self.assertEqual(waiting["attributes"]["to"], OTHER)
        self.assertEqual(failed["attributes"]["reason"], "unknown-subscriber")
        self.assertEqual(self.get("/queue?line=two")["data"], [])
        self.send(NUMBER)
        first = self.get("/queue?limit=1")
        second = self.get(first["links"]["next"].removeprefix(BASE))
        self.assertNotEqual(first["data"][0]["id"], second["data"][0]["id"])
        self.assertIsNone(second["links"]["next"])

    def test_retry_and_drop(self) -> None:
        """By the ids of deliveries or of messages; what is not there counts nothing."""
        data = self.send(NUMBER)
        self.settle_last(FAILED)
        (delivery,) = data["attributes"]["deliveries"]

        self.assertEqual(self.post("/queue/retry", {"ids": [data["id"]]})["meta"], {"count": 1})
        self.assertEqual(
            self.post("/queue/drop", {"ids": [delivery["id"], "nothing"]})["meta"], {"count": 1}
        )
        self.assertEqual(self.post("/queue/drop", {"ids": ["x"]})["meta"], {"count": 0})
        self.refused("POST", "/queue/drop", 422, {"ids": []})


class InstallationTests(ApiTestCase):
    """People, links, log, status, reload."""

    def test_people_and_their_logins(self) -> None:
        """Everybody of the configuration, with lines, addresses, and whether they can log in."""
        john, jane, _ = (each["attributes"] for each in self.get("/people")["data"])

        self.assertEqual((john["has_password"], jane["has_password"]), (True, False))
        self.assertEqual(jane["addresses"], [{"kind": "xmpp", "address": "jane@example.org"}])

    def test_passwords(self) -> None:
        """An operator gives a password to a person who is there."""
        self.ask("PUT", f"{BASE}/people/jane/password", {"password": "a long one"}, 204)
        self.assertEqual(self.passwords, {"jane": "a long one"})
        self.refused("PUT", "/people/nobody/password", 404, {"password": "a long one"})

    def test_state(self) -> None:
        """Links, the last errors and the state are told."""
        self.assertEqual(self.get("/links")["data"][0]["id"], "box")
        self.assertEqual(self.get("/log")["data"][0]["attributes"]["text"], "y")
        status = self.get("/status")["data"]["attributes"]
        self.assertEqual((status["version"], status["ready"]), ("1.2.3", True))
        self.setting.bridge.not_ready = "The database is not open."
        self.assertFalse(self.get("/status")["data"]["attributes"]["ready"])

    def test_reload(self) -> None:
        """What changed is told; a wrong configuration is 422 with its sentences."""
        self.assertEqual(self.post("/reload")["meta"]["changes"], ["line demo3 added"])
        self.setting.bridge.reloaded = Reloaded(errors=("a.ini: [x] unknown key 'y'",))
        self.assertIn("unknown key", self.refused("POST", "/reload", 422)["detail"])

    def test_for_operators_only(self) -> None:
        """Nobody else gets any of it."""
        for path in ("/queue", "/links", "/people", "/log", "/status"):
            self.get(path, 403, "jane")
