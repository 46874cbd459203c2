"""`nas check`: evaluators beside a table of accuracies, and beside longer training runs."""

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import kendalltau

from nas.api import training
from nas.api.training import TrainingOptions
from nas.arch.code import parse_text
from nas.cost.analytic import cost
from nas.space.files import find_space
from tests.cli.conftest import FAKE, SECONDS, Nas, Ran
from tests.cli.fake_nas import make_evaluators
from tests.search.fake_trainings import FakeEvaluators, failing, final

SPACE = ("check", "--space", "tiny.yaml")
TABLE = (*SPACE, "--truth", "table:all.csv", "--ignore-columns", "op*", "--networks", "20")
SHORT = ("--epochs", "1", "--proxy-resolution", "16")
FUNCTIONS = """
def by_channels(arch):
    channels = sum(stage.channels for stage in arch.stages)
    return channels / (channels + 100)

def one_for_all(arch):
    return 0.5

def broken(arch):
    raise ValueError("no such layer") if arch.stages[0].kernel == 3 else ValueError("never")
"""
Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """The command in this process, with made-up training runs."""
    monkeypatch.setattr(training, "make_evaluators", make_evaluators)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (nas.folder / "own.py").write_text(FUNCTIONS)
    write_table(nas.folder / "all.csv")
    return lambda *arguments: nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def write_table(path: Path) -> None:
    """Accuracies of three seeds, of all networks of `tiny`: the more channels the better, more or less."""
    space, rng = find_space(str(path.with_name("tiny.yaml"))), np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(choice.name for choice in space.choices), "acc_seed0", "acc_seed1", "acc_seed2", "op0"])
        for indices in space.enumerate():
            channels = sum(stage.channels for stage in space.from_indices(indices).stages)
            means = np.random.default_rng(channels).normal(50 + channels / 2, 1)
            rows.writerow([*space.params(indices).values(), *(means + rng.normal(0, 0.2, 3)).round(3), 0])


