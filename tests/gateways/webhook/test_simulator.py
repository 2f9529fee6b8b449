"""Tests of the simulated program: what it takes, refuses and prints."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from smsbridge.gateways.webhook import payload
from smsbridge.gateways.webhook.simulator.cli import described
from smsbridge.gateways.webhook.simulator.receiver import Receiver
from tests.gateways.webhook.rig import SECRET, Rig

NOW_S = 1000.0


class ReceiverTests(SynchronousTestCase):
    """A program that is posted to without a socket."""

    def setUp(self) -> None:
        """Start one that knows the secret."""
        self.lines: list[str] = []
        self.receiver = Receiver(
            lambda: NOW_S, SECRET, lambda post: self.lines.append(described(post))
        )

    def post(self, body: bytes, secret: str = SECRET, delivery_id: str = "a.0") -> int:
        """Post something; returns the status."""
        request: Any = DummyRequest([b""])
        request.method = b"POST"
        request.content = _Body(body)
        signature = payload.sign(secret, int(NOW_S), body)
        request.requestHeaders.addRawHeader(payload.SIGNATURE, signature)
        request.requestHeaders.addRawHeader("X-Smsbridge-Delivery", delivery_id)
        request.getHeader = lambda name: request.requestHeaders.getRawHeaders(name, [None])[
            0
        ]  # as a real request does for text
        self.receiver.render_POST(request)
        return int(request.responseCode or 200)

    def text(self) -> bytes:
        """Return a text as it is posted."""
        return payload.encode(payload.post_of(Rig().delivery(), lambda media: media.url))

    def test_takes_what_is_signed(self) -> None:
        """A right signature is taken and printed, another refused."""
        self.assertEqual(self.post(self.text()), 200)
        self.assertEqual(self.post(self.text(), secret="wrong"), 401)

        self.assertEqual([data["id"] for data in self.receiver.taken], ["message-a"])
        self.assertEqual(
            self.lines,
            [
                "+12025550123 to +12025550100: 'hello' (answered 200, signature right)",
                "+12025550123 to +12025550100: 'hello' (answered 401, a repeat, signature WRONG)",
            ],
        )

    def test_fails_as_often_as_it_is_told(self) -> None:
        """The first posts are answered with an error, the next is taken."""
        self.receiver.fail = 2

        statuses = [self.post(self.text()) for _ in range(3)]

        self.assertEqual(statuses, [503, 503, 200])

    def test_repeat_is_told_apart(self) -> None:
        """What was taken already is answered again and counted once."""
        self.post(self.text())
        self.post(self.text())
        self.post(self.text(), delivery_id="b.0")

        self.assertEqual(len(self.receiver.taken), 2)

    def test_nonsense_is_refused(self) -> None:
        """A body that is no JSON, or JSON of another shape, is printed as something else."""
        self.assertEqual(self.post(b"{"), 400)
        self.assertEqual(self.post(b"[1]", delivery_id="c.0"), 200)

        self.assertTrue(all(line.startswith("something else") for line in self.lines))


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, most: int) -> bytes:
        """Return the body."""
        return self._data[:most]
