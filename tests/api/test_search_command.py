"""Tests that the command which a report shows plans the same search when `nas search` parses it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.api.search import plan_search
from nas.api.search_command import search_command
from nas.cli.search.command import _read_request, command
from nas.studies.records import StudyView
from tests.search.fakes import TINY

DIGITS = ("--data", "digits", "--images", "64", "--proxy-resolution", "16", "--train-on", "cpu")
DEPTH = ("--evaluator", "zero-cost:depth")
SEARCHES = {
    "counted": ("--target", "flops=400M", *DEPTH),
    "two targets": ("--target", "flops=300M", "--target", "params=5M", *DEPTH, "--seed", "7", "--sampler", "random"),
    "precision": ("--target", "size=5MB", "--target", "peak_memory=8MB", "--precision", "int8", *DEPTH),
    "fixed": ("--target", "flops=300M", "--fix", "stage1.kernel=3", "--fix", "stage2.se=0.25", *DEPTH),
    "task": ("--target", "flops=100M", "--resolution", "128", "--classes", "37", *DEPTH),
    "hard": ("--target", "flops=300M", "--objective", "hard", "--w", "-0.5", "--band", "0.75", *DEPTH),
    "front": ("--target", "flops=90M", "--objective", "pareto", "--space", "nasbench_macro", *DEPTH),
    "trained": ("--target", "flops=100M", "--epochs", "2", "--metric", "balanced", "--pruner", "none", *DIGITS),
    "screened": ("--target", "flops=100M", "--evaluator", "zero-cost:naswot+train", "--screen", "20", *DIGITS),
    "around": ("--target", "flops=200M", "--space", "around:efficientnet-lite0", *DEPTH),
    "around, with images": ("--target", "flops=200M", "--space", "around:efficientnet-lite0", *DIGITS),
    "around, at a resolution": (
        "--target",
        "flops=35M",
        "--space",
        "around:mobilenetv2",
        "--resolution",
        "96",
        *DIGITS,
    ),
    "around a source": ("--target", "flops=200M", "--pretrained", "efficientnet-lite0", *DIGITS),
    "file": ("--target", "flops=1.2M", "--band", "0.5", "--space", "tiny.yaml", *DEPTH),
}


def planned(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings that a study of these options would hold."""
    request = _read_request(command.make_context("search", [*words]))
    with plan_search(request) as found:
        return dict(json.loads(json.dumps(dict(found.plan.described))))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_command_of_a_study_has_its_settings(name: str) -> None:
    made = planned(SEARCHES[name])
    found = search_command(StudyView("demo", made, ()), "sqlite:///nas.db")
    assert planned(found.words[1:]) == made
    assert found.words[-2:] == ("--study", "demo")


def test_a_space_of_a_file_is_said_to_be_no_shipped_one() -> None:
    found = search_command(StudyView("demo", planned(SEARCHES["file"]), ()), "sqlite:///nas.db")
    assert any("tiny" in note for note in found.notes)


def test_passwords_and_strange_names_do_not_get_into_the_command() -> None:
    view = StudyView("a 'b'; rm -rf", planned(SEARCHES["counted"]), ())
    text = str(search_command(view, "postgresql+psycopg://me:secret@host/db"))
    assert "secret" not in text
    assert text.startswith("nas search --target flops=400M --space mnasnet ")
    assert """'a '"'"'b'"'"'; rm -rf'""" in text


def test_the_command_of_an_own_cost_and_of_a_device_names_them() -> None:
    limits = [
        {"cost": "energy", "unit": "mJ", "low": 1.0, "high": 12.0, "basis": {"function": "python:meter:energy"}},
        {"cost": "latency_ms", "unit": "ms", "low": 0.0, "high": 8.0, "basis": {"by": "measuring", "machine": "x86"}},
    ]
    settings = {**planned(SEARCHES["counted"]), "targets": ["energy=12mJ", "latency=8ms on cpu:threads=4"]}
    words = search_command(StudyView("demo", {**settings, "limits": limits}, ()), "sqlite:///nas.db").words
    assert words[1:9] == (
        "--target", "energy=12mJ", "--cost", "energy=python:meter:energy",
        "--target", "latency=8ms", "--device", "cpu:threads=4",
    )  # fmt: skip
