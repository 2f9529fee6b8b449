"""What the configuration reader takes, and what it says about the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge import gateways
from smsbridge.config import Config, ConfigErrors, HttpSettings, Settings, load
from smsbridge.core.directory import Line, Person
from smsbridge.interfaces import IGatewayFactory
from smsbridge.keys import declared
from tests import kinds

GOOD = r"""
[smsbridge]
state = var                         ; relative to this file
country = ee
retention_days = 30
notify_after = 5m

[http]
listen = tcp:8080:interface=127.0.0.1

[gateway:box]
kind = box
listen = udp:44444

[line:2001]
gateway = box
ID = goippy_2001                    ; keys in any case
password = 100%sure#1;x
number = 5550 0001
allow = ^\+372

[line:2002]
gateway = box
id = goippy_2002
password = obviously fake

[gateway:chat]
kind = chat
domain = sms.example.org
secret = obviously-fake

# People.
[person:John]
xmpp = John@Example.com
       john@example.net
dect = 101
lines = 2002 2001                   ; the first is the default,
                                    ; the other is for work
receive = xmpp
"""


KEYS = [
    each.name
    for section_class in (Settings, HttpSettings, Person, kinds.BoxConfig, kinds.BoxLine)
    for each in declared(section_class)
]


class ConfigTestCase(SynchronousTestCase):
    """Writes configurations into a folder and loads them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.main = self.folder / "smsbridge.ini"

    def write(self, text: str, name: str = "smsbridge.ini", mode: int = 0o600) -> Path:
        """Write one file below the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def load(self, text: str | None = None) -> Config:
        """Load the main file, after writing it if a text is given."""
        if text is not None:
            self.write(text)
        return load(self.main, kinds=kinds.load)

    def sentences(self, text: str | None = None) -> list[str]:
        """Return what is wrong, with the folder's name left out."""
        errors = self.assertRaises(ConfigErrors, self.load, text).errors
        return [str(error).replace(f"{self.folder}/", "") for error in errors]


class LoadTests(ConfigTestCase):
    """A configuration without a fault."""

    def test_reads_every_section_into_its_value(self) -> None:
        """Settings, gateways, lines and persons come out converted, under their labels."""
        config = self.load(GOOD)

        self.assertEqual(config.settings.state, self.folder.absolute() / "var")
        self.assertEqual(config.settings.country, "EE")
        self.assertEqual(config.settings.notify_after, 300.0)
        self.assertEqual(config.settings.database, "sqlite")
        assert config.http is not None
        self.assertEqual(config.http.listen, ("tcp:8080:interface=127.0.0.1",))
        self.assertEqual(list(config.gateways), ["box", "chat"])
        kind, chat = config.gateways["chat"]
        self.assertEqual((kind, chat.domain), ("chat", "sms.example.org"))
        line = config.lines["2001"]
        self.assertEqual((line.label, line.gateway, line.number), ("2001", "box", "+37255500001"))
        assert line.allow is not None
        self.assertTrue(line.allow.search("+37255500002"))

    def test_directory_knows_lines_persons_and_who_serves(self) -> None:
        """The directory for the core is made from the same values."""
        directory = self.load(GOOD).directory

        person = directory.person_at("xmpp", "john@example.com")
        assert person is not None
        self.assertEqual(person.label, "John")
        self.assertEqual(person.lines, ("2002", "2001"))
        self.assertIs(directory.person_at("xmpp", "john@example.net"), person)
        self.assertEqual(directory.serving, {"xmpp": "chat"})
        self.assertEqual(directory.country, "EE")
        self.assertEqual(directory.persons_of_line["2001"], (person,))

    def test_password_may_have_percent_hash_and_semicolon(self) -> None:
        """Nothing is interpolated, and only a semicolon after a blank begins a comment."""
        line = self.load(GOOD).lines["2001"]

        assert isinstance(line, kinds.BoxLine)
        self.assertEqual(line.password, "100%sure#1;x")

    def test_secrets_are_not_in_the_repr(self) -> None:
        """A configuration that is printed shows no password."""
        self.assertNotIn("100%sure", repr(self.load(GOOD)))

    def test_places_name_file_and_lines(self) -> None:
        """Whoever edits the files learns where each section and key stands."""
        place = self.load(GOOD).places["line:2001"]

        lines = GOOD.splitlines()
        self.assertEqual(place.file, self.main)
        self.assertEqual(lines[place.line - 1], "[line:2001]")
        self.assertTrue(lines[place.keys["id"] - 1].startswith("ID ="))

    def test_without_http_there_is_none(self) -> None:
        """The section [http] is optional, and so is every other one."""
        config = self.load("")

        self.assertIsNone(config.http)
        self.assertEqual(str(config.settings.state), "/var/lib/smsbridge")
        self.assertTrue(config.settings.node)

    def test_byte_order_mark_and_crlf_are_taken(self) -> None:
        """A file saved by an editor of another system is read."""
        self.main.write_bytes(b"\xef\xbb\xbf[smsbridge]\r\ncountry = GB\r\n")

        self.assertEqual(self.load().settings.country, "GB")

    def test_empty_optional_key_is_an_absent_one(self) -> None:
        """A key left empty keeps its default."""
        config = self.load("[smsbridge]\nretention_days =\ncountry =\n")

        self.assertEqual((config.settings.retention_days, config.settings.country), (0, "US"))


