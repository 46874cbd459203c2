"""The importance of choices, compared with closed forms, with numpy's least squares and with noise."""

import numpy as np
import pytest

from nas.report.importance import FEWEST, Importance, Importances, _sentences, importance_section, importances
from nas.report.options import Column
from nas.studies.records import Record, StudyView
from tests.report.sections import drawn
from tests.report.studies import study
from tests.report.test_report_choices import random_study


def column(name: str, codes: np.ndarray) -> Column:
    options = tuple(map(str, range(int(codes.max()) + 1)))
    return Column(name, options, codes.astype(np.int16))


def full_factorial(repeats: int) -> tuple[list[Column], np.ndarray]:
    """Return three choices of three options whose combinations are equally frequent, and their codes."""
    grid = np.array(np.meshgrid(*[np.arange(3)] * 3)).reshape(3, -1)
    codes = np.tile(grid, repeats)
    return [column(f"s{i}.kernel", row) for i, row in enumerate(codes)], codes


def test_shares_of_a_balanced_design_are_those_of_the_analysis_of_variance() -> None:
    found, codes = full_factorial(40)
    rng = np.random.default_rng(0)
    # Variances of effects over three equally frequent options: (2/3) a² for effects -a, 0, a.
    values = 2.0 * (codes[0] - 1) + 1.0 * (codes[1] - 1) + rng.normal(0, 1, codes.shape[1])
    result = importances(found, values)
    assert result is not None
    whole = 4 * 2 / 3 + 2 / 3 + 1
    shares = {row.choice: row.share for row in result.rows}
    assert shares["s0.kernel"] == pytest.approx(4 * 2 / 3 / whole, abs=0.04)
    assert shares["s1.kernel"] == pytest.approx(2 / 3 / whole, abs=0.04)
    assert shares["s2.kernel"] == pytest.approx(0, abs=0.01)
    assert [row.choice for row in result.clear] == ["s0.kernel", "s1.kernel"]
    assert result.together == pytest.approx((4 * 2 / 3 + 2 / 3) / whole, abs=0.04)


def test_a_share_is_what_numpys_least_squares_loses_without_the_choice() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 3, 300)
    second = np.where(rng.random(300) < 0.7, first, rng.integers(0, 3, 300))  # as a sampler combines them
    values = 1.0 * first + rng.normal(0, 1, 300)
    result = importances([column("a.x", first), column("b.x", second)], values)
    assert result is not None

    def squared_error(*codes: np.ndarray) -> float:
        ones = [np.ones(300), *(code == k for code in codes for k in (1, 2))]
        matrix = np.column_stack(ones).astype(float)
        return float(((values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]) ** 2).sum())

    both = squared_error(first, second)
    whole = float(((values - values.mean()) ** 2).sum())
    for name, other in (("a.x", second), ("b.x", first)):
        expected = (squared_error(other) - both - 2 * both / (300 - 5)) / whole
        assert next(row.share for row in result.rows if row.choice == name) == pytest.approx(expected)
    # Alone, the second choice would seem important, since it varies with the first.
    assert not next(row for row in result.rows if row.choice == "b.x").clear


def test_permuted_values_are_called_important_in_about_one_study_of_twenty() -> None:
    found, codes = full_factorial(6)
    wrong = 0
    for seed in range(60):
        result = importances(found, np.asarray(np.random.default_rng(seed).normal(0, 1, codes.shape[1])))
        assert result is not None
        wrong += bool(result.clear)
    assert wrong <= 7


def test_intervals_hold_the_true_share_in_about_95_percent() -> None:
    found, codes = full_factorial(8)
    whole = 2 / 3 + 1
    hits = []
    for seed in range(80):
        values = (codes[0] - 1.0) + np.random.default_rng(seed).normal(0, 1, codes.shape[1])
        result = importances(found, values)
        assert result is not None
        row = next(row for row in result.rows if row.choice == "s0.kernel")
        hits.append(row.low <= 2 / 3 / whole <= row.high)
    assert np.mean(hits) >= 0.85


def test_choices_that_only_occur_together_do_not_fail() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2, 200)
    result = importances([column("a.x", codes), column("b.x", codes)], codes + rng.normal(0, 0.1, 200))
    assert result is not None
    assert all(np.isfinite([row.share, row.low, row.high]).all() for row in result.rows)


def test_a_conditional_choice_counts_only_where_it_has_an_effect() -> None:
    rng = np.random.default_rng(2)
    absent = rng.random(400) < 0.5
    kernel = np.where(absent, -1, rng.integers(0, 2, 400)).astype(np.int16)
    values = np.where(absent, 0.0, 1.0) + np.where(kernel == 1, 1.0, 0.0) + rng.normal(0, 0.1, 400)
    operator = column("s.operator", (~absent).astype(int))
    result = importances([operator, Column("s.kernel", ("3", "5"), kernel)], values)
    assert result is not None
    shares = {row.choice: row.share for row in result.rows}
    # Between the groups: means 0 and 1.5; within the second one a variance of a quarter for half of the trials.
    between, within = 1.5**2 / 4, 0.25 / 2
    whole = between + within + 0.01
    assert shares["s.kernel"] == pytest.approx(within / whole, abs=0.03)
    assert shares["s.operator"] == pytest.approx(between / whole, abs=0.05)


@pytest.mark.parametrize("trials", [0, 5, FEWEST - 1])
def test_few_trials_say_nothing(trials: int) -> None:
    view = random_study(0, trials)
    assert "say nothing" in importance_section(view).missing


def test_equal_accuracies_say_nothing() -> None:
    trials = [Record(i, "complete", "n", {"macs": 1}, accuracy=0.5, params={"a.b": i % 2}) for i in range(40)]
    assert "same accuracy" in importance_section(study(*trials)).missing


def test_few_trials_for_many_options_regard_each_choice_alone() -> None:
    section = importance_section(random_study(0, 30))
    assert "each choice is therefore regarded alone" in section.text


def test_a_study_that_a_search_made_has_importances_for_accuracy_and_cost() -> None:
    section = importance_section(random_study(2, 300, effect=0.2))
    assert section.tables[0].rows[0][0] == "stage0.kernel"
    assert "above noise" in section.tables[0].rows[0]
    figure = drawn(section)
    assert {trace.type for trace in figure.data} <= {"bar", "scatter"}


def test_hostile_names_are_escaped_in_the_figure() -> None:
    trials = [
        Record(i, "complete", "n", {"macs": i}, accuracy=(i % 3) / 3, params={"<b>.&": i % 2, "c.d": i % 3})
        for i in range(60)
    ]
    view = StudyView("demo", study().settings, tuple(trials))
    figure = drawn(importance_section(view))
    assert "<b>.&" not in [name for trace in figure.data for name in trace.y]


def test_an_interval_that_reaches_zero_beside_a_share_above_noise_is_explained() -> None:
    rows = (Importance("s1.kernel", 0.4, 0.0, 1.0, clear=True), Importance("s2.kernel", 0.6, 0.2, 0.9, clear=True))
    found = Importances(rows, noise=0.2, together=None, trials=40, parameters=16)
    (said,) = (text for text in _sentences(study(), found) if "reach 0" in text)
    assert "s1.kernel" in said
    assert "s2.kernel" not in said
