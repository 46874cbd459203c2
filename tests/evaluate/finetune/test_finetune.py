"""Fine-tuning of inherited weights, on images that are small enough to train on in a second."""

import json
import pickle
import time
from collections.abc import Callable, Mapping
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import nas
from nas.arch.spec import Architecture
from nas.data.augment import normalize
from nas.errors import NasError, WeightsError
from nas.evaluate.base import (
    HasMetadata,
    Preparing,
    Reseedable,
    Sendable,
    StepTimed,
    Timed,
    Validating,
)
from nas.evaluate.finetune.evaluator import FinetuneEvaluator
from nas.evaluate.finetune.recipe import FinetuneRecipe
from nas.evaluate.short_training.epochs import EpochEvaluator
from nas.train.first_weights import gate_means_of, inherit_for
from nas.train.loader import resize
from nas.weights.base import Normalization, TrainedNetwork
from tests.contracts.evaluator import OTHER, EvaluatorContract
from tests.evaluate.colors import ARCH
from tests.evaluate.finetune.networks import DATA, RECIPE, SMALLER, make_evaluator, make_source

EPOCHS = 4


class TestContract(EvaluatorContract):
    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def evaluator(self) -> FinetuneEvaluator:
        return make_evaluator(self.folder, source=make_source(OTHER), distill=False)


class TestContractWithTeacher(TestContract):
    def evaluator(self) -> FinetuneEvaluator:
        return make_evaluator(self.folder, source=make_source(OTHER), weights=self.folder / "weights")


def test_it_can_do_what_the_evaluator_that_trains_can(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path)
    for protocol in (HasMetadata, Timed, StepTimed, Validating, Reseedable, Preparing, Sendable):
        assert isinstance(evaluator, protocol)
    assert isinstance(evaluator, EpochEvaluator)
    step = evaluator.seconds_per_step(ARCH)
    assert step is not None
    assert 0 < step < evaluator.seconds_per_epoch(ARCH) < 60


def state_at_start(evaluator: FinetuneEvaluator, arch: Architecture) -> Mapping[str, torch.Tensor]:
    with evaluator._epoch_context(0):
        return evaluator._start(evaluator._adapted(arch), 1, evaluator.recipe).model.state_dict()


def test_a_network_begins_with_the_sources_weights_and_the_images_statistics(tmp_path: Path) -> None:
    source = make_source()
    state = state_at_start(make_evaluator(tmp_path, source=source), ARCH)
    for name, tensor in state.items():
        if name.endswith(("running_mean", "running_var")):
            assert not torch.equal(tensor, source.tensors[name])
        elif "classifier" not in name and "num_batches" not in name:
            assert torch.equal(tensor, source.tensors[name])
    assert not state["head.classifier.weight"].any()
    # The mean of the stem's convolution over the training images, in batches of nearly equal size.
    images = normalize(DATA.train.images, (0.25,) * 3, (0.5,) * 3)
    convolution = torch.nn.functional.conv2d(images, source.tensors["stem.conv.conv.weight"], padding=1)
    mean = convolution.mean((0, 2, 3))
    assert torch.allclose(state["stem.conv.norm.running_mean"], mean, atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "is_inherited"), [(DATA.classes, True), (("one", "two", "three"), False), (None, False)]
)
def test_a_classifier_is_inherited_only_for_the_same_classes(
    classes: tuple[str, ...] | None, is_inherited: bool, tmp_path: Path
) -> None:
    source = make_source(attrs.evolve(ARCH, classes=3), classes)
    state = state_at_start(make_evaluator(tmp_path, source=source), ARCH)
    weight = state["head.classifier.weight"]
    assert torch.equal(weight, source.tensors["head.classifier.weight"]) == is_inherited
    assert bool(weight.any()) == is_inherited


def test_a_network_receives_images_in_proportion_to_its_resolution(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, distill=False, full_resolution=224)
    for arch, pixels in ((ARCH, 8), (SMALLER, 4), (attrs.evolve(ARCH, resolution=448), 16)):
        run = evaluator._start(evaluator._adapted(arch), 1, RECIPE)
        images, _ = run.train.take(slice(0, 3))
        assert torch.equal(images, resize(DATA.train.images[:3], pixels))
    assert list(evaluator.evaluate(SMALLER, 2)) != list(make_evaluator(tmp_path, distill=False).evaluate(SMALLER, 2))


