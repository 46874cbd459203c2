"""Forward and backward passes that are recorded as CUDA graphs and replayed, which takes little time of the CPU."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.train.memory import is_out_of_memory

# Function that adds the gradients of a loss to the parameters, and returns the loss, which is detached.
Backward = Callable[..., Tensor]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]

# Number of steps of a shape that are computed as usual before they are recorded: libraries allocate memory and choose
# kernels in the first ones, which must not be recorded.
_FIRST_STEPS = 3
# Number of shapes that are recorded: batches have two sizes, and the last ones of an earlier resolution may stay.
_MOST_SHAPES = 4


@frozen(eq=False)
class _Recorded:
    """Hold a recorded pass with the memory that it reads and writes.

    Attributes:
        graph: CUDA graph.
        inputs: Tensors that the graph reads.
        loss: Tensor that it writes the loss to.
        gradients: Tensors that it writes the gradients of the parameters to.
    """

    graph: Any
    inputs: tuple[Tensor, ...]
    loss: Tensor
    gradients: tuple[Tensor | None, ...]


class GraphedBackward:
    """Compute a loss and its gradients by replaying a CUDA graph for each combination of the inputs' shapes.

    The gradients replace those of the step before. A pass that cannot be recorded is computed as usual.

    Args:
        backward: Function of the input tensors, which computes nothing that depends on their values outside the GPU.
        parameters: Parameters that get a gradient.
    """

    def __init__(self, backward: Backward, parameters: Iterable[nn.Parameter]) -> None:
        self._backward = backward
        self._parameters = tuple(parameters)
        self._recorded: dict[Shapes, _Recorded] = {}
        self._steps: dict[Shapes, int] = {}
        self._fails = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the loss of the inputs, a scalar; the parameters have its gradients."""
        shapes = tuple((each.shape, each.dtype) for each in inputs)
        if self._fails or not self._is_known(shapes, inputs):
            return self._compute(inputs)
        return self._replay(self._recorded[shapes], inputs)

    def _compute(self, inputs: tuple[Tensor, ...]) -> Tensor:
        self._forget_gradients()
        return self._backward(*inputs)

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _is_known(self, shapes: Shapes, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether there is a record for the shapes, after making one if it is time to."""
        if shapes in self._recorded:
            return True
        steps = self._steps[shapes] = self._steps.get(shapes, 0) + 1
        if steps <= _FIRST_STEPS:
            return False
        try:
            record = self._record(inputs)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._fails = True
            warnings.warn(f"steps are not recorded as CUDA graphs: {error}", RuntimeWarning, stacklevel=2)
            return False
        while len(self._recorded) >= _MOST_SHAPES:
            # The oldest one is the first; the images of an earlier resolution do not come back.
            self._recorded.pop(next(iter(self._recorded)))
        self._recorded[shapes] = record
        return True

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recorded:
        static = tuple(torch.empty_like(each).copy_(each) for each in inputs)
        # Without gradients, the backward pass writes new ones into the memory of the graph, and adds to none.
        self._forget_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._backward(*static)
        return _Recorded(graph, static, loss, tuple(parameter.grad for parameter in self._parameters))

    def _replay(self, recorded: _Recorded, inputs: tuple[Tensor, ...]) -> Tensor:
        for static, each in zip(recorded.inputs, inputs, strict=True):
            static.copy_(each)
        recorded.graph.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        # The next replay overwrites the loss.
        return recorded.loss.clone()


def can_record(device: str) -> bool:
    """Return whether steps on a device can be recorded."""
    return torch.device(device).type == "cuda" and torch.cuda.is_available()
