"""A guide: a rough cost model for costs that are measured, from a formula that is fitted on a few measured networks.

The formula estimates the cost of a layer as a sum of terms: its multiply-adds, the elements that it reads and writes,
and a constant overhead. The rates are fitted by non-negative least squares, and each kind of layer then has a factor
as in a latency table. A guide selects the networks that are worth measuring; results rest on the measurements alone.
"""

import math
from collections.abc import Callable, Sequence
from operator import add

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from scipy.optimize import nnls

from nas.arch.layers import Shape, walk_part
from nas.arch.spec import Architecture, Part
from nas.cost.analytic import node_macs, node_params
from nas.cost.base import Chain
from nas.cost.chain import chain_figures, chain_range
from nas.cost.correction import KINDS, Correction, fit_correction, layer_kind
from nas.cost.layers import Layer, fragment_layers, part_layers
from nas.graph.fragment import Fragment, whole

Floats = NDArray[np.float64]
Terms = Callable[[Layer, int], tuple[float, ...]]
GUIDE_NETWORKS = 16
LEAST = 0.01  # of the smallest measured cost
GUIDE_MARGIN = 2.0  # in standard deviations of the guide's relative error


def latency_terms(layer: Layer, classes: int) -> tuple[float, ...]:
    """Return the terms of a latency: millions of multiply-adds, millions of elements read and written, and 1."""
    nodes = walk_part(layer.part, layer.shape, classes)
    moved = layer.shape.elements + sum(node.shape.elements for node in nodes)
    return sum(map(node_macs, nodes)) / 1e6, moved / 1e6, 1.0


def general_terms(layer: Layer, classes: int) -> tuple[float, ...]:
    """Return the terms of any cost: those of a latency, and millions of parameters."""
    nodes = walk_part(layer.part, layer.shape, classes)
    return *latency_terms(layer, classes), sum(map(node_params, nodes)) / 1e6


@frozen(eq=False)
class Guide:
    """Estimate costs by a fitted formula, roughly; it has every layer of every space.

    Attributes:
        terms: Function that returns the terms of a layer, given the number of classes.
        rates: Cost of one unit of each term.
        correction: Correction that was fitted on the measured networks.
        least: Smallest estimate. Far below the measured costs, the formula may give negative ones.
    """

    terms: Terms
    rates: tuple[float, ...]
    correction: Correction
    least: float = 0.0
    _cache: dict[tuple[Layer, int], float] = field(factory=dict, init=False, repr=False)

    @property
    def error(self) -> float:
        """Return one standard deviation of an estimate as a share of it, from networks left out of the fit in turn."""
        return self.correction.error or 0.0

    def predict(self, arch: Architecture) -> float:
        """Return the estimate for one architecture, of any space."""
        fragment = whole(arch)
        layers = fragment_layers(fragment)
        total = math.fsum(self._layer(layer, fragment.classes) for layer in layers)
        return max(self.least, self.correction.intercept + total)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> Floats:
        """Return estimates `(N,)` of many architectures; see `ChainCostModel`."""
        if not len(index):
            return np.zeros(0)
        sums = chain_figures(chain, index, self._part)[:, :, 0].sum(axis=0)
        return np.asarray(np.maximum(self.least, sums + self.correction.intercept))

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the range of the estimates, extended by their error at both ends; see `ChainCostModel`.

        A range that is too narrow would reject a target that some network meets.
        """
        low, high = (
            max(self.least, self.correction.intercept + bound) for bound in chain_range(chain, self._part, add)
        )
        return low * max(0.0, 1 - GUIDE_MARGIN * self.error), high * (1 + GUIDE_MARGIN * self.error)

    def _part(self, part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
        layers, out = part_layers(part, shape, classes)
        return (math.fsum(self._layer(layer, classes) for layer in layers),), out

    def _layer(self, layer: Layer, classes: int) -> float:
        # Two threads may compute the same value; writing it twice changes nothing.
        if (layer, classes) not in self._cache:
            raw = float(np.dot(self.terms(layer, classes), self.rates))
            self._cache[layer, classes] = self.correction.factors[layer_kind(layer.part)] * raw
        return self._cache[layer, classes]


def fit_guide(terms: Terms, networks: Sequence[Fragment], measured: Floats) -> Guide:
    """Return the guide whose formula fits measured networks best.

    Args:
        terms: Function that returns the terms of a layer, given the number of classes.
        networks: Measured networks.
        measured: Their costs `(networks,)`, all above 0.
    """
    # Costs of any unit are fitted as shares of a typical one: the fit is ill-conditioned for tiny and huge numbers.
    scale = float(np.median(measured))
    shares = measured / scale
    sums = np.array([_kind_terms(terms, network) for network in networks])
    # Relative errors are fitted, and no rate may be negative: a negative one would predict negative costs for layers
    # that differ from those of the measured networks.
    rates, _ = nnls(sums.sum(axis=1) / shares[:, None], np.ones(len(shares)))
    fitted = fit_correction(sums @ rates, shares)
    correction = Correction(fitted.factors, fitted.intercept * scale, fitted.error, fitted.networks)
    return Guide(terms, tuple(map(float, rates * scale)), correction, LEAST * float(measured.min()))


def _kind_terms(terms: Terms, network: Fragment) -> Floats:
    """Return the summed terms of the layers of each kind `(kinds, terms)`."""
    rows = [(layer_kind(layer.part), terms(layer, network.classes)) for layer in fragment_layers(network)]
    sums = np.zeros((len(KINDS), len(rows[0][1])))
    for kind, values in rows:
        sums[KINDS.index(kind)] += values
    return sums
