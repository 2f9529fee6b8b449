"""The box that a gateway with ``simulate = yes`` plays to itself, for a first look without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from smsbridge.gateways.goip.config import GoipLine
from smsbridge.gateways.goip.simulator import SimulatedBox, demo_settings

__all__ = ["simulated_box"]


def simulated_box(reactor: Any, server: tuple[str, int], lines: Iterable[GoipLine]) -> SimulatedBox:
    """Build a friendly box whose lines are these: it answers every text and reports delivery."""
    lines = list(lines)
    settings = demo_settings(server, "unused", [line.id for line in lines])
    return SimulatedBox(
        reactor,
        evolve(
            settings,
            lines=tuple(
                evolve(made, password=line.password, num=line.number or made.num)
                for made, line in zip(settings.lines, lines, strict=True)
            ),
        ),
    )
