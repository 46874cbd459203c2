"""Shared weights: what is cut out of them, against the same networks made by hand; their training and their file."""

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
from torch.nn import functional

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS, cost
from nas.data.base import ImageData, Images, fingerprint
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator
from nas.evaluate.supernet.ends import ends
from nas.evaluate.supernet.evaluator import VERDICTS, SupernetEvaluator
from nas.evaluate.supernet.places import Places, digest
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.training import SupernetTraining
from nas.evaluate.supernet.weights import SharedWeights, calibrate, fresh_weights, plain
from nas.models.build import build_model
from nas.samplers.cost_range import space_chain
from nas.space.decode import SearchSpace, Value
from nas.space.files import find_space, space_names
from nas.train.recipe import Recipe
from tests.contracts.evaluator import EvaluatorContract
from tests.search.fakes import SMALLEST, make_space

SHARED, OWN = ("operator",), ("operator", "kernel", "expansion")
RECIPE = SupernetRecipe(epochs=3, training=Recipe(batch_size=20))  # three steps each
PROCESSES = multiprocessing.get_context("forkserver")

# Two widths, kernels and expansions, a gate or none, and a layer that may be left out.
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
LARGEST: dict[str, Value] = {
    "stage1.kernel": 5,
    "stage1.expansion": 4,
    "stage1.channels": 6,
    "stage1.se": 0.25,
    "stage2.operator": "conv",
}
LEAST: dict[str, Value] = {
    "stage1.kernel": 3,
    "stage1.expansion": 2,
    "stage1.channels": 4,
    "stage1.se": 0,
    "stage2.operator": "absent",
}


def coloured(count: int) -> Images:
    """Three classes that differ in which channel is brightest."""
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 120, (count, 3, 8, 8), generator=torch.Generator().manual_seed(count))
    pixels[torch.arange(count), labels] += 100
    return Images(pixels.to(torch.uint8), labels)


def make_data(train_images: int = 61) -> ImageData:
    parts, classes = (coloured(train_images), coloured(30)), ("red", "green", "blue")
    return ImageData("colours", classes, *parts, None, (0.35,) * 3, (0.2,) * 3, fingerprint(classes, parts))


DATA = make_data()


@pytest.fixture(name="space", scope="module")
def _space() -> SearchSpace:
    return make_space(SPACE)


