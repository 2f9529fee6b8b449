"""
Makes every module of wokkel 18.0.0 importable on current Twisted; import it before wokkel.

wokkel's last release expects names that Twisted removed since (``_PY3``,
``twisted.python.constants``) and helpers that warn on every call (``unicode``, ``iteritems``).
They are put back here, in one place, rather than patched in site-packages.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import constantly  # type: ignore[import-untyped]
from twisted.python import compat

__all__ = ["install"]


def _items(mapping: Any) -> Iterator[Any]:
    return iter(mapping.items())


def _values(mapping: Any) -> Iterator[Any]:
    return iter(mapping.values())


_NAMES: dict[str, Any] = {
    "_PY3": True,
    "unicode": str,
    "StringType": str,
    "iteritems": _items,
    "itervalues": _values,
}


def install() -> None:
    """Put the missing names back; doing it twice changes nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in _NAMES.items():
            setattr(compat, name, value)
    # Twisted wraps ``unicode`` so that each import of it warns, whatever it is bound to.
    warnings.filterwarnings(
        "ignore", r"twisted\.python\.compat\.", DeprecationWarning, module=r"wokkel\."
    )
    name = "twisted.python.constants"
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        module = types.ModuleType(name)
        for each in constantly.__all__:
            setattr(module, each, getattr(constantly, each))
        sys.modules[name] = module


install()
