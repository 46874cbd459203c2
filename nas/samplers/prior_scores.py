"""Scores of a cheap evaluator, predicted for architectures that it has not seen."""

from functools import cached_property

import attrs
from attrs import frozen

from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.surrogate import Surrogate, condition, fit_weights

# Largest number of scores that the weights of the model are fitted to.
MOST_FITTED = 150


@frozen(eq=False)
class PriorScores:
    """Hold scores of a cheap evaluator for some architectures; only their order has a meaning.

    Attributes:
        encoder: Encoder of the architectures of the space.
        indices: Choice indices, `(N, choices)`.
        values: Scores, `(N,)`.
    """

    encoder: Encoder
    indices: ChoiceIndices
    values: Floats

    def predict(self, codes: Codes) -> Floats:
        """Return the predicted score of each architecture, `(M,)`."""
        return self._model.predict(codes)[0]

    @cached_property
    def _model(self) -> Surrogate:
        codes = self.encoder.encode(self.indices)
        weights = fit_weights(self.encoder, codes[:MOST_FITTED], self.values[:MOST_FITTED])
        return condition(self.encoder, codes, self.values, weights)

    def encode(self, indices: ChoiceIndices) -> Codes:
        """Return the encodings of architectures, with their predicted scores."""
        codes = self.encoder.encode(indices)
        return attrs.evolve(codes, prior_scores=self.predict(codes)[:, None])
