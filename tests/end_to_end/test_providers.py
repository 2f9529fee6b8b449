"""Every provider, played over real sockets, and the daemon as a process that may be killed."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import treq
from attrs import evolve, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from smsbridge import gateways
from smsbridge.core.message import Status
from smsbridge.provider.dialect import Outgoing
from smsbridge.provider.simulator import cli
from smsbridge.provider.simulator.mirror import DoubleText
from smsbridge.provider.simulator.pictures import picture
from smsbridge.provider.simulator.server import ProviderDouble, Timing
from smsbridge.provider.simulator.texts import configured
from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port
from tests.end_to_end.test_durability import pause

PATIENCE_S = 60.0
TIMING = Timing(status_s=0.1, repeat_s=(0.3,) * 60)
#: The key of each section that is wrong where credentials are wrong.
CREDENTIALS = {
    "bandwidth": "api_secret",
    "flowroute": "secret_key",
    "signalwire": "auth_token",
    "telnyx": "api_key",
    "twilio": "auth_token",
    "voipms": "api_password",
    "vonage": "api_secret",
}
#: These understand STOP themselves; the others leave it to the bridge.
KNOW_STOP = ("telnyx", "twilio")
#: These refuse a text to a number that is out; others say so later, or never.
REFUSE_THOSE_WHO_ARE_OUT = ("flowroute", "signalwire", "telnyx", "twilio")
#: These say in a report that a number is out; Vonage's code may mean something else.
TELL_WHO_IS_OUT = ("bandwidth", "flowroute", "signalwire", "telnyx", "twilio")
GROUPS_OUT = ("bandwidth", "telnyx")
GROUPS_IN = ("bandwidth", "telnyx", "voipms")
#: A list without words finds a text, and never says that it is missing.
NEVER_SURE = ("bandwidth",)


@frozen
class Account:
    """One account that is played, and the line at it; both have the gateway's label."""

    label: str
    kind: str
    section: dict[str, str]
    double: ProviderDouble
    dialect: Any
    area: int

    @property
    def ours(self) -> str:
        """The number that is rented."""
        return self.double.numbers[0]

    def theirs(self, ending: str) -> str:
        """Return the number of a stranger; its ending decides what goes wrong."""
        return f"+1{self.area}55501{ending}"

    @property
    def done(self) -> str:
        """What is known in the end of a text that goes well."""
        return "delivered" if self.dialect.reports else "sent"

    @property
    def looks_up(self) -> bool:
        """Whether one can ask for a text whose answer was lost."""
        line = gateways.load(self.kind).line_class(label="a", gateway="b", number=self.ours)
        text = Outgoing(
            delivery_id="d", line=line, sender=self.ours, recipients=("+12025550123",), body="x"
        )
        return self.dialect.look_up(text, 1_767_268_800_000) is not None

    @property
    def lists(self) -> bool:
        """Whether the texts of a line can be listed."""
        line = gateways.load(self.kind).line_class(label="a", gateway="b", number=self.ours)
        return self.dialect.listing(line, 1_767_268_800_000, 1_767_355_200_000) is not None

    def sent_to(self, ending: str) -> list[DoubleText]:
        """Return what the provider took for a number."""
        number = self.theirs(ending)
        return [each for each in self.double.texts if each.outbound and number in each.recipients]


