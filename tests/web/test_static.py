"""Tests of the page's files: what a browser would refuse, miss or fetch from elsewhere."""

import gzip
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import smsbridge.web

STATIC = Path(smsbridge.web.__file__).parent / "static"
VENDORED = STATIC / "js" / "lib"

# Names of XML vocabularies; nobody fetches them.
NAMESPACES = frozenset(
    {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/2000/svg",
    }
)
MAX_OPENING_GZ_BYTES = 120_000
MAX_GZ_BYTES = 170_000

_IMPORT = re.compile(
    r"""(?:^\s*(?:import|export)\b[^"';]*?\bfrom\s*|^\s*import\s*|\bimport\(\s*)["']([^"']+)["']""",
    re.MULTILINE,
)
_COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\w])//[^\n]*", re.DOTALL)
_ADDRESS = re.compile(r"""(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s"'`)<]*""", re.IGNORECASE)


def files(*suffixes: str) -> list[Path]:
    """Return the page's files with these endings."""
    found = [path for path in sorted(STATIC.rglob("*")) if path.suffix in suffixes]
    assert found, f"no {suffixes} below {STATIC}"
    return found


def own_scripts() -> list[Path]:
    """Return the scripts that are ours."""
    return [path for path in files(".js") if VENDORED not in path.parents]


def name_of(path: Path) -> str:
    """Return a file's name below the static folder."""
    return path.relative_to(STATIC).as_posix()


class PageReader(HTMLParser):
    """Notes what a page refers to and what a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.refused: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        given = dict(attrs)
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.refused.append(f"<{tag}> in the page")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.refused.append(f"<{tag} {name}>")
            if name in {"src", "href"} and value:
                self.references.append(value)


class PageTests(SynchronousTestCase):
    """The pages keep to the policy that they are served with."""

    def pages(self) -> Iterator[tuple[Path, PageReader]]:
        """Read every page."""
        for path in files(".html"):
            reader = PageReader()
            reader.feed(path.read_text(encoding="utf-8"))
            yield path, reader

    def test_no_page_has_inline_script_or_style(self) -> None:
        """What ``script-src 'self'; style-src 'self'`` would refuse stands in no page."""
        for path, reader in self.pages():
            self.assertEqual(reader.refused, [], name_of(path))

    def test_every_reference_of_a_page_exists(self) -> None:
        """Scripts, styles and icons that a page names are there."""
        for path, reader in self.pages():
            for reference in reader.references:
                target = reference.removeprefix("/static/").removeprefix("/")
                self.assertTrue((STATIC / target).is_file(), f"{name_of(path)}: {reference}")


class AddressTests(SynchronousTestCase):
    """Nobody but our own server is asked for anything."""

    def test_no_file_names_a_foreign_host(self) -> None:
        """No script, style, page, drawing or manifest has an address of another host."""
        for path in files(".js", ".css", ".html", ".svg", ".webmanifest"):
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            foreign = [
                address
                for address in _ADDRESS.findall(text)
                if address not in NAMESPACES and "example." not in address
            ]
            self.assertEqual(foreign, [], name_of(path))


class ScriptTests(SynchronousTestCase):
    """Scripts load in a browser without a build step."""

    def test_every_import_resolves(self) -> None:
        """An import names a file that is there, with its ending, relative to the importing one."""
        for path in files(".js"):
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            for target in _IMPORT.findall(text):
                said = f"{name_of(path)}: {target}"
                self.assertTrue(target.startswith("."), f"{said} needs an import map")
                self.assertTrue((path.parent / target).is_file(), f"{said} is not there")

    def test_every_imported_name_is_exported(self) -> None:
        """A name in braces is one that the other script exports; browsers insist."""
        pattern = re.compile(r"""import\s*(?:\w+\s*,\s*)?\{([^}]*)\}\s*from\s*["'](\.[^"']+)["']""")
        for path in own_scripts():
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            for names, target in pattern.findall(text):
                exported = exports_of((path.parent / target).resolve())
                for name in filter(None, (part.strip() for part in names.split(","))):
                    wanted = name.split(" as ")[0].strip()
                    self.assertIn(wanted, exported, f"{name_of(path)}: {target}")

    def test_scripts_parse(self) -> None:
        """Node's parser takes every script."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("node is not installed; the browser tests load every script too")
        with tempfile.TemporaryDirectory() as folder:
            # Node goes by the ending; one process for all is quicker than one for each.
            copies = []
            for path in files(".js"):
                module = path.name not in {"sw.js", "theme.js"}
                copy = Path(folder) / (
                    name_of(path).replace("/", "__") + (".mjs" if module else ".cjs")
                )
                shutil.copyfile(path, copy)
                copies.append(str(copy))
            done = subprocess.run(
                ["sh", "-c", 'for file; do "$0" --check "$file" || exit 1; done', node, *copies],
                capture_output=True,
                text=True,
                check=False,
            )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_script_makes_code_or_markup_of_text(self) -> None:
        """A text that somebody sends can become neither script nor markup."""
        forbidden = re.compile(
            r"\beval\(|\bnew Function\b|\.innerHTML\b|\.outerHTML\b|insertAdjacentHTML"
            r"|dangerouslySetInnerHTML|document\.write|setAttribute\(\s*[\"']style"
        )
        for path in own_scripts():
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            self.assertEqual(forbidden.findall(text), [], name_of(path))

    def test_icons_are_drawn(self) -> None:
        """Every icon that a script asks for by name is one of the kit's."""
        drawn = set(
            re.findall(r"^  (\w+):", (STATIC / "js/kit/icons.js").read_text("utf-8"), re.MULTILINE)
        )
        for path in own_scripts():
            for name in re.findall(r'\bicon="(\w+)"|\bicon: "(\w+)"', path.read_text("utf-8")):
                self.assertIn(name[0] or name[1], drawn, name_of(path))


