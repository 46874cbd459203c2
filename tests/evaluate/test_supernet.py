"""Supernets: networks with slices of shared weights, compared with networks built by hand; training and files."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import define, field
from torch import Tensor
from torch.autograd.profiler import profile
from torch.nn import functional

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS, cost
from nas.data.base import ImageData, Images, fingerprint
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator, Preparing, Timed
from nas.evaluate.supernet.evaluator import METRICS, SupernetEvaluator
from nas.evaluate.supernet.extremes import smallest_and_largest
from nas.evaluate.supernet.places import Places, space_digest
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.training import SupernetTrainingRun
from nas.evaluate.supernet.weights import SharedWeights, initial_weights, without_regularization
from nas.models.build import build_model
from nas.samplers.cost_range import space_chain
from nas.space.decode import SearchSpace, Value
from nas.space.files import find_space, space_names
from nas.train.recipe import Recipe
from nas.weights.statistics import re_estimate
from tests.contracts.evaluator import EvaluatorContract
from tests.evaluate.colors import make_data as larger_data
from tests.search.fakes import SMALLEST, make_space
from tests.train.batches import largest_batch

SHARED, OWN = ("operator",), ("operator", "kernel", "expansion")
RECIPE = SupernetRecipe(epochs=3, training=Recipe(batch_size=20))  # three steps in each epoch
PROCESSES = multiprocessing.get_context("forkserver")

# Two widths, kernels and expansions, a gate or none, and a layer that may be absent.
SPACE = """
name: gated
net: channels=3 resolution=8 classes=3 padding=symmetric bn=0.01/0.001 drop_path=0.2 act=relu
stem: conv k3 s1 c4
head: conv c8 dropout=0.2
stages:
  - {operator: mbconv, kernel: [3, 5], expansion: [2, 4], channels: [4, 6], se: [0, 0.25]}
  - {operator: [absent, conv], kernel: 3, channels: 6}
  - {operator: mbconv, kernel: 3, expansion: 2, stride: 2, channels: 8}
"""
LARGEST_CHOICE: dict[str, Value] = {
    "stage1.kernel": 5,
    "stage1.expansion": 4,
    "stage1.channels": 6,
    "stage1.se": 0.25,
    "stage2.operator": "conv",
}
SMALLEST_CHOICE: dict[str, Value] = {
    "stage1.kernel": 3,
    "stage1.expansion": 2,
    "stage1.channels": 4,
    "stage1.se": 0,
    "stage2.operator": "absent",
}


def colored(count: int) -> Images:
    """Return random images of three classes, each with another brightest channel."""
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 120, (count, 3, 8, 8), generator=torch.Generator().manual_seed(count))
    pixels[torch.arange(count), labels] += 100
    return Images(pixels.to(torch.uint8), labels)


def make_data(train_images: int = 61) -> ImageData:
    parts, classes = (colored(train_images), colored(30)), ("red", "green", "blue")
    return ImageData("colours", classes, *parts, None, (0.35,) * 3, (0.2,) * 3, fingerprint(classes, parts))


DATA = make_data()


@pytest.fixture(name="space", scope="module")
def _space() -> SearchSpace:
    return make_space(SPACE)


def weights(space: SearchSpace, own: Sequence[str] = SHARED) -> SharedWeights:
    """Return shared weights whose batch-norm scales and biases are random, so that none of them is 0 or 1."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        shared = initial_weights(Places(space, tuple(own)), quiet=False)
        for (*_, name), tensor in shared.tensors.items():
            if name.startswith("norm.") or name == "bias":
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return shared


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_the_largest_network_equals_a_model_with_all_the_weights(space: SearchSpace) -> None:
    shared = weights(space)
    indices = space.indices(LARGEST_CHOICE)
    model = build_model(without_regularization(space.from_indices(indices)))
    state = {parameter: shared.tensors[name] for parameter, (name, _) in _slices(shared, indices).items()}
    assert model.load_state_dict(state, strict=False).unexpected_keys == []
    assert len(set(map(id, state.values()))) == len(shared.tensors)
    torch.testing.assert_close(shared.forward(indices, images()), model.train()(images()))


def _slices(shared: SharedWeights, indices: Sequence[int]) -> dict[str, Any]:
    arch = without_regularization(shared.places.space.from_indices(list(indices)))
    return shared.slices(arch, indices, build_model(arch))


