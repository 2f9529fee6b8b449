"""Every operation with what no client should send: it answers as described, and never with 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from smsbridge.web.api.operation import Operation
from smsbridge.web.api.shapes import conversation_id
from tests.web.api.setting import BASE, ApiTestCase
from tests.web.backend import NUMBER

#: Parts of paths and arguments of queries.
WORDS: Final = (
    "",
    "0",
    "-1",
    "x" * 300,
    "%",
    "\x00",
    "\x1b[2J",
    "../../etc/passwd",
    "' OR 1=1 --",
    "\U0001f4a9",
    "1e999",
    "99999999999999999999999",
    "null",
    "true",
    "2026-13-45T99:99:99Z",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    NUMBER,
    conversation_id(f"one|{NUMBER}"),
    conversation_id("|john,jane"),
    conversation_id("one|sha256:0"),
    conversation_id("\x00|\x00"),
    "jane",
    "one",
)
#: Values of fields of bodies.
VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    " ",
    "\x00",
    "\ud800",
    "x" * 5000,
    [],
    [None],
    [[]],
    ["x"] * 2000,
    {},
    {"x": 1},
    "2026-11-21T14:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59Z",
    NUMBER,
    "@x",
    "jane",
    [NUMBER, "jane"],
    [{"number": NUMBER}],
    "https://user:password@[::1]:99999/\r\nx: y",
)
#: Bodies that are no documents of ours.
BODIES: Final = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b'{"data": 1}',
    b'{"data": {"attributes": 1}}',
    b'{"data": {"attributes": {}}}',
    b'{"a": ' * 5000,
    b"[" * 100_000,
    b'{"to": "\\u0041", "a": ' + b"[" * 700 + b"]" * 700 + b"}",
    b'{"ids": [' + b"1," * 50_000 + b"1]}",
    b'{"to": ' + b"9" * 5000 + b"}",
)


class HostileTests(ApiTestCase):
    """John, who may all, asks for the impossible."""

    def setUp(self) -> None:
        """Let there be a little to be found."""
        super().setUp()
        self.receive("hello")
        self.between("hello", "john", "jane")
        self.send(NUMBER)

    def try_one(self, declared: Operation, path: str, data: bytes | None = None) -> None:
        """Make one request, and hold the answer against the document."""
        asked = self.treq.request(
            declared.method,
            f"http://bridge.test/v2.2{path}",
            data=data,
            headers={
                "X-Person": "john",
                "X-Requested-With": "smsbridge",
                "Content-Type": declared.body_type.replace("*/*", "") or "application/json",
            },
        )
        answers: list[Any] = []
        asked.addCallback(answers.append)
        self.treq.flush()
        while not answers:
            self.rig.clock.advance(0)
            self.rig.settle()
            self.treq.flush()
        response = answers[0]
        content = self.successResultOf(self.treq.content(response))
        kind = (response.headers.getRawHeaders(b"content-type") or [b""])[0].decode()
        self.assertLess(len(content), 100_000, f"{declared.method} {path[:200]}")
        what = f"{declared.method} {path[:200]} {(data or b'')[:200]!r}: {content[:500]!r}"
        self.assertLess(response.code, 500, what)
        fault = self.conformity.faults(declared.method, BASE + path, response.code, kind, content)
        self.assertEqual(fault, "", what)

    def asked(self) -> Iterator[tuple[Operation, str]]:
        """Yield the operations that answer, each with a path of good parts."""
        for declared in self.api.operations:
            if declared.streams:
                continue
            path = declared.path
            for part, value in (("<number>", NUMBER), ("<label>", "one")):
                path = path.replace(part, quote(value))
            while "<" in path:
                path = path[: path.index("<")] + "x" + path[path.index(">") + 1 :]
            yield declared, path

    def test_parts_of_paths(self) -> None:
        """Whatever stands in a path."""
        for declared, _ in self.asked():
            if "<" not in declared.path:
                continue
            for word in WORDS[1:]:
                path = declared.path
                while "<" in path:
                    path = path[: path.index("<")] + quote(word, "") + path[path.index(">") + 1 :]
                self.try_one(declared, path, b"{}" if declared.body else None)

    def test_arguments_of_queries(self) -> None:
        """Whatever stands in a query."""
        for declared, path in self.asked():
            for name in declared.query.model_fields if declared.query else ["unknown"]:
                for word in WORDS:
                    self.try_one(declared, f"{path}?{name}={quote(word)}", b"{}")

    def test_thousands_of_arguments(self) -> None:
        """The answer is not many times as long as the request."""
        for declared, path in self.asked():
            many = "&".join(f"x{number}=1" for number in range(1000))
            self.try_one(declared, f"{path}?{many}", b"{}" if declared.body else None)

    def test_fields_of_bodies(self) -> None:
        """Whatever stands in a field of a body, alone and beside good ones."""
        good: dict[str, Any] = {"to": NUMBER, "body": "x", "name": "x", "undo": "x", "code": "1"}
        for declared, path in self.asked():
            if declared.body is None:
                continue
            for name, field in declared.body.model_fields.items():
                for value in VALUES:
                    for beside in ({}, good):
                        data = json.dumps({**beside, field.alias or name: value}).encode()
                        self.try_one(declared, path, data)

    def test_bodies(self) -> None:
        """Whatever a body is."""
        for declared, path in self.asked():
            for body in BODIES:
                self.try_one(declared, path, body)
