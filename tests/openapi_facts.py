"""
The machine facts of a provider's published OpenAPI description, and requests held against them.

As a program it makes ``tests/gateways/KIND/openapi.json`` from the description, with the operations
that we use and nothing in words::

    python -m tests.openapi_facts SPEC OUT --source "NAME at COMMIT" "POST /path" "GET /path" ...

`Described` reads that file and says what is wrong with a request or an answer. Names that the
description does not have count as wrong, because a provider silently ignores what it does not know.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs

from smsbridge.provider.dialect import Request, Response

__all__ = ["Described", "facts"]

#: What of a schema is a fact; names of properties are kept apart from these.
_FACTS: Final = frozenset(
    [
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "prefixItems",
        "properties",
        "required",
        "type",
        "uniqueItems",
    ]
)
_FORM: Final = "application/x-www-form-urlencoded"


# -- making the file -------------------------------------------------------------------------------


def facts(spec: Mapping[str, Any], operations: list[str], source: str) -> dict[str, Any]:
    """
    Take the facts about some operations out of a description (OpenAPI 3.0 or 3.1).

    :param operations: such as ``POST /messages``, the paths as the description has them; what the
        provider calls itself is ``POST /callbacks/NAME``.
    :raises KeyError: an operation is not in the description.
    """
    taken = _Taking(spec)
    found = {}
    servers = list(spec.get("servers", []))
    for operation in operations:
        method, path = operation.split(" ", 1)
        item = _path_item(spec, path)
        servers.extend(item.get("servers", []))
        found[operation] = taken.operation(item, method.lower())
    server = next((each["url"] for each in servers), "")
    return {
        "source": source,
        "server": server,
        "operations": found,
        "$defs": dict(sorted(taken.schemas().items())),
    }


def _path_item(spec: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    name = path.removeprefix("/callbacks/")
    if path in spec["paths"] or name == path:
        found: Mapping[str, Any] = spec["paths"][path]
    else:
        found = next(iter(spec["components"]["callbacks"][name].values()))
    return found


class _Taking:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self._wanted: dict[str, Any] = {}  # reference -> schema, in the order met
        self._done: dict[str, Any] = {}

    def operation(self, path_item: Mapping[str, Any], method: str) -> dict[str, Any]:
        operation = path_item[method]
        parameters = [*path_item.get("parameters", []), *operation.get("parameters", [])]
        body = self._resolved(operation.get("requestBody", {}))
        return {
            "parameters": [self._parameter(self._resolved(each)) for each in parameters],
            "body_required": bool(body.get("required", False)),
            "body": self._content(body),
            "answers": {
                str(status): self._content(self._resolved(answer))
                for status, answer in operation.get("responses", {}).items()
            },
        }

    def schemas(self) -> dict[str, Any]:
        while self._wanted:
            name, schema = self._wanted.popitem()
            self._done[name] = None  # it may name itself
            self._done[name] = self._schema(schema)
        return self._done

    def _parameter(self, parameter: Mapping[str, Any]) -> dict[str, Any]:
        content = next(iter(parameter.get("content", {}).values()), {})
        return {
            "name": parameter["name"],
            "in": parameter["in"],
            "required": bool(parameter.get("required", False)),
            "schema": self._schema(parameter.get("schema", content.get("schema", {}))),
        }

    def _content(self, holder: Mapping[str, Any]) -> dict[str, Any]:
        return {
            kind: self._schema(media.get("schema", {}))
            for kind, media in holder.get("content", {}).items()
        }

    def _resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in value:
            value = self._at(value["$ref"])
        return value

    def _at(self, reference: str) -> Any:
        found: Any = self._spec
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found

    def _schema(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema  # True and False are schemas, too
        if "$ref" in schema:
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", schema["$ref"].rsplit("/", 1)[-1])
            if name not in self._done:
                self._wanted[name] = self._at(schema["$ref"])
            kept: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
            return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") else kept
        kept = {}
        for key, value in schema.items():
            if key not in _FACTS or key == "nullable":
                continue
            if key == "properties":
                kept[key] = {name: self._schema(each) for name, each in value.items()}
            elif key in ("allOf", "anyOf", "oneOf", "prefixItems"):
                kept[key] = [self._schema(each) for each in value]
            elif key in ("items", "not", "additionalProperties"):
                kept[key] = self._schema(value)
            else:
                kept[key] = value
        # OpenAPI 3.0 says so of what JSON Schema calls one more type.
        if schema.get("nullable"):
            if isinstance(kept.get("type"), str):
                kept["type"] = [kept["type"], "null"]
            if "enum" in kept and None not in kept["enum"]:
                kept["enum"] = [*kept["enum"], None]
        return kept


# -- reading it ------------------------------------------------------------------------------------


class Described:
    """
    What a provider publishes about its operations, as a judge of requests and answers.

    :param path: a file that this module made.
    """

    def __init__(self, path: Path) -> None:
        self._facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        host = re.sub(r"^https?://[^/]*", "", self._facts["server"])
        self._prefix = host.rstrip("/")

    def wrong_request(self, request: Request) -> list[str]:
        """Return what is wrong with a request, one sentence each; its host is not looked at."""
        split = urlsplit(request.url)
        found = self._find(request.method, split.path)
        if isinstance(found, str):
            return [found]
        operation, values = found
        wrong = list(self._wrong_path(operation, values))
        wrong += self._wrong_query(operation, split.query)
        wrong += self._wrong_body(operation, request)
        return wrong

    def wrong_answer(self, method: str, url: str, response: Response) -> list[str]:
        """Return what is wrong with an answer to a request of that method to that address."""
        found = self._find(method, urlsplit(url).path)
        if isinstance(found, str):
            return [found]
        answers = found[0]["answers"]
        content = answers.get(str(response.status), answers.get("default"))
        if content is None:
            return [f"status {response.status} is not described"]
        if not content:
            return []
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        schema = content.get(kind, content.get("*/*"))
        if schema is None:
            return [f"an answer of type {kind!r} is not described"]
        if not kind.endswith("json"):
            return []
        try:
            value = json.loads(response.body)
        except ValueError:
            return ["the answer is no JSON"]
        # Formats are left out: descriptions call a mere path a URI.
        return list(self._wrong_value("answer", schema, value, formats=False))

    def _find(self, method: str, path: str) -> tuple[dict[str, Any], dict[str, str]] | str:
        if not path.startswith(self._prefix):
            return f"{path} does not begin with {self._prefix}"
        bare = path[len(self._prefix) :]
        for name, operation in self._facts["operations"].items():
            described_method, template = name.split(" ", 1)
            match = _template(template).fullmatch(bare)
            if described_method == method.upper() and match is not None:
                names = re.findall(r"\{([^}]+)\}", template)
                return operation, dict(zip(names, map(unquote, match.groups()), strict=True))
        return f"{method} {path} is not described"

    def _wrong_path(self, operation: Mapping[str, Any], values: dict[str, str]) -> Iterator[str]:
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                name = parameter["name"]
                yield from self._wrong_text(name, parameter["schema"], values.get(name, ""))

    def _wrong_query(self, operation: Mapping[str, Any], query: str) -> Iterator[str]:
        properties = {
            each["name"]: each["schema"]
            for each in operation["parameters"]
            if each["in"] == "query"
        }
        required = [
            each["name"]
            for each in operation["parameters"]
            if each["in"] == "query" and each["required"]
        ]
        schema = {"type": "object", "properties": properties, "required": required}
        yield from self._wrong_pairs("query", schema, query)

    def _wrong_body(self, operation: Mapping[str, Any], request: Request) -> Iterator[str]:
        described = operation["body"]
        if not request.body:
            if operation["body_required"]:
                yield "there is no body"
            return
        headers = {name.lower(): value for name, value in request.headers.items()}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        schema = described.get(kind, described.get("*/*"))
        if schema is None:
            yield f"a body of type {kind!r} is not described"
        elif kind == _FORM:
            yield from self._wrong_pairs("form", schema, request.body.decode("ascii"))
        elif kind.endswith("json"):
            try:
                value = json.loads(request.body)
            except ValueError:
                yield "the body is no JSON"
                return
            yield from self._wrong_value("body", schema, value)
            yield from self._unknown("body", schema, value)

    def _wrong_pairs(self, where: str, schema: Any, text: str) -> Iterator[str]:
        """Judge pairs as a form or a query has them: lists are repeated names, all is text."""
        properties = self._properties(schema)
        given: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
            given.setdefault(name, []).append(value)
        for name in self._required(schema) - set(given):
            yield f"{where}: {name} is missing"
        for name, values in given.items():
            if name not in properties:
                yield f"{where}: {name} is not described"
                continue
            lists = [
                each for each in self._alternatives(properties[name]) if each.get("type") == "array"
            ]
            if lists:
                items = self._resolved(lists[0].get("items", {}))
                read = [_read(items, each) for each in values]
                yield from self._wrong_value(f"{where}: {name}", lists[0], read)
            elif len(values) > 1:
                yield f"{where}: {name} is given {len(values)} times"
            else:
                yield from self._wrong_text(f"{where}: {name}", properties[name], values[0])

    def _wrong_text(self, where: str, schema: Any, text: str) -> Iterator[str]:
        yield from self._wrong_value(where, schema, _read(self._resolved(schema), text))

    def _wrong_value(
        self, where: str, schema: Any, value: Any, *, formats: bool = True
    ) -> Iterator[str]:
        whole = {"allOf": [schema], "$defs": self._facts["$defs"]}
        for error in _validator(json.dumps(whole, sort_keys=True), formats).iter_errors(value):
            place = "/".join(str(each) for each in error.instance_path)
            yield f"{where}{'/' if place else ''}{place}: {error.message}"

    def _unknown(self, where: str, schema: Any, value: Any) -> Iterator[str]:
        """Find names that an object has and its description has not."""
        if isinstance(value, list):
            items = [each["items"] for each in self._alternatives(schema) if "items" in each]
            for number, each in enumerate(value):
                yield from self._unknown(f"{where}/{number}", {"anyOf": items}, each)
        elif isinstance(value, dict):
            properties = self._properties(schema)
            is_open = any(each.get("additionalProperties") for each in self._alternatives(schema))
            for name, each in value.items():
                if name in properties:
                    yield from self._unknown(f"{where}/{name}", properties[name], each)
                elif properties and not is_open:
                    yield f"{where}: {name} is not described"

    def _resolved(self, schema: Any) -> Any:
        while "$ref" in schema:
            schema = self._facts["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return schema

    def _alternatives(self, schema: Any) -> Iterator[Any]:
        """Yield a schema and all that it is put together from."""
        schema = self._resolved(schema)
        yield schema
        for key in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(key, ()):
                yield from self._alternatives(each)

    def _properties(self, schema: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in self._alternatives(schema):
            found.update(each.get("properties", {}))
        return found

    def _required(self, schema: Any) -> set[str]:
        schema = self._resolved(schema)
        found = set(schema.get("required", ()))
        for each in schema.get("allOf", ()):
            found |= self._required(each)
        return found


@cache
def _template(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]+\}", path)
    return re.compile("([^/]+)".join(re.escape(part) for part in parts))


@cache
def _validator(schema: str, formats: bool) -> Any:
    return jsonschema_rs.Draft202012Validator(json.loads(schema), validate_formats=formats)


def _read(schema: Mapping[str, Any], text: str) -> Any:
    """Read a text as what its schema wants; what cannot be read stays a text, which is wrong."""
    types = schema.get("type", "string")
    for kind in [types] if isinstance(types, str) else types:
        if kind == "integer" and re.fullmatch(r"-?\d+", text):
            return int(text)
        if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
            return float(text)
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
    return text


def _load(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yaml", ".yml"):
        import yaml

        return yaml.safe_load(text)
    return json.loads(text)


def _main(arguments: list[str]) -> None:
    source = ""
    if "--source" in arguments:
        at = arguments.index("--source")
        source = arguments[at + 1]
        del arguments[at : at + 2]
    spec, out, *operations = arguments
    found = facts(_load(Path(spec)), operations, source)
    Path(out).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
