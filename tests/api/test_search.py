"""`nas.search`: the same study as by `nas search`, the same messages, and nothing on the terminal."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import nas
from nas.api import evaluators
from nas.api.durations import parse_duration
from nas.api.request import SearchRequest
from nas.cli.main import main
from nas.cli.search.command import command
from nas.space.files import find_space
from nas.studies.opening import open_storage
from nas.studies.records import StudyView
from nas.studies.study import read_study
from tests.api.interpreter import fresh
from tests.cli.fake_nas import MAKERS
from tests.search.fakes import SMALLEST, TINY

MODULE = """
def by_channels(arch):
    channels = sum(stage.channels for stage in arch.stages)
    return channels / (channels + 100), {"channels": channels}
"""
TARGET = ("--target", "flops=2M", "--band", "0.1", "--space", "tiny.yaml", "--study", "demo")
HERE: dict[str, Any] = {"space": "tiny.yaml", "target": "flops=2M", "band": 0.1, "study": "demo"}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small spaces, a table and a module in the working directory; training runs are made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    monkeypatch.setattr(evaluators, "MAKERS", MAKERS)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "smallest.yaml").write_text(SMALLEST)
    (tmp_path / "own.py").write_text(MODULE)
    space = find_space("tiny.yaml")
    nas.save_architecture(space.from_indices([0] * len(space.all_choices)), "start.txt")
    with (tmp_path / "all.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(choice.name for choice in space.choices), "acc", "op0"])
        for i, indices in enumerate(space.enumerate()):
            rows.writerow([*space.params(indices).values(), 50 + i / 4, 0])


def by_command(*arguments: str) -> int:
    """The code with which the command ends, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["search", *arguments])
    return int(ended.value.code or 0)


def content(storage: str, name: str = "demo") -> StudyView:
    """A study without what differs from run to run."""
    view = read_study(open_storage(storage, create=False), name)
    own = None if view.baseline is None else evolve(view.baseline, seconds=0.0)
    return evolve(view, records=tuple(evolve(record, seconds=0.0) for record in view.records), baseline=own)