def test_unknown_normalization_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    source = attrs.evolve(make_source(), normalization=None)
    with pytest.raises(WeightsError, match=r"normalization of the pretrained weights is unknown(.|\n)*--normalization"):
        make_evaluator(tmp_path, source=source)


def test_a_network_for_another_number_of_channels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="takes 1 channels, and the images have 3"):
        make_evaluator(tmp_path).evaluate(attrs.evolve(ARCH, in_channels=1), 1)


def test_a_source_for_gray_images_serves_color_images(tmp_path: Path) -> None:
    source = make_source(attrs.evolve(ARCH, in_channels=1))
    evaluator = make_evaluator(tmp_path, source=source)
    assert evaluator.describe()["normalization"] == {"mean": [0.25] * 3, "std": [0.5] * 3}
    assert len(list(evaluator.evaluate(SMALLER, 2))) == 2


def test_the_description_has_all_that_the_accuracies_depend_on(tmp_path: Path) -> None:
    source = make_source()
    described = make_evaluator(tmp_path).describe()
    assert json.loads(json.dumps(described)) == described
    changed = {name: tensor + 1 if "classifier" in name else tensor for name, tensor in source.tensors.items()}
    others: list[dict[str, Any]] = [
        {"source": attrs.evolve(source, tensors=changed)},
        {"source": attrs.evolve(source, normalization=Normalization((0.5,) * 3, (0.5,) * 3))},
        {"distill": False},
        {"full_resolution": 224},
        {"seed": 1},
        {"recipe": FinetuneRecipe(batch_size=10, min_steps=0)},
    ]
    assert all(make_evaluator(tmp_path, **changes).describe() != described for changes in others)
    renamed = attrs.evolve(source, provenance={"source": "another name"})
    same: list[dict[str, Any]] = [
        {"weights": tmp_path / "w"},
        {"folder": tmp_path / "f"},
        {"notify": print},
        {"source": renamed},
    ]
    assert all(make_evaluator(tmp_path, **changes).describe() == described for changes in same)


def interrupt_after(steps: int) -> Callable[[int, int, float], None]:
    def on_batch(step: int, _steps: int, _loss: float) -> None:
        if step == steps:
            raise KeyboardInterrupt

    return on_batch


