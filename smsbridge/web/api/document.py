"""
Describes the API: the OpenAPI document (version 3.1), and a page of it for people.

Both are made from the declarations of the operations, the types of their answers included, so that
they say what is served and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from twisted.internet.defer import Deferred
from twisted.web.template import Tag, flattenString, tags
from typing_extensions import TypedDict

from smsbridge.web import shapes
from smsbridge.web.access.caller import Scope
from smsbridge.web.api.operation import BASE, Operation, Raw

__all__ = ["describe", "openapi", "page"]

_REF: Final = "#/components/schemas/{model}"
_JSON_API: Final = "application/vnd.api+json"
_VARIABLE: Final = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")

_INTRODUCTION: Final = (
    "Text with the telephone network and the persons of a bridge. The shapes are those of JSON:API "
    "and, for messages, of Flowroute's Messaging API v2.2, so that its clients work unchanged.",
    "Log in with a token ('smsbridge token add NAME --person PERSON'): as a bearer token, or by "
    "basic authentication with its name and the token. Requests with a body send it as "
    "application/vnd.api+json or application/json; the frame of data and attributes may be left "
    "out. Requests of a browser with a login send the header X-Requested-With: smsbridge.",
    "Times are ISO 8601 in UTC, numbers E.164 with a plus. Lists have links.next: the address of "
    "the next page, or null. Errors have a sentence in detail, a word in code, and say in source "
    "which field of the body or argument of the query is wrong.",
)
_TAGS: Final = {
    "session": "Log in, one's account, sessions and tokens.",
    "messages": "Send texts and look at them.",
    "conversations": "Texts in conversations, and search.",
    "contacts": "The address book, groups, and blocked numbers.",
    "lines": "Our numbers on the telephone network.",
    "media": "Files that go with texts.",
    "events": "What happens, as it happens.",
    "push": "Wake browsers.",
    "admin": "For operators.",
}
_ERRORS: Final = {
    400: "The request cannot be understood.",
    401: "Nobody is logged in, or the credentials are wrong.",
    403: "This is not allowed to the caller.",
    404: "There is no such thing for the caller.",
    406: "The answer cannot be had in the wanted type.",
    409: "This contradicts what there is.",
    410: "This is not kept any more.",
    413: "The body, or a file, is too large.",
    415: "The body has a type that is not taken here.",
    422: "Something in the body is wrong; source.pointer says what.",
    429: "Too much in a short time; Retry-After says when to go on.",
    500: "A mistake of the bridge.",
    503: "This may work later; Retry-After says when.",
    504: "Nobody can tell what became of it.",
    507: "There is no room for files; the operator must make some.",
}
_CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class _Source(TypedDict, total=False):
    """What is wrong."""

    pointer: str
    parameter: str


class _ErrorBase(TypedDict):
    """An error."""

    id: str
    status: int
    code: str
    title: str
    detail: str


class Error(_ErrorBase, total=False):
    """An error; `code` is for programs, `detail` for people."""

    source: _Source


class Errors(TypedDict):
    """What is wrong with a request."""

    errors: list[Error]


def describe(version: str) -> Callable[[Sequence[Operation]], Mapping[str, Callable[[], Raw]]]:
    """Return what makes the pages of operations, for `Api`; they are made when first asked for."""

    def pages(operations: Sequence[Operation]) -> Mapping[str, Callable[[], Raw]]:
        @cache
        def document() -> dict[str, Any]:
            return openapi(operations, version)

        @cache
        def as_json() -> Raw:
            return Raw("application/json", shapes.encode(document()))

        @cache
        def as_page() -> Raw:
            return Raw(
                "text/html; charset=utf-8", page(document()), {"Content-Security-Policy": _CSP}
            )

        return {"/openapi.json": as_json, "/": as_page}

    return pages


def openapi(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """Make the OpenAPI document of operations."""
    known = sorted(operations, key=lambda each: (list(_TAGS).index(each.tag), each.path))
    bodies, answers, schemas = _schemas(known)
    paths: dict[str, dict[str, Any]] = {}
    for each in known:
        path = BASE + _VARIABLE.sub(r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _described(
            each, bodies.get(each.name), answers.get(each.name)
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smsbridge",
            "version": version,
            "description": "\n\n".join(_INTRODUCTION),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": text}
            for name, text in _TAGS.items()
            if any(each.tag == name for each in known)
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The name of a token and the token.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "smsbridge",
                    "description": "The login of a browser.",
                },
            },
        },
    }


def _schemas(
    operations: Sequence[Operation],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the schemas of bodies and of answers by operation, and what they refer to."""
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        ("errors", "serialization", TypeAdapter(Errors))
    ]
    for each in operations:
        if each.body is not None:
            inputs.append((each.name, "validation", TypeAdapter(each.body)))
        if each.answer is not None:
            inputs.append((each.name, "serialization", TypeAdapter(each.answer)))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    bodies = {name: schema for (name, mode), schema in found.items() if mode == "validation"}
    answers = {name: schema for (name, mode), schema in found.items() if mode == "serialization"}
    return bodies, answers, definitions["$defs"]


