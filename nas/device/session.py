"""A graph in ONNX Runtime, exactly on the provider that was asked for."""

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
from attrs import frozen

from nas.device.spec import SHORT, Device
from nas.errors import DeviceError
from nas.graph.build import OUTPUT

_QUIET = 3  # errors alone
# Providers whose memory is their own; inputs and outputs are kept there, and a run is waited for.
_MEMORY = {SHORT["cuda"]: "cuda", SHORT["tensorrt"]: "cuda"}

# Without these a provider would run otherwise than the device says: in TF32, or with as many threads as it likes.
PROVIDER_OPTIONS: Mapping[str, Callable[[Device], dict[str, str]]] = MappingProxyType(
    {
        SHORT["cuda"]: lambda _device: {"use_tf32": "0"},
        SHORT["xnnpack"]: lambda device: {"intra_op_num_threads": str(device.threads)},
    }
)


def bind_cores(device: Device) -> None:
    """Bind this process to the device's cores; threads that are begun later are bound too.

    Raises:
        DeviceError: the system cannot.
    """
    if not device.cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise DeviceError("this system binds no process to cores", "leave cores out of the device")
    os.sched_setaffinity(0, device.cores)


def open_session(model: onnx.ModelProto, device: Device) -> onnxruntime.InferenceSession:
    """A session on the device's provider and on no other.

    Raises:
        DeviceError: the runtime refuses the graph, or would run it elsewhere.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Every network in turn has threads of its own, which would go on spinning into the next one's time.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if device.provider != SHORT["cpu"]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        own = PROVIDER_OPTIONS.get(device.provider)
        provider = (device.provider, own(device) if own else {})
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[provider])
    except Exception as error:  # the runtime's own exceptions have no common class
        raise DeviceError(
            f"ONNX Runtime refuses the network: {_first_line(error)}", "see the provider's limits"
        ) from None
    if session.get_providers()[0] != device.provider:
        raise DeviceError(
            f"asked for {device.provider}, ONNX Runtime would run on {session.get_providers()[0]}",
            "see that the provider's libraries and driver are installed",
        )
    return session


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


@frozen
class Runner:
    """Runs one network on one random batch over and over; inputs and outputs stay where they are."""

    session: onnxruntime.InferenceSession
    binding: onnxruntime.IOBinding

    def __call__(self) -> float:
        """Run once; gives the seconds it took."""
        begun = time.perf_counter()
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return time.perf_counter() - begun


def make_runner(model: onnx.ModelProto, device: Device) -> Runner:
    """A runner on a random batch.

    Raises:
        DeviceError: see `open_session`.
    """
    session = open_session(model, device)
    memory = _MEMORY.get(device.provider, "cpu")
    (taken,) = session.get_inputs()
    batch = np.random.default_rng(0).random(taken.shape, dtype=np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(taken.name, onnxruntime.OrtValue.ortvalue_from_numpy(batch, memory, 0))
    binding.bind_output(OUTPUT, memory)
    session.run_with_iobinding(binding)
    binding.bind_ortvalue_output(OUTPUT, binding.get_outputs()[0])
    return Runner(session, binding)