@pytest.mark.parametrize("step", [3, 8])
def test_an_interrupted_run_ends_with_the_same_accuracies_and_weights(tmp_path: Path, step: int) -> None:
    whole = make_evaluator(tmp_path, weights=tmp_path / "whole")
    expected = list(whole.evaluate(SMALLER, EPOCHS))
    settings: dict[str, Any] = {"weights": tmp_path / "w", "checkpoints": tmp_path / "c", "checkpoint_s": 0.0}
    evaluator = make_evaluator(tmp_path, **settings, on_batch=interrupt_after(step))
    with pytest.raises(KeyboardInterrupt):
        list(evaluator.evaluate(SMALLER, EPOCHS))
    resumed = make_evaluator(tmp_path, **settings)
    assert list(resumed.evaluate(SMALLER, EPOCHS)) == expected
    first, second = (trained(one, SMALLER).tensors for one in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert list((tmp_path / "c").iterdir()) == []


def test_the_checkpoint_of_a_pruned_run_is_removed_when_another_seed_is_trained(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, distill=False, checkpoints=tmp_path / "c", checkpoint_s=0.0)
    next(evaluator.evaluate(SMALLER, EPOCHS))
    (pruned,) = (tmp_path / "c").iterdir()
    list(evaluator.with_seed(1).evaluate(SMALLER, EPOCHS))
    assert not pruned.exists()


def test_gates_are_measured_once_for_all_seeds_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ungated = attrs.evolve(SMALLER, stages=(attrs.evolve(SMALLER.stages[0], gate=None), *SMALLER.stages[1:]))
    expected = [list(make_evaluator(tmp_path, seed=seed).evaluate(ungated, 2)) for seed in (0, 1)]
    evaluator = make_evaluator(tmp_path / "other")
    measured: list[int] = []

    def measure(*arguments: Any) -> Mapping[str, torch.Tensor]:
        measured.append(1)
        return gate_means_of(*arguments)

    monkeypatch.setattr("nas.evaluate.finetune.evaluator.gate_means_of", measure)
    evaluator.prepare()
    sent = pickle.loads(ForkingPickler.dumps(evaluator.to_send()))  # noqa: S301 -- our own
    assert [list(each.evaluate(ungated, 2)) for each in (sent, evaluator.with_seed(1))] == expected
    assert measured == [1]


def test_the_duration_of_a_resumed_run_includes_what_was_trained_before(tmp_path: Path) -> None:
    def on_batch(step: int, _steps: int, _loss: float) -> None:
        if step < 7:
            time.sleep(0.1)  # each of the three steps of the first two epochs
        elif step == 7:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"weights": tmp_path / "w", "checkpoints": tmp_path / "c", "checkpoint_s": 0.0}
    began = time.monotonic()
    accuracies = make_evaluator(tmp_path, **settings, distill=False, on_batch=on_batch).evaluate(SMALLER, EPOCHS)
    for _ in range(2):
        next(accuracies)
        time.sleep(0.5)  # The caller's own work between two epochs is no training.
    with pytest.raises(KeyboardInterrupt):
        next(accuracies)
    resumed = make_evaluator(tmp_path, **settings, distill=False)
    list(resumed.evaluate(SMALLER, EPOCHS))
    seconds = float(trained(resumed, SMALLER).provenance["seconds"])
    assert 0.6 < seconds < time.monotonic() - began - 1


def trained(evaluator: FinetuneEvaluator, arch: Architecture, budget: int = EPOCHS) -> TrainedNetwork:
    path = evaluator.weights_path(arch, budget)
    assert path is not None
    assert evaluator.metadata(arch)["weights"] == path.name
    return nas.load_weights(str(path))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_written_weights_have_the_accuracy_of_the_evaluation(tmp_path: Path, ema: float) -> None:
    recipe = attrs.evolve(RECIPE, ema=ema)
    evaluator = make_evaluator(tmp_path, weights=tmp_path / "new" / "weights", full_resolution=224, recipe=recipe)
    accuracies = list(evaluator.evaluate(SMALLER, EPOCHS))
    network = trained(evaluator, SMALLER)
    assert network.normalization is not None
    # SMALLER has half the full resolution, so it receives images of half the size.
    pixels = resize(DATA.val.images, 4).float() / 255
    with torch.no_grad():
        labels = network.module()(network.normalization.apply(pixels)).argmax(1)
    assert float((labels == DATA.val.labels).double().mean()) == accuracies[-1]
    assert (network.arch.resolution, network.arch.classes, network.classes) == (112, 3, DATA.classes)
    assert network.arch.head == SMALLER.head
    told = {"source": "made up", "data": "colours", "epochs": "4", "seed": "0", "accuracy": str(accuracies[-1])}
    assert (told | {"pixels": "4"}).items() <= network.provenance.items()


def test_every_evaluation_has_its_own_file_and_a_stopped_one_has_none(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, weights=tmp_path / "w", distill=False)
    assert make_evaluator(tmp_path).weights_path(ARCH, 2) is None
    others = (evaluator.weights_path(SMALLER, 2), evaluator.weights_path(ARCH, 3))
    paths = {evaluator.weights_path(ARCH, 2), attrs.evolve(evaluator, seed=1).weights_path(ARCH, 2), *others}
    assert len(paths) == 4
    assert evaluator.with_seed(1).weights_path(ARCH, 2) is None
    next(evaluator.evaluate(ARCH, 2))
    assert not (tmp_path / "w").exists()
    assert evaluator.metadata(ARCH) == {}


