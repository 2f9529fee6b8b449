"""What a GoIP channel sends and what we send to it, as bytes and as values, both ways."""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.goip import codec, device_codec

EXAMPLES = 10_000 if os.environ.get("CI") == "true" else 300
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)

ID, PASSWORD = "goip01", "secret1"
WHO = (ID, PASSWORD)

KEEPALIVE_1 = b"req:1;id:goip01;pass:secret1;num:;signal:19;"
KEEPALIVE_2 = b"req:2;id:goip01;pass:secret1;num:;signal:;gsm_status:LOGOUT;voip_status:LOGOUT;"
KEEPALIVE_3 = (
    b"req:19;id:goip01;pass:secret1;num:;signal:15;gsm_status:LOGIN;voip_status:LOGIN;"
    b"voip_state:IDLE;remain_time:-1;imei:860000000000011;imsi:310150000000001;"
    b"iccid:8901000000000000001;pro:Testnet;"
)
KEEPALIVE_4 = (
    b"req:17;id:goip01;pass:secret1;num:+12025550100;signal:21;gsm_status:LOGIN;"
    b"voip_status:LOGIN;voip_state:INCOMING:+12025550111;remain_time:-1;imei:860000000000011;"
    b"imsi:310150000000001;iccid:8901000000000000001F;pro:CHINA UNICOM GSM;idle:12;"
    b"disable_status:0;SMS_LOGIN:Y;SMB_LOGIN:;CELLINFO:LAC:7E5,CELL ID:5E5B;CGATT:Y;"
)

PUSHES: list[tuple[bytes, codec.Event]] = [
    (
        b"RECEIVE:1700000123;id:goip01;password:secret1;srcnum:+12025550111;"
        b"msg:a;b:c msg:d\nline 2;",
        codec.Received(1700000123, *WHO, "+12025550111", "", "a;b:c msg:d\nline 2;"),
    ),
    (
        b"RECEIVE:1700000122;id:goip01;password:secret1;srcnum:ACME;smscnum:+12025550199;"
        b"msg:code: 123",
        codec.Received(1700000122, *WHO, "ACME", "+12025550199", "code: 123"),
    ),
    (
        b"RECEIVE:-7;id:goip01;password:secret1;srcnum:;msg:",
        codec.Received(-7, *WHO, "", "", ""),
    ),
    (
        b"DELIVER:1700000121;id:goip01;password:secret1;sms_no:160;state:0;num:+12025550111",
        codec.DeliveryReport(1700000121, *WHO, 160, 0, "+12025550111"),
    ),
    (
        b"DELIVER:1700000120;id:goip01;password:secret1;sms_no:161;state:70",
        codec.DeliveryReport(1700000120, *WHO, 161, 70, ""),
    ),
    (
        b"STATE:1700000119;id:goip01;password:secret1;gsm_remain_state:INCOMING:+12025550111",
        codec.LineState(1700000119, *WHO, "INCOMING", "+12025550111"),
    ),
    (
        b"RECORD:1700000118;id:goip01;password:secret1;dir:1;num:+12025550111",
        codec.CallRecord(1700000118, *WHO, True, "+12025550111"),
    ),
    (
        b"HANGUP:1700000117;id:goip01;password:secret1;num:,cause:Normal call clearing",
        codec.Hangup(1700000117, *WHO, "", "Normal call clearing"),
    ),
    (
        b"EXPIRY:1700000116;id:goip01;password:secret1;exp:42",
        codec.CallExpiry(1700000116, *WHO, 42),
    ),
    (
        b"REMAIN:1700000115;id:goip01;password:secret1;gsm_remain_time:-1",
        codec.Remain(1700000115, *WHO, None),
    ),
    (
        b"REMAIN:1700000115;id:goip01;password:secret1;gsm_remain_time:30",
        codec.Remain(1700000115, *WHO, 30),
    ),
    (
        b"CELLS:1700000114;id:goip01;password:secret1;lists:689,638,783,",
        codec.Cells(1700000114, *WHO, ("689", "638", "783")),
    ),
    (
        b"USSN:1700000113;id:goip01;password:secret1;msg:1) Balance\n2) Top-up",
        codec.UssdPush(1700000113, *WHO, "1) Balance\n2) Top-up"),
    ),
    (
        b"USSD:1700000112;id:goip01;password:secret1;msg:hi; there",
        codec.UssdPush(1700000112, *WHO, "hi; there", verb="USSD"),
    ),
    (
        b'CELLINFO:1700000111;id:goip01;password:secret1;info:"LAC:7E5,CELL ID:5E5B"',
        codec.CellInfo(1700000111, *WHO, "LAC:7E5,CELL ID:5E5B"),
    ),
    (
        b"CGATT:1700000110;id:goip01;password:secret1;cgatt:1",
        codec.OtherPush(1700000110, *WHO, {"cgatt": "1"}, verb="CGATT"),
    ),
    (
        b"need_recharge:12;id:goip01;password:secret1;num:1;iccid:2",
        codec.OtherPush(12, *WHO, {"num": "1", "iccid": "2"}, verb="need_recharge"),
    ),
    (
        b"AT:5;count:1;id:goip01;password:secret1;receive:+CSQ: 20;99",
        codec.AtOutput(5, *WHO, 1, "+CSQ: 20;99"),
    ),
]

