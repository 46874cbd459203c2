"""What a built wheel holds: the package, its types, and the data files that lie beside it in a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (made,) = folder.glob("hwnas-*.whl")
    return made


@pytest.mark.slow
def test_a_wheel_has_every_module_search_space_and_latency_table(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "nas").rglob("*.py")}
    spaces = {f"nas/search_spaces/{path.name}" for path in (ROOT / "search_spaces").glob("*.yaml")}
    tables = {f"nas/latency_tables/{path.name}" for path in (ROOT / "latency_tables").glob("*.csv")}
    parts = [path for name in ("assets", "templates") for path in (ROOT / "nas" / "report" / name).rglob("*.*")]
    shown = {str(path.relative_to(ROOT)) for path in (*parts, ROOT / "nas/report/assets/plotly/LICENSE")}
    assert modules | spaces | tables | shown | {"nas/py.typed"} <= inside


@pytest.mark.slow
def test_the_spaces_of_a_wheel_are_found_away_from_a_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from nas.space.files import find_space, space_names; print(*space_names(), find_space('mnasnet').size)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == ["efficientnet", "mnasnet", "mobilenetv3", "nasbench_macro", str(432**7)]
