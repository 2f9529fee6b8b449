"""Links to files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.media.links import Expired, Link, NoLink, Signer, load_key, split
from tests.media.files import DAY_MS, NOW

DIGEST = "0123456789abcdef" * 4
WEEK_S = 7 * 86400.0


def parts(path: str) -> list[str]:
    """Cut a path as a web server does."""
    return [unquote(part) for part in split(path) or []]


class SignerTests(SynchronousTestCase):
    """`Signer`."""

    def setUp(self) -> None:
        """Make one."""
        self.signer = Signer(bytes(32))

    def test_a_link_is_understood_until_it_expires(self) -> None:
        """It works for at least its lifetime, and not for ever."""
        path = self.signer.path(DIGEST, NOW, WEEK_S, "a b/ö.jpg")

        self.assertTrue(path.startswith("/media/"))
        for at_ms in (NOW, NOW + 7 * DAY_MS):
            link = self.signer.check(parts(path), at_ms)
            self.assertEqual(
                (link.digest_start, link.thumbnail, link.name), (DIGEST[:32], False, "a b/ö.jpg")
            )
        with self.assertRaises(Expired):
            self.signer.check(parts(path), NOW + 9 * DAY_MS)

    def test_a_link_stays_the_same_for_a_while(self) -> None:
        """A browser finds the picture in its cache when the page is shown again."""
        paths = {
            self.signer.path(DIGEST, NOW + minute * 60_000, WEEK_S) for minute in range(0, 1440, 10)
        }

        self.assertLessEqual(len(paths), 2)

    def test_a_link_in_a_text_is_short(self) -> None:
        """Texts are paid by length."""
        self.assertLessEqual(len(self.signer.path(DIGEST, NOW, 30 * 86400.0)), 52)

    def test_a_changed_link_is_none(self) -> None:
        """Nobody makes a link to another file, for longer, or under another name."""
        first = parts(self.signer.path(DIGEST, NOW, WEEK_S, "a.jpg"))
        other = parts(self.signer.path("f" * 64, NOW, 2 * WEEK_S, "b.exe"))
        expiry, proof = first[1].split(".")
        for changed in (
            [other[0], *first[1:]],
            [first[0], other[1], first[2]],
            [*first[:2], other[2]],
            first[:2],
            [*first, "x"],
            [first[0], f"t.{expiry}.{proof}", first[2]],
            [first[0], f"{expiry}.{proof[:-1]}", first[2]],
            [],
            ["", "", ""],
        ):
            with self.assertRaises(NoLink):
                self.signer.check(changed, NOW)
        with self.assertRaises(NoLink):
            Signer(b"x" * 32).check(first, NOW)

    def test_small_pictures_have_links_of_their_own(self) -> None:
        """The kind of a link is part of what is proved."""
        path = self.signer.path(DIGEST, NOW, WEEK_S, thumbnail=True)

        self.assertEqual(
            self.signer.check(parts(path), NOW).thumbnail,
            True,
        )

    @given(st.lists(st.text(max_size=40), max_size=4))
    def test_any_path_is_no_link(self, segments: list[str]) -> None:
        """Nothing that is asked for makes it raise anything else."""
        with self.assertRaises(NoLink):
            self.signer.check(segments, NOW)

    @given(st.text(min_size=1, max_size=30).filter(lambda name: "\ud800" not in name))
    def test_any_name_is_carried(self, name: str) -> None:
        """Whatever a file is called, its link brings the name back."""
        try:
            name.encode()
        except UnicodeEncodeError:
            return
        link: Link = self.signer.check(parts(self.signer.path(DIGEST, NOW, 60.0, name)), NOW)

        self.assertEqual(link.name, name)


class KeyTests(SynchronousTestCase):
    """`load_key`."""

    def test_the_key_is_made_once_and_private(self) -> None:
        """Links made before a restart work after it, and nobody else reads the key."""
        path = Path(self.mktemp())

        key = load_key(path)

        self.assertEqual(len(key), 32)
        self.assertEqual(load_key(path), key)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(path.parent), [path.name])

    def test_a_broken_key_is_replaced(self) -> None:
        """A power failure while it was made leaves nothing to cope with."""
        path = Path(self.mktemp())
        path.write_bytes(b"short")

        self.assertEqual(len(load_key(path)), 32)
