"""Tests of `smsbridge.web.api.messages`."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from smsbridge.core.message import Media, Origin, Sent
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.web.access.caller import Caller, Scope
from tests.web.api.setting import BASE, FAILED, SENT, ApiTestCase
from tests.web.backend import NUMBER, OTHER

DAY_S = 86_400


class SendTests(ApiTestCase):
    """``POST /messages``."""

    def test_answers_with_the_message(self) -> None:
        """A text is answered 202 with the resource as it stands."""
        data = self.send(NUMBER, "Grüße")

        attributes = data["attributes"]
        self.assertEqual(data["type"], "message")
        self.assertEqual(
            data["links"]["self"], f"https://sms.example.org/api/v2.2/messages/{data['id']}"
        )
        self.assertEqual(attributes["from"], "+12025550100")
        self.assertEqual(attributes["to"], [NUMBER])
        self.assertEqual(attributes["body"], "Grüße")
        self.assertEqual(attributes["person"], "john")
        self.assertEqual(attributes["direction"], "outbound")
        self.assertEqual(self.rig.box.bodies, [["Grüße"]])

    def test_flowroutes_clients_are_understood(self) -> None:
        """Numbers without plus, `is_mms` as a text, and unknown attributes are taken."""
        document = {
            "data": {
                "type": "message",
                "attributes": {
                    "to": "12025550123",
                    "from": "12025550101",
                    "body": "See you",
                    "is_mms": "true",
                    "message_encoding": 0,
                },
            }
        }

        attributes = self.ask("POST", f"{BASE}/messages", document, 202)["data"]["attributes"]

        self.assertEqual((attributes["to"], attributes["line"]), ([NUMBER], "two"))

    def test_older_clients_send_the_text_as_a_file(self) -> None:
        """A body of null with a text/plain file is that text; other files are attached."""
        self.setting.files.web["https://example.org/1.txt"] = (b"from a file\r\n", "text/plain")
        self.setting.files.web["https://example.org/1.png"] = (b"picture", "image/png")

        attributes = self.send(
            [NUMBER],
            None,  # type: ignore[arg-type]
            line="two",
            is_mms=True,
            media_urls=["https://example.org/1.txt", "https://example.org/1.png"],
        )["attributes"]

        self.assertEqual(attributes["body"], "from a file")
        self.assertEqual([each["content_type"] for each in attributes["media"]], ["image/png"])
        self.assertEqual(attributes["media"][0]["width"], 4)
        self.assertEqual(attributes["media_urls"], [attributes["media"][0]["url"]])
        self.assertTrue(attributes["is_mms"])

    def test_several_recipients_each_alone(self) -> None:
        """Everybody has a message in the own conversation; a repeat makes no more of them."""
        for _ in range(2):
            first = self.post(
                "/messages",
                {"to": [NUMBER, OTHER], "body": "hi", "group": False},
                202,
                idempotency_key="each",
            )["data"]

        listed = self.get("/messages")["data"]
        self.assertEqual([each["attributes"]["to"] for each in listed], [[OTHER], [NUMBER]])
        self.assertEqual(first["attributes"]["to"], [NUMBER])
        self.assertEqual(len(self.get("/conversations")["data"]), 2)

    def test_numbers_and_persons_each_alone(self) -> None:
        """A person beside numbers is written to from person to person, on no line."""
        asked = {"to": ["jane", NUMBER, "joe"], "body": "hi", "group": False}
        answers = [
            self.post("/messages", asked, 202, idempotency_key="mixed")["data"] for _ in range(2)
        ]

        self.assertEqual(answers[0]["id"], answers[1]["id"])
        listed = [each["attributes"] for each in self.get("/messages")["data"]]
        self.assertEqual(
            sorted((each["direction"], each["line"], each["to"]) for each in listed),
            [
                ("internal", "", ["jane"]),
                ("internal", "", ["joe"]),
                ("outbound", "one", [NUMBER]),
            ],
        )
        self.assertEqual(len(self.get("/conversations", person="joe")["data"]), 1)
        error = self.post(
            "/messages", {**asked, "to": [NUMBER, "other"]}, 422, idempotency_key="mixed"
        )["errors"][0]
        self.assertEqual(error["source"], {"pointer": "/data/attributes/to"})
        other = {**asked, "body": "another"}
        self.post("/messages", other, 409, idempotency_key="mixed")

    def test_several_recipients_are_one_message(self) -> None:
        """A list, or a text with commas, is one message with a delivery for each number."""
        for to in ([NUMBER, "(202) 555-0124"], f"{NUMBER}, {OTHER}"):
            attributes = self.send(to)["attributes"]
            self.assertEqual(attributes["to"], [NUMBER, OTHER])
            self.assertEqual([each["to"] for each in attributes["deliveries"]], [NUMBER, OTHER])

    def test_line_is_chosen_by_number_or_name(self) -> None:
        """`from` takes our number or the line's name, `line` the name; the first is the default."""
        for chosen, line in (
            ({"from": "+12025550101"}, "two"),
            ({"from": "two"}, "two"),
            ({"line": "two"}, "two"),
            ({}, "one"),
        ):
            self.assertEqual(self.send(NUMBER, **chosen)["attributes"]["line"], line)

    def test_foreign_lines_do_not_exist(self) -> None:
        """A line of others and one that is not there have the same answer."""
        for given in ("three", "+12025550102", "nothing"):
            error = self.refused(
                "POST", "/messages", 404, {"to": NUMBER, "body": "x", "from": given}
            )
            self.assertEqual(error["detail"], f"There is no line {given} for you.")
            self.assertEqual(error["source"], {"pointer": "/data/attributes/from"})

    def test_token_sends_on_its_lines_alone(self) -> None:
        """A token bound to a line has that as its default and no other."""
        name = self.scoped("john", only_lines=("two",))
        attributes = {"to": NUMBER, "body": "x"}

        data = self.post("/messages", attributes, 202, name)["data"]
        self.assertEqual(data["attributes"]["line"], "two")
        self.post("/messages", {**attributes, "line": "one"}, 404, name)
        self.access.known[name] = self.setting.caller("john", only_lines=("three",))
        self.post("/messages", attributes, 403, name)

    def test_refusals_point_at_the_field(self) -> None:
        """A wrong number, an empty text and one that is too long are told at their fields."""
        for attributes, code, pointer in (
            ({"to": "12", "body": "x"}, "invalid-number", "to"),
            ({"to": "@nobody", "body": "x"}, "invalid-number", "to"),
            ({"to": NUMBER, "body": " "}, "empty", "body"),
            ({"to": NUMBER, "body": "x" * 5000}, "too-long", "body"),
            ({"to": [], "body": "x"}, "invalid", "to"),
            ({"body": "x"}, "invalid", "to"),
        ):
            error = self.refused("POST", "/messages", 422, attributes)
            self.assertEqual(error["code"], code)
            self.assertEqual(error["source"], {"pointer": f"/data/attributes/{pointer}"})

    def test_store_out_of_reach_is_503(self) -> None:
        """What was not stored is not answered as if it were."""
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal")

        self.refused("POST", "/messages", 503, {"to": NUMBER, "body": "x"})

    def test_answer_waits_for_the_commit(self) -> None:
        """Nobody hears of a message before it is stored."""
        asked = self.treq.request(
            "POST",
            "http://bridge.test/v2.2/messages",
            data=b'{"to": "+12025550123", "body": "x"}',
            headers={"X-Person": "john"},
        )
        self.treq.flush()
        self.assertNoResult(asked)
        self.setting.turn()
        self.treq.flush()

        self.assertEqual(self.successResultOf(asked).code, 202)

    def test_texts_to_persons_need_no_line(self) -> None:
        """A person's name among the recipients reaches the person."""
        attributes = self.send("jane")["attributes"]

        self.assertEqual((attributes["direction"], attributes["line"]), ("internal", ""))
        self.assertEqual([each["person"] for each in attributes["deliveries"]], ["jane"])
        self.assertEqual([each["to"] for each in attributes["deliveries"]], ["jane"])

    def test_minimal_answer_costs_no_read(self) -> None:
        """With `Prefer: return=minimal` there is the id alone."""
        reads = self.setting.reads
        data = self.post("/messages", {"to": NUMBER, "body": "x"}, 202, prefer="return=minimal")[
            "data"
        ]

        self.assertEqual(sorted(data), ["id", "links", "type"])
        self.assertEqual(self.setting.reads, reads)

    def test_reports_go_where_the_callers_origin_says(self) -> None:
        """What knows a caller's webhook is asked with the address of the request."""
        asked: list[tuple[str, str]] = []

        def origin_of(caller: Caller, callback: str) -> Origin:
            asked.append((caller.label, callback))
            return Origin(gateway="hooks", address=callback)

        self.subjects[0]._origin_of = origin_of
        self.send(NUMBER, dlr_callback="https://example.org/dlr")

        self.assertEqual(asked, [("john", "https://example.org/dlr")])


