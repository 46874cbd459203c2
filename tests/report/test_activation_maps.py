"""Pictures of activation maps: their columns, and the colors of large contributions."""

import io

import numpy as np
from PIL import Image

from nas.report.activation_maps import SIDE, Column, draw_columns, overlay


def test_columns_stand_beside_each_other() -> None:
    pixels = np.full((8, 8, 3), 200, np.uint8)
    gray = np.full((8, 8), 100, np.uint8)
    values = np.zeros((8, 8), np.float32)
    columns = [Column(("a.png",), pixels), Column(("a name that is far too long for a column" * 3,), gray, values)]
    picture = Image.open(io.BytesIO(draw_columns(columns)))
    assert picture.format == "PNG"
    assert 2 * SIDE < picture.width < 2.2 * SIDE
    assert SIDE < picture.height < 1.3 * SIDE
    sheet = np.asarray(picture)
    assert sheet[-100, 100].tolist() == [200, 200, 200]
    assert sheet[-100, -100].tolist() == [100, 100, 100]  # nothing contributes, so the image stays
    assert (sheet[:, SIDE + 8 : SIDE + 16] == 255).all()  # between the columns


def test_large_contributions_are_red_and_small_ones_blue() -> None:
    pixels = np.full((1, 3, 3), 128, np.uint8)
    none, small, large = overlay(pixels, np.array([[0, 0.2, 1]], np.float32))[0].astype(int)
    assert none.tolist() == [128, 128, 128]
    assert small[2] > small[0]
    assert large[0] > large[2]
