"""What the pages show works as it is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.cost.analytic import cost
from nas.space.files import find_space
from tests.api.interpreter import bare_environment

ROOT = Path(__file__).parents[1]


def block(page: str, language: str) -> str:
    """The first block of a language on a page."""
    return blocks(page, language)[0]


def blocks(page: str, language: str) -> list[str]:
    """All blocks of a language on a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found
    return found


def test_the_search_space_of_its_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(block("docs/search_spaces.md", "yaml"), encoding="utf-8")
    assert {"stage2.channels", "last.operator"} <= {choice.name for choice in find_space(str(file)).choices}


def test_the_architecture_of_the_page_on_searching_reads() -> None:
    assert len(parse_text(block("docs/searching.md", "text")).stages) == 2


SHORT = (
    "trials=20",
    "trials=1, epochs=3, images=600, proxy_resolution=16",
)  # enough to learn something: there is a best


@pytest.mark.slow
def test_the_examples_of_the_page_on_python_run(tmp_path: Path) -> None:
    first, *others = blocks("docs/python.md", "python")
    size = "print(sum(p.numel() for p in model.parameters()))"
    said = run("\n".join((first.replace(*SHORT), size, *others)), tmp_path).splitlines()
    assert "Architecture(" in said[0]
    assert int(said[1]) > 1_000_000
    assert any("ONNX Runtime" in line for line in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["larger.txt", "nas-trials", "nas.db"]


@pytest.mark.slow
def test_the_sampler_serves_a_study_of_ones_own(tmp_path: Path) -> None:
    script = block("docs/sampler.md", "python") + "print(len(study.trials), study.best_value)"
    assert run(script, tmp_path).startswith("10 0.")


@pytest.mark.slow
def test_a_supernets_weights_begin_a_training(tmp_path: Path) -> None:
    script = block("docs/supernet.md", "python") + "print(sum(p.numel() for p in model.parameters()), accuracy)"
    short = script.replace("resolution=16", "resolution=8, images=100").replace("epochs=30", "epochs=1")
    assert run(short, tmp_path).split()[0].isdigit()
    assert len(list((tmp_path / "nas-supernets").glob("*.pt"))) == 1


# A counter that rises by 60 microjoules with each reading, and a phone that is a program.
COUNTED = """
import itertools, os, pathlib, sys
import nas
import costs

class Counter:
    values = itertools.count(0, 60)
    def read_text(self):
        return f"{next(self.values)}\\n"

costs.COUNTER, costs.RUNS = Counter(), 2
arch = nas.load_architecture("mobilenetv2").adapted(resolution=32, classes=10)
pathlib.Path("network.onnx").write_bytes(nas.to_onnx(arch).SerializeToString())
os.environ["PATH"] = f".:{os.environ['PATH']}"
print(costs.energy("network.onnx"), costs.on_phone("network.onnx"), costs.formula(arch))
"""
PHONE = """#!/bin/sh
if [ "$1" = shell ]; then echo '{"ms": 7.9}'; else test -s "$2"; fi
"""


def test_the_functions_of_the_page_on_own_costs_give_costs(tmp_path: Path) -> None:
    (tmp_path / "costs.py").write_text(blocks("docs/own_costs.md", "python")[0], encoding="utf-8")
    (tmp_path / "adb").write_text(PHONE)
    (tmp_path / "adb").chmod(0o755)
    energy, ms, formula = map(float, run(COUNTED, tmp_path).split())
    assert (energy, ms) == (0.03, 7.9)
    counted = cost(preset("mobilenetv2").adapted(resolution=32, classes=10))
    assert formula == pytest.approx(3.7e-9 * counted.macs + 6.4e-7 * counted.params + 5e-9 * counted.activations)


def test_the_search_of_the_page_on_own_costs_runs(tmp_path: Path) -> None:
    script = blocks("docs/own_costs.md", "python")[1].replace("trials=20", "trials=4")
    assert 2.7 <= float(run(script, tmp_path)) <= 3


def run(script: str, folder: Path) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=bare_environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
