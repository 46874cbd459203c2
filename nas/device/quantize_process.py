"""Quantization of a file in a process of its own: it runs the network, and a file may come from anywhere.

Run as a module it reads an fp32 file from standard input and writes the int8 file to standard output:

    python -m nas.device.quantize_process 1 3 224 224 < model.onnx > int8.onnx
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from nas.errors import NasError, WeightsError

SECONDS = 300.0
"""Time limit of the quantization of one file."""
_REFUSED = 3  # exit status for a file that cannot be quantized, whose reason is on standard error
_MOST_TEXT = 500


def quantize_in_process(source: IO[bytes], shape: Sequence[int], target: IO[bytes]) -> None:
    """Write the int8 form of an fp32 file, for a latency; see `nas.device.quantize.quantize_file`.

    Args:
        source: The fp32 file.
        shape: Shape `(N, C, H, W)` of a batch.
        target: Empty file that the int8 file is written to.

    Raises:
        WeightsError: The network cannot be quantized, or not within the time limit.
    """
    source.seek(0)
    # The option keeps a folder `nas` in the working directory from being imported.
    command = [sys.executable, "-P", "-m", __name__, *map(str, shape)]
    remedy = "compare it in fp32 alone"
    try:
        ran = subprocess.run(  # noqa: S603 - the command has no words from elsewhere
            command, stdin=source, stdout=target, stderr=subprocess.PIPE, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"its quantization took longer than {SECONDS:g} s", remedy) from None
    if ran.returncode:
        text = ran.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][-_MOST_TEXT:]
        reason = text if ran.returncode == _REFUSED else f"its quantization ended with code {ran.returncode}: {text}"
        raise WeightsError(reason, remedy)


def main(arguments: Sequence[str]) -> None:
    """Quantize the file on standard input; see the module."""
    # What libraries print must not become a part of the file.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from nas.device.quantize import quantize_file

    try:
        data = quantize_file(sys.stdin.buffer.read(), [int(each) for each in arguments])
    except NasError as error:
        print(error.problem, file=sys.stderr)  # noqa: T201 - for the process that reads it
        sys.exit(_REFUSED)
    with out:
        out.write(data)


if __name__ == "__main__":
    main(sys.argv[1:])
