"""Time ONNX files in plain ONNX Runtime, as a user without `nas` would; this script imports nothing of `nas`.

    python benchmarks/plain_onnx.py perf_counter FILE.onnx ... < commands

For each line of its standard input, every file is visited once: it runs `RUNS` times in a row, and a line of JSON with
the seconds of these runs is printed, one list for each file. The order of the files changes with each line. The first
argument is the clock, a function of the module `time`.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

RUNS = 5
WARM_UPS = 3


def main() -> None:
    """Load the files, and time all of them for each line of the standard input."""
    sessions = [load(path) for path in sys.argv[2:]]
    feeds = [{"input": np.random.default_rng(0).random(one.get_inputs()[0].shape, np.float32)} for one in sessions]
    for session, feed in zip(sessions, feeds, strict=True):
        for _ in range(WARM_UPS):
            session.run(None, feed)
    clock = getattr(time, sys.argv[1])
    order = list(range(len(sessions)))
    for _ in sys.stdin:
        random.shuffle(order)
        seconds = {i: [timed(sessions[i], feeds[i], clock) for _ in range(RUNS)] for i in order}
        print(json.dumps([seconds[i] for i in range(len(sessions))]), flush=True)


def load(path: str) -> onnxruntime.InferenceSession:
    """Return a session with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def timed(session: onnxruntime.InferenceSession, feed: dict[str, Any], clock: Callable[[], float]) -> float:
    """Return the seconds of one run."""
    begun = clock()
    session.run(None, feed)
    return clock() - begun


if __name__ == "__main__":
    main()