class MediaTests(ApiTestCase):
    """Attachments of ``POST /messages``."""

    def upload(self, data: bytes = b"picture", content_type: str = "image/png") -> Media:
        """Keep a file."""
        return self.successResultOf(self.setting.files.keep(data, "cat.png", content_type))

    def test_uploads_are_named_by_their_digest(self) -> None:
        """A file that was uploaded goes out as an attachment where the line carries it."""
        media = self.upload()
        attributes = self.send(NUMBER, line="two", media=[media.digest])["attributes"]

        self.assertEqual(attributes["media"][0]["name"], "cat.png")
        self.assertEqual(self.rig.box.attempts[-1].batch[0].media[0].digest, media.digest)

    def test_line_without_attachments_gets_a_link(self) -> None:
        """The text has the link, and the message its file."""
        media = self.upload()
        attributes = self.send(NUMBER, line="one", media=[media.digest])["attributes"]

        self.assertIn(f"https://sms.example.org/media/{media.digest}", attributes["body"])
        self.assertFalse(attributes["is_mms"])
        self.assertEqual(attributes["media"][0]["content_type"], "image/png")

    def test_missing_files_are_told(self) -> None:
        """A file that is gone and an address with nothing there are told by their place."""
        error = self.refused("POST", "/messages", 422, {"to": NUMBER, "media": ["0" * 64]})
        self.assertEqual(error["source"], {"pointer": "/data/attributes/media/0"})
        error = self.refused(
            "POST", "/messages", 422, {"to": NUMBER, "media_urls": ["https://example.org/no"]}
        )
        self.assertEqual(error["source"], {"pointer": "/data/attributes/media_urls/0"})

    def test_what_cannot_be_fetched_has_its_status(self) -> None:
        """Too large and no room are told apart from an address that is wrong."""
        self.setting.files.web["https://example.org/1.png"] = (b"picture", "image/png")
        attributes = {"to": NUMBER, "media_urls": ["https://example.org/1.png"]}
        for reason, code in (("too-large", 413), ("storage-full", 507), ("file-gone", 422)):
            self.setting.files.refusal = Refused(reason)
            error = self.refused("POST", "/messages", code, attributes)
            self.assertEqual(error["source"], {"pointer": "/data/attributes/media_urls/0"})


