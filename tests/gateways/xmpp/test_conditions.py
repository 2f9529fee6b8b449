"""The table from reasons to XMPP errors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import STANZA_CONDITIONS

from smsbridge.errors import REASONS
from smsbridge.gateways.xmpp.conditions import BY_REASON, condition_of


class ConditionTests(SynchronousTestCase):
    """What a user is told about a failure."""

    def test_every_reason_has_a_row(self) -> None:
        """A new reason must be given its error, or left out on purpose."""
        self.assertEqual(set(REASONS) - set(BY_REASON), {"outcome-unknown"})

    def test_every_condition_is_defined(self) -> None:
        """Only conditions and types of RFC 6120 appear."""
        defined = {*STANZA_CONDITIONS, "policy-violation"}  # newer than Twisted's list
        for row in BY_REASON.values():
            self.assertIn(row.condition, defined)
            self.assertIn(row.type, ("auth", "cancel", "modify", "wait"))

    def test_unknown_outcome_has_no_error(self) -> None:
        """An error for a text that may have been sent would be a lie."""
        self.assertIsNone(condition_of("outcome-unknown"))

    def test_own_sentence_replaces_the_usual_one(self) -> None:
        """What the peer said is better than what we would guess."""
        found = condition_of("throttled", "Try again in 30 seconds.")

        assert found is not None
        self.assertEqual(
            (found.type, found.condition, found.text),
            ("wait", "policy-violation", "Try again in 30 seconds."),
        )

    def test_refused_credentials_are_not_told(self) -> None:
        """A user learns nothing about the operator's secrets."""
        found = condition_of("credentials", "bad auth_token AC123")

        assert found is not None
        self.assertEqual((found.text, found.reason), (REASONS["internal"], "internal"))

    def test_unknown_reason_is_an_internal_error(self) -> None:
        """No failure goes untold."""
        found = condition_of("brand-new")

        assert found is not None
        self.assertEqual(found.condition, "internal-server-error")
