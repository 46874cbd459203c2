"""Layers as the rows of a latency table, and the fragments that are built to time them."""

from collections.abc import Iterator
from functools import lru_cache

from attrs import frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import Shape, resized, stage_layers, walk_part
from nas.arch.spec import Input, Part, Stage, Stem
from nas.cost.base import Chain
from nas.graph.fragment import Fragment

CONTEXT_CHANNELS = 8


@frozen(cache_hash=True)
class Layer:
    """Identify a layer in a latency table: two layers that compute the same are equal.

    Attributes:
        part: A stem, a head or one layer of a stage, in canonical form.
        shape: Shape of its input.
    """

    part: Part
    shape: Shape


def part_layers(part: Part, shape: Shape, classes: int) -> tuple[tuple[Layer, ...], Shape]:
    """Return the layers of a part and the shape of its output.

    Args:
        part: Stem, stage or head.
        shape: Shape of its input.
        classes: Number of classes.
    """
    layers = []
    for layer in stage_layers(part) if isinstance(part, Stage) else (part,):
        plain = plain_layer(layer, shape.channels) if isinstance(layer, Stage) else layer
        layers.append(Layer(plain, shape))
        shape = out_shape(layers[-1], classes)
    return tuple(layers), shape


def fragment_layers(fragment: Fragment) -> Iterator[Layer]:
    """Yield the layers of a network or a part of one, in order."""
    shape = fragment.shape
    for part in fragment.parts:
        layers, shape = part_layers(part, shape, fragment.classes)
        yield from layers


@lru_cache(maxsize=65_536)
def out_shape(layer: Layer, classes: int) -> Shape:
    """Return the shape of a layer's output."""
    return walk_part(layer.part, layer.shape, classes)[-1].shape


def distinct_layers(chain: Chain) -> tuple[Layer, ...]:
    """Return each layer that occurs in any architecture of a chain, once.

    Instead of enumerating architectures, this follows all shapes that can occur at each place.
    """
    found: dict[Layer, None] = {}
    shapes = {chain.shape: None}
    for options in chain.options:
        after: dict[Shape, None] = {}
        for shape in shapes:
            for layers, out in _option_layers(options, shape, chain.classes):
                found |= dict.fromkeys(layers)
                after[out] = None
        shapes = after
    return tuple(found)


def _option_layers(
    options: tuple[Part | Input | None, ...], shape: Shape, classes: int
) -> Iterator[tuple[tuple[Layer, ...], Shape]]:
    for part in options:
        yield ((), resized(shape, part)) if isinstance(part, Input | None) else part_layers(part, shape, classes)


# Inside a network the input and the output of a layer are in the blocked memory layout of the runtime's convolutions.
# A layer that is timed alone would also convert both layouts. A layer is therefore timed between two cheap 1x1
# convolutions, its context, which take over the conversions. Each pair of such convolutions is also timed without a
# layer, and half its time is subtracted for each end of the context.


def _context_conv(channels: int) -> Stage:
    return Stage("conv", channels, kernel=1, skip="none")


def context_pair(shape: Shape, padding: str) -> Fragment:
    """Return a fragment of two context convolutions, with a tensor of this shape between them."""
    outer = Shape(CONTEXT_CHANNELS, shape.height, shape.width)
    return Fragment((_context_conv(shape.channels), _context_conv(CONTEXT_CHANNELS)), outer, padding=padding)


def input_context_shape(layer: Layer) -> Shape | None:
    """Return the shape between a layer and the convolution before it, or None for a stem, which reads the image."""
    return None if isinstance(layer.part, Stem) else layer.shape


def output_context_shape(layer: Layer, classes: int) -> Shape | None:
    """Return the shape between a layer and the convolution after it, or None for a head, which gives the logits."""
    return out_shape(layer, classes) if isinstance(layer.part, Stage | Stem) else None


def layer_in_context(layer: Layer, classes: int, padding: str) -> Fragment:
    """Return the fragment that is timed for a layer: the layer between its context convolutions."""
    first = [] if input_context_shape(layer) is None else [_context_conv(layer.shape.channels)]
    last = [] if output_context_shape(layer, classes) is None else [_context_conv(CONTEXT_CHANNELS)]
    outer = Shape(CONTEXT_CHANNELS, layer.shape.height, layer.shape.width) if first else layer.shape
    return Fragment((*first, layer.part, *last), outer, classes, padding)