ANSWERS: list[tuple[bytes, codec.Event]] = [
    (b"PASSWORD 4711\n", codec.PasswordAsked(4711)),
    (b"SEND 4711\n", codec.SendAsked(4711)),
    (b"WAIT 4711 1\n", codec.Wait(4711, 1)),
    (b"OK 4711 1 160\n", codec.Ok(4711, 1, 160)),
    (b"OK 4711 1 \n", codec.Ok(4711, 1, None)),
    (b"OK 4711 1", codec.Ok(4711, 1, None)),
    (b"ERROR 4711 1 errorstatus:38\n", codec.SendError(4711, 1, "errorstatus:38", 38)),
    (b"ERROR 4711 PASSWORD\n", codec.SendError(4711, None, "PASSWORD", None)),
    (b"ERROR 4711 SENDID\n", codec.SendError(4711, None, "SENDID", None)),
    (b"ERROR 4711 GSM_LOGOUT\n", codec.SendError(4711, None, "GSM_LOGOUT", None)),
    (b"ERROR 4711 too many sessions\r\n\0", codec.SendError(4711, None, "too many sessions", None)),
    (b"GSMERROR 4711 busy", codec.SendError(4711, None, "busy", None)),
    (b"DONE 4711\n", codec.Done(4711)),
    (b"USSD 4713 Balance: 10.00@@", codec.UssdAnswer(4713, "Balance: 10.00")),
    (b"USSD 4713 mail a@b.example;\n1) x\n", codec.UssdAnswer(4713, "mail a@b.example;\n1) x")),
    (b"USSD 4713 USSD send failed!", codec.UssdError(4713, "USSD send failed!")),
    (b"USSDERROR 4713 busy", codec.UssdError(4713, "busy")),
    (b"USSDEXIT 4713", codec.UssdExit(4713)),
    (b"get_gsm_num 4714 +12025550100", codec.ControlAnswer("get_gsm_num", 4714, "+12025550100")),
    (
        b"set_gsm_num 4714 +12025550100 ok",
        codec.ControlAnswer("set_gsm_num", 4714, "+12025550100 ok"),
    ),
    (b"get_out_call_interval 4714 30\n", codec.ControlAnswer("get_out_call_interval", 4714, "30")),
    (b"CFOK 4715", codec.ServiceAnswer(4715, "CF", "OK", None, "")),
    (b"CFERROR 4715 barred", codec.ServiceAnswer(4715, "CF", "ERROR", None, "barred")),
    (
        b"CFSTATE 4715 1 +12025550122",
        codec.ServiceAnswer(4715, "CF", "STATE", True, "+12025550122"),
    ),
    (b"CWSTATE 4716 0", codec.ServiceAnswer(4716, "CW", "STATE", False, "")),
    (
        b"GSM:4717;get_gsm_num:1;get_gsm_state:IDLE;module_down:0",
        codec.GsmReply(4717, {"get_gsm_num": "1", "get_gsm_state": "IDLE", "module_down": "0"}),
    ),
]

