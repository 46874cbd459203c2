"""Bookkeeping of recorded steps, with a recorder that computes on the CPU what a CUDA graph would."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from nas.train import graphs
from nas.train.graphs import GraphedStep, can_record, make_recordable, set_learning_rate
from nas.train.optimizers import ALGORITHMS, Algorithm


@attrs.define
class Replayed:
    """Stand for a CUDA graph: writes to the memory that was recorded."""

    work: Callable[[], object]
    times: int = 0

    def replay(self) -> None:
        self.times += 1
        self.work()


class OnCpu(GraphedStep):
    """Record as the class does, but with a graph that computes anew."""

    def _record(self, inputs: tuple[Tensor, ...]) -> Any:
        static = tuple(each.clone() for each in inputs)
        loss = torch.empty(())
        return graphs._Recorded(Replayed(lambda: loss.copy_(self._step(*static))), static, loss)


def make(rate: float = 0.1) -> tuple[nn.Linear, Callable[..., Tensor]]:
    """Return a model, and a function that changes its weights in place."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)

    @torch.no_grad()
    def step(values: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            loss: Tensor = (model(values)[:, 0] - targets).square().mean()
            gradients = torch.autograd.grad(loss, tuple(model.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.sub_(rate * gradient)
        return loss.detach()

    return model, step


def batch(seed: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 2, generator=generator), torch.rand(size, generator=generator)


@pytest.mark.parametrize("sizes", [[4] * 8, [4, 5] * 8, [4, 4, 4, 4, 4, 3, 4, 4], [2, 3, 4, 5, 6, 7] * 5])
def test_recorded_steps_have_the_losses_and_the_weights_of_plain_ones(sizes: list[int]) -> None:
    (model, step), (expected, plain) = make(), make()
    graphed = OnCpu(step, "cpu")
    for seed, size in enumerate(sizes):
        assert graphed(*batch(seed, size)).item() == plain(*batch(seed, size)).item()
        assert torch.equal(model.weight, expected.weight)
    assert 1 <= len(graphed._recorded) <= graphs._MOST_SHAPES


def test_a_shape_is_recorded_after_three_steps_and_then_replayed() -> None:
    graphed = OnCpu(make()[1], "cpu")
    for step in range(6):
        graphed(*batch(step, 4))
        assert len(graphed._recorded) == (step >= 3)
    (recorded,) = graphed._recorded.values()
    assert recorded.graph.times == 3


def test_forgotten_steps_are_computed_before_they_are_recorded_again() -> None:
    graphed = OnCpu(make()[1], "cpu")
    for step in range(4):
        graphed(*batch(step, 4))
    graphed.forget()
    for step in range(4):
        assert not graphed._recorded
        graphed(*batch(step, 4))
    assert len(graphed._recorded) == 1


def test_an_earlier_loss_is_not_overwritten() -> None:
    graphed = OnCpu(make()[1], "cpu")
    losses = [graphed(*batch(seed, 4)) for seed in range(6)]
    assert len({loss.item() for loss in losses}) == 6


def test_steps_are_not_recorded_without_room_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "has_room_for_another_step", lambda _device: False)
    (model, step), (expected, plain) = make(), make()
    graphed = OnCpu(step, "cpu")
    for seed in range(8):
        assert graphed(*batch(seed, 4)).item() == plain(*batch(seed, 4)).item()
    assert not graphed._recorded
    assert torch.equal(model.weight, expected.weight)


class Failing(GraphedStep):
    """Fail to record."""

    attempts = 0
    message = "operation not permitted when stream is capturing"

    def _record(self, inputs: tuple[Tensor, ...]) -> Any:
        self.attempts += len(inputs) // 2
        raise RuntimeError(self.message)


def test_a_step_that_cannot_be_recorded_is_computed_as_usual_with_one_warning() -> None:
    failing = Failing(make(rate=0.0)[1], "cpu")
    losses = [failing(*batch(0, 4)).item() for _ in range(3)]
    with pytest.warns(RuntimeWarning, match="not recorded as CUDA graphs: operation not permitted"):
        losses.append(failing(*batch(0, 4)).item())
    losses += [failing(*batch(0, 4)).item() for _ in range(3)]
    assert len(set(losses)) == 1
    assert failing.attempts == 1


def test_running_out_of_memory_is_an_error_of_the_step() -> None:
    failing = Failing(make(rate=0.0)[1], "cpu")
    failing.message = "CUDA out of memory"
    for _ in range(3):
        failing(*batch(0, 4))
    with pytest.raises(RuntimeError, match="out of memory"):
        failing(*batch(0, 4))


def test_a_cpu_records_nothing() -> None:
    assert not can_record("cpu")


# torch's RMSProp takes a tensor as its rate on a GPU alone; the GPU benchmark checks it.
@pytest.mark.parametrize("name", sorted(ALGORITHMS.keys() - {"rmsprop"}))
def test_an_optimizer_whose_rates_are_tensors_changes_weights_in_the_same_way(name: str) -> None:
    changed = []
    for is_recordable in (False, True):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.rand(5))
        groups = [{"params": [weight], "weight_decay": 0.1, "rate_factor": 2.0}]
        optimizer = ALGORITHMS[name](groups, 1.0, Algorithm())
        if is_recordable:
            make_recordable(optimizer, "cpu")
        for step in range(5):
            weight.grad = torch.rand(5)
            set_learning_rate(optimizer, 0.01 * (step + 1))
            optimizer.step()
        changed.append(weight.detach())
    torch.testing.assert_close(*changed, rtol=1e-5, atol=1e-7)


def test_the_learning_rate_of_a_recordable_optimizer_keeps_its_place() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "rate_factor": factor} for factor in (1.0, 2.0)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    make_recordable(optimizer, "cpu")
    places = [group["lr"] for group in optimizer.param_groups]
    set_learning_rate(optimizer, 0.25)
    assert [place.item() for place in places] == [0.25, 0.5]
    assert all(group["lr"] is place for group, place in zip(optimizer.param_groups, places, strict=True))
