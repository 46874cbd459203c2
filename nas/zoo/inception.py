"""Networks whose blocks join parallel paths: GoogLeNet and Inception-V3; and Xception, which replaces such blocks."""

from nas.zoo.records import (
    LINEAR,
    Activation,
    Block,
    Conv,
    Depthwise,
    Flatten,
    GlobalAverage,
    Linear,
    Parallel,
    Pool,
    residual,
)

_HEAD: Block = (GlobalAverage(), Flatten(), Linear(1000))
_HALVE = Pool("max", 3, 2, ceil=True)
_SAME_SIZE = Pool("max", 3, 1, 1)


def _inception(one: int, reduced3: int, three: int, reduced5: int, five: int, pooled: int) -> Block:
    # torchvision has a 3x3 kernel where the paper has 5x5.
    return Parallel(
        (Conv(one), (Conv(reduced3), Conv(three, 3)), (Conv(reduced5), Conv(five, 3)), (_SAME_SIZE, Conv(pooled)))
    )


# Table 1 of arXiv 1409.4842, without the auxiliary classifiers, with batch normalization and without local response
# normalization.
GOOGLENET: Block = (
    Conv(64, 7, 2),
    _HALVE,
    Conv(64),
    Conv(192, 3),
    _HALVE,
    _inception(64, 96, 128, 16, 32, 32),
    _inception(128, 128, 192, 32, 96, 64),
    _HALVE,
    _inception(192, 96, 208, 16, 48, 64),
    _inception(160, 112, 224, 24, 64, 64),
    _inception(128, 128, 256, 24, 64, 64),
    _inception(112, 144, 288, 32, 64, 64),
    _inception(256, 160, 320, 32, 128, 128),
    Pool("max", 2, 2, ceil=True),
    _inception(256, 160, 320, 32, 128, 128),
    _inception(384, 192, 384, 48, 128, 128),
    _HEAD,
)

_AVERAGE = Pool("average", 3, 1, 1, counts_padding=True)
_SHRINK = Pool("max", 3, 2)
_WIDE, _TALL = (1, 7), (7, 1)


def _figure_5(pooled: int) -> Block:
    return Parallel(
        (
            Conv(64),
            (Conv(48), Conv(64, 5)),
            (Conv(64), Conv(96, 3), Conv(96, 3)),
            (_AVERAGE, Conv(pooled)),
        )
    )


def _figure_6(inside: int) -> Block:
    return Parallel(
        (
            Conv(192),
            (Conv(inside), Conv(inside, _WIDE), Conv(192, _TALL)),
            (Conv(inside), Conv(inside, _TALL), Conv(inside, _WIDE), Conv(inside, _TALL), Conv(192, _WIDE)),
            (_AVERAGE, Conv(192)),
        )
    )


_FIGURE_7: Block = Parallel(
    (
        Conv(320),
        (Conv(384), Parallel((Conv(384, (1, 3)), Conv(384, (3, 1))))),
        (Conv(448), Conv(384, 3), Parallel((Conv(384, (1, 3)), Conv(384, (3, 1))))),
        (_AVERAGE, Conv(192)),
    )
)
_REDUCTION_17: Block = Parallel(
    (Conv(384, 3, 2, 0), (Conv(64), Conv(96, 3), Conv(96, 3, 2, 0)), _SHRINK),
)
_REDUCTION_8: Block = Parallel(
    (
        (Conv(192), Conv(320, 3, 2, 0)),
        (Conv(192), Conv(192, _WIDE), Conv(192, _TALL), Conv(192, 3, 2, 0)),
        _SHRINK,
    )
)
# Table 1 of arXiv 1512.00567 as in its TensorFlow code, whose figures 5 to 7 give the blocks, without the auxiliary
# classifier.
INCEPTION_V3: Block = (
    Conv(32, 3, 2, 0),
    Conv(32, 3, padding=0),
    Conv(64, 3),
    _SHRINK,
    Conv(80),
    Conv(192, 3, padding=0),
    _SHRINK,
    _figure_5(32),
    _figure_5(64),
    _figure_5(64),
    _REDUCTION_17,
    _figure_6(128),
    _figure_6(160),
    _figure_6(160),
    _figure_6(192),
    _REDUCTION_8,
    _FIGURE_7,
    _FIGURE_7,
    _HEAD,
)


def _separable(channels: int, activation: str = LINEAR) -> Block:
    return Depthwise(3, offset="none", activation=LINEAR), Conv(channels, activation=activation)


def _entry(channels: int, *, activated: bool = True) -> Block:
    first = (Activation(),) if activated else ()
    body = (first, _separable(channels, "relu"), _separable(channels), Pool("max", 3, 2, 1))
    return residual(body, Conv(channels, 1, 2, activation=LINEAR))


_MIDDLE: Block = residual((Activation(), _separable(728)) * 3)
_EXIT: Block = residual(
    (Activation(), _separable(728, "relu"), _separable(1024), Pool("max", 3, 2, 1)),
    Conv(1024, 1, 2, activation=LINEAR),
)
# Figure 5 of arXiv 1610.02357.
XCEPTION: Block = (
    Conv(32, 3, 2, 0),
    Conv(64, 3, padding=0),
    _entry(128, activated=False),
    _entry(256),
    _entry(728),
    (_MIDDLE,) * 8,
    _EXIT,
    _separable(1536, "relu"),
    _separable(2048, "relu"),
    _HEAD,
)
