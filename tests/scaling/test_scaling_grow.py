"""Tests of scaled networks: the published family, rounding, kept parts and invalid sizes."""

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, MlpHead, PoolHead
from nas.cost.analytic import cost
from nas.errors import ArchitectureError, NasError, ScalingError
from nas.scaling.grow import Scaled, family, grow, pixels, scale
from nas.scaling.rules import Factors, own, parse_rule
from tests.scaling.networks import B0, ONE_LAYER
from tests.strategies import architectures

NAMES = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
# 0 is excluded, because channels are not rounded at phi 0.
TENTHS = st.integers(-30, 40).filter(bool).map(lambda tenths: tenths / 10)
POWERS = st.sampled_from(["compound", "depth", "width", "resolution", "fast"])


def by(rule: str, phi: float, arch: Architecture = B0, keep: tuple[str, ...] = ()) -> Scaled:
    return scale(arch, parse_rule(rule), phi, keep)


def head_channels(arch: Architecture) -> int:
    assert isinstance(arch.head, ConvHead)
    return arch.head.channels


# Families.


def test_the_published_family_of_b0_is_b1_to_b7() -> None:
    members = family(B0, parse_rule("published"))
    assert tuple(member.name for member in members) == NAMES
    for member in members:
        assert member.arch == preset(f"efficientnet-{member.name.lower()}")
        assert (member.base, member.rule) == (B0, "published")


def test_the_family_of_b0_by_the_formula_has_the_independently_counted_costs() -> None:
    found = [(cost(member.arch).params, cost(member.arch).macs) for member in family(B0, parse_rule("compound"))]
    assert [(f"{params / 1e6:.2f}", f"{macs / 1e9:.3f}") for params, macs in found] == [
        ("8.44", "0.731"),
        ("9.11", "0.993"),
        ("12.26", "1.811"),
        ("19.33", "4.179"),
        ("33.73", "11.374"),
        ("45.46", "20.094"),
        ("68.74", "39.664"),
    ]


@pytest.mark.parametrize(
    ("factors", "resolution", "gmacs"),
    [
        (Factors(4, 1, 1), 224, "1.220"),
        (Factors(1, 2, 1), 224, "1.137"),
        (Factors(1, 1, 2), 448, "1.199"),
        (Factors(1.4, 1.2, 1.3), 291, "1.442"),
    ],
)
def test_mobilenetv2_scaled_in_one_dimension_and_in_all(factors: Factors, resolution: int, gmacs: str) -> None:
    grown = grow(preset("mobilenetv2"), factors)
    assert grown.resolution == resolution
    assert f"{cost(grown).macs / 1e9:.3f}" == gmacs


@pytest.mark.parametrize(
    ("rule", "phi", "gmacs", "params", "activations"),
    [
        ("fast", 3, "3.66", "36.2", "4.1"),
        ("compound", 3.187, "3.52", "18.2", "6.1"),
        ("width", 3, "2.84", "34.6", "2.8"),
    ],
)
def test_three_rules_scale_b0_to_about_eight_times_its_macs(
    rule: str, phi: float, gmacs: str, params: str, activations: str
) -> None:
    found = cost(by(rule, phi).arch)
    assert (f"{found.macs / 1e9:.2f}", f"{found.params / 1e6:.1f}") == (gmacs, params)
    assert f"{found.activations / cost(B0).activations:.1f}" == activations


def test_phi_3_of_the_compound_rule_is_not_b3() -> None:
    three = by("compound", 3)
    assert (three.name, three.phi, three.rule) == ("phi=3", 3, "compound")
    assert (f"{three.asked.depth:.3f}", f"{three.asked.width:.3f}") == ("1.728", "1.331")
    assert f"{224 * three.asked.resolution:.1f}" == "340.7"
    assert three.arch.resolution == 341
    assert [stage.layers for stage in three.arch.stages] == [2, 4, 4, 6, 6, 7, 2]
    assert [stage.channels for stage in three.arch.stages] == [24, 32, 56, 104, 152, 256, 424]
    assert (three.arch.stem.channels, head_channels(three.arch)) == (40, 1704)


def test_realized_factors_are_the_ratios_after_rounding() -> None:
    b2 = by("published", 1)
    # Layers of B0: 1, 2, 2, 3, 3, 4, 1, times 1.2, each rounded up. Channels of B0: 32 + 16 + 24 + 40 + ... + 1280.
    assert b2.realized.depth == (2 + 3 + 3 + 4 + 4 + 5 + 2) / 16
    assert b2.realized.width == (32 + 16 + 24 + 48 + 88 + 120 + 208 + 352 + 1408) / 2096
    assert b2.realized.resolution == 260 / 224
    assert (b2.asked.depth, b2.asked.width, b2.asked.dropout) == (1.2, 1.1, 0.3)


