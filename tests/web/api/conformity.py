"""Holds answers against the OpenAPI document, more strictly than the document itself asks for."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import jsonschema_rs

from smsbridge.web.api.document import openapi
from smsbridge.web.api.operation import Operation

__all__ = ["Conformity", "conformity"]


class Conformity:
    """One document, and who of its operations has answered well."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.document = openapi(operations, "1.2.3")
        strict = copy.deepcopy(self.document["components"]["schemas"])
        for schema in strict.values():
            if "properties" in schema:
                # What is not described must not be there.
                schema.setdefault("additionalProperties", False)
        self._definitions = strict
        self._paths = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + r"\Z"), methods)
            for path, methods in self.document["paths"].items()
        ]
        # Paths without variables go before those with one in the same place.
        self._paths.sort(key=lambda each: "[^/]+" in each[0].pattern)
        self._validators: dict[str, Any] = {}

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """Return what is described of a request; None where nothing is."""
        path = path.partition("?")[0]
        for pattern, methods in self._paths:
            if pattern.match(path):
                found: Mapping[str, Any] | None = methods.get(method.lower())
                return found
        return None

    def faults(self, method: str, path: str, status: int, kind: str, content: bytes) -> str:
        """Say how an answer differs from what is described; empty if it does not."""
        operation = self.operation(method, path)
        if operation is None:
            return "" if status in (404, 405) or method in ("HEAD", "OPTIONS") else "not described"
        responses = operation["responses"]
        if str(status) not in responses:
            return f"status {status} is not among {', '.join(responses)}"
        described = responses[str(status)].get("content")
        if described is None:
            return "" if not content else "an answer where none is described"
        media_type = kind.partition(";")[0]
        if media_type not in described:
            return f"{media_type} is not among {', '.join(described)}"
        if "json" not in media_type:
            return ""
        key = f"{operation['operationId']} {status}"
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.validator_for(
                {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    **described[media_type]["schema"],
                    "components": {"schemas": self._definitions},
                }
            )
        errors: Sequence[Any] = list(self._validators[key].iter_errors(json.loads(content)))
        return "; ".join(f"{each.instance_path}: {each.message}" for each in errors[:3])


@cache
def conformity(*operations: Operation) -> Conformity:
    """Make the document once for all tests that serve the same operations."""
    return Conformity(operations)