TEXT = "Gr\u00fc\u00dfe; a:b"
COMMANDS: list[tuple[bytes, bytes, device_codec.Event]] = [
    (codec.encode_reg(19), b"reg:19;status:200;", device_codec.Reg(19, 200)),
    (codec.encode_reg(19, 404), b"reg:19;status:404;", device_codec.Reg(19, 404)),
    (
        codec.encode_ack("RECEIVE", 1700000123),
        b"RECEIVE 1700000123 OK",
        device_codec.Ack("RECEIVE", 1700000123, "OK", ""),
    ),
    (
        codec.encode_refusal("RECEIVE", 1700000123, ID),
        b"RECEIVE 1700000123 ERROR not find this id:goip01, or password error",
        device_codec.Ack(
            "RECEIVE", 1700000123, "ERROR", "not find this id:goip01, or password error"
        ),
    ),
    (
        codec.encode_failure("CELLS", -4, "not now"),
        b"CELLS -4 ERROR not now",
        device_codec.Ack("CELLS", -4, "ERROR", "not now"),
    ),
    (
        codec.encode_disable("STATE", 5),
        b"STATE 5 DISABLE",
        device_codec.Ack("STATE", 5, "DISABLE", ""),
    ),
    (
        codec.encode_ack("STATE", 1700000119),
        b"STATE 1700000119 OK",
        device_codec.Ack("STATE", 1700000119, "OK", ""),
    ),
    (
        codec.encode_goippy_ack(8, ID),
        b"RECEIVEOK:8;id:goip01;status:0;",
        device_codec.GoippyAck(8),
    ),
    (
        codec.encode_msg(4711, TEXT),
        b"MSG 4711 12 Gr\xc3\xbc\xc3\x9fe; a:b\n",
        device_codec.Msg(4711, 12, b"Gr\xc3\xbc\xc3\x9fe; a:b\n"),
    ),
    (
        codec.encode_password(4711, PASSWORD),
        b"PASSWORD 4711 secret1\n",
        device_codec.Password(4711, PASSWORD),
    ),
    (
        codec.encode_send(4711, 1, "+12025550111"),
        b"SEND 4711 1 +12025550111\n",
        device_codec.Send(4711, 1, "+12025550111"),
    ),
    (codec.encode_done(4711), b"DONE 4711\n", device_codec.DoneAsked(4711)),
    (
        codec.encode_sms(4712, 1, PASSWORD, "+12025550111", "Hello; it is 10:30"),
        b"SMS 4712 1 secret1 +12025550111 Hello; it is 10:30",
        device_codec.Sms(4712, 1, PASSWORD, "+12025550111", b"Hello; it is 10:30"),
    ),
    (
        codec.encode_ussd(4713, PASSWORD, "*100#"),
        b"USSD 4713 secret1 *100#",
        device_codec.Ussd(4713, PASSWORD, "*100#"),
    ),
    (
        codec.encode_ussd_exit(4713, PASSWORD),
        b"USSDEXIT 4713 secret1",
        device_codec.UssdLeave(4713, PASSWORD),
    ),
    (
        codec.encode_control("get_gsm_num", 4714, PASSWORD),
        b"get_gsm_num 4714 secret1",
        device_codec.Control(4714, "get_gsm_num", "", PASSWORD),
    ),
    (
        codec.encode_control("set_gsm_num", 4714, PASSWORD, "+12025550100"),
        b"set_gsm_num 4714 +12025550100 secret1",
        device_codec.Control(4714, "set_gsm_num", "+12025550100", PASSWORD),
    ),
    (
        codec.encode_call_forward(4715, PASSWORD, 0, 3, "+12025550122"),
        b"CF 4715 secret1 0 3 +12025550122 0",
        device_codec.CallForward(4715, PASSWORD, 0, 3, "+12025550122", 0),
    ),
    (
        codec.encode_call_forward(4715, PASSWORD, 4, 2),
        b"CF 4715 secret1 4 2  0",
        device_codec.CallForward(4715, PASSWORD, 4, 2, "", 0),
    ),
    (
        codec.encode_call_waiting(4716, PASSWORD, 2),
        b"CW 4716 secret1 2",
        device_codec.CallWaiting(4716, PASSWORD, 2),
    ),
]


def keepalive(datagram: bytes) -> codec.Keepalive:
    """Decode a datagram that must be a keepalive."""
    event = codec.decode(datagram)
    assert isinstance(event, codec.Keepalive)
    return event


