"""An evaluator that scores architectures without training: by counts, or by images and random weights.

A search receives no accuracy from it but a normalized score: how far the raw score lies above or below those of random
architectures of the space. In the reward ACC * (COST/T)^w this score takes the place of the accuracy.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import EvaluationError, NasError
from nas.evaluate.zero_cost.scale import ScoreScale, make_scale
from nas.evaluate.zero_cost.scores import (
    COUNTED,
    PARTS,
    ImageScorer,
    SendableImageScorer,
    find_parts,
    needs_images,
    raw_scores,
)
from nas.space.decode import SearchSpace

# Number of random architectures by which scores are normalized. The standard error of a deviation that is estimated
# from 64 normally distributed values is 9% of it, 1 / sqrt(2 * 63).
SAMPLE = 64


@frozen(eq=False)
class ZeroCostEvaluator:
    """Give the normalized zero-cost score of an architecture in place of an accuracy.

    There is one number from 0 to 1, whatever the budget is; see `ScoreScale.normalize`. The raw scores are its
    metadata. The random architectures are scored in the first evaluation; those without a score are left out.

    Attributes:
        name: Name of the score, a key of `PARTS`.
        space: Search space of the random architectures, for the target. Pass the whole space with every choice open, so
            that fixing a choice does not change the normalization.
        naswot: Scorer of the scores that need images; None if the score needs none.
        seed: Seed of the random architectures.
        sample: Number of random architectures.

    Raises:
        NasError: There is no score of this name, it needs images and `naswot` is None, or a count is the same for all
            random architectures.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.space.files import find_space
        >>> evaluator = ZeroCostEvaluator("depth", find_space("nasbench_macro"), sample=16)
        >>> shallow, *_, deep = sorted(evaluator.references, key=lambda arch: evaluator.metadata(arch)["depth"])
        >>> (low,), (high,) = (evaluator.evaluate(arch, budget=1) for arch in (shallow, deep))
        >>> 0 < low < 0.5 < high < 1
        True
    """

    name: str
    space: SearchSpace
    naswot: ImageScorer | None = None
    seed: int = 0
    sample: int = SAMPLE
    _known_scores: dict[Architecture, Mapping[str, float]] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if needs_images(self.name) and self.naswot is None:
            raise NasError(f"score {self.name} needs images", f"pass naswot, or use {', '.join(COUNTED)}")
        # Counts are checked now, before a study is created; scores from images take too long for that.
        counted = [name for name in find_parts(self.name) if name in COUNTED]
        if counted:
            make_scale([[COUNTED[name](arch) for name in counted] for arch in self.references], counted)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Return an iterator over the one normalized score.

        Raises:
            NasError: The architecture does not fit the images, or the score is the same for all random architectures.
            EvaluationError: The architecture cannot be scored; raised when the score is requested.
        """
        if self._scorer is not None:
            self._scorer.check(arch)
        return self._normalized(arch)

    def _normalized(self, arch: Architecture) -> Iterator[float]:
        yield self.scale.normalize(self._parts(arch))

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the raw scores that the normalized score is made of, by name."""
        return dict(zip(find_parts(self.name), self._parts(arch), strict=True))

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Return all raw scores by name, also those that the normalized score is not made of; see `raw_scores`."""
        plain = canonical(arch)
        if plain not in self._known_scores:
            self._known_scores[plain] = raw_scores(plain, self._scorer)
        return self._known_scores[plain]

    def seconds_per_epoch(self, arch: Architecture) -> float:
        """Return the duration of scoring the architecture, in seconds; another one is scored first to warm up."""
        raw_scores(self.references[0], self._scorer)
        start = time.perf_counter()
        raw_scores(arch, self._scorer)
        return time.perf_counter() - start

    @cached_property
    def references(self) -> tuple[Architecture, ...]:
        """Return the random architectures, in canonical form."""
        indices = self.space.sample(np.random.default_rng(self.seed), self.sample)
        return tuple(canonical(self.space.from_indices(row)) for row in indices)

    @cached_property
    def scale(self) -> ScoreScale:
        """Return the scale of the random architectures' scores, which is computed once.

        Raises:
            NasError: Fewer than two of them can be scored, or a score is the same for all.
        """
        raw = [parts for arch in self.references if (parts := self._parts_or_none(arch)) is not None]
        if len(raw) < 2:
            raise NasError(
                f"score {self.name} exists for {len(raw)} of {self.sample} random architectures of space "
                f"{self.space.name}; it needs at least 2",
                f"choose another score: {', '.join(PARTS)}",
            )
        return make_scale(raw, find_parts(self.name))

    def to_send(self) -> "ZeroCostEvaluator":
        """Return the evaluator with all known scores; see `Sendable`.

        The random architectures are scored first, so that it is done once and not in every process.

        Raises:
            NasError: The scale cannot be computed, or the scorer cannot be sent.
        """
        _ = self.scale
        scorer = self.naswot.to_send() if isinstance(self.naswot, SendableImageScorer) else self.naswot
        sent = attrs.evolve(self, naswot=scorer)
        sent._known_scores.update(self._known_scores)
        return sent

    def describe(self) -> Mapping[str, Any]:
        """Return the score, the images and the random architectures, as plain JSON values."""
        measured = dict(self._scorer.describe()) if self._scorer is not None else {}
        return {
            "evaluator": "zero-cost",
            "score": self.name,
            "parts": " + ".join(find_parts(self.name)),
            **measured,
            "sample": self.sample,
            "sample_of": self.space.name,
            "sample_seed": self.seed,
            "sample_sha256": self._sample_digest,
        }

    @cached_property
    def _sample_digest(self) -> str:
        """Return a digest of the random architectures: scores can be compared only if these are the same."""
        return hashlib.sha256("\n\n".join(map(format_text, self.references)).encode()).hexdigest()[:12]

    @property
    def _scorer(self) -> ImageScorer | None:
        """Return the scorer, or None if the score does not need it."""
        return self.naswot if needs_images(self.name) else None

    def _parts(self, arch: Architecture) -> Sequence[float]:
        known = self.scores(arch)
        return [known[name] for name in find_parts(self.name)]

    def _parts_or_none(self, arch: Architecture) -> Sequence[float] | None:
        try:
            return self._parts(arch)
        except EvaluationError:
            return None
