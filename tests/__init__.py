"""
The tests of smsbridge, run by ``python -m twisted.trial tests``.

The tree mirrors ``smsbridge/``; ``end_to_end/`` holds what needs real peers. Hypothesis tries 300
examples, and 10,000 where the environment says ``CI=true``. It keeps no database of examples: a
failure prints the example that repeats it.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "local",
    max_examples=300,
    deadline=None,
    database=None,
    # trial prints one exception, not a group of them
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("local"), max_examples=10_000)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")
