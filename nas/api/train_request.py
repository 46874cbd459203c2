"""The request for a full training run: everything that can be asked for, checked when it is created."""

from pathlib import Path
from typing import TYPE_CHECKING, Union

import attrs
from attrs import field, frozen

from nas.api.fields import (
    check_not_negative,
    check_pretrained,
    check_probability,
    check_share,
    check_text,
    one_of,
    whole_number,
)
from nas.errors import NasError
from nas.studies.defaults import DEFAULT_STORAGE
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.weights.base import TrainedNetwork

# Recipes that are used with and without weights to start from, unless another one is given.
WITH_WEIGHTS, FROM_RANDOM = "finetune", "fast"
# Values that only Noisy Student has.
OF_ROUNDS = ("rounds", "confidence", "per_class", "grow")
RANDOM = "none"  # in the place of a source of weights


@frozen
class TrainRequest:
    """Hold what a training run is asked for, in the words of the command line.

    Attributes:
        arch: Network: a reference such as "efficientnet-b0", or an architecture.
        data: Images: "digits", a folder, a Parquet file or folder, or a Hugging Face hub name.
        pretrained: Source of the weights to start from, or a network. None takes the weights that a search kept where
            `arch` is a network of a study, else random ones; "none" takes random ones.
        normalization: Normalization of the images that replaces that of the source.
        recipe: Name or file of the recipe; None takes "finetune" with weights to start from, else "fast".
        epochs: Number of epochs; None takes that of the recipe.
        timeout_s: Duration in seconds within which the run ends, which decides the number of epochs; None is no limit.
        resolution: Height and width of the images in pixels; None takes those of the network.
        images: Number of training images; None takes all of them.
        validation_share: Share of the images that validates; None takes a fifth, or more of a small set.
        train_on: Device, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.
        metric: Measure of accuracy, "accuracy" or "balanced".
        seed: Seed of all random numbers.
        deterministic: Whether torch uses deterministic algorithms alone, also on a GPU.
        out: Folder of the results; None makes the name from that of the network.
        weights_dir: Folder in which searches keep weights.
        storage: Optuna URL of the database that holds the study of a network.
        teacher: Teacher of the network: a source of weights, a trained network or an ONNX file; None trains without.
        teacher_normalization: Normalization of the teacher's images that replaces the one that the teacher states.
        unlabeled: Folder of unlabeled images for Noisy Student; None trains on labeled images alone.
        rounds: Number of students that are trained one after the other with unlabeled images.
        confidence: Smallest probability of the most probable class with which an unlabeled image is used.
        per_class: Number of unlabeled images of each class; None takes the mean number of confident images.
        grow: Compound coefficient by which each student is larger than its teacher; 0 makes equal students.
        tensorboard: Folder of event files for TensorBoard; None writes none.
        mlflow: Tracking URI of MLflow; None logs nothing there.

    Raises:
        NasError: A value cannot be used.
    """

    arch: Union[str, "Architecture"]
    data: str = field(default="digits", validator=check_text)
    pretrained: Union[str, "TrainedNetwork", None] = field(default=None, validator=check_pretrained)
    normalization: str | None = None
    recipe: str | None = None
    epochs: int | None = whole_number(None, 1, 100_000)
    timeout_s: float | None = None
    resolution: int | None = whole_number(None, 4, 1024)
    images: int | None = whole_number(None, 2)
    validation_share: float | None = field(default=None, validator=check_share)
    train_on: str | None = None
    metric: str = one_of(METRIC_NAMES, METRIC_NAMES[0])
    seed: int = whole_number(0, 0, 2**31 - 1)
    deterministic: bool = False
    out: Path | None = None
    weights_dir: Path = field(default=Path("nas-weights"), converter=Path)
    storage: str = field(default=DEFAULT_STORAGE, validator=check_text)
    teacher: str | None = None
    teacher_normalization: str | None = None
    unlabeled: Path | None = None
    rounds: int = whole_number(1, 1, 100)
    confidence: float = field(default=0.3, validator=check_probability)
    per_class: int | None = whole_number(None, 1)
    grow: float = field(default=0.0, validator=check_not_negative)
    tensorboard: Path | None = None
    mlflow: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.epochs is not None and self.timeout_s is not None:
            raise NasError(
                "both a number of epochs and a time limit are given, and the time limit decides the number of epochs",
                "leave out --epochs or --timeout",
            )
        if self.normalization is not None and self.pretrained in (None, RANDOM):
            raise NasError(
                "a normalization belongs to a pretrained network, and none is given",
                "add one like --pretrained efficientnet-lite0, or leave --normalization out",
            )
        if self.teacher_normalization is not None and self.teacher is None:
            raise NasError(
                "a normalization of the teacher's images is given, and no teacher",
                "give a teacher, or leave --teacher-normalization out",
            )
        fields = {each.name: each.default for each in attrs.fields(type(self))}
        changed = next((name for name in OF_ROUNDS if getattr(self, name) != fields[name]), None)
        if self.unlabeled is None and changed is not None:
            raise NasError(
                f"{changed} is {getattr(self, changed)!r}, which belongs to unlabeled images, and none are given",
                "give a folder with --unlabeled, or leave the option out",
            )
        if self.unlabeled is not None and self.timeout_s is not None:
            raise NasError(
                "both unlabeled images and a time limit are given, and each round trains for a number of epochs",
                "give --epochs in place of --timeout",
            )