def test_a_smaller_network_equals_one_built_by_hand_from_slices(space: SearchSpace) -> None:
    shared = weights(space)
    by_name = {".".join(name): tensor for name, tensor in shared.tensors.items()}

    def normed(values: Tensor, name: str, channels: int) -> Tensor:
        scale, shift = by_name[f"{name}.norm.weight"][:channels], by_name[f"{name}.norm.bias"][:channels]
        return functional.batch_norm(values, None, None, scale, shift, training=True, eps=0.001)

    def conv(values: Tensor, name: str, kernel: Tensor, groups: int = 1, stride: int = 1) -> Tensor:
        result = functional.conv2d(values, kernel, None, stride, kernel.shape[-1] // 2, groups=groups)
        return normed(result, name, len(kernel))

    stem = functional.relu(conv(images(), "stem.conv", by_name["stem.conv.conv.weight"]))
    first, third = "stage1.0.mbconv", "stage3.0.mbconv"
    # 8 of 16 inner channels, the middle 3x3 of a 5x5 kernel, and 4 of 6 output channels.
    inside = functional.relu(conv(stem, f"{first}.expand", by_name[f"{first}.expand.conv.weight"][:8]))
    middle = by_name[f"{first}.depthwise.conv.weight"][:8, :, 1:4, 1:4]
    inside = functional.relu(conv(inside, f"{first}.depthwise", middle, groups=8))
    values = stem + conv(inside, f"{first}.project", by_name[f"{first}.project.conv.weight"][:4, :8])
    # The layer has 4 input channels, and its widest variant has 6.
    inside = functional.relu(conv(values, f"{third}.expand", by_name[f"{third}.expand.conv.weight"][:8, :4]))
    middle = by_name[f"{third}.depthwise.conv.weight"][:8]
    inside = functional.relu(conv(inside, f"{third}.depthwise", middle, groups=8, stride=2))
    values = conv(inside, f"{third}.project", by_name[f"{third}.project.conv.weight"][:, :8])
    values = functional.relu(conv(values, "head.conv", by_name["head.conv.conv.weight"])).mean((2, 3))
    by_hand = functional.linear(values, by_name["head.classifier.weight"], by_name["head.classifier.bias"])
    torch.testing.assert_close(shared.forward(space.indices(SMALLEST_CHOICE), images()), by_hand)


def test_gradients_reach_only_the_weights_that_a_network_uses(space: SearchSpace) -> None:
    shared = weights(space)
    shared.forward(space.indices(SMALLEST_CHOICE), images()).square().sum().backward()  # type: ignore[no-untyped-call]
    reached = {".".join(name): tensor.grad for name, tensor in shared.tensors.items() if tensor.grad is not None}
    assert not [name for name in reached if "se_" in name or name.startswith("stage2")]
    kernel = reached["stage1.0.mbconv.depthwise.conv.weight"].clone()
    assert kernel[:8, :, 1:4, 1:4].count_nonzero() == 8 * 9
    kernel[:8, :, 1:4, 1:4] = 0
    assert kernel.count_nonzero() == 0


def test_options_share_weights_or_have_their_own(space: SearchSpace) -> None:
    shared, separate = Places(space, SHARED), Places(space, OWN)
    indices = [space.indices(SMALLEST_CHOICE | {"stage1.kernel": kernel}) for kernel in (3, 5)]
    assert len({shared.of_network(one) for one in indices}) == 1
    assert len({separate.of_network(one)[1] for one in indices}) == 2
    sizes = {key[0]: node.kernel for key, node in separate.widest.items() if key[1] == "depthwise"}
    assert {place: kernel for place, kernel in sizes.items() if place.startswith("stage1")} == {
        f"stage1.0.mbconv-{kernel}-{expansion:.1f}": kernel for kernel in (3, 5) for expansion in (2, 4)
    }


def test_an_absent_layer_does_not_move_the_places_of_later_layers(space: SearchSpace) -> None:
    places = Places(space, OWN)
    without, with_layer = (
        places.of_network(space.indices(SMALLEST_CHOICE | {"stage2.operator": word})) for word in ("absent", "conv")
    )
    assert without == (with_layer[0], with_layer[1], *with_layer[3:])


def test_a_residual_branch_starts_at_zero_only_if_it_is_one_in_all_networks(space: SearchSpace) -> None:
    assert Places(space, SHARED).residual_ends == set()  # with 6 channels stage1 has no skip, because its input has 4
    always = make_space(SPACE.replace("channels: [4, 6]", "channels: 4"))
    assert Places(always, SHARED).residual_ends == {("stage1.0.mbconv", "project")}
    shared = initial_weights(Places(always, SHARED), quiet=True)
    assert shared.tensors["stage1.0.mbconv", "project", "norm.weight"].count_nonzero() == 0
    assert shared.tensors["stage3.0.mbconv", "project", "norm.weight"].count_nonzero() == 8
    assert shared.tensors["head", "classifier", "weight"].count_nonzero() == 0


@pytest.mark.parametrize("seed", range(5))
def test_fair_steps_train_every_option_equally_often(seed: int) -> None:
    space = find_space("nasbench_macro")
    paths = SupernetRecipe(sampling="fair").paths(space, torch.Generator().manual_seed(seed))
    assert [sorted(column) for column in zip(*paths, strict=True)] == [
        list(range(len(choice.values))) * (3 // len(choice.values)) for choice in space.all_choices
    ]


def test_fair_steps_train_options_of_a_smaller_choice_equally_often_give_or_take_once(space: SearchSpace) -> None:
    wide = make_space(SPACE.replace("kernel: [3, 5]", "kernel: [3, 5, 7]"))
    paths = SupernetRecipe(sampling="fair").paths(wide, torch.Generator())
    assert len(paths) == 3
    counts = [np.unique(column, return_counts=True)[1] for column in zip(*paths, strict=True)]
    assert all(count.max() - count.min() <= 1 for count in counts)
    assert len(SupernetRecipe(sampling="uniform").paths(space, torch.Generator())) == 1


@pytest.mark.parametrize("name", space_names())
def test_the_smallest_and_largest_network_have_the_fewest_and_most_macs(name: str) -> None:
    space = find_space(name)
    assert tuple(cost(space.from_indices(indices)).macs for indices in smallest_and_largest(space)) == MACS.span(
        space_chain(space)
    )


def test_a_sandwich_step_has_the_largest_the_smallest_and_two_random_networks(space: SearchSpace) -> None:
    paths = SupernetRecipe(sampling="sandwich").paths(space, torch.Generator().manual_seed(0))
    assert len(paths) == 4
    assert list(paths[:2]) == [space.indices(LARGEST_CHOICE), space.indices(SMALLEST_CHOICE)]
    assert len({*paths}) > 2


@define(eq=False)
class RecordedWeights(SharedWeights):
    """Record the choice indices and images of every call of `forward`."""

    calls: list[tuple[Sequence[int], Tensor]] = field(factory=list)

    def forward(self, indices: Sequence[int], images: Tensor) -> Tensor:
        self.calls.append((indices, images))
        return super().forward(indices, images)


def test_in_a_sandwich_step_the_other_networks_learn_predictions_of_the_largest(space: SearchSpace) -> None:
    training = Recipe(optimizer="sgd", batch_size=20, weight_decay=0, label_smoothing=0.1)
    shared, by_hand = weights(space), weights(space)
    recorded = RecordedWeights(shared.places, shared.tensors)
    SupernetTrainingRun(DATA, recorded, SupernetRecipe(1, "sandwich", training=training), 0, "cpu").step(
        torch.arange(12), 0.01, torch.Generator().manual_seed(0)
    )
    (largest, first_images), *others = recorded.calls
    teacher = by_hand.forward(largest, first_images)
    target = 0.9 * functional.one_hot(DATA.train.labels[:12], 3) + 0.1 / 3
    losses = [-(target * teacher.log_softmax(1)).sum(1).mean()]
    for indices, images in others:
        student = by_hand.forward(indices, images).log_softmax(1)
        losses.append(-(teacher.detach().softmax(1) * student).sum(1).mean())
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    for name, tensor in by_hand.tensors.items():
        assert tensor.grad is not None  # the largest network uses all weights
        # With Nesterov momentum the first step is 1 + 0.9 times the gradient.
        torch.testing.assert_close(shared.tensors[name], (tensor - 0.01 * 1.9 * tensor.grad).detach())


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"sampling": "lucky"}, "sampling of the supernet's recipe is 'lucky'"),
        ({"own": ("kernel",)}, "operator, and any"),
        ({"epochs": 0}, "must be 1 or more"),
    ],
)
def test_a_recipe_value_outside_its_range_is_an_error(changes: dict[str, Any], phrase: str) -> None:
    with pytest.raises(NasError, match=phrase):
        SupernetRecipe(**changes)


