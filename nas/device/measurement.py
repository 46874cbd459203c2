"""Fragments ► times, in this process."""

from collections.abc import Sequence

from attrs import frozen

from nas.device.machine import check_device
from nas.device.quantize import quantize
from nas.device.reference import REFERENCE
from nas.device.session import Runner, bind_cores, make_runner
from nas.device.spec import Device
from nas.device.timing import Aim, Turns, time_in_turn
from nas.errors import DeviceError
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment


@frozen
class Limits:
    """What a fragment may be, so that a request cannot use up a machine.

    Attributes:
        layers: how many.
        weights: numbers in all kernels.
        elements: numbers in the largest activation of the batch.
        macs: multiply-adds of the batch.
    """

    layers: int = 2_000
    weights: int = 400_000_000
    elements: int = 500_000_000
    macs: int = 2_000_000_000_000


def check_fragment(fragment: Fragment, batch: int, limits: Limits = Limits()) -> None:
    """Refuse what is too large to be built.

    Raises:
        DeviceError: saying which limit.
    """
    layers = sum(getattr(part, "layers", 1) for part in fragment.parts)
    _check("layers", layers, limits.layers)
    nodes = [node for placed in fragment.walk() for node in placed.nodes]
    _check("weights", sum(node.weights for node in nodes), limits.weights)
    shapes = [fragment.shape, *(node.shape for node in nodes)]
    _check("numbers in one activation", batch * max(shape.elements for shape in shapes), limits.elements)
    macs = sum(node.weights * node.shape.height * node.shape.width for node in nodes)
    _check("multiply-adds", batch * macs, limits.macs)


def _check(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise DeviceError(f"a network has {value:,} {what}, and {limit:,} are let in", "give a smaller one")


def _prepare(fragment: Fragment, device: Device) -> Runner:
    model = build_graph(fragment, batch=device.batch)
    return make_runner(quantize(model) if device.precision == "int8" else model, device)


def measure(fragments: Sequence[Fragment], device: Device, aim: Aim) -> Turns:
    """Time fragments in turn with the reference network and with each other.

    Raises:
        DeviceError: this machine has no such device, or the runtime refuses a fragment.
    """
    check_device(device)
    for fragment in fragments:
        check_fragment(fragment, device.batch)
    bind_cores(device)
    runners = [_prepare(fragment, device) for fragment in (REFERENCE, *fragments)]
    return time_in_turn(runners[0], runners[1:], aim)
