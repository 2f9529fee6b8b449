"""How attachments go out on a line."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.attachments import (
    LINK_LIFETIME_S,
    MOST_ATTACHMENTS,
    Arranged,
    arrange,
    attached,
    prepare,
    room,
    shown_bytes,
    usual_way,
)
from smsbridge.core.directory import Line
from smsbridge.core.message import Media
from smsbridge.errors import Refused, TemporaryFailure
from tests.core.rig import NUMBER, Rig

PLAIN = Line(label="plain", gateway="box")
MMS = Line(label="mms", gateway="demo", carries_media=True, media_limit=100_000)
PICTURE = Media(digest="a" * 64, content_type="image/jpeg", size=50_000, name="photo.jpg")
LARGE = evolve(PICTURE, digest="b" * 64, size=500_000)
ELSEWHERE = Media(url="https://files.example.org/a.jpg")


def link(media: Media) -> str:
    """Make a link that a phone can follow."""
    return f"https://sms.example.org/media/{media.digest[:4]}{media.name}"


def local_link(media: Media) -> str:
    """Make a link as it is without a public address."""
    return f"/media/{media.digest[:4]}"


class ArrangeTests(SynchronousTestCase):
    """`arrange`."""

    def refusal(self, *arguments: Any) -> Refused:
        """Return why it cannot go out."""
        return self.assertRaises(Refused, arrange, *arguments)  # type: ignore[no-any-return]

    def test_a_text_alone_stays_as_it_is(self) -> None:
        """Most texts have no attachments."""
        self.assertEqual(arrange(PLAIN, "hi", (), link), Arranged("sms", "hi", ()))

    def test_what_fits_goes_with_the_text(self) -> None:
        """A line with MMS carries it; the text is not touched."""
        self.assertEqual(arrange(MMS, "hi", (PICTURE,), link), Arranged("mms", "hi", (PICTURE,)))
        self.assertEqual(arrange(MMS, "", (ELSEWHERE,), None).carried_as, "mms")

    def test_where_it_cannot_it_is_a_link_in_the_text(self) -> None:
        """By a line without MMS, or too large; the message still has the file."""
        for line, media in ((PLAIN, PICTURE), (MMS, LARGE), (evolve(MMS, mms="link"), PICTURE)):
            address = link(evolve(media, name=""))
            arranged = arrange(line, "look", (media,), link)
            self.assertEqual(arranged.carried_as, "link")
            self.assertEqual(arranged.body, f"look\n{address}")
            self.assertEqual(arranged.media, (evolve(media, url=address),))
            self.assertEqual(attached(arranged.media), ())

    def test_a_link_alone_is_the_text(self) -> None:
        """Nothing is in front of it; several stand below each other."""
        arranged = arrange(PLAIN, " ", (PICTURE, LARGE), link)

        self.assertEqual(
            arranged.body, "\n".join(link(evolve(m, name="")) for m in (PICTURE, LARGE))
        )

    def test_files_elsewhere_are_named_once(self) -> None:
        """Who wrote the address already need not read it twice, and there is no file to keep."""
        arranged = arrange(PLAIN, f"see {ELSEWHERE.url}", (ELSEWHERE,), None)

        self.assertEqual(arranged, Arranged("link", f"see {ELSEWHERE.url}", ()))
        self.assertEqual(arrange(PLAIN, "", (ELSEWHERE,), None).body, ELSEWHERE.url)

    def test_what_was_arranged_stays_so(self) -> None:
        """A text that is sent again gets no second link."""
        first = arrange(PLAIN, "look", (PICTURE,), link)

        self.assertEqual(arrange(PLAIN, first.body, first.media, link), first)

    def test_links_need_a_public_address(self) -> None:
        """The sentence names the key that is missing."""
        for make in (local_link, None):
            refusal = self.refusal(PLAIN, "hi", (PICTURE,), make)
            self.assertEqual(refusal.reason, "media-unsupported")
            self.assertIn("public_url", refusal.text)

    def test_always_means_mms_or_nothing(self) -> None:
        """An operator who wants no links gets a clear refusal."""
        self.assertEqual(
            self.refusal(evolve(PLAIN, mms="always"), "hi", (PICTURE,), link).reason,
            "media-unsupported",
        )
        refusal = self.refusal(evolve(MMS, mms="always"), "hi", (LARGE,), link)
        self.assertEqual(refusal.reason, "too-large")
        self.assertIn("488 kB", refusal.text)
        self.assertEqual(
            arrange(evolve(MMS, mms="always"), "hi", (PICTURE,), link).carried_as, "mms"
        )

    def test_types_that_a_line_does_not_carry(self) -> None:
        """They are links where the line allows that, and named where it does not."""
        line = evolve(MMS, media_types=("image/jpeg", "video/*"))
        film = evolve(PICTURE, content_type="Video/3GPP; codecs=x")
        heic = evolve(PICTURE, content_type="image/heic", name="photo.heic")
        for media in (PICTURE, film, ELSEWHERE):
            self.assertEqual(arrange(line, "hi", (media,), link).carried_as, "mms")

        self.assertEqual(arrange(line, "hi", (PICTURE, heic), link).carried_as, "link")
        refusal = self.refusal(evolve(line, mms="always"), "hi", (PICTURE, heic), link)
        self.assertEqual(
            (refusal.reason, refusal.text),
            (
                "media-unsupported",
                "photo.heic is image/heic; line mms carries image/jpeg, video/*.",
            ),
        )
        self.assertIn("photo.heic", self.refusal(line, "hi", (heic,), None).text)
        many = evolve(line, mms="always", media_types=tuple(f"image/{n}" for n in range(20)))
        self.assertIn("image/7 and others.", self.refusal(many, "hi", (heic,), link).text)

    def test_more_files_than_a_line_carries(self) -> None:
        """Some networks take three."""
        line = evolve(MMS, most_media=1)

        self.assertEqual(arrange(line, "hi", (PICTURE,) * 2, link).carried_as, "link")
        refusal = self.refusal(evolve(line, mms="always"), "hi", (PICTURE,) * 2, link)
        self.assertEqual(refusal.reason, "media-unsupported")
        self.assertEqual(refusal.text, "The message has 2 files; line mms carries 1 in one.")

    def test_all_attachments_share_the_limit(self) -> None:
        """Two that fit alone may not fit together."""
        self.assertEqual(arrange(MMS, "hi", (PICTURE,) * 2, link).carried_as, "link")

    def test_the_usual_way_is_known_before_anything_is_attached(self) -> None:
        """A page offers no button for what would be refused."""
        for line, has_links, way in (
            (MMS, False, "mms"),
            (evolve(MMS, mms="link"), True, "link"),
            (evolve(MMS, mms="link"), False, "none"),
            (PLAIN, True, "link"),
            (PLAIN, False, "none"),
            (evolve(PLAIN, mms="always"), True, "none"),
        ):
            self.assertEqual(usual_way(line, has_links), way)

    def test_too_many_are_refused(self) -> None:
        """Networks take a few."""
        many = (PICTURE,) * (MOST_ATTACHMENTS + 1)
        self.assertEqual(self.refusal(MMS, "hi", many, link).reason, "too-large")

    def test_sizes_are_readable(self) -> None:
        """People read kilobytes and megabytes."""
        for size, text in (
            (7, "7 bytes"),
            (1024, "1.0 kB"),
            (614_400, "600 kB"),
            (1_500_000, "1.4 MB"),
            (10 * 1024**3, "10 GB"),
        ):
            self.assertEqual(shown_bytes(size), text)


@define
class Shrinking:
    """Files of which pictures can be made as small as is wanted, or not at all."""

    smallest: int = 1000
    fetched: list[str] = field(factory=list)

    def fit(self, media: Media, limit_bytes: int) -> Deferred[Media]:
        """See `Files.fit`."""
        if limit_bytes < self.smallest or media.content_type != "image/jpeg":
            return fail(Refused("too-large"))
        return succeed(evolve(media, size=min(limit_bytes, media.size or 0)))

    def fetch(self, url: str) -> Deferred[Media]:
        """See `Files.fetch`."""
        self.fetched.append(url)
        if "gone" in url:
            return fail(Refused("file-gone"))
        if "slow" in url:
            return fail(TemporaryFailure("peer-down"))
        return succeed(PICTURE)


class PrepareTests(SynchronousTestCase):
    """`prepare`."""

    def prepared(self, line: Line | None, *media: Media, files: Any = None) -> Any:
        """Prepare attachments."""
        return Deferred.fromCoroutine(prepare(files or Shrinking(), line, media))

    def sizes(self, line: Line, *media: Media) -> list[int | None]:
        """Return the sizes that they have then."""
        return [medium.size for medium in self.successResultOf(self.prepared(line, *media))]

    def test_what_goes_as_a_link_is_left_alone(self) -> None:
        """No line, no MMS, or no wish for it: nothing is fetched or made smaller."""
        files = Shrinking()
        for line in (None, PLAIN, evolve(MMS, mms="link")):
            done = self.prepared(line, LARGE, ELSEWHERE, files=files)
            self.assertEqual(self.successResultOf(done), (LARGE, ELSEWHERE))
        self.assertEqual(files.fetched, [])

    def test_what_is_elsewhere_is_fetched_for_an_mms(self) -> None:
        """The network wants the bytes; what cannot be had is told."""
        files = Shrinking()
        self.assertEqual(
            self.successResultOf(self.prepared(MMS, ELSEWHERE, files=files)), (PICTURE,)
        )
        self.assertEqual(files.fetched, [ELSEWHERE.url])
        self.failureResultOf(self.prepared(MMS, Media(url="https://x/gone")), Refused)
        self.failureResultOf(self.prepared(MMS, Media(url="https://x/slow")), TemporaryFailure)

    def test_what_the_line_does_not_take_is_not_made_ready(self) -> None:
        """Nothing is fetched or made smaller for an MMS that cannot be."""
        files = Shrinking()
        film = evolve(LARGE, content_type="video/mp4")
        for line, media in (
            (evolve(MMS, most_media=1), (LARGE, ELSEWHERE)),
            (evolve(MMS, media_types=("image/jpeg",)), (film, ELSEWHERE)),
            (evolve(MMS, media_types=("image/jpeg",), mms="always"), (film, ELSEWHERE)),
        ):
            done = self.prepared(line, *media, files=files)
            self.assertEqual(self.successResultOf(done), media)
        self.assertEqual(files.fetched, [])
        png = evolve(MMS, media_types=("image/png",))
        done = self.prepared(png, ELSEWHERE, evolve(LARGE, content_type="image/png"), files=files)
        self.assertEqual([medium.size for medium in self.successResultOf(done)], [50_000, 500_000])

    def test_pictures_are_made_to_fit_together(self) -> None:
        """Small ones keep their size, large ones share what is left."""
        limit = room(MMS)
        self.assertEqual(self.sizes(MMS, PICTURE), [50_000])
        self.assertEqual(self.sizes(MMS, LARGE), [limit])
        small = evolve(PICTURE, size=10_000)
        self.assertEqual(
            self.sizes(MMS, LARGE, small, LARGE),
            [(limit - 10_000) // 2, 10_000, (limit - 10_000) // 2],
        )
        self.assertEqual(self.sizes(MMS, LARGE, LARGE), [limit // 2, limit // 2])

    def test_what_cannot_be_made_smaller_becomes_a_link(self) -> None:
        """Where the line allows that; elsewhere it is refused."""
        film = evolve(LARGE, content_type="video/mp4")

        self.assertEqual(self.successResultOf(self.prepared(MMS, film)), (film,))
        self.failureResultOf(self.prepared(evolve(MMS, mms="always"), film), Refused)

    def test_too_many_are_refused_before_anything_is_fetched(self) -> None:
        """Nobody makes us fetch a hundred files."""
        files = Shrinking()

        self.failureResultOf(self.prepared(MMS, *(ELSEWHERE,) * 20, files=files), Refused)

        self.assertEqual(files.fetched, [])


@define
class Linking:
    """Files that have links with a lifetime in them."""

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """See `Files.link`."""
        return f"https://sms.example.org/media/{media.digest[:4]}?{lifetime_s:.0f}"


class InboxTests(SynchronousTestCase):
    """What the inbox makes of it."""

    def test_the_link_is_part_of_the_text_that_is_counted_and_kept(self) -> None:
        """The history shows what went out, and the file stays as long as the message."""
        rig = Rig(self.mktemp())
        self.addCleanup(rig.close)
        files: Any = Linking()
        rig.world.media = files
        rig.start("box:one")

        rig.send("x" * 120, NUMBER, media=(PICTURE,))
        rig.settle()

        (record,) = rig.store.records()
        address = f"https://sms.example.org/media/aaaa?{LINK_LIFETIME_S:.0f}"
        self.assertEqual(record.body, "x" * 120 + "\n" + address)
        (media,) = record.media
        self.assertEqual((media.digest, media.url, media.linked), ("a" * 64, address, True))
        self.assertEqual(rig.inbox.daily.of("one", rig.now_ms()), 2)
