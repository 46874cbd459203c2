"""Full training runs: their files, their continuation, and what ends them early."""

import errno
import json
import multiprocessing
import os
import resource
import signal
from functools import cache
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp
from typing import Any

import attrs
import pytest
import torch

from nas.errors import EvaluationError, NasError
from nas.models.build import build_model
from nas.train.full import timing, training
from nas.train.full.distributed import Processes
from nas.train.full.folder import FILES, TrainingFolder
from nas.train.full.progress import NAME, read_progress
from nas.train.loop import TrainingRun
from nas.train.recipes.files import load_recipe
from nas.train.recipes.schema import TrainingRecipe
from nas.train.teachers import Task, teacher_of_network
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.sources import load_source
from tests.evaluate.colors import make_data
from tests.train.full.runs import (
    DATA,
    EPOCHS,
    NETWORK,
    RECIPE,
    STEPS,
    Heard,
    StopError,
    accuracies,
    is_equal,
    make_job,
    stop_after,
    train,
    weights,
)

PROCESSES = multiprocessing.get_context("forkserver")


@cache
def uninterrupted() -> tuple[dict[str, torch.Tensor], list[float]]:
    folder = Path(mkdtemp()) / "out"
    progress = train(folder)
    return weights(folder), accuracies(progress.curve)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_run_leaves_the_best_and_the_last_network_with_what_made_them(out: Path) -> None:
    heard = Heard()
    progress = train(out, heard)
    files = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert files == {
        "weights.safetensors",
        "last.safetensors",
        "architecture.json",
        "recipe.yaml",
        "metrics.json",
        NAME,
    }
    best, last = (load_source(str(out / f"{name}.safetensors")).network for name in ("weights", "last"))
    assert best.arch == last.arch == NETWORK
    assert best.classes == DATA.classes
    assert best.normalization == Normalization(DATA.mean, DATA.std)
    assert last.provenance["epoch"] == f"{EPOCHS} of {EPOCHS}"
    assert best.provenance["epoch"] == f"{progress.best_result.epoch} of {EPOCHS}"
    assert best.provenance["recipe"] == (out / "recipe.yaml").read_text()
    assert load_recipe(str(out / "recipe.yaml")) == RECIPE
    assert [one.epoch for one in heard.results] == [1, 2, 3, 4]
    assert heard.left[-1] == 0
    assert heard.left[1] == pytest.approx(2 * fmean(one.seconds for one in heard.results[:2]))
    # The accuracy of the best epoch is that of the stored network on the validation images.
    logits = best.module()(Normalization(DATA.mean, DATA.std).apply(DATA.val.images.float() / 255))
    found = float((logits.argmax(1) == DATA.val.labels).double().mean())
    assert found == pytest.approx(progress.best_result.accuracy)
    assert progress.best_result.accuracy == max(accuracies(progress.curve))


def test_the_curve_has_the_losses_and_the_learning_rates_of_its_steps(out: Path) -> None:
    losses: list[float] = []
    heard = Heard(lambda _step, _steps, loss: losses.append(loss))
    progress = train(out, heard)
    for number, result in enumerate(progress.curve):
        assert result.loss == pytest.approx(fmean(losses[number * STEPS : (number + 1) * STEPS]))
        last = (number * STEPS + STEPS - 0.5) / (EPOCHS * STEPS)
        assert result.learning_rate == pytest.approx(RECIPE.learning_rate_at(last))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["complete"] is False  # the caller tests the network
    assert [row["loss"] for row in metrics["curve"]] == [one.loss for one in progress.curve]


@pytest.mark.parametrize("step", [1, STEPS + 2, EPOCHS * STEPS])
def test_an_interrupted_run_ends_with_the_same_weights(out: Path, step: int) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(step))
    heard = Heard()
    progress = train(out, heard)
    assert is_equal(weights(out), uninterrupted()[0])
    assert accuracies(progress.curve) == uninterrupted()[1]
    finished = (step - 1) // STEPS
    assert len(heard.results) == EPOCHS - finished
    assert any(f"epoch {finished} of {EPOCHS} is done" in text for text in heard.said) == bool(finished)


def test_a_run_that_continues_in_every_epoch_ends_with_the_same_weights(out: Path) -> None:
    for epoch in range(EPOCHS):
        with pytest.raises(StopError):
            train(out, stop_after(epoch * STEPS + 1 + epoch % STEPS))
    train(out)
    assert is_equal(weights(out), uninterrupted()[0])