class IncludeTests(ConfigTestCase):
    """Configurations of several files."""

    MAIN = "[smsbridge]\ninclude = conf.d/*.ini\n[gateway:box]\nkind = box\nlisten = udp:1\n"

    def test_included_files_are_read_in_order_of_name(self) -> None:
        """A pattern relative to the main file finds files, sorted, hidden ones left out."""
        for name in ("b", "a", ".hidden"):
            self.write(
                f"[line:{name.strip('.')}]\ngateway = box\nid = {name}\npassword = x\n",
                f"conf.d/{name}.ini",
            )

        config = self.load(self.MAIN)

        self.assertEqual(list(config.lines), ["a", "b"])
        self.assertEqual([path.name for path in config.files], ["smsbridge.ini", "a.ini", "b.ini"])

    def test_error_names_the_included_file(self) -> None:
        """A fault names file, section, key, remedy and line."""
        self.write("[line:office]\ngateway = box\nid = a\npasword = x\n", "conf.d/office.ini")

        found = self.sentences(self.MAIN)

        self.assertEqual(len(found), 2)
        self.assertTrue(
            found[0].startswith(
                "conf.d/office.ini: [line:office] unknown key 'pasword'; did you mean 'password'? "
                "Known keys: gateway, number,"
            ),
            found[0],
        )
        self.assertTrue(found[0].endswith("(line 4)"))
        self.assertIn("key 'password' (or 'password_file') is missing", found[1])

    def test_same_section_in_two_files_names_both(self) -> None:
        """A section may stand once in all files together."""
        for name in ("a", "b"):
            self.write("[person:john]\n", f"conf.d/{name}.ini")

        self.assertEqual(
            self.sentences(self.MAIN),
            [
                "conf.d/b.ini: [person:john] the section is there twice; the first one is in "
                "conf.d/a.ini, line 1 (line 1)"
            ],
        )

    def test_missing_file_without_a_wildcard_is_an_error(self) -> None:
        """A pattern may find nothing, a plain name may not."""
        self.load("[smsbridge]\ninclude = none.d/*.ini\n")

        self.assertEqual(
            self.sentences("[smsbridge]\ninclude = none.d/*.ini lines.ini\n"),
            ["smsbridge.ini: [smsbridge] there is no file 'lines.ini' to include (line 2)"],
        )

    def test_folder_that_cannot_be_read_is_an_error(self) -> None:
        """A folder out of reach is not an empty one: its lines would be taken for removed."""
        self.write("", "conf.d")

        self.assertIn("the folder conf.d cannot be read: Not a dir", self.sentences(self.MAIN)[0])

    def test_pipes_are_not_waited_for(self) -> None:
        """A pipe in the place of a file would stop the daemon at a reload."""
        (self.folder / "conf.d").mkdir()
        os.mkfifo(self.folder / "conf.d" / "a.ini")
        text = "[gateway:chat]\nkind = chat\ndomain = d\nsecret_file = conf.d/a.ini\n"

        found = self.sentences(self.MAIN + text)

        self.assertEqual(len([each for each in found if "is a pipe and not a file" in each]), 2)

    def test_includes_are_followed_when_another_key_is_wrong(self) -> None:
        """All faults are reported at once, those of included files too."""
        self.write("[person:john]\nxmp = john@example.com\n", "conf.d/john.ini")

        found = self.sentences(self.MAIN + "[smsbrige]\n[http]\nlisten = 80\n")

        self.assertEqual(len(found), 3)

    def test_replaced_text_is_read_in_place_of_the_file(self) -> None:
        """A change can be tried before it is made: new text, new file, removed file."""
        old = self.write("[person:john]\n", "conf.d/john.ini")
        gone = self.write("[person:jack]\n", "conf.d/jack.ini")
        new = self.folder / "conf.d" / "mary.ini"
        self.write(self.MAIN)

        config = load(
            self.main,
            kinds=kinds.load,
            replaced={
                old.resolve(): "[person:joan]\n",
                gone.resolve(): None,
                new.resolve(): "[person:mary]\n",
                (self.folder / "elsewhere.ini").resolve(): "[person:nobody]\n",
            },
        )

        self.assertEqual(list(config.persons), ["joan", "mary"])
        self.assertFalse(new.exists())


