"""Networks with sums or joins around their blocks: ResNeXt, DenseNet and BiT, and two that are stages of `nas.arch`."""

from nas.zoo.records import (
    LINEAR,
    Activation,
    BatchNorm,
    Block,
    Conv,
    Flatten,
    GlobalAverage,
    GroupNorm,
    Linear,
    Pad,
    Parallel,
    Pool,
    residual,
)

_STEM: Block = (Conv(64, 7, 2), Pool("max", 3, 2, 1))
_HEAD: Block = (GlobalAverage(), Flatten(), Linear(1000))

_RESNET_50_TEXT = """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu
stem maxpool k7 s2 c64
bottleneck r3 k3 s1 e4 c256 projskip
bottleneck r4 k3 s2 e4 c512 projskip
bottleneck r6 k3 s2 e4 c1024 projskip
bottleneck r3 k3 s2 e4 c2048 projskip
head pool dropout=0
"""
# arXiv 1605.07146, its network for ImageNet: the 3x3 convolutions of the bottlenecks have twice the channels.
WIDE_RESNET_50_2 = _RESNET_50_TEXT.replace(" e4 ", " e2 ")
# Table 1 of arXiv 1709.01507: a gate with 1/16 of the channels behind each bottleneck.
SE_RESNET_50 = _RESNET_50_TEXT.replace(" projskip", " se0.0625:expanded:relu:sigmoid projskip")


def _resnext_stage(inside: int, layers: int, stride: int) -> Block:
    def block(stride: int, shortcut: Block) -> Block:
        body = (Conv(inside), Conv(inside, 3, stride, groups=32), Conv(2 * inside, activation=LINEAR))
        return residual(body, shortcut, "relu")

    projection = Conv(2 * inside, 1, stride, activation=LINEAR)
    return (block(stride, projection), *(block(1, ()),) * (layers - 1))


# Table 1 of arXiv 1611.05431, column 32x4d.
RESNEXT_50: Block = (
    _STEM,
    _resnext_stage(128, 3, 1),
    _resnext_stage(256, 4, 2),
    _resnext_stage(512, 6, 2),
    _resnext_stage(1024, 3, 2),
    _HEAD,
)

_GROWTH = 32


def _dense_block(layers: int) -> Block:
    layer = (
        BatchNorm(),
        Activation(),
        Conv(4 * _GROWTH),
        Conv(_GROWTH, 3, offset="none", activation=LINEAR),
    )
    return (Parallel(((), layer)),) * layers


def _transition(channels: int) -> Block:
    return BatchNorm(), Activation(), Conv(channels, offset="none", activation=LINEAR), Pool("average", 2, 2)


# Table 1 of arXiv 1608.06993, column DenseNet-121.
DENSENET_121: Block = (
    _STEM,
    _dense_block(6),
    _transition(128),
    _dense_block(12),
    _transition(256),
    _dense_block(24),
    _transition(512),
    _dense_block(16),
    BatchNorm(),
    Activation(),
    _HEAD,
)


def _bare(channels: int, kernel: int = 1, stride: int = 1) -> Conv:
    return Conv(channels, kernel, stride, offset="none", activation=LINEAR)


_NORM: Block = (GroupNorm(32), Activation())


def _preactivated_stage(channels: int, layers: int, stride: int) -> Block:
    inside = channels // 4

    def body(stride: int) -> Block:
        return _bare(inside), _NORM, _bare(inside, 3, stride), _NORM, _bare(channels)

    # The first block also normalizes and activates the input of its projection.
    first = (_NORM, Parallel((_bare(channels, 1, stride), body(stride)), "add"))
    return (first, *(residual((_NORM, body(1))),) * (layers - 1))


# arXiv 1912.11370: ResNet-v2 with group normalization and with standardized weights, which the graph holds as they are
# after it. The padding of the maximum has zeros, as in the authors' code.
BIT_R50X1: Block = (
    _bare(64, 7, 2),
    Pad(1),
    Pool("max", 3, 2),
    _preactivated_stage(256, 3, 1),
    _preactivated_stage(512, 4, 2),
    _preactivated_stage(1024, 6, 2),
    _preactivated_stage(2048, 3, 2),
    _NORM,
    _HEAD,
)
