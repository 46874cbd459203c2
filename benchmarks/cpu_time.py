"""Timing by the CPU time of the thread, for machines that other programs use.

With one thread ONNX Runtime computes a whole network in the thread that calls it. The CPU time of this thread leaves
out the time in which other programs had the core: with six runnable programs for each core, the quartiles of
100 runs of MnasNet-A1 were 4.49 and 4.65 ms by CPU time, and 12.5 and 16.7 ms by wall-clock time.
"""

import time
from collections.abc import Iterator, Sequence

from attrs import field, frozen

from nas.device.machine import Machine, this_machine
from nas.device.reference import REFERENCE
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

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """Time fragments in turn with the reference and with each other."""
        reference, *runs = (
            by_cpu_time(load_network(build_graph(each), self.device)) for each in (REFERENCE, *fragments)
        )
        return time_in_turn(reference, runs, aim, clock=time.thread_time)

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """Time several batches."""
        return (self.measure(batch, aim) for batch in batches)
