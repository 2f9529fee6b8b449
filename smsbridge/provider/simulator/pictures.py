"""Small pictures, each of another color, for texts that arrive at a played provider."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from smsbridge.provider.simulator.mirror import DoubleMedia

__all__ = ["picture"]

_SIDE_PX: Final = 64


def picture(number: int) -> DoubleMedia:
    """Draw a JPEG; the same number gives the same bytes."""
    color = (number * 53 % 256, number * 97 % 256, (number // 256 + 40) % 256)
    file = BytesIO()
    Image.new("RGB", (_SIDE_PX, _SIDE_PX), color).save(file, "jpeg")
    return DoubleMedia(
        content_type="image/jpeg", name=f"picture{number}.jpeg", data=file.getvalue()
    )
