"""`nas.search` in scripts and threads: several processes, interrupts, and a study that is searched twice at once."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import nas
from tests.api.interpreter import bare_environment, fresh
from tests.search.fakes import TINY


@pytest.fixture(autouse=True)
def _space(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)


PARALLEL = """
import nas

def accuracy(arch):
    return 1 / (1 + sum(stage.channels for stage in arch.stages))

if __name__ == "__main__":
    study = nas.search("tiny.yaml", "flops=2M", evaluator=accuracy, trials=6, band=0.1, workers=2, seed=5)
    print(len({trial.text for trial in study.trials}), {trial.state for trial in study.trials})
"""


@pytest.mark.slow
def test_a_function_of_a_script_is_evaluated_by_several_processes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PARALLEL)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "6 {'complete'}\n", "")


INTERRUPTED = """
import os, signal, nas

def accuracy(arch):
    calls.append(arch)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return 1 / (1 + sum(stage.channels for stage in arch.stages))

calls = []
study = nas.search("tiny.yaml", "flops=2M", evaluator=accuracy, trials=6, band=0.1)
print(len(study.trials) < 6, study.best is not None, {trial.state for trial in study.trials})
print(len(nas.search("tiny.yaml", "flops=2M", evaluator=accuracy, trials=6, band=0.1).trials))
"""


def test_one_interrupt_ends_a_search_and_gives_its_study(tmp_path: Path) -> None:
    assert fresh(INTERRUPTED, tmp_path) == "True True {'complete'}\n6"


def test_a_second_search_of_the_same_study_in_this_process_is_refused(tmp_path: Path) -> None:
    """All reservations of a process have one token, so each would take the other's trials for abandoned ones."""
    begun, tried = threading.Event(), threading.Event()

    def waiting(arch: nas.Architecture) -> float:
        begun.set()
        tried.wait(60)
        return 1 / (1 + len(arch.stages))

    ways: dict[str, Any] = {
        "target": "flops=60M",
        "evaluator": waiting,
        "study": "demo",
        "storage": f"sqlite:///{tmp_path / 'nas.db'}",
    }
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(nas.search, "mnasnet", trials=20, **ways)
        try:
            assert begun.wait(60)
            with pytest.raises(nas.StudyError, match="already works at the study"):
                nas.search("mnasnet", trials=20, **ways)
        finally:
            tried.set()
        study = first.result(timeout=120)
    assert [trial.state for trial in study.trials] == ["complete"] * 20
    assert len(nas.search("mnasnet", trials=22, **ways).trials) == 22  # afterwards it continues


def test_a_script_without_the_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import nas\n"
        "nas.search('mnasnet', target='flops=60M', trials=2, evaluator='zero-cost:depth', study='demo', workers=2)\n"
    )
    ran = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert ran.returncode != 0
    assert 'if __name__ == "__main__":' in ran.stderr
    assert "a worker process imports the script" in ran.stderr
    assert nas.study_names(storage=f"sqlite:///{tmp_path / 'nas.db'}") == ["demo"]
