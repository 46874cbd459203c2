"""`nas scale --fit` and `--compare`: the command as users run it."""

import json
import re
import shlex
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import t as student

from nas.api import training
from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.cost.analytic import cost
from nas.scaling.grow import pixels
from nas.scaling.rules import own
from tests.cli.conftest import FAKE, SECONDS, Nas, Ran, hear
from tests.cli.fake_nas import make_evaluators
from tests.cli.gate import Gate
from tests.report.browser import find_browser
from tests.search.fake_trainings import final
from tests.workers.ray_nodes import Nodes, installed

SMALL = ("scale", "mnasnet-small")
TRAIN = ("--proxy-resolution", "8", "--epochs", "1")
COARSE = ("--step", "0.4", "--tolerance", "0.3")  # four coefficients, four networks
FIT = (*SMALL, "--fit", *TRAIN, *COARSE, "--seeds", "2", "--repeat", "2")
COMPARE = (*SMALL, "--compare", "--budget", "flops=120M", "--rule", "depth", "--rule", "width", *TRAIN)
BASE_MACS = cost(preset("mnasnet-small")).macs
FITTED = {"rule", "alpha", "beta", "gamma", "same", "accuracy", "accuracies", "spread", "macs", "score", "tied"}
COMPARED = {"rule", "name", "phi", "depth", "width", "resolution", "params", "macs", "peak_bytes", "activations"}
Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """The command in this process, with made-up training runs."""
    monkeypatch.setattr(training, "make_evaluators", make_evaluators)

    def run(*arguments: str) -> Ran:
        return nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)

    return run


