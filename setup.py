"""Metadata of the smsbridge distribution; the tools' settings stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """Read the version without importing the package, whose requirements may be missing."""
    text = (HERE / "smsbridge" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('smsbridge/__init__.py has no line __version__ = "..."')
    return found.group(1)


def description() -> str:
    """Return the README, which a checkout of an early commit may lack."""
    readme = HERE / "README.rst"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


MARIADB = ["pymysql>=1.1"]
POSTGRESQL = ["psycopg[binary]>=3.1"]
BROWSER = ["axe-playwright-python>=0.1.4", "playwright>=1.45"]
TEST = [
    *MARIADB,
    *POSTGRESQL,
    *BROWSER,
    "hypothesis>=6.90",
    "jsonschema-rs>=0.30",
    "schemathesis>=4.0",
    "slixmpp>=1.8",
]
DOCS = ["sphinx>=7.2", "furo>=2024.1.29"]
DEV = [
    *TEST,
    *DOCS,
    "build>=1.0",
    "coverage>=7.4",
    "mypy>=1.10",
    "mypy-zope>=1.0.5",
    "py-spy>=0.3.14",
    "ruff>=0.4",
    "setuptools>=65.5",
    "towncrier>=23.11",
]

# twistd finds plugins in twisted/plugins of every folder on sys.path.
PACKAGES = [*find_packages(str(HERE), include=["smsbridge", "smsbridge.*"]), "twisted.plugins"]

METADATA = {
    "name": "smsbridge",
    "version": version(),
    "description": "Carries texts between phone lines and people's chat programs, and loses none",
    "long_description": description(),
    "long_description_content_type": "text/x-rst",
    "author": "the smsbridge authors",
    "license": "MIT",
    "classifiers": [
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Intended Audience :: Telecommunications Industry",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Communications :: Chat",
        "Topic :: Communications :: Telephony",
        "Typing :: Typed",
    ],
    "python_requires": ">=3.11",
    # twistd finds plugins in twisted/plugins of every folder on sys.path.
    "packages": [
        *find_packages(str(HERE), include=["smsbridge", "smsbridge.*"]),
        "twisted.plugins",
    ],
    "package_data": {
        "smsbridge": [
            "py.typed",
            "store/migrations/*",
            "store/migrations/versions/*",
            "web/static/**/*",
        ],
    },
    # The plugin system imports modules from folders, never from an archive.
    "zip_safe": False,
    "install_requires": [
        "alembic>=1.13",
        "argon2-cffi>=23.1",
        "attrs>=23.2",
        "automat>=24.8",
        "click>=8.1",
        "constantly>=15.1",
        "cryptography>=41.0",
        "http-ece>=1.2",
        "hyperlink>=21.0",
        "klein>=23.5",
        "phonenumbers>=8.13",
        "pillow>=10.3",
        "prometheus-client>=0.19",
        "puremagic>=1.20",
        "py-vapid>=1.9",
        "pydantic>=2.7",
        "pyjwt>=2.8",
        "pyopenssl>=23.2",
        "service-identity>=23.1",
        "sqlalchemy>=2.0.20",
        "tzdata>=2024.1",
        "treq>=22.1",
        "twisted>=23.10",
        "txdbus>=1.1",
        "typing-extensions>=4.10",
        "uuid-utils>=0.9",
        "vobject>=0.9.6",
        "werkzeug>=2.3",
        "wokkel>=18.0",
        "zope-interface>=6.0",
    ],
    "extras_require": {
        "mariadb": MARIADB,
        "postgresql": POSTGRESQL,
        "test": TEST,
        "docs": DOCS,
        "dev": DEV,
    },
    "entry_points": {"console_scripts": ["smsbridge = smsbridge.cli:main"]},
}

# A test reads METADATA; pip runs this file as the main module.
if __name__ == "__main__":
    setup(**METADATA)
