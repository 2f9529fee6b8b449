"""
Looks at pictures and makes small ones; blocks, so it is called in threads.

Only formats that phones and browsers show are opened, and nothing whose picture elements would not
fit into memory: a few hundred bytes can claim gigabytes.  What is made has no metadata (cameras
write there where a picture was taken), only the color profile where there is one.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

__all__ = ["BadPicture", "TooManyPixels", "fitted", "size_px", "thumbnail"]

#: What is read whole; with a copy about a quarter of a gigabyte in memory.
_MOST_PIXELS: Final = 40_000_000
#: An ordinary JPEG is read in strips and at a fraction of its size: cameras make large ones.
_MOST_JPEG_PIXELS: Final = 210_000_000
_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
_THUMBNAIL_PX: Final = 320
_THUMBNAIL_QUALITY: Final = 78
_LARGEST_PROFILE: Final = 8192
#: Longest sides and qualities that are tried, the best first.
_SIDES_PX: Final = (4096, 3072, 2560, 2048, 1600, 1280, 1024, 800, 640, 480, 320, 240, 160)
_QUALITIES: Final = (85, 75, 62)
_SWAPPED: Final = frozenset({5, 6, 7, 8})  # orientations that lie on their side (TIFF 6.0, 274)
_ORIENTATION: Final = 274


class BadPicture(Exception):
    """It cannot be opened."""


class TooManyPixels(BadPicture):
    """It would not fit into memory."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """
    Open a picture whose size was found to be bearable; its elements are not read yet.

    :raises BadPicture: it is broken, or none of ours; also while it is read.
    """
    try:
        with warnings.catch_warnings():
            # Our own limit is the lower one.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                _check(image, image.format in ("JPEG", "MPO") and not image.info.get("progressive"))
                yield image
    except BadPicture:
        raise
    except Image.DecompressionBombError as e:
        raise TooManyPixels(str(e)) from None
    except MemoryError as e:
        raise TooManyPixels("out of memory") from e
    except Exception as e:
        # Broken pictures make Pillow raise nearly everything: SyntaxError, struct.error, KeyError.
        raise BadPicture(f"{type(e).__name__}: {e}") from e


def _check(image: Image.Image, in_strips: bool) -> None:
    if image.width * image.height > (_MOST_JPEG_PIXELS if in_strips else _MOST_PIXELS):
        raise TooManyPixels(f"{image.width} x {image.height}")


def size_px(path: Path) -> tuple[int, int]:
    """
    Return width and height of a picture as it is shown upright.

    :raises BadPicture: it cannot be opened.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _SWAPPED:
            return height, width
        return width, height


def thumbnail(path: Path) -> bytes:
    """
    Return a small picture as JPEG: of an animation the first frame, upright, on white.

    :raises BadPicture: it cannot be opened.
    """
    with _opened(path) as image:
        profile = _profile(image)
        picture = _read(image, _THUMBNAIL_PX * 2)
        picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        return _jpeg(picture, _THUMBNAIL_QUALITY, profile)


def fitted(path: Path, limit_bytes: int) -> tuple[bytes, int, int] | None:
    """
    Return a picture as JPEG of at most that many bytes, with its width and height.

    The largest one is found that fits at a quality that does no harm; None if none does.

    :raises BadPicture: it cannot be opened.
    """
    with _opened(path) as image:
        profile = _profile(image)
        longest = max(image.size)
        picture = _read(image, _SIDES_PX[0])
        sides = [side for side in _SIDES_PX if side < longest]
        if longest <= _SIDES_PX[0]:
            sides.insert(0, longest)
        for side in sides:
            if max(picture.size) > side:
                picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            least = _jpeg(picture, _QUALITIES[-1], profile)
            if len(least) > limit_bytes:
                continue
            for quality in _QUALITIES[:-1]:
                better = _jpeg(picture, quality, profile)
                if len(better) <= limit_bytes:
                    return better, *picture.size
            return least, *picture.size
    return None


def _read(image: Image.Image, enough_px: int) -> Image.Image:
    """Read a picture upright and without transparency; a JPEG no larger than it need be."""
    image.draft("RGB", (enough_px, enough_px))
    _check(image, False)
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        with_alpha = upright.convert("RGBA")
        flat = Image.new("RGB", with_alpha.size, "white")
        flat.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return flat
    return upright.convert("RGB") if upright.mode != "RGB" else upright.copy()


def _profile(image: Image.Image) -> bytes | None:
    """Return the color profile, where it is one for what is written."""
    profile = image.info.get("icc_profile")
    if image.mode not in ("RGB", "RGBA") or not isinstance(profile, bytes):
        return None
    return profile if len(profile) <= _LARGEST_PROFILE else None


def _jpeg(image: Image.Image, quality: int, profile: bytes | None) -> bytes:
    to = io.BytesIO()
    # What a copy still knows of its source, such as a comment or where it was taken, stays behind.
    image.info = {}
    image.save(to, "JPEG", quality=quality, icc_profile=profile, exif=b"")
    return to.getvalue()
