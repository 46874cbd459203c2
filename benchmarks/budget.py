"""Measure how close a scaled network comes to a budget, and how long it takes to find the network.

    python benchmarks/budget.py [--base efficientnet-b0] [--budgets 100]

For each rule, there are budgets from 0.2 to 40 GMACs, evenly spaced on a logarithmic scale. A gap is the unused share
of the budget.
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
    """Print one line for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="efficientnet-b0")
    parser.add_argument("--budgets", type=int, default=100)
    options = parser.parse_args()
    limits = np.geomspace(0.2e9, 40e9, options.budgets)
    print("rule        gap on the rule: median, worst   gap near the rule: median, worst   seconds: median, worst")
    for name in RULES:
        growth, rows = Growth(preset(options.base), parse_rule(name)), []
        for limit in map(float, limits):
            budget = Budget(f"flops={limit:.4g}", limit, "MACs", MACS)
            start = time.perf_counter()
            near = nearest_below(growth, budget)
            seconds = time.perf_counter() - start
            gaps = (1 - budget.of(found.arch) / limit for found in (largest(growth, budget), near))
            rows.append((*gaps, seconds))
        on_rule, near_rule, seconds_each = zip(*rows, strict=True)
        print(
            f"{name:12}{statistics.median(on_rule):18.1%}, {max(on_rule):6.1%}{statistics.median(near_rule):26.2%}, "
            f"{max(near_rule):6.2%}{statistics.median(seconds_each):18.2f}, {max(seconds_each):5.2f}"
        )


if __name__ == "__main__":
    main()
