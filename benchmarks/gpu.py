"""Measure on a GPU everything that only a GPU can show, in the time that there is.

    python benchmarks/gpu.py --minutes 9 --out gpu-results --data gpu-bundle
    python benchmarks/gpu.py --list --out gpu-results
    python benchmarks/gpu.py --smoke --device cpu --out smoke --data gpu-bundle

The parts run in order of value. Each result is written the moment it is there, and the same command with the same
folder continues with what is missing: items that failed are tried again, and the training of the supernet, the search
and the latency table continue where they were. The folder of `--data` is made by `scripts/gpu-bundle`, on a machine
with a network. Packages that are missing here are installed from its wheels, into a folder of their own.

`--smoke` runs every part at a tiny size, whose figures mean nothing, to find mistakes before a GPU is at hand.
`gpu_report.py` makes a page of the results.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bootstrap import check_machine, install_missing
from gpu_parts.plan import PARTS, Part, find_parts
from gpu_parts.results import Results, read_results

HERE = Path(__file__).resolve().parent
START_S = 15.0  # seconds in which a process imports torch and begins; a part is not begun with less time
END_S = 5.0  # seconds that are kept for the end


def main() -> None:
    """Run the parts, or list them."""
    options = arguments()
    parts = find_parts(options.only, smoke=options.smoke)
    if options.list:
        print(describe(parts, read_results(options.out)))
        return
    make_folder(options.out)
    until = time.time() + 60 * options.minutes - END_S
    prepare(options)
    run(parts, options, until)
    results = read_results(options.out)
    print(describe(parts, results))
    if any("error" in item for item in results.items.values()):
        raise SystemExit("Items failed; the same command tries them again.")


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, from which it continues")
    parser.add_argument("--data", type=Path, help="folder that scripts/gpu-bundle made")
    parser.add_argument("--minutes", type=positive, default=9.0, help="time limit (default: 9)")
    parser.add_argument("--only", action="append", default=[], choices=[part.name for part in PARTS], metavar="PART")
    parser.add_argument("--list", action="store_true", help="print the parts, their estimated times and what is done")
    parser.add_argument("--device", default="cuda", help="device that trains (default: cuda)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to find mistakes")
    options = parser.parse_args()
    options.out, options.data = options.out.resolve(), options.data and options.data.resolve()
    if options.data and not options.data.is_dir():
        parser.error(f"there is no folder {options.data}; scripts/gpu-bundle makes it")
    return options


def make_folder(folder: Path) -> None:
    """Make the folder of the results.

    Raises:
        SystemExit: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from None


def positive(text: str) -> float:
    """Return a number of minutes above 0."""
    minutes = float(text)
    if not 0 < minutes < 1e6:
        raise argparse.ArgumentTypeError("the time limit must be a number of minutes above 0")
    return minutes


def prepare(options: argparse.Namespace) -> None:
    """Check this machine, and install the packages that it lacks."""
    check_machine()
    if options.data:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        installed = install_missing(options.data / "wheels", cache / "nas" / "gpu-packages")
        if installed:
            print(f"Installed {', '.join(installed)}.", flush=True)
    # Imported here, since most machines that list the parts have no torch.
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here. Run this on a machine with one, or add --device cpu --smoke.")
    results = read_results(options.out)
    if any(item["smoke"] != options.smoke for item in results.items.values()):
        kind = "complete measurements" if options.smoke else "a smoke run"
        raise SystemExit(f"{options.out} holds results of {kind}. Choose another folder.")


def run(parts: Sequence[Part], options: argparse.Namespace, until: float) -> None:
    """Run the parts, each in its time box, and then those again that their boxes have stopped."""
    tried: dict[str, set[str]] = {part.name: set() for part in parts}
    for boxed in (True, False):
        for part in parts:
            if list(_left(part, options.out, tried[part.name])):
                end = min(until, time.time() + part.box_s) if boxed else until
                run_part(part, options, end, tried[part.name])


def run_part(part: Part, options: argparse.Namespace, until: float, tried: set[str]) -> None:
    """Work on a part in processes until it is finished or its time is over.

    A process that ends abnormally costs the item that it worked on, and the next process continues behind it.
    """
    while until - time.time() > START_S and list(_left(part, options.out, tried)):
        print(f"{part.name}: {part.title}", flush=True)
        before = read_results(options.out).items
        status = work(part, options, until, tried)
        results = read_results(options.out)
        keys = {name: f"{part.name}/{name}" for name in part.items}
        attempted = {name for name, key in keys.items() if results.items.get(key) != before.get(key)}
        tried |= attempted
        if status is None or (status == 0 and not attempted):
            return
        _, _, item = results.current.partition("/")
        if status and item:
            what = f"signal {-status}" if status < 0 else f"status {status}"
            failed = {"error": f"its process ended with {what}", "smoke": options.smoke, "seconds": None}
            results.put(part.name, item, failed)
            tried.add(item)
        elif status:
            raise SystemExit(f"The process of part {part.name} ended with status {status} before its first item.")


def _left(part: Part, out: Path, tried: set[str]) -> Iterator[str]:
    """Yield the items that are missing and were not tried in this run."""
    return (name for name in read_results(out).missing(part) if name not in tried)


def work(part: Part, options: argparse.Namespace, until: float, tried: set[str]) -> int | None:
    """Run one process, and return its exit status; None if its time was over."""
    given = {
        "part": part.name,
        "out": str(options.out),
        "data": options.data and str(options.data),
        "device": options.device,
        "smoke": options.smoke,
        "seed": options.seed,
        "skip": sorted(tried),
        "until": until,
    }
    path = os.pathsep.join(filter(None, (str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH"))))
    command = (sys.executable, "-m", "gpu_parts.process", json.dumps(given))
    # A session of its own, so that the process can be ended together with its workers.
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True) as process:  # noqa: S603
        previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return process.wait(max(0.0, until - time.time()))
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What the process has finished is written, and what it works on continues from its own files.
            _kill_group(process.pid)
            signal.signal(signal.SIGTERM, previous)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _kill_group(group: int) -> None:
    """End a process that is still there, and workers that outlived it."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def describe(parts: Sequence[Part], results: Results) -> str:
    """Return a table of the parts: what is done, and the estimated time of what is missing."""
    rows = [("part", "done", "failed", "estimated", "left", "")]
    total = left = 0.0
    for part in parts:
        states = [results.items.get(f"{part.name}/{name}", {}) for name in part.items]
        done = sum("values" in state for state in states)
        missing = sum(part.items[name] for name in results.missing(part))
        whole = sum(part.items.values())
        total, left = total + whole, left + missing
        failed = sum("error" in state for state in states)
        rows.append((part.name, f"{done} of {len(states)}", str(failed), _time(whole), _time(missing), part.title))
    rows.append(("total", "", "", _time(total), _time(left), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    needs = sorted({f"{item['needs']}" for item in results.items.values() if "needs" in item})
    return "\n".join([*lines, *(f"Missing here: {need}." for need in needs)])


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Interrupted; the same command continues.") from None