class DecodeTests(SynchronousTestCase):
    """Datagrams of a device become events."""

    def test_pushes(self) -> None:
        """Every kind of push is read with its credentials and values."""
        for datagram, event in PUSHES:
            self.assertEqual(codec.decode(datagram), event, datagram)

    def test_answers(self) -> None:
        """Every answer to a command of ours is read."""
        for datagram, event in ANSWERS:
            self.assertEqual(codec.decode(datagram), event, datagram)

    def test_line_ends_are_optional_after_answers(self) -> None:
        """An answer means the same with LF, CR LF, NUL or nothing behind it."""
        for datagram, event in ANSWERS:
            for end in (b"", b"\n", b"\r\n", b"\n\0"):
                self.assertEqual(codec.decode(datagram.rstrip() + end), event, datagram)

    def test_push_knows_its_verb(self) -> None:
        """An event carries the verb that its acknowledgement must repeat."""
        for datagram, event in PUSHES:
            assert isinstance(event, codec.Push)
            self.assertEqual(event.verb, datagram.partition(b":")[0].decode())

    def test_first_edition_keepalive(self) -> None:
        """A keepalive that ends after the signal counts as logged in to the network."""
        event = keepalive(KEEPALIVE_1)

        self.assertEqual((event.number, event.id, event.password), (1, ID, PASSWORD))
        self.assertEqual((event.signal, event.signal_dbm, event.num), (19, -75, ""))
        self.assertTrue(event.gsm_login)
        self.assertIsNone(event.voip_login)
        self.assertIsNone(event.remain_time)
        self.assertIsNone(event.sms_login)

    def test_logged_out_keepalive(self) -> None:
        """A channel without a network has no signal and is not usable."""
        event = keepalive(KEEPALIVE_2)

        self.assertIsNone(event.signal)
        self.assertIsNone(event.signal_dbm)
        self.assertFalse(event.gsm_login)
        self.assertIs(event.voip_login, False)

    def test_third_generation_keepalive(self) -> None:
        """Identities, carrier and call state are read where the firmware tells them."""
        event = keepalive(KEEPALIVE_3)

        self.assertEqual(event.imei, "860000000000011")
        self.assertEqual(event.imsi, "310150000000001")
        self.assertEqual(event.iccid, "8901000000000000001")
        self.assertEqual((event.carrier, event.voip_state), ("Testnet", "IDLE"))
        self.assertEqual(event.remain_time, -1)

    def test_newest_keepalive(self) -> None:
        """Values with colons, commas and spaces stay whole, and the filler digit goes."""
        event = keepalive(KEEPALIVE_4)

        self.assertEqual((event.voip_state, event.voip_peer), ("INCOMING", "+12025550111"))
        self.assertEqual(event.iccid, "8901000000000000001")
        self.assertEqual(event.carrier, "CHINA UNICOM GSM")
        self.assertEqual(event.cell_info, "LAC:7E5,CELL ID:5E5B")
        self.assertEqual((event.num, event.idle_min), ("+12025550100", 12))
        self.assertFalse(event.reports_disabled)
        self.assertIs(event.sms_login, True)
        self.assertIsNone(event.sim_bank_login)
        self.assertIs(event.packet_attached, True)
        self.assertIsNone(event.sim_bank_line_id)

    def test_keepalive_verb_in_any_case(self) -> None:
        """Clumsy clients write REQ."""
        self.assertEqual(keepalive(b"REQ:3;id:a;pass:b;").number, 3)

    def test_unknown_signal_is_none(self) -> None:
        """99 is the module's word for unknown."""
        for value in (b"99", b"", b"(null)", b"x", b"-1"):
            self.assertIsNone(keepalive(b"req:1;id:a;pass:b;signal:" + value + b";").signal)

    def test_null_markers_are_empty(self) -> None:
        """(null) and <NULL> mean that there is no value."""
        event = keepalive(b"req:1;id:a;pass:b;num:(null);pro:<NULL>;")

        self.assertEqual((event.num, event.carrier), ("", ""))
        received = codec.decode(b"RECEIVE:1;id:a;password:b;srcnum:(null);msg:(null)")
        self.assertEqual(received, codec.Received(1, "a", "b", "", "", "(null)"))

    def test_pass_and_password_everywhere(self) -> None:
        """Either key holds the password, in keepalives and in pushes."""
        self.assertEqual(keepalive(b"req:1;id:a;password:b;").password, "b")
        received = codec.decode(b"RECEIVE:1;id:a;pass:b;srcnum:1;msg:x")
        self.assertEqual(received, codec.Received(1, "a", "b", "1", "", "x"))

    def test_first_of_two_equal_keys_counts(self) -> None:
        """A sender cannot replace the credentials that stand before it."""
        received = codec.decode(b"RECEIVE:1;id:a;password:b;srcnum:x;id:z;msg:t")
        assert isinstance(received, codec.Received)
        self.assertEqual((received.id, received.password), ("a", "b"))

    def test_sender_with_semicolon(self) -> None:
        """An alphanumeric sender reaches to the key that follows it."""
        received = codec.decode(b"RECEIVE:1;id:a;password:b;srcnum:A;B: C;smscnum:9;msg:t;msg:u")
        self.assertEqual(received, codec.Received(1, "a", "b", "A;B: C", "9", "t;msg:u"))

    def test_unknown_key_after_a_number(self) -> None:
        """A number ends at its semicolon, so that a newer firmware's key does not join it."""
        received = codec.decode(b"RECEIVE:1;srcnum:+12025550111;slot:2;id:a;password:b;msg:t")
        self.assertEqual(received, codec.Received(1, "a", "b", "+12025550111", "", "t"))

    def test_missing_sender(self) -> None:
        """A text without a srcnum is still a text."""
        received = codec.decode(b"RECEIVE:1;id:a;password:b;msg:t")
        self.assertEqual(received, codec.Received(1, "a", "b", "", "", "t"))

    def test_text_loses_one_trailing_byte_only(self) -> None:
        """One NUL or LF at the end is the device's; more is the author's."""
        for raw, text in ((b"t\n", "t"), (b"t\0", "t"), (b"t\n\n", "t\n"), (b"t \r", "t \r")):
            received = codec.decode(b"RECEIVE:1;id:a;password:b;srcnum:1;msg:" + raw)
            self.assertEqual(received, codec.Received(1, "a", "b", "1", "", text))

    def test_invalid_utf8_is_replaced(self) -> None:
        """Bytes that are not UTF-8 show as replacement characters; the text is not lost."""
        received = codec.decode(b"RECEIVE:1;id:a;password:b;srcnum:1;msg:x\xff\xfey")
        self.assertEqual(received, codec.Received(1, "a", "b", "1", "", "x\ufffd\ufffdy"))

    def test_long_text_in_any_script(self) -> None:
        """A joined text of three thousand bytes arrives whole."""
        text = "\u041f\u0440\u0438\u0432\u0435\u0442 \U0001f600; " * 150
        datagram = device_codec.encode_received(1, "a", "b", "1", text.encode())
        self.assertEqual(codec.decode(datagram), codec.Received(1, "a", "b", "1", "", text))

    def test_hangup_cause_variants(self) -> None:
        """The cause is found inside the number, with a stray quote, or in a field of its own."""
        for raw, num, cause in (
            (b'num:5,cause:"Busy', "5", "Busy"),
            (b"num:5;cause:Busy", "5", "Busy"),
            (b"num:", "", ""),
        ):
            event = codec.decode(b"HANGUP:1;id:a;password:b;" + raw)
            self.assertEqual(event, codec.Hangup(1, "a", "b", num, cause))

    def test_control_answer_acceptance(self) -> None:
        """ok counts in any case, alone or after the repeated value."""
        for value, accepted in (
            ("ok", True),
            ("OK", True),
            ("+1 ok", True),
            ("book", False),
            ("", False),
            ("ERROR", False),
        ):
            self.assertIs(codec.ControlAnswer("set_gsm_num", 1, value).accepted, accepted)

    def test_passwords_stay_out_of_reprs(self) -> None:
        """An event may be shown in a log without the channel's password."""
        for datagram in (KEEPALIVE_1, PUSHES[0][0]):
            self.assertNotIn(PASSWORD, repr(codec.decode(datagram)))