class RepeatTests(ApiTestCase):
    """``Idempotency-Key``."""

    def test_repeat_is_the_same_message(self) -> None:
        """The same key with the same text is answered with the first message."""
        attributes = {"to": NUMBER, "body": "once"}
        first, second = (
            self.post("/messages", attributes, 202, idempotency_key="k 1")["data"]["id"]
            for _ in range(2)
        )

        self.assertEqual(first, second)
        self.assertEqual(self.rig.box.bodies, [["once"]])

    def test_other_text_is_a_conflict(self) -> None:
        """The same key with another text, number or line is an error, and nothing is sent."""
        self.post("/messages", {"to": NUMBER, "body": "once"}, 202, idempotency_key="k")
        for attributes in (
            {"to": NUMBER, "body": "twice"},
            {"to": OTHER, "body": "once"},
            {"to": NUMBER, "body": "once", "line": "two"},
        ):
            error = self.refused("POST", "/messages", 409, attributes, idempotency_key="k")
            self.assertEqual(error["code"], "other-text")
        self.assertEqual(self.rig.box.bodies, [["once"]])

    def test_keys_of_different_callers_do_not_meet(self) -> None:
        """Another person, or another token, may use the same key."""
        other = self.scoped("john", name="other")
        ids = {
            self.post("/messages", {"to": NUMBER, "body": "x"}, 202, who, idempotency_key="k")[
                "data"
            ]["id"]
            for who in ("john", "jane", other)
        }

        self.assertEqual(len(ids), 3)

    def test_browser_may_log_in_in_between(self) -> None:
        """A repeat of a browser with another session is a repeat."""
        ids = set()
        for session in ("s1", "s2"):
            name = self.scoped("john", name=session, by_session=True)
            ids.add(
                self.post("/messages", {"to": NUMBER, "body": "x"}, 202, name, idempotency_key="k")[
                    "data"
                ]["id"]
            )

        self.assertEqual(len(ids), 1)

    def test_repeat_with_files_is_recognized(self) -> None:
        """What was made a link of in the text does not make a repeat another text."""
        media = self.successResultOf(self.setting.files.keep(b"picture", "", "image/png"))
        attributes = {"to": NUMBER, "body": "look", "media": [media.digest]}
        for _ in range(2):
            self.post("/messages", attributes, 202, idempotency_key="k")
        self.refused("POST", "/messages", 409, {"to": NUMBER, "body": "look"}, idempotency_key="k")

    def test_long_keys_are_refused(self) -> None:
        """A key has 255 characters at most."""
        self.refused(
            "POST", "/messages", 400, {"to": NUMBER, "body": "x"}, idempotency_key="k" * 256
        )


