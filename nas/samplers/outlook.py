"""This module computes what is still to be expected of a search, from the joint distribution of promising networks.

The chance of a single candidate would be too small, because many are promising; and that of independent candidates
too large, because similar networks are better or worse together.
"""

import numpy as np

from nas.outlook import Outlook
from nas.samplers.acquisition import ScoreImprovement
from nas.samplers.encoding import Floats
from nas.samplers.surrogate import to_accuracy

# Before there are so many accuracies, the weights of the model say too little of what is not known.
LEAST = 20
# A tenth of a point is less than what re-training with another seed changes.
GAIN = 0.001
# Number of candidates. More would raise the chance further, and take longer.
CANDIDATES = 400
# With so many draws the standard error of a chance of 1% is 0.16 points.
DRAWS = 4000


def draw_gains(mean: Floats, covariance: Floats, costs: Floats, objective: ScoreImprovement) -> Floats:
    """Return by how much the best candidate exceeds a known network, as an accuracy at its costs, `(DRAWS,)`.

    Args:
        mean: Means of the levels of the known network, which comes first, and of the candidates, `(N,)`.
        covariance: Covariance of these levels, `(N, N)`.
        costs: Their costs, `(N, targets)`.
        objective: Dependence of the score on accuracy and costs.
    """
    variances, axes = np.linalg.eigh(covariance)
    # Rounding makes some variances of nearly equal networks negative, for which there is no Cholesky factor.
    root = axes * np.sqrt(np.maximum(variances, 0))
    # The same random numbers every time, so that equal histories give equal chances.
    normal = np.random.default_rng(0).standard_normal((DRAWS, len(mean)))
    scores = objective.score(np.minimum(to_accuracy(mean + normal @ root.T), 1), costs)
    # The score is linear in the accuracy; its slope is the difference between the scores of the accuracies 1 and 0.
    slope = np.diff(objective.score(np.array([0.0, 1.0]), costs[[0, 0]]))
    return np.asarray((scores[:, 1:].max(axis=1) - scores[:, 0]) / slope)


def summarize(gains: Floats, trials: int) -> Outlook:
    """Return the outlook of drawn gains."""
    return Outlook(float((gains > GAIN).mean()), GAIN, float(np.maximum(gains, 0).mean()), trials)
