"""Tests of how the page opens: the modules that it needs are named in it and come at once."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smsbridge.web

STATIC = Path(smsbridge.web.__file__).parent / "static"
FIRST = "/static/js/app.js"

_IMPORT = re.compile(
    r"""^(?:import|export)\b[^"';]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)\"""", re.M
)


def needed(address: str, found: set[str] | None = None) -> set[str]:
    """Return a module's address and those of all that it imports before it runs."""
    found = set() if found is None else found
    if address in found:
        return found
    found.add(address)
    path = STATIC / address.removeprefix("/static/")
    for match in _IMPORT.finditer(path.read_text(encoding="utf-8")):
        imported = (path.parent / (match[1] or match[2])).resolve()
        needed("/static/" + imported.relative_to(STATIC.resolve()).as_posix(), found)
    return found


class OpeningTests(SynchronousTestCase):
    """What index.html names."""

    def test_every_module_is_fetched_at_once(self) -> None:
        """The browser need not read one module to learn of the next, and fetches none in vain."""
        page = (STATIC / "index.html").read_text(encoding="utf-8")
        named = set(re.findall(r'<link rel="modulepreload" href="([^"]+)">', page))

        self.assertEqual(named, needed(FIRST) - {FIRST})

    def test_pages_beside_the_inbox_come_when_they_are_opened(self) -> None:
        """Who only reads texts does not load the operators' pages."""
        self.assertEqual([name for name in needed(FIRST) if "/pages/" in name], [])
