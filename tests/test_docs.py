"""What the pages show works as it is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

import nas
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


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))
WITH_PYTHON = [page for page in PAGES if "```python\n" in (ROOT / page).read_text(encoding="utf-8")]
# Pages whose Python blocks are modules for a command, or examples of docstrings, with the tests that run them.
ELSEWHERE = {
    "docs/api.md": "tests/api/test_docstrings.py",
    "docs/own_costs.md": "below",
    "docs/evaluators.md": "tests/cli/test_cli_evaluators.py",
}


@frozen
class Script:
    """How the Python blocks of a page are run: all of them, one after the other, as one program in an empty folder.

    Attributes:
        short: Texts of the page, each with one that takes less time.
        before: Code that makes the files which the page takes for granted.
        after: Code that prints what the blocks have made.
        prints: Pattern of what the program prints.
    """

    short: tuple[tuple[str, str], ...] = ()
    before: str = ""
    after: str = ""
    prints: str = ""


# Enough to learn something: there is a best.
SEARCH = ("trials=20", "trials=1, epochs=3, images=600, proxy_resolution=16")
PHOTOS = """
from pathlib import Path
import numpy
from PIL import Image

for number in range(60):
    file = Path("photos", ("paper", "rock")[number % 2], f"{number}.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = numpy.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype="uint8")
    Image.fromarray(noise // (1 + number % 2)).save(file)
"""
TRAINED = """
import nas
nas.train("mnasnet-small", "photos", resolution=32, epochs=1, out="photos-trained")
Path("new").mkdir()
Path("photos", "rock", "1.png").rename("new/1.png")
"""
SCRIPTS = {
    "docs/python.md": Script(
        short=(SEARCH,),
        after="import pathlib; print(sorted(path.name for path in pathlib.Path().iterdir()))",
        prints=r"Architecture\((.|\n)*ONNX Runtime(.|\n)*\['larger.txt', 'nas-trials', 'nas.db'\]",
    ),
    "docs/sampler.md": Script(after="print(len(study.trials), study.best_value)", prints="10 0."),
    "docs/supernet.md": Script(
        short=(
            ("resolution=16", "resolution=8, images=100"),
            ("epochs=30", "epochs=1"),
            ("experiments/", f"{ROOT}/experiments/"),
            ("resolution=64", "resolution=8"),
        ),
        before=PHOTOS,
        after="print(sum(p.numel() for p in model.parameters()), *Path('nas-supernets').glob('*.pt'))",
        prints=r"^\d{6,} nas-supernets/\S+\.pt\n",
    ),
    "docs/pretrained.md": Script(
        short=(("resolution=224", "resolution=16, images=20"), ("budget=3", "budget=1")),
        before=PHOTOS,
        after="print(network.classes)",
        prints=r"\('paper', 'rock'\)",
    ),
    "docs/own_data.md": Script(
        before=PHOTOS,
        after="""
from nas.data.load import load_images
data = load_images("photos.parquet", resolution=8)
print(data.classes, len(data.train) + len(data.val))
""",
        prints=r"\('paper', 'rock'\) 48",
    ),
    "docs/jupyter.md": Script(
        short=(
            ("trials=20", "trials=1, images=600, proxy_resolution=16"),
            ("progress=True)", ")"),
            ("from IPython.display import IFrame\n", ""),
            ('IFrame("notebook.html", width="100%", height=800)', ""),
            ("epochs=10", "epochs=1"),
        ),
        prints=r"%\)\n\[\]\n\d+ \d{7}\nbest-trained\n",
    ),
    "docs/evaluating.md": Script(
        short=(("images=200", "images=2"), ('"photos", robust', '"photos", split="val", robust')),
        before=PHOTOS + TRAINED,
        prints=r"%\)\nnew/1.png",
    ),
}


def test_every_page_with_python_is_run() -> None:
    assert sorted([*SCRIPTS, *ELSEWHERE]) == WITH_PYTHON


@pytest.mark.slow
@pytest.mark.parametrize("page", SCRIPTS)
def test_the_python_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    script = SCRIPTS[page]
    program = "\n".join(blocks(page, "python"))
    for text, shorter in script.short:
        assert text in program
        program = program.replace(text, shorter)
    assert re.search(script.prints, run("\n".join((script.before, program, script.after)), tmp_path))


def test_the_page_on_python_has_every_function() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    functions = [name for name in nas.__all__ if name.islower() and callable(getattr(nas, name))]
    assert len(functions) > 20
    assert [name for name in functions if f"| `nas.{name}(" not in page] == []


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
