"""Runs the command without being installed: ``python -m tests.cli ARGUMENTS``."""

from smsbridge.cli import main

main(prog_name="smsbridge")
