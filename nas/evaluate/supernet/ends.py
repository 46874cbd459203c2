"""The least and the largest network of a space, between which all others lie."""

from functools import lru_cache

from nas.arch.layers import Shape, walk_parts
from nas.arch.spec import Part
from nas.evaluate.supernet.places import frame
from nas.space.decode import SearchSpace


@lru_cache(maxsize=4)
def ends(space: SearchSpace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Option numbers of both: part after part the form with the fewest, and with the most weights."""
    return _end(space, -1), _end(space, 1)


def _end(space: SearchSpace, sign: int) -> tuple[int, ...]:
    net, picks = frame(space), list[int]()
    shape = Shape(net.in_channels, net.resolution, net.resolution)
    for part in space.parts:
        sizes = {one: _size(part.part(one), shape, net.classes) for one in part.picks()}
        chosen = max(sizes, key=lambda one: sign * sizes[one][0])
        picks += chosen
        shape = sizes[chosen][1]
    return tuple(picks)


def _size(form: Part | None, shape: Shape, classes: int) -> tuple[int, Shape]:
    """Weights of a part, none where it is left out, and the shape behind it."""
    placed = list(walk_parts(() if form is None else (form,), shape, classes))
    weights = sum(node.weights for one in placed for node in one.nodes)
    return weights, placed[-1].nodes[-1].shape if placed else shape
