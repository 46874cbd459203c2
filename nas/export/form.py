"""The form of a graph that is fastest on a device, by measurement."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from attrs import frozen

from nas.device.client import Meter
from nas.device.model_file import ModelFile
from nas.device.timing import Aim
from nas.graph.build import Operators
from nas.graph.variants import STANDARD, VARIANTS

# Each repeat makes the sessions anew: one session can be a few percent slower than an equal one, because of where its
# memory is, and rounds within the same sessions do not show this.
REPEATS = 5
AIM = Aim(spread=0.002, least=15, most=200, seconds=1.0)
# A smaller gain is not worth a form other than the one in which all other latencies are measured.
SMALLEST_GAIN = 0.02
# In standard errors. The fastest of several variants is chosen, so that one of them is often ahead by two by chance.
CLEAR = 3


@frozen
class VariantTime:
    """Hold the time of one variant of a graph as a share of that of the standard form.

    Attributes:
        name: Name of the variant.
        ratio: Median of the ratios of all repeats.
        spread: Standard error of `ratio`.
    """

    name: str
    ratio: float
    spread: float

    @property
    def is_faster(self) -> bool:
        """Return whether the variant is faster by more than the smallest gain and by more than noise."""
        gain = 1 - self.ratio
        return gain > SMALLEST_GAIN and gain > CLEAR * self.spread


@frozen(eq=False)
class FormChoice:
    """Hold the form of a graph that was chosen on a device.

    Attributes:
        name: Name of the variant that was chosen.
        operators: Its operators.
        times: Times of the variants that were measured; empty where all variants write the same graph.
    """

    name: str
    operators: Operators
    times: tuple[VariantTime, ...] = ()


def fastest_form(build: Callable[[Operators], onnx.ModelProto], meter: Meter) -> FormChoice:
    """Return the form in which a network runs fastest on a device.

    The standard form is kept unless another one is faster by 2% and by more than noise, so that a file usually has the
    form in which the latencies of the search were measured.

    Args:
        build: Function that builds the graph from operators.
        meter: The device.

    Raises:
        DeviceError: The device fails, or rejects the graph.
    """
    graphs = _distinct({name: build(operators) for name, operators in VARIANTS.items()})
    others = [name for name in graphs if name != STANDARD]
    if not others:
        return FormChoice(STANDARD, VARIANTS[STANDARD])
    files = {name: ModelFile(name, graph.SerializeToString()) for name, graph in graphs.items()}
    ratios = np.array([_ratios(files, others, meter, repeat) for repeat in range(REPEATS)])
    # The standard error of a median of normal values is 1.25 times that of their mean.
    spreads = 1.25 * ratios.std(axis=0, ddof=1) / REPEATS**0.5
    times = tuple(map(VariantTime, others, np.median(ratios, axis=0).tolist(), spreads.tolist()))
    best = min((each for each in times if each.is_faster), key=lambda each: each.ratio, default=None)
    name = STANDARD if best is None else best.name
    return FormChoice(name, VARIANTS[name], times)


def _distinct(graphs: Mapping[str, onnx.ModelProto]) -> dict[str, onnx.ModelProto]:
    """Return the graphs without those that equal an earlier one: a network without gates has the same ones."""
    kept: dict[str, onnx.ModelProto] = {}
    for name, graph in graphs.items():
        if all(graph.graph.node != other.graph.node for other in kept.values()):
            kept[name] = graph
    return kept


def _ratios(files: Mapping[str, ModelFile], others: list[str], meter: Meter, repeat: int) -> list[float]:
    """Return the times of the variants over that of the standard form, with sessions that are made in another order."""
    order = list(np.random.default_rng(repeat).permutation(list(files)))
    turns = meter.measure([files[name] for name in order], AIM)
    times = dict(zip(order, (timing.ratio for timing in turns.timings), strict=True))
    return [times[name] / times[STANDARD] for name in others]
