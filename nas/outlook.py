"""This module says what is still to be expected of a search."""

from attrs import frozen


@frozen
class Outlook:
    """Hold what the model of accuracy expects of networks that a search has not evaluated.

    Attributes:
        chance: Probability that one of the most promising of them is better by more than `gain` than the evaluated
            network with the highest expected score.
        gain: Smallest difference that counts, as an accuracy at the costs of that network: 0.001 is 0.1 points.
        expected_gain: Expected difference between the best of all these networks and that network, at least 0.
        trials: Number of trials that the model knows.
    """

    chance: float
    gain: float
    expected_gain: float
    trials: int
