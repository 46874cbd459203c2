"""Make the folder that benchmarks on a machine without network need: wheels, images and a table of accuracies.

    scripts/gpu-bundle DIR                                   # data in the folder that NAS_TEST_DATA names
    scripts/gpu-bundle DIR --data FOLDER

The wheels are for Python 3.12 on x86-64 Linux, at the versions of constraints.txt. They are all that training,
supernets and studies import, except for torch, numpy and pandas, which the machine must have: `bootstrap.py` installs
those that it lacks. Files that exist are kept; delete one to make it again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bootstrap import normalize, parse_wheel_name
from packed_images import pack

from nas.errors import NasError
from nas.files import write_atomically

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# What the dependencies of pyproject.toml import, without torch, numpy and pandas, and without packages for reports,
# graphs and tables of images. A test compares this list with the metadata of the packages.
PACKAGES = (
    "alembic",
    "attrs",
    "click",
    "colorlog",
    "filelock",
    "mako",
    "markdown-it-py",
    "markupsafe",
    "mdurl",
    "optuna",
    "packaging",
    "pillow",
    "psutil",
    "pygments",
    "pyyaml",
    "rich",
    "sqlalchemy",
    "threadpoolctl",
    "tqdm",
    "typing-extensions",
)
PLATFORMS = tuple(f"manylinux{version}_x86_64" for version in ("_2_28", "_2_27", "_2_17", "2014"))
MOST_BYTES = 60_000_000
SIDE = 160  # of the three photographs of `hand_digits` that have 3,024 pixels; the others have 100


def main() -> None:
    """Make what is missing in the folder, and print the total size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to fill")
    parser.add_argument(
        "--data",
        default=os.environ.get("NAS_TEST_DATA"),
        help="folder of cifar10, hand_digits and nasbench_macro.parquet; by default the one that NAS_TEST_DATA names",
    )
    options = parser.parse_args()
    if not options.data:
        parser.error("give --data FOLDER, or set NAS_TEST_DATA")
    try:
        files = make(options.folder, Path(options.data))
    except (NasError, OSError) as error:
        raise SystemExit(f"gpu-bundle: {error}") from None
    total = sum(path.stat().st_size for path in files)
    print(f"{options.folder}: {len(files)} files, {total / 1e6:.1f} MB")
    if total > MOST_BYTES:
        raise SystemExit(f"gpu-bundle: the files must take at most {MOST_BYTES / 1e6:.0f} MB")


def make(folder: Path, data: Path) -> list[Path]:
    """Make what is missing in a folder, and return the paths of all files of the bundle."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    found = make_wheels(wheels, pinned_versions())
    for name, write in _DATA.items():
        if not (folder / name).exists():
            print(f"making {folder / name}", flush=True)
            write(data, folder / name)
    return [*found, *(folder / name for name in _DATA)]


def pinned_versions() -> dict[str, str]:
    """Return the version of each of `PACKAGES` in constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").split()
    pinned = {normalize(name): version for name, version in (line.split("==") for line in lines)}
    return {name: pinned[name] for name in PACKAGES}


def make_wheels(wheels: Path, versions: Mapping[str, str]) -> list[Path]:
    """Download the wheels that a folder lacks, remove other versions of the same packages, and return all paths."""
    missing = versions.items() - _by_package(wheels).keys()
    if missing:
        print(f"downloading {len(missing)} wheels", flush=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=wheels) as new:
            _download([f"{name}=={version}" for name, version in sorted(missing)], Path(new))
            for path in Path(new).glob("*.whl"):
                path.replace(wheels / path.name)
    found = _by_package(wheels)
    for (name, version), path in found.items():
        if name in versions and version != versions[name]:
            path.unlink()
    return [found[each] for each in sorted(versions.items())]


def _by_package(wheels: Path) -> dict[tuple[str, str], Path]:
    return {parse_wheel_name(path): path for path in wheels.glob("*.whl")}


def _download(requirements: Sequence[str], folder: Path) -> None:
    options = ["-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", *options, *platforms, "-d", str(folder), *requirements]
    # The command is this interpreter's pip with the names and versions of constraints.txt.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise NasError(
            f"pip cannot download the wheels:\n{done.stderr.strip()}", "check the network and constraints.txt"
        )


def _write_table(data: Path, path: Path) -> None:
    import pandas as pd

    write_atomically(path, pd.read_parquet(data / "nasbench_macro.parquet").to_csv(index=False).encode())


_DATA: Mapping[str, Callable[[Path, Path], None]] = MappingProxyType(
    {
        "cifar10.npz": lambda data, path: pack(str(data / "cifar10"), path, name="cifar10"),
        "hand_digits.npz": lambda data, path: pack(str(data / "hand_digits"), path, side=SIDE, name="hand_digits"),
        "nasbench_macro.csv": _write_table,
    }
)


if __name__ == "__main__":
    main()
