"""Tests of the signatures of Twilio's webhooks, against its own SDK and its published example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.twilio.config import TwilioGateway
from smsbridge.gateways.twilio.mirror import TwilioMirror
from smsbridge.gateways.twilio.payload import TwilioDialect
from smsbridge.provider.dialect import Hook
from smsbridge.provider.spelling import basic

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "signatures.json").read_text(encoding="utf-8")
)
SID = "AC00000000000000000000000000000000"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PAIRS = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
SHA1 = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
SHA256 = "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="
FORM = "application/x-www-form-urlencoded"
SETTINGS = "x-twilio-webhooks-signature-settings"


def config(**values: Any) -> TwilioGateway:
    """Return the section of an account."""
    return TwilioGateway(**{"account_sid": SID, "auth_token": ("12345",), **values})


def call(url: str = URL, signature: str = SHA1, **headers: str) -> Hook:
    """Return the published example as a call to an address."""
    return Hook(
        method="POST",
        url=url,
        query=urlsplit(url).query,
        headers={"content-type": FORM, "x-twilio-signature": signature, **headers},
        body=urlencode(PAIRS).encode(),
    )


def of_case(case: dict[str, Any]) -> tuple[TwilioDialect, Hook]:
    """Return the dialect and the call of a case."""
    headers = {"content-type": case["kind"], "x-twilio-signature": case["signature"]}
    secrets: dict[str, Any] = {"auth_token": (case["token"],)}
    if case["algorithm"] != "HMAC_SHA1":
        headers[SETTINGS] = f"key=webhooks_sharedkey_1,algorithm={case['algorithm']}"
        secrets = {"auth_token": ("another",), "shared_key": (case["token"],)}
    hook = Hook(
        method="POST",
        url=case["seen"],
        query=urlsplit(case["seen"]).query,
        headers=headers,
        body=case["body"].encode(),
    )
    return TwilioDialect(config(**secrets)), hook


class SdkTests(SynchronousTestCase):
    """Calls that Twilio's SDK signed."""

    def test_what_the_sdk_signed_is_authentic(self) -> None:
        """Forms and documents, with repeated names and every script, on any spelling of a port."""
        self.assertGreater(len(CASES), 100)
        for case in CASES:
            dialect, hook = of_case(case)

            self.assertTrue(dialect.authentic(hook), case)

    def test_anything_changed_is_forged(self) -> None:
        """Another value, name, address, secret or signature is refused."""
        for case in CASES:
            dialect, hook = of_case(case)
            first = "C" if case["signature"].startswith("B") else "B"
            bent = {**hook.headers, "x-twilio-signature": first + case["signature"][1:]}
            is_form = case["kind"].startswith(FORM)
            forged = [
                evolve(hook, headers=bent),
                evolve(hook, body=hook.body + (b"&x=1" if is_form and hook.body else b"x=1")),
                evolve(hook, url=hook.url.replace("://", "://x", 1)),
                evolve(hook, url=""),
            ]

            for each in forged:
                self.assertFalse(dialect.authentic(each), f"{case} {each}")
            secret = config(auth_token=("x",), shared_key=("x",))
            self.assertFalse(TwilioDialect(secret).authentic(hook), case)

    def test_mirror_signs_as_the_sdk_does(self) -> None:
        """What the played Twilio sends would be taken by programs that use the SDK."""
        count = 0
        for case in CASES:
            if not case["pairs"]:
                continue
            secrets: dict[str, Any] = {"auth_token": (case["token"],)}
            if case["algorithm"] != "HMAC_SHA1":
                secrets = {
                    "auth_token": (),
                    "key_sid": "SK0",
                    "key_secret": "0",
                    "shared_key": (case["token"],),
                }
            mirror = TwilioMirror(config(**secrets))

            headers = mirror.nature.sign(case["signed"], [tuple(each) for each in case["pairs"]])

            self.assertEqual(headers["X-Twilio-Signature"], case["signature"])
            count += 1
        self.assertGreater(count, 80)


