"""Tests of `smsbridge.core`."""
