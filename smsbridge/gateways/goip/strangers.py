"""
Keeps count of whoever sends what we do not take: answers a few, logs once a minute.

A flood costs one counter for each datagram; memory is bounded whatever the number of sources.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from smsbridge.gateways.goip.protocol import Address

__all__ = ["ANSWERS_A_MINUTE", "Strangers"]

ANSWERS_A_MINUTE: Final = 20
_LOG_EVERY_S: Final = 60.0
_MOST_SOURCES: Final = 1024

#: What is said of each kind of refusal; the operator reads it.
SENTENCES: Final = {
    "malformed": "{count} datagrams that no GoIP sends, the last from {peer}: {detail}",
    "unknown-id": (
        "{count} datagrams with an id that no line has, the last from {peer} with id {detail!r}; "
        "give a [line:...] this id, or correct the client ID in the box"
    ),
    "wrong-password": (
        "{count} datagrams with a wrong password, the last from {peer} for {detail}; compare the "
        "line's password with the one set in the box"
    ),
    "source": (
        "{count} datagrams from addresses that 'sources' or 'pin_address' does not allow, the last "
        "from {peer} {detail}"
    ),
    "stray": "{count} answers that nobody waits for, the last from {peer}",
    "overflow": (
        "{count} datagrams were dropped because the store does not keep up, the last from {peer}; "
        "the boxes repeat them"
    ),
}


class Strangers:
    """
    Counts refusals by kind.

    :param gateway: the label, for the log.
    """

    log = Logger()

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self.counts = dict.fromkeys(SENTENCES, 0)  # since the start
        self._fresh = dict.fromkeys(SENTENCES, 0)  # since the last log entry
        self._last: dict[str, tuple[Address, str]] = {}
        self._logged_at_s: dict[str, float] = {}
        self._answered: dict[str, int] = {}  # by host, this minute
        self._minute_began_s = 0.0

    def note(self, what: str, address: Address, detail: str = "") -> None:
        """Count one; cheap."""
        self._fresh[what] += 1
        self._last[what] = (address, detail)

    def may_answer(self, host: str) -> bool:
        """Tell whether a refusal may be sent there: a few a minute, lest somebody floods by us."""
        answered = self._answered.get(host)
        if answered is None:
            if len(self._answered) >= _MOST_SOURCES:
                return False
            answered = 0
        self._answered[host] = answered + 1
        return answered < ANSWERS_A_MINUTE

    def sweep(self, now_s: float) -> None:
        """Log what is new: at once the first time, then once a minute."""
        if now_s - self._minute_began_s >= 60.0:
            self._answered.clear()
            self._minute_began_s = now_s
        for what, count in self._fresh.items():
            if not count:
                continue
            logged_at_s = self._logged_at_s.get(what)
            if logged_at_s is not None and now_s - logged_at_s < _LOG_EVERY_S:
                continue
            self._logged_at_s[what] = now_s
            self._fresh[what] = 0
            self.counts[what] += count
            (host, port), detail = self._last.pop(what)
            self.log.warn(
                "{gateway}: " + SENTENCES[what],
                gateway=self._gateway,
                count=count,
                peer=f"{host}:{port}",
                detail=detail,
            )
