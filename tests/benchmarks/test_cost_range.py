"""The benchmark of the cost range finds the highest soft scores, which are computed by hand here."""

import numpy as np
from cost_range import as_table, row


def test_a_network_of_half_the_cost_wins_where_it_loses_less_than_its_cost_is_worth() -> None:
    costs, accuracies = np.array([50.0, 95.0, 101.0]), np.array([0.72, 0.75, 0.99])
    # .72 * .5^-.07 = .7558 and .75 * .95^-.07 = .7527
    assert row("all", 100.0, costs, accuracies, 0.0)[2:] == ["0.0M", "50%", "72.00%", "0.7558"]
    assert row("range", 100.0, costs, accuracies, 90.0)[2:] == ["0.0M", "95%", "75.00%", "0.7527"]


def test_rows_become_a_table() -> None:
    assert as_table([["1"] * 6]).splitlines()[-1] == "| 1 | 1 | 1 | 1 | 1 | 1 |"
