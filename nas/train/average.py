"""A running average of a model's weights."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """An exponential moving average of weights and of normalisation's running statistics.

    Args:
        model: what is averaged; copied.
        decay: the share that is kept at each step, in the first steps less: (1 + steps) / (10 + steps).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self._decay = decay
        self._steps = 0

    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        kept = min(self._decay, (1 + self._steps) / (10 + self._steps))
        get_ema_multi_avg_fn(kept)(_floats(self.model), _floats(model), self._steps)  # type: ignore[no-untyped-call]

    def state(self) -> dict[str, Any]:
        """What it has become, for `take_in`."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def take_in(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])


def _floats(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in model.state_dict().values() if tensor.is_floating_point()]
