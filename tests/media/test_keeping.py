"""The media store on a folder and a ledger in memory."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from smsbridge.core.files import Files, Ledger
from smsbridge.core.message import Media
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.media.links import split
from tests.media.files import DAY_MS, Rig, StubLedger, opened, picture
from tests.media.test_pictures import bomb


def segments(link: str) -> list[str]:
    """Cut the path of a link as a web server does."""
    return [unquote(part) for part in split(link) or []]


class MediaStoreTests(TestCase):
    """`MediaStore`."""

    timeout = 30

    def setUp(self) -> None:
        """Start one."""
        self.rig = Rig(reactor, Path(self.mktemp()))
        self.store = self.rig.store
        self.addCleanup(lambda: self.store.stopService())

    def upload(self, data: bytes) -> Path:
        """Write a file as an entrance does while it comes."""
        path = self.store.upload_path()
        path.write_bytes(data)
        return path

    async def refusal(self, doing: Any) -> Any:
        """Return why something is refused."""
        return await self.assertFailure(doing, Refused)

    def make_old(self) -> None:
        """Let everything on the disk be from long ago."""
        for path in self.rig.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))

    async def test_is_what_the_core_expects(self) -> None:
        """The seams hold, for the type checker as well."""
        files: Files = self.store
        ledger: Ledger = StubLedger()

        self.assertIsNotNone(files)
        self.assertIsNotNone(ledger)

    async def test_keeps_bytes_under_their_digest(self) -> None:
        """What was kept is there unchanged, with the type of its content and a row."""
        data = picture()

        media = await self.store.keep(data, "../Photo.PNG", "text/html")

        digest = hashlib.sha256(data).hexdigest()
        self.assertEqual(
            media,
            Media(content_type="image/png", size=len(data), name="Photo.PNG", digest=digest),
        )
        path = self.store.path(media)
        assert path is not None
        self.assertEqual(path.read_bytes(), data)
        self.assertEqual(path.relative_to(self.rig.folder).parts[:2], (digest[:2], digest[2:4]))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(self.rig.ledger.rows[digest].width, 64)
        self.assertEqual(self.store.size_px(media), (64, 48))
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

    async def test_the_same_content_is_kept_once(self) -> None:
        """Whoever sends it again, under whatever name, there is one file."""
        first, second = await gatherResults(
            [self.store.keep(b"hello", "a.txt"), self.store.keep(b"hello", "b.txt")]
        )

        self.assertEqual(first.digest, second.digest)
        self.assertEqual((first.name, second.name), ("a.txt", "b.txt"))
        self.assertEqual(self.store.statistics.files, 1)
        self.assertEqual(self.store.statistics.bytes, 5)

    async def test_an_upload_is_moved(self) -> None:
        """What was streamed to the disk is not copied again; other files are out of reach."""
        path = self.upload(b"a long file")

        media = await self.store.keep(path, "a.txt")

        self.assertFalse(path.exists())
        kept = self.store.path(media)
        assert kept is not None
        self.assertEqual(kept.read_bytes(), b"a long file")
        foreign = Path(self.mktemp())
        foreign.write_bytes(b"mine")
        await self.assertFailure(self.store.keep(foreign), ValueError)
        self.assertTrue(foreign.exists())

    async def test_limits_are_for_what_persons_send(self) -> None:
        """Too large or too much is refused in plain words; what the network brought is kept."""
        self.rig.change(max_bytes=10)
        refusal = await self.refusal(self.store.keep(b"x" * 11))
        self.assertEqual(refusal.reason, "too-large")
        self.assertIn("11 bytes", refusal.text)
        path = self.upload(b"x" * 11)
        self.assertEqual((await self.refusal(self.store.keep(path))).reason, "too-large")
        self.assertFalse(path.exists())

        self.rig.change(max_bytes=100, cap_bytes=20)
        await self.store.keep(b"y" * 15)
        self.assertEqual((await self.refusal(self.store.keep(b"z" * 6))).reason, "storage-full")
        self.assertEqual((await self.refusal(self.store.keep(b""))).reason, "empty")

        await self.store.keep(b"z" * 200, received=True)
        self.assertIn("media_cap", self.store.statistics.alarm)

    async def test_a_full_disk_is_left_to_the_database(self) -> None:
        """Persons are told; what the network brings stays there until there is room."""
        self.rig.change(reserve_bytes=10**18)

        refusal = await self.refusal(self.store.keep(b"hello"))
        self.assertEqual(refusal.reason, "storage-full")
        self.assertIn("nearly full", self.store.statistics.alarm)
        await self.assertFailure(self.store.keep(b"hello", received=True), TemporaryFailure)
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

        self.rig.change(reserve_bytes=0)
        await self.store.keep(b"hello")
        self.assertEqual(self.store.statistics.alarm, "")

    async def test_a_folder_that_cannot_be_written_is_a_passing_trouble(self) -> None:
        """Nobody is told that a file is kept, and the operator reads why not in the log."""
        media = await self.store.keep(b"hello")
        path = self.store.path(media)
        assert path is not None
        digest = hashlib.sha256(b"other").hexdigest()
        (self.rig.folder / digest[:2]).write_bytes(b"in the way")

        await self.assertFailure(self.store.keep(b"other"), TemporaryFailure)

        self.assertNotIn(digest, self.rig.ledger.rows)
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

    async def test_the_operator_is_warned_before_the_room_is_used_up(self) -> None:
        """The sentence names the key, and goes when there is room again."""
        self.rig.change(cap_bytes=100)
        await self.store.keep(b"x" * 95)
        self.assertIn("95 bytes of the 100 bytes", self.store.statistics.alarm)

        self.rig.change(cap_bytes=1000)
        await self.store.sweep()

        self.assertEqual(self.store.statistics.alarm, "")
        self.assertEqual(self.store.statistics.cap, 1000)

    async def test_bombs_are_refused_from_persons_and_kept_from_the_network(self) -> None:
        """Nobody is made to show it, and nothing that came is lost."""
        refusal = await self.refusal(self.store.keep(bomb(50_000, 50_000)))
        self.assertEqual(refusal.reason, "bad-file")

        media = await self.store.keep(bomb(50_000, 50_000), received=True)

        self.assertIsNotNone(self.store.path(media))
        self.assertIsNone(self.store.size_px(media))

    async def test_a_link_opens_the_file_until_it_expires(self) -> None:
        """It tells type and name, and what may be done with the file."""
        media = await self.store.keep(picture(), "a b.png")
        asked = segments(self.store.link(media))

        found = await self.store.opened(asked)

        self.assertEqual(
            (found.content_type, found.name, found.inline, found.size),
            ("image/png", "a b.png", True, media.size),
        )
        self.rig.now_ms += 9 * DAY_MS
        self.assertEqual((await self.refusal(self.store.opened(asked))).reason, "file-gone")
        self.assertEqual((await self.refusal(self.store.opened(["x", "y"]))).reason, "bad-file")

    async def test_links_begin_with_the_public_address(self) -> None:
        """A phone must be able to follow them."""
        media = await self.store.keep(b"hello")
        self.rig.change(public_url="https://sms.example.org/here")

        self.assertTrue(self.store.link(media).startswith("https://sms.example.org/here/media/"))
        elsewhere = Media(url="https://example.org/a")
        self.assertEqual(self.store.link(elsewhere), "https://example.org/a")

    async def test_links_outlive_a_restart(self) -> None:
        """The key is kept beside the files."""
        media = await self.store.keep(b"hello")
        link = self.store.link(media)
        await self.store.stopService()

        self.store.startService()

        self.assertEqual((await self.store.opened(segments(link))).size, 5)

    async def test_small_pictures_are_made_once_and_on_demand(self) -> None:
        """Many who ask at once cause one picture; other files have none."""
        media = await self.store.keep(picture(900, 600, "JPEG", noise=True), "a.jpg")
        asked = segments(self.store.thumbnail_link(media))

        found = await gatherResults([self.store.opened(asked) for _ in range(5)])

        self.assertEqual(len({each.path for each in found}), 1)
        self.assertEqual(opened(found[0].path.read_bytes()).size, (320, 213))
        self.assertEqual(found[0].content_type, "image/jpeg")
        self.assertEqual(self.store.thumbnail_link(await self.store.keep(b"text")), "")

    async def test_a_broken_picture_has_no_small_one(self) -> None:
        """It is a sentence, not a fault of ours."""
        data = picture(300, 300, "JPEG", noise=True)
        media = await self.store.keep(data[: len(data) // 2], "a.jpg")

        asked = segments(self.store.thumbnail_link(media))

        self.assertEqual((await self.refusal(self.store.opened(asked))).reason, "bad-file")

    async def test_pictures_are_made_to_fit(self) -> None:
        """A picture too large for a line becomes one that fits; the first one stays."""
        media = await self.store.keep(picture(800, 800, "PNG", noise=True), "a.png")

        fitted = await self.store.fit(media, 60_000)

        assert fitted.size is not None
        self.assertLessEqual(fitted.size, 60_000)
        self.assertEqual((fitted.content_type, fitted.name), ("image/jpeg", "a.jpg"))
        self.assertNotEqual(fitted.digest, media.digest)
        self.assertIsNotNone(self.store.path(media))
        self.assertEqual(await self.store.fit(media, media.size or 0), media)

    async def test_what_cannot_be_made_smaller_is_refused(self) -> None:
        """The sentence says why and what to do."""
        text = await self.store.keep(b"x" * 1000, "a.txt")
        heic = await self.store.keep(b"\0\0\0\x18ftypheic" + bytes(1000), "a.heic")

        self.assertIn("1000 bytes", (await self.refusal(self.store.fit(text, 100))).text)
        self.assertIn("as JPEG", (await self.refusal(self.store.fit(heic, 100))).text)
        gone = evolve(text, digest="f" * 64, size=None)
        self.assertEqual((await self.refusal(self.store.fit(gone, 100))).reason, "file-gone")

    async def test_uploads_are_found_and_stay_another_day(self) -> None:
        """Between upload and sending nobody sweeps them away."""
        media = await self.store.keep(b"hello", "a.txt")
        self.rig.now_ms += DAY_MS // 2

        found = await self.store.find(media.digest)

        assert found is not None
        self.assertEqual(found, media)
        self.assertEqual(self.rig.ledger.rows[media.digest].stored_at_ms, self.rig.now_ms)
        self.assertIsNone(await self.store.find("f" * 64))
        self.assertIsNone(await self.store.find("../x"))

    async def test_files_that_nobody_needs_are_removed_after_a_day(self) -> None:
        """What a message names stays, and so does what was uploaded lately."""
        used = await self.store.keep(picture(), "a.png")
        unused = await self.store.keep(b"hello")
        await self.store.opened(segments(self.store.thumbnail_link(used)))
        self.rig.ledger.used.add(used.digest)
        self.make_old()

        await self.store.sweep()
        self.assertIsNotNone(self.store.path(unused))
        self.rig.now_ms += 2 * DAY_MS
        late = await self.store.keep(b"late")
        await self.store.sweep()

        self.assertIsNone(self.store.path(unused))
        self.assertIsNotNone(self.store.path(used))
        self.assertIsNotNone(self.store.path(late))
        self.assertEqual(self.store.statistics.files, 2)

    async def test_what_a_crash_left_is_removed(self) -> None:
        """A file without a row, and an upload that broke off, go after a day."""
        lost = await self.store.keep(b"hello")
        kept = await self.store.keep(b"hallo")
        del self.rig.ledger.rows[lost.digest]
        upload = self.upload(b"half a file")
        self.make_old()

        for _ in range(256):
            await self.store.sweep()

        self.assertIsNone(self.store.path(lost))
        self.assertIsNotNone(self.store.path(kept))
        self.assertFalse(upload.exists())

    async def test_a_file_kept_again_while_it_is_removed_stays(self) -> None:
        """Its row was gone already, but its bytes are new."""
        media = await self.store.keep(b"hello")
        self.rig.ledger.used.clear()
        self.rig.now_ms += 2 * DAY_MS
        path = self.store.path(media)
        assert path is not None
        now_s = self.rig.now_ms / 1000
        os.utime(path, (now_s, now_s))

        await self.store.sweep()

        self.assertEqual(self.rig.ledger.rows, {})
        self.assertIsNotNone(self.store.path(media))

    async def test_nothing_is_kept_after_the_stop(self) -> None:
        """It is refused as something that passes."""
        await self.store.stopService()

        await self.assertFailure(self.store.keep(b"hello"), TemporaryFailure)
