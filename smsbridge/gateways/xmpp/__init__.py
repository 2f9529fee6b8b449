"""XMPP users, through an external component (XEP-0114) of an XMPP server."""

from smsbridge.gateways.xmpp.gateway import XmppFactory

__all__ = ["FACTORY"]

FACTORY = XmppFactory()
