"""Programs in an interpreter of their own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fresh(program: str, folder: Path = ROOT) -> str:
    """What a program prints; it must end well and print nothing on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:nas", "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()
