"""Programs in an interpreter of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bare_environment() -> dict[str, str]:
    """Return the environment of a program: next to nothing, but the folder for locks of the tests."""
    kept = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    return kept | {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}


def fresh(program: str, folder: Path = ROOT) -> str:
    """What a program prints; it must end well and print nothing on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:nas", "-c", program],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()
