"""What fits, comparisons and checks say of a validation split on which networks cannot be told apart."""

from collections.abc import Callable
from typing import Any

import pytest

from nas.api import training
from tests.cli.conftest import Nas, Ran
from tests.search.fake_validation import ImageEvaluators

TRAIN = ("--proxy-resolution", "8", "--epochs", "1")
SMALL = ("scale", "mnasnet-small")
FIT = (*SMALL, "--fit", *TRAIN, "--step", "0.4", "--tolerance", "0.3", "--seeds", "2")
COMPARE = (*SMALL, "--compare", "--budget", "flops=120M", *TRAIN)
CHECK = ("check", "--space", "tiny.yaml", "--evaluator", "train", *TRAIN, "--networks", "5")
Run = Callable[..., Ran]


@pytest.fixture(name="run")
def _run(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process, with training runs of one true accuracy on so many images."""

    def run(*arguments: str, images: int = 60, accuracy: float | None = None) -> Ran:
        made = ImageEvaluators(images, accuracy)
        monkeypatch.setattr(training, "make_evaluators", lambda *_options: made)
        return nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)

    return run


def good(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return ran.json


def lines(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return ran.out.strip().splitlines()


def test_a_fit_that_learned_nothing_says_so_first_and_names_no_winner(run: Run) -> None:
    told = lines(run(*FIT))
    assert told[0].startswith("fit at phi 1, study ")
    assert told[1] == (
        "nothing has been learned: the highest accuracy of 4 networks is 20.00%, and the most frequent class alone "
        "gives 20.00%: a difference within the noise of 60 images"
    )
    assert told[2].startswith("no coefficients win; give more --epochs, more images")
    assert told[3].startswith(
        "validation split: 60 images, a standard error of 5.2 points at 20.00%; the most frequent class alone"
    )
    assert not [line for line in told if "winner" in line or line.startswith("next:") or "ahead" in line]
    (fit,) = good(run(*FIT, "--json"))["fits"]
    assert (fit["learned"], fit["winner"]) == (False, None)
    assert fit["split"] == {
        "images": 60,
        "effective": 60.0,
        "majority_class": 0.2,
        "standard_error": pytest.approx(0.0518, abs=1e-3),
    }


def test_a_fit_names_a_winner_by_cost_where_networks_cannot_be_told_apart(run: Run) -> None:
    told = lines(run(*FIT, accuracy=0.6))
    assert told[1].startswith("validation split: 60 images")
    (tie,) = (line for line in told if line.startswith("a tie: "))
    assert "4 networks, the best among them, cannot be told apart" in tie
    assert "chosen among them by cost" in tie
    (fit,) = good(run(*FIT, "--json", accuracy=0.6))["fits"]
    assert fit["learned"] is True
    assert fit["winner"]["macs"] == min(row["macs"] for row in fit["networks"])
    for row in fit["networks"]:
        low, high = row["interval"]
        assert low < row["accuracy"] < high
        assert high - low > 0.1  # of 120 images at most


def test_networks_with_one_seed_that_may_be_the_best_stay_open(run: Run) -> None:
    (fit,) = good(run(*FIT, "--repeat", "2", "--json", accuracy=0.6))["fits"]
    assert [(row["tied"], row["open"]) for row in fit["networks"]] == [(True, False)] * 2 + [(False, True)] * 2
    told = lines(run(*FIT, "--repeat", "2", accuracy=0.6))
    assert "2 with fewer seeds could be as good as the best; --repeat 4 would train them" in told


def test_a_comparison_that_learned_nothing_draws_no_conclusion(run: Run) -> None:
    told = lines(run(*COMPARE))
    assert told[1].startswith("nothing has been learned: the highest accuracy of ")
    assert told[2].startswith("no rule wins; ")
    assert not [line for line in told if line.startswith("flops=120M: ") and "highest accuracy" in line]
    found = good(run(*COMPARE, "--json"))
    assert (found["learned"], found["conclusions"][0]["best"], found["conclusions"][0]["tied"]) == (False, None, None)
    assert found["split"]["images"] == 60


def test_equal_rules_cannot_be_told_apart(run: Run) -> None:
    found = good(run(*COMPARE, "--json", accuracy=0.6))
    (one,) = found["conclusions"]
    assert (one["budget"], one["best"]) == ("flops=120M", None)
    assert len(one["tied"]) == len(found["compared"]) - 1
    assert "it cannot be told apart from" in run(*COMPARE, accuracy=0.6).out


def test_one_seed_allows_no_conclusion(run: Run) -> None:
    once = (*COMPARE, "--seeds", "1")
    told = lines(run(*once, accuracy=0.6))
    assert told[-1] == "flops=120M: each network has one training run, so no rule can be named the best; give --seeds 3"
    assert good(run(*once, "--json", accuracy=0.6))["conclusions"][0]["best"] is None


def test_rules_that_make_the_same_network_share_a_row(run: Run) -> None:
    same = ("--rule", "depth", "--rule", "2,1,1", "--rule", "width")
    found = good(run(*COMPARE, *same, "--json", accuracy=0.6))
    assert [row["rules"] for row in found["compared"]] == [["depth", "2,1,1"], ["width"]]
    assert [row["rule"] for row in found["compared"]] == ["depth = 2,1,1", "width"]
    told = run(*COMPARE, *same, accuracy=0.6).out
    assert "depth = 2,1,1  flops=120M" in told
    alone = lines(run(*COMPARE, *same[:4], accuracy=0.6))
    assert alone[-1] == "flops=120M: only depth = 2,1,1 has a result, so there is nothing to compare it with"


def test_a_rule_that_changes_nothing_is_named_and_is_no_rival(run: Run) -> None:
    # The base has 68.34 million MACs: no deeper network is within this budget, but a wider one is.
    small = (*SMALL, "--compare", "--budget", "flops=70M", *TRAIN, "--rule", "depth", "--rule", "width")
    found = good(run(*small, "--json", accuracy=0.6))
    assert [(row["rule"], row["acts"]) for row in found["compared"]] == [("depth", False), ("width", True)]
    told = lines(run(*small, accuracy=0.6))
    assert told[-2:] == [
        "flops=70M: depth cannot act on this network: rounding leaves the base as it is",
        "flops=70M: only width has a result, so there is nothing to compare it with",
    ]


def test_a_check_whose_truth_learned_nothing_says_so_first_and_recommends_nothing(run: Run) -> None:
    told = lines(run(*CHECK))
    assert told[0] == "the truth has learned nothing, so this check says nothing about the evaluators"
    assert told[-2].startswith("nothing has been learned: the highest accuracy of 5 networks is 20.00%")
    assert told[-1] == "give a longer --truth, more images in --data, or a larger --proxy-resolution"
    assert "ranks best" not in "\n".join(told)
    truth = good(run(*CHECK, "--json"))["truth"]
    assert (truth["learned"], truth["split"]["images"]) == (False, 60)


def test_a_check_prints_the_split_that_its_evaluators_share_with_the_truth(run: Run) -> None:
    told = lines(run(*CHECK, accuracy=0.6))
    (split,) = (line for line in told if line.startswith("validation split: "))
    assert split.endswith("; the most frequent class alone gives 20.00%")
    assert (
        "train and train:epochs=4 validate on the same 60 images and share their sampling error: "
        "on other images, tau would be lower"
    ) in told
    truth = good(run(*CHECK, "--json", accuracy=0.6))["truth"]
    assert truth["learned"] is True
    assert 0 <= truth["sampling_error"] < 0.1
