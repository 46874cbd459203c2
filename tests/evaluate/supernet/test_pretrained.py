"""Supernets that start from a trained network: the same function, sorted channels, fresh options, files and errors."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from nas.arch.spec import Architecture
from nas.data.base import ImageData, fingerprint
from nas.errors import NasError, WeightsError
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.extremes import smallest_and_largest
from nas.evaluate.supernet.places import Places
from nas.evaluate.supernet.pretrained import pretrained_weights, with_normalization
from nas.evaluate.supernet.recipe import PRETRAINED_SUPERNET, SupernetRecipe
from nas.evaluate.supernet.source_layers import SourceLayers, source_indices
from nas.evaluate.supernet.trainer import SupernetTrainer
from nas.evaluate.supernet.weights import SharedWeights
from nas.models.build import build_model
from nas.space.decode import SearchSpace, Value
from nas.train.recipe import Recipe
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.inheritance import inherit
from nas.weights.sorting import sort_channels
from tests.evaluate.test_supernet import DATA, colored
from tests.search.fakes import make_space
from tests.weights.networks import network, trained

HALF = Normalization((0.5,) * 3, (0.5,) * 3)
NET = "net channels=3 resolution=8 classes=3 padding=symmetric bn=0.01/0.001 act=relu6"
SOURCE = network(
    f"{NET};stem conv k3 s1 c6;mbconv r2 k5 e4 c6 se0.5;mbconv r1 k3 s2 e2 c8;basic r1 c8;head conv c10 dropout=0.2"
)
# Fewer and more layers, smaller and larger kernels and expansions, and narrower and wider parts than the source's.
AROUND = f"""
name: around
net: {NET.removeprefix("net ")} drop_path=0.2
stem: conv k3 s1 c6
head: {{kind: conv, channels: [8, 10, 12], dropout: 0.2}}
stages:
  - {{operator: mbconv, kernel: [3, 5, 7], expansion: [2, 4, 6], channels: 6, layers: [1, 2, 3], se: 0.5}}
  - {{operator: mbconv, kernel: 3, expansion: [1, 2], stride: 2, channels: [4, 8, 12]}}
  - {{operator: basic, kernel: 3, channels: 8, layers: [1, 2]}}
