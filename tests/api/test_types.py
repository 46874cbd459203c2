"""The types that a user's type checker sees."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.interpreter import ROOT

GOOD = """
import nas

study = nas.search("mnasnet", target=["flops=400M", "params=5M"], data="digits", trials=20, timeout="2h")
reveal_type(study)
best = study.best
assert best is not None
reveal_type(best.costs["macs"])
reveal_type(best.architecture)
reveal_type(nas.cost(best.architecture).macs)
reveal_type(nas.to_torch(best.architecture))
reveal_type(nas.scale_family(best.architecture)[0].architecture)
reveal_type(nas.measure_latency(best.architecture, device="cpu").latency_ms)


def accuracy(arch: nas.Architecture) -> float:
    return 1 / arch.classes


nas.search(nas.load_space("mnasnet"), "flops=400M", evaluator=accuracy, start_from=best.architecture)
"""
TYPES = (
    "nas.api.study.Study",
    "float",
    "nas.arch.spec.Architecture",
    "int",
    "torch.nn.modules.module.Module",
    "nas.arch.spec.Architecture",
    "float",
)
BAD = """
import nas

nas.search("mnasnet", target="flops=400M", trails=20)
nas.cost("efficientnet-b0")
nas.serach("mnasnet")
"""


def checked(tmp_path: Path, program: str) -> str:
    """What mypy says of a user's program."""
    (tmp_path / "mine.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "mine.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("mine.py") or "Error" in line)


@pytest.mark.slow
def test_a_program_with_right_types_is_accepted(tmp_path: Path) -> None:
    said = checked(tmp_path, GOOD)
    assert "error" not in said
    assert [
        line.partition('Revealed type is "')[2].rstrip('"').replace("builtins.", "") for line in said.splitlines()
    ] == list(TYPES)


@pytest.mark.slow
def test_wrong_arguments_and_names_are_found(tmp_path: Path) -> None:
    said = checked(tmp_path, BAD)
    for words in ('Unexpected keyword argument "trails"', '"str"; expected "Architecture"', 'no attribute "serach"'):
        assert words in said
