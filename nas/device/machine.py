"""What a machine is, as far as times depend on it."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from nas.device.spec import SHORT, Device
from nas.errors import DeviceError

# Instruction sets that ONNX Runtime has kernels of its own for.
_ISA = (
    "avx",
    "avx2",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "asimddp",
    "i8mm",
    "sve",
)
PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "CPUExecutionProvider": "onnxruntime",
        "CUDAExecutionProvider": "onnxruntime-gpu",
        "TensorrtExecutionProvider": "onnxruntime-gpu",
        "CoreMLExecutionProvider": "onnxruntime on macOS",
        "DmlExecutionProvider": "onnxruntime-directml",
        "OpenVINOExecutionProvider": "onnxruntime-openvino",
        "MIGraphXExecutionProvider": "onnxruntime-migraphx",
        "QNNExecutionProvider": "onnxruntime-qnn",
        "WebGpuExecutionProvider": "onnxruntime-webgpu",
        "XnnpackExecutionProvider": "a build of ONNX Runtime with XNNPACK",
    }
)
_NUMBERS = ("cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part", "CPU revision")
_NVIDIA = (SHORT["cuda"], SHORT["tensorrt"])


@frozen(cache_hash=True)
class Machine:
    """A machine that runs networks.

    Attributes:
        cpu: model name and stepping.
        isa: instruction sets that matter to the runtime.
        cores: that this process may use.
        accelerator: name of the graphics card, "" where none is used.
        system: operating system and architecture, "Linux x86_64".
        runtime: version of ONNX Runtime.
    """

    cpu: str
    isa: str
    cores: int
    accelerator: str
    system: str
    runtime: str

    @property
    def kind(self) -> tuple[str, ...]:
        """What times depend on: equal for two machines of one type with the same runtime."""
        return (self.cpu, self.isa, self.accelerator, self.system, self.runtime)


def this_machine(device: Device) -> Machine:
    """The machine this process runs on; its accelerator where the device uses one."""
    import onnxruntime  # here, since a machine's record is read where no runtime is installed

    about = _cpu_info()
    return Machine(
        cpu=_cpu_name(about),
        isa=" ".join(name for name in _ISA if name in about.get("flags", about.get("Features", "")).split()),
        cores=_cores(),
        accelerator=_graphics_card() if device.provider in _NVIDIA else "",
        system=f"{platform.system()} {platform.machine()}",
        runtime=onnxruntime.__version__,
    )


def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty elsewhere."""
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        pairs = (line.partition(":") for line in first.splitlines())
        return {key.strip(): value.strip() for key, _, value in pairs}
    return {}


def _cpu_name(about: Mapping[str, str]) -> str:
    name = about.get("model name") or _board() or _sysctl() or platform.processor() or platform.machine()
    numbers = "/".join(about[key] for key in _NUMBERS if key in about)
    return re.sub(r"[\s,#]+", " ", f"{name} {numbers}").strip()


def _board() -> str:
    """The name of a single-board computer, whose processor tells numbers alone."""
    with suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return ""


def _sysctl() -> str:
    return _said("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else ""


def _graphics_card() -> str:
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").replace(",", " driver")


def _said(*command: str) -> str:
    """The first line a command prints, "" where it cannot be run."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        return (done.stdout.splitlines() or [""])[0].strip()
    return ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def providers() -> tuple[str, ...]:
    """ONNX Runtime's providers here that run networks by themselves, by their whole names."""
    import onnxruntime

    return tuple(name for name in onnxruntime.get_available_providers() if name != "AzureExecutionProvider")


def check_device(device: Device) -> None:
    """Refuse what this machine cannot do.

    Raises:
        DeviceError: no such provider, more threads than cores, cores that are not there.
    """
    if device.provider not in providers():
        package = PACKAGES.get(device.provider)
        here = ", ".join(providers())
        raise DeviceError(
            f"ONNX Runtime has no {device.provider} here, only {here}",
            f"it comes with {package}" if package else "install the build of ONNX Runtime that has it",
        )
    usable = _usable_cores()
    if device.threads > len(usable):
        raise DeviceError(f"{device.threads} threads are asked for on {len(usable)} cores", "ask for fewer threads")
    if missing := [core for core in device.cores if core not in usable]:
        raise DeviceError(f"there is no core {missing[0]}", f"cores are {', '.join(map(str, sorted(usable)))}")
    if device.cores and device.threads > len(device.cores):
        raise DeviceError(
            f"{device.threads} threads are bound to {len(device.cores)} cores", "give as many cores as threads"
        )


def _usable_cores() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
