"""Evaluators in other processes: the images are in memory once, and an evaluator that cannot be sent is an error."""

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from nas.arch.spec import Architecture
from nas.data import room, share
from nas.data.base import ImageData, Images
from nas.data.room import Room
from nas.errors import DataError, NasError
from nas.evaluate.function import FunctionEvaluator
from nas.evaluate.isolated_function import load_function
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
from nas.evaluate.zero_cost.naswot import Naswot
from nas.space.files import find_space, space_names
from nas.train.recipe import Recipe
from tests.contracts.evaluator import ready, sent, told
from tests.evaluate.colors import TINY, make_data
from tests.search.fakes import SMALLEST, make_space

RECIPE = Recipe(batch_size=20)


def in_file(data: ImageData) -> ImageData:
    """Return the data set with memory-mapped images, without a test split."""

    def moved(split: Images) -> Images:
        images = Room(mapped=True).make(tuple(split.images.shape)).copy_(split.images)
        return Images(images, split.labels, mapped=True)

    return attrs.evolve(data, train=moved(data.train), val=moved(data.val), test=None)


def nothing_fits(_size: int) -> bool:
    return False


def mapped_files(images: Any) -> list[str]:
    """Return the names of the files that this process has mapped at the address of a tensor."""
    address = images.data_ptr()
    spans = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return [
        " ".join(span[5:])
        for span in spans
        if int(span[0].split("-")[0], 16) <= address < int(span[0].split("-")[1], 16)
    ]


def write_pixel(evaluator: TrainEvaluator, value: int) -> tuple[list[str], int]:
    """Change a pixel of an image; return the files mapped at the images, and the value before."""
    images = evaluator.data.train.images
    before = int(images[5, 1, 2, 3])
    images[5, 1, 2, 3] = value
    return mapped_files(images), before


def stored(data: ImageData, kind: str, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """Return images in memory, in memory that is too small to be shared ("crowded"), or in a file."""
    if kind == "crowded":
        monkeypatch.setattr(share, "_fit", nothing_fits)
    return in_file(data) if kind == "file" else data


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "file_name"), [("memory", "/torch_"), ("crowded", "/#"), ("file", "/#")])
def test_processes_share_one_copy_of_the_images(
    elsewhere: Executor, monkeypatch: pytest.MonkeyPatch, kind: str, file_name: str
) -> None:
    evaluator = TrainEvaluator(stored(make_data(), kind, monkeypatch), recipe=RECIPE)
    expected = told(evaluator, TINY)
    sendable = evaluator.to_send()
    images = evaluator.data.train.images
    before = int(images[5, 1, 2, 3])
    for value in (7, 9):  # the evaluator can be sent more than once
        assert elsewhere.submit(told, sendable, TINY).result() == expected
        (file,), former = elsewhere.submit(write_pixel, sendable, value).result()
        assert file_name in file
        assert former == before
        assert int(images[5, 1, 2, 3]) == value
        images[5, 1, 2, 3] = before
    assert mapped_files(images) == [file]


