"""The sampler made for this problem: from what is known and a random state to the architectures worth trying next.

Costs are exact and cheap, accuracies are noisy and dear. So many candidates are drawn, those outside the band are
dropped unseen, and a model of accuracy (`surrogate`) says which one may improve most on what is known (`acquisition`).
"""

import hashlib

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.samplers.acquisition import Acquisition, Known
from nas.samplers.blas import one_thread
from nas.samplers.candidates import make_candidates
from nas.samplers.cost_range import CostRange, Picks
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.prior_scores import PriorScores
from nas.samplers.surrogate import Surrogate, condition, find_parts, to_accuracy, to_level

# Before there are so many accuracies, what is proposed is as unlike the others as can be.
FIRST = 5
SPREAD = 64
PARENTS = 10
# Readings that the model is conditioned on, and of which its weights are found, at most.
MOST_READINGS = 300
MOST_FITTED = 150
MOST_OTHERS = 100
GROWTH = 1.15


@frozen(eq=False)
class History:
    """What a search knows, in the order of its trials.

    Attributes:
        picks: option numbers `(N, choices)`.
        accuracies: `(N,)`, 0 to 1; NaN where there is none.
        failed: `(N,)`, whether it ended without one; those that have neither are still running.
        guessed: `(N,)`, whether an accuracy was not read but inferred; () where all were read.
    """

    picks: Picks
    accuracies: Floats
    failed: NDArray[np.bool_]
    guessed: NDArray[np.bool_] = field(factory=lambda: np.zeros(0, dtype=bool))

    @property
    def read(self) -> NDArray[np.bool_]:
        """Which ones have an accuracy."""
        return ~np.isnan(self.accuracies)

    @property
    def running(self) -> NDArray[np.bool_]:
        """Which ones have not ended."""
        return ~self.read & ~self.failed


