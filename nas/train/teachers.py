"""Teachers: networks that give logits for the images of a student, whatever they were trained with themselves."""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor
from torch.nn import functional

from nas.errors import WeightsError
from nas.weights.base import Normalization, TrainedNetwork

# Function from normalized images `(N, C, H, W)` to logits `(N, classes)`.
Network = Callable[[Tensor], Tensor]


@frozen(eq=False)
class Task:
    """Describe what a student is trained on, as far as a teacher must fit it.

    Attributes:
        data: Source of the images, as the user typed it.
        classes: Names of the classes in the order of the student's logits.
        normalization: Normalization of the images that the student receives.
    """

    data: str
    classes: tuple[str, ...]
    normalization: Normalization


@frozen(eq=False)
class Teacher:
    """Give logits in the order of a student's classes, for images that are normalized for the student.

    Attributes:
        name: Name of the teacher.
        network: Network that takes images with its own normalization and size.
        size: Height and width of its images in pixels.
        normalization: Normalization of its images.
        task: What the student is trained on.
        order: For each class of the student, its index among the teacher's classes.
        digest: Digits that change with the teacher.
    """

    name: str
    network: Network = field(repr=False)
    size: tuple[int, int]
    normalization: Normalization
    task: Task
    order: tuple[int, ...]
    digest: str

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return fp32 logits `(N, classes)`.

        Args:
            images: Images `(N, C, H, W)` of any size, normalized for the student.
        """
        student, own = self.task.normalization, self.normalization
        # pixel = image * student.std + student.mean, and the teacher takes (pixel - own.mean) / own.std.
        factors = [ours / theirs for ours, theirs in zip(student.std, own.std, strict=True)]
        offsets = [(ours - theirs) / std for ours, theirs, std in zip(student.mean, own.mean, own.std, strict=True)]
        factor, offset = (images.new_tensor(values).view(1, -1, 1, 1) for values in (factors, offsets))
        logits = self.network(resized(torch.addcmul(offset, images, factor), self.size)).float()
        return logits[:, list(self.order)]


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images `(N, C, H, W)` with another height and width, without aliasing.

    >>> resized(torch.ones(1, 3, 8, 8), (4, 6)).shape
    torch.Size([1, 3, 4, 6])
    """
    if tuple(images.shape[-2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)


def teacher_of_network(name: str, network: TrainedNetwork, task: Task, device: str) -> Teacher:
    """Return a trained network as a teacher.

    Args:
        name: The text by which the user named it.
        network: The network.
        task: What the student is trained on.
        device: Device that computes.

    Raises:
        WeightsError: The network has other classes or another number of channels, or its normalization is unknown.
    """
    resolution = network.arch.resolution
    order = match_classes(name, network.classes, network.arch.classes, task)
    normalization = _checked(name, network.normalization, network.arch.in_channels, task)
    module = network.module().requires_grad_(requires_grad=False)
    module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(name, module, (resolution, resolution), normalization, task, order, network.digest)


@frozen(eq=False)
class OtherNetwork:
    """Hold a network of another program, as far as a teacher needs it.

    Attributes:
        compute: Function from normalized images to logits, both on the CPU as fp32 arrays of numpy.
        input_shape: Shape of an image: channels, height and width.
        classes: Number of classes.
        metadata: Texts by name that the file has beside the network: "classes" and "normalization" as JSON, in the form
            that a file of trained weights has.
        digest: Digits that change with the file.
    """

    compute: Callable[[Any], Any]
    input_shape: tuple[int, int, int]
    classes: int
    metadata: Mapping[str, str]
    digest: str


def teacher_of_file(name: str, found: OtherNetwork, normalization: Normalization | None, task: Task) -> Teacher:
    """Return a network of another program as a teacher.

    Args:
        name: The text by which the user named it.
        found: The network.
        normalization: Normalization that the user gave; None takes the one that the file states.
        task: What the student is trained on.

    Raises:
        WeightsError: The network has other classes or another number of channels, or its normalization is unknown.
    """
    names = _json(name, found.metadata, "classes")
    classes = None if names is None else tuple(map(str, names))
    stated = _json(name, found.metadata, "normalization")
    if normalization is None and stated is not None:
        normalization = _normalization(name, stated)
    order = match_classes(name, classes, found.classes, task)
    own = _checked(name, normalization, found.input_shape[0], task)

    def network(images: Tensor) -> Tensor:
        return torch.from_numpy(found.compute(images.float().cpu().contiguous().numpy())).to(images.device)

    # The normalization may be one that the user gave, which is not part of the file.
    digest = hashlib.sha256(repr((found.digest, own)).encode()).hexdigest()[:12]
    return Teacher(name, network, found.input_shape[1:], own, task, order, digest)


def match_classes(name: str, own: Sequence[str] | None, count: int, task: Task) -> tuple[int, ...]:
    """Return for each class of the student its index among the teacher's classes.

    The order of the classes may differ. A teacher whose classes have no names must have as many as the student, and
    they are taken to be in the same order.

    Args:
        name: Name of the teacher, for the message.
        own: Names of the teacher's classes, or None if they are unknown.
        count: Number of the teacher's classes.
        task: What the student is trained on.

    Raises:
        WeightsError: The classes differ; the error names the first class that only one of both has.
    """
    wanted = task.classes
    if own is None and count == len(wanted):
        return tuple(range(count))
    command = f"nas train {name} --pretrained {name} --data {shlex.quote(task.data)}"
    remedy = (
        f"train the teacher on these images first with `{command}`, and give the folder that it writes as --teacher"
    )
    if own is None:
        raise WeightsError(f"the teacher {name} has {count:,} classes, and the images have {len(wanted):,}", remedy)
    places = {each: place for place, each in enumerate(own)}
    missing = next((each for each in wanted if each not in places), None)
    extra = next((each for each in own if each not in set(wanted)), None)
    rule = f"its {count:,} classes must be the {len(wanted):,} of the images, in any order"
    if missing is not None:
        raise WeightsError(f"the teacher {name} has no class {missing!r:.80}, which the images have; {rule}", remedy)
    if extra is not None:
        raise WeightsError(f"the teacher {name} has a class {extra!r:.80}, which no image has; {rule}", remedy)
    return tuple(places[each] for each in wanted)


def _checked(name: str, normalization: Normalization | None, channels: int, task: Task) -> Normalization:
    """Return the normalization of a teacher, if its images have as many channels as those of the student."""
    if channels != len(task.normalization.mean):
        raise WeightsError(
            f"the teacher {name} takes images with {channels} channels, and those of the student have "
            f"{len(task.normalization.mean)}",
            "give a teacher and a student for the same number of channels",
        )
    if normalization is None:
        raise WeightsError(
            f"the normalization of the images of the teacher {name} is unknown",
            "give --teacher-normalization imagenet, 0..1, -1..1 or MEAN/STD",
        )
    return normalization


def _json(name: str, metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata.get(key, "null"))
    except (ValueError, RecursionError):
        raise WeightsError(
            f"the teacher {name} states its {key} as {metadata[key]!r:.80}, which is not JSON", "export it once more"
        ) from None


def _normalization(name: str, stated: Any) -> Normalization:
    try:
        return Normalization(stated["mean"], stated["std"])
    except (TypeError, ValueError, LookupError, WeightsError):
        raise WeightsError(
            f"the teacher {name} states its normalization as {stated!r:.80}; it must have a mean and a std",
            "give --teacher-normalization imagenet, 0..1, -1..1 or MEAN/STD",
        ) from None
