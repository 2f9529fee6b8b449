"""Tests of `smsbridge.web.access`."""
