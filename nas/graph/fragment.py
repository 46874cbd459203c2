"""What can be built and timed: parts of an architecture in a row, with the shape of their input."""

from attrs import frozen

from nas.arch.layers import PlacedPart, Shape, input_shape, walk_parts
from nas.arch.spec import Architecture, Part


@frozen(cache_hash=True)
class Fragment:
    """Stems, stages and heads in a row; a whole network has all of its own.

    Attributes:
        parts: in order.
        shape: of the first one's input, for one image.
        classes: of a classifier.
        padding: as of an architecture.
    """

    parts: tuple[Part, ...]
    shape: Shape
    classes: int = 1000
    padding: str = "symmetric"

    def walk(self) -> tuple[PlacedPart, ...]:
        """Its layers, placed."""
        return tuple(walk_parts(self.parts, self.shape, self.classes))


def whole(arch: Architecture) -> Fragment:
    """A network from image to logits."""
    return Fragment((arch.stem, *arch.stages, arch.head), input_shape(arch), arch.classes, arch.padding)
