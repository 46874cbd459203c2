"""Measure how many more trials two workers finish: processes, threads, and nodes of a Ray cluster take turns.

    python benchmarks/scaling.py --json scaling.json            # reads $NAS_TEST_DATA/cifar10_small

The result is the number of trials per minute, each the same short training run, by workers that have started and hold
the images. A node of the Ray cluster is on this machine and has one core, to which it is bound like the processes; the
nodes are started again for each turn. Ratios are computed within a turn, and their range is that over the turns. Two
cores are used, so close other programs. `waiting.py` measures many workers that hardly compute.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas
import psutil
import torch
from attrs import evolve

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.device.machine import this_machine
from nas.device.spec import Device
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.short_training.resized import cached_images
from nas.studies.opening import quiet_optuna
from nas.workers.base import Call, Outcome, Single, Workers
from nas.workers.processes import Place, Processes, find_cores
from nas.workers.ray_workers import RayWorkers

NETWORK = """net resolution=32 classes=10 act=relu
stem conv k3 s2 c16
mbconv r2 k3 s2 e3 c24
mbconv r2 k3 s2 e3 c48
head conv c128"""
ONE, TWO, THREADS = "one process", "two processes", "one process, two threads"
RAY_ONE, RAY_TWO = "Ray, one node", "Ray, two nodes"
RATIOS = ((TWO, ONE), (TWO, THREADS), (RAY_ONE, ONE), (RAY_TWO, RAY_ONE))
LOCAL, JOIN_S = "127.0.0.1", 60.0
Row = dict[str, Any]
Make = Callable[[], contextlib.AbstractContextManager[Workers]]


def start_node(folder: Path, port: int, core: int, *, head: bool) -> "subprocess.Popen[bytes]":
    """Start a node of a Ray cluster on one core."""
    role = ["--head", f"--port={port}", f"--temp-dir={folder}"] if head else [f"--address={LOCAL}:{port}"]
    size = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=300000000", f"--node-ip-address={LOCAL}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *role, *size]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603
    psutil.Process(node.pid).cpu_affinity([core])  # its child processes inherit the core
    return node


@contextmanager
def on_ray(cores: Sequence[int]) -> Iterator[Workers]:
    """Return workers on a Ray cluster with a node on each core; the cluster is stopped at the end of the context."""
    folder, nodes = Path(tempfile.mkdtemp(prefix="ray-")), list["subprocess.Popen[bytes]"]()
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port = probe.getsockname()[1]
    try:
        for core in cores:
            nodes.append(start_node(folder, port, core, head=not nodes))
            wait_until((folder / "ray_current_cluster").exists)
        with RayWorkers(f"{LOCAL}:{port}") as workers:
            wait_until(lambda: workers._capacity() == len(cores))
            yield workers
    finally:
        for node in nodes:
            kill_node(node)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    give_up = time.monotonic() + JOIN_S
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def kill_node(node: "subprocess.Popen[bytes]") -> None:
    """Kill a node and all its child processes."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(node.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    node.kill()
    node.wait()


def make_by_name(cores: Sequence[int]) -> Mapping[str, Make]:
    """Return the kinds of workers by name."""
    first, second = cores[:2]
    single, other = Place((first,), 1), Place((second,), 1)
    return {
        ONE: lambda: Processes(1, [single]),
        TWO: lambda: Processes(2, [single, other]),
        THREADS: lambda: Processes(1, [Place((first, second), 2)]),
        RAY_ONE: lambda: on_ray([first]),
        RAY_TWO: lambda: on_ray([first, second]),
    }


def finish(workers: Workers, calls: Sequence[Call]) -> list[Outcome]:
    """Evaluate all calls, as many at once as there are free workers."""
    waiting, running, results = list(enumerate(calls)), 0, list[Outcome]()
    while waiting or running:
        while waiting and workers.free:
            number, call = waiting.pop(0)
            workers.start(("", number), call)
            running += 1
        received = [outcome for _, outcome in workers.poll()]
        running -= len(received)
        results += received
    assert all(not outcome.reason for outcome in results), results
    return results


def rate(make: Make, warm_up: Sequence[Call], calls: Sequence[Call]) -> tuple[float, float]:
    """Return the number of trials per minute, and the median duration of a trial in seconds."""
    with make() as workers:
        finish(workers, warm_up)
        start = time.perf_counter()
        results = finish(workers, calls)
        seconds = time.perf_counter() - start
    return 60 * len(calls) / seconds, median(outcome.seconds for outcome in results)


def make_calls(options: argparse.Namespace, arch: Architecture) -> tuple[list[Call], list[Call]]:
    """Return the calls that warm the workers up, and those that are timed; all use the same images."""
    data = cached_images(options.data, options.resolution, options.images)
    call = Call(Single(TrainEvaluator(data)), arch, options.resolution, 0, options.epochs)
    return [evolve(call, epochs=1)] * 2, [call] * options.trials


def measure(options: argparse.Namespace) -> Row:
    """Measure all kinds of workers in turns, and print each result at once."""
    warm_up, calls = make_calls(options, parse_text(NETWORK))
    rates: dict[str, list[float]] = {}
    durations: dict[str, list[float]] = {}
    for turn in range(options.repeats):
        for name, make in make_by_name(find_cores()).items():
            found, seconds = rate(make, warm_up, calls)
            rates.setdefault(name, []).append(found)
            durations.setdefault(name, []).append(seconds)
            print(f"turn {turn + 1}, {name}: {found:.1f} trials per minute, {seconds:.1f} s each", flush=True)
    rows = [
        {"way": name, **spread("trials_a_minute", each), **spread("trial_s", durations[name])}
        for name, each in rates.items()
    ]
    ratios = [
        {"ratio": f"{one} / {other}", **spread("times", paired(rates[one], rates[other]))} for one, other in RATIOS
    ]
    return {"rows": rows, "ratios": ratios, "all": rates}


def paired(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratios within each turn."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def spread(name: str, values: Sequence[float]) -> Row:
    """Return the median and the range."""
    return {name: median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    print(pandas.DataFrame(rows).to_string(index=False, float_format="%.2f"), end="\n\n", flush=True)


def arguments() -> argparse.Namespace:
    """Return the options."""
    default = str(Path(os.environ.get("NAS_TEST_DATA", ".")) / "cifar10_small")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=default, help="images: a folder or file that load_images reads")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=8, help="number of trials of each kind of workers in each turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, and print the results."""
    options = arguments()
    quiet_optuna()
    machine = this_machine(Device())
    settings = {name: value for name, value in vars(options).items() if name not in ("json", "data")}
    report: Row = {"machine": {"cpu": machine.cpu, "cores": machine.cores}, "torch": torch.__version__, **settings}
    print(report, end="\n\n")
    report |= measure(options)
    show(report["rows"])
    show(report["ratios"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