class MalformedTests(SynchronousTestCase):
    """What is not of the protocol is refused with one exception."""

    def test_refused(self) -> None:
        """Junk, vendor-internal messages and broken numbers are malformed."""
        for datagram in (
            b"",
            b" ",
            b":",
            b"OK",
            b"HELLO",
            b"START 1",
            b"goip 1",
            b"req",
            b"req:",
            b"req:x;id:a;pass:b;",
            b"req:1",
            b"req:1;pass:b;",
            b"req:1;id:;pass:b;",
            b"req:+1;id:a;pass:b;",
            b"req:1_0;id:a;pass:b;",
            "req:\u0661;id:a;pass:b;".encode(),
            b"req:99999999999999999999;id:a;pass:b;",
            b"RECEIVE:1;id:a;password:b;srcnum:1",
            b"RECEIVE:;id:a;password:b;srcnum:1;msg:x",
            b"DELIVER:1;id:a;password:b;state:0",
            b"DELIVER:1;id:a;password:b;sms_no:x;state:0",
            b"RECORD:1;id:a;password:b;dir:3;num:1",
            b"VERBOFMORETHANSIXTEEN:1;id:a;password:b",
            b"A B:1;id:a;password:b",
            b"1:1;id:a;password:b",
            b"PASSWORD x",
            b"WAIT 1",
            b"OK 1 x",
            b"req:1;id:" + b"x" * 65 + b";pass:b;",
            b"req:1;id:" + "\u00fc".encode() * 33 + b";pass:b;",
            b"req:1;id:a;pass:" + b"x" * 65 + b";",
            b"req:1;id:a;pass:b;" + b"k:v;" * 100,
            b"req:1;id:a;pass:b;k:" + b"v" * 9000,
            b"RECEIVE:1;id:a;password:b;srcnum:1;msg:" + b"x" * 65535,
        ):
            self.assertRaises(codec.MalformedDatagram, codec.decode, datagram)

    def test_message_says_what_was_expected_and_where(self) -> None:
        """The text of the error helps, and repeats nothing that was sent."""
        error = self.assertRaises(codec.MalformedDatagram, codec.decode, b"req:hunter2;id:a;")

        self.assertEqual(str(error), "expected a decimal recvid at character 4")
        self.assertEqual((error.expected, error.offset), ("a decimal recvid", 4))


