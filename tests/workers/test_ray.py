"""Evaluations on a Ray cluster of two nodes, both on this machine."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import evolve, frozen

from nas.arch.spec import Architecture
from nas.errors import MissingPackageError, NasError, StudyError
from nas.workers.base import Call, Outcome, Workers
from nas.workers.ray_cluster import Need
from nas.workers.ray_workers import RayWorkers
from tests.contracts.workers import OTHER, SMALL, WorkersContract, all_of, finish
from tests.device.processes import eventually
from tests.search.fake_trainings import (
    FakeEvaluator,
    FakeEvaluators,
    Stuck,
    call,
    dying,
    final,
    rising,
)
from tests.workers.ray_nodes import Nodes, end_family, installed, raylet

# Two tasks that have begun and do not end.
DRIVER = """
import pathlib, sys
from nas.workers.ray_workers import RayWorkers
from tests.contracts.workers import SMALL
from tests.search.fake_trainings import Stuck, call

with RayWorkers(sys.argv[1]) as workers:
    for seed in (0, 1):
        workers.start(("", seed), call(Stuck(pathlib.Path(sys.argv[2])), SMALL, seed))
    while True:
        workers.poll()
"""
# A search whose cluster is taken away.
ORPHAN = """
import pathlib, sys
import nas.workers.ray_cluster
from nas.errors import StudyError
from nas.workers.ray_workers import RayWorkers
from tests.contracts.workers import SMALL, finish
from tests.search.fake_trainings import call, rising
from tests.workers.test_ray import Located

nas.workers.ray_cluster.PAUSES_S = (0.0, 0.1)
with RayWorkers(sys.argv[1]) as workers:
    workers.start(("a", 0), call(Located(pathlib.Path(sys.argv[2])), SMALL))
    try:
        finish(workers, {("b", 0): call(rising, SMALL), ("c", 0): call(rising, SMALL)})
    except StudyError as error:
        print(f"{error.problem}; free: {workers.free}", flush=True)
"""
THREADS = """
from nas.workers.threads import set_threads
{before}
set_threads(2)
import os, torch
print(os.environ["MKL_NUM_THREADS"], torch.get_num_threads())
"""


@frozen
class Located:
    """Its first epoch ends where the second one's end is told by a file; leaves a file that names its node."""

    folder: Path

    def __call__(self, _arch: Architecture, _resolution: int, seed: int, epochs: int) -> Iterator[float]:
        node = import_module("ray").get_runtime_context().get_node_id()
        for epoch in range(epochs):
            (self.folder / f"{seed}-{epoch}").write_text(node)
            while not (self.folder / "go").exists():
                time.sleep(0.01)
            yield 0.5

    def node(self, seed: int, epoch: int = 0) -> str:
        path = self.folder / f"{seed}-{epoch}"
        eventually(lambda: path.exists() and path.read_text())
        return path.read_text()

    def go(self) -> None:
        (self.folder / "go").touch()


@frozen
class Travelling:
    """Evaluators that leave a file wherever they are sent off or read."""

    folder: Path

    def at(self, resolution: int, seed: int) -> FakeEvaluator:
        return FakeEvaluator(FakeEvaluators(), resolution, seed)

    def describe(self) -> dict[str, Any]:
        return {}

    def __reduce__(self) -> tuple[Callable[[Path], "Travelling"], tuple[Path]]:
        (self.folder / f"sent-{time.time_ns()}").touch()
        return _arrived, (self.folder,)


def _arrived(folder: Path) -> Travelling:
    (folder / f"read-{os.getpid()}-{time.time_ns()}").touch()
    return Travelling(folder)


@pytest.fixture(scope="module", name="nodes")
def _nodes() -> Iterator[Nodes]:
    installed()
    nodes = Nodes()
    try:
        nodes.add()
        nodes.wait_for_head()
        nodes.add()
        _wait_for_both(nodes)
        yield nodes
    finally:
        nodes.stop()


def _wait_for_both(nodes: Nodes) -> None:
    with RayWorkers(nodes.address) as workers:
        eventually(lambda: workers._capacity() == 2)


@pytest.fixture(name="workers")
def _workers(nodes: Nodes) -> Iterator[RayWorkers]:
    with RayWorkers(nodes.address) as workers:
        yield workers


@pytest.mark.slow
class TestRayWorkers(WorkersContract):
    most = 2

    @pytest.fixture(autouse=True)
    def _cluster(self, nodes: Nodes) -> None:
        self.address = nodes.address

    def make(self, limit_s: float | None = None) -> Workers:
        return RayWorkers(self.address, limit_s=limit_s)

    def test_they_go_on_after_a_pause(self, workers: Workers) -> None:
        """They refuse it, as the protocol allows, and go on."""
        workers.start(("a", 0), call(rising, SMALL))
        with pytest.raises(NasError, match="latency cannot be measured on a machine that evaluates"), workers.paused():
            pass
        ((_, outcome),) = all_of(workers)
        assert outcome.accuracies[-1] == final(SMALL, 16, 0)