@pytest.mark.parametrize("kind", ["memory", "crowded", "file"])
def test_sharing_changes_no_image_and_happens_once(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    plain, data = make_data(), stored(make_data(), kind, monkeypatch)
    share.share(data)
    address = data.train.images.data_ptr()
    share.share(data)
    assert data.train.images.data_ptr() == address
    for one, other in ((plain.train, data.train), (plain.val, data.val)):
        assert torch.equal(one.images, other.images)
        assert one.images.stride() == other.images.stride()


def test_a_slice_of_a_file_is_shared_without_a_copy() -> None:
    data = in_file(make_data())
    part = attrs.evolve(data, train=attrs.evolve(data.train, images=data.train.images[:7], labels=torch.arange(7)))
    copy = sent(TrainEvaluator(part))
    assert isinstance(copy, TrainEvaluator)
    copy.data.train.images[6] = 3
    assert (data.train.images[6] == 3).all()


@pytest.mark.parametrize("kind", ["crowded", "file"])
def test_a_file_that_cannot_be_sent_is_an_error(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    evaluator = TrainEvaluator(stored(make_data(), kind, monkeypatch))
    monkeypatch.setattr(share, "get_sharing_strategy", lambda: "file_system")
    with pytest.raises(DataError, match="cannot be sent\n  take fewer images or pixels, or work with a single process"):
        evaluator.to_send()


def test_images_can_be_memory_mapped_where_files_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "get_all_sharing_strategies", lambda: {"file_system"})
    assert torch.equal(in_file(make_data()).train.images, make_data().train.images)


def test_only_half_of_the_free_memory_is_used_for_sharing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(share, "free_memory", lambda: 1000)
    assert [share._fit(size) for size in (500, 501)] == [True, False]
    monkeypatch.setattr(share, "_FOLDER", tmp_path / "absent")
    assert [share._fit(size) for size in (500, 501)] == [True, False]


def test_callbacks_are_not_sent(tmp_path: Path) -> None:
    def notify(_message: str) -> None:
        raise AssertionError

    def on_batch(_step: int, _steps: int, _loss: float) -> None:
        raise AssertionError

    data, space = make_data(), make_space(SMALLEST)
    train = TrainEvaluator(
        data, recipe=RECIPE, on_batch=on_batch, notify=notify, checkpoints=tmp_path, checkpoint_s=0.0
    )
    supernet = SupernetEvaluator(
        space, data, tmp_path, SupernetRecipe(1, training=RECIPE), on_batch=on_batch, notify=notify
    )
    for evaluator, arch in ((train, TINY), (supernet, space.from_indices([0] * len(space.choices)))):
        with pytest.raises(AttributeError, match="local"):
            pickle.dumps(evaluator)
        copy = sent(evaluator)
        assert copy.describe() == evaluator.describe()
        assert list(copy.evaluate(arch, 1))


def test_a_sent_evaluator_uses_the_same_folder_of_checkpoints(tmp_path: Path) -> None:
    here = TrainEvaluator(make_data(), recipe=RECIPE, checkpoints=tmp_path, checkpoint_s=0.0)
    copy = sent(here)
    accuracies = copy.evaluate(TINY, 3)
    first = next(accuracies)
    steps: list[int] = []
    resumed = attrs.evolve(here, on_batch=lambda step, *_: steps.append(step))
    assert list(resumed.evaluate(TINY, 3)) == [first, *accuracies]
    assert steps[0] == 4  # an epoch has three steps


@pytest.mark.parametrize("name", space_names())
def test_a_space_can_be_sent(name: str) -> None:
    space = find_space(name).for_target(resolution=32, classes=10)
    copy = pickle.loads(pickle.dumps(space))  # noqa: S301 -- pickled in the same line
    indices = space.sample(np.random.default_rng(0), 5).tolist()
    assert [copy.from_indices(row) for row in indices] == [space.from_indices(row) for row in indices]


def test_random_architectures_are_scored_before_sending_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = ZeroCostEvaluator("naswot", make_space(), Naswot(make_data(), images=8), sample=8)
    copy = sent(evaluator)
    scored: list[Architecture] = []
    original = Naswot.scores

    def scores(self: Naswot, arch: Architecture) -> Any:
        scored.append(arch)
        return original(self, arch)

    monkeypatch.setattr(Naswot, "scores", scores)
    assert list(copy.evaluate(TINY, 1)) == list(evaluator.evaluate(TINY, 1))
    assert len(scored) == 2  # the evaluated architecture, once by each evaluator


def hidden(function: Callable[[Architecture], float]) -> Callable[[Architecture], float]:
    def inner(arch: Architecture) -> float:
        return function(arch)

    return inner


@hidden
def decorated(_arch: Architecture) -> float:
    return 0.5


@pytest.mark.parametrize("function", [lambda _arch: 0.5, decorated, threading.Lock().acquire])
def test_a_function_that_another_process_cannot_import_is_an_error(function: Any) -> None:
    with pytest.raises(
        NasError, match=r"mine:f cannot be sent to another process.*\n  define it at the top level"
    ) as raised:
        FunctionEvaluator(function, "mine:f").to_send()
    assert raised.value.remedy


@pytest.mark.slow
def test_another_process_imports_a_function_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sent_function.py").write_text("def accuracy(arch):\n    return 0.25, {'stages': len(arch.stages)}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    evaluator = load_function("sent_function:accuracy")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        assert process.submit(told, ready(evaluator), TINY).result() == told(evaluator, TINY)