class SyntaxTests(ConfigTestCase):
    """What stands in the file before it has a meaning."""

    def test_missing_file_says_how_to_get_one(self) -> None:
        """The first start without a configuration is told the next step."""
        self.assertEqual(
            self.sentences(),
            [
                "smsbridge.ini: there is no such file; 'smsbridge sample-config' prints one to "
                "start from"
            ],
        )

    def test_lines_without_meaning_are_all_named(self) -> None:
        """Lines that are neither header nor key are named by number and not quoted."""
        found = self.sentences("[smsbridge]\nhunter2\n[http] x\n")

        self.assertEqual([each.rpartition(" (")[2] for each in found], ["line 2)", "line 3)"])
        self.assertNotIn("hunter2", "".join(found))

    def test_key_before_any_section(self) -> None:
        """The file must begin with a section."""
        self.assertEqual(
            self.sentences("country = US\n"),
            ["smsbridge.ini: a [section] must come before the first key (line 1)"],
        )

    def test_not_utf8(self) -> None:
        """A file in another encoding is named with the line of the first bad byte."""
        self.main.write_bytes(b"[smsbridge]\n; caf\xe9\n")

        self.assertEqual(
            self.sentences(),
            ["smsbridge.ini: the file is not in UTF-8; save it in that encoding (line 2)"],
        )

    def test_duplicates_in_one_file(self) -> None:
        """A key or section that is there twice names the line of the first."""
        self.assertEqual(
            self.sentences("[smsbridge]\nlog = text\nLog = json\n[http]\n[http]\n"),
            [
                "smsbridge.ini: [http] the section is there twice; the first one is in "
                "smsbridge.ini, line 4 (line 5)",
                "smsbridge.ini: [smsbridge] key 'log' is there twice; line 2 has the first "
                "(line 3)",
            ],
        )

    def test_unknown_sections_get_a_suggestion(self) -> None:
        """A misspelled section is answered with what was probably meant."""
        for header, hint in (
            ("gatway:box", "did you mean [gateway:box]?"),
            ("gateway box", "did you mean [gateway:box]?"),
            ("gateway", "write [gateway:NAME], for example [gateway:box]"),
            ("http:8080", "write [http] without a name"),
            ("default", "known sections: [smsbridge], [http], [gateway:NAME]"),
            ("quux", "known sections: [smsbridge], [http], [gateway:NAME]"),
        ):
            found = self.sentences(f"[{header}]\n")
            self.assertEqual(len(found), 1)
            self.assertIn(f"[{header}] unknown section; {hint}", found[0])

    def test_labels_have_a_charset(self) -> None:
        """Names that would break addresses or paths are refused; lines are lower case."""
        self.write(GOOD)
        for header, wanted in (
            ("person:", "'' cannot be a name"),
            ("person:john smith", "'john smith' cannot be a name"),
            ("gateway:a/b", "'a/b' cannot be a name"),
            ("line:Work", "write [line:work]"),
            ("line:a%b", "'a%b' cannot be a name"),
        ):
            keys = "kind = box\nlisten = udp:2\n" if "gateway" in header else ""
            keys = "gateway = box\nid = i\npassword = p\n" if "line" in header else keys
            found = self.sentences(f"{GOOD}\n[{header}]\n{keys}")
            self.assertEqual(len(found), 1, found)
            self.assertIn(wanted, found[0])

    def test_zero_bytes_are_no_text(self) -> None:
        """A file with a zero byte in it, perhaps after a crash, is named with the line."""
        self.assertEqual(
            self.sentences("[smsbridge]\nstate = \0\n"),
            ["smsbridge.ini: this is not a text file (line 2)"],
        )

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(GOOD.splitlines()),
                st.sampled_from(
                    ["[gateway:chat]", "secret_file = ~x", "include = **/[ ../* /", "listen = tcp:"]
                ),
                st.text(max_size=30),
                st.builds("{} = {}".format, st.sampled_from(KEYS), st.text(max_size=20)),
            )
        )
    )
    def test_any_text_is_a_configuration_or_has_faults(self, lines: list[str]) -> None:
        """Whatever stands in the file, the outcome is a value or the list of faults."""
        text = "\n".join(lines).encode("utf-8", "surrogatepass")
        self.main.write_bytes(text)
        try:
            self.load()
        except ConfigErrors as e:
            self.assertTrue(e.errors)

    def test_all_faults_are_reported(self) -> None:
        """One run names everything that is wrong in every section."""
        found = self.sentences(
            "[smsbridge]\nlog = xml\nthreads = many\n[http]\npublic_url = sms\n"
            "[gateway:a]\n[gateway:b]\nkind = nothing\n[line:1]\n[person:p]\nrate = fast\n"
        )

        self.assertEqual(len(found), 7, found)


