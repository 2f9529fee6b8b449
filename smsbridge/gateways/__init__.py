"""
The kinds of peer, one folder each, found by the name that ``kind =`` gives.

A folder's package has a ``FACTORY`` that provides `IGatewayFactory`. Only the folders that a
configuration names are imported, so that a library which one kind needs is needed by nobody else.

A factory may have two methods more. ``check(config, lines)`` raises `ConfigError` where a gateway
and its lines (by label) contradict each other; the configuration reader calls it, so that a reload
never gets that far. ``advice(label, config, lines, public_url)`` returns sentences that
``smsbridge check`` shows, such as the address that a provider must be told. And a factory whose
``implicit`` is True needs no section: its gateway is built, with the defaults of all keys, as soon
as a person has an address of its kind and no other gateway serves that.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from zope.interface.verify import verifyObject

from smsbridge.interfaces import IGatewayFactory

__all__ = ["KindError", "kinds", "load"]


class KindError(ValueError):
    """A kind of gateway that does not exist or cannot be used here; the text says why."""


def kinds() -> tuple[str, ...]:
    """Return the names of all folders, in alphabetical order."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg))


def load(kind: str) -> IGatewayFactory:
    """
    Import the folder of a kind and return its factory, verified.

    :raises KindError: there is no such folder, it has no factory, or a library of it is missing.
    """
    known = kinds()
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise KindError(f"unknown kind {kind!r}{hint} Known kinds: {', '.join(known)}.")
    try:
        package = importlib.import_module(f"{__name__}.{kind}")
    except ModuleNotFoundError as e:
        if e.name is None or e.name.partition(".")[0] == "smsbridge":
            raise
        raise KindError(
            f"kind {kind!r} needs the Python package {e.name.partition('.')[0]!r}, "
            "which is not installed."
        ) from e
    factory = getattr(package, "FACTORY", None)
    if factory is None:
        raise KindError(f"kind {kind!r} cannot be used: its folder has no FACTORY.")
    verifyObject(IGatewayFactory, factory)
    return IGatewayFactory(factory)
