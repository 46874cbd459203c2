"""Time ONNX files in plain ONNX Runtime, as a user without `nas` would; this script imports nothing of `nas`.

    python benchmarks/plain_onnx.py FILE.onnx ... < commands

For each line of its standard input, every file is visited once: it runs `RUNS` times in a row, and a line of JSON with
the seconds of these runs is printed, one list for each file. The order of the files changes with each line.
"""

import json
import random
import sys
import time

import numpy as np
import onnxruntime

RUNS = 5
WARM_UPS = 3


def main() -> None:
    """Load the files, and time all of them for each line of the standard input."""
    sessions = [load(path) for path in sys.argv[1:]]
    feeds = [{"input": np.random.default_rng(0).random(one.get_inputs()[0].shape, np.float32)} for one in sessions]
    for session, feed in zip(sessions, feeds, strict=True):
        for _ in range(WARM_UPS):
            session.run(None, feed)
    order = list(range(len(sessions)))
    for _ in sys.stdin:
        random.shuffle(order)
        seconds = {i: [timed(sessions[i], feeds[i]) for _ in range(RUNS)] for i in order}
        print(json.dumps([seconds[i] for i in range(len(sessions))]), flush=True)


def load(path: str) -> onnxruntime.InferenceSession:
    """Return a session with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def timed(session: onnxruntime.InferenceSession, feed: dict[str, object]) -> float:
    """Return the seconds of one run."""
    begun = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
