"""Device and address specifications and their text form.

Examples of the text form are `cpu`, `cpu:threads=4,batch=8`, `cuda:precision=int8` and `ssh://me@board?cpu:threads=4`.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from nas.errors import DeviceError

PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "cpu": "CPUExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "tensorrt": "TensorrtExecutionProvider",
        "coreml": "CoreMLExecutionProvider",
        "directml": "DmlExecutionProvider",
        "openvino": "OpenVINOExecutionProvider",
        "migraphx": "MIGraphXExecutionProvider",
        "qnn": "QNNExecutionProvider",
        "webgpu": "WebGpuExecutionProvider",
        "xnnpack": "XnnpackExecutionProvider",
    }
)
_SHORT_NAMES = {provider: name for name, provider in PROVIDERS.items()}
PRECISIONS = ("fp32", "int8")
_DEFAULTS = ("threads=1", "batch=1", "precision=fp32")
MAX_THREADS = 1024
MAX_BATCH = 4096
EXAMPLES = "cpu, cpu:threads=4,batch=8, cuda, cpu:precision=int8 or ssh://user@host?cpu"


@frozen(cache_hash=True)
class Device:
    """Specify how a network runs on a machine.

    Attributes:
        provider: Full name of ONNX Runtime's execution provider.
        threads: Number of threads that work on one operator.
        batch: Number of images in one run; a latency covers the whole batch.
        precision: "fp32", or "int8" by ONNX Runtime's static quantization.
        cores: Numbers of the CPU cores that the process is bound to; an empty tuple leaves the choice to the system.

    >>> str(Device(threads=4))
    'cpu:threads=4,batch=1,precision=fp32'
    >>> Device(threads=4).short
    'cpu:threads=4'
    """

    provider: str = PROVIDERS["cpu"]
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    cores: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the full text form; `parse_device` is its inverse."""
        cores = (f"cores={'+'.join(map(str, self.cores))}",) if self.cores else ()
        options = (f"threads={self.threads}", f"batch={self.batch}", f"precision={self.precision}", *cores)
        return f"{_SHORT_NAMES.get(self.provider, self.provider)}:{','.join(options)}"

    @property
    def short(self) -> str:
        """Return the text form that users write: options with their default values are left out."""
        name, _, options = str(self).partition(":")
        chosen = [option for option in options.split(",") if option not in _DEFAULTS]
        return f"{name}:{','.join(chosen)}".rstrip(":")


@frozen(cache_hash=True)
class Address:
    """Specify a device and the machine that has it.

    Attributes:
        device: How networks run on the machine.
        host: Host name for OpenSSH, `user@host` or an alias from its configuration; "" is this machine.
        port: Port of the SSH server; 0 leaves the port to OpenSSH's configuration.
        python: Path of the Python interpreter on that machine.
    """

    device: Device = Device()
    host: str = ""
    port: int = 0
    python: str = "python3"

    @property
    def place(self) -> str:
        """Return the text form of the machine alone; "" is this machine."""
        return f"ssh://{self.host}{f':{self.port}' if self.port else ''}" if self.host else ""

    @property
    def short(self) -> str:
        """Return the short text form of the device, preceded by its machine."""
        return f"{self.place}?{self.device.short}" if self.host else self.device.short

    def __str__(self) -> str:
        """Return the full text form; `parse_address` is its inverse."""
        if not self.host:
            return str(self.device)
        python = "" if self.python == "python3" else f",python={self.python}"
        return f"{self.place}?{self.device}{python}"


def _error(text: str, problem: str, remedy: str = f"write one like {EXAMPLES}") -> DeviceError:
    return DeviceError(f"device {reprlib.repr(text)}: {problem}", remedy)


