"""Folders of small pictures: three classes, each with another brightest channel."""

from pathlib import Path

from PIL import Image

from tests.evaluate.colors import colored

CLASSES = ("blue", "green", "red")
TINY_TEXT = "net resolution=8 classes=3\nstem conv k3 s2 c8\nmbconv k3 s1 e2 c8\nhead conv c8"


def write_labeled(folder: Path, count: int = 45, lift: int = 100) -> Path:
    """Write pictures as `class/file`."""
    images = colored(count, lift=lift)
    for number, (pixels, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        place = folder / ("red", "green", "blue")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(place / f"{number}.png")
    return folder


def write_unlabeled(folder: Path, count: int = 20) -> Path:
    """Write pictures of all classes into one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(colored(count).images):
        Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{number:03}.png")
    return folder
