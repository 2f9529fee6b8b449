"""
A GoIP box without the hardware: its channels register, text, answer USSD and fail as real ones do.

``channel`` is one SIM slot and knows no socket; ``box`` joins channels to UDP sockets and faults;
``cli``, ``prompt``, ``script`` and ``control`` let people and programs drive it.  The device's
behavior follows the vendor's "GOIP SMS Interface" and reports from the field.
"""

from smsbridge.gateways.goip.simulator.box import Box, SimulatedBox
from smsbridge.gateways.goip.simulator.channel import Channel
from smsbridge.gateways.goip.simulator.settings import (
    PROFILES,
    BoxSettings,
    LineSettings,
    Menu,
    Profile,
    Span,
    Timing,
    demo_settings,
    numbered_lines,
)

__all__ = [
    "PROFILES",
    "Box",
    "BoxSettings",
    "Channel",
    "LineSettings",
    "Menu",
    "Profile",
    "SimulatedBox",
    "Span",
    "Timing",
    "demo_settings",
    "numbered_lines",
]
