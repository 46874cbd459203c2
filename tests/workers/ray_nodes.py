"""Machines of a Ray cluster that tests start on this one, each with a folder of its own, and end however they like."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import define, field

from tests.ports import LOCAL, free_port

# The loss of a node is noticed within two seconds, not fifteen.
CHECKS = '{"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}'


def installed() -> Any:
    """Ray; its absence is a failure only where it was meant to be installed."""
    try:
        return import_module("ray")
    except ImportError:
        missing = "ray is not installed"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)


@define(eq=False)
class Nodes:
    """A cluster; the first node is its head, and whoever connects is on that one."""

    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="ray-")))  # a short name: sockets lie in it
    port: int = field(factory=free_port)
    processes: "list[subprocess.Popen[bytes]]" = field(factory=list)

    @property
    def address(self) -> str:
        return f"{LOCAL}:{self.port}"

    def add(self, cpus: int = 1) -> "subprocess.Popen[bytes]":
        """A node, that may still be joining."""
        role = [f"--address={self.address}"]
        if not self.processes:
            role = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}", f"--system-config={CHECKS}"]
            role += ["--include-dashboard=false"]
        size = [f"--num-cpus={cpus}", "--num-gpus=0", "--object-store-memory=80000000"]
        machine_lock = ["--include-log-monitor=false", "--min-worker-port=0", "--max-worker-port=0"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={LOCAL}"]
        # Tasks import evaluators of the tests, which are not installed.
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen([*command, *role, *size, *machine_lock], stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        return process

    def wait_for_head(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not (self.folder / "ray_current_cluster").exists():
            assert self.processes[0].poll() is None, (self.folder / "log-0").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self.processes:
            end_family(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def raylet(node: "subprocess.Popen[bytes]") -> psutil.Process:
    """What holds a node together."""
    (found,) = [each for each in psutil.Process(node.pid).children() if each.name() == "raylet"]
    return found


def end_family(process: "subprocess.Popen[bytes]") -> None:
    """At once, with all that came from it."""
    with contextlib.suppress(psutil.Error):
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.Error):
                each.kill()
    process.wait()
