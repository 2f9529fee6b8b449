"""Tests of the GoIP gateway."""
