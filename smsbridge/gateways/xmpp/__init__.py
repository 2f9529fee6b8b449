"""Chat users behind an XMPP server, reached as an external component (XEP-0114)."""