@pytest.mark.parametrize(("side", "factor", "rounded"), [(5, 0.5, 3), (224, 1.15, 258), (3, 0.4, 1), (224, 1, 224)])
def test_pixels_are_rounded_to_the_nearest_and_halves_up(side: int, factor: float, rounded: int) -> None:
    assert pixels(side, factor) == rounded


# Dropout and kept parts.


def test_larger_members_have_more_dropout_if_the_base_has_dropout() -> None:
    with_dropout = family(preset("mobilenetv2"), parse_rule("published"))
    assert [member.arch.head.dropout for member in with_dropout] == [0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    without_dropout = family(ONE_LAYER, parse_rule("published"))
    assert {member.arch.head.dropout for member in without_dropout} == {0.0}
    high = attrs.evolve(B0, head=attrs.evolve(B0.head, dropout=0.45))
    assert [member.arch.head.dropout for member in family(high, parse_rule("published"))] == [0.45] * 5 + [0.5] * 2


def test_a_power_rule_does_not_change_dropout() -> None:
    assert {member.arch.head.dropout for member in family(B0, parse_rule("compound"))} == {0.2}


@pytest.mark.parametrize(
    ("keep", "stem", "head"),
    [((), 64, 2560), (("head",), 64, 1280), (("stem",), 32, 2560), (("stem", "head"), 32, 1280)],
)
def test_kept_parts_keep_their_channels(keep: tuple[str, ...], stem: int, head: int) -> None:
    wide = by("width", 2, keep=keep).arch
    assert (wide.stem.channels, head_channels(wide)) == (stem, head)
    assert [stage.channels for stage in wide.stages] == [2 * stage.channels for stage in B0.stages]


def test_kept_features_and_kept_first_and_last_layers_are_those_of_the_base() -> None:
    v3 = preset("mobilenetv3-small")
    head = scale(v3, parse_rule("width"), 2, ("features",)).arch.head
    assert isinstance(head, MlpHead)
    assert (head.channels, head.features) == (2 * 576, 1024)
    deep = by("depth", 1, keep=("first-last-depth",)).arch
    assert [stage.layers for stage in deep.stages] == [1, 4, 4, 6, 6, 8, 1]
    assert deep.stages[0].channels == B0.stages[0].channels


def test_the_members_of_the_lite_family_are_those_published() -> None:
    members = family(preset("efficientnet-lite0"), parse_rule("published"), ("stem", "head", "first-last-depth"))
    for number, member in enumerate(members[:4], 1):
        published = preset(f"efficientnet-lite{number}")
        assert attrs.evolve(member.arch, head=published.head) == published
        assert head_channels(member.arch) == 1280


def test_the_members_of_a_family_keep_the_kept_parts() -> None:
    found = {head_channels(member.arch) for member in family(B0, parse_rule("published"), ("head",))}
    assert found == {1280}


# Any phi.


@pytest.mark.parametrize(
    ("rule", "phi", "side", "layers"),
    [
        ("resolution", -2, 112, [1, 2, 2, 3, 3, 4, 1]),
        ("depth", -1, 224, [1, 1, 1, 2, 2, 2, 1]),
        ("depth", 0.5, 224, [2, 3, 3, 5, 5, 6, 2]),
    ],
)
def test_phi_may_be_negative_or_fractional(rule: str, phi: float, side: int, layers: list[int]) -> None:
    arch = by(rule, phi).arch
    assert arch.resolution == side
    assert [stage.layers for stage in arch.stages] == layers


def test_a_negative_phi_reduces_channels() -> None:
    half = by("width", -2).arch
    assert [stage.channels for stage in half.stages] == [8, 16, 24, 40, 56, 96, 160]
    assert (half.stem.channels, head_channels(half)) == (16, 640)


@given(arch=architectures(), rule=POWERS)
@settings(max_examples=20)
def test_phi_0_changes_nothing(arch: Architecture, rule: str) -> None:
    scaled = by(rule, 0, arch)
    assert scaled.arch == arch
    assert attrs.astuple(scaled.realized) == (1, 1, 1, 0)


@given(arch=architectures(), coefficients=st.tuples(*[st.floats(0.1, 10)] * 3))
@settings(max_examples=20)
def test_own_coefficients_at_phi_0_change_nothing(arch: Architecture, coefficients: tuple[float, ...]) -> None:
    assert scale(arch, own(*coefficients), 0).arch == arch


@given(arch=architectures(), rule=POWERS, phis=st.tuples(TENTHS, TENTHS))
@settings(max_examples=25)
def test_macs_never_fall_with_phi(arch: Architecture, rule: str, phis: tuple[float, float]) -> None:
    # A projection is removed if channels become equal, which can reduce the MACs.
    assume(all(stage.skip != "projection" for stage in arch.stages))
    try:
        small, large = (cost(by(rule, phi, arch).arch) for phi in sorted(phis))
    except ScalingError as error:
        assert "nothing would be left" in error.problem  # noqa: PT017 -- random networks often have too few channels
        assert min(phis) < 0
        return
    assert small.macs <= large.macs


# Invalid sizes.


@pytest.mark.parametrize(
    ("rule", "phi", "keep", "words"),
    [
        ("depth", -5, (), "the stages: 16 layers x 0.0312"),
        ("width", -11, (), "stem: 32 channels x 0.0221"),
        ("width", -10, ("stem",), "stage1: 16 channels x 0.0312"),
        ("resolution", -20, (), "the image: 224 pixels x 0.000977"),
    ],
)
def test_a_part_of_which_nothing_is_left_is_named(rule: str, phi: float, keep: tuple[str, ...], words: str) -> None:
    with pytest.raises(ScalingError) as caught:
        by(rule, phi, keep=keep)
    assert caught.value.problem == f"nothing would be left of {words} are less than one; at least one must be left"
    assert "a phi nearer to 0" in caught.value.remedy


def test_the_smallest_network_has_one_layer_in_each_stage_or_one_pixel() -> None:
    # A depth factor of 1/16 leaves one of 16 layers, and rounding up leaves one layer in each stage.
    assert [stage.layers for stage in by("depth", -4).arch.stages] == [1] * 7
    # A width factor of 1/16 leaves one of the 16 channels of stage 1, and channels are rounded to at least 8.
    assert [stage.channels for stage in by("width", -8).arch.stages] == [8, 8, 8, 8, 8, 16, 24]
    # A resolution factor of 1/256 turns 224 pixels into 0.875, which is rounded to one.
    assert by("resolution", -16).arch.resolution == 1


def test_only_a_head_with_channels_can_become_too_small() -> None:
    pooling = attrs.evolve(ONE_LAYER, head=PoolHead())
    assert by("width", -8, pooling).arch.head == PoolHead()
    narrow = attrs.evolve(ONE_LAYER, head=ConvHead(8))
    with pytest.raises(ScalingError, match="left of head: 8 channels"):
        by("width", -8, narrow)
    assert head_channels(by("width", -8, narrow, ("head",)).arch) == 8


@pytest.mark.parametrize(
    ("rule", "phi", "words"),
    [
        ("depth", 10, "stage1: stage layers is 3072"),
        ("depth", 5, "stage3: stage layers is 1152"),
        ("resolution", 18, "resolution is 114688"),
    ],
)
def test_a_part_that_becomes_too_large_is_named(rule: str, phi: float, words: str) -> None:
    with pytest.raises(ArchitectureError, match=words) as caught:
        by(rule, phi, preset("resnet-152"))
    assert "use a whole number from 1 to" in caught.value.remedy


def test_a_part_with_too_many_channels_is_named() -> None:
    wide = attrs.evolve(B0, head=ConvHead(2**31 - 8))
    with pytest.raises(ArchitectureError, match="head: convhead channels is"):
        by("width", 1, wide)


def test_a_member_of_a_family_that_cannot_be_made_is_named() -> None:
    with pytest.raises(ScalingError, match="B5 cannot be made: stage3: stage layers is 1152"):
        family(preset("resnet-152"), parse_rule("depth"))


@pytest.mark.parametrize("phi", [float("nan"), float("inf"), float("-inf")])
def test_a_phi_that_is_not_finite_raises_an_error(phi: float) -> None:
    for rule in ("compound", "published"):
        with pytest.raises(ScalingError, match=r"phi is -?(nan|inf)"):
            by(rule, phi)


def test_a_phi_without_a_published_member_raises_an_error() -> None:
    with pytest.raises(NasError, match="rule published has no member at phi 4"):
        by("published", 4)
