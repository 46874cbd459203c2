"""What the best trials have in common, compared with scipy's tests and with random studies."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from nas.noise import wilson
from nas.report.choices import choices_section, commonalities, fisher
from nas.report.importance import importance_section
from nas.report.options import columns, natural
from nas.studies.records import Record, StudyView
from tests.report.sections import drawn
from tests.report.studies import SETTINGS, study


def trial(number: int, accuracy: float, macs: float = 5.0, **options: Any) -> Record:
    params = {name.replace("__", "."): value for name, value in options.items()}
    return Record(number, "complete", "net", {"macs": macs}, accuracy=accuracy, params=params)


def random_study(seed: int, trials: int = 200, effect: float = 0.0) -> StudyView:
    """Return a study of eight choices, of which only the kernel of the first stage may change the accuracy."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (trials, 8))
    noise = rng.normal(0.5, 0.05, trials)
    return study(
        *(
            trial(
                i, noise[i] + effect * (row[0] == 1), **{f"stage{j}__kernel": 3 + 2 * int(k) for j, k in enumerate(row)}
            )
            for i, row in enumerate(rows)
        )
    )


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 60), st.data())
def test_fishers_test_is_twice_the_smaller_tail_of_scipys_distribution(
    best_of: int, total: int, others: int, data: st.DataObject
) -> None:
    all_of = max(best_of, total) + others
    best = data.draw(st.integers(max(0, best_of + total - all_of), min(best_of, total)))
    tails = hypergeom.cdf(best, all_of, total, best_of), hypergeom.sf(best - 1, all_of, total, best_of)
    assert fisher(best, best_of, total, all_of) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-6)


def test_options_of_no_effect_are_called_a_preference_in_at_most_one_study_of_twenty() -> None:
    found = [commonalities(random_study(seed)) for seed in range(60)]
    wrong = sum(bool(one and one.clear) for one in found)
    # More than 7 of 60 have a probability below 2% where one of twenty is wrong.
    assert wrong <= 7


def test_an_option_that_matters_is_found() -> None:
    found = commonalities(random_study(1, effect=0.15))
    assert found is not None
    first = min(found.clear, key=lambda share: share.p)
    assert (first.choice, first.option, first.tendency) == ("stage0.kernel", "5", "more frequent")


def test_shares_are_counts_with_wilsons_intervals() -> None:
    trials = [trial(i, i / 100, s1__kernel=5 if i >= 32 else 3) for i in range(40)]
    found = commonalities(study(*trials))
    assert found is not None
    assert (found.best, found.trials, found.comparisons) == (10, 40, 1)
    three, five = found.shares
    assert (five.best, five.best_of, five.all, five.all_of) == (8, 10, 8, 40)
    assert (five.low, five.high) == wilson(8, 10)
    assert (three.best_share, three.all_share) == (0.2, 0.8)


def test_a_choice_of_a_stage_that_is_left_out_is_not_counted() -> None:
    options = [("absent", 7), ("mbconv", 3), ("mbconv", 5), ("absent", 7)]
    found = columns([trial(i, 0.5, s1__operator=a, s1__kernel=k) for i, (a, k) in enumerate(options)])
    kernel = next(column for column in found if column.name == "kernel")
    assert kernel.options == ("3", "5")
    assert kernel.codes.tolist() == [-1, 0, 1, -1]
    assert kernel.conditional


def test_options_are_sorted_by_their_numbers() -> None:
    assert sorted(["mbconv e6", "mbconv e10", "conv", "12", "3"], key=natural) == [
        "3", "12", "conv", "mbconv e6", "mbconv e10",
    ]  # fmt: skip


def test_the_best_of_a_front_are_those_that_few_beat() -> None:
    # The cheap networks with kernel 3 and the accurate ones with kernel 5 are the front; the others are beaten.
    good = [trial(i, 0.5 + i / 100, macs=10 + i, s1__kernel=3 if i < 10 else 5) for i in range(20)]
    bad = [trial(20 + i, 0.3, macs=50 + i, s1__kernel=7) for i in range(20)]
    found = commonalities(study(*good, *bad, objective="pareto"))
    assert found is not None
    assert found.best == 20
    assert {share.option for share in found.shares if share.best == 0} == {"7"}


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (study(), "0 trials are complete"),
        (study(*(trial(i, 0.5, s1__kernel=3) for i in range(30))), "the same options"),
        (study(*(trial(i, 0.5) for i in range(30))), "does not hold"),
    ],
)
def test_what_cannot_be_compared_is_said(view: StudyView, said: str) -> None:
    section = choices_section(view)
    assert said in section.missing
    assert not section.figures


def test_hostile_names_are_escaped_in_the_figure() -> None:
    name = "<img src=x>.<b>"
    trials = [
        Record(i, "complete", "net", {"macs": 1}, accuracy=i / 50, params={name: "<i>" if i % 2 else "&"})
        for i in range(40)
    ]
    figure = drawn(choices_section(StudyView("demo", SETTINGS, tuple(trials))))
    assert "<img" not in str(figure.to_json())
    assert "&lt;img src=x&gt;" in str(figure.layout.yaxis.ticktext)


@given(st.integers(20, 60), st.data())
def test_every_study_has_both_sections_and_probabilities_are_probabilities(count: int, data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    options = st.dictionaries(
        st.sampled_from(["a.b", "a.operator", "c.<d>", ""]), st.sampled_from(["absent", 3, 0.25, "x"])
    )
    trials = [
        Record(
            i,
            "complete",
            "net",
            data.draw(st.sampled_from([{}, {"macs": 1}, {"macs": 2}])),
            accuracy=accuracy,
            params=params,
        )
        for i, (accuracy, params) in enumerate(
            data.draw(st.lists(st.tuples(values, options), min_size=count, max_size=count))
        )
    ]
    view = study(*trials, objective=data.draw(st.sampled_from(["soft", "pareto"])))
    for section in (choices_section(view), importance_section(view)):
        assert bool(section.missing) != bool(section.figures)
    found = commonalities(view)
    for share in () if found is None else found.shares:
        assert 0 <= share.p <= 1
        assert 0 <= share.low <= share.best_share <= share.high <= 1