"""
ITSELF: dict[str, Value] = {
    "head.channels": 10,
    "stage1.kernel": 5,
    "stage1.expansion": 4,
    "stage1.layers": 2,
    "stage2.expansion": 2,
    "stage2.channels": 8,
    "stage3.layers": 1,
}
RECIPE = SupernetRecipe(epochs=2, sampling="sandwich", training=Recipe(batch_size=20, learning_rate=1e-3))


@pytest.fixture(name="double")
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make_source(arch: Architecture = SOURCE, classes: tuple[str, ...] | None = DATA.classes) -> TrainedNetwork:
    return TrainedNetwork(arch, trained(arch).state_dict(), classes, HALF)


def single(source: TrainedNetwork) -> TrainedNetwork:
    """Return the same network in single precision."""
    return attrs.evolve(
        source, tensors={name: t.float() if t.is_floating_point() else t for name, t in source.tensors.items()}
    )


def shared_weights(space: SearchSpace, source: TrainedNetwork, own: Sequence[str] = ("operator",)) -> SharedWeights:
    torch.manual_seed(0)
    layers = SourceLayers(Places(space, tuple(own)), source.arch)
    return pretrained_weights(layers, source, DATA.classes)


def inputs(count: int = 5) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def by_batch(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of a model with the batch-norm statistics of the images, without dropout."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    logits: Tensor = model(images)
    return logits


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("own", [("operator",), ("operator", "kernel", "expansion")])
def test_the_source_in_the_space_computes_the_function_of_the_source(own: tuple[str, ...]) -> None:
    space, source = make_space(AROUND), make_source()
    shared = shared_weights(space, source, own)
    indices = space.indices(ITSELF)
    assert source_indices(space, source.arch) == indices
    # In training every batch has its own statistics.
    torch.testing.assert_close(shared.forward(indices, inputs()), by_batch(source.module(), inputs()))
    # With the statistics of the source, in the order of its sorted channels, the evaluation is the same, too.
    model = shared.model(space.from_indices(indices), indices)
    state = sort_channels(source.arch, source.tensors)
    model.load_state_dict(
        {name: t for name, t in state.items() if name.endswith(("mean", "var", "tracked"))}, strict=False
    )
    torch.testing.assert_close(model.eval()(inputs()), source.module()(inputs()))
    assert len({name for name, _ in model.named_buffers()} - state.keys()) == 0


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "larger",
    [
        {"stage1.layers": 3},
        {"stage1.kernel": 7},
        {"stage1.expansion": 6},
        {"head.channels": 12},
        {"stage2.channels": 8},
    ],
)
def test_larger_networks_compute_the_function_of_the_source(larger: dict[str, Value]) -> None:
    space, source = make_space(AROUND), make_source()
    shared = shared_weights(space, source)
    logits = shared.forward(space.indices({**ITSELF, **larger}), inputs())
    torch.testing.assert_close(logits, by_batch(source.module(), inputs()))


@pytest.mark.usefixtures("double")
def test_the_largest_network_serves_where_the_source_is_not_in_the_space() -> None:
    source = make_source()
    space = make_space(
        AROUND.replace("kernel: [3, 5, 7]", "kernel: [3, 7]").replace("channels: [4, 8, 12]", "channels: 8")
    )
    layers = SourceLayers(Places(space, ("operator",)), source.arch)
    assert layers.indices is None
    largest = smallest_and_largest(space)[1]
    logits = shared_weights(space, source).forward(largest, inputs())
    torch.testing.assert_close(logits, by_batch(source.module(), inputs()))
    notes = list(layers.notes())
    assert notes[0] == "the source is not in space around; the largest network of the space takes its place"
    assert not any("approximates" in note for note in notes)
    narrow = make_space(AROUND.replace("expansion: [2, 4, 6]", "expansion: [2, 3]"))
    _, second, *_ = SourceLayers(Places(narrow, ("operator",)), source.arch).notes()
    assert second.startswith("this network of the space only approximates the source. Channels are removed")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "smaller",
    [
        {"stage1.expansion": 2},
        {"stage1.kernel": 3},
        {"stage1.layers": 1},
        {"stage2.channels": 4},
        {"head.channels": 8},
        {"stage1.expansion": 2, "stage1.kernel": 3, "stage1.layers": 1, "head.channels": 8},
    ],
)
def test_a_narrower_network_computes_the_function_of_one_that_inherits(smaller: dict[str, Value]) -> None:
    # Without the sum of the third stage, whose stream would tie the channels of the second one to its skip.
    arch = attrs.evolve(SOURCE, stages=SOURCE.stages[:2])
    space = make_space(AROUND.replace(AROUND.splitlines()[-1], ""))
    source, itself = make_source(arch), {name: one for name, one in ITSELF.items() if "stage3" not in name}
    indices = space.indices({**itself, **smaller})
    target = space.from_indices(indices)
    model = build_model(target)
    model.load_state_dict(dict(inherit(arch, source.tensors, target).tensors))
    torch.testing.assert_close(shared_weights(space, source).forward(indices, inputs()), by_batch(model, inputs()))


def test_options_that_the_source_cannot_serve_start_fresh_and_are_named() -> None:
    text = AROUND.replace("operator: mbconv, kernel: [3, 5, 7]", "operator: [mbconv, fused], kernel: [3, 5, 7]")
    space, source = (
        make_space(text.replace("operator: basic", "operator: [basic, absent, conv]")),
        single(make_source()),
    )
    layers = SourceLayers(Places(space, ("operator",)), source.arch)
    fresh, added = layers.notes()
    assert fresh == (
        "these options start with fresh weights, because the source has none for them: stage1 fused; stage3 conv"
    )
    assert added == "these layers are not in the source, and start as identities where they can: stage1.3, stage3.2"
    shared = shared_weights(space, source)
    # The fresh operator begins as its skip, so it replaces a layer without a large change.
    assert not shared.tensors["stage1.0.fused", "project", "norm.weight"].any()
    assert shared.tensors["stage1.0.fused", "expand", "conv.weight"].std() > 0.01
    assert shared.tensors["stage1.0.mbconv", "project", "norm.weight"].any()


@pytest.mark.usefixtures("double")
def test_a_gate_that_the_source_lacks_starts_near_one_without_a_change_of_other_networks() -> None:
    arch = network(f"{NET};stem conv k3 s1 c6;mbconv r1 e2 c6;head pool")
    source = make_source(arch)
    text = f"""
