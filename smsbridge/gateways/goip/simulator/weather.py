"""What can happen to datagrams between a box and its server: loss, copies, delay, another order."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smsbridge.gateways.goip.simulator.settings import Span

Forward = Callable[[bytes, tuple[str, int]], None]


def _share(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is a share between 0 and 1, such as 0.2")


@attrs.frozen(kw_only=True)
class Weather:
    """
    The faults of one direction; ``loss``, ``duplicate`` and ``reorder`` are shares of 0 to 1.

    A datagram picked for ``reorder`` is held back long enough for later ones to overtake it.
    """

    loss: float = attrs.field(default=0.0, validator=_share)
    duplicate: float = attrs.field(default=0.0, validator=_share)
    reorder: float = attrs.field(default=0.0, validator=_share)
    delay: Span = attrs.field(default=Span(0.0))
    reorder_delay: Span = attrs.field(default=Span(0.05, 0.3))

    @property
    def fair(self) -> bool:
        """Whether nothing happens at all."""
        return not (self.loss or self.duplicate or self.reorder or self.delay.high_s)


class Path:
    """One direction of the network; counts what it lost, copied and held back."""

    def __init__(self, clock: IReactorTime, rng: random.Random) -> None:
        self.weather = Weather()
        self.fair = True
        self.lost = 0
        self.duplicated = 0
        self.reordered = 0
        self._clock = clock
        self._rng = rng
        self._timers: set[IDelayedCall] = set()

    def change(self, weather: Weather) -> None:
        """Apply other faults from now on."""
        self.weather = weather
        self.fair = weather.fair

    def carry(self, forward: Forward, datagram: bytes, addr: tuple[str, int]) -> None:
        """Forward a datagram now, later, twice or never."""
        if self.fair:
            forward(datagram, addr)
            return
        weather, rng = self.weather, self._rng
        if rng.random() < weather.loss:
            self.lost += 1
            return
        copies = 1
        if rng.random() < weather.duplicate:
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            delay_s = weather.delay.draw(rng)
            if rng.random() < weather.reorder:
                self.reordered += 1
                delay_s += weather.reorder_delay.draw(rng)
            if delay_s > 0:
                self._later(delay_s, forward, datagram, addr)
            else:
                forward(datagram, addr)

    def close(self) -> None:
        """Drop what is on the way."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _later(
        self, delay_s: float, forward: Forward, datagram: bytes, addr: tuple[str, int]
    ) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            forward(datagram, addr)

        timer = self._clock.callLater(delay_s, fire)
        self._timers.add(timer)