@pytest.mark.slow
def test_a_pause_is_granted_where_no_task_runs(workers: RayWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.workers.ray_workers.is_here", lambda *_: False)
    with workers.paused():
        pass


@pytest.mark.slow
def test_nothing_is_printed(nodes: Nodes, capfd: pytest.CaptureFixture[str]) -> None:
    with RayWorkers(nodes.address) as workers:
        assert len(finish(workers, {("", 0): call(printing, SMALL), ("", 1): call(dying, SMALL)})) == 2
    assert capfd.readouterr() == ("", "")


def printing(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    sys.stdout.write("to be read by nobody")
    yield 0.5


@pytest.mark.slow
def test_no_epoch_begins_before_the_answer(workers: RayWorkers, tmp_path: Path) -> None:
    course = Located(tmp_path)
    course.go()
    workers.start(("a", 0), evolve(call(course, SMALL, epochs=9), by_epoch=True))
    for epoch in range(3):
        ((key, outcome),) = all_of(workers)
        assert len(outcome.accuracies) == epoch + 1
        assert workers.poll(0.3) == []
        assert not (tmp_path / f"0-{epoch + 1}").exists()
        workers.answer(key, go_on=True)
        # What follows is trained while nobody listens.
        course.node(0, epoch + 1) if epoch < 2 else workers.answer(key, go_on=False)
    ((key, _),) = finish(workers, {("b", 0): call(rising, SMALL)})
    assert key == ("b", 0)
    assert not (tmp_path / "0-4").exists()


@pytest.mark.slow
def test_both_nodes_are_used(workers: RayWorkers, tmp_path: Path) -> None:
    course = Located(tmp_path)
    for seed in (0, 1):
        workers.start(("", seed), call(course, SMALL, seed))
    assert {course.node(0), course.node(1)} == {node["NodeID"] for node in import_module("ray").nodes()}
    course.go()
    assert {key for _ in range(2) for key, _ in all_of(workers)} == {("", 0), ("", 1)}


@pytest.mark.slow
def test_evaluators_are_sent_once_and_read_once_by_each_process(workers: RayWorkers, tmp_path: Path) -> None:
    evaluators = Travelling(tmp_path)
    calls = {("", seed): Call(evaluators, SMALL, 16, seed, 1) for seed in range(8)}
    assert len(finish(workers, calls)) == 8
    assert len(list(tmp_path.glob("sent-*"))) == 1
    readers = [path.name.split("-")[1] for path in tmp_path.glob("read-*")]
    assert len(readers) == len(set(readers)) < 8


@pytest.mark.slow
def test_a_process_that_dies_is_told_and_the_next_call_is_evaluated(workers: RayWorkers) -> None:
    back = dict(finish(workers, {("good", 0): call(rising, SMALL), ("bad", 0): call(dying, SMALL)}))
    assert back["good", 0].accuracies[-1] == final(SMALL, 16, 0)
    assert_lost(back["bad", 0], "died unexpectedly")
    ((_, outcome),) = finish(workers, {("next", 0): call(rising, OTHER)})
    assert outcome.accuracies[-1] == final(OTHER, 16, 0)


def assert_lost(outcome: Outcome, reason: str) -> None:
    assert (outcome.lost, outcome.ended, outcome.accuracies) == (True, True, ())
    assert outcome.reason.startswith("its task on the Ray cluster was lost: ")
    assert reason in outcome.reason


@pytest.mark.slow
def test_a_node_that_joins_has_room_and_one_that_dies_takes_it_along(
    nodes: Nodes, workers: RayWorkers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    course, third = Located(tmp_path), nodes.add()
    for seed in range(3):
        eventually(lambda: workers.free)
        workers.start(("", seed), call(course, SMALL, seed))
    assert len({course.node(seed) for seed in range(3)}) == 3
    raylet(third).send_signal(signal.SIGKILL)
    ((lost, outcome),) = all_of(workers)
    assert_lost(outcome, "")
    course.go()
    workers.start(lost, call(course, SMALL, 5))
    ended = {key: outcome for _ in range(3) for key, outcome in all_of(workers)}
    assert ended.keys() == {("", seed) for seed in range(3)}
    assert not any(outcome.lost for outcome in ended.values())
    assert course.node(5) != course.node(lost[1])
    eventually(lambda: workers._capacity() == 2)
    time.sleep(0.5)  # for what Ray would have to say of it
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_cluster_whose_head_is_gone_ends_the_search_and_not_its_process(tmp_path: Path) -> None:
    installed()
    nodes, course, script = Nodes(), Located(tmp_path), tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        head = nodes.add()
        nodes.wait_for_head()
        # Ray ends a process whose head is gone, sooner or later: not the one that runs tests.
        driver = subprocess.Popen(
            [sys.executable, str(script), nodes.address, str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        course.node(0)
        end_family(head)
        out, _ = driver.communicate(timeout=120)
        assert re.fullmatch(r"the head of the Ray cluster at .* is gone; free: False\n", out)
    finally:
        nodes.stop()


@pytest.mark.slow
def test_tasks_end_with_their_driver_however_it_ends(nodes: Nodes, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, str(script), nodes.address, str(tmp_path / "begun")], env=environment)
    try:
        eventually(lambda: all((tmp_path / f"begun-{seed}").exists() for seed in (0, 1)))
        assert len(evaluating(nodes)) == 2
        driver.kill()
        driver.wait()
        eventually(lambda: not evaluating(nodes))
    finally:
        driver.kill()
        driver.wait()


def evaluating(nodes: Nodes) -> list[psutil.Process]:
    """Processes of tasks."""
    found = []
    for node in [node for node in nodes.processes if node.poll() is None]:
        found += [each for each in psutil.Process(node.pid).children(recursive=True) if _is_task(each)]
    return found


def _is_task(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == ["ray::_evaluate"]
    except psutil.Error:
        return False


@pytest.mark.slow
def test_what_cannot_be_read_on_a_machine_is_an_error_of_the_search(
    workers: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = types.ModuleType("only_here")
    exec("class Evaluators: pass", here.__dict__)  # noqa: S102 -- a module that no other process has
    monkeypatch.setitem(sys.modules, "only_here", here)
    with pytest.raises(NasError, match=r"cannot evaluate: .*only_here") as caught:
        finish(workers, {("a", 0): Call(here.Evaluators(), SMALL, 16, 0, 1)})
    assert "on every machine of the cluster" in caught.value.remedy


@pytest.mark.slow
def test_evaluators_that_cannot_be_sent_are_told(workers: RayWorkers) -> None:
    evaluators = FakeEvaluators(name=threading.Lock())  # type: ignore[arg-type]
    with pytest.raises(NasError, match="the evaluator cannot be sent to another machine: ") as caught:
        workers.start(("a", 0), Call(evaluators, SMALL, 16, 0, 1))
    assert "pickle" in caught.value.remedy
    assert workers.free


@pytest.mark.slow
def test_a_connection_of_the_callers_stays(nodes: Nodes, tmp_path: Path) -> None:
    ray = installed()
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        with RayWorkers(most=1) as workers:
            workers.start(("a", 0), call(Stuck(tmp_path / "begun"), SMALL))
            assert not workers.free
            eventually((tmp_path / "begun-0").exists)
        assert ray.is_initialized()
        eventually(lambda: not evaluating(nodes))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_task_that_no_machine_holds_is_refused(nodes: Nodes) -> None:
    with (
        pytest.raises(StudyError, match="no machine of the Ray cluster can hold a task that needs 2 CPU cores"),
        RayWorkers(nodes.address, cpus=2),
    ):
        pass
    assert not installed().is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import torch"])
def test_libraries_use_a_tasks_own_threads(before: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = THREADS.format(before=before)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == ["2", "2"]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("auto", "no Ray cluster runs on this machine"),
        ("127.0.0.1:1", "no Ray cluster answers at .*:1"),
        ("junk", "'junk' is not the address of a Ray cluster"),
        ("local", "'local' is not the address of a Ray cluster"),
        ("ray://127.0.0.1:1", "'ray://127.0.0.1:1' is not the address of a Ray cluster"),
    ],
)
def test_without_a_cluster_the_error_says_how_to_begin_one(
    address: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    installed()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)  # others may run here
    with pytest.raises(StudyError, match=problem) as caught, RayWorkers(address):
        pass
    assert "HOST:PORT" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingPackageError, match="needs the package ray, which is not installed") as caught,
        RayWorkers(),
    ):
        pass
    assert caught.value.remedy == "pip install 'hwnas[ray]'"


@pytest.mark.parametrize("missing_fails", [True, False])
def test_a_missing_ray_fails_where_it_was_meant_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, *, missing_fails: bool
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("CI", "true" if missing_fails else "")
    with pytest.raises(pytest.fail.Exception if missing_fails else pytest.skip.Exception):
        installed()


@pytest.mark.parametrize(
    ("need", "held", "tasks"),
    [
        (Need(), {"CPU": 4.0}, 4),
        (Need(cpus=3), {"CPU": 4.0}, 1),
        (Need(cpus=0.1), {"CPU": 1.0}, 10),
        (Need(cpus=2, gpus=1), {"CPU": 16.0, "GPU": 2.0}, 2),
        (Need(cpus=0, gpus=0.5), {"GPU": 1.0}, 2),
        (Need(gpus=1), {"CPU": 4.0}, 0),
    ],
)
def test_a_node_holds_as_many_tasks_as_its_scarcest_allows(need: Need, held: dict[str, float], tasks: int) -> None:
    assert need.times_in({"Alive": True, "Resources": held}) == tasks
    assert need.times_in({"Alive": False, "Resources": held}) == 0


@pytest.mark.parametrize("asked", [{"cpus": -1}, {"cpus": 0}, {"gpus": 1.5}, {"most": 0}])
def test_a_task_takes_something_and_no_part_of_several_gpus(asked: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"each task|number of tasks") as caught:
        RayWorkers(**asked)
    assert caught.value.remedy.startswith("give ")
