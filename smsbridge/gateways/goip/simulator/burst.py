"""Load for a server: many texts received by a box, as fast as it takes them or at a pace."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smsbridge.gateways.goip.simulator.channel import Channel, PendingPush

_TICK_S = 0.01


class Burst:
    """
    Let channels receive ``count`` texts in turn, numbered from 1.

    Without ``rate`` at most ``window`` are unacknowledged at any time; with it, so many texts a
    second arrive whatever the server does.  ``latencies_s`` holds the seconds from the first
    transmission to the acknowledgement, one for each accepted text.
    """

    def __init__(
        self,
        clock: IReactorTime,
        channels: Sequence[Channel],
        count: int,
        *,
        window: int = 32,
        rate: float = 0.0,
        sender: str = "+1202555{:04d}",
        text: str = "burst {}",
    ) -> None:
        if count < 1 or window < 1 or rate < 0:
            raise ValueError(
                "a burst needs a count and a window of at least 1, and no rate below 0"
            )
        self.count = count
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.lost = 0
        self.latencies_s: list[float] = []
        self.started_at_s = 0.0
        self.finished_at_s: float | None = None
        self._clock = clock
        self._channels = channels
        self._window = window
        self._rate = rate
        # The last four digits stay within the fictional numbers, 0100 to 0199.
        self._senders = [sender.format(100 + index) for index in range(100)]
        self._text = text
        self._flying = 0
        self._filling = False
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self.started_at_s = self._clock.seconds()
        if self._rate:
            self._tick()
        else:
            self._fill()

    def stop(self) -> None:
        """Send no more; what is on its way may still be acknowledged."""
        self.count = self.sent
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _fill(self) -> None:
        # An acknowledgement can arrive inside the call that sends, when no socket is between.
        if self._filling:
            return
        self._filling = True
        while self.sent < self.count and self._flying < self._window:
            self._send()
        self._filling = False

    def _tick(self) -> None:
        elapsed_s = self._clock.seconds() - self.started_at_s
        due = min(self.count, int(elapsed_s * self._rate) + 1)
        while self.sent < due:
            self._send()
        if self.sent < self.count:
            self._timer = self._clock.callLater(_TICK_S, self._tick)

    def _send(self) -> None:
        number = self.sent
        self.sent += 1
        self._flying += 1
        self._channels[number % len(self._channels)].receive_sms(
            self._senders[number % 100], self._text.format(number + 1), on_settled=self._settled
        )

    def _settled(self, push: PendingPush, outcome: str) -> None:
        self._flying -= 1
        now_s = self._clock.seconds()
        if outcome == "accepted":
            self.accepted += 1
            self.latencies_s.append(now_s - push.first_sent_s)
        elif outcome == "refused":
            self.refused += 1
        else:
            self.lost += 1
        if self.accepted + self.refused + self.lost >= self.count:
            self.finished_at_s = now_s
        elif not self._rate:
            self._fill()

    def summary(self) -> dict[str, float | int | bool]:
        """Return counts, seconds, texts a second, and latencies in milliseconds."""
        finished = self.finished_at_s is not None
        until_s = self.finished_at_s if self.finished_at_s is not None else self._clock.seconds()
        seconds = until_s - self.started_at_s
        ordered = sorted(self.latencies_s)

        def percentile_ms(share: float) -> float:
            return round(ordered[int(share * (len(ordered) - 1))] * 1000, 3) if ordered else 0.0

        return {
            "count": self.count,
            "sent": self.sent,
            "accepted": self.accepted,
            "refused": self.refused,
            "lost": self.lost,
            "finished": finished,
            "seconds": round(seconds, 3),
            "per_second": round(self.accepted / seconds, 1) if seconds > 0 else 0.0,
            "p50_ms": percentile_ms(0.5),
            "p99_ms": percentile_ms(0.99),
        }
