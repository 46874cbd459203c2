"""Trainings that are ended from outside, and what is kept of them: the curve is that of one that never was."""

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
from nas.train.loop import Training
from nas.train.recipe import Recipe
from tests.evaluate.colours import ARCH, TINY, make_data

DATA = make_data(61, lift=30)
RECIPE = Recipe(batch_size=20)  # three steps an epoch
BUDGET, STEPS = 5, 3
PROCESSES = multiprocessing.get_context("forkserver")
RECIPES = {
    "usual": RECIPE,
    "sgd": attrs.evolve(RECIPE, optimizer="sgd", learning_rate=0.05),
    "rmsprop": attrs.evolve(RECIPE, optimizer="rmsprop"),
    "averaged": attrs.evolve(RECIPE, ema=0.9),
    "scaled": attrs.evolve(RECIPE, precision="fp16"),
}


def evaluator(folder: Path | None, **others: Any) -> TrainEvaluator:
    usual = {"data": DATA, "recipe": RECIPE, "checkpoints": folder, "checkpoint_s": 0.0}
    return TrainEvaluator(**{**usual, **others})


class Steps:
    """The losses of a training; after some step it is ended."""

    def __init__(self, last: int = 0, end: Callable[[], object] = lambda: None) -> None:
        self.last, self.end = last, end
        self.losses: list[float] = []

    def __call__(self, step: int, _steps: int, loss: float) -> None:
        self.losses.append(loss)
        if step == self.last:
            self.end()


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def uninterrupted(recipe: Recipe = RECIPE) -> tuple[list[float], list[float]]:
    """Accuracies by the epoch and losses by the step."""
    steps = Steps()
    return list(evaluator(None, recipe=recipe, on_batch=steps).evaluate(ARCH, BUDGET)), steps.losses


def train_until(folder: Path, step: int, end: Callable[[], object] = interrupt, **others: Any) -> list[float]:
    """What is told up to a step, after which the training is ended."""
    told: list[float] = []
    with suppress(KeyboardInterrupt):
        told.extend(evaluator(folder, on_batch=Steps(step, end), **others).evaluate(ARCH, BUDGET))
    return told


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def held(folder: Path) -> Path:
    (path,) = folder.glob("*.training.pt")
    return path


