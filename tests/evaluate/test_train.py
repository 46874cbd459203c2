"""The evaluator that trains each network, on images that are small enough to train on in a second."""

import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.data.load import load_images
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator, Timed
from nas.evaluate.short_training import evaluator as module
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train import device, loop
from nas.train.device import find_device
from nas.train.loop import TrainingRun
from nas.train.recipe import OPTIMIZERS, Recipe
from tests.evaluate.colors import ARCH, make_data

SHORT = Recipe(batch_size=8)


@pytest.fixture(name="data")
def _data() -> ImageData:
    return make_data()


def accuracies_of(evaluator: TrainEvaluator, arch: Architecture = ARCH, budget: int = 2) -> list[float]:
    return list(evaluator.evaluate(arch, budget))


def test_networks_learn(data: ImageData) -> None:
    evaluator: Evaluator = TrainEvaluator(data, recipe=SHORT)
    accuracies = list(evaluator.evaluate(ARCH, 6))
    assert len(accuracies) == 6
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)
    assert accuracies[-1] > 0.9


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(data: ImageData, name: str) -> None:
    assert len(accuracies_of(TrainEvaluator(data, recipe=attrs.evolve(SHORT, optimizer=name)))) == 2


def test_a_seed_gives_the_same_losses_and_restores_torchs_generator(data: ImageData) -> None:
    evaluator = TrainEvaluator(data, seed=3, recipe=SHORT)
    torch.manual_seed(1)
    first = last_loss_of(evaluator)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    for _ in evaluator.evaluate(ARCH, 2):
        assert torch.equal(torch.get_rng_state(), before)
    assert last_loss_of(evaluator) == first


def test_evaluations_in_turn_do_not_change_each_others_accuracies(data: ImageData) -> None:
    evaluator = TrainEvaluator(data, recipe=SHORT)
    expected = accuracies_of(evaluator, budget=3)
    turns = zip(evaluator.evaluate(ARCH, 3), attrs.evolve(evaluator, seed=8).evaluate(ARCH, 3), strict=True)
    assert [first for first, _ in turns] == expected


def test_another_seed_gives_another_training_run(data: ImageData) -> None:
    first, second = TrainEvaluator(data, recipe=SHORT), attrs.evolve(TrainEvaluator(data, recipe=SHORT), seed=1)
    assert (first.seed, second.seed) == (0, 1)
    assert last_loss_of(first) != last_loss_of(second)


def last_loss_of(evaluator: TrainEvaluator) -> float:
    losses: list[float] = []
    accuracies_of(attrs.evolve(evaluator, on_batch=lambda _step, _steps, loss: losses.append(loss)))
    return losses[-1]


def test_a_caller_that_stops_causes_no_further_steps(data: ImageData) -> None:
    steps: list[int] = []
    evaluator = TrainEvaluator(data, recipe=SHORT, on_batch=lambda step, _steps, _loss: steps.append(step))
    assert len(list(islice(evaluator.evaluate(ARCH, 5), 2))) == 2
    assert len(steps) == 2 * SHORT.steps_per_epoch(61)


def test_the_callback_receives_every_step(data: ImageData) -> None:
    calls: list[tuple[int, int]] = []
    accuracies_of(TrainEvaluator(data, recipe=SHORT, on_batch=lambda step, steps, _loss: calls.append((step, steps))))
    assert calls == [(step, 14) for step in range(1, 15)]


@pytest.mark.parametrize("count", [2, 7, 9, 17, 33])
def test_no_batch_has_a_single_image_and_no_image_is_left_out(count: int) -> None:
    training_run = TrainingRun(make_data(count), nn.Linear(1, 1), SHORT, 1, "cpu")
    batches = training_run.shuffled_batches(torch.Generator())
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert min(map(len, batches)) >= 2
    pooled = parse_text("net\nstem conv k3 s4 c8\nmbconv k3 s4 e2 c8\nhead conv c8")
    assert len(accuracies_of(TrainEvaluator(make_data(count), recipe=SHORT), pooled)) == 2


def test_a_single_training_image_is_an_error() -> None:
    with pytest.raises(NasError, match="at least two"):
        TrainEvaluator(make_data(1))


def test_a_loss_that_is_not_finite_is_an_error_with_its_epoch(data: ImageData) -> None:
    diverging = Recipe(optimizer="sgd", batch_size=8, learning_rate=1e30, weight_decay=0.5)
    with pytest.raises(EvaluationError, match=r"the loss is (nan|inf) in epoch 1, step \d"):
        accuracies_of(TrainEvaluator(data, recipe=diverging))


