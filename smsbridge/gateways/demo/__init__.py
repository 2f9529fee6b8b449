"""Lines without any hardware, for a first look, for demonstrations and for tests."""

from smsbridge.gateways.demo.gateway import DemoFactory

__all__ = ["FACTORY"]

FACTORY = DemoFactory()
