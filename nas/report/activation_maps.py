"""Pictures of activation maps: an image, and beside it the map of each network, as in figure 7 of EfficientNet."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SIDE = 256  # pixels of a column's width and height
_CAPTION, _GAP, _FONT_SIZE = 40, 8, 13
# Share of the heat map in the colors of a pixel with the largest contribution.
_OPACITY = 0.6
# Colors of contributions from 0 to 1, evenly spaced: blue, cyan, green, yellow, red.
_COLORS = np.array([(0, 0, 160), (0, 160, 255), (64, 220, 96), (255, 220, 0), (220, 0, 0)], np.float64)


@frozen(eq=False)
class Column:
    """Hold one column of a picture.

    Attributes:
        caption: Lines above the column.
        pixels: uint8 pixels of the image `(H, W)` or `(H, W, 3)`.
        values: Contributions `(H, W)` from 0 to 1 that are drawn over the image; None draws the image alone.
    """

    caption: Sequence[str]
    pixels: NDArray[np.uint8]
    values: NDArray[np.float32] | None = None


def draw_columns(columns: Sequence[Column]) -> bytes:
    """Return a PNG image with columns beside each other."""
    from PIL import Image, ImageDraw, ImageFont

    width = len(columns) * (SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, SIDE + _CAPTION + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for number, column in enumerate(columns):
        left = _GAP + number * (SIDE + _GAP)
        draw.multiline_text((left, 4), "\n".join(_fitted(line) for line in column.caption), "black", font, spacing=2)
        sheet.paste(_picture(column), (left, _CAPTION))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _fitted(line: str) -> str:
    """Return a line that is not wider than a column: names may have any length."""
    most = SIDE * 2 // _FONT_SIZE - 2
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _picture(column: Column) -> "Image.Image":
    from PIL import Image

    image = Image.fromarray(column.pixels).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if column.values is None:
        return image
    values = Image.fromarray(column.values.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return Image.fromarray(overlay(np.asarray(image), np.asarray(values)))


def overlay(pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return pixels `(H, W, 3)` with contributions `(H, W)` as colors over them; where nothing contributes they stay.

    >>> overlay(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 1]], np.float32)).tolist()
    [[[100, 100, 100], [172, 40, 40]]]
    """
    places = np.linspace(0, 1, len(_COLORS))
    colors = np.stack([np.interp(values, places, _COLORS[:, channel]) for channel in range(3)], axis=-1)
    opacity = _OPACITY * np.sqrt(np.clip(values, 0, 1))[..., None]
    return np.asarray((1 - opacity) * pixels + opacity * colors).round().astype(np.uint8)
