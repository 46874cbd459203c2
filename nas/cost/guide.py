"""A rough table for a device that has none: layers by a formula, fitted on a few measured networks.

A layer takes as long as its multiply-adds, the numbers it reads and writes, and a little for being there at all. The
three rates are fitted (none below zero), then each kind of layer has its factor as in any table. It is a guide for
what to measure, with an error of its own; nothing is judged by it.
"""

from collections.abc import Iterable

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from nas.arch.layers import walk_part
from nas.cost.analytic import node_macs
from nas.cost.correction import fit
from nas.cost.layers import Layer, fragment_layers
from nas.cost.table import LatencyTable, Origin
from nas.graph.fragment import Fragment

Floats = NDArray[np.float64]


def make_guide(
    name: str, origin: Origin, layers: Iterable[Layer], networks: Iterable[Fragment], measured: Floats
) -> LatencyTable:
    """A table of formula's times.

    Args:
        name: of the table.
        origin: of the measurements.
        layers: it should know.
        networks: that were measured.
        measured: their times in milliseconds, `(networks,)`.
    """
    networks, layers = tuple(networks), tuple(layers)
    work = np.array([sum(_work(layer, origin.classes) for layer in fragment_layers(network)) for network in networks])
    rates, _ = nnls(work / measured[:, None], np.ones(len(measured)))
    times = {layer: float(_work(layer, origin.classes) @ rates) for layer in layers}
    raw = LatencyTable(name, origin, times, dict.fromkeys(layers, float("nan")))
    sums = np.array([raw.sums(network) for network in networks])
    return attrs.evolve(raw, correction=fit(sums, measured))


def _work(layer: Layer, classes: int) -> Floats:
    """Millions of multiply-adds, millions of numbers moved, and one."""
    nodes = walk_part(layer.part, layer.shape, classes)
    macs = sum(map(node_macs, nodes))
    moved = layer.shape.elements + sum(node.shape.elements for node in nodes)
    return np.array([macs / 1e6, moved / 1e6, 1.0])
