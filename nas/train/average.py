"""An exponential moving average of a model's weights."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Hold an exponential moving average of a model's weights and of its batch-norm running statistics.

    The first steps keep a smaller share of the average than `decay`, namely (1 + steps) / (10 + steps), so that the
    random initial weights are soon forgotten.

    Args:
        model: Model to average; it is copied and not changed.
        decay: Share of the average that each step keeps, from 0 to below 1.

    Example:
        >>> import torch
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> average = WeightAverage(model, decay=0.9)
        >>> _ = nn.init.ones_(model.weight)
        >>> average.update(model)
        >>> round(average.model.weight.item(), 3)  # 1 - (1 + 1) / (10 + 1)
        0.818
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self._averaged = _floats(self.model)
        # Listing the tensors of a network takes longer than averaging them on a GPU, so the lists are kept.
        self._source, self._present = model, _floats(model)
        self._decay = decay
        self._steps = 0

    def update(self, model: nn.Module) -> None:
        """Include the model's present weights in the average; call it after each training step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        # Running means and variances are averaged too: those of the last step belong to other weights.
        present = self._present if model is self._source else _floats(model)
        get_ema_multi_avg_fn(decay)(self._averaged, present, self._steps)  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged model's state and the number of steps, for `load_state_dict`."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])


def _floats(model: nn.Module) -> list[Tensor]:
    """Return the model's floating-point tensors; batch normalization also has an integer counter of batches."""
    return [tensor.detach() for tensor in model.state_dict().values() if tensor.is_floating_point()]
