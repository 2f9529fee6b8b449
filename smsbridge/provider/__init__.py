"""
What all telephony providers share: the side of smsbridge that talks to an HTTP API.

A provider's folder below `smsbridge.gateways` brings a `dialect.Dialect`, which is pure: requests,
answers and webhooks as values.  Everything that takes time or touches the world is here, once.
"""
