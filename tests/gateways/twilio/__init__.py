"""Tests of `smsbridge.gateways.twilio`."""