class VendoredTests(SynchronousTestCase):
    """What others wrote is marked as theirs."""

    def test_every_library_says_version_and_licence(self) -> None:
        """A file of another project begins with its name, version, licence and home."""
        readme = (VENDORED / "README.md").read_text(encoding="utf-8")
        for path in sorted(VENDORED.glob("*.js")):
            if path.name == "preact.js":
                continue  # ours: it gathers the others
            first = path.read_text(encoding="utf-8").splitlines()[0]
            found = re.match(
                r"/\*! (\S+) (\d+\.\d+\.\d+) \([^)]+\); (MIT|Apache-2\.0), see (\S+);", first
            )
            assert found is not None, first
            self.assertTrue((VENDORED / found[4]).is_file(), found[4])
            self.assertIn(f"| {path.name} | {found[1]} | {found[2]} | {found[3]} ", readme)


class ManifestTests(SynchronousTestCase):
    """The page can be installed."""

    def test_icons_have_the_sizes_that_are_promised(self) -> None:
        """Each icon of the manifest exists and is as large as it says; one may be masked."""
        manifest = json.loads((STATIC / "manifest.webmanifest").read_text(encoding="utf-8"))

        for icon in manifest["icons"]:
            path = STATIC / icon["src"].removeprefix("/static/")
            self.assertTrue(path.is_file(), icon["src"])
            if icon["type"] == "image/png":
                with Image.open(path) as image:
                    self.assertEqual("{}x{}".format(*image.size), icon["sizes"], icon["src"])
        self.assertIn("maskable", {icon["purpose"] for icon in manifest["icons"]})
        self.assertEqual((manifest["start_url"], manifest["scope"]), ("/", "/"))
        self.assertEqual(manifest["display"], "standalone")


class SizeTests(SynchronousTestCase):
    """The page stays small."""

    def test_the_inbox_opens_with_little(self) -> None:
        """The page, its styles and every script that it imports at once, as they are sent."""
        reader = PageReader()
        reader.feed((STATIC / "index.html").read_text(encoding="utf-8"))
        wanted = [
            (STATIC / each.removeprefix("/static/")).resolve()
            for each in reader.references
            if each.endswith((".js", ".css"))
        ]
        loaded: set[Path] = set()
        while wanted:
            path = wanted.pop()
            if path not in loaded:
                loaded.add(path)
                wanted += [(path.parent / each).resolve() for each in imported_at_once(path)]

        sizes = {path.name: sent_size(path) for path in loaded}

        self.assertGreater(len(sizes), 20)
        self.assertLess(sum(sizes.values()), MAX_OPENING_GZ_BYTES, sizes)

    def test_all_is_not_much_more(self) -> None:
        """With the pages that are loaded when they are opened it stays under a bound too."""
        sizes = {name_of(path): sent_size(path) for path in files(".js", ".css")}

        self.assertLess(sum(sizes.values()), MAX_GZ_BYTES, sizes)


def sent_size(path: Path) -> int:
    """Return how many bytes a file has on the wire."""
    return len(gzip.compress(path.read_bytes(), mtime=0))


def imported_at_once(path: Path) -> list[str]:
    """Return what a script imports when it is loaded, not later on."""
    if path.suffix != ".js":
        return []
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    return [
        found[1] for found in _IMPORT.finditer(text) if not found[0].lstrip().startswith("import(")
    ]


def exports_of(path: Path) -> set[str]:
    """Return the names that a script exports."""
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    names = set(
        re.findall(r"\bexport\s+(?:async\s+)?(?:function\*?|const|let|class)\s+(\w+)", text)
    )
    for group in re.findall(r"\bexport\s*\{([^}]*)\}", text):
        for part in filter(None, (piece.strip() for piece in group.split(","))):
            names.add(part.split(" as ")[-1].strip())
    names.update(re.findall(r"\bexport\s*\*\s*as\s+(\w+)", text))
    return names
