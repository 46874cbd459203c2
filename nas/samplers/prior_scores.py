"""Scores of a cheap evaluator, predicted for architectures that it has not seen."""

from functools import cached_property

import attrs
import numpy as np
from attrs import frozen
from scipy.special import expit, ndtri

from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.surrogate import Surrogate, condition, fit_weights, log_likelihood

# Largest number of scores that the weights of the model are fitted to.
MOST_FITTED = 150


@frozen(eq=False)
class PriorScores:
    """Hold scores of a cheap evaluator for some architectures; only their order has a meaning.

    Attributes:
        encoder: Encoder of the architectures of the space.
        indices: Choice indices, `(N, choices)`.
        values: Scores, `(N,)`; finite, and not all equal.
    """

    encoder: Encoder
    indices: ChoiceIndices
    values: Floats

    def predict(self, codes: Codes) -> Floats:
        """Return the predicted score of each architecture, `(M,)`."""
        return self._model.predict(codes)[0]

    @cached_property
    def _model(self) -> Surrogate:
        # Imported here, because it takes half a second, and few searches have scores.
        from scipy.stats import rankdata

        codes = self.encoder.encode(self.indices)
        # Normal scores: the same for every increasing function of the scores.
        values = ndtri((rankdata(self.values) - 0.5) / len(self.values))
        weights = fit_weights(self.encoder, codes[:MOST_FITTED], values[:MOST_FITTED])
        return condition(self.encoder, codes, values, weights)

    def best(self) -> ChoiceIndices:
        """Return the choice indices of all scored architectures, the best first."""
        return np.asarray(self.indices[np.argsort(-self.values, kind="stable")])

    def encode(self, indices: ChoiceIndices) -> Codes:
        """Return the encodings of architectures, with their predicted scores."""
        codes = self.encoder.encode(indices)
        return attrs.evolve(codes, prior_scores=self.predict(codes)[:, None])


def fit_with_scores(encoder: Encoder, codes: Codes, levels: Floats, known: Floats | float = 0.0) -> Floats:
    """Return the weights of the model; that of the scores is as large as the levels are evidence that they help.

    The weights are the mean of those that are fitted with this term and without it, by the posterior probabilities of
    both (Schwarz 1978: one parameter more costs half the logarithm of the number of levels).
    """
    bare = attrs.evolve(codes, prior_scores=codes.prior_scores[:, :0])
    plain, scored = (fit_weights(encoder, each, levels, known) for each in (bare, codes))
    gain = log_likelihood(encoder, codes, levels, scored, known) - log_likelihood(encoder, bare, levels, plain, known)
    share = expit(gain - np.log(len(levels)) / 2)
    return np.asarray(share * scored + (1 - share) * np.insert(plain, -1, 0.0))