class PreviewTests(ApiTestCase):
    """``POST /messages?test=true``."""

    def test_sends_nothing(self) -> None:
        """The answer says what would be sent, and nothing is."""
        data = self.post(
            "/messages?test=true", {"to": [NUMBER, OTHER], "body": "x" * 200, "line": "two"}
        )["data"]

        attributes = data["attributes"]
        self.assertEqual(data["type"], "preview")
        self.assertEqual((attributes["parts"], attributes["texts"]), (2, 4))
        self.assertEqual((attributes["encoding"], attributes["as"]), ("gsm", "sms"))
        self.assertEqual([each["number"] for each in attributes["recipients"]], [NUMBER, OTHER])
        self.assertEqual(self.rig.store.records(), [])

    def test_refuses_as_sending_would(self) -> None:
        """What cannot be sent is refused in test mode too."""
        self.refused("POST", "/messages?test=true", 422, {"to": "12", "body": "x"})


class ScheduleTests(ApiTestCase):
    """``scheduled_at``."""

    def at(self, seconds: float) -> str:
        """Write a time that many seconds from now."""
        from smsbridge.web.shapes import instant

        return instant(self.rig.now_ms() + int(seconds * 1000)) or ""

    def test_waits_for_its_time(self) -> None:
        """Until then the message is scheduled; then it goes."""
        data = self.send(NUMBER, scheduled_at=self.at(3600))
        self.assertEqual(data["attributes"]["status"], "scheduled")
        self.assertEqual(data["attributes"]["scheduled_at"], self.at(3600))
        self.assertEqual(self.rig.box.bodies, [])
        self.rig.pass_time(3590, 30)
        self.rig.pass_time(20)

        self.assertEqual(self.rig.box.bodies, [["hello"]])
        self.settle_last(SENT)
        attributes = self.get(f"/messages/{data['id']}")["data"]["attributes"]
        self.assertEqual((attributes["status"], attributes["scheduled_at"]), ("sent", None))

    def test_other_times_are_refused(self) -> None:
        """The past, a far future, and a time without a zone are told."""
        for at in (self.at(-3600), self.at(400 * DAY_S), "2027-01-15T10:00:00", "tomorrow", -1e30):
            error = self.refused(
                "POST", "/messages", 422, {"to": NUMBER, "body": "x", "scheduled_at": at}
            )
            self.assertEqual(error["source"], {"pointer": "/data/attributes/scheduled_at"})

    def test_can_be_canceled(self) -> None:
        """What was canceled is dropped and never goes."""
        data = self.send(NUMBER, scheduled_at=self.at(3600))
        canceled = self.post(f"/messages/{data['id']}/cancel")["data"]
        self.rig.pass_time(3700, 60)

        self.assertEqual(canceled["attributes"]["status"], "dropped")
        self.assertEqual(self.rig.box.bodies, [])


