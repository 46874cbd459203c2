"""Raw zero-cost scores of an architecture: counts of its layers, operations and weights, and scores from images."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from nas.arch.canonical import canonical
from nas.arch.layers import walk
from nas.arch.spec import Architecture, Stage
from nas.cost.analytic import cost
from nas.errors import NasError


class ImageScorer(Protocol):
    """Compute the scores that need images, such as `Naswot`; a higher score is better."""

    def check(self, arch: Architecture) -> None:
        """Check that the architecture fits the images.

        Raises:
            NasError: It does not fit, so that no architecture of the same search can.
        """
        ...

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Return the finite scores named in `IMAGE_SCORES`; the same architecture always has the same scores.

        Raises:
            EvaluationError: This architecture has no scores, but others may have some.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what the scores depend on, as plain JSON values."""
        ...


@runtime_checkable
class SendableImageScorer(Protocol):
    """An `ImageScorer` that has to be changed before it is sent to another process; others are sent as they are."""

    def to_send(self) -> ImageScorer:
        """Return the same scorer, with images in shared memory.

        Raises:
            NasError: The scorer cannot be sent.
        """
        ...


def depth(arch: Architecture) -> int:
    """Return the number of layers of the stages that contain an activation.

    Each repeat of a stage is one layer, whatever its operator. Layers that a space replaces by the identity do not
    count, nor do layers without an activation, such as a linear 1x1 convolution. The stem and the head are the same in
    all networks of a space and do not count either.

    >>> from nas.arch.presets import preset
    >>> depth(preset("mobilenetv2"))
    17
    """
    layers = (placed for placed in walk(arch) if isinstance(placed.part, Stage))
    return sum(any(node.op == "activation" for node in layer.nodes) for layer in layers)


# Scores that are counted, without torch and without images.
COUNTED: Mapping[str, Callable[[Architecture], int]] = MappingProxyType(
    {"depth": depth, "macs": lambda arch: cost(arch).macs, "params": lambda arch: cost(arch).params}
)
IMAGE_SCORES = ("naswot", "distinctness")
# For each name of an evaluator the raw scores that it averages. "combined" has three aspects of a network: the number
# of its activations, how differently they respond to images, and how many of them follow one another.
PARTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {**{name: (name,) for name in (*IMAGE_SCORES, *COUNTED)}, "combined": (*IMAGE_SCORES, "depth")}
)


def find_parts(name: str) -> Sequence[str]:
    """Return the names of the raw scores that a score is made of.

    Raises:
        NasError: There is no score of this name.

    Example:
        >>> find_parts("combined")
        ('naswot', 'distinctness', 'depth')
    """
    if name not in PARTS:
        raise NasError(f"there is no zero-cost score {name!r}", f"use {', '.join(PARTS)}")
    return PARTS[name]


def needs_images(name: str) -> bool:
    """Return whether a score needs images, and therefore torch.

    Raises:
        NasError: There is no score of this name.

    Example:
        >>> needs_images("combined"), needs_images("depth")
        (True, False)
    """
    return not {*find_parts(name)} <= COUNTED.keys()


def raw_scores(arch: Architecture, scorer: ImageScorer | None = None) -> Mapping[str, float]:
    """Return all raw scores of an architecture by name; without a scorer only those that need no images.

    Raises:
        EvaluationError: The scorer cannot score the architecture.

    Example:
        >>> from nas.arch.presets import preset
        >>> raw_scores(preset("mobilenetv2"))
        {'depth': 17, 'macs': 300774272, 'params': 3504872}
    """
    # Two texts of one network have one score: the canonical form merges stages that are equal.
    plain = canonical(arch)
    counts = {name: count(plain) for name, count in COUNTED.items()}
    return counts if scorer is None else {**scorer.scores(plain), **counts}
