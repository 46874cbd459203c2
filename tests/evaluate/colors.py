"""A data set that is small enough to train on in a second: three classes, each with another brightest channel."""

import torch

from nas.arch.code import parse_text
from nas.data.base import ImageData, Images, fingerprint

ARCH = parse_text(
    "net resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0.2\nstem conv k3 s1 c8\n"
    "mbconv r2 k3 s2 e2 c8 se0.25\nconv k3 s2 c12\nhead conv c16 dropout=0.2"
)
TINY = parse_text("net\nstem conv k3 s2 c8\nmbconv k3 s1 e2 c8\nhead conv c8")


def colored(count: int, side: int = 8, lift: int = 100) -> Images:
    """Return random images of three classes.

    Args:
        count: Number of images.
        side: Height and width in pixels.
        lift: Difference of the brightest channel from the others; the smaller it is, the harder is the task.
    """
    labels = torch.arange(count) % 3
    images = torch.randint(0, 120, (count, 3, side, side), generator=torch.Generator().manual_seed(count))
    images[torch.arange(count), labels] += lift
    return Images(images.to(torch.uint8), labels)


def make_data(train_images: int = 61, lift: int = 100, side: int = 8, val_images: int = 30) -> ImageData:
    """Return such images as a training, a validation and a test split."""
    train, val, test = (colored(count, side, lift) for count in (train_images, val_images, 9))
    classes = ("red", "green", "blue")
    mean, std = (0.35, 0.35, 0.35), (0.2, 0.2, 0.2)
    digest = fingerprint(classes, (train, val, test))
    return ImageData("colours", classes, train, val, test, mean, std, digest)
