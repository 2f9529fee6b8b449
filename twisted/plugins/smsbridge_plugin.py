"""Tells twistd about smsbridge; the program is named here and imported only when it is chosen."""

from twisted.application.service import ServiceMaker

smsbridge = ServiceMaker(
    "smsbridge",
    "smsbridge.start",
    "Carries texts between phone lines and people's chat programs, and loses none.",
    "smsbridge",
)
