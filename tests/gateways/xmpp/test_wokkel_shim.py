"""wokkel on the Twisted that is installed."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = """
import warnings
warnings.simplefilter("error")
from smsbridge.gateways.xmpp import wokkel_shim
wokkel_shim.install()
import wokkel.data_form, wokkel.disco, wokkel.generic, wokkel.muc, wokkel.ping
import wokkel.pubsub, wokkel.subprotocols, wokkel.xmppim
"""


class ShimTests(SynchronousTestCase):
    """The compatibility shim."""

    def test_all_modules_import_without_warnings(self) -> None:
        """A new Twisted that breaks wokkel again is noticed here."""
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
        )

        self.assertEqual((done.returncode, done.stderr), (0, ""))
