"""Activation maps of a network whose maps are known in closed form: each class counts one color."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.arch.code import parse_text
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.train.explanation import METHODS, find_mass, make_explainer
from nas.weights.base import Normalization, TrainedNetwork

SIDE = 8
ARCH = parse_text(f"net resolution={SIDE} classes=3\nstem conv k3 s1 c8 relu\nconv k1 c16 relu\nhead pool")
PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)


def color_counter(norm: Normalization | None = PLAIN) -> TrainedNetwork:
    """The logit of class k is the mean of color k over all pixels: all other weights are zero."""
    model = build_model(ARCH).eval()
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():
        if name.endswith(("norm.weight", "running_var")):
            tensor.fill_(1)
        if name.endswith(("conv.weight", "classifier.weight")):
            middle = tensor.shape[-1] // 2 if tensor.ndim == 4 else None
            for channel in range(3):
                index = (channel, channel) if middle is None else (channel, channel, middle, middle)
                tensor[index] = 1
    return TrainedNetwork(ARCH, state, ("red", "green", "blue"), norm)


def square(channel: int, left: int, top: int, side: int = 2) -> Tensor:
    pixels = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    pixels[channel, top : top + side, left : left + side] = 255
    return pixels


def test_the_network_counts_colors() -> None:
    image = square(1, 2, 3).float()[None] / 255
    logits = color_counter().module()(image)
    assert logits[0].tolist() == pytest.approx([0, 4 / SIDE**2, 0], abs=1e-4)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_map_is_the_color_of_its_class(method: str) -> None:
    explainer = make_explainer("counter", color_counter(), method, "cpu")
    pixels = square(1, 2, 3) + square(0, 6, 0)
    found = explainer.explain(pixels)
    assert found.label == 1 or method  # both squares are equal; the label is checked below
    green = explainer.explain(pixels, 1)
    if method == "saliency":  # the gradient is the same everywhere where the activation is above zero
        assert green.values[3:5, 2:4].tolist() == [[1, 1], [1, 1]]
        return
    expected = (square(1, 2, 3)[1] > 0).float()
    assert torch.allclose(green.values, expected, atol=1e-4)
    mass = green.mass()
    assert mass is not None
    assert mass.center == pytest.approx((3 / SIDE, 4 / SIDE), abs=1e-3)
    assert mass.area == 2 / SIDE**2


def test_the_most_probable_class_is_explained_unless_another_is_asked_for() -> None:
    explainer = make_explainer("counter", color_counter(), "gradcam", "cpu")
    found = explainer.explain(square(2, 0, 0, side=4))
    mean = 16 / SIDE**2
    weights = torch.tensor([0, 0, mean]).exp()
    assert found.label == 2
    assert found.probability == pytest.approx(float(weights[2] / weights.sum()), abs=1e-4)
    other = explainer.explain(square(2, 0, 0, side=4), 0)
    assert other.probability == pytest.approx(float(weights[0] / weights.sum()), abs=1e-4)
    assert other.mass() is None  # nothing is red
    assert float(other.values.abs().max()) == 0


def test_a_graded_map_is_proportional_to_the_activation() -> None:
    pixels = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    pixels[0] = torch.arange(SIDE) * 30
    found = make_explainer("counter", color_counter(), "gradcam", "cpu").explain(pixels, 0)
    assert torch.allclose(found.values, pixels[0].float() / 210, atol=1e-4)


def test_an_unknown_normalization_is_an_error() -> None:
    with pytest.raises(WeightsError, match="the normalization of the images of counter is unknown"):
        make_explainer("counter", color_counter(None), "gradcam", "cpu")


@given(st.integers(0, 5), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_the_mass_of_a_rectangle_lies_in_its_middle(left: int, top: int, width: int, height: int) -> None:
    values = torch.zeros(6, 9)
    values[top : top + height, left : left + width] = 0.7
    mass = find_mass(values)
    assert mass is not None
    assert mass.center == pytest.approx(((left + width / 2) / 9, (top + height / 2) / 6))
    assert mass.area == pytest.approx(-(-width * height // 2) / 54)
    x0, y0, x1, y1 = mass.box
    assert left / 9 <= x0 < x1 <= (left + width) / 9 + 1e-9
    assert top / 6 <= y0 < y1 <= (top + height) / 6 + 1e-9