class EncodeTests(SynchronousTestCase):
    """Our commands become datagrams that a device reads as meant."""

    def test_commands(self) -> None:
        """Every command has the vendor's bytes, and a device reads them back."""
        for encoded, datagram, event in COMMANDS:
            self.assertEqual(encoded, datagram)
            self.assertEqual(device_codec.decode(datagram), event)

    def test_bare_refusal(self) -> None:
        """A device reads a refusal without the word ERROR, as the vendor's document has it."""
        self.assertEqual(
            device_codec.decode(b"STATE 5 no such id\n"),
            device_codec.Ack("STATE", 5, "ERROR", "no such id"),
        )

    def test_device_cuts_the_text_by_length(self) -> None:
        """The declared length rules where enough bytes are there."""
        msg = device_codec.Msg(1, 3, b"abc\n")
        self.assertEqual(msg.text(), b"abc")
        self.assertEqual(device_codec.Msg(1, 9, b"abc\n").text(), b"abc")
        self.assertEqual(device_codec.Msg(1, 2, b"abc\n").text(by_length=False), b"abc")

    def test_bad_arguments_are_refused(self) -> None:
        """What the line syntax cannot carry is refused before it leaves."""
        bad: list[Callable[[], object]] = [
            lambda: codec.encode_msg(1, ""),
            lambda: codec.encode_msg(1, "\u00fc" * 1501),
            lambda: codec.encode_msg(1, "a\0b"),
            lambda: codec.encode_msg(1, "\ud800"),
            lambda: codec.encode_msg(2**31, "a"),
            lambda: codec.encode_msg(-1, "a"),
            lambda: codec.encode_password(1, ""),
            lambda: codec.encode_password(1, "a b"),
            lambda: codec.encode_password(1, "a\n"),
            lambda: codec.encode_password(1, "x" * 65),
            lambda: codec.encode_password(1, "\ud800"),
            lambda: codec.encode_send(1, 1, "+"),
            lambda: codec.encode_send(1, 1, "ACME"),
            lambda: codec.encode_send(1, 1, "1" * 21),
            lambda: codec.encode_send(1, 1, "+12025550123\n"),
            lambda: codec.encode_send(1, 1, "\u0661"),
            lambda: codec.encode_sms(1, 1, "a b", "1", "t"),
            lambda: codec.encode_ussd(1, "p", "*100# 2"),
            lambda: codec.encode_ussd(1, "p", ""),
            lambda: codec.encode_control("set_imei", 1, "p", "1"),
            lambda: codec.encode_control("get_gsm_num", 1, "p", "1"),
            lambda: codec.encode_control("set_gsm_num", 1, "p"),
            lambda: codec.encode_control("module_ctl", 1, "p", "13"),
            lambda: codec.encode_call_forward(1, "p", 6, 3),
            lambda: codec.encode_call_forward(1, "p", 0, 5),
            lambda: codec.encode_call_forward(1, "p", 0, 3, "x"),
            lambda: codec.encode_call_forward(1, "p", 0, 3, "1", 61),
            lambda: codec.encode_call_waiting(1, "p", 3),
            lambda: codec.encode_failure("STATE", 1, "a\nb"),
            lambda: codec.check_id("a;b"),
        ]
        for call in bad:
            self.assertRaises(codec.InvalidCommand, call)

    def test_refused_password_is_not_repeated(self) -> None:
        """The error about a password does not show it."""
        error = self.assertRaises(codec.InvalidCommand, codec.check_password, "hunter 2")
        self.assertNotIn("hunter", str(error))

    def test_valid_ids_pass(self) -> None:
        """Telephone numbers and names serve as ids."""
        for id_ in ("goip01", "+12025550100", "1", "goippy_2508"):
            self.assertEqual(codec.check_id(id_), id_)


