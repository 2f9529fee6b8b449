"""Tests of the service worker that knows the page's files."""

import json
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import smsbridge.web
from smsbridge.web.shell import WORKER_NAME, stamped

SOURCE = b'"use strict";\nconst SHELL = { version: "", files: [] };\nself.go(SHELL);\n'
FILES = {"index.html": b"<p>", "js/app.js": b"go()", "js/lib/LICENSE.x": b"MIT", "sw.js": SOURCE}


def shell_of(worker: bytes) -> dict[str, Any]:
    """Return the object that a stamped worker carries."""
    found = re.search(rb"^const SHELL = (\{.*\});$", worker, re.MULTILINE)
    assert found is not None
    shell: dict[str, Any] = json.loads(found[1])
    return shell


class StampedTests(SynchronousTestCase):
    """What the worker is told, and when its text changes."""

    def test_names_what_a_page_needs_offline(self) -> None:
        """The page itself and its scripts are listed; licences and the worker are not."""
        shell = shell_of(stamped(SOURCE, FILES))

        self.assertEqual(shell["files"], ["/", "/manifest.webmanifest", "/static/js/app.js"])

    def test_the_rest_of_the_worker_stays(self) -> None:
        """Only the one line is another one."""
        worker = stamped(SOURCE, FILES)

        self.assertTrue(worker.startswith(b'"use strict";\nconst SHELL = {'))
        self.assertTrue(worker.endswith(b";\nself.go(SHELL);\n"))

    def test_the_version_follows_the_content(self) -> None:
        """Any other byte of a script or the page gives another worker; the same files do not."""
        first = stamped(SOURCE, FILES)

        self.assertEqual(first, stamped(SOURCE, dict(reversed(FILES.items()))))
        self.assertNotEqual(first, stamped(SOURCE, {**FILES, "js/app.js": b"go(1)"}))
        self.assertNotEqual(first, stamped(SOURCE, {**FILES, "index.html": b"<h1>"}))
        self.assertNotEqual(first, stamped(SOURCE + b"//", FILES))
        self.assertEqual(first, stamped(SOURCE, {**FILES, "js/lib/LICENSE.x": b"else"}))

    def test_a_name_is_no_pattern(self) -> None:
        r"""A file name with a backslash and a digit is written as it is."""
        shell = shell_of(stamped(SOURCE, {"js/a\\1.js": b""}))

        self.assertIn("/static/js/a\\1.js", shell["files"])

    def test_the_real_worker_has_the_line(self) -> None:
        """The worker that we ship is one that can be stamped."""
        folder = Path(smsbridge.web.__file__).parent / "static"
        worker = (folder / WORKER_NAME).read_bytes()

        shell = shell_of(stamped(worker, {"js/app.js": b""}))

        self.assertTrue(shell["version"])
