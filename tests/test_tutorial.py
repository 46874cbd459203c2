"""The commands of the tutorial run in order, on few images and with small numbers, and print what the page shows."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
# What makes each command smaller, as commands of sed.
SHORTER = (
    r"s/--target flops=35M --resolution 96/--target flops=4M --resolution 32 --band 0.5/",
    r"s/--resolution 96/--resolution 32/",
    r"s/--proxy-resolution 64/--proxy-resolution 16 --epochs 1 --no-distill/",
    r"s/--trials 10/--trials 2/",
    r"s/--confirm 2/--confirm 0/",
    r"s/--workers 2/--workers 1/",
    r"s/--epochs 6/--epochs 1/",
    r"s/^\(nas latency measure .*\)/\1 --seconds 0.2/",
    r"s/^\(nas export .*\)/\1 --format onnx/",
    r"s/^\(nas compare .*\)/\1 --seconds 0.2/",
    r"s/^\(nas verify .*\)/\1 --skip latency --skip memory/",
)
# Lines that depend on the machine: other programs, an int8 file that is too slow; and of what SHORTER skips.
SOMETIMES = (
    "other programs disturb the device",
    "The int8 file is therefore not in the folder",
    "latency: model.onnx",
    "the change of a latency",
)


def lines_without_numbers() -> set[str]:
    """Return the lines that the page shows as output and that are the same in every run: those without a number."""
    shown = "\n".join(re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    output = re.sub(r"^\$ (.*\\\n)*.*\n", "", shown, flags=re.MULTILINE).splitlines()
    fixed = [line for line in output if re.search("[a-z]", line) and not re.search(r"\d|…", line)]
    return {" ".join(line.split()) for line in fixed if not line.startswith(SOMETIMES)}


def write_photos(folder: Path) -> None:
    """Write images of three classes, with the names that the page uses."""
    for label, level in (("3", 60), ("4", 120), ("5", 250)):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            noise = np.random.default_rng(number).integers(0, level, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / label / f"IMG_{1160 + number}.JPG")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_tutorial_run_and_print_what_the_page_shows(tmp_path: Path) -> None:
    write_photos(tmp_path / "own")
    done = subprocess.run(
        [str(ROOT / "docs" / "tutorial.sh"), str(tmp_path / "own"), str(tmp_path / "work")],
        env=os.environ | {"SHORTER": ";".join(SHORTER), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    printed = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert lines_without_numbers() - printed == set()
    assert (tmp_path / "work" / "report.html").stat().st_size > 100_000
    assert {"model.onnx", "predict.py"} <= {path.name for path in (tmp_path / "work" / "product").iterdir()}
