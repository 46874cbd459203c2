"""Fragments of networks, which can be built as graphs and measured on a device."""

from attrs import frozen

from nas.arch.layers import PlacedPart, Shape, input_shape, walk_parts
from nas.arch.spec import Architecture, Part


@frozen(cache_hash=True)
class Fragment:
    """Represent consecutive parts of a network: stems, stages and heads.

    Attributes:
        parts: Parts in order.
        shape: Shape of the first part's input for one image.
        classes: Number of classes; only a head uses it.
        padding: Padding of the convolutions, as in `Architecture`.

    >>> from nas.arch.spec import Stage
    >>> fragment = Fragment((Stage("conv", 8, layers=2),), Shape(3, 16, 16))
    >>> [placed.name for placed in fragment.walk()]
    ['stages.0.0', 'stages.0.1']
    """

    parts: tuple[Part, ...]
    shape: Shape
    classes: int = 1000
    padding: str = "symmetric"

    def walk(self) -> tuple[PlacedPart, ...]:
        """Return the stems, layers and heads of the fragment with their names, input shapes and nodes."""
        return tuple(walk_parts(self.parts, self.shape, self.classes))


def whole(arch: Architecture) -> Fragment:
    """Return the fragment that contains the complete network, from the image to the logits."""
    return Fragment((arch.stem, *arch.stages, arch.head), input_shape(arch), arch.classes, arch.padding)
