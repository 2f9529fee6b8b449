"""
Makes ``signatures.json``: calls that Twilio's own SDK signed and takes for authentic.

It needs the SDK, which is too large to be installed for tests; run it where that is::

    pip install twilio==9.13.0
    python tests/gateways/twilio/make_signatures.py tests/gateways/twilio/signatures.json

Each case is an address as Twilio signs it, the address under which the call is seen, and a form or
a document. The cases are the same in every run.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from twilio.request_validator import RequestValidator  # type: ignore[import-not-found]

CASES = 160
NAMES = ["MessageSid", "From", "To", "Body", "NumMedia", "AccountSid", "Zip", "a", "A", "é", "x y"]
VALUES = [
    *(
        "",
        "0",
        " ",
        "See you at 8",
        " blanks at both ends ",
        "tomé & co=5+5",
        "\U0001f600\U0001f468",
    ),
    *("two\nlines", "two\r\nlines", "+12025550123", "%41%2B", "<Response/>", "Ω漢字", "a" * 200),
]
PATHS = ["", "/", "/hook/work", "/hook/work/status", "/a%20b/c", "/hook/é"]
QUERIES = ["", "?delivery=0198c0de.1", "?a=1&b=%2F&c", "?x=ä", "?q=a+b&q=2"]
HOSTS = ["sms.example.org", "bridge.example.org:8443", "192.0.2.7", "SMS.example.org"]


class Form(dict[str, list[str]]):
    """A form as web frameworks give it to the SDK."""

    def getlist(self, name: str) -> list[str]:
        """Return all values of a name."""
        return self[name]


def cases(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Make the cases; each is taken by the SDK."""
    for number in range(CASES):
        token = f"token-{chance.randrange(10**9)}"
        validator = RequestValidator(token)
        scheme = chance.choice(["https", "http"])
        host, path = chance.choice(HOSTS), chance.choice(PATHS)
        query = chance.choice(QUERIES) if path else ""
        seen = signed = f"{scheme}://{host}{path}{query}"
        if ":" not in host and chance.random() < 0.5:
            port = {"https": 443, "http": 80}[scheme]
            signed = f"{scheme}://{host}:{port}{path}{query}"
            if chance.random() < 0.3:
                seen, signed = signed, seen
        algorithm = chance.choice(["HMAC_SHA1", "HMAC_SHA1", "HMAC_SHA256"])
        if number % 10 == 9 and path:
            body = json.dumps({"n": number, "words": chance.choice(VALUES)})
            told = f"{'&' if query else '?'}bodySHA256={validator.compute_hash(body)}"
            seen, signed = seen + told, signed + told
            signature = validator.compute_signature(signed, {}, algorithm)
            assert validator.validate(seen, body, signature, algorithm)
            pairs, kind = [], "application/json"
        else:
            count = 0 if number % 10 == 8 else chance.randrange(1, 9)
            pairs = [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(count)]
            form = Form()
            for name, value in pairs:
                form.setdefault(name, []).append(value)
            signature = validator.compute_signature(signed, form, algorithm)
            assert validator.validate(seen, form, signature, algorithm)
            body = urlencode(pairs, quote_via=chance.choice([quote, quote_plus]))
            kind = "application/x-www-form-urlencoded; charset=UTF-8"
        yield {
            "token": token,
            "signed": signed,
            "seen": seen,
            "algorithm": algorithm,
            "kind": kind,
            "pairs": pairs,
            "body": body,
            "signature": signature,
        }


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(list(cases(random.Random(20260101))), file, indent=0)
        file.write("\n")
