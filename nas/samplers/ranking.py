"""The project's own sampler: a ranking of candidates by the expected improvement of a model of accuracy.

Costs are exact and cheap, accuracies are noisy and expensive. So many candidates are drawn, those outside the cost
range are dropped, and a model of accuracy (`surrogate`) predicts which of the others improves most on the known ones
(`acquisition`).
"""

import hashlib

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.samplers.acquisition import Acquisition, Known
from nas.samplers.blas import one_thread
from nas.samplers.candidates import climb, distinct, make_candidates
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.prior_scores import PriorScores, fit_with_scores
from nas.samplers.surrogate import LEAST_NOISE, Surrogate, condition, fit_weights, level_slope, to_accuracy, to_level

# Before there are so many accuracies, suggestions are as different from each other as possible.
FIRST = 5
SPREAD = 64
PARENTS = 10
# Largest numbers of measurements that the model is conditioned on, and that its weights are fitted to. The time for
# both grows with the cube of their number; with these a suggestion takes 15 to 35 ms in `mnasnet` (docs/sampler.md).
MOST_MEASUREMENTS = 300
MOST_FITTED = 150
MOST_OTHERS = 100
GROWTH = 1.15


@frozen(eq=False)
class History:
    """Hold the trials of a search as arrays, in the order of the trials.

    Attributes:
        indices: Choice indices, `(N, choices)`.
        accuracies: Accuracies, `(N,)`, 0 to 1; NaN where there is none.
        failed: Whether a trial ended without an accuracy, `(N,)`; a trial that has neither is still running.
        extrapolated: Whether an accuracy was extrapolated from earlier epochs, `(N,)`; empty where none was.
        noise: Known variance of each accuracy that other networks do not share, `(N,)`; 0, or empty, where nothing is
            known.
        expected: Accuracies that are less far from their mean, at which the known variances are taken, `(N,)`; empty
            where they are the accuracies themselves.
    """

    indices: ChoiceIndices
    accuracies: Floats
    failed: NDArray[np.bool_]
    extrapolated: NDArray[np.bool_] = field(factory=lambda: np.zeros(0, dtype=bool))
    noise: Floats = field(factory=lambda: np.zeros(0))
    expected: Floats = field(factory=lambda: np.zeros(0))

    @property
    def level_noise(self) -> Floats:
        """Return the known variance of the level of each accuracy, `(N,)`; 0 where there is no accuracy."""
        if not len(self.noise):
            return np.zeros(len(self.accuracies))
        slopes = level_slope(self.expected if len(self.expected) else self.accuracies)
        return np.asarray(np.nan_to_num(self.noise * slopes**2))

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Return which trials have an accuracy."""
        return ~np.isnan(self.accuracies)

    @property
    def running(self) -> NDArray[np.bool_]:
        """Return which trials have not ended."""
        return ~self.measured & ~self.failed


@frozen(eq=False)
class CandidateRanker:
    """Ranks candidates for the next trial.

    Attributes:
        cost_range: Costs that are accepted.
        encoder: Encoder of the architectures of the space.
        acquisition: Acquisition function.
        listing: Choice indices of all architectures inside the cost range, where they can be listed.
        prior_scores: Scores of a cheap evaluator, or None.
    """

    cost_range: CostRange
    encoder: Encoder
    acquisition: Acquisition
    listing: ChoiceIndices | None = None
    prior_scores: PriorScores | None = None
    _weights: dict[bytes, Floats] = field(factory=dict, init=False, repr=False)
    _codes: dict[bytes, int] = field(factory=dict, init=False, repr=False)

    def rank(self, history: History, rng: np.random.Generator) -> ChoiceIndices:
        """Return choice indices `(N, choices)` of new candidates inside the cost range, the most promising first.

        The same history and random state give the same ranking.
        """
        with one_thread():
            if history.measured.sum() < FIRST:
                return self._most_different(history, rng)
            return self._promising(history, rng)

    def _most_different(self, history: History, rng: np.random.Generator) -> ChoiceIndices:
        """Return candidates, first those that differ most from all known architectures.

        They are random, or the best by prior scores of those that were scored and their offspring.
        """
        best = history.indices[:0] if self.prior_scores is None else self.prior_scores.best()
        found = make_candidates(self.cost_range, best[:PARENTS], self.listing, rng)
        if self.listing is None:
            found = distinct(np.concatenate([best[self.cost_range.excess(best) == 0], found]))
        found = found[self._initial_order(found, rng)]
        found = found[_take_new(self.encoder.encode(found), self._seen(history.indices))][:SPREAD]
        codes, known = self.encoder.encode(found), self.encoder.encode(history.indices[-SPREAD:])
        shared = (codes.values @ known.values.T).max(axis=1, initial=0.0)
        return np.asarray(found[np.argsort(shared, kind="stable")])

    def _initial_order(self, found: ChoiceIndices, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the order of candidates before there are accuracies: by prior scores, or random."""
        if self.prior_scores is None:
            return rng.permutation(len(found))
        return np.argsort(-self.prior_scores.predict(self.encoder.encode(found)), kind="stable")

    def _encode(self, indices: ChoiceIndices) -> Codes:
        return self.encoder.encode(indices) if self.prior_scores is None else self.prior_scores.encode(indices)

    def _promising(self, history: History, rng: np.random.Generator) -> ChoiceIndices:
        model, shown, known = self._learn(history, rng)
        order = np.argsort(-self.acquisition.score(known.accuracies, known.costs), kind="stable")
        found = make_candidates(self.cost_range, shown[order[:PARENTS]], self.listing, rng)
        seen = self._seen(history.indices)

        def assess(indices: ChoiceIndices) -> tuple[ChoiceIndices, Floats]:
            codes = self._encode(indices)
            new = _take_new(codes, seen)
            indices, codes = indices[new], codes[np.flatnonzero(new)]
            return indices, self.acquisition.log_expect(*model.predict(codes), self.cost_range.costs(indices), known)

        found, improvements = assess(found)
        if self.listing is not None:
            return np.asarray(found[np.argsort(-improvements, kind="stable")])
        return climb(self.cost_range, found, improvements, assess, rng)[0]

    def _seen(self, indices: ChoiceIndices) -> set[int]:
        """Return hashes of the encodings of architectures; each is encoded only once."""
        keys = [row.tobytes() for row in indices]
        new = [i for i, key in enumerate(keys) if key not in self._codes]
        if new:
            rows = self.encoder.encode(indices[new]).values
            self._codes.update((keys[i], hash(row.tobytes())) for i, row in zip(new, rows, strict=True))
        return {self._codes[key] for key in keys}

    def _learn(self, history: History, rng: np.random.Generator) -> tuple[Surrogate, ChoiceIndices, Known]:
        """Return the model, the choice indices that it was fitted to, and its predictions for those."""
        rows = self._chosen(np.flatnonzero(history.measured), history, rng)
        shown, codes = history.indices[rows], self._encode(history.indices[rows])
        levels, noise = to_level(history.accuracies[rows]), history.level_noise[rows]
        model = condition(self.encoder, codes, levels, self.weights(history), noise)
        known = Known(to_accuracy(model.predict(codes)[0]), self.cost_range.costs(shown))
        others = _unmeasured(history)
        if not len(others):
            return model, shown, known
        more = self._encode(history.indices[others])
        # A running trial counts with its predicted accuracy, a failed one with the worst: both repel candidates.
        failed = history.failed[others]
        guesses = np.where(failed, levels.min(), model.predict(more)[0])
        # A running trial will be as noisy as the others; a failure is certain.
        errors = np.append(noise, np.where(failed, 0.0, noise.mean()))
        return condition(self.encoder, codes + more, np.append(levels, guesses), model.weights, errors), shown, known

    def _chosen(self, rows: NDArray[np.intp], history: History, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return rows of the best trials and as many random ones, where there are too many for the model."""
        if len(rows) <= MOST_MEASUREMENTS:
            return rows
        scores = self.acquisition.score(history.accuracies[rows], self.cost_range.costs(history.indices[rows]))
        order = rows[np.argsort(-scores, kind="stable")]
        best, rest = order[: MOST_MEASUREMENTS // 2], order[MOST_MEASUREMENTS // 2 :]
        return np.sort(np.append(best, rng.choice(rest, MOST_MEASUREMENTS - len(best), replace=False)))

    def expect(
        self, history: History, known: Floats | float = 0.0, runs: Floats | float = 1.0
    ) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Return the levels that the model expects of known architectures, without the errors of their measurements.

        Args:
            history: Trials of the search.
            known: Variances of the levels' errors as far as they are known, `(N,)` or one for all trials.
            runs: Number of training runs whose mean each accuracy is. What neither the model's terms nor the known
                errors explain is an error of single runs as far as one run tells, and the architecture's own as far as
                it remains in the mean of several.

        Returns:
            Rows of the history (of a long one, the best and some random ones), and the mean and standard deviation of
            the level of each.

        Raises:
            ValueError: Fewer than two trials have an accuracy.
        """
        # A fixed state, so that every process and every run selects the same rows.
        rng = np.random.default_rng(0)
        rows = self._chosen(np.flatnonzero(history.measured), history, rng)
        errors, counts = (np.broadcast_to(each, len(history.accuracies)) for each in (known, runs))
        with one_thread():
            levels = to_level(history.accuracies[rows])
            weights = self._fit(history, self._fitted_rows(history), errors)
            model = condition(self.encoder, self._encode(history.indices[rows]), levels, weights, errors[rows])
            unexplained = float(weights[-1] + LEAST_NOISE) * model.spread**2
            mean, spread = model.true_levels(levels, errors[rows] + unexplained / counts[rows])
        return rows, mean, spread

    def weights(self, history: History) -> Floats:
        """Return the weights of the model, which are fitted again whenever the measurements have grown by 15%."""
        rows = self._fitted_rows(history)
        key = hashlib.sha256(history.indices[rows].tobytes() + history.accuracies[rows].tobytes()).digest()
        if key not in self._weights:
            # The known errors are left to the conditioning: with them, so few updates find too little signal, and the
            # model is too sure (docs/sampler.md has the measurement).
            self._weights[key] = self._fit(history, rows, np.zeros(len(history.accuracies)))
        return self._weights[key]

    def _fitted_rows(self, history: History) -> NDArray[np.intp]:
        """Return the rows of the measurements that the weights are fitted to."""
        # Extrapolated accuracies change with every further trial, measured ones do not.
        sure = history.measured & ~history.extrapolated if len(history.extrapolated) else history.measured
        sure = sure if sure.sum() >= FIRST else history.measured
        rows = np.flatnonzero(sure)[: fitted_count(int(sure.sum()))]
        if len(rows) > MOST_FITTED:
            # The seed is the number of rows, so that every process selects the same ones.
            rows = np.sort(np.random.default_rng(len(rows)).choice(rows, MOST_FITTED, replace=False))
        return rows

    def _fit(self, history: History, rows: NDArray[np.intp], known: Floats) -> Floats:
        levels = to_level(history.accuracies[rows])
        fit = fit_weights if self.prior_scores is None else fit_with_scores
        return fit(self.encoder, self._encode(history.indices[rows]), levels, known[rows])


def _take_new(codes: Codes, seen: set[int]) -> NDArray[np.bool_]:
    """Return which candidates, `(N,)`, are networks that were not seen before, and add them to those that were."""
    new = np.zeros(len(codes.values), dtype=bool)
    for i, row in enumerate(codes.values):
        # By encoding and not by choice indices: several choices can mean the same network.
        key = hash(row.tobytes())
        new[i] = key not in seen
        seen.add(key)
    return new


def _unmeasured(history: History) -> NDArray[np.intp]:
    """Return rows of the last trials that run or have failed."""
    return np.flatnonzero(~history.measured)[-MOST_OTHERS:]


def fitted_count(count: int) -> int:
    """Return the largest number up to `count` of a sequence that grows by 15%."""
    size = FIRST
    while (larger := max(size + 1, int(size * GROWTH))) <= count:
        size = larger
    return size