@frozen(eq=False)
class CandidateRanker:
    """Ranks what could be tried next.

    Attributes:
        cost_range: what is let in.
        encoder: of the band's space.
        acquisition: what a candidate may be worth.
        listing: all that can be proposed, inside the band, where that can be listed.
        prior_scores: cheap verdicts, or None.
    """

    cost_range: CostRange
    encoder: Encoder
    acquisition: Acquisition
    listing: Picks | None = None
    prior_scores: PriorScores | None = None
    _weights: dict[bytes, Floats] = field(factory=dict, init=False, repr=False)
    _codes: dict[bytes, int] = field(factory=dict, init=False, repr=False)

    def rank(self, history: History, rng: np.random.Generator) -> Picks:
        """Candidates `(N, choices)` inside the band, the most promising first; none that is known.

        The same history and random state give the same ranks.
        """
        with one_thread():
            if history.read.sum() < FIRST:
                return self._unlike(history, rng)
            return self._promising(history, rng)

    def _unlike(self, history: History, rng: np.random.Generator) -> Picks:
        """Random candidates, those first that share least with anything known."""
        found = make_candidates(self.cost_range, history.picks[:0], self.listing, rng)
        found = found[self._first_looks(found, rng)[:SPREAD]]
        codes, known = self.encoder.encode(found), self.encoder.encode(history.picks[-SPREAD:])
        shared = (codes.values @ known.values.T).max(axis=1, initial=0.0)
        order = np.argsort(shared, kind="stable")
        return np.asarray(found[order[shared[order] < self.encoder.fields]])

    def _first_looks(self, found: Picks, rng: np.random.Generator) -> NDArray[np.intp]:
        """In what order candidates are looked at while no accuracy tells of them: as hinted, or at random."""
        if self.prior_scores is None:
            return rng.permutation(len(found))
        return np.argsort(-self.prior_scores.guess(self.encoder.encode(found)), kind="stable")

    def _encode(self, picks: Picks) -> Codes:
        return self.encoder.encode(picks) if self.prior_scores is None else self.prior_scores.encode(picks)

    def _promising(self, history: History, rng: np.random.Generator) -> Picks:
        model, shown, known = self._learn(history, rng)
        order = np.argsort(-self.acquisition.score(known.accuracies, known.costs), kind="stable")
        found = make_candidates(self.cost_range, shown[order[:PARENTS]], self.listing, rng)
        codes = self._encode(found)
        seen = self._seen(history.picks)
        new = np.array([hash(row.tobytes()) not in seen for row in codes.values], dtype=bool)
        found, codes = found[new], codes[np.flatnonzero(new)]
        improvements = self.acquisition.expect(*model.predict(codes), self.cost_range.costs(found), known)
        return np.asarray(found[np.argsort(-improvements, kind="stable")])

    def _seen(self, picks: Picks) -> set[int]:
        """Hashes of the codes of some architectures; each is encoded once."""
        keys = [row.tobytes() for row in picks]
        new = [i for i, key in enumerate(keys) if key not in self._codes]
        if new:
            rows = self.encoder.encode(picks[new]).values
            self._codes.update((keys[i], hash(row.tobytes())) for i, row in zip(new, rows, strict=True))
        return {self._codes[key] for key in keys}

    def _learn(self, history: History, rng: np.random.Generator) -> tuple[Surrogate, Picks, Known]:
        """The model, the option numbers it was shown, and what it expects of those."""
        rows = self._chosen(np.flatnonzero(history.read), history, rng)
        shown, codes = history.picks[rows], self._encode(history.picks[rows])
        levels = to_level(history.accuracies[rows])
        model = condition(self.encoder, codes, levels, self.weights(history))
        known = Known(to_accuracy(model.predict(codes)[0]), self.cost_range.costs(shown))
        others = _others(history)
        if not len(others):
            return model, shown, known
        more = self._encode(history.picks[others])
        # A running one is taken to give what is expected of it, a failed one to be as bad as the worst.
        guesses = np.where(history.failed[others], levels.min(), model.predict(more)[0])
        return condition(self.encoder, codes + more, np.append(levels, guesses), model.weights), shown, known

    def _chosen(self, rows: NDArray[np.intp], history: History, rng: np.random.Generator) -> NDArray[np.intp]:
        """Of many readings the best ones, and as many at random."""
        if len(rows) <= MOST_READINGS:
            return rows
        scores = self.acquisition.score(history.accuracies[rows], self.cost_range.costs(history.picks[rows]))
        order = rows[np.argsort(-scores, kind="stable")]
        best, rest = order[: MOST_READINGS // 2], order[MOST_READINGS // 2 :]
        return np.sort(np.append(best, rng.choice(rest, MOST_READINGS - len(best), replace=False)))

    def expect(self, history: History) -> tuple[NDArray[np.intp], Floats, Floats]:
        """What known architectures promise once the noise of their readings is taken off.

        Returns:
            Rows of the history, of a long one the best and some others; the mean and standard deviation of each one's
            accuracy.

        Raises:
            ValueError: fewer than two have an accuracy.
        """
        rng = np.random.default_rng(0)
        rows = self._chosen(np.flatnonzero(history.read), history, rng)
        with one_thread():
            codes = self._encode(history.picks[rows])
            model = condition(self.encoder, codes, to_level(history.accuracies[rows]), self.weights(history))
            mean, spread = model.predict(codes)
        accuracies = np.clip(to_accuracy(mean), 0, 1)
        return rows, accuracies, np.maximum(to_accuracy(mean + spread) - accuracies, 0)

    def weights(self, history: History) -> Floats:
        """The model's weights, found anew each time that there are 15% more readings."""
        # What is guessed changes with every reading; readings stay.
        sure = history.read & ~history.guessed if len(history.guessed) else history.read
        sure = sure if sure.sum() >= FIRST else history.read
        rows = np.flatnonzero(sure)[: _fitted(int(sure.sum()))]
        if len(rows) > MOST_FITTED:
            rows = np.sort(np.random.default_rng(len(rows)).choice(rows, MOST_FITTED, replace=False))
        picks, accuracies = history.picks[rows], history.accuracies[rows]
        key = hashlib.sha256(picks.tobytes() + accuracies.tobytes()).digest()
        if key not in self._weights:
            self._weights[key] = find_parts(self.encoder, self._encode(picks), to_level(accuracies))
        return self._weights[key]


def _others(history: History) -> NDArray[np.intp]:
    """Rows of the last ones that run or failed."""
    return np.flatnonzero(~history.read)[-MOST_OTHERS:]


def _fitted(count: int) -> int:
    """The largest number of a row that grows by 15% that is not above a count."""
    size = FIRST
    while (larger := max(size + 1, int(size * GROWTH))) <= count:
        size = larger
    return size
