"""The layers that a latency table is made of, each under one key, and what is built to time one."""

from collections.abc import Iterator
from functools import lru_cache

from attrs import frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import Shape, stage_layers, walk_part
from nas.arch.spec import Part, Stage, Stem
from nas.cost.base import Chain
from nas.graph.fragment import Fragment

CONTEXT_CHANNELS = 8


@frozen(cache_hash=True)
class Layer:
    """A stem, a head or one layer of a stage under its simplest name, and its input's shape."""

    part: Part
    shape: Shape


def part_layers(part: Part, shape: Shape, classes: int) -> tuple[tuple[Layer, ...], Shape]:
    """A part's layers, and the shape of its output."""
    layers = []
    for layer in stage_layers(part) if isinstance(part, Stage) else (part,):
        plain = plain_layer(layer, shape.channels) if isinstance(layer, Stage) else layer
        layers.append(Layer(plain, shape))
        shape = out_shape(layers[-1], classes)
    return tuple(layers), shape


def fragment_layers(fragment: Fragment) -> Iterator[Layer]:
    """All layers of a network or a part of one, in order."""
    shape = fragment.shape
    for part in fragment.parts:
        layers, shape = part_layers(part, shape, fragment.classes)
        yield from layers


@lru_cache(maxsize=65_536)
def out_shape(layer: Layer, classes: int) -> Shape:
    """The shape of a layer's output."""
    return walk_part(layer.part, layer.shape, classes)[-1].shape


def distinct_layers(chain: Chain) -> tuple[Layer, ...]:
    """Every layer that some architecture of the chain has, each once."""
    found: dict[Layer, None] = {}
    shapes = {chain.shape: None}
    for options in chain.options:
        after: dict[Shape, None] = {}
        for shape in shapes:
            for layers, out in _ways(options, shape, chain.classes):
                found |= dict.fromkeys(layers)
                after[out] = None
        shapes = after
    return tuple(found)


def _ways(options: tuple[Part | None, ...], shape: Shape, classes: int) -> Iterator[tuple[tuple[Layer, ...], Shape]]:
    for part in options:
        yield ((), shape) if part is None else part_layers(part, shape, classes)


# Inside a network a layer's input is already in the layout that the runtime's convolutions like, and so is its output.
# Alone it would pay for both changes of layout. So a layer is timed between two cheap 1x1
# convolutions, and half of each pair of them, timed by itself, is taken off again.


def _cheap(channels: int) -> Stage:
    return Stage("conv", channels, kernel=1, skip="none")


def pair(shape: Shape, padding: str) -> Fragment:
    """The two cheap convolutions that meet in `shape`."""
    outer = Shape(CONTEXT_CHANNELS, shape.height, shape.width)
    return Fragment((_cheap(shape.channels), _cheap(CONTEXT_CHANNELS)), outer, padding=padding)


def before(layer: Layer) -> Shape | None:
    """Where a cheap convolution stands before a layer: everywhere but before the stem."""
    return None if isinstance(layer.part, Stem) else layer.shape


def after(layer: Layer, classes: int) -> Shape | None:
    """Where one stands after a layer: everywhere but after the head."""
    return out_shape(layer, classes) if isinstance(layer.part, Stage | Stem) else None


def in_context(layer: Layer, classes: int, padding: str) -> Fragment:
    """A layer as it is timed."""
    first = [] if before(layer) is None else [_cheap(layer.shape.channels)]
    last = [] if after(layer, classes) is None else [_cheap(CONTEXT_CHANNELS)]
    outer = Shape(CONTEXT_CHANNELS, layer.shape.height, layer.shape.width) if first else layer.shape
    return Fragment((*first, layer.part, *last), outer, classes, padding)