DEVICE: list[tuple[bytes, bytes, codec.Event]] = [
    (
        device_codec.encode_keepalive(7, *WHO, device_codec.encode_fields([("signal", "19")])),
        b"req:7;id:goip01;pass:secret1;signal:19;",
        codec.Keepalive(7, *WHO, {"signal": "19"}),
    ),
    (
        device_codec.encode_push("EXPIRY", -3, *WHO, device_codec.encode_fields([("exp", b"42")])),
        b"EXPIRY:-3;id:goip01;password:secret1;exp:42",
        codec.CallExpiry(-3, *WHO, 42),
    ),
    (
        device_codec.encode_received(9, *WHO, "ACME", b"code: 1", "+12025550199"),
        b"RECEIVE:9;id:goip01;password:secret1;srcnum:ACME;smscnum:+12025550199;msg:code: 1",
        codec.Received(9, *WHO, "ACME", "+12025550199", "code: 1"),
    ),
    (device_codec.encode_password_asked(4), b"PASSWORD 4\n", codec.PasswordAsked(4)),
    (device_codec.encode_send_asked(4), b"SEND 4\n", codec.SendAsked(4)),
    (device_codec.encode_wait(4, 1), b"WAIT 4 1\n", codec.Wait(4, 1)),
    (device_codec.encode_ok(4, 1, 160), b"OK 4 1 160\n", codec.Ok(4, 1, 160)),
    (device_codec.encode_ok(4, 1, None), b"OK 4 1 \n", codec.Ok(4, 1, None)),
    (
        device_codec.encode_send_error(4, 1, 38),
        b"ERROR 4 1 errorstatus:38\n",
        codec.SendError(4, 1, "errorstatus:38", 38),
    ),
    (
        device_codec.encode_error(4, "SENDID"),
        b"ERROR 4 SENDID\n",
        codec.SendError(4, None, "SENDID", None),
    ),
    (device_codec.encode_done(4), b"DONE 4\n", codec.Done(4)),
    (
        device_codec.encode_ussd_answer(4, b"Balance@@"),
        b"USSD 4 Balance@@",
        codec.UssdAnswer(4, "Balance"),
    ),
    (device_codec.encode_ussd_error(4, "busy"), b"USSDERROR 4 busy", codec.UssdError(4, "busy")),
    (device_codec.encode_ussd_exit(4), b"USSDEXIT 4", codec.UssdExit(4)),
    (
        device_codec.encode_control_answer("get_imei", 4, "860000000000011"),
        b"get_imei 4 860000000000011",
        codec.ControlAnswer("get_imei", 4, "860000000000011"),
    ),
    (
        device_codec.encode_service_answer("CF", "OK", 4),
        b"CFOK 4",
        codec.ServiceAnswer(4, "CF", "OK", None, ""),
    ),
    (
        device_codec.encode_service_answer("CF", "STATE", 4, "1 +12025550122"),
        b"CFSTATE 4 1 +12025550122",
        codec.ServiceAnswer(4, "CF", "STATE", True, "+12025550122"),
    ),
    (
        device_codec.encode_gsm_reply(4, b"imei:1;module_down:0"),
        b"GSM:4;imei:1;module_down:0",
        codec.GsmReply(4, {"imei": "1", "module_down": "0"}),
    ),
]


