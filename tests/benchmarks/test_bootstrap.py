"""Installation of missing packages from a folder of wheels, and what training needs on a machine with few packages."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import bootstrap
import pytest
from bundle import PACKAGES, make, make_wheels, pinned_versions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version
from packed_images import pack

from nas.evaluate.table.evaluator import read_table
from nas.space.files import find_space
from tests.search.fakes import SMALLEST

ROOT = Path(__file__).parents[2]
# The machine has them, or only reports, graphs, the model of accuracy in a search, and reading of tables need them.
ELSEWHERE = {"numpy", "pandas", "plotly", "jinja2", "scipy", "torch", "datasets", "pyarrow", "scikit-learn"} | {
    "kornia",  # what full training runs need
    "safetensors",
    "torchmetrics",
}


def write_wheel(folder: Path, name: str, number: str) -> Path:
    """Write a wheel with one module, which holds its version."""
    path = folder / f"{name}-{number}-py3-none-any.whl"
    info = f"{name}-{number}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {number!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def write_old_package(folder: Path, name: str, number: str) -> None:
    info = folder / f"{name}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the paths of this process, which an installation changes."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_what_is_missing_or_too_old_is_installed_once(tmp_path: Path) -> None:
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    write_old_package(tmp_path / "machine", "click", "7.9")  # pyproject.toml asks for 8.1 or newer
    sys.path.insert(0, str(tmp_path / "machine"))
    for name, number in (("missing_package", "1.0"), ("click", "8.1.3"), ("rich", "99.0"), ("packaging", "99.0")):
        write_wheel(wheels, name, number)
    assert bootstrap.install_missing(wheels, site) == ["click", "missing-package"]
    assert version("click") == "8.1.3"
    assert {path.name for path in site.glob("*.py")} == {"click.py", "missing_package.py"}
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    assert bootstrap.install_missing(wheels, site) == []
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before
    assert sys.path.count(str(site)) == 1
    assert os.environ["PYTHONPATH"] == f"{site}{os.pathsep}{ROOT}"
    program = "import missing_package; print(missing_package.VERSION)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "1.0\n"


def test_nothing_is_installed_or_needed_where_nothing_is_missing(tmp_path: Path) -> None:
    assert bootstrap.install_missing(tmp_path / "wheels", tmp_path / "site") == []
    assert not (tmp_path / "site").exists()


def test_a_missing_package_without_a_wheel_is_named(tmp_path: Path) -> None:
    write_old_package(tmp_path / "machine", "click", "7.9")
    write_old_package(tmp_path / "machine", "optuna", "5.1.0")  # pyproject.toml asks for a version below 5.1
    sys.path.insert(0, str(tmp_path / "machine"))
    with pytest.raises(SystemExit, match=r"missing or too old: click, optuna\..*scripts/gpu-bundle"):
        bootstrap.install_missing(tmp_path / "wheels", tmp_path / "site")


def test_an_error_of_pip_is_printed(tmp_path: Path) -> None:
    (tmp_path / "missing_package-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    with pytest.raises(SystemExit, match="pip cannot install the wheels"):
        bootstrap.install_missing(tmp_path, tmp_path / "site")


@pytest.mark.parametrize("number", ["5", "5.0", "5.0.0", "5.0.9+cpu", "5.1", "4.9.9", "10.0", "4", "5.1.0", "0"])
@pytest.mark.parametrize("allowed", [">=5.0,<5.1", ">=5", ">=4.10", ""])
def test_versions_are_compared_as_packaging_tools_do(number: str, allowed: str) -> None:
    expected = Version(number) in Requirement(f"name{allowed}").specifier
    assert bootstrap.is_usable(number, allowed) == expected


def test_the_required_versions_are_those_of_the_project() -> None:
    found = bootstrap.required_versions()
    assert (found["optuna"], found["pillow"], found["scikit-learn"]) == (">=5.0,<5.1", ">=10.3", ">=1.5")


@pytest.mark.parametrize(
    ("found", "message"),
    [(None, "PyTorch is not installed"), ("2.6.0+cu124", "This is PyTorch 2.6.0"), ("2.7", ""), ("2.11.0+cu130", "")],
)
def test_a_machine_needs_a_torch_that_is_new_enough(
    found: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found:
        write_old_package(tmp_path, "torch", found)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    if not message:
        bootstrap.check_machine()
        return
    with pytest.raises(SystemExit, match=message):
        bootstrap.check_machine()


def test_a_machine_needs_a_python_that_is_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"nas needs Python 3\.11 or newer"):
        bootstrap.check_machine()


def test_the_packages_of_the_bundle_are_all_that_the_dependencies_need() -> None:
    wanted = set(bootstrap.required_versions()) - ELSEWHERE
    found: set[str] = set()
    while wanted - found:
        name = min(wanted - found)
        found.add(name)
        needed = [Requirement(text) for text in requires(name) or ()]
        wanted |= {str(canonicalize_name(each.name)) for each in needed if not each.marker or each.marker.evaluate()}
        wanted -= ELSEWHERE
    assert found == set(PACKAGES)
    assert {"attrs", "sqlalchemy"} <= pinned_versions().keys()
    assert ELSEWHERE - {"numpy"} == bootstrap.NOT_NEEDED


def test_wheels_that_are_there_are_kept_and_other_versions_removed(tmp_path: Path) -> None:
    for name, number in (("rich", "13.0"), ("rich", "15.0.0"), ("mine", "1.0")):
        write_wheel(tmp_path, name, number)
    (kept,) = make_wheels(tmp_path, {"rich": "15.0.0"})
    assert parse_wheel_filename(kept.name)[:2] == ("rich", Version("15.0.0"))
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"rich", "mine"}
    assert len(list(tmp_path.glob("rich*"))) == 1


# With None in place of a module, Python finds it neither for an import nor for a look-up of its specification.
ABSENT = """
import sys

