"""Channels as the papers' code rounds them (`make_divisible`, arXiv 1801.04381 and 1905.11946)."""

DIVISOR = 8


def round_channels(channels: int, width: float, divisor: int = DIVISOR) -> int:
    """`channels * width` to the nearest multiple of `divisor`, at least that, and never more than 10% below."""
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded
