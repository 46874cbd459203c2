"""Constants of the common corruptions by severity, for images of any size.

The constants are those of CIFAR-10-C for images of 32 pixels and those of ImageNet-C for images of 224 pixels, as
published with Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", 2019 (arXiv 1903.12261; repository hendrycks/robustness). Neither publishes constants for other sizes:
between the two sizes a constant changes linearly with the logarithm of the size. Smaller images get the constants of
the smaller size. For larger images only lengths in pixels change, in proportion to the size.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

SEVERITIES = (1, 2, 3, 4, 5)
SMALL, LARGE = 32, 224

Row = tuple[float, ...]


@frozen
class Constants:
    """Hold the constants of one corruption.

    Attributes:
        small: Constants of each severity for images of 32 pixels.
        large: Constants of each severity for images of 224 pixels.
        lengths: Indices of the constants that are lengths in pixels.
    """

    small: tuple[Row, ...]
    large: tuple[Row, ...]
    lengths: tuple[int, ...] = ()

    def at(self, severity: int, side: int) -> Row:
        """Return the constants of a severity for images of `side` pixels.

        >>> CONSTANTS["gaussian_noise"].at(5, 32), CONSTANTS["gaussian_noise"].at(5, 224)
        ((0.1,), (0.38,))
        """
        nearest = min(max(side, SMALL), LARGE)
        share = math.log(nearest / SMALL) / math.log(LARGE / SMALL)
        pairs = zip(self.small[severity - 1], self.large[severity - 1], strict=True)
        found = [(1 - share) * small + share * large for small, large in pairs]
        growth = max(1.0, side / LARGE)
        return tuple(value * growth if i in self.lengths else value for i, value in enumerate(found))


def _single(small: Row, large: Row) -> Constants:
    return Constants(tuple((value,) for value in small), tuple((value,) for value in large))


CONSTANTS: Mapping[str, Constants] = MappingProxyType(
    {
        # Standard deviation of the noise.
        "gaussian_noise": _single((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
        # Number of photons of a white pixel.
        "shot_noise": _single((500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
        # Share of the values that become 0 or 1.
        "impulse_noise": _single((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
        # Radius of the disk; standard deviation with which its edge is smoothed.
        "defocus_blur": Constants(
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            lengths=(0, 1),
        ),
        # Standard deviation of the blur; largest distance of two swapped pixels; rounds.
        "glass_blur": Constants(
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            lengths=(0, 1),
        ),
        # Radius of the line; standard deviation of the weights on it.
        "motion_blur": Constants(
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            lengths=(0, 1),
        ),
        # Largest zoom; step from one zoom to the next. The zooms begin at 1 and end before the largest one.
        "zoom_blur": Constants(
            ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ),
        # Mean and standard deviation of the noise; its zoom; threshold of a flake; radius and standard deviation of the
        # motion blur of the flakes; share of the image that is not whitened.
        "snow": Constants(
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
            lengths=(4, 5),
        ),
        # Factor of the image; factor of the frost that is added.
        "frost": Constants(
            ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
            ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ),
        # Factor of the fog that is added; factor by which its structure decays from one scale to half of it.
        "fog": Constants(
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
        ),
        # What is added to the value of a color in the space of hue, saturation and value.
        "brightness": _single((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
        # Factor of the distance from the mean color.
        "contrast": _single((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
        # As shares of the side: factor and standard deviation of the displacements; largest shift of a corner. At 224
        # pixels the publication multiplies its shares by 244.
        "elastic_transform": Constants(
            ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
            tuple(
                tuple(value * 244 / 224 for value in row)
                for row in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
            ),
        ),
        # Factor of the resolution.
        "pixelate": _single((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
        # Quality of the JPEG encoder.
        "jpeg_compression": _single((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
    }
)
