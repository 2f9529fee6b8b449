"""
Plays a program: takes posts, checks signatures, and answers as it was told.

It keeps what it took by the id of each post, as a careful program does, so that a repeat is told
apart from a second text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from smsbridge.gateways.webhook import payload

__all__ = ["Post", "Receiver"]

_MOST_BYTES = 8 * 1024 * 1024


@frozen
class Post:
    """One post as it came."""

    delivery_id: str
    document: Any  # None where the body is no JSON
    signed: bool | None  # None where no secret is known or no signature came
    status: int  # how it was answered; 0: not at all
    repeated: bool


class Receiver(Resource):
    """
    Answers posts to any path.

    :ivar fail: how many posts more are answered with an error; below zero: all.
    :ivar silent: takes posts and never answers.
    :ivar came: everything that came, in order.
    """

    isLeaf = True

    def __init__(
        self,
        seconds: Callable[[], float],
        secret: str = "",
        told: Callable[[Post], None] = lambda post: None,
    ) -> None:
        super().__init__()
        self._seconds = seconds
        self._secret = secret
        self._told = told
        self._taken: set[str] = set()
        self.fail = 0
        self.error = 503
        self.silent = False
        self.came: list[Post] = []

    def site(self) -> Site:
        """Return what a port serves."""
        site = Site(self)
        site.noisy = False
        return site

    @property
    def taken(self) -> list[Any]:
        """Return the ``data`` of what was taken, repeats left out."""
        return [
            post.document["data"]
            for post in self.came
            if 200 <= post.status < 300 and not post.repeated and "data" in post.document
        ]

    def render_POST(self, request: Request) -> Any:
        """Take a post."""
        content = request.content
        body = content.read(_MOST_BYTES) if content is not None else b""
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        signature = request.getHeader(payload.SIGNATURE.lower())
        signed = None
        if self._secret:
            signed = payload.verifies(self._secret, signature or "", body, self._seconds())
        status = self._status(document, signed)
        delivery_id = request.getHeader("x-smsbridge-delivery") or ""
        repeated = delivery_id in self._taken
        if 200 <= status < 300:
            self._taken.add(delivery_id)
        post = Post(delivery_id, document, signed, status, repeated)
        self.came.append(post)
        self._told(post)
        if not status:
            return NOT_DONE_YET
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"text/plain")
        return b"taken" if status == 200 else b"not taken"

    def _status(self, document: Any, signed: bool | None) -> int:
        if self.silent:
            return 0
        if document is None:
            return 400
        if signed is False:
            return 401
        if self.fail:
            self.fail -= self.fail > 0
            return self.error
        return 200
