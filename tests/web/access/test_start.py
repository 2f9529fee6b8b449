"""Tests of `smsbridge.web.access.start`: the first login, and what the daemon says at its start."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import attrs
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.config import HttpSettings
from smsbridge.core.directory import Directory, World
from smsbridge.keys import declared
from smsbridge.store.accounts import AccountTables
from smsbridge.web.access.passwords import check_password
from smsbridge.web.access.start import Door, first_login, login_url
from tests.web.access.rig import GOOD, NOW, Chance, DoorTestCase, Tables, persons

URL = "http://127.0.0.1:8080/"


class FirstLoginTests(DoorTestCase):
    """A daemon that starts."""

    def start(self, wanted: bool = True) -> str:
        """Start; returns what is said."""
        numbers = count()
        return self.result(
            first_login(
                self.logins,
                self.accounts,
                self.world,
                wanted=wanted,
                url=URL,
                choose=lambda letters: letters[next(numbers) % len(letters)],
            )
        )

    def test_first_operator_gets_a_password(self) -> None:
        """What is printed is enough to log in, and the password is a good one."""
        said = self.start()

        self.assertIn(URL, said)
        found = re.search(r"name (\S+)  password (\S+)", said)
        assert found is not None, said
        person, password = found.groups()
        self.assertEqual(person, "mary")
        self.assertRegex(password, r"^([a-z]{4}-){3}[a-z]{4}$")
        check_password(person, password)
        self.result(self.logins.log_in(person, password, keep=False))

    def test_first_person_gets_it_where_there_is_no_operator(self) -> None:
        """Somebody has to be the first."""
        self.without("mary")

        self.assertIn("name john", self.start())

    def test_later_starts_make_nothing(self) -> None:
        """The password is said once; afterwards the log says how to set a new one."""
        self.start()
        before = self.successResultOf(self.accounts.password_hash("mary"))

        said = self.start()

        self.assertEqual(self.successResultOf(self.accounts.password_hash("mary")), before)
        self.assertIn(URL, said)
        self.assertIn("smsbridge passwd mary", said)
        self.assertNotIn("-", said.replace("smsbridge-", ""))

    def test_a_password_that_somebody_has_is_enough(self) -> None:
        """Nothing is made up as soon as anybody can log in."""
        self.result(self.logins.set_password("john", GOOD))

        self.assertIn("log in as john", self.start())
        self.assertFalse(self.result(self.logins.has_password("mary")))

    def test_password_of_somebody_who_is_gone_does_not_count(self) -> None:
        """What lets nobody in is no login."""
        self.result(self.logins.set_password("john", GOOD))
        self.without("john")

        self.assertIn("name mary", self.start())

    def test_nothing_is_made_unless_it_is_wanted(self) -> None:
        """Without the key the sentence says which command to run."""
        said = self.start(wanted=False)

        self.assertIn("nobody can log in yet", said)
        self.assertIn("smsbridge passwd mary", said)
        self.assertEqual(self.successResultOf(self.accounts.states()), [])

    def test_without_persons_it_says_so(self) -> None:
        """There is nobody to log in."""
        self.world.directory = attrs.evolve(self.world.directory, persons={})

        self.assertIn("no [person:NAME]", self.start())

    def test_passwords_differ(self) -> None:
        """Chance is real where the test does not play it."""
        said = set()
        for _ in range(5):
            self.tables.empty()
            said.add(
                self.result(
                    first_login(self.logins, self.accounts, self.world, wanted=True, url=URL)
                )
            )

        self.assertEqual(len(said), 5)


class LoginUrlTests(SynchronousTestCase):
    """The address that is printed."""

    def test_addresses(self) -> None:
        """The public one, or the first that is listened at."""
        for public, listen, url in (
            ("https://sms.example.org", ("tcp:8080",), "https://sms.example.org/"),
            ("", ("tcp:8080:interface=127.0.0.1",), "http://127.0.0.1:8080/"),
            ("", ("tcp:8080",), "http://127.0.0.1:8080/"),
            ("", ("tcp:port=80:interface=192.0.2.1", "tcp:1"), "http://192.0.2.1:80/"),
            ("", (r"tcp6:8080:interface=\:\:",), "http://[::1]:8080/"),
            ("", ("unix:/run/x.sock", "ssl:8443"), "https://127.0.0.1:8443/"),
            ("", ("unix:/run/x.sock",), ""),
        ):
            self.assertEqual(login_url(public, listen), url, listen)


class SettingsTests(SynchronousTestCase):
    """The keys of ``[http]`` that concern access."""

    def test_proxies_are_addresses_and_networks(self) -> None:
        """Each is checked when the file is read."""
        (key,) = [each for each in declared(HttpSettings) if each.name == "trusted_proxies"]

        self.assertEqual(
            key.convert("127.0.0.1 10.1.2.3/8 ::1 local"),
            ("127.0.0.1", "10.0.0.0/8", "::1", "local"),
        )
        for wrong in ("proxy.example.org", "300.1.1.1", "10.0.0.0/99"):
            with self.assertRaisesRegex(ValueError, "neither an address nor a network"):
                key.convert(wrong)

    def test_nothing_is_believed_or_made_up_by_default(self) -> None:
        """Closed by default."""
        settings = HttpSettings()

        self.assertEqual((settings.trusted_proxies, settings.first_login), ((), False))


class BuildTests(TestCase):
    """The door as the daemon builds it, with real hashes in real threads."""

    async def test_built_door_works(self) -> None:
        """A password is set, somebody logs in, and the session is recognized."""
        folder = Path(self.mktemp())
        folder.mkdir()
        tables = Tables(folder)
        self.addCleanup(tables.close)
        accounts = AccountTables(tables)  # type: ignore[arg-type]
        door = Door.build(
            reactor,
            accounts,
            World(Directory(persons=persons())),
            lambda: NOW,
            str,
            tuple,
            Chance(),
        )
        door.threads.startService()
        self.addCleanup(door.threads.stopService)

        await door.logins.set_password("john", GOOD)
        logged_in = await door.logins.log_in("john", GOOD, keep=True)
        secret, _ = await door.tokens.add("work", "john")

        self.assertIsNotNone(await door.logins.session(logged_in.cookie))
        self.assertIsNotNone(await door.tokens.find(secret))
