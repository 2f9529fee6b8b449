"""Tests with real peers: servers and clients that smsbridge did not write."""
