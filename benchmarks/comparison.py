"""Measure `nas compare --zoo`: the duration of its phases, and how well its latencies agree between runs.

    python benchmarks/comparison.py [--runs 3] [--seconds 90] [--json comparison.json] [NETWORK ...]

Each run is a process of its own. Printed are the seconds of each phase, Spearman's rank correlation between the
latencies of each pair of runs for fp32 and int8, the largest ratio of two latencies of one file, and the noise that the
command reports. Stop other work on the machine: rank correlations are low where the noise is high.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

# The messages of the command with which its phases begin; several measurements of groups are one phase each.
PHASES = (
    ("network 1 of", "building and quantizing"),
    ("running ", "peak memory"),
    ("measuring ", "rounds"),
)


def phases(messages: Sequence[tuple[float, str]], end: float) -> Iterator[tuple[str, float]]:
    """Yield the phases with their seconds, from the times of the messages and of the end.

    >>> list(phases([(0.5, "network 1 of 3: a"), (4.0, "running 6 files once"), (9.0, "measuring 6 files")], 20.0))
    [('start', 0.5), ('building and quantizing', 3.5), ('peak memory', 5.0), ('rounds', 11.0)]
    """
    starts = [(at, name) for at, message in messages for beginning, name in PHASES if message.startswith(beginning)]
    marks = [(0.0, "start"), *starts, (end, "")]
    for (begin, name), (after, _) in itertools.pairwise(marks):
        yield name, after - begin


def run(words: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    """Return the JSON of one comparison, and its phases."""
    command = [sys.executable, "-m", "nas", "compare", *words, "--json"]
    start = time.monotonic()
    # A pipe for the result would fill, because it is read after the messages.
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stderr is not None
            messages = [(time.monotonic() - start, line.strip()) for line in process.stderr]
        out.seek(0)
        found = out.read()
    if process.returncode:
        sys.exit(messages[-1][1] if messages else f"nas compare ended with {process.returncode}")
    return json.loads(found), list(phases(messages, time.monotonic() - start))


def latencies(found: Mapping[str, Any], precision: str) -> dict[str, float]:
    """Return the latencies of all files of a precision by the name of their network."""
    rows = [row for row in found["rows"] if row["precision"] == precision and row["latency_ms"] is not None]
    return {row["network"]: row["latency_ms"] for row in rows}


def agreement(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return how well two runs agree on the networks that both have measured.

    >>> agreement({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.1, "b": 4.0, "c": 3.0})
    {'networks': 3, 'spearman': 0.5, 'largest_ratio': 2.0}
    """
    names = sorted(one.keys() & other.keys())
    rank = float(spearmanr([one[name] for name in names], [other[name] for name in names]).statistic)
    ratios = [max(one[name], other[name]) / min(one[name], other[name]) for name in names]
    return {"networks": len(names), "spearman": round(rank, 4), "largest_ratio": round(max(ratios), 4)}


def summary(found: Mapping[str, Any], parts: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Return the durations of a run, the noise of its device, and its rounds."""
    [device] = found["devices"]
    return {
        "total_s": round(sum(seconds for _, seconds in parts), 1),
        "phases_s": [[name, round(seconds, 1)] for name, seconds in parts],
        "noise": device["noise"],
        "noisy": device["noisy"],
        "rounds": device["rounds"],
        "refusals": len(device["refusals"]),
    }


def main() -> None:
    """Run the comparisons, and print and store what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="networks instead of all known ones")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="time limit of the rounds of each run")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    words = [*(options.networks or ["--zoo"]), *(["--seconds", str(options.seconds)] if options.seconds else [])]
    results, summaries = [], []
    for number in range(1, options.runs + 1):
        found, parts = run(words)
        results.append(found)
        summaries.append(summary(found, parts))
        own = summaries[-1]
        text = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in own["phases_s"])
        print(f"run {number}: {own['total_s']:.0f} s ({text}); noise {own['noise']:.1%}, rounds {own['rounds']}")
    pairs: list[dict[str, Any]] = [
        {"runs": [one + 1, other + 1], "precision": precision}
        | agreement(latencies(results[one], precision), latencies(results[other], precision))
        for one, other in itertools.combinations(range(len(results)), 2)
        for precision in ("fp32", "int8")
    ]
    for pair in pairs:
        print(
            f"runs {pair['runs'][0]} and {pair['runs'][1]}, {pair['precision']}: Spearman {pair['spearman']:.4f} over "
            f"{pair['networks']} networks, largest ratio {pair['largest_ratio']:.3f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"words": words, "runs": summaries, "pairs": pairs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