def _described(declared: Operation, body: Any, answer: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": declared.name,
        "summary": declared.summary,
        "tags": [declared.tag],
        "parameters": [*_parameters(declared)],
        "responses": _responses(declared, answer),
        "security": [],
    }
    description = [declared.description]
    if declared.scope is not None:
        operation["security"] = [{"bearer": []}, {"basic": []}, {"session": []}]
        needs = f"Needs the scope {declared.scope.value}"
        if declared.scope is Scope.ADMIN:
            needs += " of a person who is an operator"
        description.append(f"{needs}.")
    text = "\n\n".join(each for each in description if each)
    if text:
        operation["description"] = text
    if declared.body is not None:
        needed = any(field.is_required() for field in declared.body.model_fields.values())
        operation["requestBody"] = {
            "required": needed,
            "content": {
                media_type: {"schema": _framed(body)}
                for media_type in (_JSON_API, "application/json")
            },
        }
    elif declared.body_type:
        operation["requestBody"] = {
            "required": True,
            "content": {declared.body_type: {"schema": {"type": "string", "format": "binary"}}},
        }
    return operation


def _framed(body: Any) -> dict[str, Any]:
    """Return the schema of a body with the frame of JSON:API, or without."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "data": {
                        "type": "object",
                        "properties": {"type": {"type": "string"}, "attributes": body},
                        "required": ["attributes"],
                    }
                },
                "required": ["data"],
            },
            body,
        ]
    }


def _parameters(declared: Operation) -> Iterable[dict[str, Any]]:
    for name in _VARIABLE.findall(declared.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
    if declared.query is not None:
        schema = declared.query.model_json_schema(ref_template=_REF)
        for name, described in schema.get("properties", {}).items():
            plain = {key: value for key, value in described.items() if key != "title"}
            parameter = {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": plain,
            }
            if "description" in plain:
                parameter["description"] = plain.pop("description")
            yield parameter
    for name, text in declared.headers:
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": text,
            "schema": {"type": "string"},
        }


def _responses(declared: Operation, answer: Any) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if answer is not None:
        good["content"] = {
            media_type: {"schema": answer} for media_type in (_JSON_API, "application/json")
        }
    elif declared.status != 204:
        good["content"] = {declared.answer_type: {"schema": {"type": "string"}}}
    responses = {str(declared.status): good}
    if "test" in (declared.query.model_fields if declared.query is not None else ()):
        responses["200"] = {**good, "description": "What would be done."}
    statuses = {400, 406, 500, 503, *declared.statuses}
    if declared.scope is not None:
        statuses |= {401, 403, 429}
    if declared.body is not None:
        statuses |= {413, 415, 422}
    elif declared.body_type:
        statuses.add(413)
    if "<" in declared.path:
        statuses.add(404)
    for status in sorted(statuses):
        responses[str(status)] = {
            "description": _ERRORS[status],
            "content": {_JSON_API: {"schema": {"$ref": _REF.format(model="Errors")}}},
        }
    return responses


# -- the page ------------------------------------------------------------------------------------


def page(document: Mapping[str, Any]) -> bytes:
    """Make a page for people of an OpenAPI document."""
    info = document["info"]
    sections = []
    for tag in document["tags"]:
        name = tag["name"]
        operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if name in operation["tags"]
        ]
        sections.append(
            tags.section(
                tags.h2(name.capitalize(), id=name),
                tags.p(tag["description"]),
                *(_operation(document, *each) for each in operations),
            )
        )
    whole = tags.html(
        tags.head(
            tags.meta(charset="utf-8"),
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.title(f"{info['title']} API"),
            tags.link(rel="stylesheet", href="/static/css/api.css"),
        ),
        tags.body(
            tags.header(
                tags.h1(f"{info['title']} API"),
                tags.p("Version ", info["version"], ". For programs: ", _document_link()),
            ),
            tags.nav(
                tags.ul(
                    *(
                        tags.li(tags.a(each["name"].capitalize(), href=f"#{each['name']}"))
                        for each in document["tags"]
                    )
                ),
                **{"aria-label": "Sections"},
            ),
            Tag("main")(*(tags.p(text) for text in info["description"].split("\n\n")), *sections),
        ),
        lang="en",
    )
    return b"<!DOCTYPE html>\n" + _flat(whole)


def _words(text: str) -> Iterable[Any]:
    """Return a text with what stands in double backticks as code."""
    for number, part in enumerate(text.split("``")):
        yield tags.code(part) if number % 2 else part


def _document_link() -> Tag:
    return tags.a("openapi.json", href="openapi.json")


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> Tag:
    inside: list[Any] = [
        tags.h3(
            tags.span(method, class_=f"method {method.lower()}"),
            " ",
            tags.code(path),
            id=operation["operationId"],
        ),
        tags.p(tags.strong(operation["summary"], ".")),
    ]
    inside.extend(
        tags.p(*_words(text)) for text in operation.get("description", "").split("\n\n") if text
    )
    rows = [
        (each["name"], each["in"], _kind(document, each["schema"]), each.get("description", ""))
        for each in operation["parameters"]
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "anyOf" in schema:
            rows.extend(_fields(document, schema["anyOf"][-1]))
        else:
            rows.append(("", "body", "bytes", ""))
        break
    if rows:
        inside.append(_table(("Name", "In", "Type", ""), rows))
    good = next(status for status in operation["responses"] if status < "300")
    others = [status for status in operation["responses"] if status >= "400"]
    inside.append(tags.p("Answers ", tags.code(good), "; errors: ", ", ".join(others), "."))
    for content in operation["responses"][good].get("content", {}).values():
        attributes = _attributes(document, content["schema"])
        if attributes:
            inside.append(
                Tag("details")(
                    Tag("summary")("Attributes of the answer"),
                    _table(
                        ("Name", "Type"),
                        [(name, _kind(document, schema)) for name, schema in attributes.items()],
                    ),
                )
            )
        break
    return tags.article(*inside)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Tag:
    return tags.div(
        tags.table(
            tags.thead(tags.tr(*(tags.th(each, scope="col") for each in head))),
            tags.tbody(
                *(
                    tags.tr(tags.td(tags.code(row[0])), *(tags.td(each) for each in row[1:]))
                    for row in rows
                )
            ),
        ),
        class_="wide",
    )


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterable[tuple[str, str, str, str]]:
    resolved = _resolved(document, schema)
    for name, described in resolved.get("properties", {}).items():
        needed = name in resolved.get("required", ())
        yield (
            name,
            "body",
            _kind(document, described),
            described.get("description", "Required." if needed else ""),
        )


def _attributes(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of the resource in a document; nothing where there is none."""
    resolved = _resolved(document, schema)
    if "anyOf" in resolved:
        resolved = _resolved(document, resolved["anyOf"][0])
    data = _resolved(document, resolved.get("properties", {}).get("data", {}))
    resource = _resolved(document, data.get("items", data))
    attributes = _resolved(document, resource.get("properties", {}).get("attributes", {}))
    found: Mapping[str, Any] = attributes.get("properties", {})
    return found


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Write a type in a few words."""
    schema = _resolved(document, schema)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(str(each) for each in values if each != "")
    if "anyOf" in schema:
        return " or ".join(_kind(document, each) for each in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    if kind == "string" and schema.get("format") == "date-time":
        return "time"
    return {"boolean": "true or false", "integer": "number"}.get(kind, str(kind))


def _flat(tag: Tag) -> bytes:
    """Write a tag in which nothing has to be waited for."""
    written: list[bytes] = []
    flattening: Deferred[bytes] = flattenString(None, tag)
    flattening.addCallback(written.append)
    return written[0]
