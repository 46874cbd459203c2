"""Tests of inherited weights on small networks: channels, kernels, layers, gates, classifiers and reports."""

import attrs
import pytest
import torch
from torch import Tensor

from nas.arch.spec import Architecture
from nas.errors import ArchitectureError
from nas.models.build import build_model
from nas.weights.inheritance import inherit
from tests.weights.networks import difference, network, trained, with_weights

PLAIN = network("net classes=5 resolution=16;stem conv c4;mbconv c4;head pool")


def with_stage(arch: Architecture, **fields: object) -> Architecture:
    """Return a network with other fields of its first stage."""
    return attrs.evolve(arch, stages=(attrs.evolve(arch.stages[0], **fields), *arch.stages[1:]))  # type: ignore[arg-type]


def most_important(scores: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(scores)), key=lambda channel: -scores[channel])[:count])


def test_channels_inside_a_block_are_kept_by_their_importance() -> None:
    source = network("net classes=2 resolution=8;stem conv c4;mbconv r1 e6 c8;head pool")
    old = {name: tensor for name, tensor in trained(source).state_dict().items() if name.startswith("stages.0.0.")}
    inherited = inherit(source, trained(source).state_dict(), with_stage(source, expansion=2.0)).tensors
    projection, scale = old["stages.0.0.project.conv.weight"], old["stages.0.0.depthwise.norm.weight"]
    scores = [
        sum(abs(float(projection[output, channel, 0, 0])) for output in range(8)) * abs(float(scale[channel]))
        for channel in range(24)
    ]
    kept = most_important(scores, 8)
    for name, tensor in old.items():
        if name.endswith("num_batches_tracked") or ".project.norm." in name:
            assert torch.equal(inherited[name], tensor)
        else:
            axis = 1 if ".project." in name else 0
            assert torch.equal(inherited[name], tensor.index_select(axis, torch.tensor(kept)))


def test_a_residual_stream_keeps_the_same_channels_everywhere() -> None:
    source = network("net classes=2 resolution=8;stem conv c6 s1;inverted r3 e1 c6;head conv c5")
    weights = trained(source).state_dict()
    target = attrs.evolve(with_stage(source, channels=4), stem=attrs.evolve(source.stem, channels=4))
    tensors = inherit(source, weights, target).tensors
    writers = ["stem.conv", *(f"stages.0.{layer}.project" for layer in range(3))]
    readers = [*(f"stages.0.{layer}.expand" for layer in range(3)), "head.conv"]
    scores = [
        sum(abs(float(weights[f"{writer}.norm.weight"][channel])) for writer in writers)
        * sum(float(weights[f"{reader}.conv.weight"][:, channel].abs().sum()) for reader in readers)
        for channel in range(6)
    ]
    kept = most_important(scores, 4)
    for writer in writers:
        for statistic in ("bias", "running_mean", "running_var"):
            name = f"{writer}.norm.{statistic}"
            assert torch.equal(tensors[name], weights[name][kept])
    assert torch.equal(tensors["stem.conv.conv.weight"], weights["stem.conv.conv.weight"][kept])
    assert torch.equal(tensors["head.conv.conv.weight"], weights["head.conv.conv.weight"][:, kept])


def test_kernels_are_cropped_to_their_center() -> None:
    source = network("net classes=2 resolution=16;stem conv c4 k5;mbconv e2 c8 k7;head pool")
    weights = trained(source).state_dict()
    target = attrs.evolve(with_stage(source, kernel=3), stem=attrs.evolve(source.stem, kernel=3))
    inherited = inherit(source, weights, target)
    for name, kept in (("stem.conv.conv.weight", slice(1, 4)), ("stages.0.0.depthwise.conv.weight", slice(2, 5))):
        assert torch.equal(inherited.tensors[name], weights[name][:, :, kept, kept])
    reasons = ["The kernel is cropped to its center (stem and 1 more)."]
    assert [str(reason) for reason in inherited.report.reasons] == reasons
    assert inherited.report.share == 1


def test_the_last_layers_of_a_stage_are_dropped() -> None:
    source = network("net classes=2 resolution=16;stem conv c4;mbconv r3 s2 e2 c8;mbconv r2 s2 e2 c8;head pool")
    weights = trained(source).state_dict()
    target = attrs.evolve(source, stages=tuple(attrs.evolve(stage, layers=1) for stage in source.stages))
    inherited = inherit(source, weights, target)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in inherited.tensors.items())
    dropped = {node.name.rpartition(".")[0] for node in inherited.report.nodes if node.outcome == "dropped"}
    assert dropped == {"stages.0.1", "stages.0.2", "stages.1.1"}
    # The network without these layers is the source with branches that give zeros.
    for layer in dropped:
        weights[f"{layer}.project.norm.weight"].zero_()
        weights[f"{layer}.project.norm.bias"].zero_()
    assert difference(with_weights(source, weights), target, inherited) < 1e-12


