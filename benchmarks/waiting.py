"""Measure how close many workers, whose evaluations only wait, come to the ideal rate.

    python benchmarks/waiting.py --storage postgresql+psycopg://… --workers 64 --wait 10 --trials 1280

A whole search is run with the default sampler, and every trial is written to the database when it starts. The ideal
rate is `--workers` trials in `--wait` seconds. The rate of all trials, which includes the start of the workers, and the
rate of the middle half are reported.
"""

# Every worker process imports this file, so heavy packages are imported only where they are used.
import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from nas.arch.spec import Architecture


@frozen
class WaitingEvaluator:
    """Evaluate an architecture by waiting, and return a synthetic accuracy."""

    seconds: float

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the protocol's names
        """See `Evaluator`."""
        time.sleep(self.seconds)
        yield hash(arch) % 1000 / 1000

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return {"evaluator": "waits", "seconds": self.seconds}


def measure(storage: str, workers: int, wait_s: float, trials: int) -> dict[str, Any]:
    """Run a search, and return the rate of its trials as a share of the ideal rate."""
    from nas.cost.analytic import COUNTED
    from nas.cost.target import parse_target
    from nas.search.run import search
    from nas.search.settings import Settings
    from nas.space.files import find_space
    from nas.studies.opening import quiet_optuna

    quiet_optuna()
    settings = Settings([parse_target("flops=400M")], trials, epochs=1, pruner="none", workers=workers, confirm=0)
    ends, start = list[float](), time.perf_counter()
    search(
        find_space("mnasnet"),
        WaitingEvaluator(wait_s),
        settings,
        COUNTED,
        study_name=f"waiting-{time.time_ns()}",
        storage=storage,
        listen=lambda event: ends.append(time.perf_counter()) if event.kind == "trial" else None,
    )
    ideal, quarter = workers / wait_s, len(ends) // 4
    return {
        "workers": workers,
        "wait_s": wait_s,
        "trials": len(ends),
        "ideal_per_s": ideal,
        "share_of_ideal": round(len(ends) / (ends[-1] - start) / ideal, 3),
        "share_of_ideal_in_the_middle": round(2 * quarter / (ends[3 * quarter] - ends[quarter]) / ideal, 3),
    }


def main() -> None:
    """Read the options, run the search, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, metavar="URL")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--wait", type=float, default=10.0, help="duration of an evaluation, in seconds")
    parser.add_argument("--trials", type=int, default=1280)
    options = parser.parse_args()
    print(json.dumps(measure(options.storage, options.workers, options.wait, options.trials)))


if __name__ == "__main__":
    main()
