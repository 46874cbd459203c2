"""Explanations of decisions: the class activation maps of one network or of two, for images of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.architectures import file_stem
from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import DataError, NasError
from nas.files import write_atomically
from nas.output_kinds import PICTURE, check_output

if TYPE_CHECKING:
    from nas.data.decode import Decoded
    from nas.train.explanation import ActivationMap, Explainer

METHOD_NAMES = ("gradcam", "saliency", "integrated-gradients")


@frozen
class NetworkExplanation:
    """Hold what one network sees in one image.

    Attributes:
        network: The text that names the network.
        label: Name of the explained class, or its number if the network has no names of classes.
        probability: Probability that the network gives the class.
        mass: Where the mass of the map lies: `center`, `area` and `box`; None if nothing contributes to the class.
    """

    network: str
    label: str
    probability: float
    mass: dict[str, Any] | None


@frozen
class Explanation:
    """Hold the explanations of one image.

    Attributes:
        image: Path of the image.
        networks: What each network sees.
        picture: Path of the picture that was written; None if none was asked for.

    >>> import nas
    >>> nas.Explanation("photo.png", (), None).image
    'photo.png'
    """

    image: str
    networks: tuple[NetworkExplanation, ...]
    picture: Path | None


@check_arguments
@explain_missing()
def explain(
    checkpoint: str | Path,
    images: Sequence[str | Path],
    *,
    against: str | Path | None = None,
    method: str = "gradcam",
    label: str | None = None,
    out: str | Path | None = None,
    train_on: str | None = None,
) -> list[Explanation]:
    """Explain the decisions of a network: which parts of an image its logit of a class comes from.

    Args:
        checkpoint: Source of a trained network as `nas.load_weights` takes it, such as a folder of a training run.
        images: Paths of the images.
        against: Another trained network to compare with.
        method: "gradcam" (the map of the last convolution), "saliency" or "integrated-gradients" (maps of pixels).
        label: Name of the class to explain; by default the most probable class of each network.
        out: Folder that receives a PNG image for each image; by default none is written.
        train_on: Device that computes, "cpu", "cuda" or "mps"; by default the CPU.

    Returns:
        The explanations, one for each image: the class, its probability and where the mass of the map lies.

    Raises:
        WeightsError: A network cannot be read, or the normalization of its images is unknown.
        DataError: There is no image, or one cannot be read.
        NasError: There is no such method or class, or a picture cannot be written.
        MissingPackageError: The package captum is not installed.

    >>> import nas
    >>> from PIL import Image
    >>> Image.new("RGB", (64, 64), "red").save("photo.png")
    >>> found = nas.explain("efficientnet-lite0", ["photo.png"], out="maps")
    >>> found[0].picture.name, 0 < found[0].networks[0].probability < 1
    ('photo.png', True)
    """
    from nas.data.names import printable
    from nas.train.device import find_device

    _check_request(method, images)
    device = find_device(train_on or "cpu")
    paths = [Path(image) for image in images]
    pictures = _picture_paths(None if out is None else Path(out), paths)
    names = [str(each) for each in (checkpoint, against) if each is not None]
    explainers = [_load(name, method, device) for name in names]
    labels = [_find_label(name, explainer, label) for name, explainer in zip(names, explainers, strict=True)]
    pixels = [_read(paths, explainer).images for explainer in explainers]
    found = []
    for number, (path, picture) in enumerate(zip(paths, pictures, strict=True)):
        maps = [
            explainer.explain(read[number], wanted)
            for explainer, read, wanted in zip(explainers, pixels, labels, strict=True)
        ]
        rows = [_row(name, each, one) for name, each, one in zip(names, explainers, maps, strict=True)]
        if picture is not None:
            write_atomically(picture, _draw(path, [read[number] for read in pixels], maps, rows))
        found.append(Explanation(printable(path), tuple(rows), picture))
    return found


def _check_request(method: str, images: Sequence[str | Path]) -> None:
    if method not in METHOD_NAMES:
        raise NasError(f"method is {method!r:.80}", f"use one of {', '.join(METHOD_NAMES)}")
    if isinstance(images, str) or not images:
        raise DataError(
            f"the images are {images!r:.80}; at least one path of an image is needed", "give a list of paths"
        )


def _picture_paths(folder: Path | None, paths: Sequence[Path]) -> list[Path | None]:
    """Return the path of the picture of each image; images of the same name in several folders get numbers.

    Raises:
        NasError: A picture may not be written there.
    """
    if folder is None:
        return [None] * len(paths)
    pictures: list[Path | None] = []
    for path in paths:
        stem, number = file_stem(path.stem), 1
        picture = folder / f"{stem}.png"
        while picture in pictures:
            number += 1
            picture = folder / f"{stem}-{number}.png"
        check_output(picture, PICTURE, makes_folder=True)
        if picture.exists() and any(picture.samefile(each) for each in paths if each.exists()):
            raise NasError(f"the picture {picture} would replace the image itself", "choose another folder with --out")
        pictures.append(picture)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(
            f"folder {folder} cannot be made: {error.strerror}", "choose another folder with --out"
        ) from None
    return pictures


def _load(name: str, method: str, device: str) -> "Explainer":
    from nas.api.weights import inspect_source
    from nas.train.explanation import make_explainer

    return make_explainer(name, inspect_source(name).network, method, device)


def _find_label(name: str, explainer: "Explainer", label: str | None) -> int | None:
    if label is None:
        return None
    classes = explainer.network.classes or tuple(map(str, range(explainer.network.arch.classes)))
    if label not in classes:
        shown = ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
        raise NasError(f"{name} has no class {label!r:.80}", f"use one of its {len(classes):,} classes: {shown}")
    return classes.index(label)


def _read(paths: Sequence[Path], explainer: "Explainer") -> "Decoded":
    """Return the images as a network takes them."""
    from nas.data.names import printable
    from nas.data.unlabeled import read_images

    arch = explainer.network.arch
    decoded = read_images([path.absolute() for path in paths], Path.cwd(), arch.resolution, arch.in_channels)
    if decoded.corrupt:
        broken = paths[int((~decoded.readable).nonzero()[0])]
        raise DataError(
            f"{printable(broken)} is no image that can be decoded",
            "give JPEG or PNG files, which open in other programs",
        )
    return decoded


def _row(name: str, explainer: "Explainer", found: "ActivationMap") -> NetworkExplanation:
    classes, mass = explainer.network.classes, found.mass()
    label = str(found.label) if classes is None else classes[found.label]
    return NetworkExplanation(name, label, found.probability, None if mass is None else attrs.asdict(mass))


def _draw(
    path: Path, pixels: Sequence[Any], maps: "Sequence[ActivationMap]", rows: Sequence[NetworkExplanation]
) -> bytes:
    """Return the picture of an image, whose uint8 pixels `(C, H, W)` each network has at its own resolution."""
    from nas.report.activation_maps import Column, draw_columns

    shown = [image.permute(1, 2, 0).numpy() for image in pixels]
    shown = [image[..., 0] if image.shape[-1] != 3 else image for image in shown]
    columns = [Column((path.name, "original image"), shown[0])]
    for image, found, row in zip(shown, maps, rows, strict=True):
        columns.append(
            Column((Path(row.network).name, f"{row.label}: {row.probability:.1%}"), image, found.values.numpy())
        )
    return draw_columns(columns)
