"""Inference sessions in ONNX Runtime that run a graph on exactly the requested execution provider."""

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
from attrs import frozen

from nas.device.spec import PROVIDERS, Device
from nas.errors import DeviceError
from nas.graph.build import OUTPUT

_ERRORS_ONLY = 3  # ONNX Runtime's severity level.
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


def bind_cores(device: Device) -> None:
    """Bind this process, and the threads that it starts later, to the CPU cores of the device.

    Raises:
        DeviceError: The operating system does not support this.
    """
    if not device.cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise DeviceError(
            f"the device has cores={'+'.join(map(str, device.cores))}, and this operating system cannot bind a process "
            "to CPU cores",
            "leave the option cores out of the device",
        )
    os.sched_setaffinity(0, device.cores)


def open_session(model: bytes | onnx.ModelProto, device: Device) -> onnxruntime.InferenceSession:
    """Return a session that runs the whole graph on the device's execution provider.

    Args:
        model: The graph, or the bytes of its file.
        device: Provider and threads. The graph has its own batch and precision.

    Raises:
        DeviceError: The runtime rejects the graph, or would run it on another provider.
    """
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
    if device.provider != PROVIDERS["cpu"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        provider_options = PROVIDER_OPTIONS.get(device.provider)
        provider = (device.provider, provider_options(device) if provider_options else {})
        data = model if isinstance(model, bytes) else model.SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        raise DeviceError(
            f"ONNX Runtime rejects the network on {device.provider}: {_first_line(error)}",
            "see the documentation of the provider for the operators and shapes that it supports",
        ) from None
    if session.get_providers()[0] != device.provider:
        raise DeviceError(
            f"ONNX Runtime would run the network on {session.get_providers()[0]} instead of {device.provider}",
            "install the libraries and the driver that the provider needs",
        )
    return session


def failed_run(error: Exception, batch: int) -> DeviceError:
    """Return the error for a network that was loaded and cannot run a batch."""
    return DeviceError(
        f"ONNX Runtime cannot run the network on a batch of {batch}: {_first_line(error)}",
        "give images of the size and type that the network takes, or export it with a smaller batch",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


@frozen
class TimedNetwork:
    """Run one network repeatedly on one random batch; inputs and outputs stay in the device's memory.

    Attributes:
        session: Session that has the network.
        binding: Its input and output buffers.
    """

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding

    def __call__(self) -> float:
        """Run the network once and return the duration in seconds."""
        begun = time.perf_counter()
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return time.perf_counter() - begun


def load_network(model: onnx.ModelProto, device: Device) -> TimedNetwork:
    """Return a network that is loaded and bound to a random batch `(batch, C, H, W)`.

    Raises:
        DeviceError: See `open_session`.
    """
    session = open_session(model, device)
    memory = _DEVICE_MEMORY.get(device.provider, "cpu")
    (input_info,) = session.get_inputs()
    batch = np.random.default_rng(0).random(input_info.shape, dtype=np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(input_info.name, onnxruntime.OrtValue.ortvalue_from_numpy(batch, memory, 0))
    # The first run allocates the output; later runs write into the same buffer, so that no run is timed with an
    # allocation in it.
    binding.bind_output(OUTPUT, memory)
    session.run_with_iobinding(binding)
    binding.bind_ortvalue_output(OUTPUT, binding.get_outputs()[0])
    return TimedNetwork(session, binding)
