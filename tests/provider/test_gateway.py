"""Tests of a provider as a gateway: the contract, what an operator is told, and reloads."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.message import Delivery
from smsbridge.interfaces import IDiscover, ILookUp, IReconcile, IWebhook
from smsbridge.keys import ConfigError
from smsbridge.provider.client import NotSent
from tests.contracts import NOBODY_KNOWS, GatewayContract
from tests.provider.fakes import FACTORY, FakeGateway
from tests.provider.rig import SECOND_LINE, Rig, answer, line


class ProviderContractTests(GatewayContract, SynchronousTestCase):
    """The contract of every gateway."""

    factory = FACTORY
    silence_is = NOBODY_KNOWS

    def setUp(self) -> None:
        """Start a gateway whose provider cannot be asked about past texts."""
        self.rig = Rig(FakeGateway(signing_key="not-a-real-key", mute=True, reconcile_every=0.0))

    def start_gateway(self) -> Any:
        """See `GatewayContract`."""
        return self.rig.gateway

    def lane(self) -> str:
        """See `GatewayContract`."""
        return "work/main"

    def configuration(self) -> tuple[Any, Any]:
        """See `GatewayContract`."""
        return self.rig.config, self.rig.lines

    def delivery(self, name: str, body: str = "hello") -> Delivery:
        """See `GatewayContract`."""
        return self.rig.delivery(name, body)

    def peer_takes(self) -> None:
        """See `GatewayContract`."""
        self.rig.api.always = answer(201)

    def peer_refuses(self) -> None:
        """See `GatewayContract`."""
        self.rig.api.always = answer(400, "no")

    def peer_takes_and_is_silent(self) -> None:
        """See `GatewayContract`."""
        self.rig.api.always = None

    def peer_is_gone(self) -> None:
        """See `GatewayContract`."""
        self.rig.api.always = NotSent("api.provider.test cannot be reached: refused.")

    def bodies_at_peer(self) -> list[str]:
        """See `GatewayContract`."""
        return self.rig.api.bodies

    def pass_time(self, seconds: float) -> None:
        """See `GatewayContract`."""
        self.rig.pass_time(seconds)


class ServiceTests(SynchronousTestCase):
    """A gateway as a whole."""

    def test_can_all_that_providers_can(self) -> None:
        """The daemon finds webhooks, look-ups, reconciliation and discovery by interface."""
        rig = Rig()

        for interface in (IWebhook, ILookUp, IReconcile, IDiscover):
            self.assertTrue(verifyObject(interface, rig.gateway))
        self.assertIs(rig.gateway.resource(), rig.gateway.resource())

    def test_lines_open_and_close_with_the_service(self) -> None:
        """Texts are given to it while it runs."""
        rig = Rig(lines={"main": line(), "side": line("side", SECOND_LINE)})
        self.assertTrue(rig.lanes.is_open("work/main") and rig.lanes.is_open("work/side"))

        rig.gateway.stopService()

        self.assertFalse(rig.lanes.is_open("work/main") or rig.lanes.is_open("work/side"))
        self.assertFalse(rig.gateway.link_status().up)

    def test_line_that_is_switched_off_stays_closed(self) -> None:
        """The sender who asks hears that the configuration says so."""
        rig = Rig(lines={"main": line(enabled=False)})

        self.assertEqual(rig.lanes.closed["work/main"], ("line-disabled", ""))
        (status,) = rig.gateway.line_status()
        self.assertEqual((status.up, status.state), (False, "switched off in the configuration"))

    def test_state_tells_whether_it_was_asked(self) -> None:
        """An account that never sent anything is not known to work."""
        rig = Rig()
        self.assertEqual(rig.gateway.link_status().state, "ready; not asked yet")

        rig.gateway.deliver("work/main", [rig.delivery()])

        self.assertEqual(rig.gateway.link_status().state, "works")


class UpdateTests(SynchronousTestCase):
    """A reload."""

    def test_credentials_change_at_once(self) -> None:
        """The next request has the new key, without a restart."""
        rig = Rig()

        self.assertTrue(rig.gateway.update(evolve(rig.config, api_key="other"), rig.lines))
        rig.gateway.deliver("work/main", [rig.delivery()])

        self.assertEqual(rig.api.asked[0].headers["Authorization"], "Bearer other")

    def test_lines_come_and_go(self) -> None:
        """A new line opens; one that is gone closes with a sentence, and the others stay."""
        rig = Rig()

        rig.gateway.update(rig.config, {"side": line("side", SECOND_LINE)})

        self.assertTrue(rig.lanes.is_open("work/side"))
        self.assertEqual(
            rig.lanes.closed["work/main"],
            ("unknown-line", "The line is not in the configuration any more."),
        )
        self.assertEqual([status.line for status in rig.gateway.line_status()], ["side"])

    def test_what_cannot_work_changes_nothing(self) -> None:
        """A line without a number is refused, and the old ones go on."""
        rig = Rig()

        with self.assertRaises(ConfigError):
            rig.gateway.update(rig.config, {"main": line(number="")})

        self.assertEqual([status.number for status in rig.gateway.line_status()], ["+12025550100"])

    def test_reload_ends_a_rest(self) -> None:
        """What the operator mended is tried at once."""
        rig = Rig()
        rig.api.sends = [answer(401)]
        rig.gateway.deliver("work/main", [rig.delivery()])
        self.assertFalse(rig.lanes.is_open("work/main"))

        rig.gateway.update(evolve(rig.config, api_key="right"), rig.lines)

        self.assertTrue(rig.lanes.is_open("work/main"))

    def test_stopped_gateway_opens_nothing(self) -> None:
        """A reload while it is down does not begin anything."""
        rig = Rig()
        rig.gateway.stopService()

        rig.gateway.update(rig.config, rig.lines)

        self.assertFalse(rig.lanes.is_open("work/main"))
        self.assertEqual(rig.clock.getDelayedCalls(), [])


class FactoryTests(SynchronousTestCase):
    """What `smsbridge check` and the configuration reader ask."""

    def test_line_needs_a_number(self) -> None:
        """The error names the line's section and the key."""
        with self.assertRaises(ConfigError) as caught:
            FACTORY.check(FakeGateway(), {"main": line(number="")})

        self.assertEqual((caught.exception.section, caught.exception.key), ("line:main", "number"))

    def test_time_limit_is_sensible(self) -> None:
        """A limit that no answer keeps, or that outlasts the attempt, is refused."""
        for timeout in (0.0, 61.0):
            with self.assertRaises(ConfigError) as caught:
                FACTORY.check(FakeGateway(timeout=timeout), {})
            self.assertEqual(caught.exception.key, "timeout")

    def test_addresses_to_paste(self) -> None:
        """The operator reads both addresses, with a place for the password and not its value."""
        config = FakeGateway(signing_key="k", http_password="not-a-password")

        (where, password) = FACTORY.advice("work", config, {}, "https://sms.example.org/")

        self.assertIn("https://smsbridge:PASSWORD@sms.example.org/hook/work about texts", where)
        self.assertIn("https://smsbridge:PASSWORD@sms.example.org/hook/work/status", where)
        self.assertIn("'http_password'", password)
        self.assertNotIn("not-a-password", where + password)

    def test_addresses_without_a_password(self) -> None:
        """Where calls are signed no password is spoken of."""
        (where,) = FACTORY.advice("work", FakeGateway(signing_key="k"), {}, "https://x.example")

        self.assertIn("https://x.example/hook/work about texts", where)

    def test_orders_to_the_provider_stand_behind_the_address(self) -> None:
        """It can be pasted as it is printed."""
        factory = evolve(FACTORY, fragment="#rc=3")

        (where,) = factory.advice("work", FakeGateway(signing_key="k"), {}, "https://x.example")

        self.assertIn("https://x.example/hook/work#rc=3 about texts", where)

    def test_missing_public_address_is_said(self) -> None:
        """Without 'public_url' the provider cannot call."""
        (sentence,) = FACTORY.advice("work", FakeGateway(signing_key="k"), {}, "")

        self.assertIn("no 'public_url' in [http]", sentence)

    def test_webhooks_that_nobody_can_check_are_said(self) -> None:
        """With neither a secret nor a password everything is refused, and the operator reads it."""
        sentences = FACTORY.advice("work", FakeGateway(), {}, "https://x.example")

        self.assertIn("Webhooks are refused until", sentences[-1])
