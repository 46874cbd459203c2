"""RMSProp in TensorFlow's form, compared with its recursion in float64, and the constants of the other optimizers."""

import math

import pytest
import torch

from nas.train.optimizers import ALGORITHMS, Algorithm, TensorFlowRMSprop

GRADIENTS = (0.5, -1.0, 2.0, 0.1)
RATES = (0.1, 0.1, 0.05, 0.02)


def recursion(*, alpha: float, momentum: float, eps: float, decay: float, inside: bool) -> float:
    """Return the weight after all gradients, as `ApplyRMSProp` of TensorFlow computes it, or with ε outside."""
    weight, square, buffer = 1.0, 1.0, 0.0
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        full = gradient + decay * weight
        square = alpha * square + (1 - alpha) * full**2
        root = math.sqrt(square + eps) if inside else math.sqrt(square) + eps
        buffer = momentum * buffer + rate * full / root
        weight -= buffer
    return weight


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-3, 0.5])
def test_the_weights_follow_the_recursion_of_tensorflow(momentum: float, decay: float, eps: float) -> None:
    weights = [torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for shape in ((2, 3), (4,))]
    optimizer = TensorFlowRMSprop(weights, 1.0, 0.9, momentum, eps, decay)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        for weight in weights:
            weight.grad = torch.full_like(weight, gradient)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    expected, other = (
        recursion(alpha=0.9, momentum=momentum, eps=eps, decay=decay, inside=inside) for inside in (True, False)
    )
    for weight in weights:
        assert weight.flatten().tolist() == pytest.approx([expected] * weight.numel(), rel=1e-12)
    assert abs(expected - other) > 1e-5  # the place of ε makes a difference that this test sees


def test_a_parameter_without_a_gradient_does_not_change() -> None:
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = TensorFlowRMSprop([used, unused], 0.1)
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_optimizer_continues_from_its_state(name: str) -> None:
    def make() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.ones(3))
        return weight, ALGORITHMS[name]([{"params": [weight], "weight_decay": 0.1}], 0.1, Algorithm())

    def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, gradient: float) -> None:
        weight.grad = torch.full((3,), gradient)
        optimizer.step()

    whole, first = make(), make()
    for gradient in GRADIENTS[:2]:
        step(*whole, gradient)
        step(*first, gradient)
    second = make()
    with torch.no_grad():
        second[0].copy_(first[0])
    second[1].load_state_dict(first[1].state_dict())
    for gradient in GRADIENTS[2:]:
        step(*whole, gradient)
        step(*second, gradient)
    assert torch.equal(whole[0], second[0])


def test_sgd_without_momentum_is_plain() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = ALGORITHMS["sgd"]([{"params": [weight], "weight_decay": 0.5}], 0.1, Algorithm(momentum=0.0))
    weight.grad = torch.tensor([2.0])
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.1 * (2 + 0.5))
