"""How far the quantization of one layer alone changes the logits of a network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.device.machine import this_machine
from nas.device.run_model import run_model
from nas.device.spec import Device
from nas.export.quantization.graph import Range, Types, quantize_graph
from nas.export.quantization.records import LayerSensitivity, Logits, Run

MOST_IMAGES = 32
"""Number of images from which the order of the layers is taken."""
# A processor without VNNI would add the error of its overflows to that of the rounding to 8 bits, and the order would
# be that of this machine instead of the device.
_EXACT_HERE = Types("uint8", "int8", reduce_range=True)


def run_here(model: onnx.ModelProto, images: NDArray[Any]) -> Logits:
    """Return the logits of images on all CPU cores of this machine."""
    return run_model(model, images, Device(threads=this_machine(Device()).cores))


def divergences(reference: Logits, found: Logits) -> NDArray[np.float64]:
    """Return the Kullback-Leibler divergence of the probabilities of each image `(N,)` from those of a reference."""
    first, second = _log_softmax(reference), _log_softmax(found)
    return np.asarray((np.exp(first) * (first - second)).sum(axis=1))


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def logit_error(reference: Logits, found: Logits) -> float:
    """Return the mean square of the changes of the logits, divided by the variance of the reference's logits."""
    spread = float(reference.var()) or 1.0
    return float(np.mean((found.astype(np.float64) - reference) ** 2)) / spread


def sensitivities(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    layers: Mapping[str, Sequence[str]],
    images: NDArray[Any],
    *,
    types: Types = _EXACT_HERE,
    run: Run = run_here,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[LayerSensitivity, ...]:
    """Quantize one layer at a time, and return the layers with the errors of the logits, the largest first.

    Args:
        model: Graph in fp32.
        ranges: Ranges of the activations.
        layers: Names of the nodes of each layer to measure.
        images: Inputs of the graph, of which the first ones are used.
        types: Types of the weights and of the activations.
        run: Function that returns logits; by default on this machine, since the graphs of all layers would have to be
            sent to the device.
        say: Function that is called with the progress.
    """
    shown = images[:MOST_IMAGES]
    reference = run(model, shown)
    found = []
    for count, (name, nodes) in enumerate(layers.items(), 1):
        error = logit_error(reference, run(quantize_graph(model, ranges, types, nodes), shown))
        found.append(LayerSensitivity(name, error))
        if count % 20 == 0:
            say(f"int8: the sensitivity of {count} of {len(layers)} layers is measured")
    return tuple(sorted(found, key=lambda each: -each.error))
