"""Tests over random and published networks: growing keeps the function, and all shapes can inherit."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture, ConvHead, PoolHead, Stage
from nas.models.build import build_model
from nas.weights.inheritance import inherit
from tests.strategies import architectures
from tests.weights.networks import difference, network, trained, with_weights

SEVERAL = settings(max_examples=12, deadline=None)


def tiny(name: str) -> Architecture:
    """Return a preset with small images, few channels, and at most two layers in each stage."""
    arch = preset(name).adapted(resolution=32, classes=5)
    stages = (attrs.evolve(s, channels=max(4, s.channels // 8), layers=min(s.layers, 2)) for s in arch.stages)
    stem = attrs.evolve(arch.stem, channels=max(4, arch.stem.channels // 8))
    head = arch.head if isinstance(arch.head, PoolHead) else attrs.evolve(arch.head, channels=24)
    return attrs.evolve(arch, stem=stem, stages=tuple(stages), head=head)


# One network of each kind; the others of its family take as long and differ in numbers alone.
FAST = (
    "efficientnet-b0",
    "efficientnet-lite0",
    "fbnet-c",
    "mnasnet-a1",
    "mobilenetv2",
    "mobilenetv3-large",
    "resnet-18",
    "resnet-50",
)
FAMILIES = tuple(name for name in preset_names() if "-b" not in name or name in ("efficientnet-b0", "mnasnet-b1"))


@st.composite
def grown(draw: st.DrawFn, arch: Architecture) -> Architecture:
    """Draw a network that is larger than another one, with all shapes and skips in the same places."""
    width = draw(st.sampled_from([1, 1, 1.5, 2]))

    def wider(channels: int) -> int:
        return round(channels * width + 0.49)

    def larger(stage: Stage) -> Stage:
        # In a bottleneck, a larger expansion makes the inside narrower.
        may_expand = stage.expansion > 1 and stage.operator != "bottleneck"
        layers = draw(st.integers(0, 2)) if stage.skip in ("identity", "projection") else 0
        return attrs.evolve(
            stage,
            channels=wider(stage.channels),
            layers=stage.layers + layers,
            kernel=stage.kernel + draw(st.sampled_from([0, 2, 4])),
            expansion=stage.expansion * (draw(st.sampled_from([1, 1, 1.5, 2])) if may_expand else 1),
        )

    stem = attrs.evolve(
        arch.stem, channels=wider(arch.stem.channels), kernel=arch.stem.kernel + draw(st.sampled_from([0, 2]))
    )
    head = arch.head
    if isinstance(head, ConvHead):
        head = attrs.evolve(head, channels=head.channels + draw(st.integers(0, 5)))
    return attrs.evolve(arch, stem=stem, stages=tuple(larger(stage) for stage in arch.stages), head=head)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in FAMILIES]
)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_growing_a_published_network_keeps_its_function(name: str, data: st.DataObject) -> None:
    source = tiny(name)
    target = data.draw(grown(source))
    model = trained(source)
    inherited = inherit(source, model.state_dict(), target)
    assert inherited.report.exact, inherited.report.describe()
    assert difference(model, target, inherited) < 1e-5


@SEVERAL
@given(st.data())
def test_what_is_reported_as_exact_has_the_function_of_the_source(data: st.DataObject) -> None:
    source = data.draw(architectures())
    target = data.draw(grown(source) | architectures())
    model = trained(source)
    inherited = inherit(source, model.state_dict(), target)
    if inherited.report.exact:
        assert difference(model, target, inherited) < 1e-5
    else:
        with_weights(target, inherited.tensors)


@SEVERAL
@given(architectures())
def test_the_same_architecture_inherits_every_bit(arch: Architecture) -> None:
    weights = build_model(arch).state_dict()
    inherited = inherit(arch, weights, arch)
    assert list(inherited.tensors) == list(weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in inherited.tensors.items())
    assert inherited.report.exact
    assert inherited.report.share == 1


@SEVERAL
@given(architectures())
def test_the_canonical_form_inherits_every_tensor(arch: Architecture) -> None:
    weights = build_model(arch).state_dict()
    inherited = inherit(arch, weights, canonical(arch))
    assert all(torch.equal(new, old) for new, old in zip(inherited.tensors.values(), weights.values(), strict=True)), (
        inherited.report.describe()
    )


@SEVERAL
@given(architectures(), architectures())
def test_any_network_can_inherit_and_give_back(first: Architecture, second: Architecture) -> None:
    there = inherit(first, build_model(first).state_dict(), second)
    build_model(second).load_state_dict(dict(there.tensors), strict=True)
    back = inherit(second, there.tensors, first)
    build_model(first).load_state_dict(dict(back.tensors), strict=True)
    assert 0 <= back.report.share <= 1
    assert there.report.elements == sum(parameter.numel() for parameter in build_model(second).parameters())
    assert all(tensor.isfinite().all() for tensor in back.tensors.values())


@pytest.mark.parametrize(
    ("before", "after", "exact"),
    [
        # A residual block that ends in an activation applies it once more.
        ("basic r1 c4", "basic r2 c4", True),
        ("basic r1 c4 silu", "basic r2 c4 silu", False),
        ("bottleneck r1 e2 c4 relu6", "bottleneck r2 e2 c4 relu6", True),
        ("mbconv r1 e2 c4 noskip", "mbconv r2 e2 c4 noskip", False),
        ("mbconv r1 e2 c4 poolskip", "mbconv r2 e2 c4 poolskip", False),
        # With "same" padding and an even side, kernels of one pixel and of three have different centers.
        ("conv s2 k3 c8", "conv s2 k5 c8", True),
        ("conv s2 k1 c8", "conv s2 k3 c8", False),
        # A skip that cuts channels, and one that adds zeros.
        ("conv c8;conv c4 poolskip", "conv c12;conv c6 poolskip", True),
        ("conv c6;conv c8 poolskip", "conv c6;conv c9 poolskip", True),
        ("conv c6;conv c8 poolskip", "conv c7;conv c9 poolskip", False),
        ("mbconv e1 c4", "mbconv e2 c4", False),
    ],
)
def test_a_function_that_changes_is_reported(before: str, after: str, exact: bool) -> None:
    source, target = (
        network(f"net padding=same classes=3 resolution=16;stem conv c4;{stage};head pool") for stage in (before, after)
    )
    model = trained(source)
    inherited = inherit(source, model.state_dict(), target)
    assert inherited.report.exact == exact, inherited.report.describe()
    assert (difference(model, target, inherited) < 1e-6) == exact
