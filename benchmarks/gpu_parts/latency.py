"""Latency in ONNX Runtime: a few networks, a latency table, and its check, by the command `nas latency`."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gpu_parts.bench import Bench, NeedsError

NETWORKS = ("mobilenetv2", "mnasnet-a1", "efficientnet-b0")
SPACE = "nasbench_macro"


def measure(bench: Bench) -> dict[str, Any]:
    """Return the latency of known networks on the device."""
    return _nas(bench, "measure", *(NETWORKS if bench.is_cuda else (*NETWORKS[:1], "--seconds", "0.2")))


def work_on_table(verb: str, options: tuple[str, ...], bench: Bench) -> dict[str, Any]:
    """Make or check the latency table of a space; an interrupted table continues."""
    if not bench.is_cuda:
        raise NeedsError("a GPU: the table of a CPU is measured elsewhere, and takes minutes")
    return _nas(bench, verb, "--space", SPACE, *options)


def _nas(bench: Bench, verb: str, *options: str) -> dict[str, Any]:
    provider = "CUDAExecutionProvider" if bench.is_cuda else "CPUExecutionProvider"
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        raise NeedsError(f"a build of onnxruntime with the {provider}")
    command = (
        sys.executable,
        "-m",
        "nas",
        "latency",
        verb,
        *options,
        "--device",
        "cuda" if bench.is_cuda else "cpu",
        "--json",
        "--quiet",
    )
    done = subprocess.run(command, cwd=bench.out, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"the command ended with status {done.returncode}")
    return {"onnxruntime": onnxruntime.__version__, **json.loads(done.stdout)}


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType(
    {
        "networks": measure,
        "table": partial(work_on_table, "table", ("--out", "latency.csv")),
        "check": partial(work_on_table, "check", ("--table", "latency.csv", "--networks", "30")),
    }
)
