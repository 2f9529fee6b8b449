"""The sample configuration and the reference are made from the code, complete and up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smsbridge
from smsbridge import gateways, reference
from smsbridge.config import PLACEHOLDER, ConfigErrors, HttpSettings, Settings, load
from smsbridge.core.directory import Person
from smsbridge.keys import declared
from tests import kinds

ROOT = Path(smsbridge.__file__).parent.parent
GENERATOR = ROOT / "docs" / "generate_configuration.py"


class GeneratedTests(SynchronousTestCase):
    """The files in the repository that are made from the declarations."""

    def test_files_are_up_to_date(self) -> None:
        """Whoever changes a key writes these files anew."""
        for path, text in runpy.run_path(str(GENERATOR))["generated"]().items():
            self.assertEqual(
                path.read_text(encoding="utf-8"),
                text,
                f"{path.name} is out of date; run: python docs/generate_configuration.py",
            )

    def test_example_is_a_configuration(self) -> None:
        """The example can be loaded once its placeholders are filled in, and not before."""
        text = (ROOT / "conf" / "smsbridge.example.ini").read_text(encoding="utf-8")
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "smsbridge.ini"

        path.write_text(text.replace(f"= {PLACEHOLDER}", "= obviously-fake"), encoding="utf-8")
        config = load(path)

        usable = [kind for kind in gateways.kinds() if f"\nkind = {kind}\n" in text]
        self.assertEqual(sorted(kind for kind, _ in config.gateways.values()), usable)
        if f"\npassword = {PLACEHOLDER}" in text:
            path.write_text(text, encoding="utf-8")
            errors = self.assertRaises(ConfigErrors, load, path).errors
            self.assertEqual([e for e in errors if "placeholder" not in e.message], [])


class SampleTests(SynchronousTestCase):
    """The sample, made from made-up kinds."""

    def sample(self, *, all_keys: bool = False) -> str:
        """Return a sample with its secrets filled in, and with every key set if wished."""
        text = reference.sample(lambda: kinds.FACTORIES, kinds.load)
        text = text.replace(f"= {PLACEHOLDER}", "= obviously-fake")
        return re.sub(r"(?m)^;(\w+ =)", r"\1", text) if all_keys else text

    def write(self, text: str) -> Path:
        """Write a configuration."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return path

    def test_loads_as_it_is(self) -> None:
        """What is set in the sample is a whole configuration."""
        config = load(self.write(self.sample()), kinds=kinds.load)

        self.assertEqual(list(config.lines), ["box-1"])
        self.assertEqual(config.persons["john"].lines, ("box-1",))
        self.assertEqual(config.warnings[:-1], ())  # the last one is about the file's mode

    def test_loads_with_every_key_set(self) -> None:
        """What is shown behind a semicolon can be set as it is shown."""
        load(self.write(self.sample(all_keys=True)), kinds=kinds.load)

    def test_has_every_key(self) -> None:
        """Each section shows all of its keys, with their words in front."""
        text = self.sample()
        for section_class in (Settings, HttpSettings, Person, kinds.BoxConfig, kinds.BoxLine):
            for each in declared(section_class):
                self.assertRegex(text, rf"(?m)^;?{each.name} =", each.name)
        flat = re.sub(r"\n# ?", " ", text)
        for each in declared(kinds.BoxLine):
            self.assertIn(each.doc, flat)

    def test_sets_what_hardly_any_section_can_do_without(self) -> None:
        """A key that is optional alone, such as a provider's number, is set all the same."""
        text = reference.sample(lambda: ("twilio", "vonage"))

        self.assertRegex(text, rf"(?m)^auth_token = {PLACEHOLDER}$")
        self.assertRegex(text, r"(?m)^;shared_key =")
        numbers = re.findall(r"(?m)^number = (.*)$", text)
        self.assertEqual(len(set(numbers)), 2, numbers)
        load(self.write(text.replace(f"= {PLACEHOLDER}", "= obviously-fake")))

    def test_lines_are_short(self) -> None:
        """The file fits an ordinary screen."""
        self.assertLess(max(map(len, self.sample().splitlines())), 100)


class ReferenceTests(SynchronousTestCase):
    """The reference, made from made-up kinds."""

    def test_has_every_key_of_every_kind(self) -> None:
        """Common keys of lines are there once, those of a kind below its name."""
        text = reference.rst(lambda: kinds.FACTORIES, kinds.load)

        for section_class in (Settings, HttpSettings, Person, kinds.BoxConfig, kinds.BoxLine):
            for each in declared(section_class):
                self.assertIn(f"\n``{each.name}``\n", text)
        self.assertEqual(text.count("\n``daily_cap``\n"), 1)
        self.assertIn(".. _gateway-chat:", text)

    def test_common_key_with_another_default_is_there_again(self) -> None:
        """What a kind's lines do otherwise stands below its name."""
        text = reference.rst(lambda: ("twilio", "vonage"))

        self.assertIn("Default: ``500K``", text[text.index("Lines of a gateway with kind = twi") :])

    def test_markup_in_words_is_escaped(self) -> None:
        """Characters that mean something to the manual's format are kept from it."""
        self.assertEqual(reference._escaped("*100# a_ `b`"), "\\*100# a\\_ \\`b\\`")