def weights(space: SearchSpace, own: Sequence[str] = SHARED) -> SharedWeights:
    """Weights and scales that are all different from 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = fresh_weights(Places(space, tuple(own)), quiet=False)
        for (*_, name), tensor in made.tensors.items():
            if name.startswith("norm.") or name == "bias":
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return made


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_the_largest_network_is_the_plain_model_with_the_same_weights(space: SearchSpace) -> None:
    shared = weights(space)
    picks = space.picks(LARGEST)
    model = build_model(plain(space.from_picks(picks)))
    whole = {parameter: shared.tensors[name] for parameter, (name, _) in _names(shared, picks).items()}
    assert model.load_state_dict(whole, strict=False).unexpected_keys == []
    assert len(set(map(id, whole.values()))) == len(shared.tensors)
    torch.testing.assert_close(shared.forward(picks, images()), model.train()(images()))


def _names(shared: SharedWeights, picks: Sequence[int]) -> dict[str, Any]:
    arch = plain(shared.places.space.from_picks(list(picks)))
    return shared.names(arch, picks, build_model(arch))


def test_a_smaller_network_is_the_one_cut_out_by_hand(space: SearchSpace) -> None:
    shared = weights(space)
    by_name = {".".join(name): tensor for name, tensor in shared.tensors.items()}

    def normed(values: Tensor, name: str, channels: int) -> Tensor:
        scale, shift = by_name[f"{name}.norm.weight"][:channels], by_name[f"{name}.norm.bias"][:channels]
        return functional.batch_norm(values, None, None, scale, shift, training=True, eps=0.001)

    def conv(values: Tensor, name: str, kernel: Tensor, groups: int = 1, stride: int = 1) -> Tensor:
        made = functional.conv2d(values, kernel, None, stride, kernel.shape[-1] // 2, groups=groups)
        return normed(made, name, len(kernel))

    stem = functional.relu(conv(images(), "stem.conv", by_name["stem.conv.conv.weight"]))
    first, third = "stage1.0.mbconv", "stage3.0.mbconv"
    # Widths 4 x 2 of 4 x 4, a kernel of 3 in the middle of 5, 4 channels of 6.
    inside = functional.relu(conv(stem, f"{first}.expand", by_name[f"{first}.expand.conv.weight"][:8]))
    middle = by_name[f"{first}.depthwise.conv.weight"][:8, :, 1:4, 1:4]
    inside = functional.relu(conv(inside, f"{first}.depthwise", middle, groups=8))
    values = stem + conv(inside, f"{first}.project", by_name[f"{first}.project.conv.weight"][:4, :8])
    # 4 channels come in where there can be 6.
    inside = functional.relu(conv(values, f"{third}.expand", by_name[f"{third}.expand.conv.weight"][:8, :4]))
    middle = by_name[f"{third}.depthwise.conv.weight"][:8]
    inside = functional.relu(conv(inside, f"{third}.depthwise", middle, groups=8, stride=2))
    values = conv(inside, f"{third}.project", by_name[f"{third}.project.conv.weight"][:, :8])
    values = functional.relu(conv(values, "head.conv", by_name["head.conv.conv.weight"])).mean((2, 3))
    by_hand = functional.linear(values, by_name["head.classifier.weight"], by_name["head.classifier.bias"])
    torch.testing.assert_close(shared.forward(space.picks(LEAST), images()), by_hand)


def test_gradients_reach_what_is_used_and_nothing_else(space: SearchSpace) -> None:
    shared = weights(space)
    shared.forward(space.picks(LEAST), images()).square().sum().backward()  # type: ignore[no-untyped-call]
    reached = {".".join(name): tensor.grad for name, tensor in shared.tensors.items() if tensor.grad is not None}
    assert not [name for name in reached if "se_" in name or name.startswith("stage2")]
    kernel = reached["stage1.0.mbconv.depthwise.conv.weight"].clone()
    assert kernel[:8, :, 1:4, 1:4].count_nonzero() == 8 * 9
    kernel[:8, :, 1:4, 1:4] = 0
    assert kernel.count_nonzero() == 0


def test_options_share_or_own_their_weights(space: SearchSpace) -> None:
    places, owning = Places(space, SHARED), Places(space, OWN)
    picks = [space.picks(LEAST | {"stage1.kernel": kernel}) for kernel in (3, 5)]
    assert len({places.of(one) for one in picks}) == 1
    assert len({owning.of(one)[1] for one in picks}) == 2
    sizes = {key[0]: node.kernel for key, node in owning.widest.items() if key[1] == "depthwise"}
    assert {place: kernel for place, kernel in sizes.items() if place.startswith("stage1")} == {
        f"stage1.0.mbconv-{kernel}-{expansion:.1f}": kernel for kernel in (3, 5) for expansion in (2, 4)
    }


def test_a_layer_that_is_left_out_leaves_the_places_of_those_after_it(space: SearchSpace) -> None:
    places = Places(space, OWN)
    without, whole = (places.of(space.picks(LEAST | {"stage2.operator": word})) for word in ("absent", "conv"))
    assert without == (whole[0], whole[1], *whole[3:])


def test_a_branch_starts_at_nothing_only_where_it_is_always_added(space: SearchSpace) -> None:
    assert Places(space, SHARED).added == set()  # stage1 is not added to 4 channels where it makes 6
    wide = make_space(SPACE.replace("channels: [4, 6]", "channels: 4"))
    assert Places(wide, SHARED).added == {("stage1.0.mbconv", "project")}
    made = fresh_weights(Places(wide, SHARED), quiet=True)
    assert made.tensors["stage1.0.mbconv", "project", "norm.weight"].count_nonzero() == 0
    assert made.tensors["stage3.0.mbconv", "project", "norm.weight"].count_nonzero() == 8
    assert made.tensors["head", "classifier", "weight"].count_nonzero() == 0


@pytest.mark.parametrize("seed", range(5))
def test_fair_steps_train_every_option_of_every_choice_once(seed: int) -> None:
    space = find_space("nasbench_macro")
    paths = SupernetRecipe(sampling="fair").paths(space, torch.Generator().manual_seed(seed))
    assert [sorted(column) for column in zip(*paths, strict=True)] == [
        list(range(len(choice.values))) * (3 // len(choice.values)) for choice in space.all_choices
    ]


def test_fair_steps_train_options_of_a_smaller_choice_as_often_give_or_take_once(space: SearchSpace) -> None:
    wide = make_space(SPACE.replace("kernel: [3, 5]", "kernel: [3, 5, 7]"))
    paths = SupernetRecipe(sampling="fair").paths(wide, torch.Generator())
    assert len(paths) == 3
    counts = [np.unique(column, return_counts=True)[1] for column in zip(*paths, strict=True)]
    assert all(count.max() - count.min() <= 1 for count in counts)
    assert len(SupernetRecipe(sampling="uniform").paths(space, torch.Generator())) == 1


@pytest.mark.parametrize("name", space_names())
def test_the_ends_of_a_space_compute_least_and_most(name: str) -> None:
    space = find_space(name)
    assert tuple(cost(space.from_picks(picks)).macs for picks in ends(space)) == MACS.span(space_chain(space))


def test_a_sandwich_is_the_largest_the_least_and_two_others(space: SearchSpace) -> None:
    paths = SupernetRecipe(sampling="sandwich").paths(space, torch.Generator().manual_seed(0))
    assert len(paths) == 4
    assert list(paths[:2]) == [space.picks(LARGEST), space.picks(LEAST)]
    assert len({*paths}) > 2


@define(eq=False)
class Recording(SharedWeights):
    """Shared weights that remember what was asked of them."""

    asked: list[tuple[Sequence[int], Tensor]] = field(factory=list)

    def forward(self, picks: Sequence[int], images: Tensor) -> Tensor:
        self.asked.append((picks, images))
        return super().forward(picks, images)


def test_in_a_sandwich_the_largest_network_teaches_the_others(space: SearchSpace) -> None:
    training = Recipe(optimizer="sgd", batch_size=20, weight_decay=0, label_smoothing=0.1)
    shared, by_hand = weights(space), weights(space)
    recording = Recording(shared.places, shared.tensors)
    SupernetTraining(DATA, recording, SupernetRecipe(1, "sandwich", training=training), 0, "cpu").step(
        torch.arange(12), 0.01, torch.Generator().manual_seed(0)
    )
    (largest, seen), *others = recording.asked
    taught = by_hand.forward(largest, seen)
    wanted = 0.9 * functional.one_hot(DATA.train.labels[:12], 3) + 0.1 / 3
    losses = [-(wanted * taught.log_softmax(1)).sum(1).mean()]
    for picks, images in others:
        said = by_hand.forward(picks, images).log_softmax(1)
        losses.append(-(taught.detach().softmax(1) * said).sum(1).mean())
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    for name, tensor in by_hand.tensors.items():
        assert tensor.grad is not None  # the largest network uses them all
        # Nesterov's first step is 1 + 0.9 gradients long.
        torch.testing.assert_close(shared.tensors[name], (tensor - 0.01 * 1.9 * tensor.grad).detach())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sampling": "lucky"}, "sampling is 'lucky'"),
        ({"own": ("kernel",)}, "operator, and any"),
        ({"epochs": 0}, "1"),
    ],
)
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(NasError, match=told):
        SupernetRecipe(**wrong)


def test_statistics_are_the_mean_of_those_of_the_batches(space: SearchSpace) -> None:
    shared, picks = weights(space), space.picks(LEAST)
    model = shared.model(plain(space.from_picks(picks)), picks)
    batches = [images(4), images(6) + 1]
    calibrate(model, batches)
    with torch.no_grad():
        made = [functional.conv2d(batch, shared.tensors["stem", "conv", "conv.weight"], padding=1) for batch in batches]
    norm = model.get_submodule("stem.conv.norm")
    means = [one.mean((0, 2, 3)) for one in made]
    spreads = [one.var((0, 2, 3), unbiased=True) for one in made]
    torch.testing.assert_close(norm.running_mean, (means[0] + means[1]) / 2)
    torch.testing.assert_close(norm.running_var, (spreads[0] + spreads[1]) / 2)
    assert not model.training


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "mnasnet")) for name in space_names()]
)
def test_the_networks_of_every_shipped_space_can_be_cut_out(name: str) -> None:
    space = find_space(name).for_target(resolution=32, classes=10)
    shared = fresh_weights(Places(space, OWN), quiet=True)
    for picks in space.sample(np.random.default_rng(0), 3).tolist():
        arch = plain(space.from_picks(picks))
        with torch.device("meta"):
            names = shared.names(arch, picks, build_model(arch))
        for key, shape in names.values():
            assert all(small <= large for small, large in zip(shape, shared.tensors[key].shape, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_is_trained_a_step(name: str) -> None:
    space = find_space(name).for_target(resolution=8, classes=3)
    shared = fresh_weights(Places(space, OWN), quiet=True)
    training = SupernetTraining(DATA, shared, RECIPE, 0, "cpu")
    before = {key: tensor.clone() for key, tensor in shared.tensors.items()}
    assert 0 < training.step(torch.arange(8), 1e-3, torch.Generator()) < 10
    changed = [key for key, tensor in shared.tensors.items() if not torch.equal(tensor, before[key])]
    assert ("head", "classifier", "weight") in changed
    assert all(tensor.isfinite().all() for tensor in shared.tensors.values())


def evaluator(folder: Path, **others: Any) -> SupernetEvaluator:
    usual = {"space": make_space(SMALLEST), "data": DATA, "folder": folder, "recipe": RECIPE}
    return SupernetEvaluator(**{**usual, **others})


def archs() -> list[Architecture]:
    space = make_space(SMALLEST)
    return [space.from_picks(picks) for picks in space.enumerate()]


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of `evaluator`."""
    folder = tmp_path_factory.mktemp("nas-supernets")
    evaluator(folder).prepare()
    return folder


