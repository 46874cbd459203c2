"""The project's own sampler: a ranking of candidates by the expected improvement of a model of accuracy.

Costs are exact and cheap, accuracies are noisy and expensive. So many candidates are drawn, those outside the cost
range are dropped, and a model of accuracy (`surrogate`) predicts which of the others improves most on the known ones
(`acquisition`).
"""

import hashlib
from operator import itemgetter

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.outlook import Outlook
from nas.samplers.acquisition import Acquisition, FrontImprovement, Known, ScoreImprovement
from nas.samplers.blas import one_thread
from nas.samplers.candidates import climb, distinct, make_candidates, make_similar, random_networks
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.outlook import CANDIDATES, LEAST, draw_gains, summarize
from nas.samplers.prior_scores import PriorScores, fit_with_scores
from nas.samplers.skewness import POWERS, SkewedModel, Warp
from nas.samplers.surrogate import (
    LEAST_NOISE,
    condition,
    fit_weights,
    log_likelihood,
    to_accuracy,
    to_level,
)
from nas.samplers.trial_arrays import FIRST, History, fitted_rows

SPREAD = 64
PARENTS = 10
# Largest number of measurements that the model is conditioned on. The time grows with the cube of their number;
# docs/sampler.md has the time that a suggestion takes.
MOST_MEASUREMENTS = 300
MOST_OTHERS = 100


