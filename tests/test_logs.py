"""Tests of `smsbridge.logs`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge import logs
from smsbridge.logs import Levels


class Written:
    """A logger whose events are written to a text in memory."""

    def __init__(self, layout: str, levels: str = "debug") -> None:
        self.out = io.StringIO()
        self.observer = logs.observer(layout, Levels.parse(levels), self.out)
        self.log = Logger("smsbridge.gateways.goip.gateway.GoipGateway", observer=self.observer)

    @property
    def text(self) -> str:
        """Everything that was written."""
        return self.out.getvalue()


def failure() -> Failure:
    """Return a failure with a traceback."""
    try:
        raise ValueError("broken\nin two lines")
    except ValueError:
        return Failure()


class TextLinesTests(SynchronousTestCase):
    """The log for people."""

    def test_one_line_with_time_level_place_and_fields(self) -> None:
        """An event is one line; what its sentence did not say follows as key=value."""
        written = Written("text")

        written.log.info(
            "{gateway} took a text", gateway="box", message_id="m1", attempt=2, other=1
        )

        self.assertRegex(
            written.text,
            r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info     gateways\.goip\.gateway +"
            r"box took a text  message_id=m1 attempt=2\n$",
        )

    def test_lines_are_aligned(self) -> None:
        """Sentences of different levels begin in the same column."""
        written = Written("text")

        written.log.info("begin")
        written.log.critical("begin")

        self.assertEqual(len({line.index("begin") for line in written.text.splitlines()}), 1)

    def test_text_of_a_peer_cannot_forge_a_line(self) -> None:
        """Line ends and control characters in fields stay visible and harmless."""
        written = Written("text")

        written.log.warn("bad: {reason}", reason="x\n2026-01-01 info all well\x1b[2J", peer="a b")

        self.assertEqual(written.text.count("\n"), 1)
        self.assertNotIn("\x1b", written.text)
        self.assertIn('peer="a b"', written.text)

    def test_braces_in_a_value_are_just_text(self) -> None:
        """A value with braces is not taken for a format."""
        written = Written("text")

        written.log.info("said {text}", text="{secret} {0} {", secret="no")

        self.assertIn("said {secret} {0} {\n", written.text)

    def test_failure_has_its_traceback_indented(self) -> None:
        """A bug is followed by its traceback, and nothing of it looks like a line of the log."""
        written = Written("text")

        written.log.failure("it broke", failure())

        first, *rest = written.text.splitlines()
        self.assertIn("critical", first)
        self.assertTrue(all(line.startswith("    ") for line in rest), written.text)
        self.assertIn("ValueError", written.text)

    def test_event_that_cannot_be_formatted_is_shown_all_the_same(self) -> None:
        """A wrong format or a value that cannot be printed does not lose the event."""

        class Unprintable:
            def __str__(self) -> str:
                raise RuntimeError("no")

            __repr__ = __str__

        written = Written("text")

        written.log.info("a {value} b", value=Unprintable())
        written.log.info("unbalanced {", gateway="box")

        self.assertEqual(written.text.count("\n"), 2)

    def test_log_that_cannot_be_written_stops_nothing(self) -> None:
        """A closed output is ignored."""
        written = Written("text")
        written.out.close()

        written.log.info("hello")


class JsonLinesTests(SynchronousTestCase):
    """The log for programs."""

    def event(self, written: Written) -> dict[str, Any]:
        """Return the one object that was written."""
        (line,) = written.text.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    def test_event_is_a_flat_object(self) -> None:
        """Time, level, place, sentence and fields are members."""
        written = Written("json")

        written.log.info("{gateway} took a text", gateway="box", attempt=2, peer=("127.0.0.1", 5))

        event = self.event(written)
        self.assertRegex(event.pop("time"), r"^\d{4}-\d\d-\d\dT.*\.\d{3}Z$")
        self.assertEqual(
            event,
            {
                "level": "info",
                "namespace": "smsbridge.gateways.goip.gateway.GoipGateway",
                "message": "box took a text",
                "gateway": "box",
                "attempt": 2,
                "peer": "127.0.0.1:5",
            },
        )

    def test_failure_is_one_object(self) -> None:
        """A traceback does not break the line."""
        written = Written("json")

        written.log.failure("it broke", failure())

        self.assertIn("ValueError", self.event(written)["traceback"])

    def test_any_text_is_one_line(self) -> None:
        """Line ends of every kind stay within the object."""
        written = Written("json")

        written.log.info("{reason}", reason="a\nb\u2028c\x85d\ud800")

        self.assertEqual(self.event(written)["reason"], "a\nb\u2028c\x85d\ud800")


class LevelsTests(SynchronousTestCase):
    """Which events are written."""

    def test_default_hides_what_is_below(self) -> None:
        """At info nothing of debug is written."""
        written = Written("text", "info")

        written.log.debug("wire")
        written.log.info("news")

        self.assertNotIn("wire", written.text)
        self.assertIn("news", written.text)

    def test_part_has_its_own_level(self) -> None:
        """One gateway can be looked at closely, with or without the program's name in front."""
        for levels in ("warn gateways.goip=debug", "warn smsbridge.gateways.goip=debug"):
            written = Written("text", levels)

            written.log.debug("wire")
            Logger("smsbridge.web.site", observer=written.observer).info("other")

            self.assertIn("wire", written.text)
            self.assertNotIn("other", written.text)

    def test_libraries_are_quiet_unless_looked_at(self) -> None:
        """Twisted's own news are shown only to who wants to see more."""
        for levels, shown in (("info", False), ("debug", True), ("info twisted=info", True)):
            written = Written("text", levels)

            Logger("twisted.web.server", observer=written.observer).info("port opened")
            Logger("twisted.web.server", observer=written.observer).error("port broke")

            self.assertEqual("port opened" in written.text, shown, levels)
            self.assertIn("port broke", written.text)

    def test_unknown_level_is_refused_with_the_known_ones(self) -> None:
        """A wrong word names the right ones."""
        for text in ("loud", "info goip=loud"):
            with self.assertRaisesRegex(ValueError, "loud.*debug, info, warn"):
                Levels.parse(text)

    def test_every_level_can_be_named(self) -> None:
        """All levels that events have can be chosen."""
        for level in LogLevel.iterconstants():
            self.assertEqual(Levels.parse(level.name).default, level.name)


