"""How near below a budget a scaled network comes, and how long it takes to find.

    python benchmarks/budget.py [--base efficientnet-b0] [--budgets 100]

Budgets from 0.2 to 40 GMACs, evenly spaced on a logarithmic scale, for each rule; gaps as shares of the budget.
"""

import argparse
import statistics
import time

import numpy as np

from nas.arch.presets import preset
from nas.cost.analytic import MACS
from nas.scaling.budget import Budget, Growth, largest, nearest_below
from nas.scaling.rules import parse_rule

RULES = ("compound", "fast", "depth", "width", "resolution")


def main() -> None:
    """Print a line for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="efficientnet-b0")
    parser.add_argument("--budgets", type=int, default=100)
    options = parser.parse_args()
    limits = np.geomspace(0.2e9, 40e9, options.budgets)
    print("rule        gap on the rule: median, worst   gap beside it: median, worst   seconds: median, worst")
    for name in RULES:
        growth, rows = Growth(preset(options.base), parse_rule(name)), []
        for limit in map(float, limits):
            budget = Budget(f"flops={limit:.4g}", limit, "MACs", MACS)
            begun = time.perf_counter()
            beside = nearest_below(growth, budget)
            seconds = time.perf_counter() - begun
            gaps = (1 - budget.of(found.arch) / limit for found in (largest(growth, budget), beside))
            rows.append((*gaps, seconds))
        on, off, seconds_each = zip(*rows, strict=True)
        print(
            f"{name:12}{statistics.median(on):18.1%}, {max(on):6.1%}{statistics.median(off):22.2%}, {max(off):6.2%}"
            f"{statistics.median(seconds_each):18.2f}, {max(seconds_each):5.2f}"
        )


if __name__ == "__main__":
    main()
