"""Ranges of the activations of a network on calibration images, and the methods that clip them.

ONNX Runtime's own calibration keeps all activations of all images in memory, or repeats a search over 2,048 bins in
Python for each tensor: EfficientNet-B0 with 500 images of 224 pixels has 20 GB of activations. Here a batch is
forgotten after its smallest and largest values and a random sample of its values were taken.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
from attrs import frozen
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nas.device.machine import this_machine
from nas.device.session import open_session
from nas.device.spec import Device
from nas.export.quantization.graph import Range, observed_tensors
from nas.graph.build import OUTPUT

Array = NDArray[np.float32]

SAMPLED_VALUES = 131_072
"""Number of values of each tensor that are sampled from all calibration images together."""
OPEN_BATCH = 4
"""Number of images that are run together where the batch of the graph is open."""
_LOWEST_SHARE = 1e-4
_BINS, _LEVELS, _THRESHOLDS = 2048, 256, 100
_SMALLEST_SHARE = 1e-6


@frozen
class Observed:
    """Hold what was observed of one tensor.

    Attributes:
        low: Smallest value.
        high: Largest value.
        sample: Random sample of the values `(n,)`.
    """

    low: float
    high: float
    sample: Array


def observe(model: onnx.ModelProto, images: NDArray[np.generic], seed: int = 0) -> dict[str, Observed]:
    """Run images through a graph in this process, and return what was observed of each of `observed_tensors`.

    Args:
        model: Graph in fp32.
        images: Inputs of the graph `(N, ...)`, at least one.
        seed: Seed of the samples.
    """
    needed = observed_tensors(model)
    names = sorted(set(needed.values()))
    generator = np.random.default_rng(seed)
    per_image = max(1, -(-SAMPLED_VALUES // len(images)))
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    samples: list[list[Array]] = [[] for _ in names]
    for batch, outputs in _outputs(model, names, images):
        for index, values in enumerate(outputs):
            flat = values.ravel()
            lows[index], highs[index] = min(lows[index], flat.min()), max(highs[index], flat.max())
            samples[index].append(flat[generator.integers(0, flat.size, min(flat.size, per_image * batch))])
    found = {
        name: Observed(float(low), float(high), np.concatenate(sample))
        for name, low, high, sample in zip(names, lows, highs, samples, strict=True)
    }
    return {name: found[other] for name, other in needed.items()}


def _outputs(
    model: onnx.ModelProto, names: Sequence[str], images: NDArray[np.generic]
) -> Iterator[tuple[int, list[Array]]]:
    """Yield the number of images of each batch, and the values of the tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (graph_input,) = copy.graph.input
    computed = [name for name in names if name not in (graph_input.name, OUTPUT)]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in computed)
    session = open_session(copy, Device(threads=this_machine(Device()).cores))
    fixed = graph_input.type.tensor_type.shape.dim[0].dim_value
    for start in range(0, len(images), fixed or OPEN_BATCH):
        batch = images[start : start + (fixed or OPEN_BATCH)]
        # A batch of fixed size is filled up with the same images again, which changes no range.
        fed = np.resize(batch, (fixed or len(batch), *batch.shape[1:]))
        found = dict(zip([OUTPUT, *computed], session.run([OUTPUT, *computed], {graph_input.name: fed}), strict=True))
        found[graph_input.name] = fed
        yield len(batch), [found[name] for name in names]


def _smallest_and_largest(observed: Observed) -> Range:
    return observed.low, observed.high


def _percentile(observed: Observed) -> Range:
    low, high = np.quantile(observed.sample, (_LOWEST_SHARE, 1 - _LOWEST_SHARE))
    return float(low), float(high)


def _entropy(observed: Observed) -> Range:
    """Return the range whose rounded values have the distribution most like that of the values themselves.

    As in TensorRT (Migacz, GTC 2017): the values outside of a range are moved to its ends, and the Kullback-Leibler
    divergence of the rounded distribution from this one is smallest. The ranges are those of the values whose magnitude
    is at most a threshold.
    """
    low, high = min(observed.low, 0.0), max(observed.high, 0.0)
    if low == high:
        return observed.low, observed.high
    # Zeros, of which there are many after a ReLU, are always represented exactly.
    histogram, edges = np.histogram(observed.sample[observed.sample != 0], _BINS, (low, high))
    largest = max(-low, high)
    ranges = [
        (max(low, -threshold), min(high, threshold))
        for threshold in np.linspace(largest, _LEVELS / _BINS * largest, _THRESHOLDS)
    ]
    # Of equal divergences the first range is taken, which clips the fewest values.
    low, high = min(ranges, key=lambda limits: _divergence(histogram, edges, *limits))
    return float(low), float(high)


def _divergence(histogram: NDArray[np.int64], edges: NDArray[np.float64], low: float, high: float) -> float:
    first, last = np.searchsorted(edges, low, "right") - 1, np.searchsorted(edges, high, "left")
    inside = histogram[first:last].astype(np.float64)
    clipped = inside.copy()
    clipped[0] += histogram[:first].sum()
    clipped[-1] += histogram[last:].sum()
    levels = np.arange(len(inside)) * _LEVELS // len(inside)
    occupied = clipped > 0
    counts = np.bincount(levels, occupied, _LEVELS)
    # The values of a level are spread evenly over its occupied bins.
    rounded = (np.bincount(levels, inside, _LEVELS) / np.maximum(counts, 1))[levels]
    first_share = clipped[occupied] / clipped.sum()
    # A bin with clipped values only has no share of its own, and the divergence would be infinite.
    second_share = np.maximum(rounded[occupied] / max(inside.sum(), 1.0), _SMALLEST_SHARE)
    return float((first_share * np.log(first_share / second_share)).sum())


METHODS: Mapping[str, Callable[[Observed], Range]] = MappingProxyType(
    {"minmax": _smallest_and_largest, "entropy": _entropy, "percentile": _percentile}
)
"""The range of a tensor by each method: all values, the entropy, and all but a share of 1e-4 at each end."""


def ranges_by(method: str, observed: Mapping[str, Observed]) -> dict[str, Range]:
    """Return the range of each tensor by a method, which is never wider than the observed values."""
    shared = {id(each): METHODS[method](each) for each in {id(each): each for each in observed.values()}.values()}
    return {name: shared[id(each)] for name, each in observed.items()}
