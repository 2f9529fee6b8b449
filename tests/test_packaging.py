"""What must be true of the distribution, checked on its sources; wheels are built in end_to_end."""

from __future__ import annotations

import ast
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import smsbridge

ROOT = Path(__file__).parent.parent

#: module that we import -> distribution that brings it, where the names differ.
DISTRIBUTIONS = {
    "google": "protobuf",
    "OpenSSL": "pyopenssl",
    "prometheus_client": "prometheus-client",
    "service_identity": "service-identity",
    "uuid_utils": "uuid-utils",
    "zope": "zope-interface",
    "PIL": "pillow",
    "argon2": "argon2-cffi",
    "jwt": "pyjwt",
}

#: Database drivers: an extra each, because an installation needs one of them or none.
OPTIONAL = {"pymysql", "psycopg"}


def setup_arguments() -> dict[str, Any]:
    """Return what setup.py would tell setuptools."""
    return dict(runpy.run_path(str(ROOT / "setup.py"))["METADATA"])


def name_of(requirement: str) -> str:
    """Return the normalized name of a requirement such as ``SQLAlchemy>=2``."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def foreign_imports() -> Iterator[tuple[str, Path]]:
    """Yield the top-level name of every import that is not ours or the standard library's."""
    for path in sorted((ROOT / "smsbridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                if top != "smsbridge" and top not in sys.stdlib_module_names:
                    yield top, path


class MetadataTests(SynchronousTestCase):
    """What setup.py declares."""

    def setUp(self) -> None:
        """Read setup.py as pip would."""
        self.arguments = setup_arguments()

    def test_version_is_the_package_s_own(self) -> None:
        """The version stands in one place."""
        self.assertEqual(self.arguments["version"], smsbridge.__version__)

    def test_packages_hold_every_folder_and_the_plugin(self) -> None:
        """Each folder with modules is installed: one without ``__init__.py`` would be left out."""
        folders = {
            ".".join(path.parent.relative_to(ROOT).parts)
            for path in (ROOT / "smsbridge").rglob("*.py")
            if "migrations" not in path.parts
        }

        self.assertEqual(folders - set(self.arguments["packages"]), set())
        self.assertIn("twisted.plugins", self.arguments["packages"])
        self.assertNotIn("tests", self.arguments["packages"])

    def test_every_data_file_is_installed(self) -> None:
        """A file in the package that is not Python is named by package_data."""
        package = ROOT / "smsbridge"
        covered = {
            path
            for pattern in self.arguments["package_data"]["smsbridge"]
            for path in package.glob(pattern)
        }
        data = {
            path
            for path in package.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        scripts = {path for path in package.rglob("migrations/**/*.py") if path.is_file()}
        modules = {path for path in scripts if (path.parent / "__init__.py").exists()}

        self.assertEqual((data | scripts) - modules - covered, set())
        self.assertIn(package / "py.typed", covered)

    def test_every_import_is_required(self) -> None:
        """A fresh installation has every library that the code imports."""
        required = {name_of(each) for each in self.arguments["install_requires"]} | OPTIONAL
        missing = {
            f"{top} (imported by {path.relative_to(ROOT)})"
            for top, path in foreign_imports()
            if name_of(DISTRIBUTIONS.get(top, top)) not in required
        }

        self.assertEqual(missing, set())

    def test_command_is_declared(self) -> None:
        """Installing puts the command `smsbridge` in place."""
        self.assertEqual(
            self.arguments["entry_points"]["console_scripts"], ["smsbridge = smsbridge.cli:main"]
        )

    def test_lock_files_pin_what_is_required(self) -> None:
        """Both lock files name every requirement, by exact version and without an address."""
        required = {name_of(each) for each in self.arguments["install_requires"]}
        extras = {name_of(each) for each in self.arguments["extras_require"]["dev"]}
        extras.remove("setuptools")  # comes with the environment, as pip does

        for file, names in (("lock.txt", required), ("test.txt", required | extras)):
            text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            for line in lines:
                self.assertRegex(line, r"^[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*$")
            self.assertEqual(names - {name_of(line) for line in lines}, set(), file)


class PluginTests(SynchronousTestCase):
    """How twistd learns about smsbridge."""

    def test_twistd_finds_one_service(self) -> None:
        """`twistd smsbridge` names `smsbridge.start`, once, whatever else is installed."""
        found = [each for each in getPlugins(IServiceMaker) if each.tapname == "smsbridge"]

        self.assertEqual([each.module for each in found], ["smsbridge.start"])

    def test_plugin_folder_is_no_package(self) -> None:
        """An ``__init__.py`` there would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class SourceDistributionTests(SynchronousTestCase):
    """What MANIFEST.in and the tools' settings name."""

    def test_manifest_names_what_the_checkout_has(self) -> None:
        """Every tracked folder and file at the top is in the source distribution."""
        manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").split()
        automatic = {"MANIFEST.in", "setup.py", "smsbridge", "twisted"}
        unversioned = {
            line.strip("/\n").split("/")[0]
            for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
            if line.startswith("/")
        }
        top = {
            path.name
            for path in ROOT.iterdir()
            if path.name != ".git"
            and path.name not in unversioned
            and not re.match(r"_trial_temp|\.coverage|__pycache__|.*egg-info$", path.name)
        }

        self.assertEqual(top - automatic - set(manifest), set())

    def test_news_types_are_explained(self) -> None:
        """Each type of fragment that towncrier collects is in the fragments' README."""
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        readme = (ROOT / "newsfragments" / "README.rst").read_text(encoding="utf-8")

        for each in settings["tool"]["towncrier"]["type"]:
            self.assertIn(f"``{each['directory']}``", readme)

    def test_fragments_have_a_known_type(self) -> None:
        """A fragment named otherwise would be left out of the news in silence."""
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        types = "|".join(each["directory"] for each in settings["tool"]["towncrier"]["type"])
        wrong = [
            path.name
            for path in (ROOT / "newsfragments").iterdir()
            if path.name != "README.rst"
            and not re.fullmatch(rf"(\d+|\+[\w-]+)(\.[\w-]+)?\.({types})(\.\d+)?\.rst", path.name)
        ]

        self.assertEqual(wrong, [])