ALL: dict[str, Any] = {
    "optimizer": "sgd",
    "bias_rate": 2.0,
    "layer_rate": 0.9,
    "flip": "alternating",
    "accumulation": 3,  # batches of 20 and 21 images
    "crop": 0.5,
    "erasing": 0.5,
    "initial_resolution": 0.5,
    "resolution_multiple": 4,
    "dropout": 0.2,
    "drop_path": 0.2,
    "gradient_clip": 5.0,
    "min_steps": 4,
}
POLICIES: dict[str, dict[str, Any]] = {
    "randaugment": {"mixup": 0.2, "cutmix": 1.0},
    "augmix": {"loss": "squared", "augmix_width": 1},
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_with_every_technique_may_be_interrupted_in_each_epoch(tmp_path: Path, policy: str) -> None:
    recipe = attrs.evolve(RECIPE, **ALL, policy=policy, **POLICIES[policy])
    data = attrs.evolve(DATA, flip=True)
    torch.manual_seed(3)
    norm = Normalization(data.mean, data.std)
    other = TrainedNetwork(NETWORK, build_model(NETWORK).state_dict(), data.classes, norm)
    teacher = teacher_of_network("other", other, Task("colors", data.classes, norm), "cpu")
    changes: dict[str, Any] = {"recipe": recipe, "data": data, "teacher": teacher}
    steps = recipe.steps_per_epoch(len(data.train))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    curve = train(whole, **changes).curve
    for epoch in range(EPOCHS):
        torch.manual_seed(epoch)  # what the process drew before has no effect
        with pytest.raises(StopError):
            train(parts, stop_after(epoch * steps + 1 + epoch % steps), **changes)
    assert [one.loss for one in train(parts, **changes).curve] == [one.loss for one in curve]
    assert is_equal(weights(parts), weights(whole))


def test_networks_that_were_not_written_before_a_kill_are_written_later(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(TrainingFolder, "write_best", fail)
        with pytest.raises(StopError):
            train(out)
    assert not (out / "weights.safetensors").exists()
    train(out)
    assert is_equal(weights(out), uninterrupted()[0])


def test_a_complete_run_trains_nothing_and_restores_its_files(out: Path) -> None:
    train(out)
    (out / "weights.safetensors").unlink()
    heard = Heard()
    assert accuracies(train(out, heard).curve) == uninterrupted()[1]
    assert heard.results == []
    assert "is complete (4 epochs): nothing is trained" in heard.said[0]
    assert is_equal(weights(out), uninterrupted()[0])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"arch": attrs.evolve(NETWORK, drop_path=0.1)}, "its architecture is another one"),
        ({"data": make_data(64)}, "its data is another one"),
        ({"recipe": attrs.evolve(RECIPE, learning_rate=0.01)}, "its recipe.learning_rate is 0.003 and not 0.01"),
        ({"recipe": attrs.evolve(RECIPE, epochs=9)}, "its recipe.epochs is 4 and not 9"),
        ({"seed": 3}, "its seed is 0 and not 3"),
        ({"metric": "balanced"}, "its metric is 'accuracy' and not 'balanced'"),
        ({"timeout_s": 60.0}, "its timeout is None and not 60.0"),
    ],
)
def test_the_progress_of_another_run_is_refused_with_what_differs(
    out: Path, changes: dict[str, Any], word: str
) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(STEPS + 1))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(NasError, match="belongs to another training run") as raised:
        train(out, **changes)
    assert word in raised.value.problem
    assert "--out" in raised.value.remedy
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def _damage(values: dict[str, Any], case: str) -> object:
    changed: dict[str, Any] = {
        "epochs": {"epochs": 10**9},
        "no epochs": {"epochs": "4"},
        "halvings": {"halvings": 90_000},
        "curve": {"curve": [{"epoch": 1}]},
        "curve of numbers": {"curve": [1, 2]},
        "gap": {"curve": [{**values["curve"][0], "epoch": 2}]},
        "nan": {"curve": [{**values["curve"][0], "accuracy": float("nan")}]},
        "no curve": {"curve": []},
        "best": {"best": {"a": torch.ones(1)}},
        "last": {"last": [1]},
        "state": {"state": {"model": {}}},
        "optimizer": {"state": {**values["state"], "optimizer": {0: {"exp_avg": torch.zeros(1)}}}},
        "no state": {"state": 3},
        "format": {"format": 99},
    }
    return {**values, **changed[case]}


@pytest.mark.parametrize(
    "case",
    [
        "epochs",
        "no epochs",
        "halvings",
        "curve",
        "curve of numbers",
        "gap",
        "nan",
        "no curve",
        "best",
        "last",
        "state",
        "no state",
        "format",
    ],
)
def test_hostile_values_in_the_progress_are_refused(out: Path, case: str) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(STEPS + 1))
    path = out / NAME
    torch.save(_damage(torch.load(path, weights_only=True), case), path)
    with pytest.raises(NasError) as raised:
        train(out)
    assert str(path) in raised.value.problem
    assert "delete this folder" in raised.value.remedy


