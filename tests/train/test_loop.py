"""The training loop with a complete recipe: equal runs, continued runs, and each technique's effect on a step."""

from typing import Any

import attrs
import pytest
import torch
from torch import Generator, Tensor, nn

from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.models.build import build_model
from nas.train.distillation import divergence
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from nas.train.recipes.schema import TrainingRecipe, complete
from nas.train.seeded import epoch_seed, seeded
from tests.evaluate.colors import TINY, make_data

EPOCHS = 3


def make_run(recipe: Recipe, **settings: Any) -> TrainingRun:
    data = settings.pop("data", make_data())
    arch = recipe.adapt(TINY.adapted(resolution=data.train.images.shape[-1], classes=3))
    with seeded(0, "cpu"):
        model: nn.Module = build_model(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingRun(data, settings.pop("model", model), recipe, EPOCHS, "cpu", **settings)


def train(run: TrainingRun, first: int = 1, last: int = EPOCHS) -> TrainingRun:
    for number in range(first, last + 1):
        with seeded(epoch_seed(0, number), "cpu") as generator:
            run.epoch(number, generator)
    return run


def weights(run: TrainingRun) -> dict[str, Tensor]:
    model = run.model if run.average is None else run.average.model
    return {**run.model.state_dict(), **{f"average.{name}": value for name, value in model.state_dict().items()}}


def are_equal(first: TrainingRun, second: TrainingRun) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_a_recipe_of_a_search_and_its_complete_form_train_the_same_weights() -> None:
    recipe = Recipe(batch_size=8, ema=0.9, learning_rate=0.01)
    assert are_equal(train(make_run(recipe)), train(make_run(complete(recipe))))


RECIPES: dict[str, dict[str, Any]] = {
    "sgd and mixing": {"optimizer": "sgd", "mixup": 0.2, "cutmix": 1.0, "ema": 0.9, "gradient_clip": 1.0},
    "rmsprop and parts": {"optimizer": "rmsprop-tf", "accumulation": 2, "erasing": 0.5, "crop": 0.5},
    "adamw and policy": {"policy": "randaugment", "flip": "alternating", "initial_resolution": 0.5, "dropout": 0.3},
    "augmix": {"policy": "augmix", "loss": "squared", "augmix_width": 1, "drop_path": 0.3},
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_is_continued_ends_with_the_same_weights(name: str) -> None:
    recipe = TrainingRecipe(batch_size=30, resolution_multiple=2, **RECIPES[name])
    whole = train(make_run(recipe))
    state = train(make_run(recipe), last=1).state_dict()
    torch.rand(3)  # later random numbers of the process have no influence
    rest = make_run(recipe)
    rest.load_state_dict(state)
    assert are_equal(train(rest, first=2), whole)


def linear_run(recipe: TrainingRecipe) -> TrainingRun:
    """Return a run of a network without batch normalization, whose images of a batch are independent."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return make_run(recipe, model=nn.Sequential(*layers))


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(parts: int) -> None:
    runs = [
        linear_run(TrainingRecipe(batch_size=16, accumulation=count, shift=0, flip="none", optimizer="sgd"))
        for count in (1, parts)
    ]
    batch, generator = torch.arange(17), Generator().manual_seed(0)
    losses = [run.step(batch, 0.1, generator).item() for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    first, second = (tuple(run.model.parameters()) for run in runs)
    for whole, divided in zip(first, second, strict=True):
        assert torch.allclose(whole, divided, atol=1e-6)
        assert whole.grad is not None


def test_no_part_of_a_batch_has_a_single_image() -> None:
    run = make_run(TrainingRecipe(batch_size=32, accumulation=16), data=make_data(train_images=21))
    sizes: list[int] = []
    run.model.register_forward_pre_hook(lambda _model, inputs: sizes.append(len(inputs[0])))
    train(run, 1, 1)
    assert sizes == [3, *[2] * 9]


def test_a_clipped_gradient_has_the_largest_norm() -> None:
    run = linear_run(TrainingRecipe(gradient_clip=0.01, optimizer="sgd"))
    run.step(torch.arange(16), 0.1, Generator().manual_seed(0))
    norms = [parameter.grad.norm() for parameter in run.model.parameters() if parameter.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(0.01, rel=1e-3)


def images_of(run: TrainingRun, number: int) -> Tensor:
    """Return the images of the first view that the network sees in an epoch."""
    inputs, _ = run.inputs.make(torch.arange(40), number, Generator().manual_seed(number))
    return inputs[2]


def test_alternating_flips_mirror_every_image_in_every_second_epoch() -> None:
    run = make_run(TrainingRecipe(flip="alternating", shift=0))
    plain = images_of(make_run(TrainingRecipe(flip="none", shift=0)), 1)
    first, second, third = (images_of(run, number) for number in (1, 2, 3))
    mirrored = (first == plain.flip(-1)).all(dim=(1, 2, 3))
    assert 0 < mirrored.sum() < 40
    assert torch.equal(first, third)
    assert torch.equal(second, first.flip(-1))


@pytest.mark.parametrize("flip", ["random", "alternating"])
def test_images_that_lose_their_label_are_never_mirrored(flip: str) -> None:
    data = attrs.evolve(make_data(), flip=False)
    run = make_run(TrainingRecipe(flip=flip, shift=0), data=data)
    plain = images_of(make_run(TrainingRecipe(flip="none", shift=0)), 1)
    assert torch.equal(images_of(run, 1), plain)
    assert torch.equal(images_of(run, 2), plain)


def test_the_first_epochs_have_smaller_images() -> None:
    recipe = TrainingRecipe(initial_resolution=0.5, full_resolution_from=1.0, resolution_multiple=1)
    run = make_run(recipe)
    # The last epoch has the full side, although the growth would end only after it.
    assert [images_of(run, number).shape[-1] for number in (1, 2, 3)] == [4, 5, 8]
    assert run.val.take(slice(0, 2))[0].shape[-1] == 8


def teacher(images: Tensor) -> Tensor:
    """Return logits that depend on the images: the mean of each channel."""
    return images.mean((2, 3))


def test_the_loss_with_a_teacher_is_the_mixture_of_both_losses() -> None:
    base = TrainingRecipe(teacher_share=0.25, teacher_temperature=3.0, mixup=0.2)
    runs = [linear_run(base), linear_run(attrs.evolve(base, teacher_share=1.0))]
    taught = [attrs.evolve(run, teacher=teacher) for run in runs]
    torch.manual_seed(5)
    inputs, _ = runs[0].inputs.make(torch.arange(8), 1, Generator().manual_seed(0))
    own, logits = runs[0]._loss(*inputs)
    torch.manual_seed(5)
    seen, _ = taught[0].inputs.make(torch.arange(8), 1, Generator().manual_seed(0))
    assert torch.equal(seen[2], inputs[2])
    assert torch.equal(seen[1], teacher(inputs[2]))
    expected = divergence(logits, teacher(inputs[2]), 3.0)
    assert taught[1]._loss(*seen)[0].item() == pytest.approx(expected.item(), rel=1e-6)
    mixture = 0.75 * own.item() + 0.25 * expected.item()
    assert taught[0]._loss(*seen)[0].item() == pytest.approx(mixture, rel=1e-6)


def test_soft_targets_take_the_place_of_the_labels() -> None:
    certain = torch.eye(3)[make_data().train.labels]
    batch, losses = torch.arange(16), []
    for targets in (None, certain, certain.roll(1, 1)):
        run = attrs.evolve(linear_run(TrainingRecipe()), targets=targets)
        inputs, _ = run.inputs.make(batch, 1, Generator().manual_seed(0))
        losses.append(run._loss(*inputs)[0].item())
        assert torch.equal(inputs[0], make_data().train.labels[batch] if targets is None else targets[batch])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert losses[2] != pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    "recipe",
    [
        TrainingRecipe(batch_size=8, loss="squared", label_smoothing=0),
        TrainingRecipe(batch_size=8, optimizer="sgd", learning_rate=0.2, schedule="one-cycle"),
        TrainingRecipe(
            batch_size=8, optimizer="rmsprop-tf", square_decay=0.9, epsilon=1e-3, learning_rate=0.01, schedule="step"
        ),
    ],
    ids=("squared", "sgd", "rmsprop-tf"),
)
def test_a_network_learns_three_colors(recipe: TrainingRecipe) -> None:
    assert train(make_run(recipe)).validate() > 0.75  # guessing is 1 / 3


def test_the_evaluator_of_a_search_may_have_a_complete_recipe() -> None:
    recipe = Recipe(batch_size=8)
    accuracies = [
        list(TrainEvaluator(make_data(), recipe=each).evaluate(TINY, 2)) for each in (recipe, complete(recipe))
    ]
    assert accuracies[0] == accuracies[1]


def test_a_step_on_a_cpu_is_never_recorded() -> None:
    assert make_run(TrainingRecipe(cuda_graphs=True)).graphed is None


def test_a_short_run_has_the_steps_that_its_recipe_asks_for() -> None:
    data = make_data(train_images=200)
    recipe = TrainingRecipe(epochs=EPOCHS, batch_size=128, min_total_steps=9, learning_rate=0.1, rate_rule="linear")
    run = make_run(recipe, data=data)
    assert run.steps_per_epoch == 3
    assert {len(batch) for batch in run.shuffled_batches(Generator().manual_seed(0))} == {66, 67}
    assert make_run(Recipe(batch_size=128), data=data).steps_per_epoch == 1
    few = make_run(TrainingRecipe(batch_size=32, min_steps=4), data=make_data(train_images=64))
    batches = few.shuffled_batches(Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == [32] * 4
    assert sorted(torch.cat(batches).tolist()) == sorted([*range(64)] * 2)
