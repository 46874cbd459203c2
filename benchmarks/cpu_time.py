"""Timing by the CPU time of the thread, for machines that other programs use.

With one thread ONNX Runtime computes a whole network in the thread that calls it. The CPU time of this thread leaves
out the time in which other programs had the core: with six runnable programs for each core, the quartiles of
100 runs of MnasNet-A1 were 4.49 and 4.65 ms by CPU time, and 12.5 and 16.7 ms by wall-clock time.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.device.logits import DeviceLogits
from nas.device.machine import Machine, this_machine
from nas.device.model_file import ModelFile
from nas.device.reference import REFERENCE
from nas.device.run_model import run_model
from nas.device.session import TimedNetwork, load_network
from nas.device.spec import Device
from nas.device.timing import Aim, Run, Turns, time_in_turn
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment


def by_cpu_time(network: TimedNetwork) -> Run:
    """Return a function that runs a network once and returns the CPU time of the thread in seconds."""

    def run() -> float:
        begun = time.thread_time()
        network.session.run_with_iobinding(network.binding)
        return time.thread_time() - begun

    return run


@frozen
class CpuTimeMeter:
    """Time networks on this machine by CPU time; this is a `nas.device.client.Meter`."""

    device: Device = field(factory=Device)

    @property
    def machine(self) -> Machine:
        """Return this machine."""
        return this_machine(self.device)

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim) -> Turns:
        """Time networks in turn with the reference and with each other."""
        reference, *runs = (by_cpu_time(self._load(each)) for each in (REFERENCE, *candidates))
        return time_in_turn(reference, runs, aim, clock=time.thread_time)

    def _load(self, network: Fragment | ModelFile) -> TimedNetwork:
        return load_network(network.data if isinstance(network, ModelFile) else build_graph(network), self.device)

    def measure_each(self, batches: Sequence[Sequence[Fragment | ModelFile]], aim: Aim) -> Iterator[Turns]:
        """Time several batches."""
        return (self.measure(batch, aim) for batch in batches)

    def logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits of images, with an unknown peak of the memory."""
        return DeviceLogits(run_model(model.data, images, self.device), None, self.device.provider)
