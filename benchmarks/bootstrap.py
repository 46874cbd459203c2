"""Packages that a machine without network lacks, installed from a folder of wheels into a folder of their own.

This module needs the standard library alone, and is imported before `nas`. A package that the machine has at a usable
version is never replaced.
"""

from __future__ import annotations  # an older Python must come as far as `check_machine`

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Reports, the model of accuracy in a search, sources of images, and full training runs need these; short training runs
# and supernets do not. `check_machine` checks torch.
NOT_NEEDED = frozenset(
    {
        "datasets",
        "jinja2",
        "kornia",
        "pandas",
        "plotly",
        "pyarrow",
        "safetensors",
        "scikit-learn",
        "scipy",
        "torch",
        "torchmetrics",
    }
)
PYTHON, TORCH = (3, 11), ">=2.7"


def check_machine() -> None:
    """Check the versions of Python and torch, without importing torch.

    Raises:
        SystemExit: One of them is missing or too old.
    """
    if sys.version_info < PYTHON:
        raise SystemExit(f"This is Python {sys.version.split()[0]}, and nas needs Python 3.11 or newer.")
    version = _installed("torch")
    if version is None:
        raise SystemExit(f"PyTorch is not installed for {sys.executable}; install version 2.7 or newer.")
    if not is_usable(version, TORCH):
        raise SystemExit(f"This is PyTorch {version}, and nas needs version 2.7 or newer.")


def install_missing(wheels: Path, site: Path) -> list[str]:
    """Install packages that are missing or too old, and put them first on the path of this process and its children.

    Every wheel of the folder is installed whose package is missing, or is of a version that pyproject.toml excludes.

    Args:
        wheels: Folder of wheels, which `scripts/gpu-bundle` makes.
        site: Folder to install into; it is made if something is installed.

    Returns:
        The names of the packages that were installed; a second call installs nothing.

    Raises:
        SystemExit: A package that training needs is missing and has no wheel, or pip fails.
    """
    _put_first(site.resolve())
    versions = required_versions()
    offered = {parse_wheel_name(path)[0]: path for path in sorted(wheels.glob("*.whl"))}
    known = sorted({*offered, *(versions.keys() - NOT_NEEDED)})
    missing = [name for name in known if not is_usable(_installed(name), versions.get(name, ""))]
    without = [name for name in missing if name not in offered]
    if without:
        raise SystemExit(
            f"These packages are missing or too old: {', '.join(without)}. The folder {wheels} has no wheels of them; "
            "make it with scripts/gpu-bundle on a machine with network."
        )
    if missing:
        _install([offered[name] for name in missing], site)
    return missing


def required_versions() -> dict[str, str]:
    """Return the versions of packages that pyproject.toml allows, such as ">=5.0,<5.1", by normalized name."""
    import tomllib  # which an older Python lacks

    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    return {normalize(line[: end.start()]): line[end.start() :] for line in lines if (end := re.search(r"[<>=]", line))}


def is_usable(version: str | None, allowed: str) -> bool:
    """Return whether a version is one of those allowed; only release numbers are compared.

    >>> is_usable("2.11.0+cu130", ">=2.7"), is_usable("5.1", ">=5.0,<5.1"), is_usable(None, "")
    (True, False, False)
    """
    if version is None:
        return False
    clauses = re.findall(r"(>=|<)([0-9.]+)", allowed)
    return all((_release(version) >= _release(bound)) == (sign == ">=") for sign, bound in clauses)


def _release(version: str) -> tuple[int, ...]:
    """Return the release numbers without zeros at the end, so that 5 equals 5.0."""
    found = re.match(r"[0-9.]*[0-9]", version)
    return tuple(map(int, re.sub(r"(\.0+)+$", "", found[0]).split("."))) if found else ()


def parse_wheel_name(path: Path) -> tuple[str, str]:
    """Return the normalized name and the version in the file name of a wheel.

    >>> parse_wheel_name(Path("PyYAML-6.0.3-cp312-cp312-manylinux2014_x86_64.whl"))
    ('pyyaml', '6.0.3')
    """
    name, version = path.name.split("-")[:2]
    return normalize(name), version


def normalize(name: str) -> str:
    """Return the name of a distribution with which the same ones compare equal, as packaging tools define it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _put_first(site: Path) -> None:
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *(path for path in inherited if path and path != str(site))])
    sys.path[:] = [str(site), *(path for path in sys.path if path != str(site))]


def _install(wheels: list[Path], site: Path) -> None:
    options = ["-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade", "--target"]
    command = [sys.executable, "-m", "pip", "install", *options, str(site), *map(str, wheels)]
    # The command is this interpreter's pip with paths as its arguments.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"pip cannot install the wheels of {wheels[0].parent} into {site}:\n{done.stderr.strip()}")
    importlib.invalidate_caches()
