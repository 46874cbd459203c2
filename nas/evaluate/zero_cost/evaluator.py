"""Scores architectures without training: by counting, or by one look at a network with fresh weights.

What a search is given is no accuracy but a standing: how far above or below random architectures of the space the
score lies. Costs enter a reward ACC * (COST/T)^w with that standing as ACC.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from scipy.special import expit

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.layers import walk
from nas.arch.spec import Architecture, Stage
from nas.cost.analytic import cost
from nas.errors import EvaluationError, NasError
from nas.space.decode import SearchSpace

SAMPLE = 64


class Measure(Protocol):
    """Scores that need images, `MEASURED` by their names, such as `Naswot` gives: the larger, the better."""

    def check(self, arch: Architecture) -> None:
        """Refuse what no network of the search may be, before anything is scored.

        Raises:
            NasError: the architecture does not fit the images.
        """
        ...

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Finite numbers; the same architecture always has the same.

        Raises:
            EvaluationError: this architecture cannot be scored; others can.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the scores depend on, as plain JSON values."""
        ...


@runtime_checkable
class SendableMeasure(Protocol):
    """A measure that has to be made ready for another process; others can be sent as they are."""

    def to_send(self) -> Measure:
        """The same measure; its images are shared, not sent.

        Raises:
            NasError: it cannot be sent.
        """
        ...


def depth(arch: Architecture) -> int:
    """How many layers of the stages hold an activation.

    Counted in the one walk over shapes: each repeat of a stage is a layer, whatever its operator. A layer that a space
    leaves out as an identity is not walked, and one that only changes the shape, such as a linear 1x1 convolution,
    holds no activation. Stem and head are in all networks alike, and are not counted.
    """
    layers = (placed for placed in walk(arch) if isinstance(placed.part, Stage))
    return sum(any(node.op == "activation" for node in layer.nodes) for layer in layers)


# What is counted, without torch and images.
COUNTED: Mapping[str, Callable[[Architecture], int]] = MappingProxyType(
    {"depth": depth, "macs": lambda arch: cost(arch).macs, "params": lambda arch: cost(arch).params}
)
MEASURED = ("naswot", "distinctness")
# Each name with the scores that it is made of. Three different things are combined: how many activations there are, how
# differently they answer to images, and how many of them stand one behind the other.
PARTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {**{name: (name,) for name in (*MEASURED, *COUNTED)}, "combined": (*MEASURED, "depth")}
)


def find_parts(name: str) -> Sequence[str]:
    """The scores that a name is made of.

    Raises:
        NasError: there is no such name.
    """
    if name not in PARTS:
        raise NasError(f"there is no zero-cost score {name!r}", f"use {', '.join(PARTS)}")
    return PARTS[name]


def needs_images(name: str) -> bool:
    """Whether a name takes a measure of images, and so torch.

    Raises:
        NasError: there is no such name.
    """
    return not {*find_parts(name)} <= COUNTED.keys()


def scores(arch: Architecture, naswot: Measure | None = None) -> Mapping[str, float]:
    """Raw scores of one architecture by their names: what is counted, and what is measured of images where it can be.

    Equal networks have equal scores, however they are written.

    Raises:
        EvaluationError: the measure cannot score this architecture.
    """
    plain = canonical(arch)
    counted = {name: float(count(plain)) for name, count in COUNTED.items()}
    return counted if naswot is None else {**naswot.scores(plain), **counted}


@frozen
class Scale:
    """Means and deviations of each part among random architectures, and the deviation of the parts' mean."""

    means: tuple[float, ...]
    spreads: tuple[float, ...]
    spread: float

    def standing(self, raw: Sequence[float]) -> float:
        """From 0 to 1, rising with each part; 0.5 is the mean of random architectures.

        Its log-odds are the mean of the standardised parts, in deviations of that mean: 0.73 is one above, 0.88 two,
        0.95 three. The normal distribution's share would be 1 among the best, where a search must tell them apart.
        """
        deviations = float(np.mean(np.subtract(raw, self.means) / self.spreads)) / self.spread
        return float(expit(deviations))


def make_scale(raw: Sequence[Sequence[float]], names: Sequence[str]) -> Scale:
    """The scale of raw scores `(architectures, parts)`.

    Raises:
        NasError: a part, or the mean of all, is the same for all architectures.
    """
    values = np.array(raw, dtype=np.float64).reshape(len(raw), len(names))
    means = values.mean(axis=0)
    spreads = [_spread(column, name) for column, name in zip(values.T, names, strict=True)]
    together = _spread(((values - means) / spreads).mean(axis=1), " and ".join(names))
    return Scale(tuple(means.tolist()), tuple(spreads), together)