class SecretTests(ConfigTestCase):
    """Secrets in files, placeholders, and who can read them."""

    def chat(self, keys: str) -> str:
        """Return a configuration with one gateway that has a secret."""
        return f"[gateway:chat]\nkind = chat\ndomain = sms.example.org\n{keys}\n"

    def test_secret_from_a_file_loses_its_line_end(self) -> None:
        """NAME_file is relative to the ini file that says so; blanks are kept."""
        self.write("fake secret \r\n", "chat.secret")

        config = self.load(self.chat("secret_file = chat.secret"))

        self.assertEqual(config.gateways["chat"].config.secret, "fake secret ")

    def test_both_are_an_error(self) -> None:
        """A secret in the file and in another file is ambiguous."""
        self.write("x", "chat.secret")

        self.assertIn(
            "both 'secret' and 'secret_file' are given; keep one of them",
            self.sentences(self.chat("secret = x\nsecret_file = chat.secret"))[0],
        )

    def test_unreadable_file_is_named(self) -> None:
        """The sentence has the path and the system's reason."""
        found = self.sentences(self.chat("secret_file = none.secret"))

        self.assertEqual(len(found), 1)
        self.assertIn("cannot read none.secret: No such file or directory", found[0])
        self.assertIn("Is a directory", self.sentences(self.chat("secret_file = ."))[0])
        self.assertIn("a path is wanted", self.sentences(self.chat("secret_file ="))[0])

    def test_empty_file_is_an_empty_secret(self) -> None:
        """A required secret cannot come from an empty file."""
        self.write("\n", "chat.secret")

        self.assertIn(
            "key 'secret_file' is empty", self.sentences(self.chat("secret_file = chat.secret"))[0]
        )

    def test_file_is_for_secrets_alone(self) -> None:
        """Other keys have no such form."""
        self.assertIn("unknown key 'domain_file'", self.sentences(self.chat("domain_file = x"))[0])

    def test_placeholder_is_refused(self) -> None:
        """A secret that was copied from the sample is no secret."""
        found = self.sentences(self.chat("secret = change-me"))

        self.assertIn("still has the placeholder of the sample", found[0])

    def test_world_readable_secrets_are_warned_about(self) -> None:
        """A file that everybody can read is named once, with the remedy."""
        self.write(self.chat("secret = fake"), mode=0o644)

        warnings = self.load().warnings

        self.assertEqual(len(warnings), 1)
        self.assertIn("run: chmod o-r", warnings[0])
        os.chmod(self.main, 0o640)
        self.assertEqual(self.load().warnings, ())

    def test_database_without_a_password_is_no_secret(self) -> None:
        """The plain word sqlite may be read by everybody; an address with a password may not."""
        self.write("[smsbridge]\ndatabase = sqlite\n", mode=0o644)
        self.assertEqual(self.load().warnings, ())

        self.write("[smsbridge]\ndatabase = mysql://u:fake@127.0.0.1/sms\n", mode=0o644)
        self.assertEqual(len(self.load().warnings), 1)

    def test_wrong_database_is_not_repeated(self) -> None:
        """The sentence about a wrong address does not show the password in it."""
        found = self.sentences("[smsbridge]\ndatabase = oracle://u:hunter2@h/d\n")

        self.assertIn("this is not a database", found[0])
        self.assertNotIn("hunter2", found[0])


