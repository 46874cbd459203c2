"""A space with every kind of layer that is small enough to be listed, timed on a made-up device, and really timed."""

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
    """Two stages at 32 pixels."""
    return read_space(SMALL, "small.yaml", "small")


def two_stages() -> SearchSpace:
    """The same with so few choices that timing it takes seconds."""
    few = [SMALL["stages"][0] | {"layers": 1, "channels": 8}, SMALL["stages"][1] | {"skip": "pool", "layers": 1}]
    return read_space(SMALL | {"stages": few}, "two.yaml", "two")


def listed(space: SearchSpace) -> list[Architecture]:
    """Every architecture, one for each combination of options."""
    return [space.from_picks(picks) for picks in space.enumerate()]


def drawn(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Some architectures of a space."""
    return [space.from_picks(picks) for picks in space.sample(np.random.default_rng(seed), count)]


def chain_of(space: SearchSpace) -> Chain:
    """The space as cost models see it."""
    return space_chain(space)