def good(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return ran.json


def test_an_evaluator_beside_a_table(here: Here) -> None:
    found = good(here(*TABLE, "--evaluator", "python:own:by_channels", "--json"))
    networks, (row,) = found["networks"], found["evaluators"]
    assert len({one["arch"] for one in networks}) == len(networks) == 20
    true = [np.mean(one["truth"]) for one in networks]
    said = [one["verdicts"]["python:own:by_channels"] for one in networks]
    for one, (verdict,) in zip(networks, said, strict=True):
        channels = sum(stage.channels for stage in parse_text(one["arch"]).stages)
        assert verdict == pytest.approx(channels / (channels + 100))
    value, low, high = row["tau"]
    assert value == pytest.approx(kendalltau(np.ravel(said), true).statistic)
    assert low < value < high
    assert found["truth"]["readings"] == [3, 3]
    assert 0.0005 < found["truth"]["noise"] < 0.004
    assert found["truth"]["highest_tau"] > 0.9
    assert (row["networks"], row["failed"], row["noise"]) == (20, 0, None)


def test_a_table_as_text(here: Here) -> None:
    told = here(
        *TABLE, "--evaluator", "python:own:by_channels", "--evaluator", "python:own:one_for_all", "--trials", "50"
    )
    assert told.code == 0, told.err
    assert "truth table:all.csv: 20 networks, 3 accuracies of each, noise between them 0." in told.out
    assert re.search(r"python:own:by_channels ranks best, \d\d% of pairs right, beyond chance\n", told.out)
    assert "a search of 50 trials with python:own:by_channels takes about" in told.out
    (same,) = (line for line in told.out.splitlines() if line.startswith("python:own:one_for_all  "))
    assert same.split()[1:5] == ["20", "-", "-", "-"]


def test_training_runs_beside_longer_ones(here: Here) -> None:
    found = good(here(*SPACE, *SHORT, "--networks", "8", "--json"))
    assert found["truth"]["evaluator"] == "train:epochs=4"
    assert [row["evaluator"] for row in found["evaluators"]] == ["train", "train:resolution=8"]
    for one in found["networks"]:
        arch = parse_text(one["arch"])
        assert one["verdicts"]["train:resolution=8"] == pytest.approx([final(arch, 8, seed) for seed in (0, 1)])
        assert one["verdicts"]["train"] == pytest.approx([final(arch, 16, seed) for seed in (0, 1)])
        assert one["truth"] == pytest.approx([final(arch, 16, seed) for seed in (2, 3)])
    true = [np.mean(one["truth"]) for one in found["networks"]]
    guesses = np.array([one["verdicts"]["train"] for one in found["networks"]]).T
    assert found["evaluators"][0]["tau"][0] == pytest.approx(np.mean([kendalltau(g, true).statistic for g in guesses]))


def test_training_runs_use_the_metric_of_the_search(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def make(options: TrainingOptions, *_others: object) -> FakeEvaluators:
        asked.append(options.metric)
        return make_evaluators(options)

    monkeypatch.setattr(training, "make_evaluators", make)
    found = [good(here(*SPACE, *SHORT, "--networks", "5", "--metric", m, "--json")) for m in ("accuracy", "balanced")]
    assert {*asked} == {"accuracy", "balanced"}
    studies = here("studies").out
    assert f"{found[0]['study']}: train epochs=1 resolution=16 metric=balanced" in studies


def test_an_evaluated_network_is_not_evaluated_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    before = good(here(*SPACE, *SHORT, "--networks", "6", "--json"))
    monkeypatch.setattr(training, "make_evaluators", lambda *_options: FakeEvaluators(failing))
    assert good(here(*SPACE, *SHORT, "--networks", "6", "--json"))["networks"] == before["networks"]
    monkeypatch.setattr(training, "make_evaluators", make_evaluators)
    more = good(here(*SPACE, *SHORT, "--networks", "9", "--json"))
    assert more["study"] == before["study"]
    assert more["networks"][:6] == before["networks"]


def test_a_check_continues_after_the_time_limit(here: Here) -> None:
    cut = here(*SPACE, *SHORT, "--networks", "8", "--time-limit", "1e-9")
    cut.refused("0 networks have a true accuracy", "--time-limit")
    assert len(good(here(*SPACE, *SHORT, "--networks", "8", "--json"))["networks"]) == 8


@pytest.mark.slow
def test_two_commands_at_once_share_a_check(nas: Nas, here: Here) -> None:
    asked = (*SPACE, *SHORT, "--networks", "8", "--evaluator", "train", "--study", "mine", "--json")
    both = [nas.start(*asked, module=FAKE, NAS_FAKE_SECONDS="0.1") for _ in range(2)]
    told = [process.communicate(timeout=SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    first, second, alone = *(json.loads(out) for out, _ in told), good(here(*asked[:-3], "--study", "other", "--json"))
    assert first["networks"] == second["networks"] == alone["networks"]
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    counts = {
        name: len(optuna.load_study(storage=url, study_name=name).trials) for name in optuna.get_all_study_names(url)
    }
    assert [count for name, count in counts.items() if name.startswith("mine: ")] == [2 * 8] * 2


def test_several_workers_check_the_same(nas: Nas, here: Here) -> None:
    asked = (*SPACE, *SHORT, "--networks", "5", "--evaluator", "train", "--json")
    ran = nas.fake(*asked, "--workers", "2", "--study", "two")
    assert good(ran)["networks"] == good(here(*asked))["networks"]


def test_networks_lie_below_the_target(here: Here) -> None:
    found = good(
        here(*TABLE, "--evaluator", "python:own:by_channels", "--target", "flops=700k", "--networks", "6", "--json")
    )
    assert all(630e3 <= cost(parse_text(one["arch"])).macs <= 700e3 for one in found["networks"])


def test_a_truth_with_equal_accuracies_is_reported(here: Here, nas: Nas) -> None:
    rows = (nas.folder / "all.csv").read_text().splitlines()
    alike = [rows[0], *(",".join([*row.split(",")[:-4], "50", "50", "50", "0"]) for row in rows[1:])]
    (nas.folder / "all.csv").write_text("\n".join(alike))
    told = here(*TABLE, "--evaluator", "python:own:by_channels")
    assert (
        "the highest tau that can be measured with this truth: unknown, because all networks have the same accuracy"
        in told.out
    )
    assert "the truth gives all networks the same accuracy" in told.out


def test_a_search_is_priced(here: Here) -> None:
    told = here(*TABLE, "--evaluator", "python:own:by_channels", "--price", "3.6e9", "--trials", "1000", "--json")
    (row,), advice = good(told)["evaluators"], good(told)["advice"]
    assert row["seconds_of_the_search"] == pytest.approx(1000 * row["seconds"])
    assert f"and costs {3.6e9 * 1000 * row['seconds'] / 3600:.3g}" in advice[-1]


def test_a_page_and_studies(here: Here, nas: Nas) -> None:
    ran = here(*TABLE, "--evaluator", "python:own:by_channels", "--html", "check.html")
    assert ran.out.splitlines()[-1] == "wrote check.html"
    assert "python:own:by_channels" in (nas.folder / "check.html").read_text()
    assert "studies of nas scale and nas check: check-tiny-" in here("studies").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--evaluator", "train:epoch=1"), ("'epoch=1' is no setting of a training run", "epochs=E")),
        (("--evaluator", "train:epochs=0"), ("'epochs=0' is no setting", "epochs from 1")),
        (("--evaluator", "train:epochs=1,epochs=2"), ("'epochs=2'", "each once")),
        (("--evaluator", "train:images=1e3"), ("'images=1e3'", "images from 2")),
        (("--evaluator", "train:"), ("there is no evaluator 'train:'",)),
        (("--evaluator", "zero-cost:depth+train"), ("are two evaluators", "give --evaluator twice")),
        (("--html", "absent/check.html"), ("there is no folder absent",)),
        (("--evaluator", "guess"), ("there is no evaluator 'guess'", "table:FILE")),
        (
            ("--evaluator", "train:epochs=4"),
            ("train:epochs=4 and train:epochs=4 are the same evaluator", "the second one is the truth"),
        ),
        (("--evaluator", "train", "--truth", "train:resolution=16,epochs=1"), ("are the same evaluator",)),
        (("--evaluator", "train", "--evaluator", "train:epochs=1"), ("train and train:epochs=1 are the same",)),
        (("--truth", "table:none.csv"), ("none.csv",)),
        (("--trial-gpus", "1"), ("--trial-gpus has no effect with --engine processes",)),
        (("--target", "flops=1k"), ("target flops=1k cannot be met",)),
        (("--target", "latency=8ms"), ("measures nothing on a device",)),
        (("--fix", "stage1.kernel"), ("is not of the form CHOICE=OPTION",)),
        (("--evaluator", "python:own:broken", "--truth", "table:all.csv", "--ignore-columns", "op*"), ("never",)),
    ],
)
def test_bad_input_is_refused(arguments: tuple[str, ...], words: tuple[str, ...], here: Here) -> None:
    here(*SPACE, *SHORT, *arguments).refused(*words)


@pytest.mark.slow
def test_a_check_with_real_training_runs(nas: Nas) -> None:
    """Check evaluators with real images and training runs of five networks."""
    usual = ("--networks", "5", "--epochs", "1", "--images", "64", "--proxy-resolution", "8", "--seeds", "1", "--json")
    cheap = ("--evaluator", "train", "--evaluator", "supernet:epochs=1", "--evaluator", "zero-cost:naswot")
    ran = nas(*SPACE, *usual, *cheap, "--truth", "train:epochs=2", "--data", "digits")
    found = good(ran)
    assert [row["evaluator"] for row in found["evaluators"]] == list(cheap[1::2])
    assert all(set(one["verdicts"]) == {*cheap[1::2], "train:epochs=2"} for one in found["networks"])
    assert len(list((nas.folder / "nas-supernets").glob("*.pt"))) == 1
    before = [row["seconds_before"] for row in found["evaluators"]]
    assert before == [0, pytest.approx(before[1]), 0]
    assert before[1] > 0  # the supernet's training
    assert found["truth"]["readings"] == [1, 1]
    assert found["truth"]["highest_tau"] is None
    assert all(0 < one["truth"][0] < 1 for one in found["networks"])
