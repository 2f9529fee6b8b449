"""Commands that edit the ini files change what they are meant to, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.confd import Change, EditError, Editor
from smsbridge.config import ConfigErrors
from tests import kinds

MAIN = """\
; The bridge of the office.
[smsbridge]
include = conf.d/*.ini

[gateway:box]
kind = box
listen = udp:44444

# The first card.
[line:one]
gateway = box
id = box1
password = obviously-fake   ; not a real one
enabled = yes               ; since the move

# The second card.
[line:two]
gateway = box
id = box2
password = obviously-fake

[person:john]
lines = one two             ; one is the default
[person:mary]
lines = two
        one                 ; last
"""


class ConfdTestCase(SynchronousTestCase):
    """A configuration in a folder, and an editor for it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "conf.d").mkdir(parents=True)
        self.main = self.folder / "smsbridge.ini"
        self.write(MAIN)

    def write(self, text: str) -> None:
        """Write the main file as an operator would."""
        self.main.write_bytes(text.encode())
        self.main.chmod(0o640)

    def editor(self) -> Editor:
        """Read the configuration as it is now."""
        return Editor(self.main, kinds=kinds.load)

    def apply(self, editor: Editor, change: Change) -> str:
        """Write a change; return the main file's text."""
        editor.write(change)
        return self.main.read_text()

    def add(self, label: str = "three", **more: str) -> str:
        """Add a line for john and write it."""
        editor = self.editor()
        values = {"id": "box3", "password": "fake", **more}
        return self.apply(editor, editor.add_line(label, "box", values, ["john"]))


class AddTests(ConfdTestCase):
    """A line in a file of its own."""

    def test_new_file_has_the_line_and_the_person_gets_it(self) -> None:
        """The line stands in conf.d, and behind the person's other lines."""
        text = self.add(number="+12025550103")

        self.assertEqual(
            (self.folder / "conf.d" / "line-three.ini").read_text(),
            "[line:three]\ngateway = box\nid = box3\npassword = fake\nnumber = +12025550103\n",
        )
        self.assertEqual(
            text,
            MAIN.replace("one two             ; one", "one two three             ; one"),
        )
        self.assertEqual(self.editor().config.persons["john"].lines, ("one", "two", "three"))

    def test_person_with_lines_over_several_rows(self) -> None:
        """The new line comes last, so that the default stays the default."""
        editor = self.editor()
        change = editor.add_line("three", "box", {"id": "3", "password": "p"}, ["mary", "john"])

        self.assertEqual(change.result.persons["mary"].lines, ("two", "one", "three"))
        self.assertIn("        one three                 ; last\n", self.apply(editor, change))

    def test_person_without_lines(self) -> None:
        """A person who had no line gets the key."""
        self.write(MAIN + "[person:new]")
        editor = self.editor()

        text = self.apply(
            editor, editor.add_line("three", "box", {"id": "3", "password": "p"}, ["new"])
        )

        self.assertTrue(text.endswith("[person:new]\nlines = three\n"))

    def test_new_file_has_the_mode_of_the_main_file(self) -> None:
        """The daemon can read what it could read before, and nobody else can."""
        self.add()

        mode = (self.folder / "conf.d" / "line-three.ini").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o640)

    def test_nothing_is_written_when_it_would_be_wrong(self) -> None:
        """The whole configuration is checked with the change; its files stay as they were."""
        editor = self.editor()

        error = self.assertRaises(
            ConfigErrors, editor.add_line, "three", "box", {"id": "box3", "pasword": "x"}, ["john"]
        )

        self.assertIn("line-three.ini: [line:three] unknown key 'pasword'", str(error))
        self.assertEqual(self.main.read_text(), MAIN)
        self.assertEqual(os.listdir(self.folder / "conf.d"), [])

    def test_refusals_are_sentences(self) -> None:
        """A name that is taken or unknown, a value that cannot be written down."""
        for label, gateway, values, persons, wanted in (
            ("one", "box", {}, [], "There is a line 'one' already"),
            ("../x", "box", {}, [], "cannot be a name"),
            ("three", "bx", {}, [], "There is no gateway 'bx' with lines; there are: box."),
            ("three", "box", {}, ["jo"], "There is no person 'jo'; known persons: john, mary."),
            ("three", "box", {"password": "a ;b"}, [], "see 'password_file'"),
            ("three", "box", {"password": "a\nid = x"}, [], "see 'password_file'"),
            ("three", "box", {"id = x\nid": "a"}, [], "is not the name of a key"),
            ("three", "box", {"gateway": "box"}, [], "not one of the keys to set"),
        ):
            error = self.assertRaises(
                EditError, self.editor().add_line, label, gateway, values, persons
            )
            self.assertIn(wanted, str(error))

    def test_upper_case_is_refused_by_the_configuration(self) -> None:
        """A name that the configuration refuses is refused before anything is written."""
        error = self.assertRaises(ConfigErrors, self.add, "Three")

        self.assertIn("write [line:three]", str(error))
        self.assertEqual(os.listdir(self.folder / "conf.d"), [])

    def test_without_an_include_there_is_no_place(self) -> None:
        """The operator is told which key is missing, or which folder."""
        self.write(MAIN.replace("include = conf.d/*.ini", "include = *.conf"))
        self.assertIn("write 'include = ", str(self.assertRaises(EditError, self.add)))

        self.write(MAIN.replace("conf.d/*.ini", "more.d/*.ini"))
        self.assertIn("does not exist; create it", str(self.assertRaises(EditError, self.add)))

    def test_folder_may_be_elsewhere(self) -> None:
        """The folder of new files may be given from the root or by way of other folders."""
        (self.folder / "sub").mkdir()
        self.main = self.folder / "sub" / "smsbridge.ini"
        folder = self.folder.absolute() / "conf.d"
        for number, include in enumerate(("../conf.d/*.ini", f"{folder}/*.ini")):
            self.write(MAIN.replace("conf.d/*.ini", include))
            editor = self.editor()
            change = editor.add_line(f"new{number}", "box", {"id": f"{number}", "password": "p"})

            self.assertIn(f"new{number}", change.result.lines)
            editor.write(change)
            self.assertIn(f"new{number}", self.editor().config.lines)

    def test_file_that_is_in_the_way(self) -> None:
        """A file that somebody left is not overwritten."""
        path = self.folder / "conf.d" / "line-three.ini"
        path.write_text("# mine\n")

        self.assertIn("exists already", str(self.assertRaises(EditError, self.add)))
        self.assertEqual(path.read_text(), "# mine\n")


class RemoveTests(ConfdTestCase):
    """A line that goes away."""

    def remove(self, label: str) -> str:
        """Remove a line and return the main file's text."""
        editor = self.editor()
        return self.apply(editor, editor.remove_line(label))

    def test_what_was_added_is_gone(self) -> None:
        """Adding and removing leaves the configuration as it was, without the file."""
        self.add()
        text = self.remove("three")

        self.assertEqual(text, MAIN)
        self.assertEqual(os.listdir(self.folder / "conf.d"), [])

    def test_section_goes_with_its_own_comments(self) -> None:
        """Comments right above the header go too; those of the next section stay."""
        text = self.remove("one")

        start, end = MAIN.index("# The first card."), MAIN.index("# The second card.")
        self.assertEqual(
            text,
            (MAIN[:start] + MAIN[end:])
            .replace("one two             ; one", "two             ; one")
            .replace("        one                 ; last", "                         ; last"),
        )

    def test_persons_keep_their_other_lines(self) -> None:
        """Nobody is left with a line that does not exist."""
        self.remove("two")

        persons = self.editor().config.persons
        self.assertEqual(persons["john"].lines, ("one",))
        self.assertEqual(persons["mary"].lines, ("one",))

    def test_file_with_more_in_it_stays(self) -> None:
        """A file that holds other things is kept, and so are its opening comments."""
        path = self.folder / "conf.d" / "line-x.ini"
        path.write_text("# Ours.\n[line:x]\ngateway = box\nid = x\npassword = p\n[person:p]\n")

        self.remove("x")

        self.assertEqual(path.read_text(), "# Ours.\n[person:p]\n")

    def test_unknown_line(self) -> None:
        """The operator sees the lines that there are."""
        error = self.assertRaises(EditError, self.editor().remove_line, "three")

        self.assertEqual(str(error), "There is no line 'three'; known lines: one, two.")


class SwitchTests(ConfdTestCase):
    """A line switched on or off."""

    def switch(self, label: str, enabled: bool) -> str:
        """Switch a line and return the main file's text."""
        editor = self.editor()
        return self.apply(editor, editor.switch_line(label, enabled))

    def test_key_that_is_there_changes_in_place(self) -> None:
        """The value alone changes; its comment stays in its column."""
        text = self.switch("one", False)

        self.assertEqual(text, MAIN.replace("= yes               ;", "= no                ;"))
        self.assertFalse(self.editor().config.lines["one"].enabled)
        self.assertEqual(self.switch("one", True), MAIN)

    def test_key_that_is_not_there_comes_below_the_header(self) -> None:
        """A missing key is added, once."""
        text = self.switch("two", False)
        self.assertEqual(text, MAIN.replace("[line:two]\n", "[line:two]\nenabled = no\n"))

        self.assertEqual(self.switch("two", False), text)

    def test_line_ends_and_byte_order_mark_are_kept(self) -> None:
        """A file of another system's editor stays one."""
        self.main.write_bytes(b"\xef\xbb\xbf" + MAIN.replace("\n", "\r\n").encode())

        self.switch("two", False)

        written = self.main.read_bytes()
        self.assertTrue(written.startswith(b"\xef\xbb\xbf;"))
        self.assertEqual(written.count(b"\r\n"), written.count(b"\n"))
        self.assertEqual(written.count(b"\n"), MAIN.count("\n") + 1)

    def test_odd_line_separators_do_not_shift_lines(self) -> None:
        """Characters that only some programs take for line ends are part of a line."""
        text = MAIN.replace("office.", "office.\u2028\x0b\x0c")
        self.write(text)

        self.assertEqual(self.switch("two", False).replace("enabled = no\n", ""), text)

    def test_link_stays_a_link(self) -> None:
        """Where the file is a symbolic link, its target is replaced."""
        real = self.folder / "real.ini"
        self.main.rename(real)
        self.main.symlink_to("real.ini")

        self.switch("two", False)

        self.assertTrue(self.main.is_symlink())
        self.assertIn("enabled = no", real.read_text())


class WriteTests(ConfdTestCase):
    """How files are replaced."""

    def test_mode_is_kept_and_nothing_is_left_behind(self) -> None:
        """The file has its mode afterwards, and there is no other file."""
        editor = self.editor()
        editor.write(editor.switch_line("one", False))

        self.assertEqual(stat.S_IMODE(self.main.stat().st_mode), 0o640)
        self.assertEqual(sorted(os.listdir(self.folder)), ["conf.d", "smsbridge.ini"])

    def test_file_that_changed_meanwhile_is_not_overwritten(self) -> None:
        """What an editor saved between check and writing is not lost."""
        editor = self.editor()
        change = editor.switch_line("one", False)
        self.write(MAIN + "# more\n")

        self.assertIn("changed meanwhile", str(self.assertRaises(EditError, editor.write, change)))
        self.assertEqual(self.main.read_text(), MAIN + "# more\n")

    def test_wrong_configuration_is_not_edited(self) -> None:
        """Faults that are there already come first."""
        self.write(MAIN + "[nothing]\n")

        self.assertRaises(ConfigErrors, self.editor)

    def test_an_order_that_is_right_in_between(self) -> None:
        """A new line is written before the person who has it; a removed one after."""
        editor = self.editor()
        added = list(editor.add_line("x", "box", {"id": "x", "password": "p"}, ["john"]).texts)
        self.assertEqual([path.name for path in added], ["line-x.ini", "smsbridge.ini"])

        self.add()
        removed = list(self.editor().remove_line("three").texts)
        self.assertEqual([path.name for path in removed], ["smsbridge.ini", "line-three.ini"])
