"""Tests of the published networks against the published figures of their costs."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.multiply import multiply, round_layers
from nas.arch.presets import preset, preset_names
from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, ConvHead
from nas.cost.analytic import cost
from nas.errors import ArchitectureError

# Name, parameters and MMACs, counted independently or by hooks on the published torch implementations.
_FIGURES = [
    ("efficientnet-b0", 5_288_548, "385.81"),
    ("efficientnet-b1", 7_794_184, "686.80"),
    ("efficientnet-b2", 9_109_994, "993.56"),
    ("efficientnet-b3", 12_233_232, "1827.14"),
    ("efficientnet-b4", 19_341_616, "4393.77"),
    ("efficientnet-b5", 30_389_784, "10266.38"),
    ("efficientnet-b6", 43_040_704, "19067.59"),
    ("efficientnet-b7", 66_347_960, "37745.88"),
    ("efficientnet-lite0", 4_652_008, "385.19"),
    ("efficientnet-lite1", 5_416_680, "600.19"),
    ("efficientnet-lite2", 6_092_072, "859.74"),
    ("efficientnet-lite3", 8_197_096, "1607.55"),
    ("efficientnet-lite4", 13_006_568, "3943.56"),
    ("fbnet-c", 5_572_200, "384.96"),
    ("mnasnet-a1", 3_887_038, "311.58"),
    ("mnasnet-b1", 4_383_312, "314.42"),
    ("mnasnet-small", 2_030_264, "68.34"),
    ("mobilenetv1", 4_231_976, "568.74"),
    ("mobilenetv2", 3_504_872, "300.77"),
    ("mobilenetv3-large", 5_483_032, "216.59"),
    ("mobilenetv3-large-0.75", 3_993_528, "154.56"),
    ("mobilenetv3-small", 2_542_856, "56.51"),
    ("mobilenetv3-small-0.75", 2_041_872, "43.40"),
    ("resnet-18", 11_689_512, "1814.07"),
    ("resnet-50", 25_557_032, "4089.18"),
    ("resnet-152", 60_192_808, "11513.63"),
]


@pytest.mark.parametrize(("name", "params", "mmacs"), _FIGURES)
def test_the_cost_of_a_preset_equals_the_published_figures(name: str, params: int, mmacs: str) -> None:
    costs = cost(preset(name))
    assert costs.params == params
    assert f"{costs.macs / 1e6:.2f}" == mmacs


def test_the_figures_cover_every_preset() -> None:
    assert set(preset_names()) == {name for name, _, _ in _FIGURES}


@pytest.mark.parametrize(("width", "mmacs"), [(1.4, 586.3), (0.75, 223.5), (0.5, 103.2), (0.35, 61.7)])
def test_mnasnet_a1_is_scaled_in_width_without_its_head(width: float, mmacs: float) -> None:
    scaled = multiply(preset("mnasnet-a1"), width=width, keep=("head",))
    # The published 223.5M is 223,448,480 rounded twice, hence the tolerance.
    assert cost(scaled).macs / 1e6 == pytest.approx(mmacs, abs=0.052)


@pytest.mark.parametrize(
    ("name", "width", "depth", "resolution", "gmacs"),
    [
        ("mobilenetv2", 1.0, 4.0, 224, "1.220"),
        ("mobilenetv2", 2.0, 1.0, 224, "1.137"),
        ("mobilenetv2", 1.0, 1.0, 448, "1.199"),
        ("efficientnet-b0", 1.0, 4.0, 224, "1.575"),
        ("efficientnet-b0", 2.0, 1.0, 224, "1.450"),
        ("efficientnet-b0", 1.0, 1.0, 448, "1.538"),
        ("efficientnet-b0", 1.2, 1.4, 291, "1.800"),
    ],
)
def test_the_cost_of_a_scaled_network_equals_the_published_figures(
    name: str, width: float, depth: float, resolution: int, gmacs: str
) -> None:
    scaled = multiply(preset(name), width=width, depth=depth, resolution=resolution)
    assert f"{cost(scaled).macs / 1e9:.3f}" == gmacs


@pytest.mark.parametrize(
    ("name", "resolution", "dropout", "drop_path"),
    [
        ("efficientnet-b0", 224, 0.2, 0.2),
        ("efficientnet-b1", 240, 0.2, 0.2),
        ("efficientnet-b2", 260, 0.3, 0.2),
        ("efficientnet-b3", 300, 0.3, 0.2),
        ("efficientnet-b4", 380, 0.4, 0.2),
        ("efficientnet-b5", 456, 0.4, 0.2),
        ("efficientnet-b6", 528, 0.5, 0.2),
        ("efficientnet-b7", 600, 0.5, 0.2),
    ],
)
def test_resolution_and_regularization_of_the_efficientnet_family(
    name: str, resolution: int, dropout: float, drop_path: float
) -> None:
    arch = preset(name)
    assert (arch.resolution, arch.head.dropout, arch.drop_path) == (resolution, dropout, drop_path)
    assert (arch.norm.momentum, arch.norm.eps, arch.stem.activation) == (0.01, 1e-3, "silu")


def test_an_unknown_name_is_rejected_with_the_known_names() -> None:
    with pytest.raises(ArchitectureError, match="efficientnet-b8") as caught:
        preset("efficientnet-b8")
    assert "efficientnet-b7" in caught.value.remedy


@given(st.integers(1, 4000), st.floats(0.05, 8))
def test_rounded_channels_follow_the_papers(channels: int, width: float) -> None:
    rounded = round_channels(channels, width)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels * width)
    assert rounded <= max(8, channels * width + 12)


@pytest.mark.parametrize(
    ("channels", "width", "rounded"),
    # 10 rounds to 16, because 8 would be more than 10% below.
    [(32, 1.1, 32), (16, 0.75, 16), (24, 0.75, 24), (16, 1.25, 24), (12, 1.0, 16), (10, 1.0, 16), (1, 1.0, 8)],
)
def test_channels_round_to_multiples_of_8(channels: int, width: float, rounded: int) -> None:
    assert round_channels(channels, width) == rounded


@pytest.mark.parametrize(
    ("layers", "depth", "rounded"), [(1, 1.1, 2), (2, 1.0, 2), (4, 1.8, 8), (3, 0.2, 1), (4, 3.1, 13)]
)
def test_layers_round_up(layers: int, depth: float, rounded: int) -> None:
    assert round_layers(layers, depth) == rounded


def test_multipliers_of_1_change_nothing() -> None:
    odd = attrs.evolve(
        preset("mobilenetv1"), stages=tuple(attrs.evolve(s, channels=13) for s in preset("mobilenetv1").stages)
    )
    assert multiply(odd) == odd


def test_the_head_is_scaled_unless_it_is_kept() -> None:
    def head_channels(arch: Architecture) -> int:
        assert isinstance(arch.head, ConvHead)
        return arch.head.channels

    b0 = preset("efficientnet-b0")
    assert head_channels(multiply(b0, width=2)) == 2560
    assert head_channels(multiply(b0, width=2, keep=("head",))) == 1280
    assert multiply(preset("mobilenetv1"), width=2).head == preset("mobilenetv1").head


@pytest.mark.parametrize("wrong", [{"depth": 0.0}, {"depth": -1.0}, {"resolution": -5}, {"depth": 1e6}])
def test_multipliers_that_give_no_valid_network_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ArchitectureError):
        multiply(preset("efficientnet-b0"), **wrong)  # type: ignore[arg-type]
