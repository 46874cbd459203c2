"""Networks for mobile devices whose blocks are not among the operators of `nas.arch`: ShuffleNet V2 and MobileNetV4."""

from nas.zoo.records import (
    LINEAR,
    Block,
    Channels,
    Conv,
    Depthwise,
    Flatten,
    GlobalAverage,
    Linear,
    Parallel,
    Pool,
    Shuffle,
    residual,
)


def _shuffle_stage(channels: int, layers: int) -> Block:
    half = channels // 2

    def branch(stride: int) -> Block:
        return Conv(half), Depthwise(3, stride, activation=LINEAR), Conv(half)

    first = Parallel(((Depthwise(3, 2, activation=LINEAR), Conv(half)), branch(2)))
    other = Parallel((Channels(0), (Channels(1), branch(1))))
    return first, Shuffle(), (other, Shuffle()) * (layers - 1)


# Table 5 of arXiv 1807.11164, column 1x.
SHUFFLENET_V2: Block = (
    Conv(24, 3, 2),
    Pool("max", 3, 2, 1),
    _shuffle_stage(116, 4),
    _shuffle_stage(232, 8),
    _shuffle_stage(464, 4),
    Conv(1024),
    GlobalAverage(),
    Flatten(),
    Linear(1000),
)


def _bottleneck(start: int, middle: int, inside: int, channels: int, stride: int = 1) -> Block:
    """Return a universal inverted bottleneck.

    Args:
        start: Kernel of the depthwise convolution before the expansion; 0 for none.
        middle: Kernel of the depthwise convolution between expansion and projection; 0 for none.
        inside: Number of channels after the expansion.
        channels: Number of output channels.
        stride: Stride of the last one of the depthwise convolutions. With 1 the block has an identity skip.
    """
    body = (
        (Depthwise(start, 1 if middle else stride, activation=LINEAR),) if start else (),
        Conv(inside),
        (Depthwise(middle, stride),) if middle else (),
        Conv(channels, activation=LINEAR),
    )
    return body if stride > 1 else residual(body)


# arXiv 2404.10518, the specification of MNv4-Conv-S in its appendix.
MOBILENET_V4_CONV_SMALL: Block = (
    Conv(32, 3, 2),
    Conv(32, 3, 2),
    Conv(32),
    Conv(96, 3, 2),
    Conv(64),
    _bottleneck(5, 5, 192, 96, stride=2),
    (_bottleneck(0, 3, 192, 96),) * 4,
    _bottleneck(3, 0, 384, 96),
    _bottleneck(3, 3, 576, 128, stride=2),
    _bottleneck(5, 5, 512, 128),
    _bottleneck(0, 5, 512, 128),
    _bottleneck(0, 5, 384, 128),
    (_bottleneck(0, 3, 512, 128),) * 2,
    Conv(960),
    GlobalAverage(),
    Conv(1280),
    Flatten(),
    Linear(1000),
)
