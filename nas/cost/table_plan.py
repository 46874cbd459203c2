"""The plan of a latency table: which items are timed, in which order, and how layer latencies follow from the times."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import Shape, resized
from nas.arch.spec import Input, Part
from nas.cost.base import Chain
from nas.cost.layers import (
    Layer,
    context_pair,
    distinct_layers,
    input_context_shape,
    layer_in_context,
    output_context_shape,
)
from nas.graph.fragment import Fragment

PASSES = 2
NETWORKS = 32
LAYER_BATCH = 40
NETWORK_BATCH = 8
PAIR_REPEATS = 3  # The latencies of many layers depend on one pair, so that its error must be smaller than theirs.
Kind = Literal["layer", "pair", "network"]


@frozen
class Item:
    """Identify one item to time.

    Attributes:
        kind: A layer in its context, a pair of context convolutions without a layer, or a whole network.
        number: Index among the plan's `layers`, `shapes` or `samples`.
    """

    kind: Kind
    number: int


Ratios = Mapping[Item, Sequence[float]]


@frozen(eq=False)
class TablePlan:
    """Plan the measurements of a table; the plan depends on nothing but these attributes.

    Attributes:
        chain: All architectures of the space.
        padding: Padding of all layers.
        seed: Seed of the choice of networks and of the order.
        with_layers: Whether layers are timed; False for a table that is adapted from another one.
        networks: Number of whole networks to time.
        passes: Number of times that everything is timed. Passes are minutes apart, so that a short disturbance of the
            machine affects at most one measurement of a layer.
    """

    chain: Chain
    padding: str
    seed: int = 0
    with_layers: bool = True
    networks: int = NETWORKS
    passes: int = PASSES

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Return the layers to time."""
        return distinct_layers(self.chain) if self.with_layers else ()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Return the distinct shapes between layers and their context convolutions."""
        ends = ((input_context_shape(layer), output_context_shape(layer, self.chain.classes)) for layer in self.layers)
        return tuple(dict.fromkeys(shape for both in ends for shape in both if shape is not None))

    @cached_property
    def samples(self) -> tuple[Fragment, ...]:
        """Return whole networks, with options that are drawn uniformly for each place."""
        return sample_networks(self.chain, self.padding, self.networks, self.seed)

    def fragment(self, item: Item) -> Fragment:
        """Return the fragment that is timed for an item."""
        if item.kind == "network":
            return self.samples[item.number]
        if item.kind == "pair":
            return context_pair(self.shapes[item.number], self.padding)
        return layer_in_context(self.layers[item.number], self.chain.classes, self.padding)

    @cached_property
    def batches(self) -> tuple[tuple[Item, ...], ...]:
        """Return the items of each batch, which are timed in turn with each other."""
        return tuple(batch for number in range(self.passes) for batch in self._pass(number))

    def _pass(self, number: int) -> Iterator[tuple[Item, ...]]:
        rng = np.random.default_rng([self.seed, number])
        pairs = [Item("pair", i) for i in range(len(self.shapes))] * PAIR_REPEATS
        small = [*(Item("layer", i) for i in range(len(self.layers))), *pairs]
        large = [Item("network", i) for i in range(len(self.samples))]
        yield from _shuffled_batches(small, LAYER_BATCH, rng)
        yield from _shuffled_batches(large, NETWORK_BATCH, rng)

    def layer_ratios(self, ratios: Ratios) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ratio of each layer to the reference `(layers,)` without its context, and its standard error."""
        pairs = [_mean_and_error(ratios[Item("pair", i)]) for i in range(len(self.shapes))]
        # A layer has one convolution of a pair on each side, so half a pair is subtracted for each end.
        halves = {shape: (mean / 2, error / 2) for shape, (mean, error) in zip(self.shapes, pairs, strict=True)}
        found = [self._layer_ratio(i, ratios, halves) for i in range(len(self.layers))]
        return np.array([value for value, _ in found]), np.array([error for _, error in found])

    def _layer_ratio(
        self, number: int, ratios: Ratios, halves: Mapping[Shape, tuple[float, float]]
    ) -> tuple[float, float]:
        layer = self.layers[number]
        value, error = _mean_and_error(ratios[Item("layer", number)])
        contexts = input_context_shape(layer), output_context_shape(layer, self.chain.classes)
        ends = [halves[shape] for shape in contexts if shape is not None]
        # The three measurements are independent, so that their errors add in quadrature.
        errors = [error, *(half_error for _, half_error in ends)]
        return value - sum(half for half, _ in ends), float(np.hypot.reduce(errors))

    def network_ratios(self, ratios: Ratios) -> NDArray[np.float64]:
        """Return the ratio of each network to the reference `(networks,)`."""
        return np.array([_mean_and_error(ratios[Item("network", i)])[0] for i in range(len(self.samples))])


def _shuffled_batches(items: Sequence[Item], size: int, rng: np.random.Generator) -> Iterator[tuple[Item, ...]]:
    """Return shuffled batches of about equal size.

    The order is random: with neighboring layers in one batch, a drift of the machine would change their ratios
    together.
    """
    count = -(-len(items) // size)
    order = rng.permutation(len(items))
    return (tuple(items[i] for i in order[start::count]) for start in range(count))


def _mean_and_error(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the mean over passes and its standard error, which is NaN for a single pass."""
    values = np.array(ratios)
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def sample_networks(chain: Chain, padding: str, count: int, seed: int) -> tuple[Fragment, ...]:
    """Return distinct networks, each with options that are drawn uniformly for each place.

    A space with fewer than `count` networks gives fewer.

    Args:
        chain: All architectures of the space.
        padding: Padding of all layers.
        count: Number of networks.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng([seed, 1])
    sizes = [len(options) for options in chain.options]
    found: dict[Fragment, None] = {}
    for _ in range(100 * count):  # A bounded number of attempts: a small space may have fewer networks.
        if len(found) == count:
            break
        indices = rng.integers(sizes)
        parts = (options[i] for options, i in zip(chain.options, indices, strict=True))
        found[_network(chain, padding, parts)] = None
    return tuple(found)


def _network(chain: Chain, padding: str, options: Iterable[Part | Input | None]) -> Fragment:
    shape, parts = chain.shape, list[Part]()
    for option in options:
        if isinstance(option, Input | None):
            shape = resized(shape, option)
        else:
            parts.append(option)
    return Fragment(tuple(parts), shape, chain.classes, padding)