def good(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return ran.json


def check_fit(fit: dict[str, Any], phi: float) -> None:
    """Networks, costs and scores are those that the rules make, and ranked."""
    assert set(fit) == {"study", "phi", "noise", "split", "learned", "tie", "winner", "networks", "tie_costs", "failed"}
    assert (fit["split"], fit["learned"]) == (None, None)  # these training runs have no images
    assert (fit["phi"], len(fit["networks"]), fit["failed"]) == (phi, 4, [])
    for row in fit["networks"]:
        assert set(row) == FITTED | {"proxy_resolution", "interval", "open"}
        rule = own(row["alpha"], row["beta"], row["gamma"])
        assert row["rule"] == rule.name
        assert abs(rule.product - 2) <= 0.3 + 1e-9
        assert row["proxy_resolution"] == pixels(8, row["gamma"] ** phi)
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
        assert row["score"] == pytest.approx(row["accuracy"] * (row["macs"] / (BASE_MACS * 2**phi)) ** -0.07)
    assert [len(row["accuracies"]) for row in fit["networks"]] == [2, 2, 1, 1]
    for rows in (fit["networks"][:2], fit["networks"][2:]):
        assert rows[0]["score"] >= rows[1]["score"]
    repeated = [row["accuracies"] for row in fit["networks"][:2]]
    factors = [(row["macs"] / (BASE_MACS * 2**phi)) ** -0.07 for row in fit["networks"][:2]]
    variances = [np.var(np.array(pair) * factor, ddof=1) for pair, factor in zip(repeated, factors, strict=True)]
    assert fit["noise"] == pytest.approx(np.sqrt(np.mean(variances)))
    difference = fit["networks"][0]["score"] - fit["networks"][1]["score"]
    # Two networks with all seeds, with one degree of freedom each: the error is sqrt(1/2 + 1/2) of the noise. The noise
    # of the accuracies counts, times the larger factor.
    noise = max(factors) * np.sqrt(np.mean([np.var(pair, ddof=1) for pair in repeated]))
    tied = difference <= student.ppf(0.975, 2) * noise
    assert [row["tied"] for row in fit["networks"]] == [True, tied, False, False]
    assert fit["tie"] == tied
    ranked = fit["networks"][:2] if tied else fit["networks"][:1]
    assert fit["winner"] == min(ranked, key=lambda row: int(row["macs"]))
    assert [one["value"] for one in fit["tie_costs"]] == ([row["macs"] for row in ranked] if tied else [])


def test_a_fit_as_json(here: Here) -> None:
    ran = here(*FIT, "--json")
    told = good(ran)
    assert set(told) == {"base", "fits", "files"}
    assert (told["base"], told["files"]) == ("mnasnet-small", [])
    (fit,) = told["fits"]
    check_fit(fit, 1.0)
    assert f"study {fit['study']}: 4 coefficients make 4 networks at phi 1" in ran.err
    assert ran.err.count(" px, seed ") == 4 + 2
    again = here(*FIT, "--json")
    assert good(again) == told
    assert "4 of 4 training runs are done" in again.err
    assert " px, seed " not in again.err
    more = good(here(*FIT, "--seeds", "3", "--json"))["fits"][0]
    assert more["study"] == fit["study"]
    assert [row["accuracies"][:2] for row in more["networks"][:2]] == [row["accuracies"] for row in fit["networks"][:2]]
    assert len(optuna.load_study(storage="sqlite:///nas.db", study_name=fit["study"]).trials) == 6 + 2


def test_a_fits_networks_are_what_its_rules_make(here: Here) -> None:
    fit = good(here(*FIT, "--json"))["fits"][0]
    for row in fit["networks"]:
        made = good(here(*SMALL, "--phi", "1", "--rule", row["rule"], "--any-product", "--json"))["family"][0]
        assert row["macs"] == made["macs"]
        arch = parse_text(made["arch"])
        side = row["proxy_resolution"]
        assert row["accuracies"] == pytest.approx([final(arch, side, seed) for seed in range(len(row["accuracies"]))])


def test_a_fit_as_text_says_what_can_be_concluded_and_what_comes_next(here: Here, nas: Nas) -> None:
    ran = here(*FIT, "--html", "fit.html")
    assert ran.code == 0, ran.err
    assert ("fit at phi 1, study fit-mnasnet-small-" in ran.out, "noise between seeds: " in ran.out) == (True, True)
    assert ("winner" in ran.out, "wrote fit.html" in ran.out) == (True, True)
    assert "<title>mnasnet-small: depth, width and resolution</title>" in (nas.folder / "fit.html").read_text()
    words = shlex.split(ran.out.splitlines()[-1].removeprefix("next:"))
    assert words[:3] == ["nas", "scale", "mnasnet-small"]
    made = good(here(*words[1:], "--json"))
    assert made["rule"]["name"] == good(here(*FIT, "--json"))["fits"][0]["winner"]["rule"]
    assert len(made["family"]) == 7


def test_a_single_seed_has_no_known_noise(here: Here) -> None:
    assert (
        "each network has one training run, so the noise of these figures is unknown; give --seeds 3"
        in here(*FIT, "--seeds", "1").out
    )
    fit = good(here(*FIT, "--seeds", "1", "--json"))["fits"][0]
    assert (fit["noise"], fit["tie"], fit["winner"]) == (None, False, None)
    assert "next:" not in here(*FIT, "--seeds", "1").out


def test_a_larger_network_is_fitted_beside_it(here: Here) -> None:
    ran = here(*FIT, "--at-phi", "2", "--study", "mine")
    assert ran.code == 0, ran.err
    for words in ("fit at phi 1, study mine\n", "fit at phi 2, study mine-phi2\n", "side by side", "rank at phi 2"):
        assert words in ran.out
    first, second = good(here(*FIT, "--at-phi", "2", "--study", "mine", "--json"))["fits"]
    check_fit(first, 1.0)
    check_fit(second, 2.0)
    assert f"winners: {first['winner']['rule']} at phi 1 and {second['winner']['rule']} at phi 2" in ran.out


@pytest.mark.slow
def test_workers_find_the_same(nas: Nas, here: Here) -> None:
    both = nas.fake(*FIT, "--workers", "2", "--study", "two", "--json")
    assert {**good(both)["fits"][0], "study": ""} == {**good(here(*FIT, "--json"))["fits"][0], "study": ""}
    assert both.err.count(" px, seed ") == 6


@pytest.mark.slow
def test_two_commands_at_once_share_a_fit(nas: Nas, here: Here) -> None:
    both = [nas.start(*FIT, "--study", "two", "--json", module=FAKE, NAS_FAKE_SECONDS="0.3") for _ in range(2)]
    told = [process.communicate(timeout=SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert json.loads(told[0][0]) == json.loads(told[1][0])
    assert sum(err.count(" px, seed ") for _, err in told) == 6
    assert len(optuna.load_study(storage=f"sqlite:///{nas.folder / 'nas.db'}", study_name="two").trials) == 6
    alone = good(here(*FIT, "--json"))["fits"][0]
    assert {**json.loads(told[0][0])["fits"][0], "study": ""} == {**alone, "study": ""}


@pytest.mark.slow
@pytest.mark.parametrize("command", [FIT, COMPARE])
def test_an_interrupted_command_finishes_what_runs_and_goes_on(
    nas: Nas, gate: Gate, here: Here, command: tuple[str, ...]
) -> None:
    process = nas.start(*command, "--study", "cut", module=FAKE, **gate.environment)
    gate.wait_for(1)
    process.send_signal(signal.SIGINT)
    hear(process, "finishing 1 trial; press Ctrl-C again to leave at once")
    gate.let()
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, "")
    assert "stopped; the same command continues study cut" in err
    states = [
        trial.state.name
        for trial in optuna.load_study(storage=f"sqlite:///{nas.folder / 'nas.db'}", study_name="cut").trials
    ]
    assert states == ["COMPLETE"]
    again = here(*command, "--study", "cut")
    assert again.code == 0
    assert re.search(r"^1 of \d+ training runs are done", again.err, re.MULTILINE)


def test_a_fit_has_a_journal_and_is_restored(here: Here, nas: Nas) -> None:
    fit = good(here(*FIT, "--study", "mine", "--json"))["fits"][0]
    assert len((nas.folder / "nas-trials" / "mine.jsonl").read_bytes().splitlines()) > 6
    (nas.folder / "nas.db").unlink()
    assert here("studies", "restore", "--into", "nas.db").code == 0
    again = here(*FIT, "--study", "mine", "--json")
    assert good(again)["fits"][0] == fit
    assert " px, seed " not in again.err


@pytest.mark.slow
def test_a_fit_on_a_ray_cluster(nas: Nas, here: Here) -> None:
    """The training runs are reported as those of one process are, with the same results."""
    installed()
    nodes = Nodes()
    try:
        nodes.add(cpus=2)
        nodes.wait_for_head()
        ran = nas.fake(*FIT, "--engine", "ray", "--address", nodes.address, "--study", "ray", "--json")
    finally:
        nodes.stop()
    alone = good(here(*FIT, "--json"))["fits"][0]
    assert {**good(ran)["fits"][0], "study": ""} == {**alone, "study": ""}
    assert ran.err.count(" px, seed ") == 6


def test_a_fit_without_a_network_says_why(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_FAKE_FAILS", "1")
    ran = here(*FIT)
    assert ran.err.count("failed: made to fail") == 4
    ran.refused("no network of the grid could be trained", "made to fail")


def test_a_comparison_as_json(here: Here) -> None:
    ran = here(*COMPARE, "--budget", "flops=150M", "--json")
    told = good(ran)
    assert set(told) == {"base", "study", "split", "learned", "compared", "conclusions", "files"}
    assert (told["base"]["macs"], told["base"]["proxy_resolution"]) == (BASE_MACS, 8)
    pairs = [(row["rule"], row["name"]) for row in told["compared"]]
    assert pairs == [(rule, budget) for budget in ("flops=120M", "flops=150M") for rule in ("depth", "width")]
    for row in (told["base"], *told["compared"]):
        assert set(row) >= COMPARED | {"proxy_resolution", "accuracy", "accuracy_spread", "accuracies", "reason"}
        arch = parse_text(row["arch"])
        assert row["macs"] == cost(arch).macs
        assert row["proxy_resolution"] == pixels(8, arch.resolution / 224)
        expected = [final(arch, row["proxy_resolution"], seed) for seed in (0, 1, 2)]
        assert row["accuracies"] == pytest.approx(expected)
        assert row["accuracy"] == pytest.approx(np.mean(expected))
        assert row["accuracy_spread"] == pytest.approx(np.std(expected, ddof=1))
    for row in told["compared"]:
        limit = float(row["name"].removeprefix("flops=").removesuffix("M")) * 1e6
        assert 0.9 * limit < row["macs"] <= limit
    assert f"study {told['study']}: 5 networks, 3 seeds" in ran.err
    again = here(*COMPARE, "--budget", "flops=150M", "--json")
    assert good(again) == told
    assert "15 of 15 training runs are done" in again.err


def test_a_comparison_as_text_and_page(here: Here, nas: Nas) -> None:
    ran = here(*COMPARE, "--html", "rules.html", "--study", "mine")
    assert ran.code == 0, ran.err
    for words in ("study mine; depth, width and px", "flops=120M: ", "told apart", "wrote rules.html"):
        assert words in ran.out
    assert "<title>mnasnet-small: rules of scaling</title>" in (nas.folder / "rules.html").read_text()


def test_a_comparison_in_which_nothing_could_be_trained(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_FAKE_FAILS", "1")
    ran = here(*COMPARE, "--seeds", "1", "--html", "rules.html")
    assert ran.code == 0, ran.err
    assert "flops=120M: no network could be trained" in ran.out
    assert "depth at flops=120M: a training run failed: made to fail" in ran.out


REFUSED = {
    "comparison without a budget": (
        (*SMALL, "--compare"),
        ("--compare is given without --budget", "--budget flops=1.8G"),
    ),
    "two things": ((*FIT, "--phi", "1"), ("--phi and --fit are given",)),
    "fit and family": ((*FIT, "--family"), ("--family and --fit are given",)),
    "fit and compare": ((*FIT, "--compare"), ("--fit and --compare are given",)),
    "fit with a rule": ((*FIT, "--rule", "depth"), ("--rule has no meaning for --fit", "--compare")),
    "fit with any product": ((*FIT, "--any-product"), ("--any-product has no meaning for --fit",)),
    "fit with a folder": ((*FIT, "--save", "x"), ("--save has no meaning for --fit",)),
    "comparison with a step": ((*COMPARE, "--step", "0.1"), ("--step has no meaning for --compare", "--fit")),
    "comparison with free": ((*COMPARE, "--free"), ("--free has no meaning for --compare",)),
    "phi with data": ((*SMALL, "--phi", "1", "--data", "digits"), ("--data is given without weights",)),
    "no coefficients": ((*FIT, "--step", "0.9", "--tolerance", "0"), ("in steps of 0.9 has 0 coefficients", "0.05")),
    "phi of nothing": ((*FIT, "--at-phi", "0"), ("a fit at phi 0",)),
    "w": ((*FIT, "--w", "0.5"), ("w is 0.5",)),
    "unknown rule": ((*COMPARE, "--rule", "deeper"), ("no rule is called 'deeper'",)),
    "budget below": ((*SMALL, "--compare", "--budget", "flops=1k"), ("below the smallest network",)),
    "budget of a device": ((*SMALL, "--compare", "--budget", "latency=5ms"), ("about a device", "--device cpu")),
    "phi with an engine": ((*SMALL, "--phi", "1", "--engine", "ray"), ("--engine has no meaning for --phi",)),
    "cores of Ray alone": ((*FIT, "--trial-cpus", "2"), ("--trial-cpus has no effect with --engine processes",)),
    "unknown network": (("scale", "nothere", "--fit"), ("no preset and no file",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_before_anything_is_trained(name: str, here: Here, nas: Nas) -> None:
    arguments, words = REFUSED[name]
    ran = here(*arguments)
    ran.refused(*words)
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.parametrize("option", [("--tolerance", "1"), ("--step", "0"), ("--seeds", "0"), ("--workers", "0")])
def test_options_out_of_range_are_refused(option: tuple[str, str], here: Here, nas: Nas) -> None:
    here(*FIT, *option).refused(option[0], code=2)
    assert not (nas.folder / "nas.db").exists()


def test_images_that_are_not_there_are_refused(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = nas.here(*FIT, "--data", "nowhere/at/all", capsys=capsys, monkeypatch=monkeypatch)
    ran.refused("nowhere/at/all")
    assert not (nas.folder / "nas.db").exists()


def test_a_study_of_another_kind_is_refused(here: Here, nas: Nas) -> None:
    optuna.create_study(storage=f"sqlite:///{nas.folder / 'nas.db'}", study_name="foreign").add_trial(
        optuna.create_trial(value=1.0)
    )
    here(*FIT, "--study", "foreign").refused("study foreign was not made by nas for this", "--study")
    assert here(*FIT, "--study", "mine").code == 0
    here(*COMPARE, "--study", "mine").refused("study mine was made with kind fit, not compare")
    here(*FIT, "--study", "mine", "--epochs", "2").refused("study mine was made with epochs 1, not 2")
    assert here("studies", "--json").json == []


@pytest.mark.slow
def test_a_fit_is_drawn_as_a_picture(here: Here, nas: Nas) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the picture")
    assert good(here(*FIT, "--png", "fit.png", "--json"))["files"] == ["fit.png"]
    assert (nas.folder / "fit.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_fit_that_trains(nas: Nas) -> None:
    trained = (*FIT, "--seeds", "1", "--images", "64", "--train-on", "cpu", "--json")
    ran = nas(*trained)
    fit = good(ran)["fits"][0]
    assert len(fit["networks"]) == 4
    assert all(0 <= row["accuracy"] <= 1 for row in fit["networks"])
    kept = optuna.load_study(storage=f"sqlite:///{nas.folder / 'nas.db'}", study_name=fit["study"]).trials
    assert {trial.user_attrs["environment"]["device"] for trial in kept} == {"cpu"}
