"""The precision of a training's arithmetic, by name and by device."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from attrs import frozen

from nas.errors import NasError

AUTO = "auto"


@frozen
class Precision:
    """How a training computes; weights are kept as fp32 in each case.

    Attributes:
        autocast: what most layers compute in; None leaves all of them to fp32.
        scaled: whether losses are scaled up, so that small gradients are not lost.
        tf32: whether cuDNN's convolutions may round fp32 inputs to 10 bits.
    """

    autocast: torch.dtype | None = None
    scaled: bool = False
    tf32: bool = False


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(),
        "tf32": Precision(tf32=True),
        "bf16": Precision(torch.bfloat16, tf32=True),
        "fp16": Precision(torch.float16, scaled=True, tf32=True),
    }
)
# By kind of device what it computes in, the fastest of those that train well first; bf16 is not fast on a CPU.
_OFFERED: Mapping[str, Mapping[str, Callable[[], bool]]] = MappingProxyType(
    {
        "cpu": {"fp32": lambda: True, "bf16": lambda: True, "fp16": lambda: True},
        "cuda": {
            "bf16": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "tf32": lambda: True,
            "fp32": lambda: True,
            "fp16": lambda: True,
        },
        "mps": {"fp32": lambda: True},
    }
)


def precision_on(device: str, name: str = AUTO) -> str:
    """The precision of that name on a device; for "auto" the first that the device offers.

    Raises:
        NasError: the device does not compute in it.
    """
    offered = [each for each, is_there in _OFFERED[torch.device(device).type].items() if is_there()]
    if name == AUTO:
        return offered[0]
    if name not in offered:
        raise NasError(f"{device} does not train in {name}", f"use {', '.join(offered)} or {AUTO}")
    return name
