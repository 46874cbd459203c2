"""Description of a machine, as far as latencies depend on it."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from nas.device.spec import PROVIDERS, Device
from nas.errors import DeviceError
from nas.graph.form import FORM

# Instruction sets for which ONNX Runtime has separate kernels. Two machines that differ in one of them run other
# code, so that their latencies must not be compared.
_INSTRUCTION_SETS = (
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
_CPU_NUMBERS = ("cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part", "CPU revision")
_NVIDIA = (PROVIDERS["cuda"], PROVIDERS["tensorrt"])


@frozen(cache_hash=True)
class Machine:
    """Describe a machine that runs networks.

    Attributes:
        cpu: Model name and stepping of the CPU.
        isa: Instruction sets for which the runtime has separate kernels, separated by spaces.
        cores: Number of CPU cores that this process may use.
        accelerator: Name and driver of the GPU, "" where the device uses none.
        system: Operating system and architecture, like "Linux x86_64".
        runtime: Version of ONNX Runtime.
        graph: Form of the graphs that run there; see `nas.graph.form`.
    """

    cpu: str
    isa: str
    cores: int
    accelerator: str
    system: str
    runtime: str
    graph: str = FORM

    @property
    def kind(self) -> tuple[str, ...]:
        """Return what latencies depend on; it is equal for two machines of one type with the same runtime.

        The number of CPU cores is left out: a device names its threads, and containers on one machine differ in cores.
        """
        return (self.cpu, self.isa, self.accelerator, self.system, self.runtime, self.graph)


def this_machine(device: Device) -> Machine:
    """Return the machine that this process runs on, with its GPU where the device uses one."""
    import onnxruntime  # Imported here: a client without the runtime reads descriptions of other machines.

    cpu_info = _cpu_info()
    return Machine(
        cpu=_cpu_name(cpu_info),
        isa=" ".join(
            name for name in _INSTRUCTION_SETS if name in cpu_info.get("flags", cpu_info.get("Features", "")).split()
        ),
        cores=_core_count(),
        accelerator=_gpu_name() if device.provider in _NVIDIA else "",
        system=f"{platform.system()} {platform.machine()}",
        runtime=onnxruntime.__version__,
    )


def _cpu_info() -> dict[str, str]:
    """Return the first entry of /proc/cpuinfo, empty on systems without this file."""
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        pairs = (line.partition(":") for line in first.splitlines())
        return {key.strip(): value.strip() for key, _, value in pairs}
    return {}


def _cpu_name(cpu_info: Mapping[str, str]) -> str:
    name = (
        cpu_info.get("model name") or _board_name() or _apple_cpu_name() or platform.processor() or platform.machine()
    )
    numbers = "/".join(cpu_info[key] for key in _CPU_NUMBERS if key in cpu_info)
    return re.sub(r"[\s,#]+", " ", f"{name} {numbers}").strip()


def _board_name() -> str:
    """Return the name of a single-board computer: /proc/cpuinfo on Arm has numbers only and no name of the chip."""
    with suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return ""


def _apple_cpu_name() -> str:
    return _first_output_line("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else ""


def _gpu_name() -> str:
    return _first_output_line("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").replace(
        ",", " driver"
    )


def _first_output_line(*command: str) -> str:
    """Return the first line that a command prints, "" where the command fails."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        return (done.stdout.splitlines() or [""])[0].strip()
    return ""


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def providers() -> tuple[str, ...]:
    """Return the full names of ONNX Runtime's execution providers here, without Azure, which runs nothing itself."""
    import onnxruntime

    return tuple(name for name in onnxruntime.get_available_providers() if name != "AzureExecutionProvider")


def check_device(device: Device) -> None:
    """Check that this machine has what a device specification asks for.

    Raises:
        DeviceError: The provider or a CPU core is missing, or there are more threads than CPU cores.
    """
    if device.provider not in providers():
        package = PACKAGES.get(device.provider)
        here = ", ".join(providers())
        raise DeviceError(
            f"the installed ONNX Runtime has no {device.provider} here, only {here}",
            f"install {package}, which has it" if package else "install the build of ONNX Runtime that has it",
        )
    usable = usable_cores()
    if device.threads > len(usable):
        raise DeviceError(
            f"{device.threads} threads are asked for, and this process may use {len(usable)} CPU cores; each thread "
            "needs a core of its own",
            "ask for fewer threads",
        )
    if missing := [core for core in device.cores if core not in usable]:
        raise DeviceError(
            f"this process may use no core {missing[0]}", f"the usable cores are {', '.join(map(str, sorted(usable)))}"
        )
    if device.cores and device.threads > len(device.cores):
        raise DeviceError(
            f"{device.threads} threads are bound to {len(device.cores)} CPU cores; each thread needs a core of its own",
            "give as many cores as threads",
        )


def usable_cores() -> set[int]:
    """Return the numbers of the CPU cores that this process may use."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
