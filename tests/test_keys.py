"""How single keys are declared, read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge import keys
from smsbridge.config import HttpSettings, Settings
from smsbridge.core.directory import Line, Person
from smsbridge.keys import ConfigError, declared, key, shown

#: reader, text, value
READ: list[tuple[Any, str, Any]] = [
    (keys.boolean, "Yes", True),
    (keys.boolean, "off", False),
    (keys.words, " a\n b  c ", ("a", "b", "c")),
    (keys.whole(1, 9), " 7 ", 7),
    (keys.decimal(0, 10), "0.5", 0.5),
    (keys.one_of("text", "json"), "JSON", "json"),
    (keys.duration, "90", 90.0),
    (keys.duration, "1.5 h", 5400.0),
    (keys.duration, "250ms", 0.25),
    (keys.base_url, "https://sms.example.org/", "https://sms.example.org"),
    (keys.base_url, "http://127.0.0.1:8080/a/", "http://127.0.0.1:8080/a"),
    (keys.file_path, "var/x", Path("var/x")),
    (keys.endpoints(), "tcp:80 tls:443:privateKey=a.pem", ("tcp:80", "tls:443:privateKey=a.pem")),
    (keys.endpoints(), "unix:/run/x.sock", ("unix:/run/x.sock",)),
    (keys.endpoints("udp"), "udp:44444:interface=\\:\\:1", ("udp:44444:interface=\\:\\:1",)),
    (keys.endpoints("udp"), "udp:port=5", ("udp:port=5",)),
]

#: reader, text, what the sentence says
WRONG: list[tuple[Any, str, str]] = [
    (keys.boolean, "maybe", "neither 'yes' nor 'no'"),
    (keys.whole(1, 9), "many", "not a whole number"),
    (keys.whole(1, 9), "10", "10 is not between 1 and 9"),
    (keys.decimal(0, 10), "fast", "'fast' is not a number"),
    (keys.decimal(0, 10), "nan", "nan is not between 0 and 10"),
    (keys.one_of("text", "json"), "xml", "'xml' is none of: text, json"),
    (keys.duration, "soon", "write for example 90s, 15m, 48h or 7d"),
    (keys.duration, "-1s", "is not a time span"),
    (keys.pattern, "(", "is not a regular expression"),
    (keys.base_url, "sms.example.org", "such as https://sms.example.org"),
    (keys.base_url, "https://h/?q", "such as https://sms.example.org"),
    (keys.file_path, " ", "a path is wanted"),
    (keys.file_path, "~nosuchuser/x", "there is no home folder for '~nosuchuser/x'"),
    (keys.endpoints(), "", "a listening address is wanted"),
    (keys.endpoints(), "8080", "write tcp:PORT:interface=ADDRESS"),
    (keys.endpoints("udp"), "tcp:1", "write udp:PORT:interface=ADDRESS"),
    (keys.endpoints("udp", "tcp"), "tls:1", "(udp, tcp)"),
    (keys.endpoints("udp"), "udp:99999", "no port between 0 and 65535"),
    (keys.endpoints("udp"), "udp:", "no port between 0 and 65535"),
]


class ReaderTests(SynchronousTestCase):
    """The readers of values."""

    def test_values(self) -> None:
        """Each text is read as the value of the table."""
        for read, text, value in READ:
            self.assertEqual(read(text), value, text)

    def test_wrong_values_are_explained(self) -> None:
        """What cannot be read is a ValueError that says what is wanted."""
        for read, text, sentence in WRONG:
            error = self.assertRaises(ValueError, read, text)
            self.assertIn(sentence, str(error), text)

    @given(st.text(max_size=40))
    def test_only_value_errors(self, text: str) -> None:
        """Whatever stands in the file, a reader gives a value or a ValueError."""
        for read, _, _ in READ:
            try:
                read(text)
            except ValueError:
                pass

    def test_sizes(self) -> None:
        """Sizes are bytes, or thousands of them in the binary way; the case does not matter."""
        for text, size in (
            ("1000", 1000),
            ("600K", 614_400),
            ("64 MiB", 67_108_864),
            ("1.5g", 1_610_612_736),
            ("0", 0),
        ):
            self.assertEqual(keys.byte_size(text), size)
        for text in ("", "-1", "10X", "1 0", "ten"):
            with self.assertRaises(ValueError):
                keys.byte_size(text)

    def test_endpoint_parts(self) -> None:
        """An endpoint string is cut at colons that no backslash guards."""
        self.assertEqual(
            keys.split_endpoint("TCP:80:interface=\\:\\:1"), ("tcp", ["80"], {"interface": "::1"})
        )


class ShownTests(SynchronousTestCase):
    """Values as the file spells them."""

    def test_values(self) -> None:
        """Each value is written as an operator would write it."""
        for value, convert, text in (
            (True, keys.boolean, "yes"),
            (None, keys.pattern, ""),
            (("a", "b"), keys.words, "a b"),
            (172800.0, keys.duration, "48h"),
            (604800.0, keys.duration, "7d"),
            (92.0, keys.duration, "92s"),
            (0.25, keys.duration, "250ms"),
            (0.0, keys.duration, "0"),
            (90.0, lambda text: keys.duration(text), "90s"),  # a reader made around another
            (1.5, keys.decimal(0, 9), "1.5"),
            (600 * 1024, keys.byte_size, "600K"),
            (10 * 1024**3, keys.byte_size, "10G"),
            (1000, keys.byte_size, "1000"),
            (keys.pattern(r"^\+1"), keys.pattern, r"^\+1"),
        ):
            self.assertEqual(shown(value, convert), text)

    def test_defaults_are_read_back(self) -> None:
        """The default that a reference shows means the default when it is written into a file."""
        for section_class in (Settings, HttpSettings, Line, Person):
            for each in declared(section_class):
                if not each.required and (text := shown(each.default, each.convert)):
                    self.assertEqual(each.convert(text), each.default, each.name)

    def test_examples_can_be_read(self) -> None:
        """What the sample shows is right."""
        for section_class in (Settings, HttpSettings, Line, Person):
            for each in declared(section_class):
                if each.example:
                    each.convert(each.example)


class DeclaredTests(SynchronousTestCase):
    """What a section's class tells about its keys."""

    def test_names_defaults_and_secrets(self) -> None:
        """Fields made with `key` are keys, others are not; factories are called."""

        @frozen(kw_only=True)
        class Section:
            label: str
            first: str = key("The first.", name="class")
            second: str = key("The second.", default="x", secret=True)
            third: list[str] = key("The third.", default=Factory(list))
            fourth: int = field(default=4)

        found = declared(Section)

        self.assertEqual([each.name for each in found], ["class", "second", "third"])
        self.assertEqual([each.argument for each in found], ["first", "second", "third"])
        self.assertEqual([each.required for each in found], [True, False, False])
        self.assertEqual([each.secret for each in found], [False, True, False])
        self.assertEqual(found[2].default, [])

    def test_every_key_is_explained(self) -> None:
        """The words of a key are sentences."""
        for section_class in (Settings, HttpSettings, Line, Person):
            for each in declared(section_class):
                self.assertRegex(each.doc, r"^[A-Z].*\.$", each.name)

    def test_secret_is_not_in_the_repr(self) -> None:
        """A value that is printed does not show the password in it."""
        self.assertNotIn("hunter2", repr(Settings(database="mysql://u:hunter2@127.0.0.1/x")))


class ConfigErrorTests(SynchronousTestCase):
    """The one form of what is wrong."""

    def test_sentence_has_the_place_that_is_known(self) -> None:
        """File and section stand in front, the line behind; what is unknown is left out."""
        self.assertEqual(
            str(ConfigError("it is wrong", file="a.ini", section="http", key="listen", line=3)),
            "a.ini: [http] it is wrong (line 3)",
        )
        self.assertEqual(str(ConfigError("it is wrong", key="x")), "it is wrong")