@frozen(eq=False)
class Assessed:
    """Hold candidates as the model assesses them.

    Attributes:
        found: Choice indices of new candidates inside the cost range, `(N, choices)`, the most promising first.
        model: Model of accuracy.
        shown: Choice indices of the evaluated architectures that the model is conditioned on.
        known: Expected accuracies and the costs of these architectures.
    """

    found: ChoiceIndices
    model: SkewedModel
    shown: ChoiceIndices
    known: Known


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
    _weights: dict[bytes, tuple[Floats, float]] = field(factory=dict, init=False, repr=False)
    _codes: dict[bytes, int] = field(factory=dict, init=False, repr=False)

    def rank(self, history: History, rng: np.random.Generator) -> ChoiceIndices:
        """Return choice indices `(N, choices)` of new candidates inside the cost range, the most promising first.

        The same history and random state give the same ranking.
        """
        with one_thread():
            if history.measured.sum() < FIRST:
                return self._most_different(history, rng)
            return self._assess(history, rng).found

    def _most_different(self, history: History, rng: np.random.Generator) -> ChoiceIndices:
        """Return candidates, first those that differ most from all known architectures.

        They are random, or the best by prior scores of those that were scored and their offspring.
        """
        best = history.indices[:0] if self.prior_scores is None else self.prior_scores.best()
        found = make_candidates(self.cost_range, best[:PARENTS], self.listing, rng)
        if self.listing is None:
            found = distinct(np.concatenate([best[self.cost_range.excess(best) == 0], found]))
        found = found[self._initial_order(found, rng)]
        found = found[_first_met(self.encoder.encode(found), self._seen(history.indices))][:SPREAD]
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

    def outlook(self, history: History, rng: np.random.Generator) -> Outlook | None:
        """Return what is still to be expected of networks inside the cost range; None if the model cannot say it.

        That is so with too few accuracies, with accuracies that are all equal, without a new candidate, and in a
        search for a front, which has no best network.
        """
        history = history.ended()  # networks of running trials can be the better ones
        accuracies = history.accuracies[history.measured]
        if not isinstance(self.acquisition, ScoreImprovement) or len(accuracies) < LEAST or not np.ptp(accuracies):
            return None
        with one_thread():
            assessed = self._assess(history, rng)
            gains = self._gains(assessed, self.acquisition) if len(assessed.found) else None
        return None if gains is None else summarize(gains, len(history.accuracies))

    def _gains(self, assessed: Assessed, objective: ScoreImprovement) -> Floats:
        """Return draws of how much better the best candidate is than the best known architecture."""
        known, found = assessed.known, assessed.found[:CANDIDATES]
        best = int(objective.score(known.accuracies, known.costs).argmax())
        codes = self._encode(np.concatenate([assessed.shown[[best]], found]))
        costs = np.concatenate([known.costs[[best]], self.cost_range.costs(found)])
        return draw_gains(*assessed.model.joint(codes), costs, objective)

    def _assess(self, history: History, rng: np.random.Generator) -> Assessed:
        model, shown, known = self._learn(history, rng)
        if isinstance(self.acquisition, FrontImprovement):
            known = attrs.evolve(known, corner=self._draw_corner(model, rng))
        order = np.argsort(-self.acquisition.score(known.accuracies, known.costs), kind="stable")
        found = make_candidates(self.cost_range, shown[order[:PARENTS]], self.listing, rng)
        seen = self._seen(history.indices)

        def assess(indices: ChoiceIndices) -> tuple[ChoiceIndices, Floats]:
            codes = self._encode(indices)
            new = _first_met(codes, seen)
            indices, codes = indices[new], codes[new]
            mean, spread = model.predict(codes)
            costs = self.cost_range.costs(indices)
            return indices, self.acquisition.log_expect(mean, self.acquisition.exploration * spread, costs, known)

        def vary(parents: ChoiceIndices) -> ChoiceIndices:
            return make_similar(self.cost_range, parents, self.listing, rng)

        found, improvements = climb(*assess(found), vary, assess)
        return Assessed(found[np.argsort(-improvements, kind="stable")], model, shown, known)

    def _draw_corner(self, model: SkewedModel, rng: np.random.Generator) -> float:
        """Return the accuracy that the model expects of a random network inside the cost range.

        With one corner for all suggestions a search improves only one part of the front: the cheapest networks, however
        poor they are, if the corner is the lowest accuracy, and none of them if it is a usual accuracy. With another
        corner for each suggestion it improves all parts (experiments/sample_efficiency).
        """
        drawn = random_networks(self.cost_range, self.listing, rng)[:1]
        return float(to_accuracy(model.predict(self._encode(drawn))[0])[0]) if len(drawn) else -np.inf

    def _seen(self, indices: ChoiceIndices) -> set[int]:
        """Return hashes of the encodings of architectures; each is encoded only once."""
        keys = [row.tobytes() for row in indices]
        new = [i for i, key in enumerate(keys) if key not in self._codes]
        if new:
            rows = self.encoder.encode(indices[new]).values
            self._codes.update((keys[i], hash(row.tobytes())) for i, row in zip(new, rows, strict=True))
        return {self._codes[key] for key in keys}

    def _learn(self, history: History, rng: np.random.Generator) -> tuple[SkewedModel, ChoiceIndices, Known]:
        """Return the model, the choice indices that it was fitted to, and its predictions for those."""
        rows = self._chosen(np.flatnonzero(history.measured), history, rng)
        shown, codes = history.indices[rows], self._encode(history.indices[rows])
        levels, noise = to_level(history.accuracies[rows]), history.level_noise[rows]
        weights, power = self.weights(history)
        warp = Warp.of(levels, power)
        model = self._conditioned(codes, levels, noise, weights, warp)
        known = Known(to_accuracy(model.predict(codes)[0]), self.cost_range.costs(shown))
        others = history.unmeasured[-MOST_OTHERS:]
        if not len(others):
            return model, shown, known
        more = self._encode(history.indices[others])
        # A running trial counts with its predicted accuracy, a failed one with the worst: both repel candidates.
        failed = history.failed[others]
        levels = np.append(levels, np.where(failed, levels.min(), model.predict(more)[0]))
        # A running trial will be as noisy as the others; a failure is certain.
        noise = np.append(noise, np.where(failed, 0.0, noise.mean()))
        return self._conditioned(codes + more, levels, noise, weights, warp), shown, known

    def _conditioned(self, codes: Codes, levels: Floats, noise: Floats, weights: Floats, warp: Warp) -> SkewedModel:
        known = noise * warp.slope(levels) ** 2
        return SkewedModel(condition(self.encoder, codes, warp.values(levels), weights, known), warp)

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
            fitted = fitted_rows(history)
            codes = self._encode(history.indices[fitted])
            weights = self._fit(codes, to_level(history.accuracies[fitted]), errors[fitted])
            model = condition(self.encoder, self._encode(history.indices[rows]), levels, weights, errors[rows])
            unexplained = float(weights[-1] + LEAST_NOISE) * model.spread**2
            mean, spread = model.true_levels(levels, errors[rows] + unexplained / counts[rows])
        return rows, mean, spread

    def weights(self, history: History) -> tuple[Floats, float]:
        """Return the weights of the model, and the power of the transformation of levels that are most likely.

        They are fitted again whenever the measurements have grown by 15%.
        """
        rows = fitted_rows(history)
        key = hashlib.sha256(history.indices[rows].tobytes() + history.accuracies[rows].tobytes()).digest()
        if key not in self._weights:
            codes, levels = self._encode(history.indices[rows]), to_level(history.accuracies[rows])
            fits = [self._fit_warped(codes, levels, power) for power in POWERS]
            self._weights[key] = max(fits, key=itemgetter(0))[1:]
        return self._weights[key]

    def _fit_warped(self, codes: Codes, levels: Floats, power: float) -> tuple[float, Floats, float]:
        """Return the logarithm of the likelihood, the weights and the power."""
        # The known errors are left to the conditioning: with them, so few updates find too little signal, and the
        # model is too sure.
        warp = Warp.of(levels, power)
        weights = self._fit(codes, warp.values(levels), 0.0)
        likelihood = log_likelihood(self.encoder, codes, warp.values(levels), weights)
        return likelihood + float(np.log(warp.slope(levels)).sum()) - warp.penalty(), weights, power

    def _fit(self, codes: Codes, levels: Floats, known: Floats | float) -> Floats:
        fit = fit_weights if self.prior_scores is None else fit_with_scores
        return fit(self.encoder, codes, levels, known)


def _first_met(codes: Codes, seen: set[int]) -> NDArray[np.intp]:
    """Return the rows of networks that are met for the first time, and add them to the set of hashes of encodings."""
    # By encoding and not by choice indices: several choices can mean the same network.
    keys = [hash(row.tobytes()) for row in codes.values]
    first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in seen}
    seen.update(first)
    return np.array(sorted(first.values()), dtype=np.intp)
