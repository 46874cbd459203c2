"""Random kills over a search: is every trial there in the end, once?

    python benchmarks/faults.py --storage postgresql+psycopg://… --processes 4 --trials 1000 --kills 200

Several `nas search` take part in one study. Now and then one of them, or one of its workers, is ended by SIGKILL, and a
search that ended so is begun again. When as many were killed as asked for, the last ones are left to finish, and the
study is counted.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from attrs import define, field

from nas.studies.opening import open_storage
from nas.studies.study import read_study

# Takes its time, and tells architectures apart.
OWN = """
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
    """Processes that search one study, begun again when they were killed."""

    command: Sequence[str]
    folder: Path
    number: int
    rng: random.Random
    alive: list["subprocess.Popen[bytes]"] = field(factory=list)
    kills: Counter[str] = field(factory=Counter)
    codes: list[int] = field(factory=list)

    def fill(self) -> None:
        """Begin as many as there should be."""
        for each in [each for each in self.alive if each.poll() is not None]:
            self.alive.remove(each)
            self.codes.append(each.returncode)
        while len(self.alive) < self.number and 0 not in self.codes:
            with (self.folder / "searches.log").open("ab") as log:
                self.alive.append(subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log))  # noqa: S603

    def kill_one(self) -> None:
        """End a search, or a worker of one."""
        running = [each for each in self.alive if each.poll() is None]
        if not running:
            return
        victim = psutil.Process(self.rng.choice(running).pid)
        workers = victim.children() if self.rng.random() < 0.5 else []
        workers = [each for each in workers if "resource_tracker" not in " ".join(each.cmdline())]
        self.kills["worker" if workers else "search"] += 1
        (self.rng.choice(workers) if workers else victim).kill()

    def finish(self) -> None:
        """Until one has found all trials there, and the others too."""
        while self.alive:
            self.fill()
            time.sleep(0.2)


def command(given: argparse.Namespace) -> list[str]:
    """A search, as it is typed."""
    what = ["search", "--space", "mnasnet", "--target", "flops=400M", "--evaluator", "python:own:accuracy"]
    where = ["--study", STUDY, "--storage", given.storage, "--workers", str(given.workers)]
    how = ["--trials", str(given.trials), "--retries", str(given.retries), "--sampler", given.sampler]
    return [sys.executable, "-m", "nas.cli.main", *what, *where, *how]


def count(storage: str, trials: int) -> dict[str, Any]:
    """What is in the study."""
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
    """Parse the command line, kill, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", default="", help="an Optuna URL; a SQLite file of its own where left out")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="of each process")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills, on average")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a trial")
    parser.add_argument("--retries", type=int, default=20, help="trials are short, and kills many")
    parser.add_argument("--sampler", default="surrogate")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        given.storage = given.storage or f"sqlite:///{folder / 'nas.db'}"
        (folder / "own.py").write_text(OWN.format(seconds=given.seconds))
        searches = Searches(command(given), folder, given.processes, random.Random(given.seed))  # noqa: S311
        begun = time.monotonic()
        while sum(searches.kills.values()) < given.kills and 0 not in searches.codes:
            searches.fill()
            time.sleep(searches.rng.expovariate(1 / given.every))
            searches.kill_one()
        searches.finish()
        told = {"kills": dict(searches.kills), "codes": dict(Counter(searches.codes))}
        told |= count(given.storage, given.trials) | {"seconds": round(time.monotonic() - begun)}
        print(json.dumps(told, indent=1))
        if not told["whole"]:
            print((folder / "searches.log").read_text()[-4000:], file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
