"""Which network has the highest soft score of all networks up to a target, and which one inside the cost range.

    python benchmarks/cost_range.py --table "$NAS_TEST_DATA/nasbench_macro.parquet"

NAS-Bench-Macro has the accuracies of all its networks (means of three seeds here), so that nothing is searched or
trained: every network is scored, and the best one of each kind is printed as a row of a table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nas.objective import make_reward
from nas.search.defaults import BAND

TARGETS = (40e6, 50e6, 60e6, 90e6)
HEADER = ("target", "chosen among", "FLOPs", "share of the target", "accuracy", "soft score")


def row(name: str, target: float, costs: NDArray[np.float64], accuracies: NDArray[np.float64], low: float) -> list[str]:
    """Return the network with the highest soft score whose cost is from `low` to the target."""
    scores = accuracies * make_reward("soft").terms((costs / target)[:, None])[:, 0]
    best = int(np.where((costs >= low) & (costs <= target), scores, -np.inf).argmax())
    cost, accuracy = costs[best], accuracies[best]
    amounts = (f"{target / 1e6:.0f}M", name, f"{cost / 1e6:.1f}M", f"{cost / target:.0%}", f"{accuracy:.2%}")
    return [*amounts, f"{scores[best]:.4f}"]


def rows(costs: NDArray[np.float64], accuracies: NDArray[np.float64]) -> list[list[str]]:
    """Return two rows for each target: the best of all networks up to it, and the best of the cost range."""
    kinds = (("all up to it", 0.0), (f"{BAND:.0%} to 100% of it", BAND))
    return [row(name, target, costs, accuracies, low * target) for target in TARGETS for name, low in kinds]


def as_table(found: Sequence[Sequence[str]]) -> str:
    """Return rows as a table of Markdown."""
    return "\n".join(f"| {' | '.join(each)} |" for each in (HEADER, ["---"] * len(HEADER), *found))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="nasbench_macro.parquet")
    table = pq.read_table(parser.parse_args().table, columns=["flops", "acc_mean"])
    costs, accuracies = (table[name].to_numpy().astype(np.float64) for name in ("flops", "acc_mean"))
    print(as_table(rows(costs, accuracies / 100)))


if __name__ == "__main__":
    main()
