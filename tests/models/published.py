"""Published networks written independently in plain torch, from the papers' tables."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

Block = Callable[[int, int, int], nn.Module]
Row = tuple[int, int, int, int, int, type[nn.Module]]


def conv_norm(
    ins: int, outs: int, kernel: int = 1, stride: int = 1, groups: int = 1, eps: float = 1e-5
) -> list[nn.Module]:
    conv = nn.Conv2d(ins, outs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outs, eps=eps)]


class Residual(nn.Module):
    """Add a branch to its skip and apply `after` to the sum."""

    def __init__(self, branch: nn.Module, skip: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.branch, self.skip, self.after = branch, skip, after

    def forward(self, values: Tensor) -> Tensor:
        summed: Tensor = self.after(self.branch(values) + self.skip(values))
        return summed


def _shortcut(ins: int, outs: int, stride: int) -> nn.Module:
    return nn.Identity() if (ins, stride) == (outs, 1) else nn.Sequential(*conv_norm(ins, outs, 1, stride))


def basic(ins: int, width: int, stride: int) -> nn.Module:
    """Return the block of ResNet-18 (arXiv 1512.03385, figure 5, left)."""
    branch = nn.Sequential(*conv_norm(ins, width, 3, stride), nn.ReLU(), *conv_norm(width, width, 3))
    return Residual(branch, _shortcut(ins, width, stride), nn.ReLU())


def bottleneck(ins: int, width: int, stride: int) -> nn.Module:
    """Return the block of ResNet-50 (figure 5, right), with its stride in the 3x3 convolution."""
    inner = [*conv_norm(ins, width), nn.ReLU(), *conv_norm(width, width, 3, stride), nn.ReLU()]
    branch = nn.Sequential(*inner, *conv_norm(width, 4 * width))
    return Residual(branch, _shortcut(ins, 4 * width, stride), nn.ReLU())


def resnet(block: Block, layers: Sequence[int], expansion: int) -> nn.Module:
    """Return a ResNet of table 1, whose blocks have an output of `expansion` times their width."""
    parts: list[nn.Module] = [*conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, count in enumerate(layers):
        for layer in range(count):
            parts.append(block(channels, 64 << stage, 2 if stage and not layer else 1))
            channels = expansion * 64 << stage
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class Squeeze(nn.Module):
    """Apply squeeze-and-excitation with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        squeezed = torch.relu(self.reduce(values.mean((2, 3), keepdim=True)))
        factors: Tensor = (self.expand(squeezed) + 3).clamp(0, 6) / 6
        return values * factors


class Zero(nn.Module):
    """Return 0, for blocks without a skip."""

    def forward(self, _values: Tensor) -> float:
        return 0.0


def _inverted(ins: int, row: Row, *, eps: float = 1e-3, always_expands: bool = False) -> nn.Module:
    kernel, inside, outs, squeezed, stride, act = row
    expand = [*conv_norm(ins, inside, eps=eps), act()] if always_expands or inside != ins else []
    depthwise = [*conv_norm(inside, inside, kernel, stride, inside, eps=eps), act()]
    gate = [Squeeze(inside, squeezed)] if squeezed else []
    branch = nn.Sequential(*expand, *depthwise, *gate, *conv_norm(inside, outs, eps=eps))
    return Residual(branch, nn.Identity() if (ins, stride) == (outs, 1) else Zero(), nn.Identity())


def _blocks(rows: Sequence[Row]) -> Iterator[nn.Module]:
    channels = 16
    for row in rows:
        yield _inverted(channels, row)
        channels = row[2]


