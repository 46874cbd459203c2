"""NASNet-A-Mobile, whose cells were found by a search: figure 4 and appendix A of arXiv 1707.07012."""

from nas.zoo.records import (
    LINEAR,
    Activation,
    BatchNorm,
    Block,
    Cell,
    Cells,
    Conv,
    Depthwise,
    Flatten,
    GlobalAverage,
    Linear,
    Pad,
    Padding,
    Parallel,
    Pool,
)

_EPSILON = 1e-3
_AVERAGE = Pool("average", 3, 1, 1)


def _adjust(channels: int) -> Block:
    return Activation(), Conv(channels, activation=LINEAR)


def _shrink(channels: int) -> Block:
    """Return the factorized reduction: two strided 1x1 convolutions, one of them of the image moved by one pixel."""
    halves = Conv(channels // 2, 1, 2, offset="none", activation=LINEAR)
    return Activation(), Parallel((halves, (Pad((-1, -1, 1, 1)), halves))), BatchNorm(_EPSILON)


def _separable(kernel: int, channels: int, stride: int = 1, padding: Padding | None = None) -> Block:
    """Return two separable convolutions, of which the first has the stride."""
    return (
        Activation(),
        Depthwise(kernel, stride, padding, offset="none", activation=LINEAR),
        Conv(channels),
        Depthwise(kernel, offset="none", activation=LINEAR),
        Conv(channels, activation=LINEAR),
    )


def _normal(channels: int, previous: Block | None = None) -> Cell:
    three, five = _separable(3, channels), _separable(5, channels)
    return Cell(
        _adjust(channels) if previous is None else previous,
        _adjust(channels),
        (
            ((0, five), (1, three)),
            ((1, five), (1, three)),
            ((0, _AVERAGE), (1, ())),
            ((1, _AVERAGE), (1, _AVERAGE)),
            ((0, three), (0, ())),
        ),
        outputs=(1, 2, 3, 4, 5, 6),
    )


def _reduction(channels: int, previous: Block | None = None, *, even: bool = True) -> Cell:
    """Return a reduction cell.

    Args:
        channels: Number of channels of each sum.
        previous: Sequence that adjusts the output of the cell before the last one; by default a 1x1 convolution.
        even: Whether the sides of its input are even, so that an odd number of pixels is padded, with the additional
            one below and on the right.
    """

    def halved(kernel: int) -> Block:
        half = kernel // 2
        return _separable(kernel, channels, 2, (half - 1, half - 1, half, half) if even else half)

    pads: Padding = (0, 0, 1, 1) if even else 1
    maximum, average = Pool("max", 3, 2, pads), Pool("average", 3, 2, pads)
    return Cell(
        _adjust(channels) if previous is None else previous,
        _adjust(channels),
        (
            ((0, halved(5)), (1, halved(7))),
            ((0, maximum), (1, halved(7))),
            ((0, average), (1, halved(5))),
            ((2, _AVERAGE), (3, ())),
            ((2, _separable(3, channels)), (0, maximum)),
        ),
        outputs=(3, 4, 5, 6),
    )


# NASNet-A (4 @ 1056): 44 filters and 4 normal cells at each resolution.
NASNET_A_MOBILE: Block = (
    Conv(32, 3, 2, 0, activation=LINEAR),
    Cells(
        (
            _reduction(11, (), even=False),
            _reduction(22, _shrink(22)),
            _normal(44, _shrink(44)),
            *(_normal(44),) * 3,
            _reduction(88),
            _normal(88, _shrink(88)),
            *(_normal(88),) * 3,
            _reduction(176),
            _normal(176, _shrink(176)),
            *(_normal(176),) * 3,
        )
    ),
    Activation(),
    GlobalAverage(),
    Flatten(),
    Linear(1000),
)
