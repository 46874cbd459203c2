"""Measurements of networks, and logits of images with their peak memory, in the current process."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from attrs import frozen
from numpy.typing import NDArray

from nas.device.machine import check_device, usable_cores
from nas.device.memory import peak_growth
from nas.device.model_file import ModelFile
from nas.device.onnx_check import OPEN_BATCH, CheckedFile, check_onnx
from nas.device.quantize import quantize
from nas.device.reference import REFERENCE
from nas.device.run_model import run_session
from nas.device.session import TimedNetwork, bind_cores, load_network, open_session
from nas.device.spec import Device
from nas.device.timing import Aim, Turns, time_in_turn
from nas.errors import DeviceError, WeightsError
from nas.graph.build import build_graph
from nas.graph.fragment import Fragment

_TINY = Fragment(REFERENCE.parts[:1], REFERENCE.shape)


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


def check_file(file: ModelFile, batch: int) -> CheckedFile:
    """Check an ONNX file before ONNX Runtime reads it; see `check_onnx`.

    Raises:
        DeviceError: The file does not pass the check, or has another batch.
    """
    try:
        checked = check_onnx(file.data, size=file.size, batch=batch)
    except WeightsError as error:
        raise DeviceError(f"{file.name}: {error.problem}", error.remedy) from None
    if checked.batch not in (None, batch):
        raise DeviceError(
            f"{file.name} takes batches of {checked.batch}, and the device has batch={batch}",
            f"give the device with batch={checked.batch}, or a file whose batch is open",
        )
    return checked


@frozen
class _Loader:
    """Load networks for one measurement.

    Attributes:
        cores: CPU cores of this process, or none if no device of the measurement is bound to some.
    """

    cores: frozenset[int]

    def __call__(self, network: Fragment | ModelFile, device: Device) -> TimedNetwork:
        cores = device.cores or self.cores
        if isinstance(network, ModelFile):  # It has a precision of its own.
            checked = check_file(network, device.batch)
            return load_network(network.data, device, (device.batch, *checked.shape), cores)
        model = build_graph(network, batch=device.batch)
        return load_network(quantize(model) if device.precision == "int8" else model, device, cores=cores)


def measure(
    networks: Sequence[Fragment | ModelFile], device: Device, aim: Aim, devices: Sequence[Device] = ()
) -> Turns:
    """Time networks in turn with the reference network and with each other.

    Args:
        networks: Fragments, and ONNX files, which have a precision of their own.
        device: Device of the reference network and, without `devices`, of all networks.
        aim: When the measurement stops.
        devices: Device of each network.

    Raises:
        DeviceError: This machine does not have a device, a network is too large, a file does not pass the check, or the
            runtime rejects a network.
    """
    placed = list(zip(networks, devices or [device] * len(networks), strict=True))
    for each in dict.fromkeys((device, *devices)):
        check_device(each)
    for network, its_device in placed:
        if isinstance(network, Fragment):
            check_fragment(network, its_device.batch)
    load = _Loader(frozenset(usable_cores() if any(each.cores for each in (device, *devices)) else ()))
    runs = [load(network, its_device) for network, its_device in ((REFERENCE, device), *placed)]
    return time_in_turn(runs[0], runs[1:], aim)


def run(file: ModelFile, images: NDArray[np.generic], device: Device) -> tuple[NDArray[np.float32], int | None]:
    """Return the logits `(N, classes)` of images, and the growth of the peak memory by loading and running the file.

    The growth is that of the first batch: the file's own, or that of the device where the file leaves it open.

    Raises:
        DeviceError: The file does not pass the check, the runtime rejects it, or there is too little memory.
    """
    check_device(device)
    bind_cores(device.cores)
    try:
        checked = check_onnx(file.data, size=_sides(images), batch=max(device.batch, OPEN_BATCH))
        checked.check_images(images)
    except WeightsError as error:
        raise DeviceError(f"{file.name}: {error.problem}", error.remedy) from None
    # The first session of a process also loads the code of the runtime, which is not memory of the network.
    load_network(build_graph(_TINY), device)
    batch = checked.batch or device.batch

    def load() -> onnxruntime.InferenceSession:
        session = open_session(file.data, device)
        run_session(session, images[:batch], batch)
        return session

    session, peak_bytes = peak_growth(load)
    return run_session(session, images), peak_bytes


def _sides(images: NDArray[np.generic]) -> tuple[int, int]:
    height, width = images.shape[1:3] if images.dtype == np.uint8 else images.shape[2:4]
    return int(height), int(width)