class CrossCheckTests(ConfigTestCase):
    """What only all sections together show."""

    def fault(self, more: str) -> str:
        """Return the single fault of the good configuration with something more."""
        found = self.sentences(GOOD + more)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def line(self, keys: str, label: str = "2003") -> str:
        """Return one more line."""
        return f"\n[line:{label}]\nid = {label}\npassword = p\n{keys}\n"

    def test_line_names_a_gateway_that_exists(self) -> None:
        """A wrong gateway gets a suggestion or the list."""
        self.assertIn(
            "there is no [gateway:boxx]; did you mean 'box'?",
            self.fault(self.line("gateway = boxx")),
        )
        self.assertIn("known gateways: box, chat", self.fault(self.line("gateway = zzz")))
        self.assertIn("key 'gateway' is missing", self.fault(self.line("")))

    def test_kind_without_lines_has_none(self) -> None:
        """A line cannot be on a gateway to people."""
        self.assertIn(
            "is of kind 'chat', which has no lines", self.fault(self.line("gateway = chat"))
        )

    def test_number_must_be_one(self) -> None:
        """A wrong number is answered with an example of the country."""
        found = self.fault(self.line("gateway = box\nnumber = 12"))

        self.assertIn("key 'number': '12' ", found)
        self.assertIn("write it like +372", found)

    def test_two_lines_with_one_number(self) -> None:
        """The number of a line belongs to it alone, however it is written."""
        self.assertIn(
            "the number +37255500001 is that of [line:2001] already",
            self.fault(self.line("gateway = box\nnumber = +372 555 00001")),
        )

    def test_person_names_lines_that_exist(self) -> None:
        """A wrong line gets a suggestion."""
        self.assertIn(
            "there is no [line:20011]; did you mean '2001'?",
            self.fault("\n[person:x]\nlines = 20011\n"),
        )

    def test_receive_names_kinds_that_the_person_has(self) -> None:
        """Receiving at an address that is not set would lose texts."""
        self.assertIn(
            "key 'receive' names 'sip', but the key 'sip' is not set",
            self.fault("\n[person:x]\ndect = 1\nreceive = dect sip\n"),
        )
        self.assertIn(
            "'mail' is none of: xmpp, sip, dect, webhook",
            self.fault("\n[person:x]\nreceive = mail\n"),
        )

    def test_an_address_belongs_to_one_person(self) -> None:
        """Two persons cannot have one JID, in any spelling."""
        self.assertIn(
            "xmpp address 'john@example.com' is that of [person:John] already",
            self.fault("\n[person:x]\nxmpp = JOHN@example.COM\n"),
        )

    def test_the_same_word_twice(self) -> None:
        """A line or address that a person has twice is a slip."""
        self.assertIn(
            "key 'lines' has '2001' twice", self.fault("\n[person:x]\nlines = 2001 2001\n")
        )

    def test_one_listener_for_two_gateways(self) -> None:
        """A port is taken once; another protocol, address or port 0 is another place."""
        second = "\n[gateway:box2]\nkind = box\nlisten = {}\n"
        self.assertIn(
            "listens on 'udp:44444:interface=127.0.0.1', which is taken by 'udp:44444' of "
            "[gateway:box]",
            self.fault(second.format("udp:44444:interface=127.0.0.1")),
        )
        for free in ("udp:8080", "udp:0", "udp:44445"):
            self.load(GOOD + second.format(free))

    def test_values_that_contradict_each_other(self) -> None:
        """What a section's class says about its keys together is given its place."""
        found = self.fault("\n[gateway:box2]\nkind = box\nlisten = udp:2\nhigh = 3\nlow = 7\n")

        line = len((GOOD + "\n[gateway:box2]\nkind = box\nlisten = udp:2\nhigh = 3\n").splitlines())
        self.assertEqual(
            found, f"smsbridge.ini: [gateway:box2] key 'low' is above 'high' (line {line + 1})"
        )

    def test_kind_may_check_its_lines_together(self) -> None:
        """What only the kind knows of its lines is reported at the line it names."""
        more = "\n[line:2003]\ngateway = box\npassword = p\nid = goippy_2001\n"

        self.assertEqual(
            self.fault(more),
            "smsbridge.ini: [line:2003] the id 'goippy_2001' is there twice "
            f"(line {len((GOOD + more).splitlines())})",
        )

    def test_wrong_kind_is_said_once(self) -> None:
        """Lines on a gateway whose kind is wrong are not reported as well."""
        text = "\n[gateway:x]\nkind = bocks\n" + self.line("gateway = x\nwhatever = 1")

        self.assertIn("unknown kind 'bocks'", self.fault(text))

    def test_what_is_hardly_meant_is_a_warning(self) -> None:
        """Lines that nobody has, gateways without lines and addresses that nobody serves."""
        warnings = self.load(
            GOOD
            + self.line("gateway = box")
            + "\n[gateway:idle]\nkind = box\nlisten = udp:9\n"
            + "\n[gateway:chat2]\nkind = chat\ndomain = d\nsecret = fake\n"
            + "\n[person:x]\nsip = x\n"
        ).warnings

        self.assertEqual(
            warnings,
            (
                "[gateway:idle] has no [line:...] yet.",
                "[gateway:chat2] texts to xmpp addresses go through [gateway:chat], which comes "
                "first.",
                "No gateway delivers to sip addresses yet; such are those of x.",
                "Nobody gets the texts that arrive on 2003; they are only kept in the history.",
            ),
        )

    def test_warnings_about_many_are_short(self) -> None:
        """A thousand lines without a reader are one sentence."""
        many = "".join(self.line("gateway = box", f"l{number}") for number in range(1000))

        (warning,) = self.load(GOOD + many).warnings

        self.assertIn("arrive on l0, l1, l2, l3, l4 and 995 more;", warning)

    def test_fallback_person_gets_what_nobody_has(self) -> None:
        """With a fallback no line is without a reader."""
        config = self.load(GOOD + self.line("gateway = box") + "\n[person:x]\nfallback = yes\n")

        self.assertEqual(config.warnings, ())


