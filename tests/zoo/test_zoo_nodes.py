"""Tests of the walk's shapes and of the graph's operators against torch, for sizes that the networks do not have."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nas.zoo.graph import build_network_graph, random_source
from nas.zoo.nodes import Tensor, walk_network
from nas.zoo.records import (
    LINEAR,
    Activation,
    Block,
    Channels,
    Conv,
    Flatten,
    GlobalAverage,
    Linear,
    Pad,
    Parallel,
    Pool,
    Shuffle,
    residual,
)


def computed(records: Block, image: torch.Tensor, weights: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Return what the graph of some records makes of images; weights are by the name of their node and tensor."""
    shape = tuple(image.shape[1:])
    drawn = random_source(0)

    def source(name: str, tensor: Tensor) -> np.ndarray:
        given_weights = (weights or {}).get(f"{name}.{tensor.name}")
        return drawn(name, tensor) if given_weights is None else given_weights.numpy()

    nodes = walk_network(records, shape)
    graph = build_network_graph(nodes, shape, source, batch=len(image))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    output = torch.from_numpy(session.run(None, {"input": image.numpy()})[0])
    assert tuple(output.shape[1:]) == nodes[-1].outcome.shape
    return output


@given(
    side=st.integers(1, 20),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    kind=st.sampled_from(["max", "average", "average with padding"]),
)
def test_pooling_is_that_of_torch(side: int, kernel: int, stride: int, padding: int, ceil: bool, kind: str) -> None:
    if 2 * padding > kernel or side + 2 * padding < kernel:
        return
    image = torch.arange(2.0 * side * (side + 1)).reshape(1, 2, side, side + 1).sin()
    if kind == "max":
        expected = functional.max_pool2d(image, kernel, stride, padding, ceil_mode=ceil)
        record = Pool("max", kernel, stride, padding, ceil)
    else:
        counted, ceil = kind != "average", ceil and kind == "average"
        expected = functional.avg_pool2d(image, kernel, stride, padding, ceil, counted)
        record = Pool("average", kernel, stride, padding, ceil, counted)
    torch.testing.assert_close(computed(record, image), expected)


@given(
    height=st.integers(5, 12),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    groups=st.sampled_from([1, 2, 4]),
)
def test_a_convolution_is_that_of_torch(
    height: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int, int, int], groups: int
) -> None:
    torch.manual_seed(0)
    image, weight, bias = torch.randn(2, 4, height, 7), torch.randn(8, 4 // groups, *kernel), torch.randn(8)
    top, left, bottom, right = padding
    padded = functional.pad(image, (left, right, top, bottom))
    expected = functional.conv2d(padded, weight, bias, stride, groups=groups)
    record = Conv(8, kernel, stride, padding, groups, "bias", LINEAR)
    found = computed(record, image, {"0.conv.weight": weight, "0.conv.bias": bias})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    node = walk_network(record, (4, height, 7))[0]
    assert node.outcome.params == weight.numel() + 8
    assert node.outcome.macs == weight.numel() * expected[0, 0].numel()


@given(padding=st.tuples(*[st.integers(-2, 3)] * 4))
def test_padding_and_cutting_are_those_of_torch(padding: tuple[int, int, int, int]) -> None:
    image = torch.randn(1, 3, 5, 6)
    top, left, bottom, right = padding
    torch.testing.assert_close(computed(Pad(padding), image), functional.pad(image, (left, right, top, bottom)))


def test_a_shuffle_is_that_of_torch() -> None:
    image = torch.randn(2, 12, 3, 4)
    torch.testing.assert_close(computed(Shuffle(3), image), nn.ChannelShuffle(3)(image))


def test_channels_are_a_chunk() -> None:
    image = torch.randn(2, 12, 3, 4)
    for part in range(3):
        torch.testing.assert_close(computed(Channels(part, 3), image), image.chunk(3, 1)[part])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", functional.relu),
        ("gelu", functional.gelu),
        ("tanh", torch.tanh),
    ],
)
def test_activations_are_those_of_torch(name: str, function: nn.Module) -> None:
    image = torch.linspace(-8, 8, 60).reshape(1, 3, 4, 5)
    torch.testing.assert_close(computed(Activation(name), image), function(image), rtol=1e-4, atol=1e-6)


def test_joins_add_and_concatenate() -> None:
    image = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(computed(residual(Activation(), (), "relu"), image), 2 * image.relu())
    joined = computed(Parallel(((), Activation(), Channels(1))), image)
    torch.testing.assert_close(joined, torch.cat([image, image.relu(), image[:, 2:]], 1))


def test_norms_are_counted_twice_for_each_channel_and_biases_once() -> None:
    counts = {
        offset: walk_network(Conv(8, 3, offset=offset), (4, 5, 5))[0].outcome.params
        for offset in ("norm", "bias", "none")
    }
    assert counts == {"norm": 288 + 16, "bias": 288 + 8, "none": 288}


def test_the_classifier_reads_the_mean() -> None:
    image, weight, bias = torch.randn(2, 4, 3, 5), torch.randn(7, 4), torch.randn(7)
    found = computed((GlobalAverage(), Flatten(), Linear(7)), image, {"2.linear.weight": weight, "2.linear.bias": bias})
    torch.testing.assert_close(found, image.mean((2, 3)) @ weight.T + bias, rtol=1e-4, atol=1e-5)
