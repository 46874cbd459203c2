"""Measurement of fragments in the current process."""

from collections.abc import Sequence

from attrs import frozen

from nas.device.machine import check_device
from nas.device.quantize import quantize
from nas.device.reference import REFERENCE
from nas.device.session import TimedNetwork, bind_cores, load_network
from nas.device.spec import Device
from nas.device.timing import Aim, Turns, time_in_turn
from nas.errors import DeviceError
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment


@frozen
class Limits:
    """Limit the size of a fragment, so that a request cannot exhaust the memory or the time of a machine.

    Attributes:
        layers: Largest number of layers.
        weights: Largest number of elements in all kernels and matrices.
        elements: Largest number of elements in one activation of the batch.
        macs: Largest number of multiply-adds of the batch.
    """

    layers: int = 2_000
    weights: int = 400_000_000
    elements: int = 500_000_000
    macs: int = 2_000_000_000_000


def check_fragment(fragment: Fragment, batch: int, limits: Limits = Limits()) -> None:
    """Check a fragment against the limits, from its shapes alone and before anything is built.

    Raises:
        DeviceError: The fragment exceeds a limit, which the message names.
    """
    layers = sum(getattr(part, "layers", 1) for part in fragment.parts)
    _check_limit("layers", layers, limits.layers)
    nodes = [node for placed in fragment.walk() for node in placed.nodes]
    _check_limit("weights", sum(node.weights for node in nodes), limits.weights)
    shapes = [fragment.shape, *(node.shape for node in nodes)]
    _check_limit("elements in one activation", batch * max(shape.elements for shape in shapes), limits.elements)
    macs = sum(node.weights * node.shape.height * node.shape.width for node in nodes)
    _check_limit("multiply-adds", batch * macs, limits.macs)


def _check_limit(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise DeviceError(
            f"a network has {value:,} {what}, and at most {limit:,} are allowed",
            "give a smaller network, a lower resolution or a smaller batch",
        )


def _load(fragment: Fragment, device: Device) -> TimedNetwork:
    model = build_graph(fragment, batch=device.batch)
    return load_network(quantize(model) if device.precision == "int8" else model, device)


def measure(fragments: Sequence[Fragment], device: Device, aim: Aim) -> Turns:
    """Time fragments in turn with the reference network and with each other.

    Raises:
        DeviceError: This machine does not have the device, a fragment is too large, or the runtime rejects it.
    """
    check_device(device)
    for fragment in fragments:
        check_fragment(fragment, device.batch)
    bind_cores(device)  # Before any session: threads inherit the cores of the process that starts them.
    networks = [_load(fragment, device) for fragment in (REFERENCE, *fragments)]
    return time_in_turn(networks[0], networks[1:], aim)
