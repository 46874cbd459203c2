"""Training by several processes at once, as `torchrun` and `accelerate launch` start them."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import torch
from attrs import field, frozen
from torch import Generator, Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nas.errors import NasError
from nas.train.loop import TrainingRun

# A prime above the seeds of epochs of usual runs, so that the processes augment their images differently.
_SEED_DISTANCE = 2_147_483_647


@frozen
class Processes:
    """Describe the processes that train one network together.

    Attributes:
        count: Number of processes.
        rank: Number of this process, from 0.
        local_rank: Number of this process on its machine, which is that of its GPU.
    """

    count: int = 1
    rank: int = 0
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Return whether this process writes files and prints."""
        return self.rank == 0

    def device(self, kind: str) -> str:
        """Return the device of this process, given the device of the command, such as "cuda"."""
        return f"{kind}:{self.local_rank}" if kind == "cuda" and self.count > 1 else kind


ALONE = Processes()


def find_processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """Return the processes that a launcher has started, by its environment variables; without a launcher only this one.

    Raises:
        NasError: The variables are not whole numbers, or do not fit together.

    >>> find_processes({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"})
    Processes(count=2, rank=1, local_rank=1)
    """
    texts = {name: environment.get(name, default) for name, default in _VARIABLES.items()}
    if not all(text.isdecimal() for text in texts.values()) or not int(texts["RANK"]) < int(texts["WORLD_SIZE"]):
        raise NasError(
            f"the environment variables of the launcher are {', '.join(f'{k}={v}' for k, v in texts.items())!r:.200}; "
            "they must be whole numbers, and RANK must be below WORLD_SIZE",
            "start the command with torchrun, or unset the variables",
        )
    return Processes(*(int(text) for text in texts.values()))


_VARIABLES: Mapping[str, str] = MappingProxyType({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"})


@contextmanager
def joined(processes: Processes, device: str) -> Iterator[None]:
    """Connect this process with the other ones while the context lasts; a single process is connected with none.

    Args:
        processes: Processes that train together.
        device: Device of this process.
    """
    if processes.count == 1:
        yield
        return
    is_cuda = device.startswith("cuda")
    if is_cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def agreed(values: Sequence[float], processes: Processes) -> Sequence[float]:
    """Return the values of the first process, in every process."""
    found = list(values)
    if processes.count > 1:
        distributed.broadcast_object_list(found, src=0)
    return found


@frozen(eq=False)
class DistributedRun(TrainingRun):
    """Train a model by several processes: each of them takes its slice of every batch.

    The gradients are averaged over the processes. Before each step all of them take the batch-norm statistics of the
    first process, whose weights and statistics are those that count.
    """

    replica: DistributedDataParallel = field(init=False)

    @replica.default
    def _make_replica(self) -> DistributedDataParallel:
        return DistributedDataParallel(self.model)

    @property
    def _smallest_batch(self) -> int:
        """Return the number of images of the smallest slice, so that all processes divide theirs into as many parts."""
        return super()._smallest_batch // distributed.get_world_size()

    def shuffled_batches(self, generator: Generator) -> tuple[Tensor, ...]:
        """Return the slices of the batches that belong to this process; see `TrainingRun`."""
        count, rank = distributed.get_world_size(), distributed.get_rank()
        batches = tuple(batch.tensor_split(count)[rank] for batch in super().shuffled_batches(generator))
        # The order of the images is that of all processes; the augmentation is not.
        generator.manual_seed(generator.initial_seed() + rank * _SEED_DISTANCE)
        torch.manual_seed(torch.initial_seed() + rank * _SEED_DISTANCE)
        return batches

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> Tensor:
        """Train one step, and return the mean loss of all processes, so that all of them stop if it is not finite."""
        with warnings.catch_warnings():
            # The weights of 1 x 1 convolutions are the same numbers in either memory layout.
            warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
            loss = super().step(batch, learning_rate, generator)
        distributed.all_reduce(loss)
        return loss / distributed.get_world_size()

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        is_trained = model is self.model and model.training
        return super()._logits(self.replica if is_trained else model, images)
