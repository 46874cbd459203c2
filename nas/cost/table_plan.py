"""What is timed for a latency table, in which order, and what is made of the times."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Part
from nas.cost.base import Chain
from nas.cost.layers import Layer, after, before, distinct_layers, in_context, pair
from nas.graph.fragment import Fragment

PASSES = 2
NETWORKS = 32
LAYERS_AT_ONCE = 40
NETWORKS_AT_ONCE = 8
PAIRS_A_PASS = 3  # Each stands behind many layers, so that its error would be theirs.
Kind = Literal["layer", "pair", "network"]


@frozen
class Item:
    """One thing to time: a layer in its context, a context by itself, or a whole network."""

    kind: Kind
    number: int


Ratios = Mapping[Item, Sequence[float]]


@frozen(eq=False)
class TablePlan:
    """What is timed for a table; the same for the same chain, seed and numbers.

    Attributes:
        chain: whose layers.
        padding: of all layers.
        seed: of networks and order.
        with_layers: False for a table that is adapted from another.
        networks: to time.
        passes: over all of it, minutes apart, so that no layer is timed in a bad moment alone.
    """

    chain: Chain
    padding: str
    seed: int = 0
    with_layers: bool = True
    networks: int = NETWORKS
    passes: int = PASSES

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All that are to be timed."""
        return distinct_layers(self.chain) if self.with_layers else ()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Where contexts stand."""
        ends = ((before(layer), after(layer, self.chain.classes)) for layer in self.layers)
        return tuple(dict.fromkeys(shape for both in ends for shape in both if shape is not None))

    @cached_property
    def samples(self) -> tuple[Fragment, ...]:
        """Whole networks, drawn uniformly from each place's options."""
        return sample_networks(self.chain, self.padding, self.networks, self.seed)

    def fragment(self, item: Item) -> Fragment:
        """What is built for an item."""
        if item.kind == "network":
            return self.samples[item.number]
        if item.kind == "pair":
            return pair(self.shapes[item.number], self.padding)
        return in_context(self.layers[item.number], self.chain.classes, self.padding)

    @cached_property
    def batches(self) -> tuple[tuple[Item, ...], ...]:
        """What is timed in turn, batch after batch."""
        return tuple(batch for number in range(self.passes) for batch in self._pass(number))

    def _pass(self, number: int) -> Iterator[tuple[Item, ...]]:
        rng = np.random.default_rng([self.seed, number])
        pairs = [Item("pair", i) for i in range(len(self.shapes))] * PAIRS_A_PASS
        small = [*(Item("layer", i) for i in range(len(self.layers))), *pairs]
        large = [Item("network", i) for i in range(len(self.samples))]
        yield from _cut(small, LAYERS_AT_ONCE, rng)
        yield from _cut(large, NETWORKS_AT_ONCE, rng)

    def layer_ratios(self, ratios: Ratios) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each layer's time over the reference's `(layers,)`, and its standard error, its context taken off."""
        pairs = [_mean(ratios[Item("pair", i)]) for i in range(len(self.shapes))]
        halves = {shape: (mean / 2, error / 2) for shape, (mean, error) in zip(self.shapes, pairs, strict=True)}
        found = [self._alone(i, ratios, halves) for i in range(len(self.layers))]
        return np.array([value for value, _ in found]), np.array([error for _, error in found])

    def _alone(self, number: int, ratios: Ratios, halves: Mapping[Shape, tuple[float, float]]) -> tuple[float, float]:
        layer = self.layers[number]
        value, error = _mean(ratios[Item("layer", number)])
        ends = [halves[end] for end in (before(layer), after(layer, self.chain.classes)) if end is not None]
        errors = [error, *(half_error for _, half_error in ends)]
        return value - sum(half for half, _ in ends), float(np.hypot.reduce(errors))

    def network_ratios(self, ratios: Ratios) -> NDArray[np.float64]:
        """Each network's time over the reference's `(networks,)`."""
        return np.array([_mean(ratios[Item("network", i)])[0] for i in range(len(self.samples))])


def _cut(items: Sequence[Item], size: int, rng: np.random.Generator) -> Iterator[tuple[Item, ...]]:
    """Shuffled batches of about equal size."""
    count = -(-len(items) // size)
    order = rng.permutation(len(items))
    return (tuple(items[i] for i in order[start::count]) for start in range(count))


def _mean(ratios: Sequence[float]) -> tuple[float, float]:
    """The mean over passes, and its standard error."""
    values = np.array(ratios)
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def sample_networks(chain: Chain, padding: str, count: int, seed: int) -> tuple[Fragment, ...]:
    """Different networks, each place's options equally likely."""
    rng = np.random.default_rng([seed, 1])
    sizes = [len(options) for options in chain.options]
    found: dict[Fragment, None] = {}
    for _ in range(100 * count):
        if len(found) == count:
            break
        picks = rng.integers(sizes)
        parts = (options[i] for options, i in zip(chain.options, picks, strict=True))
        found[_network(chain, padding, parts)] = None
    return tuple(found)


def _network(chain: Chain, padding: str, parts: Iterator[Part | None]) -> Fragment:
    return Fragment(tuple(part for part in parts if part is not None), chain.shape, chain.classes, padding)
