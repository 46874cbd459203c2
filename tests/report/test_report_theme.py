"""Tests of the palette: contrasts as in WCAG 2.2, and colors as color-blind readers see them."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.report import theme

# Matrices of Machado, Oliveira and Fernandes 2009 (doi:10.1109/TVCG.2009.113) for complete dichromacy, in linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
TEXTS = ("INK", "FAINT_INK", "BLUE", "VERMILION", "GREEN")
MARKS = (*TEXTS, "PURPLE", "OCHRE", "GRAY")


def linear(color: str) -> NDArray[np.float64]:
    shares = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.asarray(np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4))


def contrast(first: str, second: str) -> float:
    """Return the contrast of WCAG 2.2: the ratio of the relative luminances, each with 0.05 added."""
    low, high = sorted(float(LUMINANCE @ linear(color)) + 0.05 for color in (first, second))
    return high / low


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return linear RGB in the color space CIELAB, for white of the standard D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(light, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def shown(name: str, *, dark: bool) -> str:
    color = getattr(theme, name)
    return theme.DARK[color] if dark else str(color)


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)  # the known gray that just fails


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("names", "least"), [(TEXTS, 4.5), (MARKS, 3.0)])
def test_texts_and_marks_can_be_seen_on_the_paper(names: tuple[str, ...], least: float, dark: bool) -> None:
    paper = shown("PAPER", dark=dark)
    assert {name: ratio for name in names if (ratio := contrast(shown(name, dark=dark), paper)) < least} == {}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("vision", VISION)
def test_color_blind_readers_can_tell_the_series_apart(vision: str, dark: bool) -> None:
    colors = [theme.DARK[color] if dark else color for color in theme.SERIES]
    seen = {color: lab(VISION[vision] @ linear(color)) for color in colors}
    # A difference of 2.3 in CIELAB is just noticeable side by side.
    near = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(colors, 2)}
    assert {pair: distance for pair, distance in near.items() if distance < 4 * 2.3} == {}


def test_every_color_has_a_dark_one_and_none_is_dark_and_light_at_once() -> None:
    names = [name for name, value in vars(theme).items() if name.isupper() and str(value).startswith(("#", "rgb"))]
    assert {getattr(theme, name) for name in names} == set(theme.DARK)
    assert len(set(theme.DARK.values())) == len(theme.DARK)
    # Otherwise a color that was replaced once could be replaced again.
    assert set(theme.DARK).isdisjoint(theme.DARK.values())


def test_no_two_series_have_the_same_color_and_symbol() -> None:
    assert len({theme.marks(number) for number in range(42)}) == 42


def test_long_titles_are_broken_and_texts_of_users_escaped() -> None:
    made = theme.layout("<i>" + "word " * 30, "&" * 300)
    assert made["title"]["text"].startswith("<b>&lt;i&gt;word word")
    assert made["title"]["text"].count("<br>") == 1
    assert made["title"]["subtitle"]["text"].count("<br>") == 2
    assert "<" not in made["title"]["subtitle"]["text"].replace("<br>", "")
    assert made["margin"]["t"] > theme.layout("a", "b")["margin"]["t"]
    assert theme.axis("a <b>")["title"]["text"] == "a &lt;b&gt;"