def _spread(values: NDArray[np.float64], name: str) -> float:
    spread = float(values.std())
    if not spread > 0:
        raise NasError(
            f"{name} is the same for all {len(values)} random architectures of the space",
            f"choose another score: {', '.join(PARTS)}",
        )
    return spread


@frozen(eq=False)
class ZeroCostEvaluator:
    """Where an architecture stands by a score that needs no training, among random architectures of a space.

    One number from 0 to 1, whatever the budget: not an accuracy, see `Scale.standing`. The raw scores are its remarks.
    The random architectures are scored at the first evaluation; those that cannot be scored are left out.

    Attributes:
        name: one of `PARTS`.
        space: what the random architectures are drawn from, for the target. Give the whole space, with every choice
            open, so that standings do not change with the choices that a search makes already.
        naswot: the measure of images; None for what is counted alone.
        seed: of the draw.
        sample: how many architectures are drawn.

    Raises:
        NasError: there is no such name, it needs a measure of images and has none, or a count is the same for all
            random architectures.
    """

    name: str
    space: SearchSpace
    naswot: Measure | None = None
    seed: int = 0
    sample: int = SAMPLE
    _known: dict[Architecture, Mapping[str, float]] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if needs_images(self.name) and self.naswot is None:
            raise NasError(f"{self.name} needs images", f"give a measure, or use {', '.join(COUNTED)}")
        # What can be told without images is told before a study is touched.
        counted = [name for name in find_parts(self.name) if name in COUNTED]
        if counted:
            make_scale([[COUNTED[name](arch) for name in counted] for arch in self.references], counted)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- nothing is trained
        """The one standing.

        Raises:
            NasError: the architecture does not fit the images, or the measure is the same for all random architectures.
            EvaluationError: the architecture cannot be scored; told when the standing is asked for.
        """
        if self._measure is not None:
            self._measure.check(arch)
        return self._standings(arch)

    def _standings(self, arch: Architecture) -> Iterator[float]:
        yield self.scale.standing(self._parts(arch))

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """The raw scores that the standing is made of."""
        return dict(zip(find_parts(self.name), self._parts(arch), strict=True))

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Raw scores by name, with those that the standing is not made of; see the function `scores`."""
        plain = canonical(arch)
        if plain not in self._known:
            self._known[plain] = scores(plain, self._measure)
        return self._known[plain]

    def seconds_per_epoch(self, arch: Architecture) -> float:
        """What it takes to score one architecture, after another one to warm up."""
        scores(self.references[0], self._measure)
        start = time.perf_counter()
        scores(arch, self._measure)
        return time.perf_counter() - start

    @cached_property
    def references(self) -> tuple[Architecture, ...]:
        """The random ones."""
        picks = self.space.sample(np.random.default_rng(self.seed), self.sample)
        return tuple(canonical(self.space.from_picks(row)) for row in picks)

    @cached_property
    def scale(self) -> Scale:
        """Of the random architectures; made once.

        Raises:
            NasError: too few can be scored, or a score is the same for all.
        """
        raw = [parts for arch in self.references if (parts := self._parts_or_none(arch)) is not None]
        if len(raw) < 2:
            raise NasError(
                f"{self.name} can score {len(raw)} of {self.sample} random architectures of space {self.space.name}",
                f"choose another score: {', '.join(PARTS)}",
            )
        return make_scale(raw, find_parts(self.name))

    def to_send(self) -> "ZeroCostEvaluator":
        """The same with all scores that are known; the random architectures are scored first, once for all processes.

        Raises:
            NasError: see `scale`; or the measure cannot be sent.
        """
        _ = self.scale
        measure = self.naswot.to_send() if isinstance(self.naswot, SendableMeasure) else self.naswot
        sent = attrs.evolve(self, naswot=measure)
        sent._known.update(self._known)
        return sent

    def describe(self) -> Mapping[str, Any]:
        """The score, the images and the random architectures."""
        measured = dict(self._measure.describe()) if self._measure is not None else {}
        return {
            "evaluator": "zero-cost",
            "score": self.name,
            "parts": " + ".join(find_parts(self.name)),
            **measured,
            "sample": self.sample,
            "sample_of": self.space.name,
            "sample_seed": self.seed,
            "sample_sha256": self._sha,
        }

    @cached_property
    def _sha(self) -> str:
        """Of the random architectures: the same ones, comparable standings."""
        return hashlib.sha256("\n\n".join(map(format_text, self.references)).encode()).hexdigest()[:12]

    @property
    def _measure(self) -> Measure | None:
        return self.naswot if needs_images(self.name) else None

    def _parts(self, arch: Architecture) -> Sequence[float]:
        known = self.scores(arch)
        return [known[name] for name in find_parts(self.name)]

    def _parts_or_none(self, arch: Architecture) -> Sequence[float] | None:
        try:
            return self._parts(arch)
        except EvaluationError:
            return None