class Hostile:
    """Runs a command if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("content", ["code", "cut", "text", "empty"])
def test_a_hostile_progress_file_runs_nothing(out: Path, tmp_path: Path, content: str) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(STEPS + 1))
    path, trace = out / NAME, tmp_path / "trace"
    if content == "code":
        torch.save({"format": 1, "described": "{}", "state": Hostile(trace)}, path)
    else:
        path.write_bytes({"cut": path.read_bytes()[:5000], "text": b"progress", "empty": b""}[content])
    with pytest.raises(NasError, match="is not a complete training run file"):
        train(out)
    assert not trace.exists()


def test_a_disk_that_is_full_from_the_start_is_reported(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NasError("no space", "make some")

    heard = Heard()
    monkeypatch.setattr(training, "write_progress", fail)
    with pytest.raises(NasError, match="no space") as raised:
        train(out, heard)
    assert "repeat the command" in raised.value.remedy
    assert "no space; no epoch is saved yet, and the training run continues" in heard.said


def test_a_full_disk_is_reported_and_keeps_the_last_good_files(out: Path) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(STEPS + 1))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = stop_after(3 * STEPS + 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(StopError):
            train(out, heard)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    problems = [text for text in heard.said if "File too large" in text]
    assert len(problems) == 2  # of the weights at the start, and of the progress after both epochs
    assert all("the files of the former epoch stay, and the training run continues" in text for text in problems)
    train(out)
    assert is_equal(weights(out), uninterrupted()[0])


def test_a_disk_that_is_full_at_the_end_is_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StopError):
        train(out, stop_after(STEPS + 1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(NasError, match="No space left on device"):
            train(out)
    train(out)
    assert is_equal(weights(out), uninterrupted()[0])


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_best_network(out: Path) -> None:
    loss = TrainingRun._loss
    calls = 0

    def fail(run: TrainingRun, *inputs: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        value, logits = loss(run, *inputs)
        return (value * float("nan") if calls == STEPS + 2 else value), logits

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainingRun, "_loss", fail)
        with pytest.raises(EvaluationError, match="the loss is nan in epoch 2, step 5") as raised:
            train(out)
    assert f"the weights of epoch 1 stay in {out}" in raised.value.remedy
    assert load_source(str(out)).network.provenance["epoch"] == f"1 of {EPOCHS}"


def test_a_second_process_is_refused_while_one_trains(out: Path) -> None:
    seen: list[NasError] = []

    def begin_another(step: int, _steps: int, _loss: float) -> None:
        if step == 1:
            with pytest.raises(NasError, match="another process is training in folder") as raised:
                train(out)
            seen.append(raised.value)

    train(out, Heard(begin_another))
    assert "--out" in seen[0].remedy
    assert is_equal(weights(out), uninterrupted()[0])


@pytest.mark.parametrize("name", FILES)
def test_files_of_unknown_origin_are_not_overwritten(name: str, out: Path) -> None:
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(NasError, match=f"has the file {name} and no progress"):
        train(out)
    assert (out / name).read_text() == "mine"


def test_a_run_that_is_interrupted_before_its_first_epoch_ends_leaves_no_files_that_stop_the_next_one(
    out: Path,
) -> None:
    with pytest.raises(StopError):
        train(out, stop_after(1))
    train(out, recipe=attrs.evolve(RECIPE, epochs=1))
    assert {path.name for path in out.iterdir()} >= set(FILES)


def test_memory_that_runs_out_halves_the_images_at_a_time(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = attrs.evolve(RECIPE, batch_size=20)
    step = TrainingRun.step

    def fail(run: TrainingRun, *arguments: Any) -> torch.Tensor:
        if isinstance(run.recipe, TrainingRecipe) and run.recipe.accumulation == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(run, *arguments)

    heard = Heard()
    with monkeypatch.context() as patched:
        patched.setattr(TrainingRun, "step", fail)
        progress = train(out, heard, recipe=recipe)
    assert progress.halvings == 1
    assert "out of memory in epoch 1" in heard.said[0]
    stored = read_progress(out / NAME, make_job(recipe=recipe).describe())
    assert stored is not None
    assert stored.halvings == 1


def test_half_the_images_at_a_time_are_half_of_the_batch_that_suits_the_images() -> None:
    job = make_job(recipe=attrs.evolve(RECIPE, batch_size=512, min_total_steps=1000))
    recipes = [job.recipe_for(EPOCHS, halvings) for halvings in range(4)]
    assert [None if each is None else (each.batch_size, each.accumulation) for each in recipes] == [
        (32, 1),
        (32, 2),
        (32, 4),
        None,  # parts of 4 images
    ]


def test_batches_that_suit_the_images_have_two_images_for_each_process() -> None:
    recipe = attrs.evolve(RECIPE, batch_size=512, min_total_steps=1000)
    assert make_job(recipe=recipe, processes=Processes(16)).batch_size_for(EPOCHS) == 32
    with pytest.raises(NasError, match="a batch has 32 images, and 17 processes"):
        make_job(recipe=recipe, processes=Processes(17))


def test_memory_that_runs_out_with_the_smallest_batch_is_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TrainingRun, "step", fail)
    with pytest.raises(EvaluationError, match="out of memory in epoch 1, and smaller batches are not tried"):
        train(out)


def test_a_time_limit_decides_the_number_of_epochs_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *_: 10.0)
    heard = Heard()
    progress = train(out, heard, timeout_s=36.0)
    assert progress.epochs == 3  # 0.9 times 36 s, less the moment since the start
    assert "an epoch takes about 10 s, so the time limit allows 3 epochs" in heard.said[0]
    assert load_recipe(str(out / "recipe.yaml")).epochs == 3
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *_: 1.0)
    assert train(out, timeout_s=36.0).epochs == 3


def test_a_time_limit_is_planned_with_the_batch_of_the_epochs_that_it_allows(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 61 images: 20 epochs have 20 steps with batches of 61 images, and 5 epochs with batches of 32.
    recipe = attrs.evolve(RECIPE, epochs=20, batch_size=64, min_total_steps=19)
    measured: list[int] = []

    def seconds(_job: object, epochs: int, _write: object) -> float:
        measured.append(epochs)
        return {20: 10.0}.get(epochs, 15.0)

    monkeypatch.setattr(training, "seconds_per_epoch", seconds)
    progress = train(out, recipe=recipe, timeout_s=70.0)
    assert measured == [20, 6]  # 0.9 times 70 s, less the moment since the start
    assert progress.epochs == 4
    assert load_recipe(str(out / "recipe.yaml")) == attrs.evolve(recipe, epochs=4)


def test_a_time_limit_below_an_epoch_is_an_error_with_the_measured_duration(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *_: 12.34)
    with pytest.raises(NasError, match=r"the time limit is 10 s.*one epoch takes about 12\.3 s"):
        train(out, timeout_s=10.0)
    assert not (out / NAME).exists()


def test_the_estimated_duration_counts_steps_validation_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    medians = iter([2.0, 0.5])  # of a step, and of a validated batch
    monkeypatch.setattr(timing, "median_seconds", lambda *_: next(medians))

    def write(run: TrainingRun) -> float:
        written.append(run)
        return 100.0

    seconds = timing.seconds_per_epoch(make_job(), EPOCHS, write)
    (run,) = written
    assert seconds == 2.0 * run.steps_per_epoch + 0.5 * len(run.val_batches()) + 100


def test_a_run_that_inherits_starts_from_the_source_and_its_normalization(out: Path) -> None:
    torch.manual_seed(1)
    norm = Normalization((0.5,) * 3, (0.25,) * 3)
    source = TrainedNetwork(NETWORK, build_model(NETWORK).state_dict(), DATA.classes, norm)
    job = make_job(source=source, source_name="mine", recipe=attrs.evolve(RECIPE, head_rate=3.0))
    run = job.start(job.recipe)
    started = run.model.state_dict()
    for name, tensor in source.tensors.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(started[name], tensor), name
    # The statistics are re-estimated on the images of the task.
    assert not torch.equal(started["stem.conv.norm.running_mean"], source.tensors["stem.conv.norm.running_mean"])
    rates = {group["rate_factor"] for group in run.optimizer.param_groups if group["params"]}
    assert rates == {1.0, 3.0}
    train(out, source=source, source_name="mine")
    network = load_source(str(out)).network
    assert network.normalization == norm
    assert (network.provenance["source"], network.provenance["source_tensors"]) == ("mine", source.digest)


def test_images_that_do_not_fit_the_network_are_refused() -> None:
    with pytest.raises(NasError, match="the images have 3 channels, 8 pixels and 3 classes"):
        make_job(arch=NETWORK.adapted(resolution=16, classes=3))


def _kill_after(folder: Path, step: int) -> None:
    torch.set_num_threads(1)
    train(folder, Heard(lambda at, _steps, _loss: os.kill(os.getpid(), signal.SIGKILL) if at == step else None))


@pytest.mark.slow
def test_a_run_that_is_killed_in_each_epoch_ends_with_the_same_weights(out: Path) -> None:
    for step in (2, STEPS + 1, 2 * STEPS + 3, 3 * STEPS + 2):
        process = PROCESSES.Process(target=_kill_after, args=(out, step))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
    train(out)
    assert is_equal(weights(out), uninterrupted()[0])
