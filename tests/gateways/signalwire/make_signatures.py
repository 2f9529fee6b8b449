"""
Makes ``signatures.json``: calls that SignalWire's own SDK takes for authentic, by each scheme.

It needs the SDK, whose many requirements are of no use to tests; run it where that is::

    pip install --no-deps signalwire-sdk==3.7.5
    python tests/gateways/signalwire/make_signatures.py \
        SITE-PACKAGES/signalwire/core/security/webhook_validator.py \
        tests/gateways/signalwire/signatures.json

The SDK only checks; the digests are made by the functions that it checks with. The cases are the
same in every run.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

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
PATHS = ["/", "/hook/work", "/hook/work/status", "/a%20b/c", "/hook/é"]
QUERIES = ["", "?delivery=0198c0de.1", "?a=1&b=%2F&c", "?x=ä", "?q=a+b&q=2"]
HOSTS = ["sms.example.org", "bridge.example.org:8443", "192.0.2.7"]
SHA256 = "x-signalwire-sha256-signature"


def cases(sdk: dict[str, Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Make the cases; each is taken by the SDK."""
    for number in range(CASES):
        key = f"PSK-{chance.randrange(10**9)}"
        scheme = chance.choice(["https", "http"])
        host = chance.choice(HOSTS)
        tail = chance.choice(PATHS) + chance.choice(QUERIES)
        seen = signed = f"{scheme}://{host}{tail}"
        count = 0 if number % 10 == 8 else chance.randrange(1, 9)
        pairs = [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(count)]
        body = urlencode(pairs, quote_via=chance.choice([quote, quote_plus]))
        way = ("form", "raw", "sha256")[number % 3]
        if way == "form":
            if ":" not in host and chance.random() < 0.5:
                signed = f"{scheme}://{host}:{443 if scheme == 'https' else 80}{tail}"
                if chance.random() < 0.3:
                    seen, signed = signed, seen
            signature = sdk["_b64_hmac_sha1"](key, signed + sdk["_sorted_concat_params"](pairs))
            header = chance.choice(["x-signalwire-signature", "x-twilio-signature"])
        elif way == "raw":
            signature = sdk["_hex_hmac_sha1"](key, signed + body)
            header = "x-signalwire-signature"
        else:
            signature, header = sdk["_hex_hmac_sha256"](key, signed + body), SHA256
        check = "validate_webhook_signature" + ("_sha256" if header == SHA256 else "")
        assert sdk[check](key, signature, seen, body)
        yield {
            "key": key,
            "way": way,
            "signed": signed,
            "seen": seen,
            "header": header,
            "pairs": pairs,
            "body": body,
            "signature": signature,
        }


if __name__ == "__main__":
    functions = runpy.run_path(sys.argv[1])
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(list(cases(functions, random.Random(20260101))), file, indent=0)
        file.write("\n")