class ProvidersTests(TestCase):
    """One daemon with a gateway, a line and an account for each provider, or several."""

    timeout = 240

    async def start(
        self, wrong: str = "", endings: tuple[str, ...] = (), password: str = ""
    ) -> None:
        """
        Start all.

        :param wrong: stands in the configuration instead of each right credential.
        :param endings: how the numbers end that each get an account of their own, because what
            goes wrong with a text makes those behind it wait.
        :param password: what webhooks must carry besides their signature.
        """
        self.password = password
        self.port = free_port()
        self.public_url = f"http://127.0.0.1:{self.port}"
        labels = [
            (f"{kind}-{ending}" if ending else kind, kind)
            for kind in cli.PROVIDERS
            for ending in endings or ("",)
        ]
        self.accounts = [
            self.account(label, kind, number) for number, (label, kind) in enumerate(labels)
        ]
        self.opt_out = ""
        self.daemon = DaemonProcess(reactor, self.configuration(wrong))
        self.addCleanup(self.daemon.remove)
        await self.daemon.start()

    def account(self, label: str, kind: str, number: int) -> Account:
        """Play one provider."""
        port = free_port()
        section = cli.sample_values(kind, f"http://127.0.0.1:{port}")
        if self.password and kind != "vonage":  # whose calls have a token in the same header
            section["http_password"] = self.password
        factory: Any = gateways.load(kind)
        config = configured(factory.config_class, section)
        double = ProviderDouble(
            reactor,
            cli.mirror_of(kind, config),
            [f"+120255501{number:02d}"],
            cli.hook_address(self.public_url, label, config.http_password),
            timing=TIMING,
            knows_stop=kind in KNOW_STOP,
            port=port,
        )
        double.startService()
        self.addCleanup(double.stopService)
        return Account(label, kind, section, double, factory.dialect(config), 203)

    def configuration(self, wrong: str = "") -> str:
        """Write the ini text."""
        sections = [
            f"[http]\nlisten = tcp:{self.port}:interface=127.0.0.1\n"
            f"public_url = {self.public_url}\n"
        ]
        for account in self.accounts:
            values = dict(account.section)
            if wrong:
                values[CREDENTIALS[account.kind]] = wrong
            keys = "".join(f"{name} = {value}\n" for name, value in values.items())
            sections.append(
                f"[gateway:{account.label}]\nkind = {account.kind}\n{keys}"
                "timeout = 3s\nreconcile_every = 0\n"
                f"[line:{account.label}]\ngateway = {account.label}\nnumber = {account.ours}\n"
            )
            if self.opt_out:
                word = "provider" if account.kind in KNOW_STOP else self.opt_out
                sections.append(f"opt_out = {word}\n")
        labels = " ".join(account.label for account in self.accounts)
        sections.append(f"[person:jane]\nlines = {labels}\nadmin = yes\n")
        return "\n".join(sections)

    # -- what tests do -----------------------------------------------------------------------------

    async def send(
        self, account: Account, ending: str, text: str = "", *, data: bytes = b"", code: int = 202
    ) -> str:
        """Send a text as the operator's command does; its body tells it apart."""
        asked: dict[str, Any] = {
            "line": account.label,
            "to": [account.theirs(ending)],
            "text": text or f"to {ending}",
        }
        if data:
            encoded = base64.b64encode(data).decode()
            asked["media"] = [{"name": "a.jpg", "content_type": "image/jpeg", "data": encoded}]
        status, answer = await self.daemon.request("POST", "/messages", asked)
        self.assertEqual(status, code, f"{account.label}: {answer}")
        return answer

    async def send_all(self, *endings: str, text: str = "") -> None:
        """Send a text to such a number at every provider."""
        for ending in endings:
            for account in self.accounts:
                await self.send(account, ending, text)

    async def messages(self) -> dict[str, list[Any]]:
        """Return all messages by line."""
        found: dict[str, list[Any]] = {account.label: [] for account in self.accounts}
        for message in await self.daemon.listing("/messages"):
            found[message["line"]].append(message)
        return found

    async def statuses(self) -> dict[tuple[str, str], str]:
        """Map line and the last two digits of the recipient to the status of what was sent."""
        return {key: each["status"] for key, each in (await self.deliveries()).items()}

    async def deliveries(self) -> dict[tuple[str, str], Any]:
        """Map line and the last two digits of the recipient to the delivery of what was sent."""
        return {
            (line, delivery["to"][-2:]): delivery
            for line, messages in (await self.messages()).items()
            for message in messages
            for delivery in message["deliveries"]
            if delivery["to"].startswith("+")
        }

    async def until(self, check: Callable[[], Awaitable[Any]], wanted: Any) -> None:
        """Wait until something is as it is wanted."""
        clock: Any = reactor
        deadline = clock.seconds() + PATIENCE_S
        while (found := await check()) != wanted:
            if clock.seconds() > deadline:
                if isinstance(found, dict):
                    different = {key: each for key, each in found.items() if each != wanted[key]}
                    self.fail(f"{different}\n{self.daemon.output[-4000:]}")
                self.assertEqual(found, wanted, self.daemon.output[-4000:])
            await pause(0.1)

    async def statuses_become(self, wanted: dict[tuple[str, str], str]) -> None:
        """Wait until what was sent has these statuses."""

        async def found() -> dict[tuple[str, str], str]:
            return {key: value for key, value in (await self.statuses()).items() if key in wanted}

        await self.until(found, wanted)

    async def came(self) -> dict[str, Counter[str]]:
        """Count the texts of each line that came from the network, by body."""
        return {
            line: Counter(each["body"] for each in messages if each["from"] != self.ours(line))
            for line, messages in (await self.messages()).items()
        }

    def ours(self, line: str) -> str:
        """Return the number of a line."""
        return next(each.ours for each in self.accounts if each.label == line)

    # -- the tests ---------------------------------------------------------------------------------

    async def test_texts_and_pictures_go_both_ways_and_are_reported(self) -> None:
        """SMS and MMS out and in, delivered, failed, reported early, twice and in any order."""
        await self.start(password="not/a secret@all+%41")
        photo = picture(7).data
        for account in self.accounts:
            await self.send(account, "23", "Gr\u00fc\u00dfe \u20ac \U0001f600")
            await self.send(account, "24", "look", data=photo)
        await self.send_all("41", "46", "48", "49", "50")
        for account in self.accounts:
            double = account.double
            double.hook += "?account=1&x=%2F"  # an operator may, and it is part of what is signed
            double.receive(account.theirs("25"), account.ours, " hi \U0001f600\n there ")
            double.receive("72975", account.ours, "Your code is 1234")
            double.receive(account.theirs("48"), account.ours, "twice")
            double.receive(account.theirs("26"), account.ours, "a picture", [picture(8)])

        wanted = {}
        for account in self.accounts:
            for ending in ("23", "24", "46", "48", "49"):
                wanted[account.label, ending] = account.done
            wanted[account.label, "41"] = "failed" if account.dialect.reports else "sent"
            wanted[account.label, "50"] = "sent"
            if account.kind == "signalwire":
                wanted[account.label, "24"] = "sent"  # no receipts of MMS there
        await self.statuses_become(wanted)
        bodies = [" hi \U0001f600\n there ", "Your code is 1234", "a picture", "twice"]
        await self.until(self.came, {each.label: Counter(bodies) for each in self.accounts})

        deliveries = await self.deliveries()
        messages = await self.messages()
        for account in self.accounts:
            for ending in ("23", "24", "41", "46", "48", "49", "50"):
                (text,) = account.sent_to(ending)
                delivery = deliveries[account.label, ending]
                self.assertEqual(delivery["remote_id"], text.remote_id)
                self.assertEqual(text.sender, account.ours)
            (text,) = account.sent_to("23")
            self.assertEqual(text.body, "Gr\u00fc\u00dfe \u20ac \U0001f600")
            (text,) = account.sent_to("24")
            self.assertEqual([each.data for each in text.media], [photo], account.kind)
            self.assertEqual(text.body, "look")
            if account.dialect.reports:
                self.assertTrue(deliveries[account.label, "41"]["reason"])
            (code,) = (each for each in messages[account.label] if each["from"] == "72975")
            self.assertIn(account.ours, code["to"])
            (pictured,) = (each for each in messages[account.label] if each["body"] == "a picture")
            self.assertEqual(pictured["from"], account.theirs("26"))
            (medium,) = pictured["media"]
            answer = await treq.get(medium["url"], persistent=False)
            self.assertEqual(await answer.content(), picture(8).data)

    async def test_nothing_is_sent_twice_when_answers_are_lost(self) -> None:
        """Throttled, cut, failed and silent providers: each text is there once, or uncertain."""
        endings = ("24", "43", "44", "45", "47", "51")
        await self.start(endings=endings)
        same = [each for each in self.accounts if each.label.endswith("24")]
        for account in same:
            # An equal text went out before, and the second one is lost on its way.
            await self.send(account, "24")
        await self.statuses_become({(each.label, "24"): each.done for each in same})
        for account in same:
            account.double.fail("cut-lost")
        for account in self.accounts:
            await self.send(account, account.label[-2:])

        wanted = {}
        for account in self.accounts:
            ending = account.label[-2:]
            sure = account.looks_up and account.kind not in NEVER_SURE
            found = "sent" if account.looks_up else "uncertain"
            wanted[account.label, ending] = {
                "24": account.done if sure else "uncertain",
                "43": account.done,
                "44": found,
                "45": account.done if sure else "uncertain",
                "47": account.done if sure else "uncertain",
                "51": found,
            }[ending]
        wanted["voipms-43", "43"] = "queued"  # its pause is a minute
        await self.statuses_become(wanted)

        deliveries = await self.deliveries()
        for account in self.accounts:
            ending = account.label[-2:]
            delivery = deliveries[account.label, ending]
            never = wanted[account.label, ending] in ("uncertain", "queued")
            kept = 0 if never and ending in ("24", "43", "45", "47") else 1
            kept += account in same
            texts = account.sent_to(ending)
            self.assertEqual(len(texts), kept, account.label)
            if not never:
                self.assertEqual(delivery["remote_id"], texts[-1].remote_id)
            again = ending in ("24", "43", "45", "47") and not never
            self.assertEqual(delivery["attempts"], 2 if again else 1, account.label)

    async def test_wrong_credentials_hold_texts_until_they_are_mended(self) -> None:
        """The first text fails and the operator is told; later ones go out after a reload."""
        await self.start(wrong="not-the-right-one")
        await self.send_all("23")
        await self.statuses_become({(each.label, "23"): "failed" for each in self.accounts})
        await self.send_all("24", "25")

        deliveries = await self.deliveries()
        for account in self.accounts:
            self.assertTrue(deliveries[account.label, "23"]["reason"])
            self.assertEqual(deliveries[account.label, "24"]["status"], "queued", account.kind)
        links = {each["gateway"]: each for each in await self.daemon.listing("/links")}
        for account in self.accounts:
            self.assertFalse(links[account.label]["up"], account.kind)
            self.assertNotIn("not-the-right-one", json.dumps(links[account.label]))
        self.assertNotIn("not-the-right-one", self.daemon.output)
        self.daemon.write(self.configuration())
        self.daemon.hang_up()

        await self.statuses_become(
            {(each.label, ending): each.done for each in self.accounts for ending in ("24", "25")}
        )
        for account in self.accounts:
            counts = [len(account.sent_to(ending)) for ending in ("23", "24", "25")]
            self.assertEqual(counts, [0, 1, 1], account.kind)
            links = {each["gateway"]: each for each in await self.daemon.listing("/links")}
            self.assertTrue(links[account.label]["up"], links[account.label])

    async def test_stop_is_honored(self) -> None:
        """After STOP a text is refused at the door, whoever understood the word."""
        await self.start()
        self.opt_out = "bridge"
        self.daemon.write(self.configuration())
        await self.daemon.ask("POST", "/reload")
        for account in self.accounts:
            account.double.receive(account.theirs("23"), account.ours, "STOP")
        await self.until(self.came, {each.label: Counter({"STOP": 1}) for each in self.accounts})

        refusing = [each for each in self.accounts if each.kind in REFUSE_THOSE_WHO_ARE_OUT]
        telling = [each for each in self.accounts if each.kind in TELL_WHO_IS_OUT]
        found_out = [(each, "42") for each in refusing] + [(each, "52") for each in telling]
        for account, ending in found_out:
            await self.send(account, ending, "one that finds out")
        await self.statuses_become({(each.label, ending): "failed" for each, ending in found_out})
        for account, ending in found_out:
            answer = await self.send(account, ending, "no second one", code=422)
            self.assertIn("opted-out", answer)

        for account in self.accounts:
            answer = await self.send(account, "23", "not any more", code=422)
            self.assertIn("opted-out", answer)
            bodies = [each.body for each in account.sent_to("23")]
            self.assertNotIn("not any more", bodies)
            account.double.receive(account.theirs("23"), account.ours, "START")
        wanted = {each.label: Counter({"STOP": 1, "START": 1}) for each in self.accounts}
        await self.until(self.came, wanted)
        for account in self.accounts:
            if account.kind not in KNOW_STOP:
                await self.send(account, "23", "again")

    async def test_killed_between_commit_and_answer_and_between_send_and_record(self) -> None:
        """Nothing that arrived is lost or doubled, and nothing is sent again by itself."""
        await self.start()
        for account in self.accounts:
            account.double.fail("silent")
        await gatherResults(
            [Deferred.fromCoroutine(self.send(each, "23", "once")) for each in self.accounts]
        )
        while not all(each.sent_to("23") for each in self.accounts):
            await pause(0.02)
        for number in range(15):
            for account in self.accounts:
                account.double.receive(account.theirs("25"), account.ours, f"text {number}")
        while sum(each.double.counts["heard"] for each in self.accounts) < 30:
            await pause(0.005)

        await self.daemon.kill()
        await self.daemon.start()

        bodies = Counter(f"text {number}" for number in range(15))
        await self.until(self.came, {each.label: bodies for each in self.accounts})
        await self.statuses_become(
            {(each.label, "23"): "sent" if each.looks_up else "uncertain" for each in self.accounts}
        )
        await self.send_all("24")
        await self.statuses_become({(each.label, "24"): each.done for each in self.accounts})
        for account in self.accounts:
            self.assertEqual(len(account.sent_to("23")), 1, account.kind)
            self.assertEqual(len(account.sent_to("24")), 1, account.kind)

    async def test_what_webhooks_missed_is_fetched_once(self) -> None:
        """Texts and statuses of which nobody told are found in the provider's own list."""
        await self.start()
        listing = [each for each in self.accounts if each.lists]
        self.assertGreaterEqual(len(listing), 5)
        await self.send_all("50")
        await self.statuses_become({(each.label, "50"): "sent" for each in self.accounts})
        texts = []
        for account in self.accounts:
            (text,) = account.sent_to("50")
            text.status = Status.DELIVERED
            hook, account.double.hook = account.double.hook, ""
            account.double.receive(account.theirs("25"), account.ours, " missed \U0001f600")
            texts.append(
                account.double.receive(account.theirs("26"), account.ours, "", [picture(8)])
            )
            account.double.hook = hook

        for missed in (2, 0):
            for account in listing:
                wanted = 0 if account.kind in NEVER_SURE else missed
                asked = {"gateway": account.label, "since_s": 86400}
                _, answer = await self.daemon.request("POST", "/reconcile", asked)
                result = json.loads(answer.splitlines()[-1])
                self.assertEqual((result["missed"], result["problems"]), (wanted, []), answer)
        for account, text in zip(self.accounts, texts, strict=True):
            account.double.tell(text)  # at last

        expected = {}
        for account in self.accounts:
            words = account.lists and account.kind not in NEVER_SURE
            expected[account.label] = Counter(["", " missed \U0001f600"] if words else [""])
        await self.until(self.came, expected)
        await self.statuses_become({(each.label, "50"): each.done for each in listing})
        for account in self.accounts:
            await self.pictures_become(account, 1)
        await self.numbers_are_listed()

    async def numbers_are_listed(self) -> None:
        """Fail unless each account lists its numbers with their lines, or says that it cannot."""
        found = await self.daemon.listing("/numbers")

        able = [each for each in self.accounts if each.dialect.discover()]
        self.assertGreaterEqual(len(able), 5)
        self.assertEqual(
            sorted((each["gateway"], each["number"]) for each in found if "number" in each),
            sorted((each.label, each.ours) for each in able),
        )
        self.assertTrue(all(each["line"] == each["gateway"] for each in found if "line" in each))
        self.assertEqual(
            {each["gateway"] for each in found if "error" in each},
            {each.label for each in self.accounts} - {each.label for each in able},
        )

    async def pictures_become(self, account: Account, count: int) -> None:
        """Wait until so many messages of a line have a picture."""

        async def found() -> int:
            messages = (await self.messages())[account.label]
            return sum(bool(each["media"]) for each in messages if each["from"] != account.ours)

        await self.until(found, count)

    async def test_parts_and_pictures_outlive_a_daemon(self) -> None:
        """Parts whose others are to come, and pictures that are not fetched yet, are kept."""
        await self.start()
        (vonage,) = (each for each in self.accounts if each.kind == "vonage")
        vonage.double.receive(vonage.theirs("25"), vonage.ours, "two ", part=("7", 2, 3))
        vonage.double.receive(vonage.theirs("25"), vonage.ours, "three", part=("7", 3, 3))
        for account in self.accounts:
            account.double.media_failures = 1
            account.double.receive(account.theirs("26"), account.ours, "look", [picture(9)])
        while not all(each.double.counts["withheld"] for each in self.accounts):
            await pause(0.02)
        while vonage.double.counts["heard"] < 3:
            await pause(0.02)

        await self.daemon.kill()
        await self.daemon.start()
        vonage.double.receive(vonage.theirs("25"), vonage.ours, "One ", part=("7", 1, 3))

        wanted = {each.label: Counter(["look"]) for each in self.accounts}
        wanted["vonage"]["One two three"] += 1
        await self.until(self.came, wanted)
        for account in self.accounts:
            await self.pictures_become(account, 1)

    async def test_group_texts_are_one_message(self) -> None:
        """Where the provider has group texts, they go out and come in as one."""
        await self.start()
        made = await self.daemon.ask("POST", "/tokens", {"name": "shop", "person": "jane"})
        groups = [each for each in self.accounts if each.kind in GROUPS_OUT]
        for account in groups:
            attributes = {
                "from": account.ours,
                "to": [account.theirs("23"), account.theirs("24")],
                "body": "to both",
                "group": True,
            }
            answer = await treq.post(
                f"{self.public_url}/api/v2.2/messages",
                json={"data": {"type": "message", "attributes": attributes}},
                auth=("shop", made["token"]),
                persistent=False,
            )
            self.assertEqual(answer.code, 202, await answer.text())
        await self.statuses_become(
            {(each.label, ending): each.done for each in groups for ending in ("23", "24")}
        )
        for account in groups:
            (text,) = account.sent_to("23")
            self.assertEqual(text.recipients, (account.theirs("23"), account.theirs("24")))
        for account in self.accounts:
            if account.kind in GROUPS_IN:
                others = [account.theirs("24")]
                account.double.receive(account.theirs("23"), account.ours, "all", others=others)

        async def recipients() -> dict[str, list[set[str]]]:
            return {
                line: [set(each["to"]) for each in messages if each["body"] == "all"]
                for line, messages in (await self.messages()).items()
                if line in GROUPS_IN
            }

        await self.until(
            recipients,
            {
                each.label: [{each.ours, each.theirs("24")}]
                for each in self.accounts
                if each.kind in GROUPS_IN
            },
        )

    async def test_killed_again_and_again_while_sending(self) -> None:
        """Each text is at the provider once, or not and nobody says that it is."""
        await self.start()
        for account in self.accounts:
            account.double.timing = evolve(TIMING, think_s=0.1)
        endings = [f"{number:02d}" for number in (*range(20), *range(60, 80))]
        await self.send_all(*endings)

        for share in (0.2, 0.5, 0.8):
            while sum(len(each.double.texts) for each in self.accounts) < share * 40 * 7:
                await pause(0.01)
            await self.daemon.kill()
            await self.daemon.start()

        async def waiting() -> int:
            statuses = Counter((await self.statuses()).values())
            return statuses["queued"] + statuses["sending"]

        await self.until(waiting, 0)
        statuses = await self.statuses()
        uncertain = 0
        for account in self.accounts:
            for ending in endings:
                count = len(account.sent_to(ending))
                status = statuses[account.label, ending]
                uncertain += status == "uncertain"
                self.assertLessEqual(count, 1, f"{account.label} {ending} {status}")
                self.assertIn(status, ("sent", "delivered", "uncertain"))
                if status != "uncertain":
                    self.assertEqual(count, 1, f"{account.label} {ending} {status}")
        # Only what was on its way in a moment of dying may be doubtful.
        self.assertLessEqual(uncertain, 3 * 4 * 7)

    async def test_same_words_again_are_another_text(self) -> None:
        """A lost text is not taken for an older one with the same words, also after a restart."""
        await self.start()
        await self.send_all("23", text="same")
        await self.statuses_become({(each.label, "23"): each.done for each in self.accounts})
        for account in self.accounts:
            account.double.fail("silent")
        await self.send_all("23", text="same")
        while not all(len(each.sent_to("23")) == 2 for each in self.accounts):
            await pause(0.02)

        await self.daemon.kill()
        await self.daemon.start()

        async def second() -> dict[str, tuple[str, str]]:
            found = {}
            for line, messages in (await self.messages()).items():
                (delivery,) = (
                    each for each in messages[-1]["deliveries"] if each["to"].startswith("+")
                )
                found[line] = (delivery["status"], delivery["remote_id"])
            return found

        await self.until(
            second,
            {
                each.label: ("sent", each.sent_to("23")[1].remote_id)
                if each.looks_up
                else ("uncertain", "")
                for each in self.accounts
            },
        )

    async def test_strangers_are_turned_away(self) -> None:
        """A webhook without the right signature or password is refused, and nothing is stored."""
        await self.start()
        for account in self.accounts:
            section = {**account.section}
            for name in ("http_password", "signing_key", "signature_secret", "auth_token"):
                if name in section:
                    section[name] = "another-one"
            if account.kind == "telnyx":
                continue  # its simulated key cannot be changed; see the contract of dialects
            factory: Any = gateways.load(account.kind)
            config = configured(factory.config_class, section)
            stranger = ProviderDouble(
                reactor,
                cli.mirror_of(account.kind, config),
                account.double.numbers,
                cli.hook_address(self.public_url, account.kind, config.http_password),
                timing=Timing(repeat_s=()),
            )
            stranger.startService()
            self.addCleanup(stranger.stopService)
            stranger.receive(account.theirs("23"), account.ours, "forged")
            while not stranger.calls:
                await pause(0.02)
            (call,) = stranger.calls
            assert call.response is not None
            self.assertIn(call.response.status, (401, 403), account.kind)
            self.assertEqual(call.response.body, b"")
        self.assertEqual(sum(map(len, (await self.messages()).values())), 0)