SAME: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "a training run": (
        ("--trials", "8", "--epochs", "2", "--images", "50", "--pruner", "halving", "--seed", "3", "--confirm", "0"),
        {"trials": 8, "epochs": 2, "images": 50, "pruner": "halving", "seed": 3, "confirm": 0},
    ),
    "a table": (
        ("--evaluator", "table:all.csv", "--ignore-columns", "op*", "--accuracy", "acc", "--trials", "5"),
        {"evaluator": "table:all.csv", "ignore_columns": "op*", "accuracy": "acc", "trials": 5},
    ),
    "a function, several targets, a sampler": (
        *(
            ("--evaluator", "python:own:by_channels", "--target", "params=15k", "--sampler", "tpe", "--trials", "4"),
            {
                "evaluator": "python:own:by_channels",
                "target": ["flops=2M", "params=15k"],
                "sampler": "tpe",
                "trials": 4,
            },
        ),
    ),
    "a count, a front, a fixed choice, another task": (
        (
            *("--evaluator", "zero-cost:params", "--objective", "pareto", "--fix", "stage1.kernel=3", "--trials", "4"),
            *("--resolution", "64", "--classes", "20", "--target", "size=1MB", "--precision", "int8"),
        ),
        {
            "evaluator": "zero-cost:params",
            "objective": "pareto",
            "fix": {"stage1.kernel": 3},
            "trials": 4,
            "resolution": 64,
            "classes": 20,
            "target": ["flops=2M", "size=1MB"],
            "precision": "int8",
        },
    ),
    "a screen, an end, a start": (
        (
            *("--evaluator", "zero-cost:macs+table:all.csv", "--ignore-columns", "op*", "--screen", "16"),
            *("--trials", "6", "--patience", "2", "--start-from", "start.txt", "--timeout", "2h"),
        ),
        {
            "evaluator": "zero-cost:macs+table:all.csv",
            "ignore_columns": ["op*"],
            "screen": 16,
            "trials": 6,
            "patience": 2,
            "start_from": Path("start.txt"),
            "timeout": 7200,
        },
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_a_search_from_python_makes_the_study_of_the_command(case: str) -> None:
    arguments, options = SAME[case]
    assert by_command(*TARGET, *arguments, "--storage", "sqlite:///command.db") == 0
    study = nas.search(**{**HERE, **options}, storage="sqlite:///python.db")
    by_python = content("sqlite:///python.db")
    assert by_python == content("sqlite:///command.db")
    assert len(study.trials) == len(by_python.records) > 2
    assert study.settings == by_python.settings
    assert not Path("nas.db").exists()


def test_a_study_without_a_name_continues_under_the_name_of_the_command() -> None:
    options = {key: value for key, value in HERE.items() if key != "study"}
    first = nas.search(**options, evaluator="zero-cost:params", trials=3)
    assert by_command(*TARGET[:-2], "--evaluator", "zero-cost:params", "--trials", "5") == 0
    assert nas.study_names() == [first.name]
    assert len(first.trials) == 3
    assert len(first.refresh().trials) == len(nas.open_study(first.name).trials) == 5


def accuracy(arch: nas.Architecture) -> tuple[float, dict[str, int]]:
    layers = sum(stage.layers for stage in arch.stages)
    return layers / (layers + 1), {"layers": layers}


def test_a_function_of_this_process_gives_the_accuracies() -> None:
    study = nas.search(**HERE, evaluator=accuracy, trials=3)
    assert study.settings["proxy"] == {"evaluator": "python", "function": f"{__name__}:accuracy"}
    for trial in study.trials:
        assert (trial.accuracy, trial.metadata) == accuracy(trial.architecture)


def test_a_function_in_a_test_or_notebook_has_a_name_too() -> None:
    def constant(_arch: nas.Architecture) -> float:
        return 0.25

    study = nas.search(**HERE, evaluator=constant, trials=2)
    assert {trial.accuracy for trial in study.trials} == {0.25}
    assert "constant" in study.settings["proxy"]["function"]


def test_a_search_may_start_from_architectures() -> None:
    start = nas.load_architecture("start.txt")
    first = nas.search(**HERE, evaluator=accuracy, trials=2, start_from=start).trials[0]
    assert nas.cost(first.architecture).macs <= 2e6
    again = nas.search(**{**HERE, "study": "again"}, evaluator=accuracy, trials=2, start_from=["start.txt", start])
    assert again.trials[0].architecture == first.architecture


def test_a_space_may_be_loaded_before() -> None:
    space = nas.load_space("tiny.yaml", fix={"stage2.layers": 2})
    study = nas.search(space, "flops=2M", evaluator=accuracy, trials=2)
    assert {stage.layers for trial in study.trials for stage in trial.architecture.stages[1:]} == {2}
    again = nas.search("tiny.yaml", "flops=2M", evaluator=accuracy, trials=2, fix={"stage2.layers": 2})
    assert again.name == study.name


# Messages.

DEVICE = {"target": "latency=1ms"}
REFUSED: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "a target's unit": (("--target", "flops=400"), {"target": "flops=400"}),
    "a target's name": (("--target", "speed=400M"), {"target": "speed=400M"}),
    "a target that no network meets": (("--target", "flops=1k"), {"target": "flops=1k"}),
    "an evaluator": (("--evaluator", "magic"), {"evaluator": "magic"}),
    "a zero-cost score": (("--evaluator", "zero-cost:magic"), {"evaluator": "zero-cost:magic"}),
    "a table": (("--evaluator", "table:absent.csv"), {"evaluator": "table:absent.csv"}),
    "a function": (("--evaluator", "python:own:absent"), {"evaluator": "python:own:absent"}),
    "an option of another evaluator": (
        ("--evaluator", "zero-cost:params", "--epochs", "3"),
        {"evaluator": "zero-cost:params", "epochs": 3},
    ),
    "an option of another engine": (("--trial-cpus", "2"), {"trial_cpus": 2.0}),
    "a space": (("--space", "absent"), {"space": "absent"}),
    "a choice": (("--fix", "stage9.kernel=3"), {"fix": {"stage9.kernel": 3}}),
    "a device": (("--target", "latency=1ms", "--device", "warp"), {**DEVICE, "device": "warp"}),
    "an option of a device": (
        ("--target", "latency=1ms", "--device", "cpu:warp=9"),
        {**DEVICE, "device": "cpu:warp=9"},
    ),
    "no device": (("--target", "latency=1ms"), DEVICE),
    "a device without a latency": (("--device", "cpu"), {"device": "cpu"}),
    "a sampler": (("--sampler", "magic"), {"sampler": "magic"}),
    "a precision": (("--precision", "fp7"), {"precision": "fp7"}),
    "w": (("--w", "1"), {"w": 1.0}),
    "a band": (("--band", "1"), {"band": 1.0}),
    "a start": (("--start-from", "efficientnet-b9"), {"start_from": "efficientnet-b9"}),
    "a storage": (("--storage", "nonsense"), {"storage": "nonsense"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_has_the_message_of_the_command(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, options = REFUSED[case]
    own = {"target": TARGET[:2], "space": TARGET[4:6], "band": TARGET[2:4]}
    usual = [word for name, words in own.items() if name not in options for word in words]
    assert by_command(*usual, "--study", "demo", *arguments) == 1
    said = capsys.readouterr().err
    with pytest.raises(nas.NasError) as error:
        nas.search(**{**HERE, **options})
    assert said.endswith(f"nas: {error.value}\n")
    assert not Path("nas.db").exists()


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "trials": ({"trials": 0}, "trials is 0\n  give a whole number from 1 upwards"),
    "a number as text": ({"trials": "20"}, "trials is '20'"),
    "a truth as a number": ({"trials": True}, "trials is True"),
    "seed": ({"seed": -1}, "seed is -1\n  give a whole number from 0 to 2,147,483,647"),
    "proxy_resolution": ({"proxy_resolution": 2}, "proxy_resolution is 2\n  give a whole number from 4 to 1,024"),
    "validation_share": (
        {"validation_share": 0.6},
        "validation_share is 0.6\n  give a number above 0 and at most 0.5",
    ),
    "workers": ({"workers": 0}, "workers is 0"),
    "patience": ({"patience": 0}, "patience is 0"),
    "a chance": ({"patience": "100%"}, "patience is '100%'\n  give a number of trials from 1 upwards, a chance"),
    "a chance without a model": ({"patience": "1%", "sampler": "random"}, "is not known with sampler random"),
    "metric": ({"metric": "recall"}, "metric is 'recall'\n  use accuracy or balanced"),
    "engine": ({"engine": "cluster"}, "engine is 'cluster'\n  use processes or ray"),
    "objective": ({"objective": "magic"}, "objective 'magic'"),
    "pruner": ({"pruner": "magic"}, "unknown pruner 'magic'"),
    "trial_cpus": ({"trial_cpus": 0, "engine": "ray"}, "trial_cpus is 0"),
    "timeout": ({"timeout": "soon"}, "above zero\n  write one like 90s, 45m or 2h"),
    "no target": ({"target": ()}, "a search has no target"),
    "a lambda": ({"evaluator": lambda _arch: 0.5}, "is no function with a name"),
    "no function": ({"evaluator": 3}, "3 is no function with a name"),
    "a start": ({"start_from": 3}, "3 is not an Architecture"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_command_line_refuses_itself_is_refused(case: str) -> None:
    options, words = WRONG[case]
    with pytest.raises(nas.NasError) as error:
        nas.search(**{**HERE, **options})
    assert words in str(error.value)
    assert error.value.remedy
    assert not Path("nas.db").exists()


@pytest.mark.parametrize(
    ("value", "seconds"), [("90s", 90), ("45m", 2700), ("45 min", 2700), ("2h", 7200), ("1.5d", 129_600), (30, 30)]
)
def test_durations_are_texts_with_a_unit_or_seconds(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["", "2", "0s", "-1h", "2 weeks", 0, -3, float("nan"), float("inf"), True])
def test_other_durations_are_refused(value: str | float) -> None:
    with pytest.raises(nas.NasError, match="above zero"):
        parse_duration(value)


def test_numbers_of_numpy_are_stored_as_numbers() -> None:
    import numpy as np

    study = nas.search(**HERE, evaluator="zero-cost:params", trials=np.int64(2), seed=np.int64(1))  # type: ignore[arg-type]
    assert study.settings["seed"] == 1
    assert len(study.trials) == 2


def test_every_option_of_the_command_is_a_field_of_the_request_and_an_argument() -> None:
    import inspect

    from attrs import fields

    options = {option.name for option in command.params if option.expose_value} - {"dry_run", "price", "as_json"}
    names = {
        "starts": "start_from",
        "timeout": "timeout_s",
        "trial_timeout": "trial_timeout_s",
        "cost_timeout": "cost_timeout_s",
    }
    assert {names.get(name or "", name) for name in options} == {field.name for field in fields(SearchRequest)} - {
        "given"
    }
    arguments = {"targets": "target", "devices": "device", "fixes": "fix", "starts": "start_from"}
    own = {*inspect.signature(nas.search).parameters} - {"progress"}
    assert {arguments.get(name or "", name) for name in options} == own


# What is printed and written.

PROGRAM = """
import nas
def accuracy(arch):
    return 1 / (1 + len(arch.stages))
study = nas.search("tiny.yaml", target="flops=2M", evaluator={evaluator}, trials=4, band=0.1{more})
assert len(study.trials) == 4
"""


@pytest.mark.parametrize("evaluator", ["accuracy", "'table:all.csv', ignore_columns='op*'", "'zero-cost:params'"])
def test_a_search_prints_nothing(tmp_path: Path, evaluator: str) -> None:
    assert fresh(PROGRAM.format(evaluator=evaluator, more=""), tmp_path) == ""


def test_a_search_writes_to_its_storage_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    before = set(tmp_path.iterdir())
    fresh(PROGRAM.format(evaluator="accuracy", more=", storage='sqlite:///here/own.db'"), tmp_path)
    assert {path for path in set(tmp_path.iterdir()) - before if path.name != "__pycache__"} == set()
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"own.db", "own-trials"}


def test_progress_is_shown_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    nas.search(**HERE, evaluator="zero-cost:params", trials=3, progress=True)
    said = capfd.readouterr()
    assert said.out == ""
    assert "3/3" in said.err
    assert "zero-cost:params: what is called accuracy is a score" in said.err


def test_messages_of_optuna_are_as_they_were_after_a_search() -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        nas.search(**HERE, evaluator="zero-cost:params", trials=1)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


@pytest.mark.parametrize(
    ("package", "call", "extra"),
    [
        ("torch", "nas.to_torch(arch)", "train"),
        ("onnx", "nas.to_onnx(arch)", "latency"),
        ("torch", "nas.search(target='flops=400M')", "train"),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    tmp_path: Path, package: str, call: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules["{package}"] = None
import nas
arch = nas.load_architecture("mnasnet-small")
try:
    {call}
except nas.MissingPackageError as error:
    print(error)
"""
    said = fresh(program, tmp_path)
    assert f"{package} is not installed" in said
    assert f"pip install 'hwnas[{extra}]'" in said
