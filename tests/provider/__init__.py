"""Tests of `smsbridge.provider`."""
