"""The sizes of the batches that networks receive."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


def largest_batch(function: Callable[[], object]) -> int:
    """Return the largest number of images that any convolution received while a function ran."""
    sizes: list[int] = []

    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d):
            sizes.append(len(inputs[0]))

    hook = register_module_forward_pre_hook(add)
    try:
        function()
    finally:
        hook.remove()
    return max(sizes)
