"""Tests of the signatures of SignalWire's webhooks, against its own SDK."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.signalwire.config import SignalwireGateway
from smsbridge.gateways.signalwire.mirror import SignalwireMirror
from smsbridge.gateways.signalwire.payload import SignalwireDialect
from smsbridge.provider.dialect import Hook

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "signatures.json").read_text(encoding="utf-8")
)
FORM = "application/x-www-form-urlencoded"


def config(*keys: str) -> SignalwireGateway:
    """Return the section of a project."""
    return SignalwireGateway(
        domain="example.signalwire.com",
        project_id="00000000-0000-4000-8000-000000000000",
        auth_token="PT-not-a-real-token",
        signing_key=keys,
    )


def of_case(case: dict[str, Any]) -> Hook:
    """Return the call of a case."""
    return Hook(
        method="POST",
        url=case["seen"],
        query=urlsplit(case["seen"]).query,
        headers={"content-type": FORM, case["header"]: case["signature"]},
        body=case["body"].encode(),
    )


class SdkTests(SynchronousTestCase):
    """Calls that SignalWire's SDK takes."""

    def test_what_the_sdk_takes_is_authentic(self) -> None:
        """By each of the three schemes, with repeated names in their order."""
        self.assertEqual({case["way"] for case in CASES}, {"form", "raw", "sha256"})
        for case in CASES:
            for keys in ((case["key"],), ("new", case["key"])):
                self.assertTrue(SignalwireDialect(config(*keys)).authentic(of_case(case)), case)

    def test_anything_changed_is_forged(self) -> None:
        """Another value, address, secret or signature is refused."""
        for case in CASES:
            dialect, hook = SignalwireDialect(config(case["key"])), of_case(case)
            first = "c" if case["signature"].startswith("b") else "b"
            bent = {**hook.headers, case["header"]: first + case["signature"][1:]}

            for forged in (
                evolve(hook, headers=bent),
                evolve(hook, headers={"content-type": FORM}),
                evolve(hook, body=hook.body + (b"&x=1" if hook.body else b"x=1")),
                evolve(hook, url=hook.url.replace("://", "://x", 1)),
                evolve(hook, url=""),
            ):
                self.assertFalse(dialect.authentic(forged), f"{case} {forged}")
            self.assertFalse(SignalwireDialect(config("x")).authentic(hook), case)

    def test_mirror_signs_as_the_sdk_checks(self) -> None:
        """What the played SignalWire sends has the same digests."""
        for case in CASES:
            if case["way"] == "raw":
                continue
            mirror = SignalwireMirror(config(case["key"]))

            headers = mirror.nature.sign(case["signed"], [tuple(each) for each in case["pairs"]])

            if case["way"] == "form":
                self.assertEqual(headers["X-SignalWire-Signature"], case["signature"])
            elif "%20" not in case["body"]:
                self.assertEqual(headers["X-SignalWire-Sha256-Signature"], case["signature"])


class SchemesTests(SynchronousTestCase):
    """What the schemes cover."""

    def test_repeated_values_keep_their_order(self) -> None:
        """The same values in another order are another form."""
        dialect = SignalwireDialect(config("key"))
        url = "https://sms.example.org/hook/work"
        headers = SignalwireMirror(config("key")).nature.sign(url, [("a", "2"), ("a", "1")])
        given = {"x-signalwire-signature": headers["X-SignalWire-Signature"]}
        hook = Hook(method="POST", url=url, headers={"content-type": FORM, **given})

        self.assertTrue(dialect.authentic(evolve(hook, body=b"a=2&a=1")))
        self.assertFalse(dialect.authentic(evolve(hook, body=b"a=1&a=2")))

    def test_document_must_be_covered(self) -> None:
        """The digest of the address alone is not enough for a body."""
        url = "https://sms.example.org/hook/work"
        headers = SignalwireMirror(config("key")).nature.sign(url, [])
        given = {"x-signalwire-signature": headers["X-SignalWire-Signature"]}
        hook = Hook(method="POST", url=url, headers={"content-type": "application/json", **given})
        dialect = SignalwireDialect(config("key"))

        self.assertTrue(dialect.authentic(hook))
        self.assertFalse(dialect.authentic(evolve(hook, body=b"{}")))

    def test_document_may_be_covered_by_its_digest(self) -> None:
        """With bodySHA256 in the signed address, the body must have that digest."""
        digest = hashlib.sha256(b"{}").hexdigest()
        url = f"https://sms.example.org/hook/work?bodySHA256={digest}"
        headers = SignalwireMirror(config("key")).nature.sign(url, [])
        given = {"x-signalwire-signature": headers["X-SignalWire-Signature"]}
        hook = Hook(
            method="POST",
            url=url,
            query=urlsplit(url).query,
            headers={"content-type": "application/json", **given},
            body=b"{}",
        )
        dialect = SignalwireDialect(config("key"))

        self.assertTrue(dialect.authentic(hook))
        self.assertFalse(dialect.authentic(evolve(hook, body=b"[]")))

    def test_without_a_key_nothing_is_signed(self) -> None:
        """The project's token does not check webhooks."""
        self.assertFalse(SignalwireDialect(config()).signs)
        self.assertFalse(SignalwireDialect(config()).authentic(of_case(CASES[0])))
        self.assertTrue(SignalwireDialect(config("key")).signs)
