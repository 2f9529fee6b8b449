"""Tests of `smsbridge.gateways.signalwire`."""
