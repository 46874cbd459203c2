"""`nas train`: the real command, its folder, its continuation after kills, and bad input."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import nas as nas_package
from nas.arch.code import parse_text
from nas.studies.trainings import store_training
from nas.weights.base import Normalization, TrainedNetwork
from tests.cli.conftest import Nas, hear, surroundings
from tests.cli.test_cli_pretrained import SEARCH, SHORT, SOURCE, SPACE
from tests.ports import free_port

TINY = """net channels=3 resolution=16 classes=10
stem conv k3 s2 c8
mbconv r1 k3 s2 e2 c8
head pool"""
TRAIN = ("train", "tiny.txt", "--images", "100", "--epochs", "2", "--train-on", "cpu", "--recipe", "quick.yaml")
QUICK = "base: fast\nbatch_size: 20\n"


@pytest.fixture(autouse=True)
def _network(nas: Nas) -> None:
    (nas.folder / "tiny.txt").write_text(TINY)
    (nas.folder / "quick.yaml").write_text(QUICK)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    loaded = {name: nas_package.load_weights(folder / f"{name}.safetensors") for name in ("weights", "last")}
    return {f"{name} {key}": value for name, network in loaded.items() for key, value in network.tensors.items()}


def test_a_network_is_trained_tested_once_and_used_by_other_commands(nas: Nas) -> None:
    ran = nas(*TRAIN)
    assert ran.code == 0, ran.err
    assert ran.err.count("· validation ") == 2
    assert "images/s" in ran.err
    assert "test (359 images): accuracy " in ran.out
    lines = ran.out.splitlines()
    assert lines[-2].endswith("nas evaluate tiny-trained --data digits --robustness")
    assert lines[-1].endswith("nas predict tiny-trained IMAGE")
    folder = nas.folder / "tiny-trained"
    assert sorted(path.name for path in folder.glob("*.html")) == ["confusion.html", "reliability.html"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["complete"] is True
    assert metrics["test"]["assessment"]["images"] == 359
    assert {"confusion.html", "reliability.html"} <= {path.name for path in folder.iterdir()}
    assert 0 <= metrics["test"]["low"] <= metrics["test"]["accuracy"] <= metrics["test"]["high"] <= 1
    again = nas(*TRAIN, "--json")
    assert again.code == 0, again.err
    assert "is complete (2 epochs): nothing is trained" in again.err
    assert again.json == {name: value for name, value in metrics.items() if name != "format"} | {"folder": folder.name}
    shown = nas("weights", "tiny-trained", "--json")
    assert shown.code == 0, shown.err
    assert shown.json["name"] == "tiny-trained"
    assert shown.json["class_names"] == list("0123456789")
    assert nas("show", "tiny-trained", "--json").json["classes"] == 10
    grown = nas("scale", "tiny.txt", "--phi", "1", "--pretrained", "tiny-trained", "--json")
    assert grown.code == 0, grown.err


def test_a_run_that_was_killed_continues_with_the_same_weights(nas: Nas) -> None:
    other = nas(*TRAIN, "--out", "other")
    assert other.code == 0, other.err
    process = nas.start(*TRAIN)
    hear(process, "epoch 1/2")
    process.kill()
    process.communicate()
    ran = nas(*TRAIN)
    assert ran.code == 0, ran.err
    first, second = tensors(nas.folder / "other"), tensors(nas.folder / "tiny-trained")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_of_a_study_continues_from_the_kept_weights_and_stores_its_curve(nas: Nas) -> None:
    arch = parse_text(SOURCE)
    torch.manual_seed(0)
    state = nas_package.to_torch(arch).state_dict()
    network = TrainedNetwork(arch, state, tuple("abcd"), Normalization((0.5,) * 3, (0.5,) * 3))
    nas_package.save_weights(network, nas.folder / "source.safetensors")
    (nas.folder / "near.yaml").write_text(SPACE)
    searched = nas(*SEARCH, *SHORT, "--trials", "2", "--confirm", "0", "--json")
    assert searched.code == 0, searched.err
    number, path = next((key, value) for key, value in searched.json["weights"].items() if key != "baseline")
    words = ("train", f"study:demo:trial={number}", "--images", "100", "--epochs", "1", "--train-on", "cpu", "--json")
    ran = nas(*words)
    assert ran.code == 0, ran.err
    assert f"continues from the weights of trial {number} in {path}" in ran.err
    url = f"sqlite:///{nas.folder / 'nas.db'}"
    kept = nas_package.open_study("demo", storage=url).trainings()
    assert [one["trial"] for one in kept] == [int(number)]
    assert kept[0]["test"] == {name: ran.json["test"][name] for name in ("images", "accuracy", "low", "high")}
    assert len(kept[0]["curve"]) == 1
    trained = nas_package.load_weights(nas.folder / ran.json["folder"])
    assert trained.provenance["source_tensors"] == nas_package.load_weights(path).digest
    # Without the kept weights, or if they are not wanted, the training run begins with random ones.
    Path(path).unlink()
    fresh = nas(*words, "--out", "fresh", "--recipe", "quick.yaml")
    assert fresh.code == 0, fresh.err
    assert "starts from random weights" in fresh.err
    store_training(url, "demo", int(number), "elsewhere", {"curve": []})
    assert len(nas_package.open_study("demo", storage=url).trainings()) == 3


BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "another recipe in the folder": ((*TRAIN, "--seed", "1"), ("its seed is 0 and not 1", "--out")),
    "both limits": ((*TRAIN, "--timeout", "1h"), ("leave out --epochs or --timeout",)),
    "no source": ((*TRAIN, "--pretrained", "nothing"), ("'nothing' is no source of weights", "a folder that")),
    "a normalization of no source": ((*TRAIN, "--normalization", "imagenet"), ("belongs to a pretrained network",)),
    "a recipe that is none": ((*TRAIN[:-1], "nothing"), ("recipe 'nothing' is not known",)),
    "too short a time": (
        ("train", "tiny.txt", "--timeout", "0.001s", "--train-on", "cpu", "--out", "new"),
        ("the time limit is 0.001 s", "one epoch takes about"),
    ),
}


def test_bad_input_is_one_message_and_changes_nothing(nas: Nas) -> None:
    assert nas(*TRAIN).code == 0
    folder = nas.folder / "tiny-trained"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for words, expected in BAD.values():
        nas(*words, "--quiet").refused(*expected)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "progress.training.pt").write_bytes(b"PK\x03\x04 hostile")
    nas(*TRAIN, "--quiet").refused("is not a complete training run file", "delete this folder")


def torchrun(nas: Nas, *words: str) -> "subprocess.CompletedProcess[str]":
    launcher = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
    )
    return subprocess.run(
        [*launcher, "-m", "nas", *words],
        cwd=nas.folder,
        env=surroundings({}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_train_one_network_together(nas: Nas) -> None:
    ran = torchrun(nas, *TRAIN, "--json")
    assert ran.returncode == 0, ran.stderr
    metrics: dict[str, Any] = json.loads(ran.stdout)
    assert metrics["run"]["processes"] == 2
    assert ran.stderr.count("epoch 2/2") == 1
    assert len(metrics["curve"]) == 2
    again = torchrun(nas, *TRAIN, "--json")
    assert "nothing is trained" in again.stderr
    # One process alone would train with other batch-norm statistics.
    nas(*TRAIN, "--quiet").refused("its processes is 2 and not 1")


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_ends_with_the_weights_of_one_that_was_not(nas: Nas) -> None:
    longer = (*TRAIN, "--epochs", "60")
    assert nas(*longer, "--out", "other").code == 0
    draws = random.Random(0)  # noqa: S311 -- moments, not secrets
    codes = []
    for _ in range(3):
        process = nas.start(*longer)
        # The first epoch, or that the training run continues; on a fast machine also that it is complete.
        hear(process, "epoch")
        try:
            process.wait(draws.uniform(0.0, 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        codes.append(process.returncode)
    assert -signal.SIGKILL in codes
    ran = nas(*longer)
    assert ran.code == 0, ran.err
    first, second = tensors(nas.folder / "other"), tensors(nas.folder / "tiny-trained")
    assert all(torch.equal(first[name], second[name]) for name in first)
