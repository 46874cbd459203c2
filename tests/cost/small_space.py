"""A small space with every kind of layer, for enumeration and for simulated and real measurements."""

from typing import Any

import numpy as np

from nas.arch.spec import Architecture
from nas.cost.base import Chain
from nas.samplers.cost_range import space_chain
from nas.space.decode import SearchSpace
from nas.space.schema import read_space

SMALL: dict[str, Any] = {
    "net": "resolution=32 classes=10",
    "stem": {"channels": [8, 16], "kernel": 3},
    "head": "conv c32",
    "stages": [
        {"operator": ["conv", "mbconv e3"], "se": [0, 0.25], "channels": [8, 16], "stride": 2, "layers": [1, 2]},
        {"operator": ["absent", "dsconv", "fused e3"], "channels": 16, "skip": ["pool", "identity"], "layers": [1, 3]},
    ],
}


def small_space() -> SearchSpace:
    """Return a space of two stages at 32 pixels."""
    return read_space(SMALL, "small.yaml", "small")


def two_stages() -> SearchSpace:
    """Return the space with so few choices that its measurement takes seconds."""
    few = [SMALL["stages"][0] | {"layers": 1, "channels": 8}, SMALL["stages"][1] | {"skip": "pool", "layers": 1}]
    return read_space(SMALL | {"stages": few}, "two.yaml", "two")


def listed(space: SearchSpace) -> list[Architecture]:
    """Return an architecture for each combination of options."""
    return [space.from_indices(indices) for indices in space.enumerate()]


def drawn(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Return random architectures of a space."""
    return [space.from_indices(indices) for indices in space.sample(np.random.default_rng(seed), count)]


def chain_of(space: SearchSpace) -> Chain:
    """Return the chain of a space for cost models."""
    return space_chain(space)
