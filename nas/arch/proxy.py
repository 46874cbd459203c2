"""The resolution of the images on which networks are compared, where their own resolutions differ."""

# No training run has smaller images.
SMALLEST = 4


def proxy_resolution(held: int, resolution: int, largest: int | None) -> int:
    """Return the height and width of the images that a network is evaluated on, in pixels.

    Images are held at one resolution, which stands for the largest one of the search space. A network with a smaller
    input is evaluated on images that are smaller in proportion.

    Args:
        held: Height and width of the images that are held.
        resolution: Height and width of the network's input.
        largest: Largest resolution of the search space; None evaluates every network on the images as they are held.

    >>> proxy_resolution(32, 160, 224), proxy_resolution(32, 160, None), proxy_resolution(8, 32, 224)
    (23, 32, 4)
    """
    return held if largest is None else max(min(SMALLEST, held), round(held * resolution / largest))