class TestSupernetEvaluator(EvaluatorContract):
    epochs = 1

    @pytest.fixture(autouse=True)
    def _folder(self, trained: Path) -> None:
        self.folder = trained

    def evaluator(self) -> Evaluator:
        return evaluator(self.folder)

    def architectures(self) -> Sequence[Architecture]:
        return archs()[1:]


def test_weights_are_trained_once_for_all_targets(trained: Path) -> None:
    said: list[str] = []
    steps: list[int] = []
    again = evaluator(trained, notify=said.append, on_batch=lambda step, *_: steps.append(step))
    whole = next(again.evaluate(archs()[0], 1))
    larger = evaluator(trained, space=make_space(SMALLEST).for_target(resolution=224, classes=1000))
    arch = archs()[0].adapted(resolution=224, classes=1000)
    assert next(larger.evaluate(canonical(arch), 1)) == whole
    assert steps == []
    assert len(said) == 1
    assert "is used again" in said[0]


def test_it_learns(tmp_path: Path) -> None:
    recipe = SupernetRecipe(epochs=12, training=Recipe(batch_size=8))
    long = evaluator(tmp_path, recipe=recipe, verdict="accuracy")
    assert next(long.evaluate(archs()[-1], 1)) > 0.8


def test_what_the_weights_depend_on_has_a_file_of_its_own(trained: Path) -> None:
    others = (
        {"seed": 1},
        {"data": make_data(62)},
        {"recipe": attrs.evolve(RECIPE, sampling="fair")},
        {"space": make_space()},
    )
    paths = {evaluator(trained, **other).path for other in others} | {evaluator(trained).path}
    assert len(paths) == 5
    assert digest(make_space()) != digest(make_space().fix({"stage1.kernel": 3}))


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_weights_of_a_network_are_those_that_were_scored(trained: Path, verdict: str) -> None:
    scored = evaluator(trained, verdict=verdict)
    arch = archs()[-1]
    model = build_model(canonical(arch.adapted(resolution=8, classes=3)))
    model.load_state_dict(scored.weights_of(arch))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (DATA.mean, DATA.std))
    with torch.no_grad():
        logits = model.eval()((DATA.val.images / 255 - mean) / std)
    odds = logits.exp() / logits.exp().sum(1, keepdim=True)
    by_hand = {
        "probability": [float(row[label]) for row, label in zip(odds, DATA.val.labels, strict=True)],
        "accuracy": [float(row.argmax() == label) for row, label in zip(logits, DATA.val.labels, strict=True)],
    }[verdict]
    assert next(scored.evaluate(arch, 1)) == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-6)
    assert scored.describe()["verdict"]["score"] == verdict


