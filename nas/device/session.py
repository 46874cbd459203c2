"""Inference sessions in ONNX Runtime that run a graph on exactly the requested execution provider."""

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
from attrs import frozen
from numpy.typing import NDArray

from nas.device.memory import is_out_of_memory
from nas.device.spec import PROVIDERS, Device
from nas.device.validation import first_line
from nas.errors import DeviceError

_ERRORS_ONLY = 3  # ONNX Runtime's severity level.
_FALLBACK = "fallback to CPU EP has been explicitly disabled"
_SMALLER = "give a smaller batch, smaller images or a smaller network"
# Providers with memory of their own. Inputs and outputs stay in it, so that a latency includes no copy between host and
# GPU, and `synchronize_outputs` waits for the asynchronous kernels.
_DEVICE_MEMORY = {PROVIDERS["cuda"]: "cuda", PROVIDERS["tensorrt"]: "cuda"}

# Without these options a provider would not follow the device specification: CUDA would compute fp32 convolutions in
# TF32, and XNNPACK would use a thread pool of its own size.
PROVIDER_OPTIONS: Mapping[str, Callable[[Device], dict[str, str]]] = MappingProxyType(
    {
        PROVIDERS["cuda"]: lambda _device: {"use_tf32": "0"},
        PROVIDERS["xnnpack"]: lambda device: {"intra_op_num_threads": str(device.threads)},
    }
)


def bind_cores(cores: Collection[int]) -> None:
    """Bind this thread, and the threads that it starts later, to CPU cores; without any, nothing changes.

    Raises:
        DeviceError: The operating system does not support this.
    """
    if not cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise DeviceError(
            f"the device has cores={'+'.join(map(str, cores))}, and this operating system cannot bind a process "
            "to CPU cores",
            "leave the option cores out of the device",
        )
    os.sched_setaffinity(0, cores)


def open_session(model: bytes | onnx.ModelProto, device: Device) -> onnxruntime.InferenceSession:
    """Return a session that runs the whole graph on the device's execution provider.

    Args:
        model: The graph, or the bytes of its file.
        device: Provider and threads. The graph has its own batch and precision.

    Raises:
        DeviceError: The runtime rejects the graph, or would run it on another provider.
    """
    data = model if isinstance(model, bytes) else model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(data, _options(device), providers=[_provider(device)])
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        raise _refusal(error, data, device) from None
    if session.get_providers()[0] != device.provider:
        raise DeviceError(
            f"ONNX Runtime would run the network on {session.get_providers()[0]} instead of {device.provider}",
            "install the libraries and the driver that the provider needs",
        )
    return session


def _provider(device: Device) -> tuple[str, dict[str, str]]:
    options = PROVIDER_OPTIONS.get(device.provider)
    return device.provider, options(device) if options else {}


def _options(device: Device, *, fallback: bool = False) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Each session has its own threads, which keep spinning for a while after a run. Many sessions take turns in one
    # measurement, so that the threads of one would use CPU cores while the next one is timed.
    # Stopping them costs a few microseconds (docs/latency.md).
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # ONNX Runtime runs an operator on the CPU where the provider does not support it. A latency that mixes two devices
    # would be wrong without a sign of it, so that this is an error instead.
    if device.provider != PROVIDERS["cpu"] and not fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _refusal(error: Exception, data: bytes, device: Device) -> DeviceError:
    """Return the error for a network that could not be loaded; it names the first layer that the device cannot run."""
    if is_out_of_memory(error):
        return DeviceError(f"the device has too little memory to load the network: {first_line(error)}", _SMALLER)
    layer = _refused_layer(str(error)) or (_layer_on_cpu(data, device) if _FALLBACK in str(error) else None)
    if layer is None:
        return DeviceError(
            f"ONNX Runtime rejects the network on {device.provider}: {first_line(error)}",
            "see the documentation of the provider for the operators and shapes that it supports",
        )
    name, operator = layer
    where = f"the layer {name!r:.120}" if name else "a layer without a name"
    return DeviceError(
        f"{device.provider} cannot run {where}, whose operator is {operator:.80}: {first_line(error)}",
        "give a network without this operator, or in another precision, or another device",
    )


def _refused_layer(message: str) -> tuple[str, str] | None:
    """Return the name and the operator of the node that a message of ONNX Runtime is about, or None."""
    found = re.search(r"implementation for (?P<operator>\w+).*? node with name '(?P<name>[^']*)'", message)
    return (found["name"], found["operator"]) if found else None


def _layer_on_cpu(data: bytes, device: Device) -> tuple[str, str] | None:
    """Return the name and the operator of the first node that the provider leaves to the CPU, or None if unknown."""
    options = _options(device, fallback=True)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[_provider(device), PROVIDERS["cpu"]])
        parts = session.get_provider_graph_assignment_info()
        return next(
            (node.name, node.op_type) for part in parts if part.ep_name != device.provider for node in part.get_nodes()
        )
    except Exception:  # Releases before 1.24 do not report it.
        return None


def failed_run(error: Exception, batch: int) -> DeviceError:
    """Return the error for a network that was loaded and cannot run a batch."""
    if is_out_of_memory(error):
        return DeviceError(f"the device has too little memory for a batch of {batch}: {first_line(error)}", _SMALLER)
    return DeviceError(
        f"ONNX Runtime cannot run the network on a batch of {batch}: {first_line(error)}",
        "give images of the size and type that the network takes, or export it with a smaller batch",
    )


@frozen
class TimedNetwork:
    """Run one network repeatedly on one random batch; inputs and outputs stay in the device's memory.

    Attributes:
        session: Session that has the network.
        binding: Its input and output buffers.
        cores: CPU cores that the calling thread is bound to before each run; without any, it stays where it is.
    """

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding
    cores: Collection[int] = ()

    def __call__(self) -> float:
        """Run the network once and return the duration in seconds."""
        bind_cores(self.cores)
        begun = time.perf_counter()
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return time.perf_counter() - begun


def load_network(
    model: bytes | onnx.ModelProto, device: Device, shape: Sequence[int] = (), cores: Collection[int] = ()
) -> TimedNetwork:
    """Return a network that is loaded and bound to a random batch of images.

    Args:
        model: The graph, or the bytes of its file.
        device: Provider and threads.
        shape: Shape of the batch where the graph leaves a part of it open.
        cores: CPU cores that the network runs on; without any, the process is not bound.

    Raises:
        DeviceError: See `open_session`; or the device has too little memory for the batch.
    """
    bind_cores(cores)  # Before the session: threads inherit the cores of the thread that starts them.
    session = open_session(model, device)
    memory = _DEVICE_MEMORY.get(device.provider, "cpu")
    (input_info,), (output_info,) = session.get_inputs(), session.get_outputs()
    batch = random_images(shape or input_info.shape, np.dtype(np.uint8 if "uint8" in input_info.type else np.float32))
    binding = session.io_binding()
    try:
        binding.bind_ortvalue_input(input_info.name, onnxruntime.OrtValue.ortvalue_from_numpy(batch, memory, 0))
        # The first run allocates the output; later runs write into the same buffer, so that no run is timed with an
        # allocation in it.
        binding.bind_output(output_info.name, memory)
        session.run_with_iobinding(binding)
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        raise failed_run(error, len(batch)) from None
    binding.bind_ortvalue_output(output_info.name, binding.get_outputs()[0])
    return TimedNetwork(session, binding, cores)


def random_images(shape: Sequence[int], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return a batch of random images: numbers from 0 to 1, or to 255 where they are whole."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, shape, np.uint8) if dtype == np.uint8 else rng.random(shape, dtype=np.float32)
