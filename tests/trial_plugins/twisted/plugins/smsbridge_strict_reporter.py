"""Offers ``--reporter=strict`` to trial, where this folder's root is on the path."""

from twisted.plugin import IPlugin
from twisted.trial.itrial import IReporter
from zope.interface import implementer


@implementer(IPlugin, IReporter)
class _Strict:
    name = "Strict reporter"
    module = "tests.strict_reporter"
    klass = "StrictReporter"
    description = "verbose output; a skipped end-to-end test fails the run"
    longOpt = "strict"
    shortOpt = None


strict = _Strict()
