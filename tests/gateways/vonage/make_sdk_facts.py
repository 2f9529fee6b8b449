"""
Make ``sdk_facts.json``: what Vonage's own packages send, and how they sign.

Two environments, because the plain MD5 hash is in the old package alone::

    python -m venv sdk && sdk/bin/pip install vonage
    python -m venv old && old/bin/pip install nexmo==2.5.2
    sdk/bin/python tests/gateways/vonage/make_sdk_facts.py vonage
    old/bin/python tests/gateways/vonage/make_sdk_facts.py nexmo
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

OUT = Path(__file__).with_name("sdk_facts.json")
SECRET = "a signature secret that is known to all"
AT_S = 1_767_268_800  # 2026-01-01 12:00:00 UTC
REFERENCE = "0198c0de-0000-7000-8000-00000000abcd.1"
CALLBACK = f"https://sms.example.org/hook/work/status?delivery={REFERENCE}"
APPLICATION = "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"
URL = "https://sms.example.org/media/a/p0"

#: Webhooks of the SMS API, without their signature.
CALLS: list[dict[str, str]] = [
    {
        "api-key": "abcd1234",
        "msisdn": "12025550123",
        "to": "12025550100",
        "messageId": "0A0000000123ABCD1",
        "text": " tomé & co=5+5 😀\n",
        "type": "unicode",
        "keyword": "TOMÉ",
        "message-timestamp": "2026-01-01 12:00:00",
        "timestamp": str(AT_S),
        "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    },
    {
        "api-key": "abcd1234",
        "msisdn": "12025550123",
        "to": "12025550100",
        "messageId": "0A0000000123ABCD2",
        "status": "delivered",
        "err-code": "0",
        "price": "0.03330000",
        "scts": "2601011200",
        "network-code": "310090",
        "client-ref": REFERENCE,
        "message-timestamp": "2026-01-01 12:00:00",
        "timestamp": str(AT_S),
        "nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
    },
]

MESSAGE = (
    '{"channel":"mms","message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab","to":"12025550100",'
    '"from":"12025550123","timestamp":"2026-01-01T12:00:00.000Z","message_type":"image",'
    '"image":{"url":"https://api-us.nexmo.com/v3/media/0001","name":"a.jpg","caption":"look é"}}'
)


def of_nexmo() -> dict[str, Any]:
    """Return what the package ``nexmo`` signs."""
    import nexmo

    signatures = {}
    for name, method in (
        ("md5hash", None),
        ("md5", "md5"),
        ("sha1", "sha1"),
        ("sha256", "sha256"),
        ("sha512", "sha512"),
    ):
        client = nexmo.Client(
            key="abcd1234", secret="x", signature_secret=SECRET, signature_method=method
        )
        signatures[name] = [client.signature(dict(call)) for call in CALLS]
        for call, signed in zip(CALLS, signatures[name], strict=True):
            assert client.check_signature({**call, "sig": signed.upper()})
    return {
        "nexmo": {
            "made_with": f"nexmo {version('nexmo')}",
            "secret": SECRET,
            "calls": CALLS,
            "signatures": signatures,
        }
    }


def of_vonage() -> dict[str, Any]:
    """Return what the package ``vonage`` signs and sends."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from vonage_http_client.auth import Auth
    from vonage_jwt import JwtClient, verify_signature
    from vonage_messages.models import (
        MmsAudio,
        MmsFile,
        MmsImage,
        MmsResource,
        MmsVcard,
        MmsVideo,
    )
    from vonage_sms import SmsMessage

    signatures = {}
    for method in ("md5", "sha1", "sha256", "sha512"):
        auth = Auth(
            api_key="abcd1234",
            api_secret="x",
            signature_secret=SECRET,
            signature_method=method,
        )
        signatures[method] = [auth.sign_params(dict(call)) for call in CALLS]

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    claims = {"iat": AT_S, "exp": AT_S + 900, "jti": f"{REFERENCE}-{AT_S}000-0"}
    application = JwtClient(APPLICATION, pem.decode()).generate_application_jwt(claims)

    token = jwt.encode(
        {
            "iat": AT_S,
            "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(MESSAGE.encode()).hexdigest(),
            "api_key": "abcd1234",
            "application_id": APPLICATION,
        },
        SECRET,
        algorithm="HS256",
    )
    assert verify_signature(token, SECRET)

    parties = {
        "to": "12025550123",
        "from_": "12025550100",
        "client_ref": REFERENCE,
        "webhook_url": CALLBACK,
        "webhook_version": "v1",
    }
    resource = MmsResource(url=URL, caption="look")
    mms = {
        "image": MmsImage(image=resource, **parties),
        "video": MmsVideo(video=resource, **parties),
        "audio": MmsAudio(audio=resource, **parties),
        "vcard": MmsVcard(vcard=resource, **parties),
        "file": MmsFile(file=resource, **parties),
    }
    sms = SmsMessage(
        to="12025550123",
        from_="12025550100",
        text="tomé 😀",
        type="unicode",
        client_ref=REFERENCE,
        status_report_req=True,
        callback=CALLBACK,
    )
    return {
        "vonage": {
            "made_with": ", ".join(
                f"{name} {version(name)}" for name in ("vonage", "vonage-messages", "vonage-sms")
            ),
            "signatures": signatures,
            "application": {
                "id": APPLICATION,
                "private_key": pem.decode(),
                "claims": claims,
                "token": application.decode(),
            },
            "webhook": {"body": MESSAGE, "token": token},
            "sms": sms.model_dump(by_alias=True, exclude_none=True),
            "mms": {
                name: message.model_dump(by_alias=True, exclude_none=True, mode="json")
                for name, message in mms.items()
            },
        }
    }


if __name__ == "__main__":
    found = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    found.update(of_nexmo() if sys.argv[1:] == ["nexmo"] else of_vonage())
    OUT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
