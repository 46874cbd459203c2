"""How long it takes to know what an architecture costs.

    python benchmarks/cost.py

Times, side by side in one run on one core: the analytic cost of single random architectures, of 50,000 at once, and
`torch.utils.flop_counter` on the built model (on torch's meta device, which computes shapes alone). The single costs
start with empty caches, as a new process does, so the first ones pay for parts that later ones share.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.spec import Architecture
from nas.cost.analytic import chain_costs, cost, layer_cost, part_cost
from nas.models.build import build_model
from nas.samplers.cost_range import space_chain
from nas.space.decode import SearchSpace
from nas.space.files import find_space

SINGLES = 2_000
MANY = 50_000
COUNTED_BY_TORCH = 15


def seconds(step: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def torch_macs(arch: Architecture) -> int:
    """Multiply-adds that torch counts on the built model; it counts each as two."""
    with torch.device("meta"):
        model = build_model(arch).eval()
        image = torch.empty(1, arch.in_channels, arch.resolution, arch.resolution)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops()) // 2


def spread(times: list[float]) -> str:
    """Median and the middle half, in microseconds."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"median {middle * 1e6:,.1f} us (middle half {low * 1e6:,.1f} to {high * 1e6:,.1f})"


def time_many(space: SearchSpace) -> tuple[float, float]:
    """Seconds for all of `MANY` at once, first from empty caches and then again."""
    part_cost.cache_clear()
    layer_cost.cache_clear()
    picks = space.sample(np.random.default_rng(1), MANY)
    first = seconds(lambda: chain_costs(space_chain(space), space.forms(picks)))
    return first, seconds(lambda: chain_costs(space_chain(space), space.forms(picks)))


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    space = find_space("mnasnet")
    archs = [space.from_picks(picks) for picks in space.sample(np.random.default_rng(0), SINGLES).tolist()]
    single = [seconds(lambda arch=arch: cost(arch)) for arch in archs]  # type: ignore[misc]
    print(f"one architecture, {SINGLES:,} of them:  {spread(single)}, the first {single[0] * 1e6:,.0f} us")
    first, again = time_many(find_space("mnasnet"))
    print(f"{MANY:,} at once: {first:.3f} s from empty caches, {again:.3f} s again")
    ratios, equal = [], 0
    for arch in archs[:COUNTED_BY_TORCH]:
        theirs = seconds(lambda arch=arch: torch_macs(arch))  # type: ignore[misc]
        cost(arch)
        ratios.append(theirs / seconds(lambda arch=arch: cost(arch)))  # type: ignore[misc]
        equal += torch_macs(arch) == cost(arch).macs
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"torch.utils.flop_counter takes {middle:,.0f} times as long (middle half {low:,.0f} to {high:,.0f})")
    print(f"and counts the same MACs for {equal} of {COUNTED_BY_TORCH}")


if __name__ == "__main__":
    main()
