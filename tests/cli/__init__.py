"""Tests of the ``smsbridge`` command."""