def test_an_architecture_of_another_space_cannot_be_scored(trained: Path) -> None:
    with pytest.raises(EvaluationError, match="is not in space"):
        next(evaluator(trained).evaluate(parse_text("net\nstem conv k3 s2 c8\nconv c8\nhead pool"), 1))


def test_grey_images_no_epochs_and_an_unknown_verdict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="verdict is 'guess'") as raised:
        evaluator(tmp_path, verdict="guess")
    assert raised.value.remedy == "use probability or accuracy"
    with pytest.raises(NasError, match="takes 1 channels"):
        evaluator(tmp_path, space=make_space(SMALLEST.replace("channels=3", "channels=1")))
    with pytest.raises(NasError, match="a budget of 0"):
        evaluator(tmp_path).evaluate(archs()[0], 0)


def _train_until(folder: Path, step: int) -> None:
    """Train, and end this process by SIGKILL after a step."""

    def count(done: int, _steps: int, _loss: float) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    evaluator(folder, on_batch=count).prepare()


def kept(folder: Path) -> dict[str, Any]:
    held = torch.load(evaluator(folder).path, weights_only=True)
    epoch = {"epoch": torch.tensor(held["epoch"])}
    return epoch | {".".join(k): t for k, t in zip(held["names"], held["tensors"], strict=True)}


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, trained: Path) -> None:
    def interrupt(step: int, _steps: int, _loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(tmp_path, on_batch=interrupt).prepare()
    assert kept(tmp_path)["epoch"] == 1
    said: list[str] = []
    evaluator(tmp_path, notify=said.append).prepare()
    assert "is trained on from epoch 1 to epoch 3" in said[0]
    assert alike(kept(tmp_path), kept(trained))


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, trained: Path) -> None:
    process = PROCESSES.Process(target=_train_until, args=(tmp_path, 8))
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    assert kept(tmp_path)["epoch"] == 2
    evaluator(tmp_path).prepare()
    assert alike(kept(tmp_path), kept(trained))
    assert not list(tmp_path.glob(".*.new"))