def test_operators_that_change_begin_fresh_and_without_effect_beside_a_skip() -> None:
    source = network("net classes=2 resolution=16;stem conv c4;mbconv r2 e2 c4;head pool")
    inherited = inherit(source, trained(source).state_dict(), with_stage(source, operator="fused"))
    fresh = [node.name for node in inherited.report.nodes if node.outcome == "fresh"]
    assert fresh == [f"stages.0.{layer}.{name}" for layer in (0, 1) for name in ("expand", "project")]
    assert not inherited.tensors["stages.0.0.project.norm.weight"].any()
    assert "The operator changes" in inherited.report.describe()


def test_the_classifier_is_fresh_or_sliced() -> None:
    weights = trained(PLAIN).state_dict()
    old = weights["head.classifier.weight"]
    fewer, more = (attrs.evolve(PLAIN, classes=classes) for classes in (3, 7))
    assert not inherit(PLAIN, weights, fewer).tensors["head.classifier.weight"].any()
    sliced = inherit(PLAIN, weights, fewer, classifier="slice")
    assert torch.equal(sliced.tensors["head.classifier.weight"], old[:3])
    assert not sliced.report.exact
    assert torch.equal(inherit(PLAIN, weights, more, classifier="slice").tensors["head.classifier.weight"][:5], old)
    with pytest.raises(ArchitectureError, match="classifier is 'keep'"):
        inherit(PLAIN, weights, more, classifier="keep")


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3)])
def test_gray_images_have_the_same_logits_with_another_number_of_channels(before: int, after: int) -> None:
    source, target = (attrs.evolve(PLAIN, in_channels=channels) for channels in (before, after))
    model = trained(source)
    inherited = inherit(source, model.state_dict(), target)
    gray = torch.randn(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(gray.expand(-1, before, -1, -1))
        found = with_weights(target, inherited.tensors)(gray.expand(-1, after, -1, -1))
    torch.testing.assert_close(found, expected)
    assert not inherited.report.exact


def test_fresh_weights_follow_from_the_seed_and_nothing_else_changes() -> None:
    target, weights = with_stage(PLAIN, layers=2), build_model(PLAIN).state_dict()
    before, copies = torch.get_rng_state(), {name: tensor.clone() for name, tensor in weights.items()}
    first, same, other = (inherit(PLAIN, weights, target, seed=seed).tensors for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[name], tensor) for name, tensor in copies.items())
    assert {one.data_ptr() for one in first.values()}.isdisjoint(one.data_ptr() for one in weights.values())
    name = "stages.0.1.depthwise.conv.weight"
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem.conv.conv.weight": torch.zeros(1)}, r"stem.conv.conv.weight has the shape \(1,\)"),
        ({"head.classifier.bias": None}, "head.classifier.bias is missing"),
        ({"extra": torch.zeros(1)}, "extra is not one of its tensors"),
    ],
)
def test_weights_of_another_network_are_an_error(change: dict[str, Tensor | None], message: str) -> None:
    changed = {**build_model(PLAIN).state_dict(), **change}
    with pytest.raises(ArchitectureError, match=message):
        inherit(PLAIN, {name: tensor for name, tensor in changed.items() if tensor is not None}, PLAIN)


def test_a_report_says_what_was_inherited_in_a_few_lines() -> None:
    source = network("net classes=5 resolution=16;stem conv c4;mbconv r3 e2 c4;head pool")
    target = attrs.evolve(with_stage(source, layers=2, activation="silu"), resolution=24)
    report = inherit(source, build_model(source).state_dict(), target).report
    total = sum(parameter.numel() for parameter in build_model(target).parameters())
    assert report.describe().splitlines() == [
        f"100.0% of the {total:,} parameters are inherited (nodes: 8 inherited, 3 dropped).",
        "The network only approximates the function of its source:",
        "- The resolution changes from 16 to 24.",
        "- The activation changes from relu to silu (stages.0.0 and 1 more).",
        "- The layer of the source is dropped (stages.0.2).",
    ]
