"""The teacher of a search: it is trained once, also by several processes and after a process was killed."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import nas
from nas.data.augment import normalize
from nas.errors import NasError
from nas.evaluate.finetune.evaluator import FinetuneEvaluator
from nas.evaluate.finetune.teacher import KIND, compute_outputs
from nas.train.distillation import TeacherOutputs, pooled_features
from tests.evaluate.colors import ARCH
from tests.evaluate.finetune.networks import DATA, SMALLER, make_evaluator, make_source

PROCESSES = multiprocessing.get_context("forkserver")
STEPS = 9  # of the teacher: three epochs of three steps


class Log:
    """Append a line to a file for every step and message, and end the process after a number of steps."""

    def __init__(self, path: Path, last: int = 0) -> None:
        self.path, self.last = path, last

    def line(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{text}\n")

    def step(self, step: int, _steps: int, _loss: float) -> None:
        self.line("step")
        if step == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def logged(folder: Path, name: str = "log", last: int = 0, **changes: Any) -> FinetuneEvaluator:
    log = Log(folder / name, last)
    return make_evaluator(folder, on_batch=log.step, notify=log.line, checkpoint_s=0.0, **changes)


def steps(folder: Path, name: str = "log") -> int:
    return (folder / name).read_text().splitlines().count("step") if (folder / name).exists() else 0


def prepare(folder: Path, name: str, last: int = 0) -> None:
    logged(folder, name, last).prepare()


def outputs(evaluator: FinetuneEvaluator) -> TeacherOutputs:
    evaluator.prepare()
    found = evaluator._held.outputs
    assert found is not None
    return found


def test_a_later_search_reads_the_teacher_again(tmp_path: Path) -> None:
    first = logged(tmp_path)
    assert first.seconds_to_prepare() > 0
    assert first.seconds_prepared() == 0
    made = outputs(first)
    assert steps(tmp_path) >= STEPS
    second = logged(tmp_path, "second")
    assert (second.seconds_to_prepare(), second.seconds_prepared()) == (0, first.seconds_prepared())
    assert second.seconds_prepared() > 0
    read = outputs(second)
    assert torch.equal(read.logits, made.logits)
    assert torch.equal(read.features, made.features)
    assert steps(tmp_path, "second") == 0
    assert "is used again as the teacher" in (tmp_path / "second").read_text()
    renamed = attrs.evolve(make_source(), provenance={"source": "another name"})
    assert outputs(logged(tmp_path, "third", seed=7, source=renamed)).logits.equal(made.logits)
    assert steps(tmp_path, "third") == 0


def test_the_duration_includes_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> TeacherOutputs:
        time.sleep(0.5)
        return compute_outputs(*arguments)

    monkeypatch.setattr("nas.evaluate.finetune.teacher.compute_outputs", slow)
    evaluator = make_evaluator(tmp_path)
    evaluator.prepare()
    (weights,) = (tmp_path / "teacher").glob("*.safetensors")
    trained = float(nas.load_weights(str(weights)).provenance["seconds"])
    assert trained > 0
    assert evaluator.seconds_prepared() >= trained + 0.5


def test_without_distillation_there_is_no_teacher(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, distill=False)
    assert (evaluator.seconds_to_prepare(), evaluator.seconds_prepared()) == (0, 0)
    evaluator.prepare()
    list(evaluator.evaluate(SMALLER, 1))
    assert not (tmp_path / "teacher").exists()


def test_a_teacher_changes_the_training_of_a_network(tmp_path: Path) -> None:
    def losses(**changes: Any) -> list[float]:
        evaluator, found = make_evaluator(tmp_path, **changes), list[float]()
        evaluator.prepare()
        watching = attrs.evolve(evaluator, on_batch=lambda _step, _steps, loss: found.append(loss))
        list(watching.evaluate(SMALLER, 1))
        return found

    assert losses() != losses(distill=False)
    assert losses() == losses()


@pytest.mark.slow
def test_two_processes_train_the_teacher_once(tmp_path: Path) -> None:
    started = [PROCESSES.Process(target=prepare, args=(tmp_path, f"log{i}")) for i in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(240)
    assert [process.exitcode for process in started] == [0, 0]
    assert steps(tmp_path, "log0") + steps(tmp_path, "log1") == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("last", [2, 7])
def test_a_killed_training_continues_with_the_same_teacher(tmp_path: Path, last: int) -> None:
    process = PROCESSES.Process(target=prepare, args=(tmp_path, "killed", last))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    resumed = outputs(logged(tmp_path))
    assert steps(tmp_path) == STEPS - 3 * (last // 3)
    assert torch.equal(resumed.logits, outputs(make_evaluator(tmp_path / "other")).logits)


@pytest.mark.parametrize("flip", [True, False])
def test_the_outputs_are_those_of_the_network_for_images_and_mirrored_images(flip: bool) -> None:
    network = make_source()
    found = compute_outputs(network, attrs.evolve(DATA, flip=flip), 8, "cpu")
    for i, images in enumerate([DATA.train.images, DATA.train.images.flip(3)][: 1 + flip]):
        model = network.module()
        with torch.no_grad(), pooled_features(model) as features:
            logits = model(normalize(images, (0.25,) * 3, (0.5,) * 3))
        assert torch.allclose(found.logits[i], logits, atol=1e-5)
        assert torch.allclose(found.features[i].float(), features[0], atol=1e-3)
    assert found.features.dtype == torch.float16
    assert len(found.logits) == 1 + flip


def test_a_damaged_file_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path)
    evaluator.prepare()
    path = evaluator._teacher.path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NasError, match="not a complete teacher file") as raised:
        make_evaluator(tmp_path).prepare()
    assert raised.value.remedy == KIND.file_remedy


def test_weights_of_another_network_are_no_teacher(tmp_path: Path) -> None:
    """Only the outputs of the teacher were deleted, and its weights were replaced by those of a trial."""
    make_evaluator(tmp_path).prepare()
    (outputs,) = (tmp_path / "teacher").glob("*.teacher.pt")
    (weights,) = (tmp_path / "teacher").glob("*.safetensors")
    other = make_evaluator(tmp_path, weights=tmp_path / "trials")
    list(other.evaluate(SMALLER, 1))
    (trial,) = (tmp_path / "trials").iterdir()
    for content, problem in ((trial.read_bytes(), "holds another network"), (b"cut", "cannot be read")):
        outputs.unlink(missing_ok=True)
        weights.write_bytes(content)
        with pytest.raises(NasError, match=problem) as raised:
            make_evaluator(tmp_path).prepare()
        assert raised.value.remedy == "delete it to fine-tune the source network again"
    weights.unlink()
    make_evaluator(tmp_path).prepare()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NasError, match=r"cannot be (created|read)"):
        make_evaluator(tmp_path, folder=tmp_path / "file").prepare()


def test_the_weights_of_the_teacher_are_a_file_of_a_network(tmp_path: Path) -> None:
    make_evaluator(tmp_path).prepare()
    (path,) = (tmp_path / "teacher").glob("*.safetensors")
    network = nas.load_weights(str(path))
    assert (network.arch.stages, network.classes) == (ARCH.stages, DATA.classes)