sys.modules.update(dict.fromkeys(("scipy", "pyarrow", "datasets", "sklearn", "plotly", "onnx", "onnxruntime")))
"""
TRAINING = """
import json
from pathlib import Path
import yaml
from packed_images import read
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.table.evaluator import read_table
from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
from nas.evaluate.zero_cost.naswot import Naswot
from nas.space.files import find_space
from nas.space.schema import read_space
from nas.train.recipe import Recipe

folder = Path(sys.argv[1])
data = read(folder / "digits.npz").data(8, images=200)
space = read_space(yaml.safe_load((folder / "space.yaml").read_text()), "space.yaml", "space")
arch, recipe = space.from_indices([0]), Recipe(batch_size=50)
train = TrainEvaluator(data, recipe=recipe)
supernet = SupernetEvaluator(space, data, folder / "supernets", SupernetRecipe(epochs=1, training=recipe))
zero_cost = ZeroCostEvaluator("naswot", space, Naswot(data, images=8), sample=4)
found = [next(evaluator.evaluate(arch, 1)) for evaluator in (train, supernet, zero_cost)]
table = read_table(folder / "table.csv", find_space("nasbench_macro"))
print(json.dumps([*found, len(table.rows)]))
"""


@pytest.mark.slow
def test_training_supernets_scores_and_tables_work_where_few_packages_are(tmp_path: Path) -> None:
    pack("digits", tmp_path / "digits.npz")
    (tmp_path / "space.yaml").write_text(SMALLEST)
    (tmp_path / "table.csv").write_text("arch,acc\n21210200,91.5\n00000000,62.0\n")
    command = [sys.executable, "-W", "error", "-c", ABSENT + TRAINING, str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *scores, rows = json.loads(done.stdout)
    assert all(0 < score < 1 for score in scores)
    assert rows == 2


@pytest.mark.slow
def test_a_bundle_installs_and_holds_the_data(tmp_path: Path) -> None:
    """Download the wheels; the table of the bundle has the accuracies of its source."""
    folder = os.environ.get("NAS_TEST_DATA")
    if not folder:
        pytest.skip("NAS_TEST_DATA does not name the folder with the data")
    done = subprocess.run(
        [ROOT / "scripts" / "gpu-bundle", tmp_path, "--data", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert done.stdout.endswith(f"{size / 1e6:.1f} MB\n")
    space = find_space("nasbench_macro")
    table = read_table(tmp_path / "nasbench_macro.csv", space, ignore=["op?"])
    assert table.rows == read_table(Path(folder) / "nasbench_macro.parquet", space, ignore=["op?"]).rows
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make(tmp_path, Path(folder))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
