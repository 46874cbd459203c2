"""What the pages show works as it is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas.arch.code import parse_text
from nas.space.files import find_space

ROOT = Path(__file__).parents[1]


def block(page: str, language: str) -> str:
    """The first block of a language on a page."""
    found = re.search(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found.group(1)


def test_the_search_space_of_its_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(block("docs/search_spaces.md", "yaml"), encoding="utf-8")
    assert {"stage2.channels", "last.operator"} <= {choice.name for choice in find_space(str(file)).choices}


def test_the_architecture_of_the_readme_reads() -> None:
    assert len(parse_text(block("README.md", "text")).stages) == 2


@pytest.mark.slow
def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    script = (
        block("README.md", "python")
        .replace("resolution=32", "resolution=8, images=200")
        .replace("trials=20", "trials=1, epochs=1")
    )
    assert "Architecture(" in run(script, tmp_path)


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


def run(script: str, folder: Path) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
