"""Files from users and to users."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from smsbridge.core.attachments import LINK_LIFETIME_S
from smsbridge.core.message import Media
from smsbridge.errors import Refused, TemporaryFailure
from tests.gateways.xmpp.rig import (
    DIRECTORY,
    DOMAIN,
    NUMBER,
    OTHER,
    GatewayTestCase,
    body_of,
    child_of,
    text_to,
)

URL = "https://upload.example.org/a.jpg"
KEPT = Media(digest="a" * 64, content_type="image/jpeg", size=2048, name="a.jpg")


@define
class HeldFiles:
    """Files that are fetched when the test says so."""

    public_url: str = "https://sms.example.org"
    fetching: list[tuple[str, Deferred[Media]]] = field(factory=list)

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """See `Files.link`."""
        if not media.digest:
            return media.url
        return f"{self.public_url}/media/{media.digest[:4]}/{lifetime_s:.0f}/{media.name}"

    def fetch(self, url: str) -> Deferred[Media]:
        """See `Files.fetch`."""
        done: Deferred[Media] = Deferred()
        self.fetching.append((url, done))
        return done


class FilesTests(GatewayTestCase):
    """A line that has MMS, and one that has not."""

    def setUp(self) -> None:
        """Let the first line carry files."""
        super().setUp()
        self.files: Any = HeldFiles()
        self.world.media = self.files
        first = evolve(DIRECTORY.lines["first"], carries_media=True)
        self.world.directory = evolve(DIRECTORY, lines={**DIRECTORY.lines, "first": first})

    def attach(self, url: str = URL, **more: Any) -> None:
        """Let Alice send a file as clients do."""
        self.write(url, extra=f"<x xmlns='jabber:x:oob'><url>{url}</url></x>", **more)

    def bodies(self) -> list[str]:
        """Return what the inbox got, files as their digests."""
        return [
            "".join(m.digest[:1] or m.url for m in text.media) or text.body
            for text in self.inbox.messages
        ]

    def test_a_file_is_fetched_before_its_text_is_taken(self) -> None:
        """Upload services forget their files; the network wants the bytes."""
        self.attach()
        self.assertEqual(self.inbox.messages, [])

        ((url, done),) = self.files.fetching
        done.callback(KEPT)

        self.assertEqual(url, URL)
        self.assertEqual(self.inbox.messages[0].media, (KEPT,))
        self.assertEqual(self.heard(), [])

    def test_what_is_written_meanwhile_waits_behind_the_file(self) -> None:
        """The order of a conversation is kept; other conversations do not wait."""
        self.attach()
        self.write("after it", stanza_id="m2")
        self.write("elsewhere", stanza_id="m3", to=f"{OTHER}@{DOMAIN}")
        self.attach("https://upload.example.org/b.jpg", stanza_id="m4")
        self.write("last", stanza_id="m5")
        self.assertEqual(self.bodies(), ["elsewhere"])

        self.files.fetching[0][1].callback(KEPT)
        self.assertEqual(self.bodies(), ["elsewhere", "a", "after it"])
        self.files.fetching[1][1].callback(evolve(KEPT, digest="b" * 64))

        self.assertEqual(self.bodies(), ["elsewhere", "a", "after it", "b", "last"])
        self.assertEqual(self.gateway.inbound.pending, 0)

    def test_a_file_that_cannot_be_had_is_told(self) -> None:
        """The error says what is wrong with it, and what comes after it is sent."""
        self.attach()
        self.write("after it", stanza_id="m2")
        self.files.fetching[0][1].errback(Refused("too-large", "The file is larger than 64 MB."))

        self.assertEqual(
            self.error(), ("m1", "modify", "policy-violation", "The file is larger than 64 MB.")
        )
        self.assertEqual(self.bodies(), ["after it"])

        self.attach(stanza_id="m3")
        self.files.fetching[1][1].errback(TemporaryFailure("peer-down", "The host is away."))
        self.assertEqual(self.error()[1:], ("wait", "resource-constraint", "The host is away."))

    def test_a_line_without_mms_gets_the_link(self) -> None:
        """Nothing is fetched that would only go out as a link."""
        self.attach(to=f"{NUMBER}%second@{DOMAIN}")

        self.assertEqual(self.files.fetching, [])
        self.assertEqual(self.bodies(), [URL])

    def test_a_kept_file_comes_as_its_link(self) -> None:
        """The client shows it, and can still fetch it weeks later."""
        _, messages = self.deliver(text_to("t", "look", media=(KEPT,)))

        link = f"https://sms.example.org/media/aaaa/{LINK_LIFETIME_S:.0f}/a.jpg"
        self.assertEqual([body_of(m) for m in messages], [link, "look"])
        self.assertIsNotNone(child_of(messages[0], "x"))

    def test_without_a_public_address_it_is_described(self) -> None:
        """A link that leads nowhere would be worse."""
        self.files.public_url = ""

        _, messages = self.deliver(text_to("t", "look", media=(KEPT,)))

        self.assertIn("a.jpg, 2.0 kB", body_of(messages[0]))
        self.assertIsNone(child_of(messages[0], "x"))
        self.assertEqual(body_of(messages[1]), "look")

    def test_a_link_in_the_text_is_not_told_twice(self) -> None:
        """What went out as a link stands in the text already."""
        linked = evolve(KEPT, url="https://sms.example.org/media/x")

        _, (message,) = self.deliver(text_to("t", f"look\n{linked.url}", media=(linked,)))

        self.assertEqual(body_of(message), f"look\n{linked.url}")