def _train_while_another_waits(folder: Path) -> None:
    """Train; the first step ends when another process has said that it waits."""

    def hold(done: int, _steps: int, _loss: float) -> None:
        (folder / f"{os.getpid()}-{done}.step").touch()
        begun = time.monotonic()
        while done == 1 and not list(folder.glob("*.waits")) and time.monotonic() - begun < 60:
            time.sleep(0.05)

    def notify(message: str) -> None:
        if "another process trains" in message:
            (folder / f"{os.getpid()}.waits").touch()

    evaluator(folder, on_batch=hold, notify=notify).prepare()


@pytest.mark.slow
def test_of_two_processes_one_trains_and_the_other_waits_for_its_weights(tmp_path: Path, trained: Path) -> None:
    processes = [PROCESSES.Process(target=_train_while_another_waits, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("*.waits"))) == 1
    assert len(list(tmp_path.glob("*.step"))) == 9  # three epochs of three steps, once
    assert alike(kept(tmp_path), kept(trained))


@pytest.fixture(name="copied")
def _copied(trained: Path, tmp_path: Path) -> SupernetEvaluator:
    """An evaluator whose weights are there already."""
    made = evaluator(tmp_path)
    made.path.write_bytes(evaluator(trained).path.read_bytes())
    return made


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_told_with_the_remedy(copied: SupernetEvaluator, share: float) -> None:
    whole = copied.path.read_bytes()
    copied.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(NasError, match="not a complete supernet file") as raised:
        copied.prepare()
    assert "delete it to train anew" in raised.value.remedy


@pytest.mark.parametrize("held", [b"not a file of torch", None])
def test_a_file_of_something_else_is_refused(copied: SupernetEvaluator, held: bytes | None) -> None:
    if held is None:
        torch.save([1, 2, 3], copied.path)
    else:
        copied.path.write_bytes(held)
    with pytest.raises(NasError, match="not a complete supernet file"):
        copied.prepare()


def test_the_training_of_another_supernet_is_refused(copied: SupernetEvaluator) -> None:
    other = attrs.evolve(copied, space=make_space())
    other.path.write_bytes(copied.path.read_bytes())
    with pytest.raises(NasError, match="belongs to another supernet: its space is"):
        other.prepare()
    third = attrs.evolve(copied, data=make_data(62))
    third.path.write_bytes(copied.path.read_bytes())
    with pytest.raises(NasError, match="belongs to another supernet: its fingerprint is"):
        third.prepare()


def test_a_full_disk_leaves_the_last_whole_epoch(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def full(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(NasError, match="No space left on device"):
            evaluator(tmp_path).prepare()
    assert kept(tmp_path)["epoch"] == 1
    evaluator(tmp_path).prepare()
    assert alike(kept(tmp_path), kept(trained))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="cannot be"):
        evaluator(tmp_path / "file" / "below").prepare()


def test_a_loss_that_is_not_finite_is_told(tmp_path: Path) -> None:
    wild = SupernetRecipe(epochs=2, training=Recipe(optimizer="sgd", batch_size=8, learning_rate=1e30))
    with pytest.raises(EvaluationError, match=r"the loss is (nan|inf) in epoch"):
        evaluator(tmp_path, recipe=wild).prepare()
    assert not list(tmp_path.glob("*.pt"))