class UseTests(SynchronousTestCase):
    """What twistd logs with."""

    def twistd(self, *arguments: str) -> ServerOptions:
        """Return the options of twistd."""
        options = ServerOptions()
        options.parseOptions([*arguments, "--python=x.tac"])
        return options

    def made(self, options: ServerOptions) -> Any:
        """Let twistd make its observer."""
        logs.use(options, "json", Levels())
        return namedAny(options["logger"])()

    def test_foreground_logs_to_the_terminal(self) -> None:
        """With --nodaemon the log goes to the standard output."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)

        observer = self.made(self.twistd("--nodaemon"))
        verifyObject(ILogObserver, observer)
        Logger("x", observer=observer).info("hello")

        self.assertEqual(json.loads(out.getvalue())["message"], "hello")

    def test_file_is_appended_to(self) -> None:
        """With --logfile the log goes there, after what is there."""
        path = Path(self.mktemp())
        path.write_text("before\n")

        Logger("x", observer=self.made(self.twistd("--logfile", str(path)))).info("hello")

        before, event = path.read_text().splitlines()
        self.assertEqual(before, "before")
        self.assertEqual(json.loads(event)["message"], "hello")

    def test_operators_choice_is_left_alone(self) -> None:
        """Who asks twistd for another logger gets it."""
        options = self.twistd("--logger", "smsbridge.logs.TextLines")

        logs.use(options, "json", Levels())

        self.assertIs(options["logger"], logs.TextLines)


class LastErrorsTests(SynchronousTestCase):
    """What operators see of the log on a page."""

    def setUp(self) -> None:
        """Make a logger that is watched."""
        self.errors = logs.LastErrors(most=3)
        self.log = Logger("smsbridge.gateways.goip.gateway.GoipGateway", observer=self.errors)

    def test_provides_the_interface(self) -> None:
        """Twisted's publisher takes it."""
        verifyObject(ILogObserver, self.errors)

    def test_keeps_warnings_and_errors_alone(self) -> None:
        """The last one first, with time, level, place and sentence."""
        self.log.info("all is well")
        self.log.debug("all is very well")
        self.log.warn("line {line} is down", line="2001")
        self.log.error("the box does not answer\nat all")

        error, warning = self.errors.last()

        self.assertEqual(
            (warning.level, warning.area, warning.text, warning.times),
            ("warn", "gateways.goip.gateway", "line 2001 is down", 1),
        )
        self.assertEqual((error.level, error.text), ("error", "the box does not answer\\nat all"))
        self.assertGreater(error.at_ms, 1_700_000_000_000)

    def test_what_comes_again_is_counted(self) -> None:
        """It moves to the front and pushes nothing out."""
        self.log.warn("first")
        self.log.warn("second")
        for _ in range(10):
            self.log.warn("first")

        self.assertEqual(
            [(each.text, each.times) for each in self.errors.last()], [("first", 11), ("second", 1)]
        )

    def test_keeps_a_bounded_amount(self) -> None:
        """Few events, none of them endless."""
        for number in range(10):
            self.log.warn("{number} {words}", number=number, words="x" * 2000)

        found = self.errors.last()

        self.assertEqual([each.text[0] for each in found], ["9", "8", "7"])
        self.assertEqual({len(each.text) for each in found}, {1000})

    def test_bugs_are_named_without_their_tracebacks(self) -> None:
        """The way to them stands in the log."""
        self.log.failure("it broke", failure=failure())

        (found,) = self.errors.last()

        self.assertEqual(
            (found.level, found.text), ("critical", "it broke: ValueError: broken\\nin two lines")
        )

    def test_an_error_without_words_is_kept(self) -> None:
        """Even one whose own words fail."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        self.log.failure("it broke", failure=Failure(Mute()))

        self.assertIn("no words: RuntimeError", self.errors.last()[0].text)