class StatusTests(ApiTestCase):
    """The status of a message."""

    def status(self, message_id: str, person: str = "john") -> Any:
        """Return a message's status."""
        return self.get(f"/messages/{message_id}", person=person)["data"]["attributes"]["status"]

    def test_follows_the_delivery(self) -> None:
        """From sending to sent to failed, with reason and sentence."""
        data = self.send(NUMBER)
        self.assertEqual(self.status(data["id"]), "sending")
        self.settle_last(FAILED)

        attributes = self.get(f"/messages/{data['id']}")["data"]["attributes"]
        self.assertEqual((attributes["status"], attributes["reason"]), ("failed", FAILED.reason))
        self.assertIn("does not exist", attributes["detail"])
        self.assertIn("code 21", attributes["detail"])

    def test_worst_of_several_decides(self) -> None:
        """A text to several is failed when it is for one of them."""
        data = self.send([NUMBER, OTHER])
        self.settle_last(SENT, FAILED)

        self.assertEqual(self.status(data["id"]), "failed")

    def test_persons_devices_count_as_one(self) -> None:
        """A text that reached one of a person's devices has reached the person."""
        self.rig.world.directory = self.with_addresses()
        message_id = self.between("hi", "john", "jane")
        self.rig.chat.attempts[-1].settle(
            Sent("a", delivered=True), *[TemporaryFailure("peer-down")]
        )
        self.setting.turn()

        self.assertEqual(self.status(message_id), "delivered")

    def with_addresses(self) -> Any:
        """Return a directory in which Jane has two devices."""
        return self.rig.world.directory.with_addresses([("xmpp", "jane@example.com", "jane")])

    def test_received_texts_are_received(self) -> None:
        """Whether a person's own devices have it is no status of a text that came in."""
        self.receive("hello")
        (record,) = self.rig.store.records()
        internal = self.between("hi", "john", "jane")

        self.assertEqual(self.status(record.message_id), "received")
        self.assertEqual(self.status(internal, "jane"), "received")

    def test_devices_of_others_are_not_told(self) -> None:
        """Who shares a line learns no addresses of the others."""
        self.receive("hello")
        (record,) = self.rig.store.records()
        attributes = self.get(f"/messages/{record.message_id}")["data"]["attributes"]

        self.assertEqual([each["to"] for each in attributes["deliveries"]], ["john@example.org"])


class ChangeTests(ApiTestCase):
    """Retry, cancel, delete and restore."""

    def test_retry_sends_what_failed(self) -> None:
        """Only the deliveries that failed go again."""
        data = self.send([NUMBER, OTHER])
        self.settle_last(SENT, FAILED)
        again = self.post(f"/messages/{data['id']}/retry")["data"]

        self.assertEqual(again["attributes"]["status"], "queued")
        statuses = {each["to"]: each["status"] for each in again["attributes"]["deliveries"]}
        self.assertEqual(statuses, {NUMBER: "sent", OTHER: "queued"})

    def test_sending_again_has_the_pace_of_sending(self) -> None:
        """Nobody sends a hundred texts by one that the network loses."""
        paths = []
        for _ in range(3):
            paths.append(f"/messages/{self.send(NUMBER)['id']}/retry")
            self.settle_last(FAILED)
        directory = self.rig.world.directory
        john = evolve(directory.persons["john"], rate=0.1, burst=2)
        self.access.known["slow"] = evolve(self.setting.caller("john"), person=john)

        self.post(paths[0], person="slow")
        self.post(paths[1], person="slow")
        self.refused("POST", paths[2], 429, person="slow")
        self.rig.clock.advance(10)
        self.post(paths[2], person="slow")

    def test_nothing_to_do_is_a_conflict(self) -> None:
        """What is on its way is neither sent again nor canceled."""
        data = self.send(NUMBER)
        self.refused("POST", f"/messages/{data['id']}/retry", 409)
        self.refused("POST", f"/messages/{data['id']}/cancel", 409)
        self.receive("hello")
        self.refused("POST", f"/messages/{self.rig.store.records()[-1].message_id}/retry", 409)

    def test_who_may_not_send_may_not_send_again(self) -> None:
        """A line that can be read but not used sends nothing again."""
        data = self.send(NUMBER)
        self.settle_last(FAILED)
        reader = self.scoped("jane", Scope.READ)
        self.refused("POST", f"/messages/{data['id']}/retry", 403, person=reader)
        token = self.scoped("john", only_lines=("two",))
        self.refused("POST", f"/messages/{data['id']}/retry", 404, person=token)

    def test_recipient_does_not_send_again_for_the_author(self) -> None:
        """An internal text is its author's."""
        message_id = self.between("hi", "john", "jane")
        self.refused("POST", f"/messages/{message_id}/cancel", 403, person="jane")

    def test_deleted_for_oneself(self) -> None:
        """A deleted message is gone for who deleted it and there for others, until restored."""
        self.receive("hello")
        (record,) = self.rig.store.records()
        path = f"/messages/{record.message_id}"

        self.delete(path)
        self.get(path, 404)
        self.delete(path, 404)
        self.assertEqual(self.get("/messages")["data"], [])
        self.get(path, person="jane")
        self.post(f"{path}/restore")
        self.get(path)
        self.assertEqual(self.setting.live.told, [("john", record.conversation)] * 2)


