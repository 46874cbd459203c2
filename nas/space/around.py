"""Search spaces around a given network: fewer layers, smaller kernels, narrower layers and smaller images.

The space is written as the text of a search-space file and read back, so that a saved file is exactly the space that
is searched. The network itself is in the space.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from nas.arch.code import format_stage, format_text
from nas.arch.rounding import round_channels
from nas.arch.spec import EXPANDING_OPERATORS, Architecture, Stage
from nas.space.decode import SearchSpace
from nas.space.schema import parse_space

LAYERS = (-2, -1, 0, 1)
WIDTHS = (0.75, 1.0)
GROWN_WIDTHS = (*WIDTHS, 1.25)
EXPANSIONS = (3, 4, 6)
KERNELS = (3, 5, 7)
SMALLEST_RESOLUTION, RESOLUTION_STEP = 128, 32
# Activations that ONNX Runtime computes faster on a CPU than the one in front. In turn, by `nas latency measure` of two
# files that differ in "act=", on one thread of an AMD EPYC, EfficientNet-B0 took 1.15 times as long with SiLU as with
# ReLU, and EfficientNet-Lite0 1.09 times as long with ReLU6.
FASTER: Mapping[str, str] = {"silu": "relu", "hard_swish": "relu", "relu6": "relu"}
# In a bottleneck a smaller expansion makes more channels inside the block, so that it is no reduction there.
REDUCIBLE = tuple(operator for operator in EXPANDING_OPERATORS if operator != "bottleneck")


def around(
    arch: Architecture,
    *,
    name: str = "network",
    grow: bool = False,
    faster_activation: str | None = None,
    baselines: Iterable[str] = (),
) -> SearchSpace:
    """Return the search space around a network, which contains the network itself.

    Each stage has 2 layers less to 1 layer more, an expansion of 3, 4 or 6 and a kernel of 3, 5 or 7 up to its own, all
    or three quarters of its channels, and its squeeze-and-excitation or none. It has its own activation or one that is
    faster on a CPU. The resolution is the network's own or a smaller multiple of 32 from 128. Everything else is as in
    the network.

    Args:
        arch: The network.
        name: Name of the network; the space is called "around-" and this name.
        grow: Whether stages may also have a quarter more channels than the network.
        faster_activation: Activation that each stage may have instead of its own. None takes `FASTER`; the network's
            own adds no choice.
        baselines: Names of presets that the winner is compared with.

    Raises:
        SpaceError: A space cannot have so many stages, or an option is invalid.

    >>> from nas.arch.presets import preset
    >>> space = around(preset("efficientnet-lite0"), name="efficientnet-lite0")
    >>> space.name, space.resolutions
    ('around-efficientnet-lite0', (128, 160, 192, 224))
    """
    text = around_text(arch, name=name, grow=grow, faster_activation=faster_activation, baselines=baselines)
    return parse_space(text, f"around:{name}", f"around-{name}")


def around_text(
    arch: Architecture,
    *,
    name: str = "network",
    grow: bool = False,
    faster_activation: str | None = None,
    baselines: Iterable[str] = (),
) -> str:
    """Return the search-space file of the space around a network; see `around`."""
    net, stem, *_, head = format_text(arch).splitlines()
    known = {"baselines": list(baselines)} if baselines else {}
    space = {
        "name": f"around-{name}",
        "source": f"around {name}",
        **known,
        "net": re.sub(r" resolution=\d+", "", net.removeprefix("net ")),
        "resolution": _choice(_resolutions(arch.resolution)),
        "stem": stem.removeprefix("stem "),
        "head": head.removeprefix("head "),
    }
    widths = GROWN_WIDTHS if grow else WIDTHS
    stages = [_stage(stage, arch.stem.activation, widths, faster_activation) for stage in arch.stages]
    lines = [_flow({key: value})[1:-1] for key, value in space.items()]
    return "\n".join((*lines, "stages:", *(f"  - {_flow(stage)}" for stage in stages), ""))


def _flow(mapping: dict[str, Any]) -> str:
    """Return a mapping on one line, in braces."""
    return yaml.safe_dump(mapping, default_flow_style=True, sort_keys=False, width=sys.maxsize).strip()


def _resolutions(own: int) -> Iterator[int]:
    yield from range(SMALLEST_RESOLUTION, own, RESOLUTION_STEP)
    yield own


def _stage(stage: Stage, usual: str, widths: Iterable[float], faster: str | None) -> dict[str, Any]:
    """Return the entry of a stage in the file.

    Args:
        stage: The stage.
        usual: Activation that is left out.
        widths: Factors of the channels.
        faster: Activation that the stage may have instead of its own; None takes `FASTER`.
    """
    other = FASTER.get(stage.activation, stage.activation) if faster is None else faster
    keys = {
        "operator": stage.operator,
        "stride": stage.stride,
        # The own number of channels as it is: it may be no multiple of 8.
        "channels": _choice(stage.channels if by == 1 else round_channels(stage.channels, by) for by in widths),
        "layers": _choice(max(1, stage.layers + more) for more in LAYERS),
        "kernel": _choice([*(size for size in KERNELS if size < stage.kernel), stage.kernel]),
        "expansion": _expansions(stage),
        "divisor": stage.divisor if stage.divisor != 1 else None,
        "se": _choice([0, _gate(stage)]) if stage.gate is not None else None,
        "skip": stage.skip if stage.skip != "identity" else None,
        "activation": _activations(stage.activation, other, usual),
    }
    return {key: value for key, value in keys.items() if value is not None}


def _choice(options: Iterable[Any]) -> Any:
    """Return the distinct options as a list, or the only one."""
    distinct = list(dict.fromkeys(options))
    return distinct if len(distinct) > 1 else distinct[0]


def _expansions(stage: Stage) -> Any:
    if stage.operator not in EXPANDING_OPERATORS:
        return None
    own = int(stage.expansion) if stage.expansion.is_integer() else stage.expansion
    smaller = [each for each in EXPANSIONS if each < own] if stage.operator in REDUCIBLE else []
    return _choice([*smaller, own])


def _gate(stage: Stage) -> Any:
    """Return the squeeze-and-excitation of a stage as the value of the key `se`."""
    words = format_stage(stage, stage.activation).split()
    text = next(word.removeprefix("se") for word in words if re.match(r"se\d", word))
    return yaml.safe_load(text)


def _activations(own: str, other: str, usual: str) -> Any:
    if own == other:
        return None if own == usual else own
    return [own, other]
