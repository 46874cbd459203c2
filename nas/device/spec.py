"""Devices as users write them: `cpu`, `cpu:threads=4,batch=8`, `cuda:precision=int8`, `ssh://me@board?cpu:threads=4`."""

import re
import reprlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from nas.errors import DeviceError

SHORT: Mapping[str, str] = MappingProxyType(
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
_SHOWN = {provider: short for short, provider in SHORT.items()}
PRECISIONS = ("fp32", "int8")
_USUAL = ("threads=1", "batch=1", "precision=fp32")
MOST_THREADS = 1024
MOST_BATCH = 4096
EXAMPLE = "cpu, cpu:threads=4,batch=8, cuda, cpu:precision=int8 or ssh://user@host?cpu"


@frozen(cache_hash=True)
class Device:
    """How a network runs on a machine.

    Attributes:
        provider: ONNX Runtime's execution provider by its whole name.
        threads: that work on one operator.
        batch: images at a time; latencies are of the whole batch.
        precision: "fp32", or "int8" by ONNX Runtime's static quantization.
        cores: numbers of the cores it is bound to; empty leaves that to the system.
    """

    provider: str = SHORT["cpu"]
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    cores: tuple[int, ...] = ()

    def __str__(self) -> str:
        """In full: `parse_device` is its inverse."""
        cores = (f"cores={'+'.join(map(str, self.cores))}",) if self.cores else ()
        options = (f"threads={self.threads}", f"batch={self.batch}", f"precision={self.precision}", *cores)
        return f"{_SHOWN.get(self.provider, self.provider)}:{','.join(options)}"

    @property
    def short(self) -> str:
        """As users write it: without what is usual."""
        name, _, options = str(self).partition(":")
        told = [option for option in options.split(",") if option not in _USUAL]
        return f"{name}:{','.join(told)}".rstrip(":")


@frozen(cache_hash=True)
class Address:
    """A device and where it is.

    Attributes:
        device: how networks run there.
        host: of OpenSSH, `user@host` or an alias of its configuration; "" is this machine.
        port: of the SSH server; 0 leaves it to OpenSSH's configuration.
        python: the interpreter to use there.
    """

    device: Device = Device()
    host: str = ""
    port: int = 0
    python: str = "python3"

    @property
    def place(self) -> str:
        """The machine alone, as users write it: "" here."""
        return f"ssh://{self.host}{f':{self.port}' if self.port else ''}" if self.host else ""

    @property
    def short(self) -> str:
        """The device as users write it, with its place."""
        return f"{self.place}?{self.device.short}" if self.host else self.device.short

    def __str__(self) -> str:
        """In full: `parse_address` is its inverse."""
        if not self.host:
            return str(self.device)
        python = "" if self.python == "python3" else f",python={self.python}"
        return f"{self.place}?{self.device}{python}"


def _refuse(text: str, problem: str, remedy: str = f"write one like {EXAMPLE}") -> DeviceError:
    return DeviceError(f"device {reprlib.repr(text)}: {problem}", remedy)


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[1-9][0-9]{0,5}", text) or int(text) > most:
            raise ValueError(f"a whole number from 1 to {most}")
        return int(text)

    return read


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise ValueError(f"one of {', '.join(PRECISIONS)}")
    return text


def _cores(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,4}(\+[0-9]{1,4}){0,255}", text):
        raise ValueError("core numbers like 0 or 0+1")
    return tuple(sorted(set(map(int, text.split("+")))))


OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"threads": _whole(MOST_THREADS), "batch": _whole(MOST_BATCH), "precision": _precision, "cores": _cores}
)


def parse_device(text: str) -> Device:
    """Read `PROVIDER[:OPTION=VALUE,…]`.

    Raises:
        DeviceError: no such form, option or value. Whether the provider exists is for the machine to say.
    """
    name, _, options = text.strip().partition(":")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise _refuse(text, "there is no provider's name")
    provider = SHORT.get(name.lower(), name)
    if provider == name and not name.endswith("ExecutionProvider"):
        known = f"use {', '.join(SHORT)}, or a provider's whole name like CUDAExecutionProvider"
        raise _refuse(text, f"{name!r} is no device", known)
    return Device(provider, **_read_options(text, options))


def _read_options(text: str, options: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for option in options.split(",") if options else ():
        key, _, value = option.strip().partition("=")
        if key not in OPTIONS:
            raise _refuse(text, f"unknown option {reprlib.repr(key)}", f"options are {', '.join(OPTIONS)}")
        if key in given:
            raise _refuse(text, f"{key} is given twice", "give each option once")
        try:
            given[key] = OPTIONS[key](value)
        except ValueError as error:
            raise _refuse(text, f"{key} is {reprlib.repr(value)}", f"give {error}") from None
    return given


_REMOTE = re.compile(
    r"ssh://(?P<host>[A-Za-z0-9_.@%+\[\]-]{1,255}?)(?::(?P<port>[0-9]{1,5}))?/?(?:\?(?P<device>.*))?", re.DOTALL
)
_PYTHON = re.compile(r"[A-Za-z0-9_./~+][A-Za-z0-9_./~+-]{0,254}")


def parse_address(text: str) -> Address:
    """Read a device of this machine, or `ssh://[USER@]HOST[:PORT][?DEVICE[,python=PATH]]`.

    Raises:
        DeviceError: no such form, option or value.
    """
    if not text.strip().startswith("ssh:"):
        return Address(parse_device(text))
    found = _REMOTE.fullmatch(text.strip())
    # A name that begins with "-" would be an option of ssh.
    if not found or re.search(r"(?:^|@)-", found["host"]) or not 0 <= int(found["port"] or 0) < 2**16:
        raise _refuse(text, "no host can be read from it", "write it like ssh://user@host or ssh://user@host:22?cpu")
    device, python = _take_python(text, found["device"] or "cpu")
    return Address(parse_device(device), found["host"], int(found["port"] or 0), python)


def _take_python(text: str, device: str) -> tuple[str, str]:
    """The interpreter is an option of the address, whatever stands before or after it."""
    paths = re.findall(r"[:,]python=([^,]*)", device)
    rest = re.sub(r"([:,])python=[^,]*(,|$)", lambda found: found[1] if found[2] else "", device, flags=re.DOTALL)
    if len(paths) > 1 or not all(_PYTHON.fullmatch(path) for path in paths):
        raise _refuse(text, "python is no path of an interpreter", "write it like python=/opt/nas/bin/python")
    return rest, (paths or ["python3"])[0]
