"""Looking at pictures and making small ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.media import pictures
from tests.media.files import opened, picture


def exif(orientation: int) -> bytes:
    """Make metadata that turns a picture, and tells where it was taken."""
    data = Image.Exif()
    data[274] = orientation
    data[270] = "taken at home"
    data.get_ifd(0x8825)[2] = (60.0, 10.0, 5.0)  # GPS latitude
    return data.tobytes()


def bomb(width: int, height: int) -> bytes:
    """Make a tiny PNG file that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))


class PictureTests(SynchronousTestCase):
    """The functions that run in threads."""

    def file(self, data: bytes) -> Path:
        """Write a file."""
        path = Path(self.mktemp())
        path.write_bytes(data)
        return path

    def test_size_is_that_of_the_upright_picture(self) -> None:
        """A phone held sideways says so in the metadata."""
        self.assertEqual(pictures.size_px(self.file(picture(60, 40))), (60, 40))
        turned = picture(60, 40, "JPEG", exif=exif(6))
        self.assertEqual(pictures.size_px(self.file(turned)), (40, 60))

    def test_thumbnail_is_small_upright_and_tells_nothing(self) -> None:
        """Where a picture was taken is nobody's business."""
        data = pictures.thumbnail(self.file(picture(1200, 800, "JPEG", exif=exif(6))))

        small = opened(data)
        self.assertEqual((small.format, small.size), ("JPEG", (213, 320)))
        self.assertFalse(dict(small.getexif()))
        self.assertNotIn(b"home", data)

    def test_what_is_transparent_becomes_white(self) -> None:
        """JPEG knows no transparency."""
        image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
        path = Path(self.mktemp())
        image.save(path, "PNG")

        red, green, blue = opened(pictures.thumbnail(path)).getpixel((5, 5))  # type: ignore[misc]

        self.assertGreater(min(red, green, blue), 250)

    def test_an_animation_shows_its_first_frame(self) -> None:
        """A small picture stands still."""
        frames = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]
        path = Path(self.mktemp())
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])

        red, green, _ = opened(pictures.thumbnail(path)).getpixel((5, 5))  # type: ignore[misc]

        self.assertGreater(red, 200)
        self.assertLess(green, 60)

    def test_every_mode_can_be_made_small(self) -> None:
        """Gray, palette, CMYK, 16 bits: all become a picture in color."""
        for kind, mode in (
            ("PNG", "1"),
            ("PNG", "L"),
            ("PNG", "LA"),
            ("PNG", "P"),
            ("PNG", "I;16"),
            ("JPEG", "CMYK"),
            ("WEBP", "RGBA"),
        ):
            image = Image.new(mode, (400, 300))
            path = Path(self.mktemp())
            image.save(path, kind)

            self.assertEqual(opened(pictures.thumbnail(path)).size, (320, 240), mode)

    def test_bombs_are_refused_before_they_are_read(self) -> None:
        """A few hundred bytes cannot take the memory of the machine."""
        path = self.file(bomb(50_000, 50_000))

        for look in (pictures.size_px, pictures.thumbnail, lambda p: pictures.fitted(p, 100)):
            with self.assertRaises(pictures.TooManyPixels):
                look(path)

    def test_broken_files_are_bad_pictures(self) -> None:
        """Whatever is wrong with a file, there is one error for it."""
        whole = picture(300, 300, "JPEG", noise=True)
        for data in (b"", b"x", picture()[:40], whole[: len(whole) // 2], b"GIF89a" + bytes(30)):
            with self.assertRaises(pictures.BadPicture):
                pictures.thumbnail(self.file(data))

    def test_formats_that_nobody_sends_are_not_opened(self) -> None:
        """Every decoder is something to attack."""
        path = Path(self.mktemp())
        Image.new("RGB", (10, 10)).save(path, "PPM")

        with self.assertRaises(pictures.BadPicture):
            pictures.size_px(path)

    def test_fits_the_limit_with_the_largest_that_does(self) -> None:
        """A picture is made as small as it must be, and not much smaller."""
        path = self.file(picture(1600, 1200, "JPEG", noise=True, quality=95, exif=exif(3)))
        limit = 150_000

        made = pictures.fitted(path, limit)

        assert made is not None
        data, width, height = made
        self.assertLessEqual(len(data), limit)
        self.assertGreater(len(data), limit // 4)
        self.assertEqual(opened(data).size, (width, height))
        self.assertAlmostEqual(width / height, 4 / 3, places=1)
        self.assertFalse(dict(opened(data).getexif()))

    def test_a_limit_can_be_too_low(self) -> None:
        """No picture has a hundred bytes."""
        self.assertIsNone(pictures.fitted(self.file(picture(200, 200, noise=True)), 100))
