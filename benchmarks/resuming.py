"""Measure how long `nas search` takes to resume a study; see `overhead.py resume`."""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

REPEATS = 3
NAS = (sys.executable, "-c", "from nas.cli.main import main; main()")
MADE_UP = '''"""Return an accuracy at once, and record when it was asked for."""
import time
import zlib
from pathlib import Path

from nas.arch.code import format_text


def accuracy(arch):
    with Path("asked").open("a") as file:
        file.write(f"{time.time()} {time.process_time()}\\n")
    return 0.5 + zlib.crc32(format_text(arch).encode()) / 2**34
'''
Row = dict[str, Any]


def resume(folder: Path, file: str, trials: int) -> Row:
    """Return the seconds to the first suggestion, and from there to the end, in wall time and in CPU time."""
    (folder / "asked").unlink(missing_ok=True)
    study = ("--study", "all", "--storage", f"sqlite:///{folder / file}", "--trials", str(trials))
    command = (*NAS, "search", "--target", "flops=400M", "--evaluator", "python:made_up:accuracy", *study)
    start, used = time.time(), _processor_s()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)  # noqa: S603 -- the command is constant
    ended, used = time.time(), _processor_s() - used
    asked, used_before = map(float, (folder / "asked").read_text().split()[:2])
    durations = {"proposal_s": asked - start, "result_s": ended - asked}
    return durations | {"proposal_processor_s": used_before, "result_processor_s": used - used_before}


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resuming(sizes: list[int], fill: Callable[[str, int], None]) -> list[Row]:
    """Return medians, minima and maxima of the durations for studies of several sizes.

    Args:
        sizes: Numbers of trials, in rising order.
        fill: Function that fills the study in the database of a URL up to a number of trials.
    """
    rows = list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made_up.py").write_text(MADE_UP, encoding="utf-8")
        resume(folder, "filled.db", 1)
        for size in sizes:
            fill(f"sqlite:///{folder / 'filled.db'}", size - 1)
            resume(folder, "filled.db", size)  # after this the journal contains all trials
            taken = list[Row]()
            for _ in range(REPEATS):
                shutil.copy(folder / "filled.db", folder / "again.db")
                shutil.copytree(folder / "filled-trials", folder / "again-trials", dirs_exist_ok=True)
                taken.append(resume(folder, "again.db", size + 1))
            rows.append({"trials": size, "repeats": REPEATS, **_durations(taken)})
    return rows


def _durations(taken: list[Row]) -> Row:
    row: Row = {}
    for name in taken[0]:
        values = [each[name] for each in taken]
        row |= {name: median(values), f"{name}_least": min(values), f"{name}_most": max(values)}
    return row