def _integer_up_to(maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[1-9][0-9]{0,5}", text) or int(text) > maximum:
            raise ValueError(f"a whole number from 1 to {maximum}")
        return int(text)

    return read


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise ValueError(f"one of {', '.join(PRECISIONS)}")
    return text


def _cores(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,4}(\+[0-9]{1,4}){0,255}", text):
        raise ValueError("numbers of CPU cores like 0 or 0+1")
    return tuple(sorted(set(map(int, text.split("+")))))


OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "threads": _integer_up_to(MAX_THREADS),
        "batch": _integer_up_to(MAX_BATCH),
        "precision": _precision,
        "cores": _cores,
    }
)


def parse_device(text: str) -> Device:
    """Read `PROVIDER[:OPTION=VALUE,…]`.

    Raises:
        DeviceError: The text has another form, or an option or its value is unknown. Whether the machine has the
            provider is checked later, on the machine itself.

    >>> parse_device("cpu:threads=4,batch=8")
    Device(provider='CPUExecutionProvider', threads=4, batch=8, precision='fp32', cores=())
    """
    name, _, options = text.strip().partition(":")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise _error(text, "it begins with no provider's name")
    provider = PROVIDERS.get(name.lower(), name)
    if provider == name and not name.endswith("ExecutionProvider"):
        known = f"use {', '.join(PROVIDERS)}, or the full name of a provider like CUDAExecutionProvider"
        raise _error(text, f"{name!r} is no device name", known)
    return Device(provider, **_read_options(text, options))


def _read_options(text: str, options: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for option in options.split(",") if options else ():
        key, _, value = option.strip().partition("=")
        if key not in OPTIONS:
            raise _error(text, f"unknown option {reprlib.repr(key)}", f"the options are {', '.join(OPTIONS)}")
        if key in given:
            raise _error(text, f"the option {key} is given twice", "give each option once")
        try:
            given[key] = OPTIONS[key](value)
        except ValueError as error:
            raise _error(text, f"the option {key} is {reprlib.repr(value)}", f"give {error}") from None
    return given


# Host and path are limited to characters without a meaning to a shell: both become part of a command line.
_SSH_ADDRESS = re.compile(
    r"ssh://(?P<host>[A-Za-z0-9_.@%+\[\]-]{1,255}?)(?::(?P<port>[0-9]{1,5}))?/?(?:\?(?P<device>.*))?", re.DOTALL
)
_PYTHON = re.compile(r"[A-Za-z0-9_./~+][A-Za-z0-9_./~+-]{0,254}")


def parse_address(text: str) -> Address:
    """Read a device of this machine, or `ssh://[USER@]HOST[:PORT][?DEVICE[,python=PATH]]`.

    Raises:
        DeviceError: The text has another form, or an option or its value is unknown.

    >>> parse_address("ssh://me@board:2222?cpu:threads=4").place
    'ssh://me@board:2222'
    """
    if not text.strip().startswith("ssh:"):
        return Address(parse_device(text))
    found = _SSH_ADDRESS.fullmatch(text.strip())
    # OpenSSH would read a host name that begins with "-" as one of its options, and such an option can run a command.
    if not found or re.search(r"(?:^|@)-", found["host"]) or not 0 <= int(found["port"] or 0) < 2**16:
        remedy = "write the address like ssh://user@host or ssh://user@host:22?cpu"
        raise _error(text, "no host can be read from it", remedy)
    device, python = _split_python(text, found["device"] or "cpu")
    return Address(parse_device(device), found["host"], int(found["port"] or 0), python)


def _split_python(text: str, device: str) -> tuple[str, str]:
    """Split the text into the device and the interpreter, which may stand between the device's own options."""
    paths = re.findall(r"[:,]python=([^,]*)", device)
    rest = re.sub(r"([:,])python=[^,]*(,|$)", lambda found: found[1] if found[2] else "", device, flags=re.DOTALL)
    if len(paths) > 1 or not all(_PYTHON.fullmatch(path) for path in paths):
        problem = "the option python is not one path of letters, digits and the characters . / _ ~ + -"
        raise _error(text, problem, "write it like python=/opt/nas/bin/python")
    return rest, (paths or ["python3"])[0]
