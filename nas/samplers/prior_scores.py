"""What cheap verdicts say of architectures that none was given of."""

from functools import cached_property

import attrs
from attrs import frozen

from nas.samplers.cost_range import Picks
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.surrogate import Surrogate, condition, find_parts

# Of which the model's weights are found.
MOST_FITTED = 150


@frozen(eq=False)
class PriorScores:
    """Cheap verdicts on some architectures of a space; only which of them is higher means anything.

    Attributes:
        encoder: of the space's architectures.
        picks: option numbers `(N, choices)`.
        values: `(N,)`.
    """

    encoder: Encoder
    picks: Picks
    values: Floats

    def guess(self, codes: Codes) -> Floats:
        """The verdict that each architecture would probably get, `(M,)`."""
        return self._model.predict(codes)[0]

    @cached_property
    def _model(self) -> Surrogate:
        codes = self.encoder.encode(self.picks)
        weights = find_parts(self.encoder, codes[:MOST_FITTED], self.values[:MOST_FITTED])
        return condition(self.encoder, codes, self.values, weights)

    def encode(self, picks: Picks) -> Codes:
        """Codes with that verdict beside them."""
        codes = self.encoder.encode(picks)
        return attrs.evolve(codes, prior_scores=self.guess(codes)[:, None])
