"""Tests of the gateways, one folder a kind."""