class ListTests(ApiTestCase):
    """``GET /messages``."""

    def bodies(self, query: str = "", person: str = "john") -> list[str]:
        """Return the texts of a list."""
        answer = self.get(f"/messages{query}", person=person)
        return [each["attributes"]["body"] for each in answer["data"]]

    def fill(self) -> None:
        """Let some texts go to and fro."""
        self.receive("1 one")
        self.receive("2 two", OTHER, "two")
        self.receive("3 three", NUMBER, "three")
        self.send(OTHER, "4 out")
        self.between("5 internal", "john", "jane")

    def test_lists_what_the_caller_sees(self) -> None:
        """Newest first, from all lines of the person, and what persons wrote to each other."""
        self.fill()

        self.assertEqual(self.bodies(), ["5 internal", "4 out", "2 two", "1 one"])
        self.assertEqual(self.bodies(person="jane"), ["5 internal", "4 out", "3 three", "1 one"])
        self.assertEqual(self.bodies(person="joe"), [])

    def test_filters(self) -> None:
        """By line, number, person, direction and status."""
        self.fill()
        for query, bodies in (
            ("?line=two", ["2 two"]),
            ("?line=three", []),
            ("?number=%2B12025550124", ["4 out", "2 two"]),
            ("?number=12025550124", ["4 out", "2 two"]),
            ("?number=2025550123", ["1 one"]),
            ("?number=%2B12025550124&line=one", ["4 out"]),
            ("?person=jane", ["5 internal", "1 one"]),
            ("?direction=inbound", ["2 two", "1 one"]),
            ("?direction=internal", ["5 internal"]),
            ("?status=received", ["2 two", "1 one"]),
            ("?status=failed", []),
        ):
            self.assertEqual(self.bodies(query), bodies, query)

    def test_filters_by_time(self) -> None:
        """Start is included, end is not; a day alone is the whole day."""
        self.receive("today")  # 2027-01-15T08:00:00Z
        for query, count in (
            ("start_date=2027-01-15T08:00:00Z", 1),
            ("start_date=2027-01-15T08:00:01Z", 0),
            ("end_date=2027-01-15T08:00:00Z", 0),
            ("end_date=2027-01-15", 1),
            ("start_date=2027-01-15&end_date=2027-01-15", 1),
            ("end_date=2027-01-14", 0),
        ):
            self.assertEqual(len(self.bodies(f"?{query}")), count, query)

    def test_pages(self) -> None:
        """Following the links gives every message once, with the same filters."""
        for number in range(5):
            self.receive(str(number))
        self.receive("other", OTHER)
        seen, path = [], "/messages?limit=2&number=%2B12025550123"
        while path:
            answer = self.get(path)
            seen.append([each["attributes"]["body"] for each in answer["data"]])
            path = (answer["links"]["next"] or "").removeprefix(BASE)

        self.assertEqual(seen, [["4", "3"], ["2", "1"], ["0"]])

    def test_pages_of_a_status(self) -> None:
        """A page of a rare status goes on where it ended."""
        for number in range(3):
            self.send(f"+1202555013{number}", str(number))
            self.settle_last(FAILED if number != 1 else SENT)
        first = self.get("/messages?limit=1&status=failed")
        second = self.get(first["links"]["next"].removeprefix(BASE))

        self.assertEqual(first["data"][0]["attributes"]["body"], "2")
        self.assertEqual(second["data"][0]["attributes"]["body"], "0")

    def test_offset_of_older_clients(self) -> None:
        """Flowroute's offset passes over the newest."""
        for number in range(4):
            self.receive(str(number))

        self.assertEqual(self.bodies("?offset=1&limit=2"), ["2", "1"])

    def test_forged_cursors_are_told(self) -> None:
        """What is no cursor of ours is an error of the caller's."""
        for cursor in ("x", "%00", "YSBi", "é", "A" * 200):
            error = self.refused("GET", f"/messages?cursor={cursor}", 400)
            self.assertEqual(error["source"], {"parameter": "cursor"})

    def test_one_with_its_history(self) -> None:
        """A single message tells every step of its deliveries."""
        data = self.send(NUMBER)
        self.settle_last(SENT)
        (delivery,) = self.get(f"/messages/{data['id']}")["data"]["attributes"]["deliveries"]

        self.assertEqual(
            [step["status"] for step in delivery["history"]], ["queued", "sending", "sent"]
        )
        self.assertEqual(delivery["remote_id"], "remote-1")

    def test_others_messages_are_not_there(self) -> None:
        """A message of a foreign line is not found, nor is what never was."""
        self.receive("hello", line="three")
        (record,) = self.rig.store.records()

        self.get(f"/messages/{record.message_id}", 404)
        self.get("/messages/nothing", 404)