def test_weights_that_cannot_be_written_cost_no_accuracy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    evaluator = make_evaluator(tmp_path, weights=tmp_path / "file", distill=False)
    assert list(evaluator.evaluate(SMALLER, 2)) == list(make_evaluator(tmp_path, distill=False).evaluate(SMALLER, 2))
    # Worker processes have no user to report to, so the process of the search reads it from the metadata.
    assert "cannot be written" in evaluator.metadata(SMALLER)["weights_problem"]
    assert "weights" not in evaluator.metadata(SMALLER)


def test_the_metadata_has_the_share_of_inherited_parameters(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, distill=False)
    list(evaluator.evaluate(ARCH, 1))
    state = state_at_start(evaluator, ARCH)
    parameters = {name: tensor.numel() for name, tensor in state.items() if "running" not in name}
    parameters = {name: count for name, count in parameters.items() if "num_batches" not in name}
    fresh = sum(count for name, count in parameters.items() if "classifier" in name)
    assert evaluator.metadata(ARCH) == {"inherited": round(1 - fresh / sum(parameters.values()), 4)}


def test_the_head_and_fresh_parts_have_a_higher_learning_rate(tmp_path: Path) -> None:
    # The second stage has another operator than that of the source, so it begins with random weights.
    other = attrs.evolve(ARCH, stages=(ARCH.stages[0], attrs.evolve(ARCH.stages[1], operator="dsconv")))
    recipe = attrs.evolve(RECIPE, head_rate=3.0, learning_rate=0.5)
    evaluator = make_evaluator(tmp_path, distill=False, recipe=recipe)
    run = evaluator._start(evaluator._adapted(other), 1, recipe)
    run.epoch(1, torch.Generator())
    rates = {id(parameter): group["lr"] for group in run.optimizer.param_groups for parameter in group["params"]}
    last = recipe.learning_rate_at(2.5 / 3)
    for name, parameter in run.model.named_parameters():
        is_higher = name.startswith(("head.", "stages.1."))
        assert rates[id(parameter)] == pytest.approx(3 * last if is_higher else last)
        assert name.startswith(("head.", "stem.", "stages."))


def test_a_sent_evaluator_needs_few_file_descriptors(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    evaluator = make_evaluator(tmp_path, distill=False)
    before, sent = descriptors(), bytes(ForkingPickler.dumps(evaluator.to_send()))
    assert descriptors() - before < 20 < len(evaluator.source.tensors)
    assert list(pickle.loads(sent).evaluate(ARCH, 1)) == list(evaluator.evaluate(ARCH, 1))  # noqa: S301 -- our own


def test_a_classifier_for_other_classes_is_a_reason_why_a_network_is_not_the_same() -> None:
    source = make_source(attrs.evolve(ARCH, classes=3), DATA.classes)
    assert inherit_for(source, source.arch, DATA.classes, seed=0, gates={}).report.exact
    reset = inherit_for(source, source.arch, ("one", "two", "three"), seed=0, gates={})
    assert [str(reason) for reason in reset.report.reasons] == ["The classifier is not inherited."]


def test_a_gate_that_is_removed_is_replaced_by_its_mean_on_the_images(tmp_path: Path) -> None:
    """The mean is that of a forward pass by hand; without images it would be the gate's value for an input of 0."""
    source = make_source()
    evaluator = make_evaluator(tmp_path, source=source, distill=False)
    ungated = attrs.evolve(ARCH, stages=(attrs.evolve(ARCH.stages[0], gate=None), *ARCH.stages[1:]))
    run = evaluator._start(evaluator._adapted(ungated), 1, RECIPE)
    assert source.normalization is not None
    pixels = normalize(DATA.train.images, source.normalization.mean, source.normalization.std)
    seen: list[torch.Tensor] = []
    model = source.module()
    model.get_submodule("stages.0.0.se_gate").register_forward_hook(lambda *call: seen.append(call[-1].mean((0, 2, 3))))
    with torch.no_grad():
        model(pixels)
    expected = source.tensors["stages.0.0.project.conv.weight"] * seen[0][None, :, None, None]
    weight = run.model.state_dict()["stages.0.0.project.conv.weight"]
    torch.testing.assert_close(weight, expected)
    assert gate_means_of(make_source(ungated), DATA, "cpu") == {}
