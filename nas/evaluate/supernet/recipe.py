"""The hyperparameters of a supernet's training, and the choice of the networks that each step trains."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from attrs import field, frozen
from torch import Generator

from nas.errors import NasError
from nas.evaluate.supernet.extremes import smallest_and_largest
from nas.space.decode import SearchSpace
from nas.train.recipe import Recipe

# The choice indices of each network of a step; the literature calls such a network a path through the supernet.
Paths = Sequence[tuple[int, ...]]
# Fields of a stage whose options may have weights of their own.
OWN = ("operator", "kernel", "expansion", "divisor", "gate", "skip", "channels")


def _option_counts(space: SearchSpace) -> Sequence[int]:
    return [len(choice.values) for choice in space.all_choices]


def _uniform(space: SearchSpace, generator: Generator) -> Paths:
    """Return one network, with each option of a choice equally likely (Guo et al., arXiv 1904.00420)."""
    return (tuple(int(torch.randint(count, (), generator=generator)) for count in _option_counts(space)),)


def _fair(space: SearchSpace, generator: Generator) -> Paths:
    """Return as many networks as the widest choice has options, with each of these options in one network.

    Options of a choice with fewer options occur equally often, give or take once (Chu et al., arXiv 1907.01845,
    section 3.2).
    """
    networks = max(_option_counts(space), default=1)
    columns = [_balanced_column(count, networks, generator) for count in _option_counts(space)]
    return tuple(zip(*columns, strict=True)) if columns else ((),)


def _balanced_column(options: int, networks: int, generator: Generator) -> list[int]:
    """Return an option for each network in random order, such that no option occurs twice more than another."""
    rounds = [torch.randperm(options, generator=generator) for _ in range(-(-networks // options))]
    return list(torch.cat(rounds)[:networks].tolist())


def _sandwich(space: SearchSpace, generator: Generator) -> Paths:
    """Return the largest network, the smallest one and two random ones (Yu & Huang, arXiv 1903.05134, section 3.2)."""
    smallest, largest = smallest_and_largest(space)
    return (largest, smallest, *(_uniform(space, generator)[0] for _ in range(2)))


def _pair(space: SearchSpace, generator: Generator) -> Paths:
    """Return the largest network and a random one, which costs half as much as a sandwich of four networks."""
    return (smallest_and_largest(space)[1], *_uniform(space, generator))


SAMPLINGS: Mapping[str, Callable[[SearchSpace, Generator], Paths]] = MappingProxyType(
    {"uniform": _uniform, "fair": _fair, "sandwich": _sandwich, "pair": _pair}
)
# Samplings in which the other networks of a step learn the predictions of the first one.
DISTILLING = ("sandwich", "pair")


def _must_be(rule: str, holds: Callable[[Any], bool]) -> Any:
    """Return a validator of an attribute; see `nas.train.recipe`."""

    def check(_recipe: object, attribute: Any, value: Any) -> None:
        if not holds(value):
            raise NasError(
                f"{attribute.name} of the supernet's recipe is {value!r}; it must be {rule}", f"change {attribute.name}"
            )

    return check


def _default_training() -> Recipe:
    return Recipe(batch_size=64)


@frozen
class SupernetRecipe:
    """Hold the hyperparameters of a supernet's training.

    Attributes:
        epochs: Number of passes over the training images; each network of a step receives all images of the step.
        sampling: Choice of the networks that a step trains. "uniform" trains one network; "fair" trains as many as the
            widest choice has options; "sandwich" trains the largest network, the smallest one and two others, which
            learn the predictions of the largest (in-place distillation, arXiv 1903.05134); "pair" trains the largest
            network and a random one, which learns its predictions. If the supernet starts from a pretrained network of
            the space, that network takes the place of the largest one. From random weights and in the same time,
            "uniform" ranked networks better than "fair", and as well as "sandwich" in a space whose largest network
            costs twice the usual one. Where it costs ten times the usual one, so do the steps of "sandwich".
        own: Fields of a stage whose options have weights of their own; "operator" is always one of them. In short
            training runs fewer such fields ranked networks better, because each weight is trained more often.
        training: Batch size, optimizer, learning rate and so on. Its batch-norm momentum has no effect, because a
            supernet normalizes every batch by itself.

    Raises:
        NasError: A value is outside its range.
    """

    epochs: int = field(default=60, validator=_must_be("1 or more", lambda value: value >= 1))
    sampling: str = field(
        default="uniform", validator=_must_be(f"one of {', '.join(SAMPLINGS)}", SAMPLINGS.__contains__)
    )
    own: tuple[str, ...] = field(
        default=("operator",),
        converter=tuple,
        validator=_must_be(
            f"operator, and any of {', '.join(OWN[1:])}", lambda value: "operator" in value and {*value} <= {*OWN}
        ),
    )
    training: Recipe = field(factory=_default_training)

    def paths(self, space: SearchSpace, generator: Generator, teacher: tuple[int, ...] | None = None) -> Paths:
        """Return the choice indices of the networks of one step.

        Args:
            space: Search space.
            generator: Generator of the random choices.
            teacher: Network that takes the place of the largest one, if the other networks learn its predictions.
        """
        paths = SAMPLINGS[self.sampling](space, generator)
        return paths if teacher is None or not self.distills else (teacher, *paths[1:])

    @property
    def distills(self) -> bool:
        """Return whether the networks of a step learn the predictions of its first network."""
        return self.sampling in DISTILLING


# The recipe of a supernet that starts from a pretrained network. In the same time, steps of a pair gave higher
# accuracies than those of a sandwich and ranked equally well (experiments/pretrained/README.md).
PRETRAINED_SUPERNET = SupernetRecipe(epochs=3, sampling="pair", training=Recipe(batch_size=64, learning_rate=1e-3))