net: {NET.removeprefix("net ")}
stem: conv k3 s1 c6
head: pool dropout=0
stages:
  - {{operator: mbconv, expansion: 2, kernel: 3, channels: 6, se: [0, 0.5]}}
"""
    space = make_space(text)
    shared = shared_weights(space, source)
    without, gated = (shared.forward(space.indices({"stage1.se": se}), inputs()) for se in (0, 0.5))
    torch.testing.assert_close(without, by_batch(source.module(), inputs()))
    # All channels are multiplied by the same number, which the next batch normalization removes.
    torch.testing.assert_close(gated, without, rtol=1e-3, atol=1e-3)
    (note,) = SourceLayers(Places(space, ("operator",)), arch).notes()
    assert note.endswith("none for them: stage1 gate (se)")
    always = make_space(text.replace("se: [0, 0.5]", "se: 0.5, skip: [identity, none]"))
    logits = shared_weights(always, source).forward(always.indices({"stage1.skip": "identity"}), inputs())
    torch.testing.assert_close(logits, without)


@pytest.mark.usefixtures("double")
def test_a_gate_that_only_the_source_has_is_replaced_by_its_value() -> None:
    space = make_space(AROUND.replace(", se: 0.5", ""))
    source = make_source()
    indices = space.indices(ITSELF)
    model = build_model(space.from_indices(indices))
    model.load_state_dict(dict(inherit(SOURCE, source.tensors, space.from_indices(indices)).tensors))
    torch.testing.assert_close(shared_weights(space, source).forward(indices, inputs()), by_batch(model, inputs()))


def test_the_classifier_starts_at_zero_for_other_classes() -> None:
    space, source = make_space(AROUND), single(make_source())
    same = shared_weights(space, source).tensors["head", "classifier", "weight"]
    assert same.any()
    for classes in (("red", "blue", "green"), None):
        other = shared_weights(space, attrs.evolve(source, classes=classes))
        assert not any(other.tensors["head", "classifier", name].any() for name in ("weight", "bias"))
    many = single(make_source(attrs.evolve(SOURCE, classes=7), None))
    assert shared_weights(space, many).tensors["head", "classifier", "weight"].shape == (3, 12)


def make_evaluator(folder: Path, **changes: Any) -> SupernetEvaluator:
    defaults = {"space": make_space(AROUND), "data": DATA, "folder": folder, "recipe": RECIPE}
    return SupernetEvaluator(**{**defaults, "source": single(make_source()), **changes})


def test_without_a_source_the_description_and_the_file_are_as_before(tmp_path: Path) -> None:
    before = make_evaluator(tmp_path, source=None, recipe=SupernetRecipe())
    assert "source" not in before.describe()
    # The hexadecimal digits were made by the version before sources existed.
    assert before.path.name == "around-dc968a356dfc.supernet.pt"


def test_the_description_and_the_file_depend_on_the_source(tmp_path: Path) -> None:
    source = single(make_source())
    others = [
        attrs.evolve(source, normalization=Normalization((0.4,) * 3, (0.5,) * 3)),
        attrs.evolve(source, tensors={**source.tensors, "head.classifier.bias": torch.ones(3)}),
        None,
    ]
    evaluators = [make_evaluator(tmp_path, source=one) for one in (source, *others)]
    assert len({one.path for one in evaluators}) == 4
    assert evaluators[0].describe()["source"] == source.digest


def content_of(evaluator: SupernetEvaluator) -> list[Tensor]:
    values = torch.load(evaluator.path, weights_only=True)
    assert values["epoch"] == RECIPE.epochs
    return list(values["tensors"])


def test_training_is_deterministic_and_continues_after_an_interruption(tmp_path: Path) -> None:
    first, second, third = (make_evaluator(tmp_path / name) for name in "abc")
    first.prepare()
    second.prepare()
    messages: list[str] = []

    def stop(step: int, _steps: int, _loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attrs.evolve(third, on_batch=stop).prepare()
    attrs.evolve(third, notify=messages.append).prepare()
    assert "continues after epoch 1 of 2" in messages[0]
    contents = [content_of(one) for one in (first, second, third)]
    assert all(torch.equal(*pair) for other in contents[1:] for pair in zip(contents[0], other, strict=True))
    arch = make_space(AROUND).from_indices(make_space(AROUND).indices(ITSELF))
    assert next(first.evaluate(arch, 1)) == next(third.evaluate(arch, 1))


def test_a_new_training_names_what_starts_fresh(tmp_path: Path) -> None:
    messages: list[str] = []
    make_evaluator(tmp_path, notify=messages.append).prepare()
    assert (
        "supernet: these layers are not in the source, and start as identities where they can: stage1.3, stage3.2"
        in messages
    )


def test_the_source_is_the_first_network_of_each_step_that_distills(tmp_path: Path) -> None:
    space = make_space(AROUND)
    for sampling, first in (("sandwich", space.indices(ITSELF)), ("pair", space.indices(ITSELF))):
        recipe = attrs.evolve(RECIPE, sampling=sampling)
        run = SupernetTrainer(space, DATA, tmp_path, recipe, source=single(make_source())).new_run()
        assert recipe.paths(space, torch.Generator(), run.teacher)[0] == first
        assert recipe.paths(space, torch.Generator())[0] == smallest_and_largest(space)[1]
    uniform = attrs.evolve(RECIPE, sampling="uniform")
    expected = uniform.paths(space, torch.Generator().manual_seed(0))
    assert uniform.paths(space, torch.Generator().manual_seed(0), space.indices(ITSELF)) == expected


def test_images_are_normalized_as_for_the_source(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path)
    trainer = SupernetTrainer(make_space(AROUND), DATA, tmp_path, RECIPE, source=single(make_source()))
    torch.testing.assert_close(trainer.new_run().scaling(DATA.train.images), DATA.train.images / 127.5 - 1)
    arch = make_space(AROUND).from_indices(make_space(AROUND).indices(ITSELF))
    model = build_model(arch)
    model.load_state_dict(evaluator.weights_of(arch))
    with torch.no_grad():
        right = model.eval()(DATA.val.images / 127.5 - 1).argmax(1) == DATA.val.labels
    assert next(evaluator.evaluate(arch, 1)) == pytest.approx(float(right.float().mean()))
    assert with_normalization(DATA, None) is DATA


def test_a_source_without_normalization_is_an_error(tmp_path: Path) -> None:
    source = attrs.evolve(single(make_source()), normalization=None)
    with pytest.raises(WeightsError, match="normalization of the pretrained network is unknown") as raised:
        make_evaluator(tmp_path, source=source)
    assert "--normalization" in raised.value.remedy


def test_a_source_for_other_channels_is_an_error(tmp_path: Path) -> None:
    gray = attrs.evolve(SOURCE, in_channels=1)
    source = TrainedNetwork(gray, build_model(gray).state_dict(), None, Normalization((0.5,), (0.5,)))
    with pytest.raises(WeightsError, match="takes 1 channels, and the images of colours have 3"):
        make_evaluator(tmp_path, source=source)


def test_a_worker_gets_the_same_evaluator(tmp_path: Path) -> None:
    evaluator = make_evaluator(tmp_path, notify=print)
    sent = pickle.loads(pickle.dumps(evaluator.to_send()))  # noqa: S301 -- made two calls before
    assert sent.path == evaluator.path
    assert sent.describe() == evaluator.describe()


@pytest.mark.slow
def test_a_short_training_keeps_what_the_source_knows(tmp_path: Path) -> None:
    """A source that tells the brightest channel needs one epoch, in which random weights do not learn it."""
    splits, classes = (colored(61), colored(30)), DATA.classes
    data = ImageData("colours", classes, *splits, None, (0.35,) * 3, (0.2,) * 3, fingerprint(classes, splits))
    arch = make_space(AROUND).from_indices(make_space(AROUND).indices(ITSELF))
    long = SupernetRecipe(epochs=12, training=Recipe(batch_size=8))
    teacher = make_evaluator(tmp_path, source=None, recipe=long, data=data)
    source = TrainedNetwork(arch, teacher.weights_of(arch), classes, Normalization(data.mean, data.std))
    recipe = attrs.evolve(
        PRETRAINED_SUPERNET, epochs=1, training=attrs.evolve(PRETRAINED_SUPERNET.training, batch_size=20)
    )
    started, random = (make_evaluator(tmp_path, source=one, recipe=recipe, data=data) for one in (source, None))
    assert next(started.evaluate(arch, 1)) > 0.8 > next(random.evaluate(arch, 1))


def test_an_unknown_sampling_is_still_an_error() -> None:
    with pytest.raises(NasError, match="one of uniform, fair, sandwich, pair"):
        SupernetRecipe(sampling="source")
