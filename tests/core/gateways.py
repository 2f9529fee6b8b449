"""Gateways that do what a test says, verified against the interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from smsbridge.core.message import Delivery, Outcome, Sent
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.interfaces import IGateway, ILookUp

Answer = Callable[[Sequence[Delivery]], Sequence[Any]]


@define(eq=False)
class Attempt:
    """One call of `deliver`, settled when the test says so."""

    lane: str
    batch: tuple[Delivery, ...]
    done: Deferred[Sequence[Outcome]]

    @property
    def bodies(self) -> list[str]:
        """The texts that were handed over."""
        return [delivery.body for delivery in self.batch]

    def settle(self, *outcomes: Any) -> None:
        """Answer with these outcomes; without any, everything was sent."""
        self.done.callback(list(outcomes) if outcomes else [Sent()] * len(self.batch))


def all_sent(batch: Sequence[Delivery]) -> Sequence[Outcome]:
    """Answer that everything was sent."""
    return [Sent()] * len(batch)


@implementer(IGateway)
class ScriptedGateway(Service):
    """
    Keeps what it is given in `attempts`; `answer` settles at once, None leaves it to the test.

    :ivar per_line: whether each line is a lane of its own, as with boxes.
    """

    kind = "scripted"

    def __init__(
        self,
        label: str,
        recognizes_repeats: bool = True,
        batch_size: int = 10,
        settle_within_s: float = 30.0,
        per_line: bool = False,
    ) -> None:
        self.label = label
        self.recognizes_repeats = recognizes_repeats
        self.batch_size = batch_size
        self.settle_within_s = settle_within_s
        self.per_line = per_line
        self.answer: Answer | None = None
        self.attempts: list[Attempt] = []

    def lane(self, line: str, destination: str) -> str:
        """See `IGateway.lane`."""
        return f"{self.label}/{line}" if self.per_line else f"{self.label}:stream"

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """See `IGateway.deliver`."""
        attempt = Attempt(lane, tuple(batch), Deferred())
        self.attempts.append(attempt)
        if self.answer is not None:
            attempt.done.callback(self.answer(batch))
        return attempt.done

    @property
    def bodies(self) -> list[list[str]]:
        """The texts of every call, in order."""
        return [attempt.bodies for attempt in self.attempts]

    def update(self, config: Any, lines: Mapping[str, Any]) -> bool:
        """See `IGateway.update`."""
        return True

    def line_status(self) -> list[LineStatus]:
        """See `IGateway.line_status`."""
        return []

    def link_status(self) -> LinkStatus:
        """See `IGateway.link_status`."""
        return LinkStatus(gateway=self.label, kind=self.kind, up=True, state="ready")


@define(eq=False)
class Question:
    """One call of `look_up`, answered when the test says so."""

    delivery: Delivery
    answer: Deferred[Outcome]


@implementer(ILookUp)
class AskedGateway(ScriptedGateway):
    """
    A box whose peer can be asked what became of a text; keeps the questions in `questions`.

    :ivar says: answers at once; None leaves it to the test.
    """

    def __init__(self, label: str = "box") -> None:
        super().__init__(
            label, recognizes_repeats=False, batch_size=4, settle_within_s=60.0, per_line=True
        )
        self.questions: list[Question] = []
        self.says: Callable[[Delivery], Any] | None = None

    def look_up(self, delivery: Delivery) -> Deferred[Outcome]:
        """See `ILookUp.look_up`."""
        question = Question(delivery, Deferred())
        self.questions.append(question)
        if self.says is not None:
            question.answer.callback(self.says(delivery))
        return question.answer

    @property
    def asked(self) -> list[str]:
        """The texts of all questions."""
        return [question.delivery.body for question in self.questions]
