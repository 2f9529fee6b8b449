"""
What the dialect of Twilio and SignalWire asks, and what their mirrors answer, held against what
each of the two publishes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from smsbridge.provider.dialect import Outgoing, OutgoingMedia, Received, Request, Response
from smsbridge.provider.simulator.mirror import AskedDids, AskedList, AskedSend, Call
from smsbridge.provider.simulator.texts import Texts, configured
from tests.openapi_facts import Described
from tests.provider.contract import NOW_MS, OURS, THEIRS, call_of, many

__all__ = ["Published"]


class Published:
    """Requests of the dialect and answers of the mirror; mixed into a test case."""

    described: ClassVar[Described]
    factory: ClassVar[Any]
    mirror_class: ClassVar[Any]
    most_media: ClassVar[int]

    def setUp(self) -> None:
        """Build both sides."""
        config: Any = configured(self.factory.config_class, self.mirror_class.sample)
        self.dialect = self.factory.dialect(config)
        self.mirror = self.mirror_class(config)
        self.line = self.factory.line_class(label="main", gateway="work", number=OURS)
        self.texts = Texts(self.mirror)

    def outgoing(self, body: str, media: int = 0, callback: str = "") -> Outgoing:
        """Return a text to send."""
        return Outgoing(
            delivery_id="0198c0de.1",
            line=self.line,
            sender=OURS,
            recipients=(THEIRS,),
            body=body,
            media=tuple(
                OutgoingMedia(
                    url=f"https://sms.example.org/media/{n}.png", content_type="image/png"
                )
                for n in range(media)
            ),
            callback=callback,
        )

    def assert_described(self, request: Request) -> Call:
        """Fail unless a request is as the description has it."""
        self.assertEqual(self.described.wrong_request(request), [])
        return call_of(request)

    def assert_answer(self, request: Request, response: Response) -> None:
        """Fail unless an answer of the mirror is as the description has it."""
        self.assertEqual(self.described.wrong_answer(request.method, request.url, response), [])

    def test_texts_are_sent_as_described(self) -> None:
        """Whatever is written, with and without media and a status call."""

        @many
        @given(
            body=st.text(max_size=300).filter(lambda text: text.isprintable()),
            media=st.integers(0, self.most_media),
            callback=st.sampled_from(["", "https://sms.example.org/hook/work/status?delivery=1"]),
        )
        def check(body: str, media: int, callback: str) -> None:
            if body or media:
                (request,) = self.dialect.requests(self.outgoing(body, media, callback))
                self.assert_described(request)

        check()

    def test_sends_are_answered_as_described(self) -> None:
        """The id, the counts and the dates have the types that are published."""
        (request,) = self.dialect.requests(self.outgoing("look", 2))

        asked = self.mirror.asked(self.assert_described(request), NOW_MS)

        assert isinstance(asked, AskedSend)
        self.texts.name(asked.texts[0], NOW_MS)
        self.assert_answer(request, self.mirror.taken(asked.texts))

    def test_questions_are_asked_and_answered_as_described(self) -> None:
        """Look-up, listing, attachments and numbers."""
        outgoing = self.outgoing("look", 1)
        asked = self.mirror.asked(call_of(self.dialect.requests(outgoing)[0]), NOW_MS)
        assert isinstance(asked, AskedSend)
        text = asked.texts[0]
        self.texts.name(text, NOW_MS)
        listed = self.mirror.listed(AskedList(ours=OURS, most=1), [text], more=True)
        received = Received(remote_id=text.remote_id, ours=OURS, sender=THEIRS, body="")
        for request, response in (
            (self.dialect.look_up(outgoing, NOW_MS), listed),
            (self.dialect.listing(self.line, NOW_MS, NOW_MS), listed),
            (self.dialect.listed(self.line, listed).more, listed),
            (self.dialect.media_list(received), self.mirror.media_list(text)),
            *((each, self.mirror.dids(AskedDids(), (OURS,))) for each in self.dialect.discover()),
        ):
            assert request is not None
            self.assert_described(request)
            self.assert_answer(request, response)
