"""`nas search --evaluator`: a table, a function of one's own, or a score without training, instead of a training."""

import csv
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nas.api.evaluators import LOOK
from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.cli.search import command as search
from nas.evaluate.supernet.recipe import PRETRAINED_SUPERNET, SupernetRecipe
from nas.evaluate.zero_cost.scores import PARTS, needs_images
from nas.space.files import find_space
from tests.api.interpreter import bare_environment
from tests.cli.conftest import ROOT, Nas, Ran

SEARCH = ("search", "--target", "flops=2M", "--band", "0.1", "--space", "tiny.yaml", "--study", "demo")
FUNCTION = """
def by_channels(arch):
    channels = sum(stage.channels for stage in arch.stages)
    return channels / (channels + 100), {"channels": channels}

def broken(arch):
    return "high"
"""


@pytest.fixture(autouse=True)
def _files(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of all of `tiny`, and a module, in a path that is put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (nas.folder / "own.py").write_text(FUNCTION)
    space = find_space(str(nas.folder / "tiny.yaml"))
    with (nas.folder / "all.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(choice.name for choice in space.choices), "acc_seed0", "acc_seed1", "op0"])
        for i, indices in enumerate(space.enumerate()):
            rows.writerow([*space.params(indices).values(), 50 + i / 4, 60 + i / 4, 0])


@pytest.fixture(name="run")
def _run(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "Runner":
    return Runner(nas, capsys, monkeypatch)


class Runner:
    """`nas search` in this process."""

    def __init__(self, nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.nas, self.capsys, self.monkeypatch = nas, capsys, monkeypatch

    def __call__(self, *arguments: str) -> Ran:
        return self.nas.here(*SEARCH, *arguments, capsys=self.capsys, monkeypatch=self.monkeypatch)


TABLE = ("--evaluator", "table:all.csv", "--ignore-columns", "op*")
PYTHON = ("--evaluator", "python:own:by_channels")
DEPTH = ("--evaluator", "zero-cost:depth")
COMBINED = ("--evaluator", "zero-cost:combined", "--images", "50", "--proxy-resolution", "8", "--train-on", "cpu")


def test_a_table_gives_the_accuracies_of_its_rows(nas: Nas, run: Runner) -> None:
    ran = run(*TABLE, "--accuracy", "acc_seed1", "--trials", "3", "--json")
    assert ran.code == 0, ran.err
    space = find_space(str(nas.folder / "tiny.yaml"))
    texts = [format_text(canonical(space.from_indices(indices))) for indices in space.enumerate()]
    best = ran.json["best"]
    assert best["accuracy"] == (60 + texts.index(best["arch"]) / 4) / 100
    assert ran.json["trials"] == 3


def test_a_function_gives_the_accuracies_that_it_says(run: Runner) -> None:
    ran = run(*PYTHON, "--trials", "2", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["best"]["accuracy"] in {total / (total + 100) for total in (24, 32, 40)}


def test_what_is_counted_gives_a_standing_and_keeps_the_count(run: Runner) -> None:
    ran = run("--evaluator", "zero-cost:params", "--trials", "4", "--seed", "2", "--json")
    assert ran.code == 0, ran.err
    best = ran.json["best"]
    assert 0 < best["accuracy"] < 1
    assert best["remarks"] == {"params": best["params"]}
    assert "zero-cost:params: what is called accuracy is a score relative to random networks, from 0 to 1\n" in ran.err


def test_a_look_at_images_gives_a_standing_and_a_search_goes_on(run: Runner) -> None:
    ran = run(*COMBINED, "--trials", "2", "--json")
    assert ran.code == 0, ran.err
    assert 0 < ran.json["best"]["accuracy"] < 1
    assert ran.json["best"]["remarks"].keys() == {"naswot", "distinctness", "depth"}
    assert "3 trials are in study demo" in run(*COMBINED, "--trials", "3").out


def test_a_dry_run_shows_the_random_networks_of_the_whole_space(run: Runner) -> None:
    ran = run(*COMBINED, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    task = ran.json["proxy_task"]
    assert {task["evaluator"], task["score"], task["data"]} == {"zero-cost", "combined", "digits"}
    assert (task["resolution"], task["images"]) == (8, 32)
    sample = {key: value for key, value in task.items() if key.startswith("sample")}
    assert (sample["sample"], sample["sample_of"], sample["sample_seed"]) == (64, "tiny", 0)
    assert ran.json["seconds_a_trial"] >= 0
    fixed = run(*DEPTH, "--fix", "stage2.layers=2", "--dry-run", "--json").json["proxy_task"]
    assert fixed == run(*DEPTH, "--dry-run", "--json").json["proxy_task"]
    assert {*sample.items()} <= {*fixed.items()}


def test_the_options_about_images_are_those_of_the_scores_that_look() -> None:
    names = LOOK.removeprefix("zero-cost:").split("|")
    assert names == [name for name in PARTS if needs_images(name)]


def test_a_dry_run_shows_the_evaluator(run: Runner) -> None:
    table = run(*TABLE, "--dry-run", "--json").json["proxy_task"]
    assert {k: v for k, v in table.items() if k != "sha256"} == {
        "evaluator": "table",
        "table": "all.csv",
        "column": "acc_seed0",
        "architectures": 128,
    }
    ran = run(*PYTHON, "--dry-run", "--json")
    assert ran.json["proxy_task"] == {"evaluator": "python", "function": "own:by_channels"}
    assert ran.json["seconds_a_trial"] is None
    text = run(*PYTHON, "--dry-run")
    assert "proxy task             evaluator python, function own:by_channels\n" in text.out
    assert not (run.nas.folder / "nas.db").exists()


def test_one_evaluator_looks_before_the_other(run: Runner) -> None:
    both = ("--evaluator", "zero-cost:params+table:all.csv", "--ignore-columns", "op*", "--screen", "16")
    ran = run(*both, "--trials", "3", "--json")
    assert ran.code == 0, ran.err
    assert "10 networks screened" in ran.err
    assert 0.5 <= ran.json["best"]["accuracy"] <= 0.82
    assert run(*both, "--trials", "4", "--json").json["trials"] == 4
    run(*both[:-1], "17", "--trials", "4").refused("screen.networks 16, not 17")
    run(*TABLE, "--trials", "4").refused("screen.evaluator")


def test_a_dry_run_shows_who_looks_first(run: Runner) -> None:
    report = run("--evaluator", "zero-cost:params+python:own:by_channels", "--dry-run", "--json").json
    assert report["screen"]["score"] == "params"
    assert report["screen"]["networks"] == 100
    assert report["proxy_task"]["function"] == "own:by_channels"
    assert "screen" not in run(*PYTHON, "--dry-run", "--json").json


def test_a_table_is_read_whole_where_choices_are_made(run: Runner) -> None:
    whole = run(*TABLE, "--dry-run", "--json").json["proxy_task"]
    ran = run(*TABLE, "--fix", "stage1.kernel=3", "--fix", "stage2.layers=2", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["proxy_task"] == whole


REFUSED = {
    "options of training": (
        (*TABLE, "--epochs", "3", "--data", "digits", "--pruner", "median"),
        ("only --evaluator train or finetune uses --epochs, --pruner, and the evaluator is table", "leave out"),
    ),
    "options of images": (
        (*PYTHON, "--train-on", "cpu", "--images", "9", "--proxy-resolution", "8", "--data", "digits"),
        (
            "only --evaluator train, finetune, supernet or zero-cost:naswot|distinctness|combined uses --data,",
            "--proxy-resolution, --images, --train-on, and the evaluator is python",
        ),
    ),
    "a share of images, for a table": (
        (*TABLE, "--validation-share", "0.3"),
        ("uses --validation-share, and the evaluator is table",),
    ),
    "options of images, for what is counted": ((*DEPTH, "--images", "9"), ("the evaluator is zero-cost:depth",)),
    "options of training, for a look": (
        (*COMBINED, "--epochs", "2"),
        ("only --evaluator train or finetune uses --epochs",),
    ),
    "no such score": (
        ("--evaluator", "zero-cost:magic"),
        ("no zero-cost score 'magic'", "naswot, distinctness, depth, macs, params, combined"),
    ),
    "no name of a score": (("--evaluator", "zero-cost"), ("no evaluator 'zero-cost'", "zero-cost:NAME")),
    "a score that is the same for all": (
        (*DEPTH, "--space", "smallest.yaml", "--target", "params=5k"),
        ("depth is the same for all 64 random architectures of the space",),
    ),
    "further seeds, for a score": ((*DEPTH, "--confirm", "3"), ("only --evaluator train or finetune uses --confirm",)),
    "of a table, for a function": ((*PYTHON, "--accuracy", "acc"), ("only --evaluator table:FILE uses --accuracy",)),
    "of a table, for a training": (("--ignore-columns", "op*"), ("table:FILE uses --ignore-columns", "is train")),
    "of a training, for a supernet": (
        ("--evaluator", "supernet", "--epochs", "3"),
        ("only --evaluator train or finetune uses --epochs, and the evaluator is supernet",),
    ),
    "of a supernet, for a training": (
        ("--supernet-epochs", "3", "--images", "9"),
        ("only --evaluator supernet uses --supernet-epochs, and the evaluator is train",),
    ),
    "of both, for a table": (
        (*TABLE, "--images", "9"),
        ("only --evaluator train, finetune, supernet or zero-cost:naswot|distinctness|combined uses --images",),
    ),
    "an unknown evaluator": (
        ("--evaluator", "magic"),
        ("no evaluator 'magic'", "supernet, table:FILE, python:MODULE:"),
    ),
    "no file": (("--evaluator", "table"), ("no evaluator 'table'", "table:FILE")),
    "an empty file name": (("--evaluator", "table:"), ("no evaluator 'table:'",)),
    "too much": (("--evaluator", "train:cifar"), ("no evaluator 'train:cifar'",)),
    "a file that is not there": (("--evaluator", "table:absent.csv"), ("table absent.csv cannot be read",)),
    "unknown columns": (("--evaluator", "table:all.csv"), ("table all.csv: unknown columns: 'op0'", "'op*'")),
    "no such column": ((*TABLE, "--accuracy", "top1"), ("no column of accuracies 'top1'", "acc_seed0")),
    "a screen with nothing before": ((*PYTHON, "--screen", "9"), ("only --evaluator CHEAP+COSTLY uses --screen",)),
    "nothing before the plus": (("--evaluator", "+train"), ("no evaluator '+train'", "CHEAP+COSTLY")),
    "an unknown one before the plus": (("--evaluator", "magic+train"), ("no evaluator 'magic'",)),
    "an unknown one after the plus": (("--evaluator", "zero-cost:macs+magic"), ("no zero-cost score 'macs+magic'",)),
    "a sampler that takes no hints": (
        ("--evaluator", "zero-cost:macs+table:all.csv", "--ignore-columns", "op*", "--sampler", "tpe"),
        ("sampler tpe cannot use the scores of a cheaper evaluator", "leave --sampler out"),
    ),
    "no function": (("--evaluator", "python:own"), ("'own' is not MODULE:FUNCTION",)),
    "no module": (("--evaluator", "python:absent_one:f"), ("module absent_one cannot be imported",)),
    "no such function": (("--evaluator", "python:own:absent"), ("module own has no absent",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_told_in_one_message(run: Runner, case: str) -> None:
    arguments, words = REFUSED[case]
    run(*arguments).refused(*words)
    assert not (run.nas.folder / "nas.db").exists()


def test_a_function_that_gives_no_accuracy_is_told(run: Runner) -> None:
    ran = run("--evaluator", "python:own:broken")
    assert ran.code == 1
    assert "own:broken returned 'high' (str) as the accuracy, which is not a number" in ran.err


@pytest.mark.parametrize("evaluator", [TABLE, PYTHON, DEPTH], ids=["table", "python", "zero-cost"])
def test_torch_is_never_imported(nas: Nas, evaluator: tuple[str, ...]) -> None:
    code = "import atexit, sys; from nas.cli.main import main; atexit.register(lambda: print(*sys.modules)); main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, *SEARCH, *evaluator, "--trials", "1"],
        cwd=nas.folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = ran.stdout.splitlines()[-1].split()
    assert "optuna" in loaded
    assert not {"torch", "datasets"} & {*loaded}
    assert "1 trials are in study demo" in ran.stdout


def blocks(language: str) -> list[str]:
    """Blocks of the page, by their language."""
    parts = (ROOT / "docs" / "evaluators.md").read_text(encoding="utf-8").split(f"```{language}\n")[1:]
    return [part.partition("```")[0] for part in parts]


def test_the_examples_of_the_page_work(run: Runner) -> None:
    rows, module = blocks("csv")[0], blocks("python")[0]
    Path(run.nas.folder, "accuracies.csv").write_text(rows)
    Path(run.nas.folder, "own.py").write_text(module)
    for evaluator in ("table:accuracies.csv", "python:own:accuracy"):
        ran = run("--evaluator", evaluator, "--dry-run", "--json")
        assert ran.code == 0, ran.err
    assert run("--evaluator", "python:own:accuracy", "--trials", "1").code == 0


SUPERNET = ("--evaluator", "supernet", "--supernet-epochs", "2", "--images", "60", "--proxy-resolution", "8")


@pytest.mark.slow
def test_a_supernet_is_trained_once_for_several_targets(nas: Nas) -> None:
    first = nas(*SEARCH, *SUPERNET, "--trials", "2", "--json")
    assert first.code == 0, first.err
    assert "a supernet of space tiny is trained for 2 epochs" in first.err
    kept = list((nas.folder / "nas-supernets").glob("*.pt"))
    assert len(kept) == 1
    nas(*SEARCH, *SUPERNET, "--supernet-epochs", "3").refused("made with proxy.recipe.epochs 2, not 3")
    assert [*(nas.folder / "nas-supernets").glob("*.pt")] == kept  # refused before anything was trained
    searched = ("search", "--target", "params=5k", "--band", "0.1", "--space", "tiny.yaml", "--resolution", "64")
    second = nas(*searched, *SUPERNET, "--trials", "2", "--json")
    assert second.code == 0, second.err
    assert "is used again" in second.err
    assert list((nas.folder / "nas-supernets").glob("*.pt")) == kept
    kept[0].write_bytes(kept[0].read_bytes()[:1000])
    nas(*searched, *SUPERNET).refused("not a complete supernet file", "delete it to train the supernet again")


@pytest.mark.slow
def test_a_dry_run_trains_no_supernet(nas: Nas) -> None:
    ran = nas(*SEARCH, *SUPERNET, "--supernet-epochs", "100000", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    task = {"evaluator": "supernet", "data": "digits", "resolution": 8, "precision": "fp32", "epochs": 100_000}
    assert ran.json["proxy_task"] == task
    assert ran.json["seconds_in_all"] > 100 > ran.json["seconds_a_trial"] >= 0
    assert not (nas.folder / "nas-supernets").exists()


def test_the_help_tells_how_long_a_supernet_is_trained() -> None:
    (option,) = [one for one in search.command.params if one.name == "supernet_epochs"]
    assert isinstance(option, click.Option)
    record = option.get_help_record(click.Context(search.command))
    assert record is not None
    usual, pretrained = SupernetRecipe().epochs, PRETRAINED_SUPERNET.epochs
    assert f"[default: {usual}, or {pretrained} with --pretrained; x>=1]" in record[1]