def mobilenetv3(rows: Sequence[Row], width: int, features: int) -> nn.Module:
    """Return a MobileNetV3 (arXiv 1905.02244) with the rows of its table 1 or 2."""
    stem = [*conv_norm(3, 16, 3, 2, eps=1e-3), nn.Hardswish()]
    last = [*conv_norm(rows[-1][2], width, eps=1e-3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(
        *stem, *_blocks(rows), *last, nn.Linear(width, features), nn.Hardswish(), nn.Linear(features, 1000)
    )


# Kernel, inner channels, output channels, squeezed channels (a quarter of the inner ones, rounded to 8), stride.
LARGE: tuple[Row, ...] = (
    (3, 16, 16, 0, 1, nn.ReLU),
    (3, 64, 24, 0, 2, nn.ReLU),
    (3, 72, 24, 0, 1, nn.ReLU),
    (5, 72, 40, 24, 2, nn.ReLU),
    (5, 120, 40, 32, 1, nn.ReLU),
    (5, 120, 40, 32, 1, nn.ReLU),
    (3, 240, 80, 0, 2, nn.Hardswish),
    (3, 200, 80, 0, 1, nn.Hardswish),
    (3, 184, 80, 0, 1, nn.Hardswish),
    (3, 184, 80, 0, 1, nn.Hardswish),
    (3, 480, 112, 120, 1, nn.Hardswish),
    (3, 672, 112, 168, 1, nn.Hardswish),
    (5, 672, 160, 168, 2, nn.Hardswish),
    (5, 960, 160, 240, 1, nn.Hardswish),
    (5, 960, 160, 240, 1, nn.Hardswish),
)
SMALL: tuple[Row, ...] = (
    (3, 16, 16, 8, 2, nn.ReLU),
    (3, 72, 24, 0, 2, nn.ReLU),
    (3, 88, 24, 0, 1, nn.ReLU),
    (5, 96, 40, 24, 2, nn.Hardswish),
    (5, 240, 40, 64, 1, nn.Hardswish),
    (5, 240, 40, 64, 1, nn.Hardswish),
    (5, 120, 48, 32, 1, nn.Hardswish),
    (5, 144, 48, 40, 1, nn.Hardswish),
    (5, 288, 96, 72, 2, nn.Hardswish),
    (5, 576, 96, 144, 1, nn.Hardswish),
    (5, 576, 96, 144, 1, nn.Hardswish),
)
# MobileNetV3-Large with width 0.75; all channels are rounded to multiples of 8 and to at least 90%.
LARGE_075: tuple[Row, ...] = (
    (3, 16, 16, 0, 1, nn.ReLU),
    (3, 64, 24, 0, 2, nn.ReLU),
    (3, 72, 24, 0, 1, nn.ReLU),
    (5, 72, 32, 24, 2, nn.ReLU),
    (5, 96, 32, 24, 1, nn.ReLU),
    (5, 96, 32, 24, 1, nn.ReLU),
    (3, 192, 64, 0, 2, nn.Hardswish),
    (3, 160, 64, 0, 1, nn.Hardswish),
    (3, 144, 64, 0, 1, nn.Hardswish),
    (3, 144, 64, 0, 1, nn.Hardswish),
    (3, 384, 88, 96, 1, nn.Hardswish),
    (3, 528, 88, 136, 1, nn.Hardswish),
    (5, 528, 120, 136, 2, nn.Hardswish),
    (5, 720, 120, 184, 1, nn.Hardswish),
    (5, 720, 120, 184, 1, nn.Hardswish),
)
# Expansion, kernel, output channels and stride of the layers of FBNet-C (arXiv 1812.03443, figure 4).
FBNET_C = (
    *[(1, 3, 16, 1), (6, 3, 24, 2), (1, 3, 24, 1), (1, 3, 24, 1), (6, 5, 32, 2), (3, 5, 32, 1), (6, 5, 32, 1)],
    *[(6, 3, 32, 1), (6, 5, 64, 2), (3, 5, 64, 1), (6, 5, 64, 1), (6, 5, 64, 1), (6, 5, 112, 1), (6, 5, 112, 1)],
    *[(6, 5, 112, 1), (3, 5, 112, 1), (6, 5, 184, 2), (6, 5, 184, 1), (6, 5, 184, 1), (6, 5, 184, 1), (6, 3, 352, 1)],
)


def fbnet_c() -> nn.Module:
    """Return FBNet-C, whose blocks all begin with a pointwise convolution, those with expansion 1 included."""
    layers, channels = [*conv_norm(3, 16, 3, 2), nn.ReLU()], 16
    for expansion, kernel, outs, stride in FBNET_C:
        row = (kernel, expansion * channels, outs, 0, stride, nn.ReLU)
        layers.append(_inverted(channels, row, eps=1e-5, always_expands=True))
        channels = outs
    last = [*conv_norm(channels, 1984), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1984, 1000)]
    return nn.Sequential(*layers, *last)


PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "resnet-18": lambda: resnet(basic, (2, 2, 2, 2), 1),
    "resnet-50": lambda: resnet(bottleneck, (3, 4, 6, 3), 4),
    "mobilenetv3-large": lambda: mobilenetv3(LARGE, 960, 1280),
    "mobilenetv3-large-0.75": lambda: mobilenetv3(LARGE_075, 720, 1280),
    "mobilenetv3-small": lambda: mobilenetv3(SMALL, 576, 1024),
    "fbnet-c": fbnet_c,
}
