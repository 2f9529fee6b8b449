"""Says where reports about a message go whose sender is reached by HTTP."""

from __future__ import annotations

from smsbridge.core.directory import Directory, Person
from smsbridge.core.message import Origin
from smsbridge.core.webhooks import web_address
from smsbridge.errors import Refused

__all__ = ["report_origin"]


def report_origin(
    directory: Directory, person: Person, callback: str = "", ref: str = ""
) -> Origin | None:
    """
    Return where to report what becomes of a message that a program of a person sends.

    :param callback: the address that the program gave with the message; without one the person's
        webhook is told, and without that nobody.
    :param ref: what the program calls the message.
    :raises Refused: the callback is no address, or nothing here posts reports.
    """
    gateway = directory.serving.get("webhook")
    if not callback:
        if gateway is None or not person.webhook:
            return None
        address = person.webhook[0]
    else:
        if gateway is None:
            raise Refused(
                "unsupported",
                "Reports are not posted here; leave 'dlr_callback' out, or ask the operator for a "
                "[gateway:NAME] with 'kind = webhook'.",
            )
        try:
            address = web_address(callback)
        except ValueError as e:
            raise Refused("unsupported", f"Key 'dlr_callback': {e}.") from None
    return Origin(gateway=gateway, address=address, ref=ref, wants_report=True)
