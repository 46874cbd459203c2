"""Checkpoints of interrupted training runs: the accuracies equal those of an uninterrupted run."""

import errno
import gc
import io
import multiprocessing
import os
import pickle
import resource
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from nas.errors import EvaluationError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, TINY, make_data

DATA = make_data(61, lift=30)
RECIPE = Recipe(batch_size=20)  # three steps in each epoch
EPOCHS, STEPS = 5, 3
PROCESSES = multiprocessing.get_context("forkserver")
RECIPES = {
    "default": RECIPE,
    "sgd": attrs.evolve(RECIPE, optimizer="sgd", learning_rate=0.05),
    "rmsprop": attrs.evolve(RECIPE, optimizer="rmsprop"),
    "averaged": attrs.evolve(RECIPE, ema=0.9),
    "scaled": attrs.evolve(RECIPE, precision="fp16"),
}


def make_evaluator(folder: Path | None, **changes: Any) -> TrainEvaluator:
    defaults = {"data": DATA, "recipe": RECIPE, "checkpoints": folder, "checkpoint_s": 0.0}
    return TrainEvaluator(**{**defaults, **changes})


class Steps:
    """Record the losses of a training run, and call a function after its step number `last`."""

    def __init__(self, last: int = 0, stop: Callable[[], object] = lambda: None) -> None:
        self.last, self.stop = last, stop
        self.losses: list[float] = []

    def __call__(self, step: int, _steps: int, loss: float) -> None:
        self.losses.append(loss)
        if step == self.last:
            self.stop()


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def uninterrupted(recipe: Recipe = RECIPE) -> tuple[list[float], list[float]]:
    """Return the accuracy of each epoch and the loss of each step of an uninterrupted run."""
    steps = Steps()
    return list(make_evaluator(None, recipe=recipe, on_batch=steps).evaluate(ARCH, EPOCHS)), steps.losses


def train_until(folder: Path, step: int, stop: Callable[[], object] = interrupt, **changes: Any) -> list[float]:
    """Train until a step and stop; return the accuracies before it."""
    accuracies: list[float] = []
    with suppress(KeyboardInterrupt):
        accuracies.extend(make_evaluator(folder, on_batch=Steps(step, stop), **changes).evaluate(ARCH, EPOCHS))
    return accuracies


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def checkpoint_of(folder: Path) -> Path:
    (path,) = folder.glob("*.training.pt")
    return path