class DiffTests(ConfigTestCase):
    """What a reload is told to do."""

    def diff(self, edits: Mapping[str, str]) -> tuple[Config, Config]:
        """Load the good configuration, and again after replacing some texts."""
        old = self.load(GOOD)
        text = GOOD
        for before, after in edits.items():
            self.assertIn(before, text)
            text = text.replace(before, after)
        return old, self.load(text)

    def test_nothing_changed(self) -> None:
        """Comments and order make no difference."""
        difference = Config.diff(*self.diff({"# People.": "# Persons"}))

        self.assertFalse(difference)
        self.assertEqual(difference.gateways.unchanged, {"box", "chat"})
        self.assertEqual(difference.sentences(), [])

    def test_each_sort_is_told_apart(self) -> None:
        """Changed, added and removed sections are named, and the gateways of changed lines."""
        difference = Config.diff(
            *self.diff(
                {
                    "udp:44444": "udp:44444\n[gateway:new]\nkind = box\nlisten = udp:1",
                    "id = goippy_2002": "id = other",
                    "domain = sms.example.org": "domain = sms2.example.org",
                    "[person:John]": "[person:jane]",
                    "retention_days = 30": "retention_days = 31",
                    "tcp:8080": "tcp:8081",
                }
            )
        )

        self.assertEqual(difference.gateways.added, {"new"})
        self.assertEqual(difference.gateways.changed, {"chat"})
        self.assertEqual(difference.lines.changed, {"2002"})
        self.assertEqual(difference.rebuilt_lines, {"box"})
        self.assertEqual(difference.persons.added, {"jane"})
        self.assertEqual(difference.persons.removed, {"John"})
        self.assertEqual(difference.settings, {"retention_days"})
        self.assertTrue(difference.http)
        self.assertIn("[gateway:chat] changed", difference.sentences())
        self.assertIn("[person:John] removed", difference.sentences())

    def test_another_kind_is_another_gateway(self) -> None:
        """A gateway of the same name but another kind is removed and added."""
        old = self.load("[gateway:x]\nkind = box\nlisten = udp:1\n")
        new = self.load("[gateway:x]\nkind = chat\ndomain = d\nsecret = fake\n")

        changes = Config.diff(old, new).gateways

        self.assertEqual((changes.added, changes.removed), ({"x"}, {"x"}))
        self.assertEqual(changes.changed, frozenset())


