"""Optimizers with fused kernels, and RMSProp in the form of TensorFlow."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.optim import Optimizer

ParameterGroups = Iterable[dict[str, Any]]


@frozen
class Algorithm:
    """Hold the constants of an optimizer.

    Attributes:
        momentum: Momentum of SGD and RMSProp; β1 of AdamW.
        square_decay: Share of the average of squared gradients that a step keeps; β2 of AdamW.
        epsilon: Number that is added before a division.
    """

    momentum: float = 0.9
    square_decay: float = 0.999
    epsilon: float = 1e-8


class TensorFlowRMSprop(Optimizer):
    """Minimize as TensorFlow's RMSProp does, with which MnasNet and EfficientNet were trained.

    It differs from torch's in three ways: ε is added inside the square root, the average of squared gradients starts at
    1, and the learning rate is part of the momentum buffer, so that a change of the rate acts only on later gradients.
    Weight decay is added to the gradient.

    Args:
        params: Parameters, or parameter groups.
        lr: Learning rate.
        alpha: Share of the average of squared gradients that a step keeps.
        momentum: Momentum.
        eps: Number that is added to the average of squared gradients.
        weight_decay: Weight decay.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = TensorFlowRMSprop([weight], lr=0.1, alpha=0.9, momentum=0.0, eps=0.0)
        >>> weight.grad = torch.tensor([2.0])
        >>> optimizer.step()
        >>> round(1 - weight.item(), 5)  # 0.1 · 2 / sqrt(0.9 · 1 + 0.1 · 4)
        0.17541
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        alpha: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "momentum": momentum, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override] # without a closure, which nothing here uses
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if params:
                _rmsprop_step(params, [self._state_of(parameter) for parameter in params], group)

    def _state_of(self, parameter: Tensor) -> tuple[Tensor, Tensor]:
        state = self.state[parameter]
        if not state:
            state["square_average"] = torch.ones_like(parameter)
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["square_average"], state["momentum_buffer"]


def _rmsprop_step(params: list[Tensor], states: list[tuple[Tensor, Tensor]], group: Mapping[str, Any]) -> None:
    """Change parameters that share their constants; each operation is one call for all of them."""
    gradients = [parameter.grad for parameter in params if parameter.grad is not None]
    squares, buffers = [square for square, _ in states], [buffer for _, buffer in states]
    if group["weight_decay"]:
        gradients = list(torch._foreach_add(gradients, params, alpha=group["weight_decay"]))
    torch._foreach_mul_(squares, group["alpha"])
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["alpha"])
    roots = torch._foreach_add(squares, group["eps"])
    torch._foreach_sqrt_(roots)
    torch._foreach_mul_(buffers, group["momentum"])
    if isinstance(group["lr"], Tensor):
        changes = torch._foreach_div(gradients, roots)
        torch._foreach_mul_(changes, group["lr"])
        torch._foreach_add_(buffers, changes)
    else:
        torch._foreach_addcdiv_(buffers, gradients, roots, group["lr"])
    torch._foreach_sub_(params, buffers)


def _sgd(groups: ParameterGroups, rate: float, algorithm: Algorithm) -> Optimizer:
    # Nesterov's form needs a momentum.
    momentum = algorithm.momentum
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def _adamw(groups: ParameterGroups, rate: float, algorithm: Algorithm) -> Optimizer:
    betas = (algorithm.momentum, algorithm.square_decay)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=algorithm.epsilon, fused=True)


def _rmsprop(groups: ParameterGroups, rate: float, algorithm: Algorithm) -> Optimizer:
    return torch.optim.RMSprop(
        groups,
        lr=rate,
        alpha=algorithm.square_decay,
        eps=algorithm.epsilon,
        momentum=algorithm.momentum,
        foreach=True,
    )


def _rmsprop_tf(groups: ParameterGroups, rate: float, algorithm: Algorithm) -> Optimizer:
    return TensorFlowRMSprop(groups, rate, algorithm.square_decay, algorithm.momentum, algorithm.epsilon)


ALGORITHMS: Mapping[str, Callable[[ParameterGroups, float, Algorithm], Optimizer]] = MappingProxyType(
    {"adamw": _adamw, "sgd": _sgd, "rmsprop": _rmsprop, "rmsprop-tf": _rmsprop_tf}
)
