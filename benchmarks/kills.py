"""Kill a training run at random moments, and compare its weights with those of an unbroken run.

    python benchmarks/kills.py --kills 10 --folder kills

Each kill is a SIGKILL 3 to 8 s after the start of the process. The status is 1 if a tensor differs, or if the run ended
before it was killed as often as asked.
"""

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

FILES = ("weights.safetensors", "last.safetensors")
EARLIEST_S, LATEST_S = 3.0, 8.0  # of a kill after the start of a process
TRAINING = ("mnasnet-small", "--data", "digits", "--resolution", "32", "--images", "500", "--epochs", "40")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start or continue a training run with one thread."""
    command = (sys.executable, "-m", "nas", "train", *TRAINING, "--train-on", "cpu", "--quiet", "--out", str(folder))
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})  # noqa: S603 -- our own command


def kill_at_random(folder: Path, kills: int, seed: int) -> int:
    """Kill a training run again and again, let it end, and return the number of kills."""
    generator = random.Random(seed)  # noqa: S311 -- no secret depends on it
    for done in range(kills):
        process = start(folder)
        try:
            process.wait(generator.uniform(EARLIEST_S, LATEST_S))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            return done
    start(folder).wait()
    return kills


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, required=True, help="folder that does not exist yet")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir()
    whole, killed = options.folder / "whole", options.folder / "killed"
    start(whole).wait()
    kills, same = kill_at_random(killed, options.kills, options.seed), True
    for name in FILES:
        expected, found = load_file(whole / name), load_file(killed / name)
        equal = expected.keys() == found.keys() and all(torch.equal(found[key], expected[key]) for key in expected)
        same = same and equal
        print(f"{name}: {len(expected)} tensors are {'identical' if equal else 'different'} after {kills} kills")
    raise SystemExit(0 if same and kills == options.kills else 1)


if __name__ == "__main__":
    main()