class KindTests(SynchronousTestCase):
    """The folders of the real kinds."""

    def folder(self, name: str, text: str) -> None:
        """Make a folder of a kind, found for as long as the test runs."""
        path = Path(self.mktemp())
        (path / name).mkdir(parents=True)
        (path / name / "__init__.py").write_text(text)
        self.patch(gateways, "__path__", [*gateways.__path__, str(path)])
        self.addCleanup(sys.modules.pop, f"smsbridge.gateways.{name}", None)

    def test_kind_without_a_library_names_it(self) -> None:
        """A library that only this kind needs is asked for by name."""
        self.folder("radio", "import nosuchlibrary.waves\n")

        error = self.assertRaises(gateways.KindError, gateways.load, "radio")

        self.assertEqual(
            str(error),
            "kind 'radio' needs the Python package 'nosuchlibrary', which is not installed.",
        )

    def test_our_own_mistake_is_not_hidden(self) -> None:
        """A module of ours that is missing is a bug and not the operator's business."""
        self.folder("wrong", "import smsbridge.nosuchmodule\n")

        self.assertRaises(ModuleNotFoundError, gateways.load, "wrong")

    def test_folder_without_a_factory(self) -> None:
        """A folder that is no kind yet says so."""
        self.folder("empty", "")

        error = self.assertRaises(gateways.KindError, gateways.load, "empty")
        self.assertIn("its folder has no FACTORY", str(error))

    def test_real_kinds_load(self) -> None:
        """What can be configured has a verified factory of that name."""
        self.assertEqual(gateways.load("goip").kind, "goip")

    def test_fakes_are_factories(self) -> None:
        """The made-up kinds of these tests provide what the real ones must."""
        for factory in kinds.FACTORIES.values():
            verifyObject(IGatewayFactory, factory)
            self.assertTrue(factory.line_class is None or issubclass(factory.line_class, Line))

    def test_unknown_kind_lists_the_folders(self) -> None:
        """A wrong kind is answered with the nearest folder and with all."""
        error = self.assertRaises(gateways.KindError, gateways.load, "goipp")

        self.assertIn("unknown kind 'goipp'; did you mean 'goip'? Known kinds:", str(error))
        self.assertIn("goip", gateways.kinds())

    def test_kind_is_no_path(self) -> None:
        """What is imported is one of the folders and nothing else."""
        for kind in ("os", "..core", "goip.codec", ""):
            self.assertRaises(gateways.KindError, gateways.load, kind)
