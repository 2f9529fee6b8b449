"""
The declarations of all sections, written as a sample configuration and as a page of the manual.

Both are text made from the keys' own words, so that no key can be without an explanation. Nothing
is read here but the folders of the kinds.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence

from smsbridge import gateways
from smsbridge.config import PLACEHOLDER, HttpSettings, Settings
from smsbridge.core.directory import Line, Person
from smsbridge.interfaces import IGatewayFactory
from smsbridge.keys import Key, declared, shown

__all__ = ["rst", "sample"]

_WIDTH = 96

_INTRODUCTION = """\
Sample configuration of smsbridge, with every key there is.

Lines with '#' explain. A key behind ';' shows its default or an example; remove the ';' to set
it. The others have no default, or are what most set. A blank and ';' after a value begin a
comment, an indented line goes on with a value, and '%' means nothing special. Any secret KEY may
be kept in a file of its own: write KEY_file = PATH, relative to this file.

Have it checked with: smsbridge --config THIS-FILE check
Apply changes to a running daemon with: smsbridge reload
"""


def sample(kinds: Callable[[], Collection[str]] = gateways.kinds, load: _Load | None = None) -> str:
    """Return a sample configuration with every key of every kind that can be used here."""
    parts = [_comment(_INTRODUCTION)]
    parts.append(
        _section(
            "smsbridge", Settings, "The daemon as a whole.", live=("state", "country", "include")
        )
    )
    parts.append(
        _section(
            "http",
            HttpSettings,
            "The web side: health, metrics, the API, what providers call. Without this section "
            "there is none.",
            live=("listen",),
        )
    )
    lines: list[str] = []
    for factory in _factories(kinds, load):
        kind = factory.kind
        parts.append(
            _section(
                f"gateway:{kind}",
                factory.config_class,
                f"A gateway of kind {kind}. The name behind the colon is free; there may be "
                "several.",
                first=(f"kind = {kind}",),
            )
        )
        if factory.line_class is not None:
            fixed = {"gateway": kind}
            if any(
                each.name == "number" and each.in_sample for each in declared(factory.line_class)
            ):
                # No two lines have the same.
                fixed["number"] = f"+120255501{len(lines):02d}"
            lines.append(f"{kind}-1")
            parts.append(
                _section(
                    f"line:{kind}-1",
                    factory.line_class,
                    f"One line of that gateway. The name is free, in lower case, and is what "
                    f"'smsbridge send --line {kind}-1' says.",
                    fixed=fixed,
                )
            )
    parts.append(
        _section(
            "person:john",
            Person,
            "Somebody who uses the bridge. Nobody may send through a line that is not listed.",
            live=("xmpp",),
            fixed={"lines": " ".join(lines)},
        )
    )
    return "\n".join(parts)


def rst(kinds: Callable[[], Collection[str]] = gateways.kinds, load: _Load | None = None) -> str:
    """Return the reference of all sections and keys as reStructuredText."""
    factories = list(_factories(kinds, load))
    parts = [
        _heading("[smsbridge]", "-"),
        *_definitions(declared(Settings)),
        _heading("[http]", "-"),
        *_definitions(declared(HttpSettings)),
        _heading("[gateway:NAME]", "-"),
        "``kind``\n"
        + _indented(
            "Required. What is at the other end: "
            + ", ".join(f":ref:`{each.kind} <gateway-{each.kind}>`" for each in factories)
            + ". The other keys depend on it."
        ),
    ]
    for factory in factories:
        parts.append(f".. _gateway-{factory.kind}:\n")
        parts.append(_heading(f"kind = {factory.kind}", "~"))
        parts.extend(_definitions(declared(factory.config_class)))
    common = declared(Line)
    parts.append(_heading("[line:NAME]", "-"))
    parts.append("These keys are there for lines of every kind.\n")
    parts.extend(_definitions(common))
    for factory in factories:
        if factory.line_class is None:
            continue
        # What a kind declares anew has other words or another default there.
        own = [each for each in declared(factory.line_class) if each not in common]
        parts.append(_heading(f"Lines of a gateway with kind = {factory.kind}", "~"))
        parts.extend(_definitions(own) if own else ["They have no further keys.\n"])
    parts.append(_heading("[person:NAME]", "-"))
    parts.extend(_definitions(declared(Person)))
    return "\n".join(parts)


_Load = Callable[[str], IGatewayFactory]


def _factories(
    kinds: Callable[[], Collection[str]], load: _Load | None
) -> Iterator[IGatewayFactory]:
    for kind in kinds():
        try:
            yield (load or gateways.load)(kind)
        except gateways.KindError:
            continue  # a library that it needs is not installed, so nobody here can use it


def _comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _wrapped(text: str) -> str:
    return _comment(textwrap.fill(text, _WIDTH - 2, break_on_hyphens=False))


def _section(
    name: str,
    section_class: type,
    doc: str,
    *,
    first: Sequence[str] = (),
    live: Collection[str] = (),
    fixed: dict[str, str] | None = None,
) -> str:
    """Write one section: `live` keys are set, `fixed` ones to the text given."""
    parts = [_wrapped(doc) + f"[{name}]\n"]
    parts.extend(f"{each}\n" for each in first)
    for each in declared(section_class):
        given = (fixed or {}).get(each.name)
        text = _example(each) if given is None else given
        is_set = each.required or each.in_sample or each.name in live or given
        mark = "" if is_set else ";"
        default = "" if each.required else shown(each.default, each.convert)
        note = f" Default: {default}." if mark and default not in ("", text) else ""
        parts.append(_wrapped(each.doc + note) + f"{mark}{each.name} = {text}".rstrip() + "\n")
    return "\n".join(parts) if len(parts) > 2 else "".join(parts)


def _example(each: Key) -> str:
    if each.example:
        return each.example
    if each.secret and (each.required or not each.default):
        return PLACEHOLDER
    return "" if each.required else shown(each.default, each.convert)


def _heading(text: str, underline: str) -> str:
    return f"{text}\n{underline * len(text)}\n"


def _definitions(keys: Sequence[Key]) -> Iterator[str]:
    for each in keys:
        facts = ["Required."] if each.required else []
        facts.append(_escaped(each.doc))
        default = "" if each.required else shown(each.default, each.convert)
        if default:
            facts.append(f"Default: ``{default}``.")
        if each.example and each.example != default:
            facts.append(f"Example: ``{each.example}``.")
        if each.secret:
            facts.append(f"A secret: ``{each.name}_file = PATH`` takes it from a file.")
        yield f"``{each.name}``\n" + _indented(" ".join(facts))


def _indented(text: str) -> str:
    filled = textwrap.fill(text, _WIDTH - 4, break_on_hyphens=False, break_long_words=False)
    return textwrap.indent(filled, "    ") + "\n"


def _escaped(text: str) -> str:
    """Keep a sentence from being read as markup."""
    return re.sub(r"([\\*`|]|_(?=\W|$))", r"\\\1", text)
