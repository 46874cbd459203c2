"""Training steps that are recorded as CUDA graphs and replayed, which takes little time of the CPU."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.optim import Optimizer

from nas.train.memory import has_room_for_another_step, is_out_of_memory, measure_memory

# Function that changes the weights of a model, and returns the loss before the change, which is detached.
Step = Callable[..., Tensor]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]

# Number of steps of a shape that are computed as usual before they are recorded: libraries allocate memory and choose
# kernels in the first ones, which must not be recorded, and the optimizer makes its state.
FIRST_STEPS = 3
# Number of shapes that are recorded: batches have two sizes, and the last ones of an earlier resolution may stay.
_MOST_SHAPES = 4


@frozen(eq=False)
class _Recorded:
    """Hold a recorded step with the memory that it reads and writes.

    Attributes:
        graph: CUDA graph.
        inputs: Tensors that the graph reads.
        loss: Tensor that it writes the loss to.
    """

    graph: Any
    inputs: tuple[Tensor, ...]
    loss: Tensor


class GraphedStep:
    """Compute a training step by replaying a CUDA graph for each combination of the inputs' shapes.

    A replay runs the same kernels on the same numbers as the step that was recorded, random numbers included. A step
    that cannot be recorded, or for whose record there is little memory, is computed as usual.

    Args:
        step: Function of the input tensors, which computes nothing that depends on their values outside the GPU. All
            that it changes keeps its place in memory, but for gradients, which it makes anew.
        device: Device that trains.
    """

    def __init__(self, step: Step, device: str) -> None:
        self._step = step
        self._device = device
        self._fails = False
        self.forget()

    def forget(self) -> None:
        """Forget all records, because what they change has got another place in memory."""
        self._recorded: dict[Shapes, _Recorded] = {}
        self._steps: dict[Shapes, int] = {}
        # Records share their memory, since they are never replayed at the same time.
        self._pool: Any = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Train one step on the inputs, and return its loss, a scalar."""
        shapes = tuple((each.shape, each.dtype) for each in inputs)
        if self._fails or not self._is_known(shapes, inputs):
            return self._step(*inputs)
        return _replay(self._recorded[shapes], inputs)

    def _is_known(self, shapes: Shapes, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether there is a record for the shapes, after making one if it is time to."""
        if shapes in self._recorded:
            return True
        if not self._steps:
            measure_memory(self._device)
        steps = self._steps[shapes] = self._steps.get(shapes, 0) + 1
        if steps <= FIRST_STEPS:
            return False
        # A record keeps the memory of a step. A run that could then need a smaller batch is not recorded.
        self._fails = not has_room_for_another_step(self._device)
        return not self._fails and self._keep_record(shapes, inputs)

    def _keep_record(self, shapes: Shapes, inputs: tuple[Tensor, ...]) -> bool:
        """Make a record for the shapes, and return whether that was possible."""
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
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            loss = self._step(*static)
        self._pool = graph.pool()
        return _Recorded(graph, static, loss)


def _replay(recorded: _Recorded, inputs: tuple[Tensor, ...]) -> Tensor:
    for static, each in zip(recorded.inputs, inputs, strict=True):
        static.copy_(each)
    recorded.graph.replay()
    # The next replay overwrites the loss.
    return recorded.loss.clone()


def can_record(device: str) -> bool:
    """Return whether steps on a device can be recorded."""
    return torch.device(device).type == "cuda" and torch.cuda.is_available()


def make_recordable(optimizer: Optimizer, device: str) -> None:
    """Keep the numbers of an optimizer that change from step to step on the device, where a recorded step reads them.

    Args:
        optimizer: Optimizer before its first step.
        device: Device of its parameters.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)
        if "capturable" in group:
            group["capturable"] = True


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give each parameter group the learning rate times its `rate_factor`."""
    for group in optimizer.param_groups:
        rate = learning_rate * group["rate_factor"]
        if isinstance(group["lr"], Tensor):
            # A recorded step reads the number where it was when the step was recorded.
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
