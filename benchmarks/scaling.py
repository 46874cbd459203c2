"""How much more does a search get done with two workers: processes, threads and machines of a Ray cluster in turns.

    python benchmarks/scaling.py --json scaling.json            # reads $NAS_TEST_DATA/cifar10_small

Trials a minute of short trainings, all of them the same one, by workers that have begun and hold the images. A node of
a cluster has one core and is on this machine; it is begun anew for each turn, and pinned as the processes are. Ratios
are of pairs of one turn, their spread is that over turns. Close other programs: two cores are used.
`waiting.py` is about many workers that hardly compute.
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
from nas.device.words import Device
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
    """A node of a Ray cluster, of one core."""
    role = ["--head", f"--port={port}", f"--temp-dir={folder}"] if head else [f"--address={LOCAL}:{port}"]
    size = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=300000000", f"--node-ip-address={LOCAL}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *role, *size]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603
    psutil.Process(node.pid).cpu_affinity([core])  # all that comes from it is there too
    return node


@contextmanager
def on_ray(cores: Sequence[int]) -> Iterator[Workers]:
    """Workers on a cluster of so many nodes, gone at the end."""
    folder, nodes = Path(tempfile.mkdtemp(prefix="ray-")), list["subprocess.Popen[bytes]"]()
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port = probe.getsockname()[1]
    try:
        for core in cores:
            nodes.append(start_node(folder, port, core, head=not nodes))
            wait_until((folder / "ray_current_cluster").exists)
        with RayWorkers(f"{LOCAL}:{port}") as workers:
            wait_until(lambda: workers._room() == len(cores))
            yield workers
    finally:
        for node in nodes:
            end(node)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(holds: Callable[[], bool]) -> None:
    """Something holds."""
    give_up = time.monotonic() + JOIN_S
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def end(node: "subprocess.Popen[bytes]") -> None:
    """With all that came from it."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(node.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    node.kill()
    node.wait()


def ways(cores: Sequence[int]) -> Mapping[str, Make]:
    """How to have them evaluated."""
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
    """All of them, as many at once as are let in."""
    waiting, running, back = list(enumerate(calls)), 0, list[Outcome]()
    while waiting or running:
        while waiting and workers.free:
            number, call = waiting.pop(0)
            workers.start(("", number), call)
            running += 1
        told = [outcome for _, outcome in workers.poll()]
        running -= len(told)
        back += told
    assert all(not outcome.reason for outcome in back), back
    return back


def rate(make: Make, warm_up: Sequence[Call], calls: Sequence[Call]) -> tuple[float, float]:
    """Trials a minute, and the seconds of one."""
    with make() as workers:
        finish(workers, warm_up)
        begun = time.perf_counter()
        back = finish(workers, calls)
        seconds = time.perf_counter() - begun
    return 60 * len(calls) / seconds, median(outcome.seconds for outcome in back)


def make_calls(given: argparse.Namespace, arch: Architecture) -> tuple[list[Call], list[Call]]:
    """To warm up, and those that are timed; all with the same images."""
    data = cached_images(given.data, given.resolution, given.images)
    call = Call(Single(TrainEvaluator(data)), arch, given.resolution, 0, given.epochs)
    return [evolve(call, epochs=1)] * 2, [call] * given.trials


def measure(given: argparse.Namespace) -> Row:
    """In turns, told as it comes."""
    warm_up, calls = make_calls(given, parse_text(NETWORK))
    rates: dict[str, list[float]] = {}
    lengths: dict[str, list[float]] = {}
    for turn in range(given.repeats):
        for name, make in ways(find_cores()).items():
            found, seconds = rate(make, warm_up, calls)
            rates.setdefault(name, []).append(found)
            lengths.setdefault(name, []).append(seconds)
            print(f"turn {turn + 1}, {name}: {found:.1f} trials a minute, {seconds:.1f} s each", flush=True)
    rows = [
        {"way": name, **spread("trials_a_minute", each), **spread("trial_s", lengths[name])}
        for name, each in rates.items()
    ]
    ratios = [
        {"ratio": f"{one} / {other}", **spread("times", paired(rates[one], rates[other]))} for one, other in RATIOS
    ]
    return {"rows": rows, "ratios": ratios, "all": rates}


def paired(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Ratios within a turn."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def spread(name: str, values: Sequence[float]) -> Row:
    """The median and the range."""
    return {name: median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def show(rows: Sequence[Row]) -> None:
    """As a table."""
    print(pandas.DataFrame(rows).to_string(index=False, float_format="%.2f"), end="\n\n", flush=True)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    usual = str(Path(os.environ.get("NAS_TEST_DATA", ".")) / "cifar10_small")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=usual, help="images, a folder or file that load_images reads")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=8, help="of each way and turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = arguments()
    quiet_optuna()
    machine = this_machine(Device())
    asked = {name: value for name, value in vars(given).items() if name not in ("json", "data")}
    report: Row = {"machine": {"cpu": machine.cpu, "cores": machine.cores}, "torch": torch.__version__, **asked}
    print(report, end="\n\n")
    report |= measure(given)
    show(report["rows"])
    show(report["ratios"])
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
