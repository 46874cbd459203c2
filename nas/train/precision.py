"""The arithmetic precision of training runs, by name and by device."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from attrs import frozen

from nas.errors import NasError

AUTO = "auto"


@frozen
class Precision:
    """Describe the number formats of a training run; weights are stored as fp32 in each of them.

    Attributes:
        autocast: Type in which most layers compute, or None if all layers compute in fp32.
        scaled: Whether the loss is scaled up, so that small gradients do not underflow to 0.
        tf32: Whether convolutions of cuDNN may round fp32 inputs to TF32, which has 10 bits of mantissa.
    """

    autocast: torch.dtype | None = None
    scaled: bool = False
    tf32: bool = False


# Only fp16 needs scaled losses: bf16 has the exponent range of fp32, so its gradients do not underflow.
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(),
        "tf32": Precision(tf32=True),
        "bf16": Precision(torch.bfloat16, tf32=True),
        "fp16": Precision(torch.float16, scaled=True, tf32=True),
    }
)
# For each kind of device the precisions that it supports; "auto" takes the first. On a CPU bf16 takes about twice the
# time of fp32 and fp16 eight times (docs/short_training.md), so fp32 comes first there.
_SUPPORTED: Mapping[str, Mapping[str, Callable[[], bool]]] = MappingProxyType(
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


def resolve_precision(device: str, name: str = AUTO) -> str:
    """Return the name of the precision to train in; "auto" becomes the usual precision of the device.

    Args:
        device: Device name as `find_device` returns it.
        name: Name in `PRECISIONS`, or "auto".

    Raises:
        NasError: The device does not support the precision.

    Example:
        >>> resolve_precision("cpu")
        'fp32'
    """
    supported = [each for each, is_supported in _SUPPORTED[torch.device(device).type].items() if is_supported()]
    if name == AUTO:
        return supported[0]
    if name not in supported:
        raise NasError(f"device {device} does not support precision {name}", f"use {', '.join(supported)} or {AUTO}")
    return name
