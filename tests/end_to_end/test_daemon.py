"""The daemon as twistd runs it: start, refusals, reload, and the end."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

from twisted.internet import reactor

from smsbridge.openfiles import MOST_OPEN_FILES
from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.test_durability import SENDER, BoxAndDaemon, free_udp_port, pause


class DaemonTests(BoxAndDaemon):
    """One daemon, one box, no persons' side."""

    lines = ("one", "two")

    async def send(self, line: str, text: str) -> tuple[int, str]:
        """Send a text by the control socket; returns status and answer."""
        assert self.daemon is not None
        return await self.daemon.request(
            "POST", "/messages", {"line": line, "to": [SENDER], "text": text}
        )

    async def test_a_text_goes_out_and_is_delivered(self) -> None:
        """The first thing that a newcomer tries works: queued, sent, delivered."""
        daemon = await self.start_daemon()
        box = await self.start_box()

        answer = await daemon.ask(
            "POST", "/messages", {"line": "one", "to": ["(202) 555-0123"], "text": "hello; a:b"}
        )
        while (await self.delivery_states())["delivered"] < 1:
            await pause(0.05)

        (radiated,) = box.box.journal.radiated
        self.assertEqual((radiated.num, radiated.text), (SENDER, "hello; a:b"))
        traced = await daemon.ask("GET", f"/messages/{answer['id']}")
        self.assertIn("delivered", str(traced))

    async def test_a_text_comes_in_once_although_it_is_repeated(self) -> None:
        """The box's repeats are acknowledged and stored once."""
        await self.start_daemon()
        box = await self.start_box(resend_s=0.05)
        channel = box.box.line("one")

        for number in range(20):
            channel.receive_sms(SENDER, f"text {number}")
        while box.box.journal.accepted < 20:
            await pause(0.05)
        await pause(0.5)

        assert self.daemon is not None
        bodies = [m["body"] for m in await self.daemon.listing("/messages")]
        self.assertEqual(sorted(bodies), sorted(f"text {n}" for n in range(20)))

    async def test_a_waiting_text_goes_out_when_the_line_comes(self) -> None:
        """With the box away a text stays queued; it leaves when the line registers."""
        await self.start_daemon()
        await self.send("one", "early")
        await pause(0.5)
        before = await self.delivery_states()

        await self.start_box()
        while (await self.delivery_states())["delivered"] < 1:
            await pause(0.05)

        self.assertEqual(dict(before), {"queued": 1})

    async def test_a_second_daemon_on_the_folder_is_refused(self) -> None:
        """The second start ends at once with a sentence that names folder and process."""
        daemon = await self.start_daemon()
        second = DaemonProcess(reactor, "")
        second.config = daemon.config
        try:
            said = await second.refused()
        finally:
            await second.remove()

        self.assertIn(f"process {daemon.pid}", said)
        self.assertIn(str(daemon.state), said)
        self.assertNotIn("Traceback", said)

    async def test_a_taken_port_ends_the_start_with_a_sentence(self) -> None:
        """Who holds the UDP port is not known, but which port it is."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", self.udp_port))
            self.daemon = DaemonProcess(reactor, self.configuration())
            said = await self.daemon.refused()

        self.assertIn(str(self.udp_port), said)
        self.assertIn("smsbridge cannot start", said)
        self.assertNotIn("Traceback", said)

    async def test_ends_cleanly_on_sigterm(self) -> None:
        """A stop is quick, complete, and leaves the folder free for the next start."""
        daemon = await self.start_daemon()
        await self.start_box()

        code = await daemon.stop()

        self.assertEqual(
            code, -signal.SIGTERM
        )  # twistd ends as the signal asked, after all is closed
        self.assertNotIn("Traceback", daemon.output)
        await daemon.start()

    async def test_may_open_more_files_than_a_shell_gives(self) -> None:
        """The low limit of a shell, which browsers would use up, is raised at the start."""
        soft, hard = getrlimit(RLIMIT_NOFILE)
        setrlimit(RLIMIT_NOFILE, (512, hard))
        self.addCleanup(setrlimit, RLIMIT_NOFILE, (soft, hard))

        daemon = await self.start_daemon()

        limits = Path(f"/proc/{daemon.pid}/limits").read_text(encoding="ascii")
        (found,) = re.findall(r"^Max open files +(\d+)", limits, re.MULTILINE)
        self.assertEqual(int(found), min(hard % 2**63, MOST_OPEN_FILES))

    async def test_reload_adds_and_removes_lines_without_disturbing_others(self) -> None:
        """A new line works, a removed one is gone, and the third never noticed."""
        daemon = await self.start_daemon()
        await self.start_box()
        seen = {line["line"]: line for line in await daemon.listing("/lines")}
        self.assertEqual(set(seen), {"one", "two"})
        text = daemon.config.read_text()
        start, _, rest = text.partition("[line:two]")
        _, person, tail = rest.partition("[person:alice]")
        daemon.config.write_text(
            f"{start}[line:three]\ngateway = box\nid = three\npassword = simulated\n"
            f"{person}{tail.replace('two', 'three')}"
        )

        answer = await daemon.ask("POST", "/reload")

        self.assertEqual(
            [c for c in answer["changes"] if "line" in c],
            ["[line:three] added", "[line:two] removed"],
        )
        lines = {line["line"]: line["up"] for line in await daemon.listing("/lines")}
        self.assertEqual(lines, {"one": True, "three": False})
        code, said = await self.send("two", "x")
        self.assertEqual(code >= 400 and "two" in said, True, said)
        self.assertEqual((await self.send("one", "still here"))[0], 202)

    async def test_a_wrong_file_changes_nothing_and_says_why(self) -> None:
        """The answer names file, section and key; the running configuration stays."""
        daemon = await self.start_daemon()
        await self.start_box()
        good = daemon.config.read_text()
        daemon.config.write_text(good.replace("password =", "pasword =", 1))

        code, said = await daemon.request("POST", "/reload")

        self.assertGreaterEqual(code, 400)
        for word in ("smsbridge.ini", "[line:one]", "pasword", "password"):
            self.assertIn(word, said)
        self.assertEqual((await self.send("one", "still here"))[0], 202)

    async def test_reload_by_signal(self) -> None:
        """SIGHUP does what the command does."""
        daemon = await self.start_daemon()
        await self.start_box()
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("[line:one]", "[line:one]\nallow = ^\\+44"))

        daemon.hang_up()
        for _ in range(100):
            code, said = await self.send("one", "x")
            if code >= 400:
                break
            await pause(0.05)

        self.assertIn("destination-not-allowed", said)
        self.assertEqual((await self.send("two", "y"))[0], 202)

    async def test_a_changed_listener_moves(self) -> None:
        """A gateway whose address changed is built anew; its lines come back there."""
        daemon = await self.start_daemon()
        await self.start_box()
        assert self.box is not None
        await self.box.stopService()
        old, self.udp_port = self.udp_port, _other_port(self.udp_port)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(str(old), str(self.udp_port)))

        await daemon.ask("POST", "/reload")
        await self.start_box()

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free_again:
            free_again.bind(("127.0.0.1", old))

    async def test_a_gateway_that_cannot_move_is_told_and_comes_back_later(self) -> None:
        """A port that is taken after a reload is said; the next reload tries again."""
        daemon = await self.start_daemon()
        text = daemon.config.read_text()
        other = _other_port(self.udp_port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", other))
            daemon.config.write_text(text.replace(str(self.udp_port), str(other)))
            answer = await daemon.ask("POST", "/reload")

        self.assertIn(str(other), str(answer["warnings"]))
        self.assertIn("could not start", (await daemon.ask("GET", "/status"))["unready"])
        daemon.config.write_text(text)
        await daemon.ask("POST", "/reload")
        await self.start_box()
        self.assertEqual((await daemon.ask("GET", "/status"))["unready"], "")

    async def test_ussd_and_commands_reach_the_line(self) -> None:
        """The operator's USSD code and line commands are answered by the box."""
        daemon = await self.start_daemon()
        await self.start_box()

        ussd = await daemon.ask("POST", "/ussd", {"line": "one", "code": "*100#"})
        number = await daemon.ask(
            "POST", "/commands", {"line": "one", "command": "number", "arguments": []}
        )

        self.assertIn("balance", str(ussd))
        self.assertIn("+1202555", str(number))

    async def test_learns_the_number_of_a_line(self) -> None:
        """A line without a configured number shows the one that its device told, also later."""
        text = re.sub(r"number = .*\n", "", self.configuration())
        self.daemon = DaemonProcess(reactor, text)
        await self.daemon.start()
        box = await self.start_box()
        (number,) = [s.num for s in box.box.settings.lines if s.id == "one"]
        channel = box.box.line("one")

        for restart in (False, True):
            if restart:
                await self.daemon.kill()
                await self.daemon.start()
                await self.lines_are_up()
            await pause(0.3)  # until what the keepalive told is stored
            before = len(await self.daemon.listing("/messages"))
            channel.receive_sms(SENDER, f"after restart: {restart}")
            while len(messages := await self.daemon.listing("/messages")) == before:
                await pause(0.05)
            self.assertEqual(messages[-1]["to"], [number])

    async def test_bad_input_gets_a_sentence(self) -> None:
        """Everything that cannot be is refused at the door with a reason and a sentence."""
        await self.start_daemon()
        await self.start_box()
        for line, number, text, reason in (
            ("one", "not a number", "x", "invalid-number"),
            ("nowhere", SENDER, "x", "unknown-line"),
            ("one", SENDER, "   ", "empty"),
            ("one", SENDER, "x" * 5000, "too-long"),
        ):
            assert self.daemon is not None
            code, said = await self.daemon.request(
                "POST", "/messages", {"line": line, "to": [number], "text": text}
            )
            self.assertGreaterEqual(code, 400, said)
            self.assertIn(reason, said)
        self.assertEqual(await self.delivery_states(), {})


def _other_port(port: int) -> int:
    while (other := free_udp_port()) == port:
        pass
    return other