def test_a_diverging_run_stops_also_when_its_epochs_are_short(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingRun, "step", lambda *_: torch.tensor(1e4))
    with pytest.raises(
        EvaluationError, match=r"diverged in epoch 2, step 10: the mean of the last 10 losses is 1e\+04"
    ):
        accuracies_of(TrainEvaluator(data, recipe=SHORT), budget=3)


def test_losses_that_are_read_together_give_the_same_results(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, float]] = []
    evaluator = TrainEvaluator(data, recipe=SHORT, on_batch=lambda *step: calls.append(step))
    diverging = attrs.evolve(
        evaluator, recipe=Recipe(optimizer="sgd", batch_size=8, learning_rate=1e30, weight_decay=0.5)
    )

    def outcomes() -> tuple[list[float], str]:
        with pytest.raises(EvaluationError) as caught:
            accuracies_of(diverging)
        return accuracies_of(evaluator), str(caught.value)

    one_by_one = outcomes()
    first_calls = calls.copy()
    calls.clear()
    monkeypatch.setattr(loop, "_LOSSES_READ_TOGETHER", {"cpu": 4})
    assert outcomes() == one_by_one
    assert calls == first_calls


def _raise(error: Exception) -> Callable[..., nn.Sequential]:
    def build(_arch: Architecture) -> nn.Sequential:
        raise error

    return build


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_running_out_of_memory_fails_the_architecture(
    data: ImageData, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(module, "build_model", _raise(error))
    with pytest.raises(EvaluationError, match="out of memory"):
        accuracies_of(TrainEvaluator(data))


def test_unexpected_errors_are_raised(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_model", _raise(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        accuracies_of(TrainEvaluator(data))


def test_bad_input_is_an_error_before_training_starts(data: ImageData) -> None:
    evaluator = TrainEvaluator(data)
    with pytest.raises(NasError, match="takes 1 channels"):
        evaluator.evaluate(attrs.evolve(ARCH, in_channels=1), 1)
    with pytest.raises(NasError, match="at least one"):
        evaluator.evaluate(ARCH, 0)


def test_the_description_is_json_and_differs_between_training_runs(data: ImageData) -> None:
    evaluator = TrainEvaluator(data, recipe=SHORT)
    described = dict(evaluator.describe())
    assert json.loads(json.dumps(described)) == described
    assert described["images"] == {"train": 61, "val": 30}
    assert described["recipe"]["batch_size"] == 8
    others = [attrs.evolve(evaluator, seed=1), TrainEvaluator(data), TrainEvaluator(make_data(62), recipe=SHORT)]
    assert all(other.describe() != described for other in others)
    assert attrs.evolve(evaluator, on_batch=print).describe() == described


def test_the_duration_of_an_epoch_is_estimated(data: ImageData) -> None:
    before = torch.get_rng_state()
    evaluator = TrainEvaluator(data, recipe=SHORT)
    assert isinstance(evaluator, Timed)
    assert 0 < evaluator.seconds_per_epoch(ARCH) < 60
    assert torch.equal(torch.get_rng_state(), before)


def test_a_device_is_found_by_its_name_or_chosen() -> None:
    assert find_device("cpu") == "cpu"
    assert find_device() in {"cpu", "cuda", "mps"}
    with pytest.raises(NasError, match="'abacus' is not available"):
        find_device("abacus")


def test_a_gpu_is_preferred_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "DEVICES", {"cuda": lambda: True, "cpu": lambda: True})
    assert find_device() == "cuda"
    assert find_device("cuda:1") == "cuda:1"


@pytest.mark.slow
def test_three_epochs_on_digits_reach_a_high_accuracy() -> None:
    evaluator = TrainEvaluator(load_images("digits", resolution=32))
    assert list(evaluator.evaluate(preset("efficientnet-b0"), 3))[-1] > 0.9


@pytest.mark.slow
def test_two_epochs_on_cifar_are_far_above_chance() -> None:
    if "NAS_TEST_DATA" not in os.environ:
        pytest.skip("NAS_TEST_DATA does not name the folder of test data")
    data = load_images(str(Path(os.environ["NAS_TEST_DATA"]) / "cifar10_small"), resolution=32, images=2000)
    # Chance is .1, with a standard error of .007 on the 2,000 validation images.
    assert list(TrainEvaluator(data).evaluate(preset("mobilenetv2"), 2))[-1] > 0.16