@settings(max_examples=5)
@given(st.integers(1, EPOCHS * STEPS), st.integers(1, EPOCHS * STEPS))
def test_interruptions_at_any_step_change_no_accuracy(first: int, second: int) -> None:
    accuracies, losses = uninterrupted()
    with tempfile.TemporaryDirectory() as name:
        for step in (first, second):
            first_accuracies = train_until(Path(name), step)
            assert first_accuracies == accuracies[: len(first_accuracies)]
        last = Steps()
        assert list(make_evaluator(Path(name), on_batch=last).evaluate(ARCH, EPOCHS)) == accuracies
        assert last.losses == losses[len(losses) - len(last.losses) :]
        assert files(Path(name)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_the_state_of_every_kind_of_recipe_is_restored(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    accuracies, losses = uninterrupted(recipe)
    assert train_until(tmp_path, 8, recipe=recipe) == accuracies[:2]
    rest = Steps()
    assert list(make_evaluator(tmp_path, recipe=recipe, on_batch=rest).evaluate(ARCH, EPOCHS)) == accuracies
    assert rest.losses == losses[6:]


def test_accuracies_of_the_checkpoint_are_yielded_before_training_continues(tmp_path: Path) -> None:
    train_until(tmp_path, 11)
    rest = Steps()
    messages: list[str] = []
    accuracies = make_evaluator(tmp_path, on_batch=rest, notify=messages.append).evaluate(ARCH, EPOCHS)
    assert list(islice(accuracies, 3)) == uninterrupted()[0][:3]
    assert rest.losses == []
    next(accuracies)
    assert rest.losses == uninterrupted()[1][9:12]
    assert messages == []


def test_a_resumed_run_that_diverges_stops_at_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingRun, "step", lambda *_: torch.tensor(1e4))
    train_until(tmp_path, 8)
    with pytest.raises(EvaluationError, match="diverged in epoch 4, step 10: the mean of the last 10 losses"):
        list(make_evaluator(tmp_path).evaluate(ARCH, EPOCHS))
    assert files(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_killed_run_continues_in_another_process(tmp_path: Path, step: int) -> None:
    process = PROCESSES.Process(target=train_until, args=(tmp_path, step, kill))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    rest = Steps()
    assert list(make_evaluator(tmp_path, on_batch=rest).evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert rest.losses == uninterrupted()[1][6:]
    assert files(tmp_path) == []


def _kill_while_the_second_file_is_written(folder: Path) -> None:
    synced: list[int] = []

    def sync(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            kill()

    setattr(os, "fsync", sync)  # noqa: B010 -- this process runs only this function
    train_until(folder, 0)


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_the_last_complete_file(tmp_path: Path) -> None:
    process = PROCESSES.Process(target=_kill_while_the_second_file_is_written, args=(tmp_path,))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert len(files(tmp_path)) == 2
    rest = Steps()
    assert list(make_evaluator(tmp_path, on_batch=rest).evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert len(rest.losses) == 4 * STEPS
    assert files(tmp_path) == []


def test_a_run_that_ends_or_fails_leaves_no_file(tmp_path: Path) -> None:
    found = [(accuracy, len(files(tmp_path))) for accuracy in make_evaluator(tmp_path).evaluate(ARCH, EPOCHS)]
    assert found == [(accuracy, 1) for accuracy in uninterrupted()[0]]
    assert files(tmp_path) == []

    def fail() -> None:
        raise EvaluationError("the test failed the architecture")

    with pytest.raises(EvaluationError):
        train_until(tmp_path, 8, fail)
    assert files(tmp_path) == []


def test_runs_of_one_epoch_and_short_runs_write_no_file(tmp_path: Path) -> None:
    list(make_evaluator(tmp_path / "one").evaluate(ARCH, 1))
    train_until(tmp_path / "short", 14, checkpoint_s=60.0)
    assert files(tmp_path) == []


def test_a_file_is_written_when_enough_seconds_have_passed_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(
        [0.0, 9.0, 11.0, 11.5, 20.0, 22.0, 22.0]
    )  # start; epochs 1, 2 and after writing; epochs 3, 4 and after writing
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    accuracies = make_evaluator(tmp_path, checkpoint_s=10.0).evaluate(TINY, 6)
    epochs = [
        [torch.load(tmp_path / name, weights_only=True)["epoch"] for name in files(tmp_path)]
        for _ in islice(accuracies, 4)
    ]
    assert epochs == [[], [2], [2], [4]]


def test_the_file_of_a_pruned_run_is_removed_when_the_next_run_starts(tmp_path: Path) -> None:
    first = make_evaluator(tmp_path)
    pruned = first.evaluate(ARCH, EPOCHS)
    list(islice(pruned, 2))
    del pruned
    gc.collect()
    assert len(files(tmp_path)) == 1
    next(first.evaluate(TINY, 2))
    assert [torch.load(tmp_path / name, weights_only=True)["epoch"] for name in files(tmp_path)] == [1]
    assert "mbconv r2" not in checkpoint_of(tmp_path).read_bytes().decode("latin-1")


def test_a_run_continues_after_its_caller_failed_between_epochs(tmp_path: Path) -> None:
    def follow() -> None:
        for number, _ in enumerate(make_evaluator(tmp_path).evaluate(ARCH, EPOCHS), 1):
            if number == 3:
                raise OSError("the study is locked")

    with pytest.raises(OSError, match="the study is locked"):
        follow()
    gc.collect()
    rest = Steps()
    assert list(make_evaluator(tmp_path, on_batch=rest).evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert len(rest.losses) == 2 * STEPS


def test_a_run_continues_when_the_same_evaluator_evaluates_it_again(tmp_path: Path) -> None:
    steps = Steps()
    evaluator = make_evaluator(tmp_path, on_batch=steps)
    list(islice(evaluator.evaluate(ARCH, EPOCHS), 2))
    assert list(evaluator.evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert len(steps.losses) == EPOCHS * STEPS


def test_the_file_of_a_pruned_run_is_removed_when_another_seed_is_trained(tmp_path: Path) -> None:
    first = make_evaluator(tmp_path)
    list(islice(first.evaluate(ARCH, EPOCHS), 2))
    before = checkpoint_of(tmp_path)
    next(first.with_seed(1).evaluate(ARCH, EPOCHS))
    assert checkpoint_of(tmp_path) != before


def test_different_training_runs_have_different_files(tmp_path: Path) -> None:
    variants = [
        make_evaluator(tmp_path),
        make_evaluator(tmp_path, seed=1),
        make_evaluator(tmp_path, data=make_data(62)),
        make_evaluator(tmp_path, recipe=RECIPES["sgd"]),
        make_evaluator(tmp_path, metric="balanced"),
    ]
    runs = [each.evaluate(ARCH, EPOCHS) for each in variants]
    runs += [variants[0].evaluate(TINY, EPOCHS), variants[0].evaluate(ARCH, EPOCHS + 1)]
    for each in runs:
        next(each)
    assert len(files(tmp_path)) == len(runs)


def test_evaluations_in_turn_have_separate_files(tmp_path: Path) -> None:
    both = make_evaluator(tmp_path)
    turns = list(zip(both.evaluate(ARCH, EPOCHS), both.evaluate(TINY, EPOCHS), strict=True))
    assert [first for first, _ in turns] == uninterrupted()[0]
    assert files(tmp_path) == []


def test_the_description_does_not_depend_on_checkpoints(tmp_path: Path) -> None:
    assert make_evaluator(tmp_path).describe() == make_evaluator(None).describe()
    assert "checkpoint" not in repr(make_evaluator(tmp_path).describe())


@pytest.fixture(name="little_memory")
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the full batch run out of memory from the second epoch on."""
    epoch = TrainingRun.epoch

    def limited(run: TrainingRun, number: int, generator: Generator) -> None:
        if number > 1 and run.recipe.batch_size > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        epoch(run, number, generator)

    monkeypatch.setattr(TrainingRun, "epoch", limited)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("last", [5, 12, 29])
def test_a_halved_batch_stays_halved_in_a_resumed_run(tmp_path: Path, last: int) -> None:
    """The run has one epoch of three steps with the full batch, then five epochs of six steps with half of it."""
    uninterrupted_evaluator = make_evaluator(None)
    expected = list(uninterrupted_evaluator.evaluate(ARCH, EPOCHS))
    assert uninterrupted_evaluator.metadata(ARCH) == {"batch_size": 10}
    assert train_until(tmp_path, last) == expected[: max(1, (last - 1) // 6)]
    steps = Steps()
    rest = make_evaluator(tmp_path, on_batch=steps)
    assert list(rest.evaluate(ARCH, EPOCHS)) == expected
    assert rest.metadata(ARCH) == {"batch_size": 10}
    assert len(steps.losses) == 30 - (last - 1) // 6 * 6


@pytest.mark.parametrize("last", [1, 8, EPOCHS * STEPS])
def test_a_resumed_run_knows_which_images_are_correct(tmp_path: Path, last: int) -> None:
    whole, resumed = make_evaluator(None), make_evaluator(tmp_path)
    expected = list(whole.evaluate(ARCH, EPOCHS))
    train_until(tmp_path, last)
    assert list(resumed.evaluate(ARCH, EPOCHS)) == expected
    (first, second) = (evaluator.correct(ARCH) for evaluator in (whole, resumed))
    assert first is not None
    assert second is not None
    assert second.tolist() == first.tolist()
    assert float(second.mean()) == pytest.approx(expected[-1], abs=1e-12)


def test_a_run_that_ended_after_its_last_checkpoint_knows_which_images_are_correct(tmp_path: Path) -> None:
    """A process that is killed with the last accuracy leaves a checkpoint of all epochs."""
    accuracies = make_evaluator(tmp_path).evaluate(ARCH, EPOCHS)
    expected = [next(accuracies) for _ in range(EPOCHS)]
    resumed = make_evaluator(tmp_path)
    assert list(resumed.evaluate(ARCH, EPOCHS)) == expected
    correct = resumed.correct(ARCH)
    assert correct is not None
    assert float(correct.mean()) == pytest.approx(expected[-1], abs=1e-12)


@pytest.mark.usefixtures("little_memory")
def test_after_a_halved_batch_the_correct_images_are_those_of_the_last_accuracy() -> None:
    evaluator = make_evaluator(None)
    last = list(evaluator.evaluate(ARCH, EPOCHS))[-1]
    correct = evaluator.correct(ARCH)
    assert correct is not None
    assert float(correct.mean()) == pytest.approx(last, abs=1e-12)


@pytest.mark.usefixtures("little_memory")
def test_accuracies_of_the_full_batch_are_in_the_checkpoint_too(tmp_path: Path) -> None:
    expected = list(make_evaluator(None).evaluate(ARCH, EPOCHS))
    train_until(tmp_path, 8)
    values = torch.load(checkpoint_of(tmp_path), weights_only=True)
    assert (values["epoch"], values["batch_size"], values["accuracies"]) == (1, 10, expected[:1])


@cache
def written() -> tuple[str, bytes]:
    """Return the name and the bytes of a checkpoint after two epochs."""
    with tempfile.TemporaryDirectory() as name:
        train_until(Path(name), 8)
        return checkpoint_of(Path(name)).name, checkpoint_of(Path(name)).read_bytes()


def check_is_ignored(folder: Path, phrase: str) -> None:
    """Check that a run ignores a checkpoint with a message that contains the phrase, and starts again.

    Two epochs show it: the second one goes on from all that the first one changed.
    """
    messages: list[str] = []
    steps = Steps()
    accuracies = make_evaluator(folder, on_batch=steps, notify=messages.append).evaluate(ARCH, EPOCHS)
    next(accuracies)
    assert len(messages) == 1
    assert phrase in messages[0]
    assert str(folder) in messages[0]
    assert "starts again" in messages[0]
    assert next(accuracies) == uninterrupted()[0][1]
    assert steps.losses == uninterrupted()[1][: 2 * STEPS]
    assert len(messages) == 1


@pytest.fixture(name="checkpoint")
def _checkpoint(tmp_path: Path) -> Path:
    """Return the checkpoint of a run that was interrupted in its third epoch."""
    name, content = written()
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("share", [0, 0.0001, 0.001, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_ignored(checkpoint: Path, share: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    check_is_ignored(checkpoint.parent, "is not a complete training run file")


@cache
def intact() -> bytes | None:
    """Return what a run reads from the file that was written."""
    return read_back(written()[1])


def read_back(content: bytes) -> bytes | None:
    """Return the checkpoint that a run reads from a file with these bytes, saved again as bytes."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / written()[0]).write_bytes(content)
        checkpoint = make_evaluator(Path(name))._checkpoint(ARCH, EPOCHS).read(EPOCHS)
    if checkpoint is None:
        return None
    buffer = io.BytesIO()
    torch.save(attrs.asdict(checkpoint, recurse=False), buffer)
    return buffer.getvalue()


@given(st.data())
def test_a_changed_byte_or_length_is_detected_or_has_no_effect(data: st.DataObject) -> None:
    content = bytearray(written()[1])
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert read_back(bytes(content)) in (None, intact())


class Hostile:
    """Create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_in_a_file_is_run(checkpoint: Path) -> None:
    created = checkpoint.with_name("created")
    torch.save({"format": 1, "described": "{}", "state": Hostile(created)}, checkpoint)
    check_is_ignored(checkpoint.parent, "is not a complete training run file")
    checkpoint.write_bytes(pickle.dumps(Hostile(created)))
    check_is_ignored(checkpoint.parent, "is not a complete training run file")
    assert not created.exists()


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ({"format": 2}, "has format 2; this version reads format 1"),
        ({"format": [1]}, "has format [1]; this version reads format 1"),
        ({"described": "[]"}, "belongs to another training run"),
        ({"described": "{}"}, "belongs to another training run: its evaluator is None and not 'train'"),
        ({"epoch": 0}, "does not fit"),
        ({"epoch": 3}, "does not fit"),
        ({"epoch": 2.0}, "does not fit"),
        ({"accuracies": [0.5, float("nan")]}, "does not fit"),
        ({"accuracies": [0.5, "1"]}, "does not fit"),
        ({"accuracies": [0.5] * EPOCHS}, "does not fit"),
        ({"batch_size": 15}, "does not fit"),
        ({"batch_size": None}, "does not fit"),
        ({"state": {}}, "does not fit"),
        ({"state": []}, "does not fit"),
        ({"seconds": -1.0}, "does not fit"),
        ({"seconds": float("inf")}, "does not fit"),
        ({"seconds": "1"}, "does not fit"),
    ],
)
def test_a_file_with_other_values_is_ignored(checkpoint: Path, changed: dict[str, Any], phrase: str) -> None:
    torch.save({**torch.load(checkpoint, weights_only=True), **changed}, checkpoint)
    check_is_ignored(checkpoint.parent, phrase)


def test_a_file_of_an_earlier_version_without_a_duration_is_used(checkpoint: Path) -> None:
    values = torch.load(checkpoint, weights_only=True)
    assert values.pop("seconds") > 0
    torch.save(values, checkpoint)
    rest = Steps()
    assert list(make_evaluator(checkpoint.parent, on_batch=rest).evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert len(rest.losses) < EPOCHS * STEPS


@pytest.mark.parametrize("part", ["model", "optimizer", "scaler", "average", "losses"])
def test_a_state_that_does_not_fit_the_run_is_ignored(checkpoint: Path, part: str) -> None:
    recipe = attrs.evolve(RECIPES["averaged"], precision="fp16")
    checkpoint.unlink()
    train_until(checkpoint.parent, 8, recipe=recipe)
    path = checkpoint_of(checkpoint.parent)
    values = torch.load(path, weights_only=True)
    values["state"][part] = {"losses": ["much"], "optimizer": {0: {"exp_avg": torch.zeros(1)}}}.get(part, {})
    torch.save(values, path)
    messages: list[str] = []
    accuracies = list(make_evaluator(checkpoint.parent, recipe=recipe, notify=messages.append).evaluate(ARCH, EPOCHS))
    assert accuracies == uninterrupted(recipe)[0]
    assert len(messages) == 1
    assert "does not fit its training run" in messages[0]


def test_running_out_of_memory_while_loading_is_no_mismatch(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = TrainingRun.load_state_dict

    def fail(run: TrainingRun, state: Any) -> None:
        if run.recipe.batch_size == 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        load(run, state)

    monkeypatch.setattr(TrainingRun, "load_state_dict", fail)
    messages: list[str] = []
    evaluator = make_evaluator(checkpoint.parent, notify=messages.append)
    half = RECIPE.with_half_batch()
    assert half is not None
    assert list(evaluator.evaluate(ARCH, EPOCHS)) == list(make_evaluator(None, recipe=half).evaluate(ARCH, EPOCHS))
    assert (messages, evaluator.metadata(ARCH)) == ([], {"batch_size": 10})


def test_a_full_disk_is_reported_once_and_the_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    messages: list[str] = []
    evaluator = make_evaluator(tmp_path, notify=messages.append)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        assert list(evaluator.evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
        list(evaluator.evaluate(TINY, EPOCHS))
    assert len(messages) == 1
    assert "No space left on device; an interrupted training run will start again from its first epoch" in messages[0]
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_keeps_the_last_complete_file(checkpoint: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    content = checkpoint.read_bytes()
    messages: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        accuracies = list(islice(make_evaluator(checkpoint.parent, notify=messages.append).evaluate(ARCH, EPOCHS), 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert accuracies == uninterrupted()[0][:4]
    assert len(messages) == 1
    assert "File too large" in messages[0]
    assert checkpoint.read_bytes() == content
    assert files(checkpoint.parent) == [checkpoint.name]


def test_a_folder_that_cannot_be_used_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    messages: list[str] = []
    assert (
        list(make_evaluator(tmp_path / "file" / "below", notify=messages.append).evaluate(ARCH, EPOCHS))
        == uninterrupted()[0]
    )
    assert len(messages) == 2  # the file cannot be read, and the folder cannot be created
    messages.clear()
    assert list(make_evaluator(tmp_path / "file", notify=messages.append).evaluate(ARCH, EPOCHS)) == uninterrupted()[0]


def test_too_little_memory_for_a_file_does_not_halve_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_run: TrainingRun) -> None:
        raise MemoryError

    monkeypatch.setattr(TrainingRun, "state_dict", fail)
    messages: list[str] = []
    evaluator = make_evaluator(tmp_path, notify=messages.append)
    assert list(evaluator.evaluate(ARCH, EPOCHS)) == uninterrupted()[0]
    assert evaluator.metadata(ARCH) == {}
    assert len(messages) == 1
    assert "too little memory" in messages[0]


def test_unexpected_errors_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_run: TrainingRun) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(TrainingRun, "state_dict", bug)
        with pytest.raises(RuntimeError, match="a bug"):
            list(make_evaluator(tmp_path).evaluate(ARCH, EPOCHS))