def test_calibrated_statistics_are_the_mean_of_those_of_the_batches(space: SearchSpace) -> None:
    shared, indices = weights(space), space.indices(SMALLEST_CHOICE)
    model = shared.model(space.from_indices(indices), indices).eval()
    batches = [images(4), images(6) + 1]
    re_estimate(model, batches)
    with torch.no_grad():
        outputs = [
            functional.conv2d(batch, shared.tensors["stem", "conv", "conv.weight"], padding=1) for batch in batches
        ]
    norm = model.get_submodule("stem.conv.norm")
    means = [one.mean((0, 2, 3)) for one in outputs]
    variances = [one.var((0, 2, 3), unbiased=True) for one in outputs]
    torch.testing.assert_close(norm.running_mean, (means[0] + means[1]) / 2)
    torch.testing.assert_close(norm.running_var, (variances[0] + variances[1]) / 2)
    assert not model.training


def test_large_images_come_in_small_batches_and_are_not_kept(space: SearchSpace, tmp_path: Path) -> None:
    """At 128 pixels a batch has at most a quarter of the images that a batch of small images has."""
    data = larger_data(130, side=128, val_images=130)
    evaluator = make_evaluator(tmp_path, data=data, space=space)
    untrained, arch = evaluator._trainer.initial_weights(), space.from_indices(space.indices(SMALLEST_CHOICE))
    model = evaluator._model(untrained, arch)
    assert largest_batch(lambda: evaluator._model(untrained, arch)) == 65  # of two equal batches
    with profile(profile_memory=True) as profiled:
        assert largest_batch(lambda: evaluator._values(model, 128)) == 125
    # Each event has what it allocated less what it released.
    left = [event.self_cpu_memory_usage for event in profiled.key_averages()]
    assert sum(left) < data.val.images.nbytes / 10 < max(left)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "mnasnet")) for name in space_names()]
)
def test_networks_of_every_shipped_space_are_slices_of_shared_weights(name: str) -> None:
    space = find_space(name).for_target(resolution=32, classes=10)
    shared = initial_weights(Places(space, OWN), quiet=True)
    for indices in space.sample(np.random.default_rng(0), 3).tolist():
        arch = without_regularization(space.from_indices(indices))
        with torch.device("meta"):
            slices = shared.slices(arch, indices, build_model(arch))
        for key, shape in slices.values():
            assert all(small <= large for small, large in zip(shape, shared.tensors[key].shape, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", space_names())
def test_a_step_trains_the_weights_of_every_shipped_space(name: str) -> None:
    space = find_space(name).for_target(resolution=8, classes=3)
    shared = initial_weights(Places(space, OWN), quiet=True)
    training = SupernetTrainingRun(DATA, shared, RECIPE, 0, "cpu")
    before = {key: tensor.clone() for key, tensor in shared.tensors.items()}
    assert 0 < training.step(torch.arange(8), 1e-3, torch.Generator()) < 10
    changed = [key for key, tensor in shared.tensors.items() if not torch.equal(tensor, before[key])]
    assert ("head", "classifier", "weight") in changed
    assert all(tensor.isfinite().all() for tensor in shared.tensors.values())


def make_evaluator(folder: Path, **changes: Any) -> SupernetEvaluator:
    defaults = {"space": make_space(SMALLEST), "data": DATA, "folder": folder, "recipe": RECIPE}
    return SupernetEvaluator(**{**defaults, **changes})


def archs() -> list[Architecture]:
    space = make_space(SMALLEST)
    return [space.from_indices(indices) for indices in space.enumerate()]


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the weights of `make_evaluator`."""
    folder = tmp_path_factory.mktemp("nas-supernets")
    make_evaluator(folder).prepare()
    return folder


class TestSupernetEvaluator(EvaluatorContract):
    epochs = 1

    @pytest.fixture(autouse=True)
    def _folder(self, trained: Path) -> None:
        self.folder = trained

    def evaluator(self) -> Evaluator:
        return make_evaluator(self.folder)

    def architectures(self) -> Sequence[Architecture]:
        return archs()[1:]


def test_one_training_serves_all_targets(trained: Path) -> None:
    messages: list[str] = []
    steps: list[int] = []
    again = make_evaluator(trained, notify=messages.append, on_batch=lambda step, *_: steps.append(step))
    accuracy = next(again.evaluate(archs()[0], 1))
    larger = make_evaluator(trained, space=make_space(SMALLEST).for_target(resolution=224, classes=1000))
    arch = archs()[0].adapted(resolution=224, classes=1000)
    assert next(larger.evaluate(canonical(arch), 1)) == accuracy
    assert steps == []
    assert len(messages) == 1
    assert "is used again" in messages[0]


def test_durations_of_training_and_evaluation_are_estimated(trained: Path, tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path)
    assert isinstance(evaluator, Timed)
    assert isinstance(evaluator, Preparing)
    assert 0 < evaluator.seconds_per_epoch(archs()[0]) < 60
    assert 0 < evaluator.seconds_to_prepare() < 60
    assert evaluator.seconds_prepared() == 0
    assert list(tmp_path.iterdir()) == []
    assert make_evaluator(trained).seconds_to_prepare() == 0
    assert make_evaluator(trained).seconds_prepared() > 0


def test_shared_weights_learn(tmp_path: Path) -> None:
    recipe = SupernetRecipe(epochs=12, training=Recipe(batch_size=8))
    long = make_evaluator(tmp_path, recipe=recipe, metric="accuracy")
    assert next(long.evaluate(archs()[-1], 1)) > 0.8


def test_supernets_with_different_weights_have_different_files(trained: Path) -> None:
    variants = (
        {"seed": 1},
        {"data": make_data(62)},
        {"recipe": attrs.evolve(RECIPE, sampling="fair")},
        {"space": make_space()},
    )
    paths = {make_evaluator(trained, **changes).path for changes in variants} | {make_evaluator(trained).path}
    assert len(paths) == 5
    assert space_digest(make_space()) != space_digest(make_space().fix({"stage1.kernel": 3}))


@pytest.mark.parametrize("metric", METRICS)
def test_the_weights_of_a_network_give_its_accuracy(trained: Path, metric: str) -> None:
    evaluator = make_evaluator(trained, metric=metric)
    arch = archs()[-1]
    model = build_model(canonical(arch.adapted(resolution=8, classes=3)))
    model.load_state_dict(evaluator.weights_of(arch))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (DATA.mean, DATA.std))
    with torch.no_grad():
        logits = model.eval()((DATA.val.images / 255 - mean) / std)
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    by_hand = {
        "probability": [float(row[label]) for row, label in zip(probabilities, DATA.val.labels, strict=True)],
        "accuracy": [float(row.argmax() == label) for row, label in zip(logits, DATA.val.labels, strict=True)],
    }[metric]
    assert next(evaluator.evaluate(arch, 1)) == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-6)
    assert evaluator.describe()["verdict"]["score"] == metric


def test_an_architecture_of_another_space_is_an_error(trained: Path) -> None:
    with pytest.raises(EvaluationError, match="is not in space"):
        next(make_evaluator(trained).evaluate(parse_text("net\nstem conv k3 s2 c8\nconv c8\nhead pool"), 1))


def test_grayscale_networks_no_epochs_and_an_unknown_metric_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="no metric 'guess'") as raised:
        make_evaluator(tmp_path, metric="guess")
    assert raised.value.remedy == "use probability or accuracy"
    with pytest.raises(NasError, match="take 1 channels"):
        make_evaluator(tmp_path, space=make_space(SMALLEST.replace("channels=3", "channels=1")))
    with pytest.raises(NasError, match="budget is 0"):
        make_evaluator(tmp_path).evaluate(archs()[0], 0)


def _train_until(folder: Path, step: int) -> None:
    """Train, and kill this process with SIGKILL after a step."""

    def count(done: int, _steps: int, _loss: float) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    make_evaluator(folder, on_batch=count).prepare()


def content_of(folder: Path) -> dict[str, Any]:
    """Return the number of epochs and the weights in the supernet's file."""
    values = torch.load(make_evaluator(folder).path, weights_only=True)
    epoch = {"epoch": torch.tensor(values["epoch"])}
    return epoch | {".".join(k): t for k, t in zip(values["names"], values["tensors"], strict=True)}


def are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two contents are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, trained: Path) -> None:
    def interrupt(step: int, _steps: int, _loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_evaluator(tmp_path, on_batch=interrupt).prepare()
    assert content_of(tmp_path)["epoch"] == 1
    messages: list[str] = []
    make_evaluator(tmp_path, notify=messages.append).prepare()
    assert "the training of the supernet of space smallest continues after epoch 1 of 3" in messages[0]
    assert are_equal(content_of(tmp_path), content_of(trained))


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, trained: Path) -> None:
    process = PROCESSES.Process(target=_train_until, args=(tmp_path, 8))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert content_of(tmp_path)["epoch"] == 2
    make_evaluator(tmp_path).prepare()
    assert are_equal(content_of(tmp_path), content_of(trained))
    assert not list(tmp_path.glob(".*.new"))


def _train_while_another_waits(folder: Path) -> None:
    """Train, with a first step that lasts until another process has reported that it waits."""

    def hold(done: int, _steps: int, _loss: float) -> None:
        (folder / f"{os.getpid()}-{done}.step").touch()
        start = time.monotonic()
        while done == 1 and not list(folder.glob("*.waits")) and time.monotonic() - start < 60:
            time.sleep(0.05)

    def notify(message: str) -> None:
        if "another process is training" in message:
            (folder / f"{os.getpid()}.waits").touch()

    make_evaluator(folder, on_batch=hold, notify=notify).prepare()


@pytest.mark.slow
def test_one_of_two_processes_trains_and_the_other_waits_for_the_weights(tmp_path: Path, trained: Path) -> None:
    processes = [PROCESSES.Process(target=_train_while_another_waits, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("*.waits"))) == 1
    assert len(list(tmp_path.glob("*.step"))) == 9  # three epochs of three steps, in one process only
    assert are_equal(content_of(tmp_path), content_of(trained))


@pytest.fixture(name="copied")
def _copied(trained: Path, tmp_path: Path) -> SupernetEvaluator:
    """Return an evaluator whose file of weights exists already."""
    evaluator = make_evaluator(tmp_path)
    evaluator.path.write_bytes(make_evaluator(trained).path.read_bytes())
    return evaluator


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_an_error_with_a_remedy(copied: SupernetEvaluator, share: float) -> None:
    content = copied.path.read_bytes()
    copied.path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(NasError, match="not a complete supernet file") as raised:
        copied.prepare()
    assert "delete it to train the supernet again" in raised.value.remedy


@pytest.mark.parametrize("content", [b"not a file of torch", None])
def test_a_file_of_another_kind_is_an_error(copied: SupernetEvaluator, content: bytes | None) -> None:
    if content is None:
        torch.save([1, 2, 3], copied.path)
    else:
        copied.path.write_bytes(content)
    with pytest.raises(NasError, match="not a complete supernet file"):
        copied.prepare()


def test_the_file_of_another_supernet_is_an_error(copied: SupernetEvaluator) -> None:
    other = attrs.evolve(copied, space=make_space())
    other.path.write_bytes(copied.path.read_bytes())
    with pytest.raises(NasError, match="belongs to another supernet: its space is"):
        other.prepare()
    third = attrs.evolve(copied, data=make_data(62))
    third.path.write_bytes(copied.path.read_bytes())
    with pytest.raises(NasError, match="belongs to another supernet: its fingerprint is"):
        third.prepare()


def test_a_full_disk_keeps_the_last_complete_epoch(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fail(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(NasError, match="No space left on device"):
            make_evaluator(tmp_path).prepare()
    assert content_of(tmp_path)["epoch"] == 1
    make_evaluator(tmp_path).prepare()
    assert are_equal(content_of(tmp_path), content_of(trained))


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="cannot be"):
        make_evaluator(tmp_path / "file" / "below").prepare()


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    diverging = SupernetRecipe(epochs=2, training=Recipe(optimizer="sgd", batch_size=8, learning_rate=1e30))
    with pytest.raises(EvaluationError, match=r"the loss is (nan|inf) in epoch"):
        make_evaluator(tmp_path, recipe=diverging).prepare()
    assert not list(tmp_path.glob("*.pt"))
