"""Search for networks with a latency target, and measure the recommended networks with an independent script.

    python benchmarks/latency_search.py --target 8 --trials 100

The independent measurement exports each network with torch, runs it in a plain ONNX Runtime session, and takes the
median of single runs. It uses neither the graphs, nor the timing, nor the reference network of the search.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch

from nas.arch.code import parse_text
from nas.models.build import build_model

RUNS = 200


def main() -> None:
    """Search, measure the recommended networks again, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=8.0, help="target in milliseconds")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument(
        "--images",
        type=int,
        default=600,
        help="number of training images of the digits; the accuracy does not matter here",
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    start = time.monotonic()
    found = search(arguments)
    recommended = [row for row in found["verified"] if row["measurement"]["meets"]]
    rows = [measure_again(row, arguments.target) for row in recommended]
    report = {
        "target_ms": arguments.target,
        "trials": found["trials"],
        "seconds": time.monotonic() - start,
        "judged": len(found["verified"]),
        "recommended": rows,
        "kept": sum(row["kept"] for row in rows),
    }
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the JSON output of `nas search`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nas.cli.main", "search", "--device", "cpu", "--json", "--epochs", "1"]
        command += ["--target", f"latency={arguments.target}ms", "--trials", str(arguments.trials)]
        command += ["--images", str(arguments.images), "--storage", f"sqlite:///{folder}/study.db"]
        found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S603
        return found


def measure_again(row: dict[str, Any], target: float) -> dict[str, Any]:
    """Return the latencies of the search together with the median of plain runs."""
    measured = row["measurement"]
    latency = plain_median_ms(row["arch"])
    return {
        "trial": row["trial"],
        "predicted_ms": measured["predicted"],
        "measured_ms": measured["measured"],
        "spread_ms": measured["spread"],
        "again_ms": latency,
        "kept": latency <= target + measured["spread"],
    }


def plain_median_ms(text: str) -> float:
    """Return the latency of the exported network on one thread, in milliseconds."""
    arch = parse_text(text)
    images = torch.rand(1, arch.in_channels, arch.resolution, arch.resolution)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(build_model(arch).eval(), (images,), dynamo=True, verbose=False)
        assert program is not None
        program.save(f"{folder}/network.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(f"{folder}/network.onnx", options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.asarray(images)}
    return 1e3 * median(seconds(session, feed) for _ in range(RUNS))


def seconds(session: onnxruntime.InferenceSession, feed: dict[str, Any]) -> float:
    """Return the duration of one run, in seconds."""
    start = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
