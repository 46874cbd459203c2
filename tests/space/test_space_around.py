"""Tests of the spaces around a network: they hold the network, and their files are what is searched."""

import math
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture, Stage
from nas.cost.analytic import MACS
from nas.errors import SpaceError
from nas.samplers.cost_range import space_chain
from nas.space.around import around, around_text
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse
from nas.space.schema import MOST_FORMS, load_space
from tests.strategies import architectures


def options(space: SearchSpace) -> dict[str, tuple[object, ...]]:
    return {choice.name: choice.values for choice in space.choices}


@pytest.mark.parametrize(
    ("name", "grow"), [*((name, False) for name in preset_names()), ("efficientnet-b0", True), ("fbnet-c", True)]
)
def test_a_preset_is_in_the_space_around_it(name: str, grow: bool) -> None:
    arch = preset(name)
    space = around(arch, name=name, grow=grow, baselines=[name])
    indices = Inverse(space).indices(canonical(arch))
    assert indices is not None
    assert canonical(space.from_indices(indices)) == canonical(arch)
    assert space.from_indices(space.nearest(arch)) == arch
    assert space.resolutions[-1] == arch.resolution
    assert (space.name, space.baselines) == (f"around-{name}", (name,))
    assert max(part.size for part in space.parts) < MOST_FORMS
    least, most = MACS.span(space_chain(space))
    assert least < MACS.estimate(arch).value <= most


@given(architectures())
@settings(deadline=None, max_examples=60)
def test_any_network_is_in_the_space_around_it(arch: Architecture) -> None:
    if any(stage.layers == 1000 for stage in arch.stages):
        return
    space = around(arch)
    assert space.from_indices(space.nearest(arch)) == arch
    assert {name: getattr(arch, name) for name in space.net if name != "resolution"} == {
        name: value for name, value in space.net.items() if name != "resolution"
    }


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv3-large", "resnet-50"])
def test_the_saved_file_is_the_space(tmp_path: Path, name: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(around_text(preset(name), name=name, grow=True, baselines=[name]), encoding="utf-8")
    loaded, made = load_space(path), around(preset(name), name=name, grow=True, baselines=[name])
    assert loaded.definition == made.definition
    assert (loaded.name, loaded.source, loaded.baselines) == (made.name, made.source, made.baselines)
    rows = made.sample(np.random.default_rng(0), 20).tolist()
    assert [loaded.from_indices(row) for row in rows] == [made.from_indices(row) for row in rows]


def test_the_choices_around_lite0() -> None:
    found = options(around(preset("efficientnet-lite0"), name="efficientnet-lite0"))
    assert found["resolution"] == (128, 160, 192, 224)
    assert {name: values for name, values in found.items() if name.startswith(("stage1", "stage6"))} == {
        "stage1.layers": (1, 2),
        "stage1.activation": ("relu6", "relu"),
        "stage6.channels": (144, 192),
        "stage6.layers": (2, 3, 4, 5),
        "stage6.kernel": (3, 5),
        "stage6.expansion": (3, 4, 6),
        "stage6.activation": ("relu6", "relu"),
    }
    # The factors are multiplied by hand: 4 resolutions, then the options of seven stages.
    assert around(preset("efficientnet-lite0")).size == 4 * math.prod((4, 18, 72, 48, 96, 96, 24))


def test_growth_adds_wider_stages_alone() -> None:
    arch = preset("efficientnet-b0")
    small, large = options(around(arch)), options(around(arch, grow=True))
    assert large["stage3.channels"] == (32, 40, 48)
    assert {name: values for name, values in large.items() if not name.endswith("channels")} == {
        name: values for name, values in small.items() if not name.endswith("channels")
    }


def test_gates_may_be_left_out_and_activations_may_be_faster() -> None:
    found = options(around(preset("efficientnet-b0")))
    assert (found["stage2.se"], found["stage2.activation"]) == ((0, 0.25), ("silu", "relu"))
    assert options(around(preset("efficientnet-b0"), faster_activation="hard_swish"))["stage2.activation"] == (
        "silu",
        "hard_swish",
    )
    for same in (around(preset("efficientnet-b0"), faster_activation="silu"), around(preset("mobilenetv1"))):
        assert not [name for name in options(same) if name.endswith("activation")]


def test_the_blocks_of_resnet_keep_their_expansion() -> None:
    assert {name.partition(".")[2] for name in options(around(preset("resnet-50")))} == {"", "channels", "layers"}


def test_a_small_network_has_one_resolution() -> None:
    arch = parse_text("net resolution=100 classes=10\nstem conv c8\nconv c20\nhead pool")
    space = around(arch)
    assert (space.resolutions, options(space)) == ((100,), {"stage1.channels": (16, 20), "stage1.layers": (1, 2)})


def test_resolutions_are_multiples_of_32_and_the_own_one() -> None:
    arch = attrs.evolve(preset("mobilenetv2"), resolution=200)
    assert around(arch).resolutions == (128, 160, 192, 200)


def test_a_network_with_too_many_stages_is_refused() -> None:
    stages = tuple(Stage("conv", 8, kernel=1 + 2 * (i % 2)) for i in range(101))
    with pytest.raises(SpaceError, match="is not a list of 1 to 100 stages"):
        around(attrs.evolve(preset("mobilenetv2"), stages=stages))
