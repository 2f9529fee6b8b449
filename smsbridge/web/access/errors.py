"""What can be wrong with a login, a password or a token, as sentences for people."""

from __future__ import annotations

__all__ = ["AccountError"]


class AccountError(Exception):
    """
    It cannot be done.

    :ivar code: short and for programs: ``credentials``, ``password``, ``unknown-person``,
        ``unknown-line``, ``name``, ``taken``, ``scope``, ``expiry``, ``not-permitted``,
        ``not-found``.
    :ivar text: a sentence that says what to do.
    :ivar field: which input is wrong; empty if none is.
    """

    def __init__(self, code: str, text: str, field: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.field = field
