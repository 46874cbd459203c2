"""Peak memory of this process, and messages about memory that is too small."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# How ONNX Runtime, the C++ library and CUDA report memory that is too small.
_TOO_SMALL = re.compile(
    r"failed to allocate|bad_alloc|out of memory|cannot allocate|unable to allocate|alloc_failed|bfcarena",
    re.IGNORECASE,
)


def peak_growth(run: Callable[[], T]) -> tuple[T, int | None]:
    """Run a function; return its result and by how many bytes it raised the peak of the resident memory.

    The growth is None on systems other than Linux, which do not report it.
    """
    before = None
    with suppress(OSError):
        _RESET.write_text("5")  # From here on, the kernel reports the peak since now (proc_pid_clear_refs(5)).
        before = _resident("VmRSS")
    result = run()
    peak = None if before is None else _resident("VmHWM")
    return result, None if before is None or peak is None else max(0, peak - before)


def _resident(key: str) -> int | None:
    """Return an entry of the status of this process in bytes, or None on systems without this file."""
    with suppress(OSError):
        found = re.search(rf"^{key}:\s*([0-9]+) kB$", _STATUS.read_text(), re.MULTILINE)
        return 1024 * int(found[1]) if found else None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was too little memory."""
    return isinstance(error, MemoryError) or bool(_TOO_SMALL.search(str(error)))
