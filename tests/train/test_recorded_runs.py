"""Training runs whose steps are recorded, with a recorder on the CPU that computes what a CUDA graph would replay."""

import attrs
import pytest
import torch
from torch import Generator

from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train import graphs
from nas.train.distillation import Distillation, TeacherOutputs
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from nas.train.recipes.schema import TrainingRecipe
from tests.evaluate.colors import TINY, make_data
from tests.train.test_graphs import OnCpu
from tests.train.test_loop import EPOCHS, are_equal, make_run, train

# torch's RMSProp takes a tensor as its rate on a GPU alone; the GPU benchmark checks it.
RECIPES: dict[str, Recipe] = {
    "search": Recipe(batch_size=7, ema=0.9),
    "sgd": Recipe(batch_size=7, optimizer="sgd"),
    "rmsprop-tf": TrainingRecipe(batch_size=7, optimizer="rmsprop-tf", gradient_clip=1.0, cuda_graphs=True),
    "dropout": TrainingRecipe(batch_size=7, dropout=0.3, drop_path=0.3, mixup=0.2, cuda_graphs=True),
}


@pytest.fixture(autouse=True)
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[OnCpu]:
    """Record steps on the CPU, and return the recorders of all runs."""
    made: list[OnCpu] = []

    class Kept(OnCpu):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr("nas.train.loop.can_record", lambda _device: True)
    monkeypatch.setattr("nas.train.loop.GraphedStep", Kept)
    return made


def computed(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, distillation: Distillation | None = None) -> TrainingRun:
    """Return a run that is trained without a record."""
    with monkeypatch.context() as patched:
        patched.setattr(graphs, "FIRST_STEPS", 10**6)
        run = train(make_run(recipe, distillation=distillation))
    assert run.graphed is not None
    assert not run.graphed._recorded
    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_recorded_run_ends_with_the_weights_of_one_that_is_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(make_run(RECIPES[name]))
    assert run.graphed is not None
    assert len(run.graphed._recorded) >= 1
    assert are_equal(run, computed(RECIPES[name], monkeypatch))


def test_a_recorded_run_learns_from_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, images = Generator().manual_seed(0), len(make_data().train)
    logits = torch.randn(2, images, 3, generator=generator)
    distillation = Distillation(TeacherOutputs(logits, torch.zeros(2, images, 1)))
    recipe = Recipe(batch_size=7)
    run = train(make_run(recipe, distillation=distillation))
    assert run.graphed is not None
    assert run.graphed._recorded
    assert are_equal(run, computed(recipe, monkeypatch, distillation))
    assert not are_equal(run, train(make_run(recipe)))


def test_a_recorded_run_continues_from_a_state_although_its_tensors_have_moved() -> None:
    recipe = RECIPES["search"]
    whole, first, later = train(make_run(recipe)), train(make_run(recipe), last=1), train(make_run(recipe), last=2)
    later.load_state_dict(first.state_dict())
    assert are_equal(train(later, first=2), whole)


def test_records_are_freed_when_an_evaluation_ends_or_stops(recorders: list[OnCpu]) -> None:
    evaluator = TrainEvaluator(make_data(), recipe=RECIPES["search"])
    assert len([*evaluator.evaluate(TINY, EPOCHS)]) == EPOCHS
    stopped = attrs.evolve(evaluator).evaluate(TINY, EPOCHS)
    next(stopped)
    assert [bool(each._recorded) for each in recorders] == [False, True]
    stopped.close()  # type: ignore[attr-defined] # a generator
    assert not recorders[1]._recorded


def test_a_duration_is_that_of_replayed_steps(recorders: list[OnCpu], monkeypatch: pytest.MonkeyPatch) -> None:
    replayed: list[bool] = []
    call = OnCpu.__call__

    def watched(step: OnCpu, *inputs: torch.Tensor) -> torch.Tensor:
        loss = call(step, *inputs)
        replayed.append(bool(step._recorded))
        return loss

    monkeypatch.setattr(OnCpu, "__call__", watched)
    assert TrainEvaluator(make_data(), recipe=Recipe(batch_size=8)).seconds_per_epoch(TINY, batches=2) > 0
    assert replayed == [False] * graphs.FIRST_STEPS + [True] * 3  # of which the first one is not timed
    assert len(recorders) == 1
