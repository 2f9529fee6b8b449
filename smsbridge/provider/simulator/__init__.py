"""A stateful double of a telephony provider, for trying things out and for tests."""
