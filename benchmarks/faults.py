"""Kill processes of a search at random, and check that every trial is in the study exactly once.

    python benchmarks/faults.py --storage postgresql+psycopg://… --processes 4 --trials 1000 --kills 200

Several `nas search` processes work on one study. At random times one of them, or one of its worker processes, is killed
with SIGKILL, and a killed search is started again. After `--kills` kills the remaining processes finish, and the trials
of the study are counted.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from attrs import define, field

from nas.studies.opening import open_storage
from nas.studies.study import read_study

# An evaluator that takes a given time and returns a different accuracy for each architecture.
EVALUATOR = """
import hashlib
import time

from nas.arch.code import format_text


def accuracy(arch):
    time.sleep({seconds})
    return int(hashlib.sha256(format_text(arch).encode()).hexdigest()[:8], 16) / 2**32
"""
STUDY = "faults"
ALLOWED_S = 3_600


@define
class Searches:
    """Hold the processes that work on one study.

    Attributes:
        command: Command of each process.
        folder: Working directory of the processes.
        number: Number of processes that run at once.
        rng: Source of random numbers.
        alive: Processes that have not been replaced.
        kills: Number of kills, by "search" and "worker".
        codes: Exit codes of the processes that have ended.
    """

    command: Sequence[str]
    folder: Path
    number: int
    rng: random.Random
    alive: list["subprocess.Popen[bytes]"] = field(factory=list)
    kills: Counter[str] = field(factory=Counter)
    codes: list[int] = field(factory=list)

    def fill(self) -> None:
        """Start processes until there are enough, unless one of them has found the study complete."""
        for each in [each for each in self.alive if each.poll() is not None]:
            self.alive.remove(each)
            self.codes.append(each.returncode)
        while len(self.alive) < self.number and 0 not in self.codes:
            with (self.folder / "searches.log").open("ab") as log:
                self.alive.append(subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log))  # noqa: S603

    def kill_one(self) -> None:
        """Kill a search, or one of its worker processes."""
        running = [each for each in self.alive if each.poll() is None]
        if not running:
            return
        victim = psutil.Process(self.rng.choice(running).pid)
        workers = victim.children() if self.rng.random() < 0.5 else []
        workers = [each for each in workers if _is_worker(each)]
        self.kills["worker" if workers else "search"] += 1
        with suppress(psutil.NoSuchProcess):  # it may end by itself in this moment
            (self.rng.choice(workers) if workers else victim).kill()

    def finish(self) -> None:
        """Wait until all processes have ended, and replace those that were killed."""
        while self.alive:
            self.fill()
            time.sleep(0.2)


def _is_worker(process: psutil.Process) -> bool:
    """Return whether a child of a search evaluates, and has not ended."""
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # zombies too
        return False


def command(options: argparse.Namespace) -> list[str]:
    """Return the command of a search."""
    what = ["search", "--space", "mnasnet", "--target", "flops=400M", "--evaluator", "python:own:accuracy"]
    where = ["--study", STUDY, "--storage", options.storage, "--workers", str(options.workers)]
    how = ["--trials", str(options.trials), "--retries", str(options.retries), "--sampler", options.sampler]
    return [sys.executable, "-m", "nas.cli.main", *what, *where, *how]


def count(storage: str, trials: int) -> dict[str, Any]:
    """Return the numbers of trials in the study, and whether they are as asked for."""
    view = read_study(open_storage(storage), STUDY)
    states = Counter(record.state for record in view.records)
    lasting = [record for record in view.records if record.state not in ("killed", "running")]
    return {
        "asked": trials,
        "finished": len(lasting),
        "architectures": len({record.arch for record in lasting}),
        "running": states["running"],
        "cut_short": states["killed"],
        "failed": states["failed"],
        "whole": len(lasting) == len({record.arch for record in lasting}) == trials and not states["running"],
    }


def main() -> None:
    """Run the searches, kill some of them, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", default="", help="storage URL of Optuna; by default a new SQLite file")
    parser.add_argument("--processes", type=int, default=4, help="number of searches")
    parser.add_argument("--workers", type=int, default=1, help="number of workers of each search")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--every", type=float, default=2.0, help="mean time between two kills, in seconds")
    parser.add_argument("--seconds", type=float, default=0.5, help="duration of a trial, in seconds")
    parser.add_argument(
        "--retries", type=int, default=20, help="number of retries; many are needed, since trials are short"
    )
    parser.add_argument("--sampler", default="surrogate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        options.storage = options.storage or f"sqlite:///{folder / 'nas.db'}"
        (folder / "own.py").write_text(EVALUATOR.format(seconds=options.seconds))
        searches = Searches(command(options), folder, options.processes, random.Random(options.seed))  # noqa: S311
        start = time.monotonic()
        while sum(searches.kills.values()) < options.kills and 0 not in searches.codes:
            searches.fill()
            time.sleep(searches.rng.expovariate(1 / options.every))
            searches.kill_one()
        searches.finish()
        result = {"kills": dict(searches.kills), "codes": dict(Counter(searches.codes))}
        result |= count(options.storage, options.trials) | {"seconds": round(time.monotonic() - start)}
        print(json.dumps(result, indent=1))
        if not result["whole"]:
            print((folder / "searches.log").read_text()[-4000:], file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
