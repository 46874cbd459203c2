"""Rounding of channels as in the papers' code (`make_divisible`, arXiv 1801.04381 and 1905.11946)."""

DIVISOR = 8


def round_channels(channels: int, width: float, divisor: int = DIVISOR) -> int:
    """Return `channels * width` rounded to the nearest multiple of `divisor`.

    The result is at least `divisor`, and never more than 10% below `channels * width`.

    >>> round_channels(32, 1.1), round_channels(24, 0.75), round_channels(10, 1.0)
    (32, 24, 16)
    """
    target = channels * width
    # Halves are rounded up as in the papers' code; `round` would round them to even multiples.
    rounded = max(divisor, int(target + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * target else rounded
