"""
Make ``sdk_facts.json``: what the package ``telnyx`` sends, and signatures that it takes.

Run in an environment of its own, whose libraries need not fit ours::

    python -m venv sdk && sdk/bin/pip install telnyx pynacl
    sdk/bin/python tests/gateways/telnyx/make_sdk_facts.py
"""

from __future__ import annotations

import base64
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import nacl.signing
import telnyx
from telnyx.lib import verify_webhook_signature
from telnyx.types.messaging_inbound_message_payload import MessagingInboundMessagePayload
from telnyx.types.outbound_message_payload import OutboundMessagePayload

OUT = Path(__file__).with_name("sdk_facts.json")
CALLBACK = "https://sms.example.org/hook/work?delivery=0198c0de-0000-7000-8000-00000000abcd.1"
PICTURES = ["https://sms.example.org/media/a/p0.jpg", "https://sms.example.org/media/b/p1.jpg"]
BODIES = [
    '{"data":{"event_type":"message.received","payload":{}}}',
    '{"data": {"event_type": "message.finalized",\n "text": "tomé 😀"}}\n',
]


def requests() -> dict[str, Any]:
    """Return what the package sends for three texts."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"data": {"id": "40385f64-5717-4562-b3fc-2c963f66afa6"}})

    client = telnyx.Telnyx(
        api_key="KEY-not-a-key", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    common: dict[str, Any] = {
        "from_": "+12025550100",
        "webhook_url": CALLBACK,
        "use_profile_webhooks": False,
    }
    client.messages.send(to="+12025550123", text="tomé 😀", type="SMS", **common)
    client.messages.send(
        to="+12025550123", text="look", type="MMS", media_urls=PICTURES[:1], **common
    )
    client.messages.send_group_mms(
        to=["+12025550123", "+12025550124"], text="all", media_urls=PICTURES, **common
    )
    return {
        name: {
            "method": request.method,
            "url": str(request.url),
            "authorization": request.headers["authorization"],
            "content_type": request.headers["content-type"],
            "values": json.loads(request.content),
        }
        for name, request in zip(("sms", "mms", "group"), sent, strict=True)
    }


def schemas() -> dict[str, Any]:
    """Return the shapes of what the package reads, without their words and with nothing else."""
    return {
        "received": _bare(MessagingInboundMessagePayload.model_json_schema()),
        "sent": _bare(OutboundMessagePayload.model_json_schema()),
    }


def _bare(value: Any, names: bool = False) -> Any:
    """Leave out what is written for people; `names` says that the keys are names of values."""
    if isinstance(value, dict):
        found = {
            key: _bare(each, key in ("properties", "$defs"))
            for key, each in value.items()
            if names or key not in ("title", "description", "default", "format")
        }
        if not names and found.get("properties"):
            found["additionalProperties"] = False
        return found
    return [_bare(each) for each in value] if isinstance(value, list) else value


def signatures() -> dict[str, Any]:
    """Return webhooks signed with libsodium that the package takes for genuine."""
    key = nacl.signing.SigningKey(b"a seed for tests, known to all..")
    public = base64.b64encode(bytes(key.verify_key)).decode()
    stamp = str(int(time.time()))
    calls = []
    for body in BODIES:
        signature = key.sign(f"{stamp}|{body}".encode()).signature
        headers = {
            "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
            "telnyx-timestamp": stamp,
        }
        verify_webhook_signature(body, headers, public)
        calls.append({"body": body, "headers": headers})
    return {"public_key": public, "calls": calls}


if __name__ == "__main__":
    found = {
        "made_with": f"telnyx {version('telnyx')}, pynacl {version('pynacl')}",
        "requests": requests(),
        "webhooks": signatures(),
        "schemas": schemas(),
    }
    OUT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
