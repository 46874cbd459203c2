"""Bookkeeping of recorded steps, with a recorder that computes on the CPU what a CUDA graph would."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from nas.train import graphs
from nas.train.graphs import GraphedBackward, can_record


@attrs.define
class Replayed:
    """Stand for a CUDA graph: writes to the memory that was recorded."""

    work: Callable[[], None]
    times: int = 0

    def replay(self) -> None:
        self.times += 1
        self.work()


class OnCpu(GraphedBackward):
    """Record as the class does, but with a graph that computes anew."""

    def _record(self, inputs: tuple[Tensor, ...]) -> Any:
        static = tuple(each.clone() for each in inputs)
        self._forget_gradients()
        loss = self._backward(*static)
        written = tuple(parameter.grad for parameter in self._parameters)

        def work() -> None:
            self._forget_gradients()
            loss.copy_(self._backward(*static))
            for old, parameter in zip(written, self._parameters, strict=True):
                if old is not None and parameter.grad is not None:
                    old.copy_(parameter.grad)

        return graphs._Recorded(Replayed(work), static, loss, written)


def make() -> tuple[nn.Linear, Callable[..., Tensor]]:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)

    def backward(values: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = (model(values)[:, 0] - targets).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return model, backward


def batch(seed: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 2, generator=generator), torch.rand(size, generator=generator)


@pytest.mark.parametrize("sizes", [[4] * 8, [4, 5] * 8, [4, 4, 4, 4, 4, 3, 4, 4], [2, 3, 4, 5, 6, 7] * 5])
def test_losses_and_gradients_are_those_of_each_batch(sizes: list[int]) -> None:
    model, backward = make()
    graphed = OnCpu(backward, model.parameters())
    for seed, size in enumerate(sizes):
        loss = graphed(*batch(seed, size))
        found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        model.zero_grad()
        expected = backward(*batch(seed, size))
        assert loss.item() == expected.item()
        for gradient, parameter in zip(found, model.parameters(), strict=True):
            assert parameter.grad is not None
            assert torch.equal(gradient, parameter.grad)
    assert len(graphed._recorded) <= graphs._MOST_SHAPES


def test_a_shape_is_recorded_after_three_steps_and_then_replayed() -> None:
    model, backward = make()
    graphed = OnCpu(backward, model.parameters())
    for step in range(6):
        graphed(*batch(step, 4))
        assert len(graphed._recorded) == (step >= 3)
    (recorded,) = graphed._recorded.values()
    assert recorded.graph.times == 3


def test_an_earlier_loss_is_not_overwritten() -> None:
    model, backward = make()
    graphed = OnCpu(backward, model.parameters())
    losses = [graphed(*batch(seed, 4)) for seed in range(6)]
    assert len({loss.item() for loss in losses}) == 6


class Failing(GraphedBackward):
    """Fail to record."""

    attempts = 0
    message = "operation not permitted when stream is capturing"

    def _record(self, inputs: tuple[Tensor, ...]) -> Any:
        self.attempts += len(inputs) // 2
        raise RuntimeError(self.message)


def test_a_pass_that_cannot_be_recorded_is_computed_as_usual_with_one_warning() -> None:
    model, backward = make()
    failing = Failing(backward, model.parameters())
    losses = [failing(*batch(0, 4)).item() for _ in range(3)]
    with pytest.warns(RuntimeWarning, match="not recorded as CUDA graphs: operation not permitted"):
        losses.append(failing(*batch(0, 4)).item())
    losses += [failing(*batch(0, 4)).item() for _ in range(3)]
    assert len(set(losses)) == 1
    assert failing.attempts == 1


def test_running_out_of_memory_is_an_error_of_the_step() -> None:
    model, backward = make()
    failing = Failing(backward, model.parameters())
    failing.message = "CUDA out of memory"
    for _ in range(3):
        failing(*batch(0, 4))
    with pytest.raises(RuntimeError, match="out of memory"):
        failing(*batch(0, 4))


def test_a_cpu_records_nothing() -> None:
    assert not can_record("cpu")
