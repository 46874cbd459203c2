"""A guide: a rough latency table for a device without one, from a formula that is fitted on a few measured networks.

The formula estimates the latency of a layer from its multiply-adds, the elements that it reads and writes, and a
constant overhead. The three rates are fitted by non-negative least squares, and each kind of layer then has a factor
as in any table. A guide selects the networks that are worth measuring; results rest on the measurements alone.
"""

from collections.abc import Iterable

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from nas.arch.layers import walk_part
from nas.cost.analytic import node_macs
from nas.cost.correction import fit_correction
from nas.cost.layers import Layer, fragment_layers
from nas.cost.table import LatencyTable, Origin
from nas.graph.fragment import Fragment

Floats = NDArray[np.float64]


def make_guide(
    name: str, origin: Origin, layers: Iterable[Layer], networks: Iterable[Fragment], measured: Floats
) -> LatencyTable:
    """Return a table whose layer latencies come from the fitted formula.

    Args:
        name: Name of the table.
        origin: Origin of the measurements.
        layers: Layers that the table should have.
        networks: Measured networks.
        measured: Their latencies in milliseconds, `(networks,)`.
    """
    networks, layers = tuple(networks), tuple(layers)
    terms = np.array([sum(_terms(layer, origin.classes) for layer in fragment_layers(network)) for network in networks])
    # Relative errors are fitted, and no rate may be negative: a negative one would predict negative latencies for
    # layers that differ from those of the measured networks.
    rates, _ = nnls(terms / measured[:, None], np.ones(len(measured)))
    times = {layer: float(_terms(layer, origin.classes) @ rates) for layer in layers}
    raw = LatencyTable(name, origin, times, dict.fromkeys(layers, float("nan")))
    kind_sums = np.array([raw.kind_sums(network) for network in networks])
    return attrs.evolve(raw, correction=fit_correction(kind_sums, measured))


def _terms(layer: Layer, classes: int) -> Floats:
    """Return the terms of the formula: millions of multiply-adds, millions of elements read and written, and 1."""
    nodes = walk_part(layer.part, layer.shape, classes)
    macs = sum(map(node_macs, nodes))
    moved = layer.shape.elements + sum(node.shape.elements for node in nodes)
    return np.array([macs / 1e6, moved / 1e6, 1.0])