@settings(max_examples=10)
@given(st.integers(1, BUDGET * STEPS), st.integers(1, BUDGET * STEPS))
def test_wherever_a_training_is_ended_its_curve_is_the_same(first: int, second: int) -> None:
    accuracies, losses = uninterrupted()
    with tempfile.TemporaryDirectory() as name:
        for step in (first, second):
            told = train_until(Path(name), step)
            assert told == accuracies[: len(told)]
        last = Steps()
        assert list(evaluator(Path(name), on_batch=last).evaluate(ARCH, BUDGET)) == accuracies
        assert last.losses == losses[len(losses) - len(last.losses) :]
        assert files(Path(name)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_all_that_a_recipe_has_running_is_kept(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    accuracies, losses = uninterrupted(recipe)
    assert train_until(tmp_path, 8, recipe=recipe) == accuracies[:2]
    rest = Steps()
    assert list(evaluator(tmp_path, recipe=recipe, on_batch=rest).evaluate(ARCH, BUDGET)) == accuracies
    assert rest.losses == losses[6:]


def test_what_is_kept_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    train_until(tmp_path, 11)
    rest = Steps()
    said: list[str] = []
    accuracies = evaluator(tmp_path, on_batch=rest, say=said.append).evaluate(ARCH, BUDGET)
    assert list(islice(accuracies, 3)) == uninterrupted()[0][:3]
    assert rest.losses == []
    next(accuracies)
    assert rest.losses == uninterrupted()[1][9:12]
    assert said == []


def test_a_diverging_training_is_given_up_at_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "step", lambda *_: torch.tensor(1e4))
    train_until(tmp_path, 8)
    with pytest.raises(EvaluationError, match="diverged in epoch 4, step 10: the last 10 losses"):
        list(evaluator(tmp_path).evaluate(ARCH, BUDGET))
    assert files(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_killed_training_goes_on_in_another_process(tmp_path: Path, step: int) -> None:
    process = PROCESSES.Process(target=train_until, args=(tmp_path, step, kill))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    rest = Steps()
    assert list(evaluator(tmp_path, on_batch=rest).evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert rest.losses == uninterrupted()[1][6:]
    assert files(tmp_path) == []


def _kill_at_the_second_file(folder: Path) -> None:
    synced: list[int] = []

    def sync(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            kill()

    setattr(os, "fsync", sync)  # noqa: B010 -- this process does nothing else
    train_until(folder, 0)


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_writes_has_its_last_whole_file(tmp_path: Path) -> None:
    process = PROCESSES.Process(target=_kill_at_the_second_file, args=(tmp_path,))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert len(files(tmp_path)) == 2
    rest = Steps()
    assert list(evaluator(tmp_path, on_batch=rest).evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert len(rest.losses) == 4 * STEPS
    assert files(tmp_path) == []


def test_a_training_that_ends_or_fails_leaves_nothing(tmp_path: Path) -> None:
    told = [(accuracy, len(files(tmp_path))) for accuracy in evaluator(tmp_path).evaluate(ARCH, BUDGET)]
    assert told == [(accuracy, 1) for accuracy in uninterrupted()[0]]
    assert files(tmp_path) == []

    def fail() -> None:
        raise EvaluationError("made to fail")

    with pytest.raises(EvaluationError):
        train_until(tmp_path, 8, fail)
    assert files(tmp_path) == []


def test_a_training_of_one_epoch_and_short_ones_are_not_kept(tmp_path: Path) -> None:
    list(evaluator(tmp_path / "one").evaluate(ARCH, 1))
    train_until(tmp_path / "short", 14, checkpoint_s=60.0)
    assert files(tmp_path) == []


def test_a_file_is_written_when_enough_was_trained_since_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 9.0, 11.0, 11.5, 20.0, 22.0, 22.0])  # begun; epochs 1, 2 and written; 3, 4 and written
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    accuracies = evaluator(tmp_path, checkpoint_s=10.0).evaluate(TINY, 6)
    epochs = [
        [torch.load(tmp_path / name, weights_only=True)["epoch"] for name in files(tmp_path)]
        for _ in islice(accuracies, 4)
    ]
    assert epochs == [[], [2], [2], [4]]


def test_a_pruned_trainings_file_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    first = evaluator(tmp_path)
    pruned = first.evaluate(ARCH, BUDGET)
    list(islice(pruned, 2))
    del pruned
    gc.collect()
    assert len(files(tmp_path)) == 1
    next(first.evaluate(TINY, 2))
    assert [torch.load(tmp_path / name, weights_only=True)["epoch"] for name in files(tmp_path)] == [1]
    assert "mbconv r2" not in held(tmp_path).read_bytes().decode("latin-1")


def test_a_caller_that_fails_between_epochs_finds_its_training_again(tmp_path: Path) -> None:
    def follow() -> None:
        for number, _ in enumerate(evaluator(tmp_path).evaluate(ARCH, BUDGET), 1):
            if number == 3:
                raise OSError("the study is locked")

    with pytest.raises(OSError, match="the study is locked"):
        follow()
    gc.collect()
    rest = Steps()
    assert list(evaluator(tmp_path, on_batch=rest).evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert len(rest.losses) == 2 * STEPS


def test_one_that_is_asked_for_again_goes_on_in_the_same_evaluator(tmp_path: Path) -> None:
    steps = Steps()
    again = evaluator(tmp_path, on_batch=steps)
    list(islice(again.evaluate(ARCH, BUDGET), 2))
    assert list(again.evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert len(steps.losses) == BUDGET * STEPS


def test_a_last_pruned_one_goes_when_other_seeds_are_tried(tmp_path: Path) -> None:
    first = evaluator(tmp_path)
    list(islice(first.evaluate(ARCH, BUDGET), 2))
    before = held(tmp_path)
    next(first.with_seed(1).evaluate(ARCH, BUDGET))
    assert held(tmp_path) != before


def test_trainings_are_told_apart(tmp_path: Path) -> None:
    variants = [
        evaluator(tmp_path),
        evaluator(tmp_path, seed=1),
        evaluator(tmp_path, data=make_data(62)),
        evaluator(tmp_path, recipe=RECIPES["sgd"]),
        evaluator(tmp_path, metric="balanced"),
    ]
    begun = [each.evaluate(ARCH, BUDGET) for each in variants]
    begun += [variants[0].evaluate(TINY, BUDGET), variants[0].evaluate(ARCH, BUDGET + 1)]
    for each in begun:
        next(each)
    assert len(files(tmp_path)) == len(begun)


def test_evaluations_that_take_turns_have_a_file_each(tmp_path: Path) -> None:
    both = evaluator(tmp_path)
    turns = list(zip(both.evaluate(ARCH, BUDGET), both.evaluate(TINY, BUDGET), strict=True))
    assert [first for first, _ in turns] == uninterrupted()[0]
    assert files(tmp_path) == []


def test_results_and_descriptions_do_not_depend_on_it(tmp_path: Path) -> None:
    assert evaluator(tmp_path).describe() == evaluator(None).describe()
    assert "checkpoint" not in repr(evaluator(tmp_path).describe())


@pytest.fixture(name="little_memory")
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second epoch on there is memory for half the batch only."""
    epoch = Training.epoch

    def limited(training: Training, number: int, generator: Generator) -> None:
        if number > 1 and training.recipe.batch_size > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        epoch(training, number, generator)

    monkeypatch.setattr(Training, "epoch", limited)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("last", [5, 8, 12, 20, 29])
def test_a_lowered_batch_stays_lowered(tmp_path: Path, last: int) -> None:
    """An epoch of three steps with the larger batch, then five of six."""
    whole = evaluator(None)
    expected = list(whole.evaluate(ARCH, BUDGET))
    assert whole.remarks(ARCH) == {"batch_size": 10}
    assert train_until(tmp_path, last) == expected[: max(1, (last - 1) // 6)]
    steps = Steps()
    rest = evaluator(tmp_path, on_batch=steps)
    assert list(rest.evaluate(ARCH, BUDGET)) == expected
    assert rest.remarks(ARCH) == {"batch_size": 10}
    assert len(steps.losses) == 30 - (last - 1) // 6 * 6


@pytest.mark.usefixtures("little_memory")
def test_what_was_told_with_a_larger_batch_is_kept_too(tmp_path: Path) -> None:
    expected = list(evaluator(None).evaluate(ARCH, BUDGET))
    train_until(tmp_path, 8)
    made = torch.load(held(tmp_path), weights_only=True)
    assert (made["epoch"], made["batch_size"], made["accuracies"]) == (1, 10, expected[:1])


def _is_passed_over(folder: Path, told: str) -> None:
    said: list[str] = []
    steps = Steps()
    accuracies = evaluator(folder, on_batch=steps, say=said.append).evaluate(ARCH, BUDGET)
    next(accuracies)
    assert len(said) == 1
    assert told in said[0]
    assert str(folder) in said[0]
    assert "begins anew" in said[0]
    assert [*islice(accuracies, BUDGET)] == uninterrupted()[0][1:]
    assert steps.losses == uninterrupted()[1]
    assert len(said) == 1
    assert files(folder) == []


@pytest.fixture(name="begun")
def _begun(tmp_path: Path) -> Path:
    """The file of a training that was ended in its third epoch."""
    train_until(tmp_path, 8)
    return held(tmp_path)


@pytest.mark.parametrize("share", [0, 0.0001, 0.001, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_file_that_was_cut_short_is_passed_over(begun: Path, share: float) -> None:
    whole = begun.read_bytes()
    begun.write_bytes(whole[: int(share * len(whole))])
    _is_passed_over(begun.parent, "holds no whole training")


@cache
def written() -> tuple[str, bytes]:
    """The name and the bytes of a training's file after two epochs."""
    with tempfile.TemporaryDirectory() as name:
        train_until(Path(name), 8)
        return held(Path(name)).name, held(Path(name)).read_bytes()


def read_back(whole: bytes) -> bytes | None:
    """What a file gives its training, in bytes."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / written()[0]).write_bytes(whole)
        kept = evaluator(Path(name))._slot(ARCH, BUDGET).read(BUDGET)
    if kept is None:
        return None
    buffer = io.BytesIO()
    torch.save(attrs.asdict(kept, recurse=False), buffer)
    return buffer.getvalue()


@given(st.data())
def test_a_changed_byte_or_length_is_noticed_or_changes_nothing(data: st.DataObject) -> None:
    whole = bytearray(written()[1])
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    assert read_back(bytes(whole)) in (None, read_back(written()[1]))


class Hostile:
    """Makes a file when it is read as a pickle."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.made,)


def test_nothing_that_a_file_holds_is_run(begun: Path) -> None:
    made = begun.with_name("made")
    torch.save({"format": 1, "described": "{}", "state": Hostile(made)}, begun)
    _is_passed_over(begun.parent, "holds no whole training")
    begun.write_bytes(pickle.dumps(Hostile(made)))
    _is_passed_over(begun.parent, "holds no whole training")
    assert not made.exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"format": 2}, "is of format 2, and 1 is known"),
        ({"format": [1]}, "is of format [1], and 1 is known"),
        ({"described": "[]"}, "is of another training"),
        ({"described": "{}"}, "is of another training: its evaluator is None and not 'train'"),
        ({"epoch": 0}, "does not fit"),
        ({"epoch": 3}, "does not fit"),
        ({"epoch": 2.0}, "does not fit"),
        ({"accuracies": [0.5, float("nan")]}, "does not fit"),
        ({"accuracies": [0.5, "1"]}, "does not fit"),
        ({"accuracies": [0.5] * BUDGET}, "does not fit"),
        ({"batch_size": 15}, "does not fit"),
        ({"batch_size": None}, "does not fit"),
        ({"state": {}}, "does not fit"),
        ({"state": []}, "does not fit"),
    ],
)
def test_a_file_that_says_something_else_is_passed_over(begun: Path, changed: dict[str, Any], told: str) -> None:
    torch.save({**torch.load(begun, weights_only=True), **changed}, begun)
    _is_passed_over(begun.parent, told)


@pytest.mark.parametrize("part", ["model", "optimizer", "scaler", "average", "losses"])
def test_a_state_of_another_training_is_passed_over(begun: Path, part: str) -> None:
    recipe = attrs.evolve(RECIPES["averaged"], precision="fp16")
    begun.unlink()
    train_until(begun.parent, 8, recipe=recipe)
    path = held(begun.parent)
    values = torch.load(path, weights_only=True)
    values["state"][part] = {"losses": ["much"], "optimizer": {0: {"exp_avg": torch.zeros(1)}}}.get(part, {})
    torch.save(values, path)
    said: list[str] = []
    accuracies = list(evaluator(begun.parent, recipe=recipe, say=said.append).evaluate(ARCH, BUDGET))
    assert accuracies == uninterrupted(recipe)[0]
    assert len(said) == 1
    assert "does not fit its training" in said[0]


def test_memory_that_runs_out_over_a_file_is_no_broken_file(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_in = Training.take_in

    def lack(training: Training, state: Any) -> None:
        if training.recipe.batch_size == 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        take_in(training, state)

    monkeypatch.setattr(Training, "take_in", lack)
    said: list[str] = []
    made = evaluator(begun.parent, say=said.append)
    lowered = RECIPE.smaller()
    assert lowered is not None
    assert list(made.evaluate(ARCH, BUDGET)) == list(evaluator(None, recipe=lowered).evaluate(ARCH, BUDGET))
    assert (said, made.remarks(ARCH)) == ([], {"batch_size": 10})


def test_a_full_disk_is_told_once_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    said: list[str] = []
    made = evaluator(tmp_path, say=said.append)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert list(made.evaluate(ARCH, BUDGET)) == uninterrupted()[0]
        list(made.evaluate(TINY, BUDGET))
    assert len(said) == 1
    assert "No space left on device; a training that is ended from outside will begin anew" in said[0]
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_leaves_the_last_whole_file(begun: Path) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = begun.read_bytes()
    said: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, usual[1]))
    try:
        accuracies = list(islice(evaluator(begun.parent, say=said.append).evaluate(ARCH, BUDGET), 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert accuracies == uninterrupted()[0][:4]
    assert len(said) == 1
    assert "File too large" in said[0]
    assert begun.read_bytes() == whole
    assert files(begun.parent) == [begun.name]


def test_a_folder_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    assert list(evaluator(tmp_path / "file" / "below", say=said.append).evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert len(said) == 2  # it cannot be read, and then not be made
    said.clear()
    assert list(evaluator(tmp_path / "file", say=said.append).evaluate(ARCH, BUDGET)) == uninterrupted()[0]


def test_too_little_memory_for_a_file_does_not_lower_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(_training: Training) -> None:
        raise MemoryError

    monkeypatch.setattr(Training, "state", lack)
    said: list[str] = []
    made = evaluator(tmp_path, say=said.append)
    assert list(made.evaluate(ARCH, BUDGET)) == uninterrupted()[0]
    assert made.remarks(ARCH) == {}
    assert len(said) == 1
    assert "too little memory" in said[0]


def test_other_errors_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_training: Training) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Training, "state", bug)
        with pytest.raises(RuntimeError, match="a bug"):
            list(evaluator(tmp_path).evaluate(ARCH, BUDGET))
