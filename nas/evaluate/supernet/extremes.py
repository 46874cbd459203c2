"""The networks of a search space with the fewest and with the most weights."""

from functools import lru_cache

from nas.arch.layers import Shape, resized, walk_parts
from nas.arch.spec import Input
from nas.evaluate.supernet.places import common_settings
from nas.space.decode import Form, SearchSpace


@lru_cache(maxsize=4)
def smallest_and_largest(space: SearchSpace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the choice indices of the smallest and of the largest network.

    The parts are chosen one after the other, each as the form with the fewest or the most weights behind the parts
    before it.

    Example:
        >>> from nas.space.files import find_space
        >>> smallest_and_largest(find_space("nasbench_macro"))
        ((0, 0, 0, 0, 0, 0, 0, 0), (2, 2, 2, 2, 2, 2, 2, 2))
    """
    return _extreme(space, -1), _extreme(space, 1)


def _extreme(space: SearchSpace, sign: int) -> tuple[int, ...]:
    """Return the choice indices of the largest network for sign 1, and of the smallest for sign -1."""
    net, indices = common_settings(space), list[int]()
    shape = Shape(net.in_channels, net.resolution, net.resolution)
    for part in space.parts:
        sizes = {one: _size(part.part(one), shape, net.classes) for one in part.indices()}
        # One part after another: there can be more than 10^18 networks, and few forms of each part.
        chosen = max(sizes, key=lambda one: sign * sizes[one][0])
        indices += chosen
        shape = sizes[chosen][1]
    return tuple(indices)


def _size(form: Form, shape: Shape, classes: int) -> tuple[int, Shape]:
    """Return the number of weights of a part, 0 if it is absent, and the shape of its output.

    An input has no weights, and its resolution takes their place.
    """
    if isinstance(form, Input | None):
        return 0 if form is None else form.resolution, resized(shape, form)
    placed = list(walk_parts((form,), shape, classes))
    weights = sum(node.weights for one in placed for node in one.nodes)
    return weights, placed[-1].nodes[-1].shape