class DeviceEncodeTests(SynchronousTestCase):
    """The device's side writes what our side reads."""

    def test_device_datagrams(self) -> None:
        """Every datagram of the simulator has a device's bytes, and our decoder reads them."""
        for encoded, datagram, event in DEVICE:
            self.assertEqual(encoded, datagram)
            self.assertEqual(codec.decode(datagram), event)

    def test_device_refuses_junk(self) -> None:
        """A device does not take half a command."""
        for datagram in (
            b"SEND 1 2",
            b"SMS 1 2 p",
            b"USSD 1 p",
            b"CF 1 p 0",
            b"CW 1 p",
            b"get_imei",
            b"get_imei 1",
            b"\xff 1",
            b"reg:1",
            b"STATE 9999999999999999999 OK",
            b"STATE x OK",
        ):
            self.assertRaises(codec.MalformedDatagram, device_codec.decode, datagram)


bytes_like_datagrams = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda verb, middle, rest: verb + middle + rest,
        st.sampled_from(
            [
                b"req:",
                b"RECEIVE:1;id:a;",
                b"DELIVER:",
                b"STATE:1;",
                b"OK ",
                b"ERROR 1 ",
                b"MSG 1 ",
                b"SEND ",
                b"CF 1 p ",
                b"reg:",
                b"USSD ",
                b"get_gsm_num ",
                b"GSM:",
                b"AT:",
                b"CFSTATE ",
            ]
        ),
        st.sampled_from([b"", b"1", b"-1;", b"1;id:x;password:y;", b"1 2 3", b"\xb2"]),
        st.binary(max_size=60),
    ),
    st.lists(
        st.sampled_from(
            [b"RECEIVE", b":", b";", b" ", b"1", b"id:a", b"msg:", b"srcnum:", b"smscnum:", b"\n"]
        ),
        max_size=20,
    ).map(b"".join),
)
words = st.text(
    st.characters(codec="utf-8", exclude_characters=" ;\r\n\0"), min_size=1, max_size=16
).filter(lambda word: word not in ("(null)", "<NULL>"))  # which mean that there is none
texts = st.text(st.characters(codec="utf-8"), max_size=400)
recvids = st.integers(-(10**10), 10**10)


class RobustnessTests(SynchronousTestCase):
    """Any bytes are survived, and what one side writes the other reads."""

    @many
    @given(bytes_like_datagrams)
    def test_only_malformed_datagram_is_raised(self, datagram: bytes) -> None:
        """Whatever a stranger sends, decoding ends in an event or in MalformedDatagram."""
        for decode in (codec.decode, device_codec.decode):
            try:
                decode(datagram)
            except codec.MalformedDatagram as error:
                str(error)

    @many
    @given(recvids, words, words, words, texts)
    def test_received_round_trip(
        self, recvid: int, id_: str, password: str, sender: str, text: str
    ) -> None:
        """Any text with any sender is read as it was written, but for one line end."""
        datagram = device_codec.encode_received(recvid, id_, password, sender, text.encode())

        event = codec.decode(datagram)

        wanted = text[:-1] if text.endswith(("\n", "\0")) else text
        self.assertEqual(event, codec.Received(recvid, id_, password, sender, "", wanted))

    @many
    @given(st.integers(0, 2**31 - 1), texts.filter(lambda t: t and "\0" not in t))
    def test_msg_round_trip(self, sendid: int, text: str) -> None:
        """The device cuts out exactly the text that we sent."""
        try:
            event = device_codec.decode(codec.encode_msg(sendid, text))
        except codec.InvalidCommand:
            self.assertGreater(len(text.encode()), codec.MAX_TEXT_BYTES)
            return
        assert isinstance(event, device_codec.Msg)
        self.assertEqual((event.sendid, event.text()), (sendid, text.encode()))

    @many
    @given(recvids, st.integers(0, 255), st.integers(0, 127), st.none() | st.just("+12025550111"))
    def test_delivery_report_round_trip(
        self, recvid: int, sms_no: int, state: int, num: str | None
    ) -> None:
        """A delivery report is read as it was written."""
        datagram = device_codec.encode_delivery_report(recvid, *WHO, sms_no, state, num)
        self.assertEqual(
            codec.decode(datagram), codec.DeliveryReport(recvid, *WHO, sms_no, state, num or "")
        )
