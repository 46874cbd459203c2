"""The pictures of the documentation that a script draws show the code of today."""

import runpy
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
_SCRIPTS = [path for path in sorted(_FOLDER.glob("*.py")) if "def draw()" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_a_picture_is_what_its_script_draws(script: Path) -> None:
    drawn = runpy.run_path(str(script))["draw"]()
    assert script.with_suffix(".svg").read_text(encoding="utf-8") == drawn


def test_there_are_pictures() -> None:
    assert _SCRIPTS
