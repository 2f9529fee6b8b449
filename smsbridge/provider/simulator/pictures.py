"""Small pictures, each of another color, for texts that arrive at a played provider."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from smsbridge.provider.simulator.mirror import DoubleMedia

__all__ = ["picture"]


def picture(number: int, side: int = 64, kind: str = "png") -> DoubleMedia:
    """
    Draw a picture; the same number gives the same bytes.

    :param side: its width and height in pixels.
    :param kind: ``png`` or ``jpeg``.
    """
    color = (number * 53 % 256, number * 97 % 256, (number // 256 + 40) % 256)
    file = BytesIO()
    Image.new("RGB", (side, side), color).save(file, kind)
    return DoubleMedia(
        content_type=f"image/{kind}", name=f"picture{number}.{kind}", data=file.getvalue()
    )
