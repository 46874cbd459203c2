"""Measure how long it takes to compute the cost of an architecture.

    python benchmarks/cost.py

Three methods are timed in one run on one core: the analytic cost of single random architectures, the analytic cost of
50,000 architectures at once, and `torch.utils.flop_counter` on the torch module (on torch's meta device, which computes
only shapes). The single costs start with empty caches, as in a new process, so the first ones take longer.
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
    """Return the wall time of one call, in seconds."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def torch_macs(arch: Architecture) -> int:
    """Return the multiply-adds that torch counts on the torch module; torch counts each of them as two."""
    with torch.device("meta"):
        model = build_model(arch).eval()
        image = torch.empty(1, arch.in_channels, arch.resolution, arch.resolution)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops()) // 2


def spread(times: list[float]) -> str:
    """Return the median and the quartiles of times in seconds, as a text in microseconds."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"median {middle * 1e6:,.1f} us (middle half {low * 1e6:,.1f} to {high * 1e6:,.1f})"


def time_many(space: SearchSpace) -> tuple[float, float]:
    """Return the seconds for `MANY` architectures at once, first with empty caches and then with filled ones."""
    part_cost.cache_clear()
    layer_cost.cache_clear()
    indices = space.sample(np.random.default_rng(1), MANY)
    first = seconds(lambda: chain_costs(space_chain(space), space.forms(indices)))
    return first, seconds(lambda: chain_costs(space_chain(space), space.forms(indices)))


def main() -> None:
    """Print the results."""
    torch.set_num_threads(1)
    space = find_space("mnasnet")
    archs = [space.from_indices(indices) for indices in space.sample(np.random.default_rng(0), SINGLES).tolist()]
    single = [seconds(lambda arch=arch: cost(arch)) for arch in archs]  # type: ignore[misc]
    print(f"one of {SINGLES:,} architectures: {spread(single)}; the first one {single[0] * 1e6:,.0f} us")
    first, again = time_many(find_space("mnasnet"))
    print(f"{MANY:,} at once: {first:.3f} s with empty caches, {again:.3f} s with filled caches")
    ratios, equal = [], 0
    for arch in archs[:COUNTED_BY_TORCH]:
        torch_s = seconds(lambda arch=arch: torch_macs(arch))  # type: ignore[misc]
        cost(arch)
        ratios.append(torch_s / seconds(lambda arch=arch: cost(arch)))  # type: ignore[misc]
        equal += torch_macs(arch) == cost(arch).macs
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"torch.utils.flop_counter takes {middle:,.0f} times as long (middle half {low:,.0f} to {high:,.0f})")
    print(f"and counts the same MACs for {equal} of {COUNTED_BY_TORCH} architectures")


if __name__ == "__main__":
    main()
