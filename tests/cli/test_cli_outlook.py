"""What a search says about what is still to be expected, and how it ends by that: the command as users run it."""

import pytest

from tests.cli.conftest import Nas

SEARCH = ("search", "--target", "flops=50M", "--band", "0.5", "--space", "nasbench_macro", "--study", "demo")
# A score that a model of accuracy learns quickly.
EASY = (*SEARCH, "--objective", "hard", "--evaluator", "zero-cost:depth", "--json")


def test_a_search_ends_when_nothing_better_is_expected_and_can_be_continued(nas: Nas) -> None:
    ended = nas(*EASY, "--trials", "60", "--patience", "auto")
    assert ended.code == 0, ended.err
    count = ended.json["trials"]
    assert 20 < count < 60
    assert (
        "trials in a row have brought nothing better, and a gain is not expected: its chance is at most 1%" in ended.err
    )
    outlook = ended.json["outlook"]
    assert (outlook["trials"], outlook["gain"]) == (count, 0.001)
    assert outlook["chance"] <= 0.01
    # The same command begins no further trial and gives the same outlook.
    again = nas(*EASY, "--trials", "60", "--patience", "auto")
    assert (again.json["trials"], again.json["outlook"]) == (count, outlook)
    # Without patience, the search goes on, and the outlook is that of all its trials.
    more = nas(*EASY, "--trials", "45")
    assert (more.json["trials"], more.json["outlook"]["trials"]) == (45, 45)
    shown = nas(*EASY[:-1], "--trials", "45")
    assert (
        "after 45 trials the model expects nothing better: a chance of less than 0.1% of a gain above 0.1" in shown.out
    )


def test_a_search_says_that_more_trials_are_worth_it(nas: Nas) -> None:
    # Accuracies of which the model learns nothing.
    ran = nas.fake(*SEARCH, "--epochs", "1", "--trials", "25")
    assert ran.code == 0, ran.err
    assert "after 25 trials the model still expects something better: a chance of " in ran.out
    assert "more --trials continue the search" in ran.out


@pytest.mark.parametrize(
    "more",
    [("--trials", "19"), ("--trials", "25", "--sampler", "random"), ("--trials", "25", "--objective", "pareto")],
)
def test_a_search_says_nothing_where_it_is_not_known(nas: Nas, more: tuple[str, ...]) -> None:
    ran = nas.fake(*SEARCH, "--epochs", "1", *more, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["outlook"] is None


def test_patience_that_cannot_be_used_is_refused(nas: Nas) -> None:
    nas.fake(*SEARCH, "--patience", "soon").refused(
        "patience is 'soon'; give a number of trials from 1 upwards, a chance above 0% and below 100% such as 1%, "
        "or auto",
        code=2,
    )
    for more, cause in (("--sampler", "tpe"), "sampler tpe"), (("--objective", "pareto"), "objective pareto"):
        nas.fake(*SEARCH, "--patience", "1%", *more).refused(
            f"the search cannot end by the chance of a gain, which is not known with {cause}",
            "give --patience a number of trials",
        )
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.slow
def test_several_workers_end_by_the_same_chance(nas: Nas) -> None:
    ended = nas(*EASY, "--trials", "80", "--patience", "1%", "--workers", "2")
    assert ended.code == 0, ended.err
    assert 20 < ended.json["trials"] < 80
    assert ended.json["outlook"]["chance"] <= 0.01
