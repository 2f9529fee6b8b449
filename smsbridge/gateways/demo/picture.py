"""Draws the pictures that made-up subscribers send: small, bright, each another one."""

from __future__ import annotations

import colorsys
import io

from PIL import Image, ImageDraw

__all__ = ["draw"]

_SIZE = (320, 240)
_GOLDEN = 0.618034  # turns the color wheel so that no two neighbors look alike


def draw(title: str, number: int) -> bytes:
    """Return a JPEG with hills in the sun; `number` decides its colors."""
    width, height = _SIZE
    hue = number * _GOLDEN % 1.0
    image = Image.linear_gradient("L").resize(_SIZE)
    sky = Image.new("RGB", _SIZE, _color(hue, 0.35, 1.0))
    picture = Image.composite(Image.new("RGB", _SIZE, _color(hue, 0.1, 1.0)), sky, image)
    pen = ImageDraw.Draw(picture)
    x = 40 + number * 97 % (width - 120)
    pen.ellipse((x, 33, x + 53, 86), fill=_color(0.13, 0.7, 1.0))
    for step, (left, top) in enumerate(((-107, 127), (80, 147), (-27, 180))):
        shade = _color((hue + 0.35) % 1.0, 0.45, 0.75 - step * 0.15)
        pen.ellipse((left, top, left + 320, top + 253), fill=shade)
    words = title.strip().splitlines()[0][:40] if title.strip() else f"Picture {number}"
    # The built-in font has Latin letters; what it lacks is shown as boxes, which is harmless.
    pen.text((12, height - 28), words, fill="white", font_size=16)
    to = io.BytesIO()
    picture.save(to, "JPEG", quality=82)
    return to.getvalue()


def _color(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
