"""Tests of the judge that holds requests against what a provider publishes."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.provider.dialect import Request, Response
from tests.openapi_facts import Described, facts

SPEC = {
    "openapi": "3.0.1",
    "servers": [{"url": "https://api.example.org/v1"}],
    "paths": {
        "/accounts/{id}/texts": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"pattern": "^A[0-9]+$"}}
            ],
            "post": {
                "description": "words",
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {
                            "schema": {"$ref": "#/components/schemas/New"}
                        },
                        "application/json": {"schema": {"$ref": "#/components/schemas/New"}},
                    }
                },
                "responses": {
                    "201": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["id"],
                                    "properties": {"id": {"type": "string", "nullable": True}},
                                }
                            }
                        }
                    }
                },
            },
            "get": {
                "parameters": [
                    {"name": "Size", "in": "query", "schema": {"type": "integer", "maximum": 9}}
                ],
                "responses": {"200": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "New": {
                "type": "object",
                "description": "words",
                "required": ["To"],
                "properties": {
                    "To": {"type": "string", "maxLength": 12, "example": "words"},
                    "Url": {"type": "array", "items": {"type": "string", "format": "uri"}},
                    "Mms": {"type": "boolean"},
                    "description": {"type": "string"},
                    "Next": {"$ref": "#/components/schemas/New"},
                },
            }
        }
    },
}
URL = "https://elsewhere.example.org/v1/accounts/A1/texts"


class DescribedTests(SynchronousTestCase):
    """Requests and answers against a small description."""

    def setUp(self) -> None:
        """Make the file from the description and read it."""
        path = Path(self.mktemp())
        operations = ["POST /accounts/{id}/texts", "GET /accounts/{id}/texts"]
        self.facts = facts(SPEC, operations, "made up")
        path.write_text(json.dumps(self.facts))
        self.described = Described(path)

    def form(self, body: bytes, url: str = URL) -> list[str]:
        """Judge a form."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.described.wrong_request(
            Request(method="POST", url=url, headers=headers, body=body)
        )

    def test_keeps_facts_and_no_words(self) -> None:
        """Names, types and limits are kept; what is written for people is not."""
        self.assertNotIn("words", json.dumps(self.facts))
        self.assertIn("description", self.facts["$defs"]["New"]["properties"])

    def test_calls_of_the_provider_are_operations_too(self) -> None:
        """A callback is found by its name, and a server may stand at a path alone."""
        callback = {"{url}": {"post": {"requestBody": {"content": {"application/json": {}}}}}}
        spec = {
            "paths": {"/texts": {"get": {}, "servers": [{"url": "https://a.example/v2"}]}},
            "components": {"callbacks": {"told": callback}},
        }

        found = facts(spec, ["GET /texts", "POST /callbacks/told"], "made up")

        self.assertEqual(found["server"], "https://a.example/v2")
        self.assertEqual(
            found["operations"]["POST /callbacks/told"]["body"], {"application/json": {}}
        )

    def test_right_form_is_right(self) -> None:
        """A form with described names, lists as repeated names, has nothing wrong."""
        self.assertEqual(
            self.form(b"To=%2B1&Url=https%3A%2F%2Fa.example%2F1&Url=https%3A%2F%2Fb&Mms=true"), []
        )

    def test_names_every_kind_of_mistake(self) -> None:
        """A missing, unknown, repeated, too long or ill-formed value is named."""
        for body, word in (
            (b"Mms=true", "To is missing"),
            (b"To=1&to=1", "to is not described"),
            (b"To=1&To=2", "given 2 times"),
            (b"To=1234567890123", "form: To"),
            (b"To=1&Mms=yes", "form: Mms"),
            (b"To=1&Url=no+url", "form: Url"),
        ):
            wrong = self.form(body)

            self.assertEqual(len(wrong), 1, wrong)
            self.assertIn(word, wrong[0])

    def test_address_is_judged(self) -> None:
        """A path that does not exist, and one whose part is ill-formed, are wrong."""
        for url in (URL.replace("/v1", ""), URL.replace("A1", "B1"), URL + "/more"):
            self.assertEqual(len(self.form(b"To=1", url)), 1, url)

    def test_query_is_judged(self) -> None:
        """Numbers in a query are read as numbers and held to their limits."""
        for query, count in (("?Size=9", 0), ("?Size=10", 1), ("?Size=x", 1), ("?size=1", 1)):
            wrong = self.described.wrong_request(Request(url=URL + query))

            self.assertEqual(len(wrong), count, wrong)

    def test_json_is_judged_within(self) -> None:
        """An unknown name is found inside of a described object, too."""
        for value, count in (
            ({"To": "1", "Next": {"To": "2"}}, 0),
            ({"To": "1", "Next": {"To": 2}}, 1),
            ({"To": "1", "Next": {"To": "2", "other": 1}}, 1),
        ):
            wrong = self.described.wrong_request(
                Request(
                    method="POST",
                    url=URL,
                    headers={"content-type": "application/json"},
                    body=json.dumps(value).encode(),
                )
            )

            self.assertEqual(len(wrong), count, wrong)

    def test_answers_are_judged(self) -> None:
        """The far side is held to the description as well; null is allowed where it says so."""
        for status, body, count in (
            (201, b'{"id": null}', 0),
            (201, b'{"id": 1}', 1),
            (201, b"{}", 1),
            (201, b"{", 1),
            (202, b"{}", 1),
        ):
            wrong = self.described.wrong_answer(
                "POST",
                URL,
                Response(status=status, headers={"content-type": "application/json"}, body=body),
            )

            self.assertEqual(len(wrong), count, wrong)
