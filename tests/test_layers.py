"""
Which part of smsbridge may import which, read from the source with `ast`.

The arrows go one way: gateways and web use the core and the interfaces; the store uses the core's
values; the core uses none of them; only `smsbridge.tap` and the commands see everything. The rules
are functions on names, so that they are tested without the package as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

import smsbridge

ROOT = Path(smsbridge.__file__).parent

#: The parts that put everything together: they may import all, the global reactor included.
TOP = ("smsbridge.start", "smsbridge.tap", "smsbridge.cli", "smsbridge.__main__")

#: part -> the parts of smsbridge that it must not know.
FORBIDDEN = {
    "smsbridge.core": (
        "smsbridge.gateways",
        "smsbridge.media",
        "smsbridge.store",
        "smsbridge.web",
        *TOP,
    ),
    "smsbridge.media": ("smsbridge.gateways", "smsbridge.store", "smsbridge.web", *TOP),
    "smsbridge.store": ("smsbridge.gateways", "smsbridge.web", *TOP),
    "smsbridge.web": ("smsbridge.gateways", "smsbridge.store", *TOP),
    "smsbridge.gateways": ("smsbridge.media", "smsbridge.store", "smsbridge.web", *TOP),
    "smsbridge.provider": (
        "smsbridge.gateways",
        "smsbridge.media",
        "smsbridge.store",
        "smsbridge.web",
        *TOP,
    ),
    "smsbridge.interfaces": ("smsbridge.gateways", "smsbridge.store", "smsbridge.web", *TOP),
    "smsbridge.errors": ("smsbridge.gateways", "smsbridge.store", "smsbridge.web", *TOP),
}

#: part -> libraries that belong to another part.
FOREIGN = {
    "smsbridge.core": ("wokkel", "klein", "treq", "txdbus", "sqlalchemy", "alembic"),
    "smsbridge.store": ("wokkel", "klein", "treq", "txdbus"),
    "smsbridge.gateways": ("sqlalchemy", "alembic"),
    "smsbridge.provider": ("sqlalchemy", "alembic", "wokkel", "klein"),
    "smsbridge.media": ("sqlalchemy", "alembic", "wokkel", "klein"),
    "smsbridge.web": ("sqlalchemy", "alembic", "wokkel", "txdbus"),
}

#: Modules of this name turn bytes into values and back; they see no socket, clock or chance.
CODECS = ("codec", "payload", "stanzas", "dialect", "mirror")
IMPURE = ("twisted.internet", "socket", "time", "random", "threading", "asyncio")


@attrs.frozen
class Import:
    """One name that a module imports, and where."""

    importer: str
    target: str
    line: int


def imports_of(module: str, source: str, *, is_package: bool) -> Iterator[Import]:
    """
    Yield what a module imports, anywhere in it, as absolute dotted names.

    ``from a import b`` gives ``a.b``: b may be a module. What stands below ``if TYPE_CHECKING`` is
    given too, because a type is knowledge as well.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                keep = len(parents) - node.level + (1 if is_package else 0)
                base = ".".join([*parents[:keep], *([base] if base else [])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno)


def within(name: str, part: str) -> bool:
    """Tell whether a dotted name is this part or lies below it."""
    return name == part or name.startswith(part + ".")


def gateway_folder(name: str) -> str:
    """Return the gateway's folder that a name lies in, or nothing for what all gateways share."""
    parts = name.split(".")
    if parts[:2] == ["smsbridge", "gateways"] and len(parts) > 2:
        folder = ROOT / "gateways" / parts[2]
        return parts[2] if folder.is_dir() or len(parts) > 3 else ""
    return ""


def violation(found: Import) -> str:
    """Return what is wrong with an import in one sentence, or nothing when it is allowed."""
    importer, target = found.importer, found.target
    if any(within(importer, part) for part in TOP):
        return ""
    entry_point = importer.rsplit(".", 1)[-1] == "cli"
    if within(target, "twisted.internet.reactor") and not entry_point:
        return "names the global reactor; take it as an argument"
    for rules in (FORBIDDEN, FOREIGN):
        for part, parts in rules.items():
            if within(importer, part) and any(within(target, each) for each in parts):
                return f"{part} must not import {target}"
    own, other = gateway_folder(importer), gateway_folder(target)
    if own and other and own != other:
        return f"the gateway {own} must not import the gateway {other}"
    if importer.rsplit(".", 1)[-1] in CODECS and any(within(target, each) for each in IMPURE):
        return f"a codec must not import {target}"
    return ""


def modules() -> Iterator[tuple[str, Path]]:
    """Yield every module of the package with its file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["smsbridge", *path.relative_to(ROOT).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path


class LayersTests(SynchronousTestCase):
    """The package as it is."""

    def test_no_module_imports_against_the_arrows(self) -> None:
        """Every import in smsbridge goes from an outer part to an inner one."""
        wrong = [
            f"{path}:{found.line}: {sentence}"
            for name, path in modules()
            for found in imports_of(
                name, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py"
            )
            if (sentence := violation(found))
        ]

        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_reads_the_whole_package(self) -> None:
        """The check above looks at the parts that it names."""
        names = [name for name, _ in modules()]

        for part in ("smsbridge", "smsbridge.core.message", "smsbridge.interfaces"):
            self.assertIn(part, names)


class RulesTests(SynchronousTestCase):
    """The rules on made-up imports."""

    def assert_refused(self, importer: str, source: str) -> None:
        """Fail unless this source, as that module, has a violation."""
        found = list(imports_of(importer, source, is_package=False))
        self.assertTrue(any(violation(each) for each in found), f"{source} in {importer}")

    def assert_allowed(self, importer: str, source: str) -> None:
        """Fail if this source, as that module, has a violation."""
        found = list(imports_of(importer, source, is_package=False))
        self.assertTrue(found)
        self.assertEqual([violation(each) for each in found if violation(each)], [])

    def test_core_knows_no_gateway_store_or_library_of_theirs(self) -> None:
        """The core cannot reach outwards, in any spelling of the import."""
        for source in (
            "from smsbridge.gateways import load",
            "import smsbridge.store.schema",
            "from smsbridge import store",
            "from ..store import schema",
            "def late():\n    from smsbridge.web.site import Site",
            "from sqlalchemy import select",
        ):
            self.assert_refused("smsbridge.core.dispatcher", source)
        self.assert_allowed("smsbridge.core.dispatcher", "from smsbridge.core import retry")
        self.assert_allowed("smsbridge.core.dispatcher", "from .message import Delivery")

    def test_gateways_do_not_know_each_other(self) -> None:
        """A gateway imports its own folder, the core and the seams, and no other gateway."""
        self.assert_refused(
            "smsbridge.gateways.goip.gateway", "from smsbridge.gateways.xmpp import stanzas"
        )
        self.assert_refused("smsbridge.gateways.goip.gateway", "from smsbridge.store import writer")
        for source in (
            "from smsbridge.gateways.goip import codec",
            "from smsbridge.core.message import Delivery",
            "from smsbridge.interfaces import IInbox",
        ):
            self.assert_allowed("smsbridge.gateways.goip.gateway", source)

    def test_only_the_top_names_the_reactor(self) -> None:
        """The global reactor is imported by the plugin's module and the commands alone."""
        for importer in ("smsbridge.core.dispatcher", "smsbridge.gateways.goip.gateway"):
            self.assert_refused(importer, "from twisted.internet import reactor")
        self.assert_allowed("smsbridge.tap", "from twisted.internet import reactor")
        for importer in ("smsbridge.cli.main", "smsbridge.gateways.goip.simulator.cli"):
            self.assert_allowed(importer, "from twisted.internet import reactor")

    def test_codecs_are_pure(self) -> None:
        """A codec sees no socket, no clock and no chance."""
        for source in ("import time", "from twisted.internet.defer import Deferred"):
            self.assert_refused("smsbridge.gateways.goip.codec", source)
        self.assert_allowed("smsbridge.gateways.goip.codec", "import re")

    def test_relative_import_in_a_package_starts_at_the_package(self) -> None:
        """In ``__init__.py`` one dot means the package itself, elsewhere its parent."""
        package = next(imports_of("smsbridge.core", "from . import retry", is_package=True))
        module = next(imports_of("smsbridge.core.x", "from . import retry", is_package=False))

        self.assertEqual(package.target, "smsbridge.core.retry")
        self.assertEqual(module.target, "smsbridge.core.retry")
