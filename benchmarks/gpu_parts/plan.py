"""The parts of the GPU benchmark in order of value, with their items and estimated times.

This module and `results` need nothing but the standard library, so that `gpu.py --list` works on every machine.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

# Networks of NAS-Bench-Macro that the trained proxy and the supernet rank, in full and in a smoke run.
NETWORKS, SMOKE_NETWORKS = 100, 5
SPEED_NETWORKS = ("mobilenetv2", "mnasnet-a1", "efficientnet-b0")
BATCHES = (32, 256)  # batch sizes of the speed measurements; the first one is the trained proxy's usual one
SMOKE_ITEM_S = 1.0  # a smoke run begins every item while there is time, however slow its machine is


@dataclass(frozen=True)
class Part:
    """Describe a part.

    Attributes:
        name: Name of the part; its module is `gpu_parts.NAME` with underscores.
        title: What it measures, in words.
        items: Estimated seconds of each item on a GPU, by name, in their order. An item is the smallest piece that has
            a result of its own.
        box_s: Longest time in seconds that the part takes before the parts behind it have had their turn. Parts of a
            smoke run have no such limit, because nothing is gained if one of them is stopped and begun again.
        continues: Whether an item that is stopped continues where it was, so that it may be begun at any time.
    """

    name: str
    title: str
    items: Mapping[str, float]
    box_s: float
    continues: bool = False

    @property
    def module(self) -> str:
        """Return the name of the module with the functions of the items."""
        return f"gpu_parts.{self.name.replace('-', '_')}"


def _speeds(networks: Sequence[str], batches: Sequence[int]) -> dict[str, float]:
    names = [f"{network}-{side}px-batch{batch}" for batch in batches for side in (32, 128) for network in networks]
    return dict.fromkeys(names, 35.0)


def _parts(networks: int, speed_networks: Sequence[str], batches: Sequence[int]) -> tuple[Part, ...]:
    return (
        Part(
            "self-check",
            "Every CUDA path beside its result on the CPU",
            {
                "fp32": 8.0,
                "tf32": 6.0,
                "bf16": 6.0,
                "fp16": 6.0,
                "channels-last": 6.0,
                "out-of-memory": 10.0,
                "cuda-graphs": 15.0,
                "checkpoint": 8.0,
                "two-workers": 30.0,
                "supernet": 12.0,
                "zero-cost": 6.0,
                "compiled": 300.0,
            },
            240.0,
        ),
        Part("speed", "Training speed beside a plain PyTorch loop", _speeds(speed_networks, batches), 180.0),
        Part(
            "proxy",
            f"The trained proxy on {networks} networks of NAS-Bench-Macro",
            {f"network-{i:03}": 3.0 for i in range(networks)},
            300.0,
        ),
        Part("supernet", "A supernet on NAS-Bench-Macro", {"training": 400.0, "ranking": 60.0}, 300.0, continues=True),
        Part("search", "A search by the trained proxy in NAS-Bench-Macro", {"trials": 150.0}, 200.0, continues=True),
        Part(
            "latency",
            "Latency in ONNX Runtime with the CUDA provider",
            {"networks": 60.0, "table": 240.0, "check": 120.0},
            300.0,
            continues=True,
        ),
    )


PARTS = _parts(NETWORKS, SPEED_NETWORKS, BATCHES)
SMOKE_PARTS = tuple(
    replace(part, items=dict.fromkeys(part.items, SMOKE_ITEM_S), box_s=math.inf)
    for part in _parts(SMOKE_NETWORKS, SPEED_NETWORKS[:1], BATCHES[:1])
)


def find_parts(names: Iterable[str], *, smoke: bool = False) -> tuple[Part, ...]:
    """Return the named parts in order of value, or all parts if no name is given."""
    wanted = set(names)
    return tuple(part for part in (SMOKE_PARTS if smoke else PARTS) if not wanted or part.name in wanted)
