"""`nas train` with teachers and unlabeled images, as the real command, which is also killed."""

import signal
from pathlib import Path

import pytest

from nas.weights.stored import write_network
from tests.cli.conftest import Nas, hear
from tests.train.pictures import TINY_TEXT, write_labeled, write_unlabeled
from tests.train.test_teachers import network

ARGUMENTS = ("train", "tiny.txt", "--data", "photos", "--train-on", "cpu", "--recipe", "finetune")
ROUNDS = ("--epochs", "2", "--unlabeled", "more", "--rounds", "2", "--confidence", "0.2")


@pytest.fixture(name="folder")
def _folder(nas: Nas) -> Path:
    (nas.folder / "tiny.txt").write_text(TINY_TEXT)
    write_labeled(nas.folder / "photos")
    write_unlabeled(nas.folder / "more")
    (nas.folder / "empty").mkdir()
    return nas.folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--unlabeled", "empty"), ("of unlabeled images has no image", "JPEG or PNG")),
        (("--unlabeled", "more", "--timeout", "1h"), ("both unlabeled images and a time limit", "--epochs")),
        (("--teacher", "lime.safetensors"), ("has no class 'green'", "nas train lime.safetensors --pretrained")),
        (("--rounds", "3"), ("rounds is 3", "--unlabeled")),
    ],
)
def test_bad_input_is_one_message(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    nas: Nas,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_network(network(("red", "lime", "blue")), folder / "lime.safetensors")
    done = nas.here(*ARGUMENTS, *arguments, "--out", "out", capsys=capsys, monkeypatch=monkeypatch)
    assert done.code == 1
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_rounds_that_are_killed_end_with_the_same_weights(nas: Nas, folder: Path) -> None:
    for stop in ("round 0:", "round 1: ", "epoch 1/2", "round 2: "):
        process = nas.start(*ARGUMENTS, *ROUNDS, "--out", "killed")
        hear(process, stop, seconds=120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = nas(*ARGUMENTS, *ROUNDS, "--out", "killed", "--json")
    assert done.code == 0, done.err
    whole = nas(*ARGUMENTS, *ROUNDS, "--out", "whole", "--json")
    assert whole.code == 0, whole.err
    for round_ in (".", "round-0", "round-1", "round-2"):
        assert tensors(folder / "killed" / round_) == tensors(folder / "whole" / round_)
    assert done.json["noisy_student"][1]["classes"] == whole.json["noisy_student"][1]["classes"]
    assert done.json["test"] == whole.json["test"]


def tensors(folder: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    return {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / "weights.safetensors").items()}
