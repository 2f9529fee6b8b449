"""The GoIP gateway as a whole, with devices played by hand."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import attrs
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.directory import World
from smsbridge.core.message import Call, Delivery, Kind, Media, NotTried, Sent, Status
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.goip import FACTORY, incoming
from smsbridge.gateways.goip.config import GoipGateway
from smsbridge.interfaces import ILineControl, IUssd
from smsbridge.keys import ConfigError
from tests.contracts import NOBODY_KNOWS, GatewayContract
from tests.fakes import MemoryReactor, StubInbox, StubLanes
from tests.gateways.goip.rig import (
    BOX_HOST,
    NUMBER,
    PASSWORD,
    SERVER,
    Device,
    Rig,
    delivery,
    line,
)


def log_of(case: SynchronousTestCase) -> list[dict[str, Any]]:
    """Return the list in which log events of this test gather."""
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    case.addCleanup(globalLogPublisher.removeObserver, events.append)
    return events


def takes(device: Device) -> None:
    """Let a device take every text, in bulk sessions and one-shot."""
    sent = 0

    def answers(datagram: bytes) -> list[bytes]:
        nonlocal sent
        verb, sendid, *rest = datagram.rstrip(b"\n").split(b" ")
        if verb == b"MSG":
            return [b"PASSWORD %b\n" % sendid]
        if verb == b"PASSWORD":
            return [b"SEND %b\n" % sendid]
        if verb in (b"SEND", b"SMS"):
            sent += 1
            return [
                b"WAIT %b %b\n" % (sendid, rest[0]),
                b"OK %b %b %d\n" % (sendid, rest[0], sent),
            ]
        return [b"DONE %b\n" % sendid] if verb == b"DONE" else []

    device.answers = answers


def goes_as_far_as(device: Device, last: bytes, then: str = "") -> None:
    """Let a device answer each step of a bulk session up to one verb, and that one with `then`."""

    def answers(datagram: bytes) -> list[bytes]:
        verb, sendid, *_ = datagram.rstrip(b"\n").split(b" ")
        if verb == last:
            return [then.format(sendid.decode()).encode()] if then else []
        return {
            b"MSG": [b"PASSWORD %b\n" % sendid],
            b"PASSWORD": [b"SEND %b\n" % sendid],
            b"DONE": [b"DONE %b\n" % sendid],
        }.get(verb, [])

    device.answers = answers


class GoipContractTests(GatewayContract, SynchronousTestCase):
    """The contract of all gateways."""

    factory = FACTORY
    silence_is = NOBODY_KNOWS

    def start_gateway(self) -> Any:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()
        return self.rig.gateway

    def lane(self) -> str:
        return "box/l1"

    def delivery(self, name: str, body: str = "hello") -> Delivery:
        return delivery(name, body)

    def peer_takes(self) -> None:
        takes(self.device)

    def peer_refuses(self) -> None:
        goes_as_far_as(self.device, b"SEND", "ERROR {} 1 errorstatus:28\n")

    def peer_takes_and_is_silent(self) -> None:
        goes_as_far_as(self.device, b"SEND")

    def peer_is_gone(self) -> None:
        self.device.answers = lambda datagram: []

    def bodies_at_peer(self) -> list[str]:
        commands = [d.decode() for d in self.rig.reactor.network.sent_from(SERVER)]
        one_shot = [d.split(" ", 5)[5] for d in commands if d.startswith("SMS ")]
        bulk = [d.split(" ", 3)[3][:-1] for d in commands if d.startswith("MSG ")]
        return one_shot + bulk

    def pass_time(self, seconds: float) -> None:
        self.rig.run(seconds)

    def configuration(self) -> tuple[Any, Any]:
        return self.rig.config, self.rig.lines


class GoipOneShotContractTests(GoipContractTests):
    """The contract of all gateways, with texts in one datagram."""

    def start_gateway(self) -> Any:
        self.rig = Rig(line(mode="one-shot"))
        self.device = self.rig.device()
        self.device.keepalive()
        return self.rig.gateway

    def peer_refuses(self) -> None:
        goes_as_far_as(self.device, b"SMS", "ERROR {} 1 errorstatus:28\n")

    def peer_takes_and_is_silent(self) -> None:
        goes_as_far_as(self.device, b"SMS", "WAIT {} 1\n")

    def test_peer_that_never_answers_is_a_temporary_failure(self) -> None:
        """A one-shot text may have gone out although nothing came back, so nobody knows."""
        gateway = self.start_gateway()
        self.peer_is_gone()

        (outcome,) = self.outcomes(gateway, self.delivery("a"))

        self.assertIsInstance(outcome, UnknownOutcome)


class KeepaliveTests(SynchronousTestCase):
    """Registration, presence and what a keepalive tells."""

    def test_valid_keepalive_is_accepted_and_opens_the_lane(self) -> None:
        """A device with the right id and password may be texted through."""
        rig = Rig()
        device = rig.device()
        self.assertFalse(rig.lanes.is_open("box/l1"))

        self.assertEqual(device.keepalive(), [b"reg:1;status:200;"])

        self.assertTrue(rig.lanes.is_open("box/l1"))
        self.assertTrue(rig.status().up)
        self.assertEqual(rig.status().address, f"{BOX_HOST}:10991")

    def test_unknown_id_and_wrong_password_are_refused(self) -> None:
        """Both get the vendor's 404 and open nothing."""
        rig = Rig()

        self.assertEqual(rig.device("nobody").keepalive(), [b"reg:1;status:404;"])
        self.assertEqual(rig.device().keepalive(password="wrong"), [b"reg:1;status:404;"])

        self.assertFalse(rig.lanes.is_open("box/l1"))
        self.assertEqual(rig.status().address, "")

    def test_silent_gateway_refuses_without_a_word(self) -> None:
        """With `silent` a stranger does not even learn that there is a server."""
        rig = Rig(config=GoipGateway(silent=True))

        self.assertEqual(rig.device("nobody").keepalive(), [])
        self.assertEqual(rig.device("nobody").receive(1, "x"), [])

    def test_refusals_are_few_a_minute(self) -> None:
        """A flood of bad reports is not answered one to one."""
        rig = Rig()
        stranger = rig.device("nobody")

        answers = [answer for _ in range(500) for answer in stranger.keepalive()]

        self.assertLess(len(answers), 50)

    def test_strangers_are_logged_once_a_minute(self) -> None:
        """The operator reads one sentence, however many datagrams there were."""
        events = log_of(self)
        rig = Rig()
        stranger = rig.device("nobody")

        for _ in range(50):
            for _ in range(20):
                stranger.keepalive()
            rig.run(1)

        warnings = [e for e in events if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertEqual(warnings[0]["detail"], "nobody")
        rig.run(30)
        warnings = [e for e in events if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 2)
        self.assertGreater(warnings[1]["count"], 900)

    def test_line_without_network_is_closed_until_login(self) -> None:
        """A SIM that is not registered gets no texts."""
        rig = Rig()
        device = rig.device()
        device.keepalive()

        device.keepalive(gsm_status="LOGOUT", signal="")
        closed = rig.lanes.closed["box/l1"]
        device.keepalive()

        assert closed is not None
        self.assertEqual(closed[0], "line-down")
        self.assertTrue(rig.lanes.is_open("box/l1"))

    def test_silence_closes_the_lane_after_92_seconds(self) -> None:
        """Three missed keepalives and two seconds."""
        rig = Rig()
        device = rig.device()
        device.keepalive()

        rig.run(90)
        self.assertTrue(rig.lanes.is_open("box/l1"))
        rig.run(5)

        self.assertEqual(rig.lanes.closed["box/l1"][0], "peer-down")  # type: ignore[index]
        self.assertEqual(rig.status().state, "silent")

    def test_nothing_is_written_to_a_silent_device(self) -> None:
        """Neither texts nor passwords go to an address that has not authenticated lately."""
        rig = Rig()
        device = rig.device()
        takes(device)
        device.keepalive()
        rig.run(100)
        device.heard()

        (outcome,) = self.successResultOf(rig.gateway.deliver("box/l1", [delivery()]))
        self.failureResultOf(rig.gateway.ussd("l1", "*100#"), TemporaryFailure)
        self.failureResultOf(rig.gateway.control("l1", "imei", ()), TemporaryFailure)
        rig.run(30)

        self.assertIsInstance(outcome, TemporaryFailure)
        self.assertEqual(device.heard(), [])

    def test_device_that_falls_silent_in_the_middle_gets_nothing_more(self) -> None:
        """Not even the repeats of a step that was written while it was alive."""
        rig = Rig()
        device = rig.device()
        device.keepalive()
        rig.run(89)

        delivering = rig.gateway.deliver("box/l1", [delivery()])
        rig.run(30)

        self.assertIsInstance(self.successResultOf(delivering)[0], TemporaryFailure)
        self.assertEqual(len(device.heard()), 1)

    def test_facts_are_learned_on_change_only(self) -> None:
        """The store hears of the SIM and the module once, and of a swap."""
        rig = Rig()
        device = rig.device()
        told = {
            "num": "+12025550100",
            "imei": "860000000000011",
            "imsi": "310150000000001",
            "iccid": "8901000000000000001F",
            "pro": "Testnet",
        }

        device.keepalive(**told)
        device.keepalive(**told)

        expected = {
            "number": "+12025550100",
            "imei": "860000000000011",
            "imsi": "310150000000001",
            "iccid": "8901000000000000001",
            "operator": "Testnet",
        }
        self.assertEqual(rig.inbox.learned, [("l1", expected)])
        device.keepalive(**{**told, "imsi": "310150000000002", "num": "+12025550101"})
        self.assertEqual(
            rig.inbox.learned[1:], [("l1", {"imsi": "310150000000002", "number": "+12025550101"})]
        )

    def test_facts_that_the_store_did_not_take_are_told_again(self) -> None:
        """A keepalive during an outage of the store is not the only chance."""
        rig = Rig()
        device = rig.device()
        rig.inbox.failure = TemporaryFailure("internal")
        device.keepalive(imei="860000000000011", num="+12025550100")
        rig.inbox.failure = None

        device.keepalive(imei="860000000000011", num="+12025550100")

        self.assertEqual(
            rig.inbox.learned, [("l1", {"imei": "860000000000011", "number": "+12025550100"})]
        )

    def test_national_number_is_learned_in_full(self) -> None:
        """A number typed into the box in national form is kept as E.164; nonsense is not."""
        rig = Rig()
        device = rig.device()

        device.keepalive(num="(202) 555-0100")
        device.keepalive(num="Reception")

        self.assertEqual(rig.inbox.learned, [("l1", {"number": "+12025550100"})])

    def test_unknown_number_is_asked_for(self) -> None:
        """Without a number in the keepalive the device is asked once."""
        rig = Rig()
        device = rig.device()

        def answers(datagram: bytes) -> list[bytes]:
            verb, sendid, _ = datagram.split(b" ")
            return [b"get_gsm_num %b +12025550100" % sendid] if verb == b"get_gsm_num" else []

        device.answers = answers
        heard = device.keepalive(num="")
        rig.run(1)
        heard += device.keepalive(num="")

        self.assertEqual(rig.inbox.learned, [("l1", {"number": "+12025550100"})])
        asked = [d for d in heard if d.startswith(b"get_gsm_num")]
        self.assertEqual(len(asked), 1)

    def test_moved_device_is_followed(self) -> None:
        """A box behind NAT may come from another port; answers go where it is now."""
        rig = Rig()
        rig.device().keepalive()

        moved = rig.device(port=20001)
        takes(moved)
        moved.keepalive()
        sending = rig.gateway.deliver("box/l1", [delivery()])
        rig.run(1)

        self.assertIsInstance(self.successResultOf(sending)[0], Sent)

    def test_address_outside_sources_is_not_answered(self) -> None:
        """A line with `sources` is served from there and from nowhere else."""
        network = ipaddress.ip_network("192.0.2.0/24")
        rig = Rig(line(sources=(network,)))

        self.assertEqual(rig.device(host="203.0.113.7").keepalive(), [])
        self.assertEqual(len(rig.device().keepalive()), 1)

        self.assertEqual(rig.status().address, f"{BOX_HOST}:10991")

    def test_gateway_sources_hold_for_all(self) -> None:
        """What cannot be a box of ours gets no word, whatever it says."""
        config = GoipGateway(sources=(ipaddress.ip_network("192.0.2.0/24"),))
        rig = Rig(config=config)
        stranger = rig.device("nobody", host="203.0.113.7")

        self.assertEqual(stranger.keepalive() + stranger.receive(1, "x"), [])
        self.assertEqual(rig.device("nobody").keepalive(), [b"reg:1;status:404;"])

    def test_pinned_address_may_change_its_port_only(self) -> None:
        """With `pin_address` the first host stays the only one."""
        rig = Rig(line(pin_address=True))
        rig.device().keepalive()

        self.assertEqual(rig.device(host="192.0.2.99").keepalive(), [])
        self.assertEqual(len(rig.device(port=20001).keepalive()), 1)

        self.assertEqual(rig.status().address, f"{BOX_HOST}:20001")


class ReceiveTests(SynchronousTestCase):
    """Texts from the phone network."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()

    def test_text_is_acknowledged_after_the_commit_only(self) -> None:
        """The device hears OK when the store has the text, not before."""
        self.rig.inbox.held = True

        self.assertEqual(self.device.receive(7, "hello"), [])
        self.rig.inbox.commit()

        self.assertEqual(self.device.heard(), [b"RECEIVE 7 OK"])

    def test_text_arrives_as_it_was(self) -> None:
        """Semicolons, colons, line ends and any script are kept."""
        text = "a;b:c msg:d\nline 2; привет 🎉"

        self.device.receive(7, text, sender="ACME;co")

        (message,) = self.rig.inbox.messages
        self.assertEqual((message.line, message.body), ("l1", text))
        self.assertEqual(getattr(message, "sender", ""), "ACME;co")

    def test_repeat_is_acknowledged_and_is_one_message(self) -> None:
        """A device that did not hear the acknowledgement repeats itself harmlessly."""
        answers = [self.device.receive(7, "hello") for _ in range(4)]

        self.assertEqual(answers, [[b"RECEIVE 7 OK"]] * 4)
        self.assertEqual(len(self.rig.inbox.messages), 1)

    def test_repeat_during_the_commit_is_not_stored_again(self) -> None:
        """While the store is slow, repeats cost it nothing; one acknowledgement ends them."""
        self.rig.inbox.held = True

        for _ in range(4):
            self.device.receive(7, "hello")
        self.rig.inbox.commit()

        self.assertEqual(self.rig.inbox.asked, 1)
        self.assertEqual(self.device.heard(), [b"RECEIVE 7 OK"])

    def test_same_number_with_another_text_is_another_message(self) -> None:
        """Devices without a clock count from the same number after every restart."""
        self.device.receive(446, "first")
        self.device.receive(446, "second")

        self.assertEqual([m.body for m in self.rig.inbox.messages], ["first", "second"])

    def test_same_text_on_two_lines_is_two_messages(self) -> None:
        """Channels number their pushes independently."""
        rig = Rig(line(), line("l2", "goip02"))

        rig.device().receive(7, "hello")
        rig.device("goip02", 10992).receive(7, "hello")

        self.assertEqual([m.line for m in rig.inbox.messages], ["l1", "l2"])

    def test_store_out_of_reach_is_not_acknowledged(self) -> None:
        """The device then repeats the text, and the next try succeeds."""
        self.rig.inbox.failure = TemporaryFailure("internal")
        self.assertEqual(self.device.receive(7, "hello"), [])
        self.rig.inbox.failure = None

        self.assertEqual(self.device.receive(7, "hello"), [b"RECEIVE 7 OK"])
        self.assertEqual(len(self.rig.inbox.messages), 1)

    def test_refused_text_is_answered_with_an_error(self) -> None:
        """Repeating would not help, so the device is told to stop."""
        self.rig.inbox.failure = Refused("unknown-line")

        self.assertEqual(self.device.receive(7, "hello"), [b"RECEIVE 7 ERROR refused"])

    def test_wrong_password_is_refused_in_the_vendors_words(self) -> None:
        """And nothing is stored."""
        answer = self.device.push("RECEIVE", 7, f"srcnum:{NUMBER};msg:x", password="wrong")

        self.assertEqual(answer, [b"RECEIVE 7 ERROR not find this id:goip01, or password error"])
        self.assertEqual(self.rig.inbox.asked, 0)

    def test_text_comes_before_the_first_keepalive(self) -> None:
        """After a restart of ours a text may be the first thing we hear of a device."""
        rig = Rig()

        self.assertEqual(rig.device().receive(7, "hello"), [b"RECEIVE 7 OK"])

    def test_goippy_dialect_is_acknowledged_its_way(self) -> None:
        """Clients made for goippy hear RECEIVEOK."""
        rig = Rig(line(dialect="goippy"))

        self.assertEqual(rig.device().receive(7, "hello"), [b"RECEIVEOK:7;id:goip01;status:0;"])

    def test_disabled_line_still_keeps_what_arrives(self) -> None:
        """Switching a line off stops sending; it loses no text."""
        rig = Rig(line(enabled=False))
        device = rig.device()
        device.keepalive()

        self.assertEqual(device.receive(7, "hello"), [b"RECEIVE 7 OK"])
        self.assertEqual(rig.lanes.closed["box/l1"][0], "line-disabled")  # type: ignore[index]

    def test_stopping_waits_for_commits(self) -> None:
        """What the store is about to have is acknowledged before the port closes."""
        self.rig.inbox.held = True
        self.device.receive(7, "hello")

        stopping = self.rig.gateway.stopService()
        self.rig.run(1)
        self.assertNoResult(stopping)
        self.rig.inbox.commit()
        self.rig.run(1)

        self.successResultOf(stopping)
        self.assertEqual(self.device.heard(), [b"RECEIVE 7 OK"])


class JoiningTests(SynchronousTestCase):
    """Texts that firmware hands on in parts."""

    def setUp(self) -> None:
        self.rig = Rig(line(join_parts=True))
        self.device = self.rig.device()
        self.device.keepalive()

    def test_parts_become_one_text(self) -> None:
        """A full part waits for the next; all are acknowledged when the whole is stored."""
        self.assertEqual(self.device.receive(9, "a" * 153), [])
        self.assertEqual(self.device.receive(8, "b" * 153), [])

        answers = self.device.receive(7, "end")

        self.assertEqual([m.body for m in self.rig.inbox.messages], ["a" * 153 + "b" * 153 + "end"])
        self.assertEqual(answers, [b"RECEIVE 9 OK", b"RECEIVE 8 OK", b"RECEIVE 7 OK"])

    def test_parts_are_put_in_the_order_of_the_device(self) -> None:
        """Devices count down, so a part that was overtaken is recognized."""
        self.device.receive(8, "b" * 153)
        self.device.receive(9, "a" * 153)
        self.device.receive(7, "end")

        self.assertEqual(self.rig.inbox.messages[0].body, "a" * 153 + "b" * 153 + "end")

    def test_short_text_does_not_wait(self) -> None:
        """A text that fills no part goes on at once."""
        self.assertEqual(self.device.receive(9, "hello"), [b"RECEIVE 9 OK"])

    def test_full_text_alone_goes_on_in_time(self) -> None:
        """Before the device gives it up, a part without successor is a text."""
        self.device.receive(9, "я" * 67)

        self.rig.run(9)

        self.assertEqual([m.body for m in self.rig.inbox.messages], ["я" * 67])
        self.assertEqual(self.device.heard(), [b"RECEIVE 9 OK"])

    def test_repeats_change_nothing(self) -> None:
        """Neither while a part waits nor after the whole is stored."""
        self.device.receive(9, "a" * 153)
        self.device.receive(9, "a" * 153)
        self.device.receive(8, "end")

        self.assertEqual(self.device.receive(8, "end"), [b"RECEIVE 8 OK"])
        self.assertEqual(self.device.receive(9, "a" * 153), [b"RECEIVE 9 OK"])
        self.assertEqual([m.body for m in self.rig.inbox.messages], ["a" * 153 + "end"])

    def test_senders_are_kept_apart(self) -> None:
        """A text of somebody else does not end a long one."""
        self.device.receive(9, "a" * 153)
        self.device.receive(8, "other", sender="+12025550124")
        self.device.receive(7, "end")

        bodies = [m.body for m in self.rig.inbox.messages]
        self.assertEqual(bodies, ["other", "a" * 153 + "end"])

    def test_store_out_of_reach_loses_no_part(self) -> None:
        """We try again ourselves, because the box may have given the first part up."""
        self.device.receive(9, "a" * 153)
        self.rig.inbox.failure = TemporaryFailure("internal")
        self.assertEqual(self.device.receive(8, "end"), [])
        self.rig.run(20)
        self.rig.inbox.failure = None

        self.rig.run(2)

        self.assertEqual([m.body for m in self.rig.inbox.messages], ["a" * 153 + "end"])

    def test_stopping_stores_what_waits(self) -> None:
        """A part that waits is a text when the gateway stops."""
        self.device.receive(9, "a" * 153)

        self.successResultOf(self.rig.gateway.stopService())

        self.assertEqual(len(self.rig.inbox.messages), 1)
        self.assertEqual(self.device.heard(), [b"RECEIVE 9 OK"])


class PushTests(SynchronousTestCase):
    """Everything else that devices report."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()

    def test_pushes_without_meaning_for_us_are_acknowledged(self) -> None:
        """Known or not, the device would repeat them."""
        for number, (verb, rest) in enumerate(
            [
                ("REMAIN", "gsm_remain_time:-1"),
                ("CELLS", "lists:689,638,"),
                ("CELLINFO", 'info:"LAC:7E5,CELL ID:5E5B"'),
                ("CGATT", "cgatt:1"),
                ("BCCH", "bcch:689,"),
                ("NUMRECORD", "num:1"),
                ("NEW_KIND", "what:ever"),
            ],
            start=50,
        ):
            self.assertEqual(
                self.device.push(verb, number, rest), [f"{verb} {number} OK".encode()], verb
            )

    def test_at_output_is_not_acknowledged(self) -> None:
        """It is no report, and we never asked for it."""
        self.assertEqual(self.device.push("AT", 50, "receive:OK"), [])

    def test_ussd_notice_is_stored_once_and_then_acknowledged(self) -> None:
        """What the network pushes on the USSD channel reaches the persons of the line."""
        self.rig.inbox.held = True
        self.assertEqual(self.device.push("USSN", 5, "msg:Your balance is low; top up"), [])
        self.rig.inbox.commit()
        self.rig.inbox.held = False
        self.device.push("USSN", 5, "msg:Your balance is low; top up")

        self.assertEqual(self.device.heard(), [])
        notices = [(notice.line, notice.body) for notice in self.rig.inbox.notices]
        self.assertEqual(notices, [("l1", "Your balance is low; top up")])

    def test_answered_call_is_one_row(self) -> None:
        """Four kinds of push tell of one call; its end is acknowledged once it is stored."""
        self.device.push("STATE", 59, f"gsm_remain_state:INCOMING:{NUMBER}")
        self.device.push("RECORD", 58, f"dir:1;num:{NUMBER}")
        self.rig.run(3)
        self.device.push("STATE", 57, f"gsm_remain_state:CONNECTED:{NUMBER}")
        self.assertEqual(self.rig.status().call_state, "CONNECTED")
        self.rig.run(42)
        self.device.push("STATE", 55, "gsm_remain_state:IDLE")
        self.rig.inbox.held = True
        self.assertEqual(self.device.push("HANGUP", 54, "num:,cause:Normal call clearing"), [])
        self.assertEqual(self.device.push("EXPIRY", 53, "exp:42"), [])
        self.assertEqual(self.device.push("EXPIRY", 53, "exp:42"), [])
        self.rig.inbox.commit()

        self.assertEqual(self.device.heard(), [b"HANGUP 54 OK", b"EXPIRY 53 OK"])
        expected = Call(
            line="l1",
            incoming=True,
            number=NUMBER,
            started_at_ms=0,
            duration_s=42,
            cause="Normal call clearing",
        )
        self.assertEqual(self.rig.inbox.calls, [expected])

    def test_repeats_of_a_finished_call_make_no_second_row(self) -> None:
        """A late repeat of RECORD or HANGUP is acknowledged and otherwise passed over."""
        pushes = [
            ("RECORD", 58, f"dir:2;num:{NUMBER}"),
            ("HANGUP", 54, "num:,cause:Busy"),
            ("EXPIRY", 53, "exp:0"),
        ]
        for push in pushes:
            self.device.push(*push)
        for push in pushes:
            self.assertEqual(len(self.device.push(*push)), 1)
        self.rig.run(5)

        self.assertEqual(len(self.rig.inbox.calls), 1)
        self.assertFalse(self.rig.inbox.calls[0].incoming)

    def test_missed_call_without_record_is_logged(self) -> None:
        """Old firmware reports the state alone."""
        self.device.push("STATE", 59, f"gsm_remain_state:INCOMING:{NUMBER}")
        self.rig.run(20)
        self.device.push("STATE", 58, "gsm_remain_state:IDLE")
        self.rig.run(3)

        (call,) = self.rig.inbox.calls
        self.assertEqual((call.number, call.incoming, call.duration_s), (NUMBER, True, None))

    def test_call_is_stored_when_the_store_comes_back(self) -> None:
        """An outage at the end of a call does not lose it."""
        self.device.push("RECORD", 58, f"dir:1;num:{NUMBER}")
        self.rig.inbox.failure = TemporaryFailure("internal")
        self.device.push("HANGUP", 54, "num:,cause:Busy")
        self.rig.run(5)
        self.rig.inbox.failure = None
        self.rig.run(3)

        self.assertEqual(len(self.rig.inbox.calls), 1)
        self.assertEqual(self.device.heard(), [b"HANGUP 54 OK"])


class DeliverTests(SynchronousTestCase):
    """Texts to the phone network."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()

    def deliver(self, *deliveries: Delivery, seconds: float = 1.0) -> list[Any]:
        """Deliver a batch and return the outcomes."""
        delivering = self.rig.gateway.deliver("box/l1", list(deliveries) or [delivery()])
        self.rig.run(seconds)
        return list(self.successResultOf(delivering))

    def test_bulk_session_on_the_wire(self) -> None:
        """MSG counts bytes; each step follows the device's; DONE ends the session."""
        takes(self.device)

        (outcome,) = self.deliver(delivery(body="Grüße; a:b"))

        self.assertEqual(outcome, Sent("1"))
        heard = [re.sub(rb" \d+", b" N", d, count=1) for d in self.device.heard()]
        self.assertEqual(
            heard,
            [
                "MSG N 12 Grüße; a:b\n".encode(),
                b"PASSWORD N " + PASSWORD.encode() + b"\n",
                b"SEND N 1 " + NUMBER.encode() + b"\n",
                b"DONE N\n",
            ],
        )

    def test_one_shot_on_the_wire(self) -> None:
        """One datagram, without a line feed."""
        rig = Rig(line(mode="one-shot"))
        device = rig.device()
        device.keepalive()
        takes(device)

        sending = rig.gateway.deliver("box/l1", [delivery(body="a; b")])
        rig.run(1)

        self.assertEqual(list(self.successResultOf(sending)), [Sent("1")])
        (datagram,) = device.heard()
        self.assertRegex(datagram, rf"^SMS \d+ 1 {PASSWORD} \{NUMBER} a; b$".encode())

    def test_one_text_at_a_time(self) -> None:
        """The second of a line begins when the first has its answer."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        delivering = self.rig.gateway.deliver("box/l1", [delivery("a"), delivery("b")])
        self.rig.run(20)
        self.assertNoResult(delivering)

        texts = [d for d in self.device.heard() if d.startswith(b"MSG ")]
        self.assertEqual(len(texts), 1)

    def test_undeliverable_texts_never_reach_the_wire(self) -> None:
        """What the protocol or the configuration cannot carry is refused before the first byte."""
        rig = Rig(line(allow=re.compile(r"^\+1202")))
        device = rig.device()
        device.keepalive()
        cases = {
            "destination-not-allowed": delivery("a", number="+442079460000"),
            "invalid-number": delivery("b", number="+1202five"),
            "empty": delivery("c", body=""),
            "too-long": delivery("d", body="ä" * 1501),
            "unsupported": delivery("e", body="a\0b"),
            "media-unsupported": delivery("f", media=(Media(digest="a" * 64),)),
        }

        sending = rig.gateway.deliver("box/l1", list(cases.values()))
        rig.run(1)

        outcomes = list(self.successResultOf(sending))
        self.assertEqual([type(each) for each in outcomes], [PermanentFailure] * len(cases))
        self.assertEqual([each.reason for each in outcomes], list(cases))
        self.assertEqual([d for d in device.heard() if d.startswith(b"MSG")], [])

    def test_a_text_with_a_link_to_a_file_is_a_text(self) -> None:
        """The box carries no files, and need not: the link stands in the text."""
        takes(self.device)
        media = Media(digest="a" * 64, url="https://sms.example.org/media/x")

        (outcome,) = self.deliver(delivery(body=f"look {media.url}", media=(media,)))

        self.assertEqual(outcome, Sent("1"))

    def test_notices_are_not_texted(self) -> None:
        """A line carries messages, not what the bridge tells persons."""
        (outcome,) = self.deliver(delivery(kind=Kind.NOTICE))

        self.assertIsInstance(outcome, PermanentFailure)

    def test_silence_before_the_number_is_temporary_and_closes_the_lane(self) -> None:
        """Nothing was sent; the lane opens again with the next keepalive."""
        outcomes = self.deliver(delivery("a"), delivery("b"), seconds=30)

        self.assertIsInstance(outcomes[0], TemporaryFailure)
        self.assertEqual(outcomes[0].reason, "peer-down")
        self.assertIsInstance(outcomes[1], NotTried)
        self.assertFalse(self.rig.lanes.is_open("box/l1"))
        self.device.keepalive()
        self.assertTrue(self.rig.lanes.is_open("box/l1"))

    def test_steps_before_the_number_are_repeated(self) -> None:
        """A lost datagram costs five seconds and nothing else."""
        seen: dict[bytes, int] = {}

        def answers(datagram: bytes) -> list[bytes]:
            verb, sendid, *_ = datagram.rstrip(b"\n").split(b" ")
            seen[verb] = seen.get(verb, 0) + 1
            if verb in (b"MSG", b"PASSWORD", b"DONE") and seen[verb] == 1:
                return []
            return {
                b"MSG": [b"PASSWORD %b\n" % sendid],
                b"PASSWORD": [b"SEND %b\n" % sendid],
                b"SEND": [b"OK %b 1 5\n" % sendid],
                b"DONE": [b"DONE %b\n" % sendid],
            }[verb]

        self.device.answers = answers

        self.assertEqual(self.deliver(seconds=20), [Sent("5")])
        self.assertEqual(seen, {b"MSG": 2, b"PASSWORD": 2, b"SEND": 1, b"DONE": 2})

    def test_number_is_never_repeated_by_default(self) -> None:
        """Some firmware sends once for every SEND, so silence after it is of unknown outcome."""
        goes_as_far_as(self.device, b"SEND")

        outcomes = self.deliver(delivery("a"), delivery("b"), seconds=70)

        self.assertIsInstance(outcomes[0], UnknownOutcome)
        self.assertIsInstance(outcomes[1], NotTried)
        heard = self.device.heard()
        self.assertEqual(len([d for d in heard if d.startswith(b"SEND ")]), 1)
        self.assertTrue([d for d in heard if d.startswith(b"DONE ")])

    def test_number_is_repeated_once_when_the_operator_wants_it(self) -> None:
        """With `resend_send`, after ten seconds without any answer; never after a WAIT."""
        rig = Rig(line(resend_send=True))
        device = rig.device()
        device.keepalive()
        goes_as_far_as(device, b"SEND")
        rig.gateway.deliver("box/l1", [delivery()])

        rig.run(9)
        self.assertEqual(len([d for d in device.heard() if d.startswith(b"SEND ")]), 1)
        rig.run(50)
        self.assertEqual(len([d for d in device.heard() if d.startswith(b"SEND ")]), 1)

        goes_as_far_as(device, b"SEND", "WAIT {} 1\n")
        device.keepalive()
        rig.gateway.deliver("box/l1", [delivery("b")])
        rig.run(40)
        self.assertEqual(len([d for d in device.heard() if d.startswith(b"SEND ")]), 1)

    def test_late_answer_corrects_an_unknown_outcome(self) -> None:
        """A device that speaks after all is believed."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        (outcome,) = self.deliver(seconds=65)
        self.assertIsInstance(outcome, UnknownOutcome)
        sendid = self.device.heard()[0].split(b" ")[1].decode()

        self.device.say(f"OK {sendid} 1 9\n".encode())
        self.device.push("DELIVER", 3, f"sms_no:9;state:0;num:{NUMBER}")

        told = [(r.delivery_id, r.status) for r in self.rig.inbox.reports]
        self.assertEqual(told, [("d1", Status.SENT), ("d1", Status.DELIVERED)])

    def test_lost_session_begins_again_once(self) -> None:
        """A box that restarted in the middle gets the text once more, because it was not sent."""
        seen: list[bytes] = []

        def answers(datagram: bytes) -> list[bytes]:
            verb, sendid, *_ = datagram.rstrip(b"\n").split(b" ")
            seen.append(verb)
            if verb == b"PASSWORD" and seen.count(b"PASSWORD") == 1:
                return [b"ERROR %b SENDID\n" % sendid]
            return {
                b"MSG": [b"PASSWORD %b\n" % sendid],
                b"PASSWORD": [b"SEND %b\n" % sendid],
                b"SEND": [b"OK %b 1 5\n" % sendid],
                b"DONE": [b"DONE %b\n" % sendid],
            }[verb]

        self.device.answers = answers

        self.assertEqual(self.deliver(), [Sent("5")])
        self.assertEqual(seen.count(b"MSG"), 2)
        goes_as_far_as(self.device, b"PASSWORD", "ERROR {} SENDID\n")
        (outcome,) = self.deliver(delivery("b"))
        self.assertIsInstance(outcome, TemporaryFailure)

    def test_line_without_network_closes_until_login(self) -> None:
        """GSM_LOGOUT is an answer about the line, not about the text."""
        goes_as_far_as(self.device, b"PASSWORD", "ERROR {} GSM_LOGOUT\n")

        outcomes = self.deliver(delivery("a"), delivery("b", number="+12025550124"))

        self.assertEqual(outcomes[0].reason, "line-down")
        self.assertIsInstance(outcomes[1], NotTried)
        self.assertEqual(self.rig.lanes.closed["box/l1"][0], "line-down")  # type: ignore[index]
        self.device.keepalive()
        self.assertTrue(self.rig.lanes.is_open("box/l1"))

    def test_wrong_password_locks_the_line_and_raises_an_alarm(self) -> None:
        """Only a changed configuration or a restart of the box opens it again."""
        events = log_of(self)
        goes_as_far_as(self.device, b"PASSWORD", "ERROR {} PASSWORD\n")

        (outcome,) = self.deliver()

        self.assertIsInstance(outcome, TemporaryFailure)
        self.assertEqual(outcome.reason, "credentials")
        self.assertTrue([e for e in events if e["log_level"] is LogLevel.error])
        self.device.keepalive()
        self.assertEqual(self.rig.lanes.closed["box/l1"][0], "credentials")  # type: ignore[index]
        config = attrs.evolve(self.rig.lines["l1"], password="another")
        self.rig.gateway.update(self.rig.config, {"l1": config})
        self.device.keepalive(password="another")
        self.assertTrue(self.rig.lanes.is_open("box/l1"))

    def test_restart_of_the_box_unlocks_a_line(self) -> None:
        """Its keepalives begin at 1 again: somebody may have corrected it."""
        goes_as_far_as(self.device, b"PASSWORD", "ERROR {} PASSWORD\n")
        self.device.keepalive()
        self.deliver()

        self.device._keepalives = 0
        self.device.keepalive()

        self.assertTrue(self.rig.lanes.is_open("box/l1"))

    def test_error_of_the_network_is_classed(self) -> None:
        """A busy network is tried again, an unknown subscriber is not."""
        for code, kind, reason in (
            (38, TemporaryFailure, "network"),
            (1, TemporaryFailure, "network"),
            (28, PermanentFailure, "unknown-subscriber"),
            (27, PermanentFailure, "unreachable"),
            (8, PermanentFailure, "blocked"),
            (160, PermanentFailure, "rejected"),
            (777, TemporaryFailure, "network"),
        ):
            goes_as_far_as(self.device, b"SEND", f"ERROR {{}} 1 errorstatus:{code}\n")
            (outcome,) = self.deliver(delivery(f"d{code}"))
            self.assertIs(type(outcome), kind, code)
            self.assertEqual((outcome.reason, outcome.detail), (reason, f"errorstatus:{code}"))

    def test_later_texts_do_not_overtake_a_failed_one(self) -> None:
        """The same conversation waits; another one goes on."""
        failed = 0

        def answers(datagram: bytes) -> list[bytes]:
            nonlocal failed
            verb, sendid, *_ = datagram.rstrip(b"\n").split(b" ")
            if verb == b"SEND" and not failed:
                failed += 1
                return [b"ERROR %b 1 errorstatus:38\n" % sendid]
            if verb == b"SEND":
                return [b"OK %b 1 4\n" % sendid]
            return {
                b"MSG": [b"PASSWORD %b\n" % sendid],
                b"PASSWORD": [b"SEND %b\n" % sendid],
                b"DONE": [b"DONE %b\n" % sendid],
            }[verb]

        self.device.answers = answers

        outcomes = self.deliver(delivery("a"), delivery("b"), delivery("c", number="+12025550124"))

        self.assertEqual([type(o) for o in outcomes], [TemporaryFailure, NotTried, Sent])

    def test_answers_from_elsewhere_do_not_count(self) -> None:
        """Who guesses a session cannot make a text look sent."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        delivering = self.rig.gateway.deliver("box/l1", [delivery()])
        self.rig.run(1)
        sendid = self.device.heard()[0].split(b" ")[1].decode()

        self.rig.device(port=6666, host="203.0.113.7").say(f"OK {sendid} 1 9\n".encode())

        self.assertNoResult(delivering)
        self.device.say(f"OK {sendid} 2 9\n".encode())
        self.assertNoResult(delivering)
        self.device.say(f"OK {sendid} 1 9\n".encode())
        self.assertEqual(list(self.successResultOf(delivering)), [Sent("9")])

    def test_firmware_without_one_shot_falls_back_to_bulk(self) -> None:
        """The first text is of unknown outcome; the next goes out in a session."""
        rig = Rig(line(mode="one-shot", send_timeout=20.0))
        device = rig.device()
        device.keepalive()
        takes(device)
        old = device.answers
        device.answers = lambda datagram: [] if datagram.startswith(b"SMS") else old(datagram)

        first = rig.gateway.deliver("box/l1", [delivery("a")])
        rig.run(25)
        second = rig.gateway.deliver("box/l1", [delivery("b")])
        rig.run(1)

        self.assertIsInstance(self.successResultOf(first)[0], UnknownOutcome)
        self.assertEqual(list(self.successResultOf(second)), [Sent("1")])

    def test_lane_that_does_not_exist_is_temporary(self) -> None:
        """A line that was just removed may come back."""
        (outcome,) = self.successResultOf(self.rig.gateway.deliver("box/other", [delivery()]))

        self.assertEqual(outcome.reason, "unknown-line")


class ReportTests(SynchronousTestCase):
    """Delivery reports."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()
        takes(self.device)

    def send(self, name: str = "d1", number: str = NUMBER) -> None:
        """Send a text."""
        delivering = self.rig.gateway.deliver("box/l1", [delivery(name, number=number)])
        self.rig.run(0.1)
        self.successResultOf(delivering)
        self.device.heard()

    def test_report_names_the_delivery_and_is_acknowledged_after_the_commit(self) -> None:
        """The second tick is earned by the network's word and the store's."""
        self.send()
        self.rig.inbox.held = True

        self.assertEqual(self.device.push("DELIVER", 3, f"sms_no:1;state:0;num:{NUMBER}"), [])
        self.rig.inbox.commit()

        self.assertEqual(self.device.heard(), [b"DELIVER 3 OK"])
        (report,) = self.rig.inbox.reports
        self.assertEqual(
            (report.gateway, report.line, report.delivery_id, report.status),
            ("box", "l1", "d1", Status.DELIVERED),
        )

    def test_status_of_the_network_is_classed(self) -> None:
        """TP-Status: interim words are no end, and an expired text says so."""
        self.send()
        expected = {
            0: (Status.DELIVERED, ""),
            1: (Status.SENT, ""),
            33: (Status.SENT, ""),
            65: (Status.FAILED, "rejected"),
            70: (Status.EXPIRED, "expired"),
            98: (Status.FAILED, "unreachable"),
            255: (Status.FAILED, "network"),
        }

        for number, state in enumerate(expected, start=10):
            self.device.push("DELIVER", number, f"sms_no:1;state:{state}")

        told = [(report.status, report.reason) for report in self.rig.inbox.reports]
        self.assertEqual(told, list(expected.values()))
        words = [report.text for report in self.rig.inbox.reports]
        self.assertEqual(words[:2], ["", "TP-Status 1"])

    def test_newest_text_with_a_number_counts(self) -> None:
        """Devices begin numbering anew; the report is about the text sent last."""
        self.send("old")
        takes(self.device)
        self.send("new")

        self.device.push("DELIVER", 3, "sms_no:1;state:0")

        self.assertEqual(self.rig.inbox.reports[0].delivery_id, "new")

    def test_report_for_another_recipient_is_left_to_the_store(self) -> None:
        """A number that was used twice is told apart by the recipient, in any form."""
        self.send("d1", "+12025550177")

        self.device.push("DELIVER", 3, "sms_no:1;state:0;num:2025550123")
        self.device.push("DELIVER", 2, "sms_no:1;state:0;num:2025550177")

        told = [(r.delivery_id, r.remote_id, r.line) for r in self.rig.inbox.reports]
        self.assertEqual(told, [("", "1", "l1"), ("d1", "1", "l1")])

    def test_report_about_a_text_of_an_earlier_process_is_left_to_the_store(self) -> None:
        """After a restart the number and the line find the delivery."""
        self.device.push("DELIVER", 3, f"sms_no:160;state:0;num:{NUMBER}")

        (report,) = self.rig.inbox.reports
        self.assertEqual((report.delivery_id, report.remote_id, report.line), ("", "160", "l1"))

    def test_early_report_waits_for_the_answer(self) -> None:
        """A report may overtake the OK; it finds its text all the same."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        delivering = self.rig.gateway.deliver("box/l1", [delivery()])
        self.rig.run(1)
        sendid = self.device.heard()[0].split(b" ")[1].decode()

        self.assertEqual(self.device.push("DELIVER", 3, "sms_no:9;state:0"), [])
        self.assertEqual(self.device.push("DELIVER", 3, "sms_no:9;state:0"), [])
        answers = self.device.say(f"OK {sendid} 1 9\n".encode())

        self.assertIn(b"DELIVER 3 OK", answers)
        self.assertEqual([r.delivery_id for r in self.rig.inbox.reports], ["d1"])
        self.successResultOf(delivering)

    def test_early_report_does_not_wait_for_ever(self) -> None:
        """One about an older text goes to the store before the device gives up."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        self.rig.gateway.deliver("box/l1", [delivery()])
        self.rig.run(1)
        self.device.heard()
        self.device.push("DELIVER", 3, "sms_no:9;state:0")

        self.rig.run(6)

        self.assertEqual(self.device.heard(), [b"DELIVER 3 OK"])
        self.assertEqual([r.remote_id for r in self.rig.inbox.reports], ["9"])


class UssdTests(SynchronousTestCase):
    """USSD codes and dialogues."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()

    def ask(self, code: str = "*100#") -> tuple[Any, str]:
        """Send a code; returns the Deferred and the sendid."""
        asking = self.rig.gateway.ussd("l1", code)
        (datagram,) = self.device.heard()
        verb, sendid, password, sent = datagram.decode().split(" ")
        self.assertEqual((verb, password, sent), ("USSD", PASSWORD, code))
        return asking, sendid

    def test_interfaces(self) -> None:
        """The lines have USSD and commands."""
        self.assertTrue(verifyObject(IUssd, self.rig.gateway))
        self.assertTrue(verifyObject(ILineControl, self.rig.gateway))

    def test_answer_is_the_networks_text(self) -> None:
        """Without the padding of the alphabet, with its lines."""
        asking, sendid = self.ask()

        self.device.say(f"USSD {sendid} Balance: 10.00\nBye@@".encode())

        self.assertEqual(self.successResultOf(asking), "Balance: 10.00\nBye")

    def test_both_kinds_of_failure_are_refusals(self) -> None:
        """USSDERROR, and the failure that looks like an answer."""
        for answer in ("USSDERROR {} busy", "USSD {} USSD send failed!", "USSDEXIT {}"):
            asking, sendid = self.ask()
            self.device.say(answer.format(sendid).encode())
            self.failureResultOf(asking, PermanentFailure)

    def test_code_is_repeated_after_a_minute_and_given_up_after_two(self) -> None:
        """An earlier repeat would break the dialogue."""
        asking, _ = self.ask()
        for _ in range(3):
            self.rig.run(29)
            self.device.keepalive()
        self.device.heard()
        self.rig.run(20)
        self.device.keepalive()
        self.rig.run(15)

        failure = self.failureResultOf(asking, TemporaryFailure)
        self.assertEqual(failure.value.reason, "peer-down")
        sent = [
            d
            for _, to, d in self.rig.reactor.network.seen
            if to == self.device.address and d.startswith(b"USSD ")
        ]
        self.assertEqual(len(sent), 2)

    def test_one_dialogue_at_a_time(self) -> None:
        """A second code is refused while the first waits."""
        self.ask()

        self.failureResultOf(self.rig.gateway.ussd("l1", "*101#"), TemporaryFailure)

    def test_ussd_and_texts_take_turns(self) -> None:
        """A modem does one thing at a time."""
        takes(self.device)
        asking, sendid = self.ask()
        sending = self.rig.gateway.deliver("box/l1", [delivery()])
        self.rig.run(1)
        self.assertEqual(self.device.heard(), [])

        self.device.say(f"USSD {sendid} ok".encode())
        self.rig.run(1)

        self.assertEqual(self.successResultOf(asking), "ok")
        self.assertEqual(list(self.successResultOf(sending)), [Sent("1")])

    def test_bad_codes_never_reach_the_wire(self) -> None:
        """A space would be another argument."""
        for code in ("", "hello", "*100# 1", "*100#\n"):
            self.failureResultOf(self.rig.gateway.ussd("l1", code), PermanentFailure)
        self.failureResultOf(self.rig.gateway.ussd("other", "*100#"), PermanentFailure)

        self.assertEqual(self.device.heard(), [])


class ControlTests(SynchronousTestCase):
    """Commands of the operator."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.box = self.rig.box()

    def run_command(self, command: str, *arguments: str) -> str:
        """Run a command against the simulated box and return its answer."""
        running = self.rig.gateway.control("l1", command, arguments)
        self.rig.run(1)
        return str(self.successResultOf(running))

    def test_commands_are_answered(self) -> None:
        """What the operator asks for comes back as text."""
        self.assertEqual(self.run_command("imei"), "860000000000001")
        self.assertEqual(self.run_command("state"), "IDLE")
        self.assertEqual(self.run_command("signal"), "-71 dBm")
        self.assertEqual(self.run_command("cells"), "689 638 783")
        self.assertIn("get_gsm_num: +12025550101", self.run_command("summary"))
        self.assertIn("ok", self.run_command("set-number", "+12025550100").lower())
        self.assertEqual(self.run_command("number"), "+12025550100")
        self.assertEqual(self.run_command("call-waiting", "query"), "off")
        forward = self.run_command("call-forward", "busy", "register", "+12025550100")
        self.assertEqual(forward, "ok")

    def test_every_command_has_help(self) -> None:
        """The operator sees arguments and a sentence; neither IMEI nor AT can be set."""
        commands = self.rig.gateway.commands

        for _, sentence in commands.values():
            self.assertRegex(sentence, r"^[A-Z].*\.$")
        self.assertNotIn("set-imei", commands)

    def test_bad_arguments_are_refused_with_a_sentence(self) -> None:
        """Before anything is written."""
        before = len(self.rig.reactor.network.sent_from(SERVER))
        for command, arguments in (
            ("imei", ("1",)),
            ("set-number", ()),
            ("set-number", ("five five",)),
            ("set-call-interval", ("soon",)),
            ("module", ("up",)),
            ("call-forward", ("busy",)),
            ("call-forward", ("never", "enable")),
            ("call-forward", ("busy", "enable", "x y")),
            ("call-forward", ("busy", "enable", "+12025550100", "soon")),
            ("call-waiting", ("maybe",)),
            ("ussd-exit", ("now",)),
            ("set-imei", ("1",)),
        ):
            failure = self.failureResultOf(
                self.rig.gateway.control("l1", command, arguments), PermanentFailure
            )
            self.assertRegex(str(failure.value), r"^[A-Z].*\.$", (command, arguments))

        self.assertEqual(len(self.rig.reactor.network.sent_from(SERVER)), before)

    def test_unanswered_command_is_repeated_and_then_temporary(self) -> None:
        """Except one that would be done twice."""
        self.box.channels[0].power_off()
        asking = self.rig.gateway.control("l1", "imei", ())
        restarting = self.rig.gateway.control("l1", "restart-module", ())
        self.rig.run(20)

        self.failureResultOf(asking, TemporaryFailure)
        self.failureResultOf(restarting, TemporaryFailure)
        sent = self.rig.reactor.network.sent_from(SERVER)
        self.assertEqual(len([d for d in sent if d.startswith(b"get_imei")]), 3)
        self.assertEqual(len([d for d in sent if d.startswith(b"svr_reboot_module")]), 1)


class UpdateTests(SynchronousTestCase):
    """A changed configuration."""

    def test_lines_come_and_go_without_disturbing_others(self) -> None:
        """Only what changed begins anew."""
        rig = Rig(line(), line("l2", "goip02"))
        first = rig.device()
        first.keepalive()
        rig.device("goip02", 10992).keepalive()

        kept = {"l1": rig.lines["l1"], "l3": line("l3", "goip03")}
        self.assertTrue(rig.gateway.update(rig.config, kept))

        self.assertTrue(rig.lanes.is_open("box/l1"))
        self.assertEqual(rig.lanes.closed["box/l2"][0], "unknown-line")  # type: ignore[index]
        self.assertEqual(rig.lanes.closed["box/l3"][0], "peer-down")  # type: ignore[index]
        self.assertEqual(rig.device("goip02", 10992).keepalive(), [b"reg:1;status:404;"])
        rig.device("goip03", 10993).keepalive()
        self.assertTrue(rig.lanes.is_open("box/l3"))

    def test_changed_password_must_be_proved(self) -> None:
        """The device at the old address is asked to authenticate again."""
        rig = Rig()
        device = rig.device()
        device.keepalive()

        changed = {"l1": line(password="another")}
        self.assertTrue(rig.gateway.update(rig.config, changed))

        self.assertFalse(rig.lanes.is_open("box/l1"))
        self.assertEqual(device.keepalive(), [b"reg:2;status:404;"])
        self.assertEqual(device.keepalive(password="another"), [b"reg:3;status:200;"])

    def test_switching_a_line_off_and_on(self) -> None:
        """The lane follows at once."""
        rig = Rig()
        rig.device().keepalive()

        rig.gateway.update(rig.config, {"l1": line(enabled=False)})
        self.assertEqual(rig.lanes.closed["box/l1"][0], "line-disabled")  # type: ignore[index]
        rig.gateway.update(rig.config, {"l1": line()})

        self.assertTrue(rig.lanes.is_open("box/l1"))

    def test_other_listener_needs_a_new_gateway(self) -> None:
        """A port cannot be changed under way."""
        rig = Rig()

        self.assertFalse(rig.gateway.update(GoipGateway(listen=("udp:44445",)), rig.lines))

    def test_same_id_twice_is_refused_and_changes_nothing(self) -> None:
        """At the start and at a reload, with a sentence that names both lines."""
        rig = Rig()
        both = {"l1": line(), "l2": line("l2")}

        with self.assertRaisesRegex(ConfigError, "line:l2.*line:l1"):
            rig.gateway.update(rig.config, both)
        with self.assertRaises(ConfigError):
            FACTORY.build(
                MemoryReactor(), "box", rig.config, both, StubInbox(), StubLanes(), World()
            )

        self.assertEqual([status.line for status in rig.gateway.line_status()], ["l1"])

    def test_several_listeners(self) -> None:
        """A device is answered from the port that it talks to."""
        rig = Rig(config=GoipGateway(listen=("udp:44444", "udp:44445:interface=127.0.0.2")))
        device = rig.device()
        takes(device)

        rig.reactor.network.send(
            device.address,
            ("127.0.0.2", 44445),
            f"req:1;id:goip01;pass:{PASSWORD};num:+12025550100;".encode(),
        )
        self.assertEqual(device.heard(), [b"reg:1;status:200;"])
        sending = rig.gateway.deliver("box/l1", [delivery()])
        rig.run(1)

        self.assertEqual(list(self.successResultOf(sending)), [Sent("1")])
        self.assertEqual(len(rig.reactor.network.sent_from(("127.0.0.1", 44444))), 0)


class HostilityTests(SynchronousTestCase):
    """Datagrams that no device sends."""

    def test_flood_does_not_disturb_registered_lines(self) -> None:
        """Texts pass in both directions between thousands of malformed datagrams."""
        rig = Rig()
        device = rig.device()
        device.keepalive()
        takes(device)
        noise = [
            b"",
            b"\x00" * 100,
            b"req:",
            b"RECEIVE:x;id:goip01",
            b"OK 1 1 1",
            b"SEND 99",
            "é".encode() * 700,
            b"START 1 2",
            b"RECEIVE:1;id:" + b"g" * 65 + b";password:x;msg:y",
        ]
        events = log_of(self)

        for number in range(300):
            for datagram in noise:
                rig.reactor.network.send(("203.0.113.7", 1000 + number), SERVER, datagram)
            device.receive(number, f"text {number}")
            sending = rig.gateway.deliver("box/l1", [delivery(f"d{number}")])
            rig.run(0.05)
            self.assertIsInstance(self.successResultOf(sending)[0], Sent)

        self.assertEqual(len(rig.inbox.messages), 300)
        self.assertLess(len([e for e in events if e["log_level"] >= LogLevel.warn]), 5)
        answered = [to for _, to, _ in rig.reactor.network.seen if to[0] == "203.0.113.7"]
        self.assertEqual(answered, [])

    def test_vendors_relay_messages_are_dropped(self) -> None:
        """The commands that the vendor's own server takes from anybody do nothing here."""
        rig = Rig()
        stranger = rig.device("x", host="203.0.113.7")

        for datagram in (b"START 1 192.0.2.1 80", b"CRON 1", b"goip", b"HELLO 1", b"DONE 1"):
            self.assertEqual(stranger.say(datagram), [])

    def test_bug_in_a_receiver_does_not_close_the_socket(self) -> None:
        """It is logged, and the next datagram is served."""
        rig = Rig()
        device = rig.device()
        real = rig.inbox.accept
        rig.inbox.accept = lambda incoming: 1 / 0  # type: ignore

        device.receive(1, "hello")
        rig.inbox.accept = real  # type: ignore[method-assign]

        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(device.receive(1, "hello"), [b"RECEIVE 1 OK"])

    def test_secrets_and_texts_are_not_logged(self) -> None:
        """Not even with `trace` does a password appear."""
        events = log_of(self)
        rig = Rig(config=GoipGateway(trace=True))
        device = rig.device()
        takes(device)
        device.keepalive()
        device.receive(1, "hello")
        rig.gateway.deliver("box/l1", [delivery()])
        rig.run(1)

        self.assertTrue(events)
        self.assertNotIn(PASSWORD, repr(events) + repr(rig.lines))
        shown = [e for e in events if e["log_level"] is not LogLevel.debug]
        self.assertNotIn("hello", repr(shown))


class FactoryTests(SynchronousTestCase):
    """What the configuration reader asks the factory."""

    def test_contradicting_lines_are_refused_when_the_file_is_read(self) -> None:
        """A reload never gets as far as the gateway."""
        with self.assertRaises(ConfigError):
            FACTORY.check(GoipGateway(), {"l1": line(), "l2": line("l2")})
        FACTORY.check(GoipGateway(), {"l1": line()})

    def test_advice_says_what_to_set_on_the_box(self) -> None:
        """And warns of an open door, unless it is closed or leads nowhere."""
        lines = {"l1": line()}
        network = ipaddress.ip_network("192.0.2.0/24")

        advice = FACTORY.advice("box", GoipGateway(listen=("udp:4000",)), lines, "")
        self.assertIn("port 4000", advice[0])
        self.assertIn("'sources'", advice[1])
        for config in (
            GoipGateway(sources=(network,)),
            GoipGateway(listen=("udp:4000:interface=127.0.0.1",)),
        ):
            self.assertEqual(len(FACTORY.advice("box", config, lines, "")), 1)


class TroubleTests(SynchronousTestCase):
    """What goes wrong inside."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.device = self.rig.device()
        self.device.keepalive()

    def test_bug_of_the_inbox_is_logged_and_not_acknowledged(self) -> None:
        """The device repeats the text, and somebody reads a traceback."""
        self.rig.inbox.failure = ZeroDivisionError()

        self.assertEqual(self.device.receive(1, "hello"), [])
        self.device.keepalive(imei="860000000000011")

        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_swapped_sim_and_module_are_told_to_the_operator(self) -> None:
        """Without the whole of their numbers."""
        events = log_of(self)
        self.device.keepalive(imei="860000000000011", iccid="8901000000000000001")
        self.device.keepalive(imei="860000000000022", iccid="8901000000000000002")

        warnings = [e for e in events if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 2)
        self.assertNotIn("860000000000022", repr(warnings))
        self.assertNotIn("8901000000000000002", repr(warnings))

    def test_more_commits_than_memory_allows_are_left_to_the_boxes(self) -> None:
        """They are not acknowledged, and come again."""
        self.patch(incoming, "_MOST_PENDING", 10)
        self.rig.inbox.held = True
        for number in range(20):
            self.device.receive(number, f"text {number}")
        self.assertEqual(self.rig.inbox.asked, 10)
        self.rig.inbox.commit()
        self.rig.inbox.held = False
        self.device.heard()

        for number in range(20):
            self.device.receive(number, f"text {number}")

        self.assertEqual(len(self.rig.inbox.messages), 20)

    def test_a_late_batch_goes_back_untried(self) -> None:
        """A line that became slow does not keep a batch for an hour."""
        sent = 0

        def answers(datagram: bytes) -> list[bytes]:
            nonlocal sent
            verb, sendid, *_ = datagram.rstrip(b"\n").split(b" ")
            if verb == b"SEND":
                sent += 1
                self.rig.reactor.callLater(40, self.device.say, b"OK %b 1 %d\n" % (sendid, sent))
            return {
                b"MSG": [b"PASSWORD %b\n" % sendid],
                b"PASSWORD": [b"SEND %b\n" % sendid],
                b"DONE": [b"DONE %b\n" % sendid],
            }.get(verb, [])

        self.device.answers = answers
        delivering = self.rig.gateway.deliver("box/l1", [delivery(n) for n in "abcd"])
        for _ in range(4):
            self.rig.run(25)
            self.device.keepalive()

        outcomes = self.successResultOf(delivering)
        self.assertEqual([type(o) for o in outcomes], [Sent, Sent, NotTried, NotTried])

    def test_stopping_abandons_what_the_device_does_not_answer(self) -> None:
        """After ten seconds; what may have been sent is of unknown outcome, USSD has failed."""
        goes_as_far_as(self.device, b"SEND", "WAIT {} 1\n")
        sending = self.rig.gateway.deliver("box/l1", [delivery("a"), delivery("b")])
        asking = self.rig.gateway.ussd("l1", "*100#")
        self.rig.run(1)

        stopping = self.rig.gateway.stopService()
        again = self.rig.gateway.stopService()
        self.rig.run(5)
        self.assertNoResult(stopping)
        self.rig.run(6)

        self.successResultOf(stopping)
        self.successResultOf(again)
        outcomes = self.successResultOf(sending)
        self.assertEqual([type(o) for o in outcomes], [UnknownOutcome, NotTried])
        self.failureResultOf(asking, TemporaryFailure)
        self.failureResultOf(self.rig.gateway.ussd("l1", "*100#"), TemporaryFailure)
        self.assertFalse(self.rig.gateway.link_status().up)

    def test_gateway_may_be_started_again(self) -> None:
        """On the same port."""
        self.successResultOf(self.rig.gateway.stopService())
        self.assertEqual(self.device.keepalive(), [])

        self.rig.gateway.privilegedStartService()
        self.assertEqual(self.device.keepalive(), [])
        self.rig.gateway.startService()

        self.assertEqual(self.device.keepalive(), [b"reg:4;status:200;"])
        self.assertTrue(self.rig.lanes.is_open("box/l1"))
