"""How shared weights are trained: which networks a step trains, and the recipe's numbers."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from attrs import field, frozen
from torch import Generator

from nas.errors import NasError
from nas.evaluate.supernet.ends import ends
from nas.space.decode import SearchSpace
from nas.train.recipe import Recipe

Paths = Sequence[tuple[int, ...]]
OWN = ("operator", "kernel", "expansion", "gate", "skip", "channels")


def _sizes(space: SearchSpace) -> Sequence[int]:
    return [len(choice.values) for choice in space.all_choices]


def _uniform(space: SearchSpace, generator: Generator) -> Paths:
    """One network, each option as likely as the others (arXiv 1904.00420)."""
    return (tuple(int(torch.randint(size, (), generator=generator)) for size in _sizes(space)),)


def _fair(space: SearchSpace, generator: Generator) -> Paths:
    """As many networks as the widest choice has options, each option of it in one (arXiv 1907.01845, section 3.2).

    Of a choice with fewer options each comes as often as the others, give or take once.
    """
    count = max(_sizes(space), default=1)
    columns = [_dealt(size, count, generator) for size in _sizes(space)]
    return tuple(zip(*columns, strict=True)) if columns else ((),)


def _dealt(size: int, count: int, generator: Generator) -> list[int]:
    rounds = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
    return list(torch.cat(rounds)[:count].tolist())


def _sandwich(space: SearchSpace, generator: Generator) -> Paths:
    """The largest, the least and two random ones (arXiv 1903.05134, section 3.2)."""
    least, largest = ends(space)
    return (largest, least, *(_uniform(space, generator)[0] for _ in range(2)))


SAMPLINGS: Mapping[str, Callable[[SearchSpace, Generator], Paths]] = MappingProxyType(
    {"uniform": _uniform, "fair": _fair, "sandwich": _sandwich}
)
# The first network of a step teaches the others of it.
TAUGHT = ("sandwich",)


def _is(rule: str, holds: Callable[[Any], bool]) -> Any:
    def check(_recipe: object, attribute: Any, value: Any) -> None:
        if not holds(value):
            raise NasError(f"the supernet's {attribute.name} is {value!r}", f"use {rule}")

    return check


def _training() -> Recipe:
    return Recipe(batch_size=64)


@frozen
class SupernetRecipe:
    """How shared weights are trained.

    Attributes:
        epochs: passes over the train images; each image of it is seen by every network of a step.
        sampling: "uniform" trains one network a step; "fair" as many as the widest choice has options; "sandwich" the
            largest, the least and two others, which learn what the largest predicts (in-place distillation, arXiv
            1903.05134). In as much time, one a step ranked networks better than "fair" did, and like "sandwich" where
            the largest network costs twice the usual one; where it costs ten times that, so do its steps.
        own: fields of a stage whose options have weights of their own; "operator" is one of them. Fewer of them did
            better in short trainings, where each weight is trained more often.
        training: batches, optimizer, learning rate and so on; its momentum of normalisations says nothing here, where
            every batch is normalised by itself.
    """

    epochs: int = field(default=60, validator=_is("1 or more", lambda value: value >= 1))
    sampling: str = field(default="uniform", validator=_is(f"one of {', '.join(SAMPLINGS)}", SAMPLINGS.__contains__))
    own: tuple[str, ...] = field(
        default=("operator",),
        converter=tuple,
        validator=_is(
            f"operator, and any of {', '.join(OWN[1:])}", lambda value: "operator" in value and {*value} <= {*OWN}
        ),
    )
    training: Recipe = field(factory=_training)

    def paths(self, space: SearchSpace, generator: Generator) -> Paths:
        """Option numbers of the networks of a step."""
        return SAMPLINGS[self.sampling](space, generator)

    @property
    def is_taught(self) -> bool:
        """Whether networks of a step learn what its first one predicts."""
        return self.sampling in TAUGHT