class PublishedTests(SynchronousTestCase):
    """The example that Twilio publishes, and what may happen to an address on its way."""

    def test_published_example_is_authentic(self) -> None:
        """With the auth token, and with a shared key and SHA-256."""
        self.assertTrue(TwilioDialect(config()).authentic(call()))
        shared = TwilioDialect(config(auth_token=("other",), shared_key=("x", "12345")))
        settings = {SETTINGS: "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}
        self.assertTrue(shared.authentic(call(signature=SHA256, **settings)))
        self.assertFalse(shared.authentic(call(signature=SHA256)))
        self.assertFalse(TwilioDialect(config()).authentic(call(signature=SHA256, **settings)))

    def test_unknown_algorithm_is_refused(self) -> None:
        """A scheme of the future is not taken for one that we know."""
        shared = TwilioDialect(config(shared_key=("12345",)))

        for settings in ("key=1,algorithm=NONE", "algorithm=HMAC_MD5", "algorithm=HMAC_SHA256"):
            self.assertFalse(shared.authentic(call(**{SETTINGS: settings})), settings)

    def test_token_can_be_rotated(self) -> None:
        """The old and the new token are taken while both are configured."""
        for tokens in (("12345", "new"), ("new", "12345")):
            self.assertTrue(TwilioDialect(config(auth_token=tokens)).authentic(call()))
        self.assertFalse(TwilioDialect(config(auth_token=("new",))).authentic(call()))

    def test_credentials_in_the_address_may_be_signed_or_not(self) -> None:
        """Twilio turns them into a header; whether they stay in what is signed is not said."""
        dialect = TwilioDialect(config())
        mirror = TwilioMirror(config())
        for login, user, password in (
            ("smsbridge:pass@", "smsbridge", "pass"),
            ("me:p%40ss%20word@", "me", "p@ss word"),
            ("me:p!ss@", "me", "p!ss"),
        ):
            signed = mirror.nature.sign(URL.replace("://", f"://{login}"), PAIRS)
            header = {"authorization": basic(user, password)["Authorization"]}

            signature = signed["X-Twilio-Signature"]
            self.assertTrue(dialect.authentic(call(signature=signature, **header)), login)
            self.assertTrue(dialect.authentic(call(**header)), login)
            self.assertFalse(dialect.authentic(call(signature=signature)), login)

    def test_odd_port_may_be_left_out(self) -> None:
        """The address with a port of its own is taken with and without it."""
        dialect = TwilioDialect(config())
        url = URL.replace("mycompany.com", "mycompany.com:8443")

        self.assertTrue(dialect.authentic(call(url)))
        self.assertTrue(dialect.authentic(call(URL.replace(".com", ".com:443"))))
        self.assertFalse(dialect.authentic(call(URL.replace("https", "http"))))

    def test_call_by_get_is_signed_by_its_address(self) -> None:
        """There are no values behind it."""
        url = "https://sms.example.org/hook/work?MessageSid=SM1&From=%2B12025550123"
        signature = TwilioMirror(config()).nature.sign(url, [])["X-Twilio-Signature"]
        hook = evolve(call(url, signature), method="GET", body=b"")
        dialect = TwilioDialect(config())

        self.assertTrue(dialect.authentic(hook))
        self.assertFalse(dialect.authentic(evolve(hook, url=hook.url.replace("0123", "0124"))))

    def test_document_must_be_covered(self) -> None:
        """A body that is no form and whose digest is not in the signed address proves nothing."""
        signature = TwilioMirror(config()).nature.sign(URL, [])["X-Twilio-Signature"]
        dialect = TwilioDialect(config())
        hook = call(signature=signature, **{"content-type": "application/json"})

        self.assertFalse(dialect.authentic(evolve(hook, body=b"{}")))
        self.assertTrue(dialect.authentic(evolve(hook, body=b"")))

    def test_without_secrets_nothing_is_signed(self) -> None:
        """An API key sends; it does not check webhooks."""
        keyed = config(auth_token=(), key_sid="SK0", key_secret="0")

        self.assertFalse(TwilioDialect(keyed).signs)
        self.assertFalse(TwilioDialect(keyed).authentic(call()))
        self.assertTrue(TwilioDialect(config()).signs)
