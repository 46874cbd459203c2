"""Evaluation of trained networks on labeled images, and predictions for image files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.api.training import Say
from nas.errors import DataError, NasError, WeightsError
from nas.train.assessment.prediction import Prediction
from nas.version import __version__

if TYPE_CHECKING:
    from nas.data.backgrounds import Mask
    from nas.data.load import Split
    from nas.train.assessment.assessment import Assessment
    from nas.train.assessment.classifiers import NetworkClassifier
    from nas.train.assessment.intervals import Interval
    from nas.train.assessment.robustness import Robustness
    from nas.weights.base import TrainedNetwork

__all__ = ["Evaluation", "EvaluationOptions", "Prediction", "evaluate_network", "predict"]

FORMAT = "nas-evaluation/1"
SPLITS = ("test", "val", "train")
# Images of the robustness report: 76 passes over them, and over as many of a baseline.
IMAGES = 400


@frozen
class EvaluationOptions:
    """Hold the options of an evaluation.

    Attributes:
        data: Source of the images.
        split: Split that is evaluated: "test", "val" or "train".
        robustness: Whether corrupted, perturbed and recombined images are evaluated too.
        masks: Folder of masks for the backgrounds; None approximates them.
        images: Number of images of the robustness report.
        validation_share: Share of the images that validates, as in the training run.
        train_on: Device that computes; None chooses the fastest one that is available.
    """

    data: str
    split: str = SPLITS[0]
    robustness: bool = False
    masks: Path | None = None
    images: int = IMAGES
    validation_share: float | None = None
    train_on: str | None = None


@frozen(eq=False)
class Evaluation:
    """Represent what a trained network does on labeled images; all intervals are 95% confidence intervals.

    Attributes:
        name: Name of the network.
        data: Source of the images.
        split: Split that was evaluated.
        resolution: Height and width of the images, in pixels.
        assessment: Accuracy, results by class, confusions and calibration.
        robustness: Results on corrupted, perturbed and recombined images; None if they were not asked for.
        baseline_name: Name of the other network; "" without one.
        baseline: The same of the other network; None without one.
        accuracy_difference: Accuracy minus that of the other network on the same images; None without one.
        notes: Sentences about the images.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> found = nas.evaluate_network(network, "digits", train_on="cpu")
    >>> found.assessment.images, found.assessment.accuracy.low > 0
    (359, True)
    """

    name: str
    data: str
    split: str
    resolution: int
    assessment: "Assessment"
    robustness: "Robustness | None" = None
    baseline_name: str = ""
    baseline: "Assessment | None" = None
    accuracy_difference: "Interval | None" = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": FORMAT,
            "version": __version__,
            "network": self.name,
            "data": self.data,
            "split": self.split,
            "resolution": self.resolution,
            "confidence": 0.95,
            "assessment": self.assessment.as_json(),
            "baseline": self.baseline and {"network": self.baseline_name, "assessment": self.baseline.as_json()},
            "accuracy_difference": self.accuracy_difference and self.accuracy_difference.as_json(),
            "robustness": self.robustness and self.robustness.as_json(),
            "notes": list(self.notes),
        }


@check_arguments
@explain_missing()
def evaluate_network(
    checkpoint: Union[str, Path, "TrainedNetwork"],
    data: str | Path,
    *,
    against: Union[str, Path, "TrainedNetwork", None] = None,
    split: str = SPLITS[0],
    robustness: bool = False,
    masks: str | Path | None = None,
    images: int = IMAGES,
    validation_share: float | None = None,
    train_on: str | None = None,
) -> Evaluation:
    """Evaluate a trained network on labeled images.

    Args:
        checkpoint: Folder of a training run, a weights file, any other source that `nas.load_weights` takes, or a
            network.
        data: Source of images, whose classes are those of the network in any order.
        against: Another network that is evaluated on the same images.
        split: Split of the data: "test", "val" or "train".
        robustness: Whether to evaluate corrupted, perturbed and recombined images too.
        masks: Folder of masks of the objects, with the names of the images; None approximates them from the colors.
        images: Number of images of the robustness report, spread evenly over the split.
        validation_share: Share of the images that validates, where the training run had one of its own.
        train_on: Device that computes, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.

    Returns:
        Accuracy, results by class, confusions and calibration, with their intervals; the robustness if asked for.

    Raises:
        WeightsError: There is no such network, or the normalization of its images is unknown.
        DataError: The images cannot be read, or their classes differ from those of the network.
        NasError: An argument cannot be used.
        MissingPackageError: A package that is needed is not installed.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> nas.evaluate_network(network, "digits", split="val", train_on="cpu").split
    'val'
    """
    folder = None if masks is None else Path(masks)
    options = EvaluationOptions(str(data), split, robustness, folder, images, validation_share, train_on)
    return evaluate(checkpoint, options, against)


@explain_missing()
def evaluate(
    checkpoint: Union[str, Path, "TrainedNetwork"],
    options: EvaluationOptions,
    against: Union[str, Path, "TrainedNetwork", None] = None,
    say: Say = lambda _message: None,
) -> Evaluation:
    """Evaluate a trained network; see `evaluate_network`.

    Args:
        checkpoint: The network.
        options: Options of the evaluation.
        against: Another network; None for none.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `evaluate_network` raises it.
    """
    _check(options)
    named = [_classifier(each, options.train_on) for each in (checkpoint, against) if each is not None]
    _check_channels([classifier for _, classifier in named], options)
    loaded = [_load(options, *classifier.form, say) for _, classifier in named]
    # Everything is checked before the first pass, which may take minutes.
    labeled = [_labeled(split, classifier) for split, (_, classifier) in zip(loaded, named, strict=True)]
    found = []
    for (name, classifier), (images, names) in zip(named, labeled, strict=True):
        say(f"{name}: {len(images):,} images at {classifier.form[0]} px on {classifier.device}")
        found.append(_assess(classifier, images, names))
    report = _robustness(named, loaded, options, say) if options.robustness else None
    return Evaluation(
        name=named[0][0],
        data=loaded[0].name,
        split=options.split,
        resolution=named[0][1].form[0],
        assessment=found[0][0],
        robustness=report,
        baseline_name=named[1][0] if len(named) > 1 else "",
        baseline=found[1][0] if len(found) > 1 else None,
        accuracy_difference=_difference(found[0][1], found[1][1]) if len(found) > 1 else None,
        notes=loaded[0].notes,
    )


def _check(options: EvaluationOptions) -> None:
    if options.split not in SPLITS:
        raise DataError(f"the split is {options.split!r:.80}; it must be test, val or train", "use test")
    if isinstance(options.images, bool) or not isinstance(options.images, int) or options.images < 2:
        raise NasError(f"images is {options.images!r:.80}; it must be a whole number of at least 2", "use 400")
    if options.masks is not None and not options.robustness:
        raise NasError("masks are given without robustness; only the robustness report uses them", "ask for robustness")


def _check_channels(classifiers: "Sequence[NetworkClassifier]", options: EvaluationOptions) -> None:
    from nas.data.corruptions.kinds import CHANNELS

    channels = [classifier.form[1] for classifier in classifiers]
    if len(set(channels)) > 1:
        raise WeightsError(
            f"the networks take images of {channels[0]} and {channels[1]} channels; networks that are compared must "
            "take the same images",
            "compare networks of the same number of channels",
        )
    if options.robustness and channels[0] not in CHANNELS:
        raise WeightsError(
            f"the network takes images of {channels[0]} channels; images of 1 or 3 channels can be corrupted",
            "leave out the robustness report",
        )


def _classifier(
    checkpoint: Union[str, Path, "TrainedNetwork"], train_on: str | None
) -> tuple[str, "NetworkClassifier"]:
    """Return the name and the classifier of a checkpoint."""
    from nas.api.weights import find_source
    from nas.train.assessment.classifiers import NetworkClassifier
    from nas.train.device import find_device
    from nas.weights.base import TrainedNetwork

    if not isinstance(checkpoint, str | Path | TrainedNetwork):
        raise WeightsError(f"{checkpoint!r:.200} is not a checkpoint", "give a folder, a file or a TrainedNetwork")
    source = find_source(str(checkpoint) if isinstance(checkpoint, Path) else checkpoint)
    return source.name, NetworkClassifier(source.network, find_device(train_on))


def _load(options: EvaluationOptions, resolution: int, channels: int, say: Say, images: int | None = None) -> "Split":
    from nas.data.load import load_split

    split = load_split(
        options.data,
        options.split,
        resolution=resolution,
        channels=channels,
        images=images,
        validation_share=options.validation_share,
    )
    for note in split.notes if images is None else ():
        say(f"{split.name}: {note}")
    return split


def _labeled(split: "Split", classifier: "NetworkClassifier") -> tuple[Any, tuple[str, ...]]:
    """Return images with labels as indices of the logits of a network, and the names of its classes."""
    from nas.train.assessment.classifiers import with_labels_of

    names, outputs = classifier.classes, classifier.network.arch.classes
    return with_labels_of(split.images, split.classes, names, outputs), names or split.classes


def _assess(classifier: "NetworkClassifier", images: Any, names: Sequence[str]) -> "tuple[Assessment, Any]":
    """Return the assessment of a network, and which images it classifies correctly."""
    from nas.train.assessment.assessment import assess_logits

    logits, labels = classifier.logits(images), images.labels.cpu()
    return assess_logits(logits, labels, names), (logits.argmax(1) == labels).numpy()


def _difference(first: Any, second: Any) -> "Interval":
    from nas.train.assessment.intervals import difference_of

    return difference_of([first], [second])


def _robustness(
    named: "Sequence[tuple[str, NetworkClassifier]]", loaded: "Sequence[Split]", options: EvaluationOptions, say: Say
) -> "Robustness":
    """Return the robustness of networks on images of the size at which they are stored, or that a network takes."""
    from nas.data.backgrounds import with_masks
    from nas.train.assessment.robustness import Subject, measure_robustness

    largest = max(classifier.form[0] for _, classifier in named)
    # Corrupting enlarged images would take longer, and would corrupt details that no stored image has.
    side = min(loaded[0].stored_side or largest, largest)
    split = _load(options, side, named[0][1].form[1], say, options.images)
    subjects: list[Subject] = []
    for name, classifier in named:
        images, _ = _labeled(split, classifier)
        subjects.append(Subject(name, classifier, images.labels.cpu()))
    say(f"robustness: {len(split.images):,} of {split.total:,} images, corrupted at {side} px")
    masks, origin = _masks(split, options)
    pixels = split.images.images
    masked = with_masks(pixels, subjects[0].labels, masks)
    return measure_robustness(subjects, pixels, masked, masks=origin if masked else "none", say=say)


def _masks(split: "Split", options: EvaluationOptions) -> "tuple[list[Mask | None], str]":
    from nas.data.backgrounds import approximate_mask, read_masks

    if options.masks is not None:
        return read_masks(options.masks, split.names, split.images.images.shape[-1]), "given"
    return [approximate_mask(image.numpy()) for image in split.images.images], "approximated"


def write_evaluation(found: Evaluation, folder: Path, *, png: bool = False) -> list[Path]:
    """Write the JSON values and the drawings of an evaluation to a folder, and return the paths of the files.

    Args:
        found: The evaluation.
        folder: Folder, which is made if there is none.
        png: Whether the drawings are written as pictures too.

    Raises:
        NasError: A file cannot be written, or there is one of another kind.
        MissingPackageError: A package that draws pictures is not installed.
    """
    import json

    from nas.output_kinds import EVALUATION, write_output

    values = found.as_json()
    _make_folder(folder)
    path = folder / "evaluation.json"
    write_output(path, f"{json.dumps(values, indent=2, allow_nan=False)}\n".encode(), EVALUATION)
    return [path, *draw_assessment(found.name, values["assessment"], values["robustness"], folder, png=png)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NasError(f"folder {folder} cannot be made: {reason}", "choose another place") from None


def draw_assessment(
    name: str,
    assessment: Mapping[str, Any],
    robustness: Mapping[str, Any] | None,
    folder: Path,
    *,
    png: bool = False,
) -> list[Path]:
    """Write the drawings of an assessment to a folder, and return the paths of the files.

    Args:
        name: Name of the network.
        assessment: JSON values of the assessment.
        robustness: JSON values of the robustness; None if it was not measured.
        folder: Folder, which exists.
        png: Whether the drawings are written as pictures too.

    Raises:
        NasError: A file cannot be written, or there is one of another kind.
        MissingPackageError: A package that draws pictures is not installed.
    """
    from nas.report.assessment import confusion_figure, corruption_figure, reliability_figure
    from nas.report.files import write_html, write_png

    drawn = {
        "confusion": (confusion_figure, "classes and predicted classes", assessment),
        "reliability": (reliability_figure, "calibration", assessment),
        "corruptions": (corruption_figure, "accuracy on corrupted images", robustness),
    }
    written = []
    for stem, (draw, what, values) in drawn.items():
        if values is None:
            continue
        title = f"{name}: {what}"
        figure = draw(title, values)
        page = folder / f"{stem}.html"
        write_html(page, figure, title)
        written.append(page)
        if png:
            picture = page.with_suffix(".png")
            write_png(picture, figure)
            written.append(picture)
    return written


@check_arguments
@explain_missing()
def predict(
    checkpoint: Union[str, Path, "TrainedNetwork"],
    images: str | Path | Iterable[str | Path],
    *,
    top: int = 1,
    train_on: str | None = None,
) -> list[Prediction]:
    """Return the most probable classes of image files.

    The images are decoded, resized and normalized exactly as those that the network was trained on.

    Args:
        checkpoint: Folder of a training run, a weights file, any other source that `nas.load_weights` takes, or a
            network.
        images: An image file, a folder of image files, or several of these.
        top: Number of classes for each image.
        train_on: Device that computes, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.

    Returns:
        A prediction for each file, in order. A file that cannot be decoded has a `problem` and no classes.

    Raises:
        WeightsError: There is no such network, or the normalization of its images is unknown.
        DataError: A folder has no images.
        MissingPackageError: A package that is needed is not installed.

    >>> import nas
    >>> from PIL import Image
    >>> Image.new("RGB", (40, 30), "red").save("red.png")
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=2)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), ("red", "blue"), half)
    >>> [found] = nas.predict(network, "red.png", top=2, train_on="cpu")
    >>> found.file, sorted(found.classes), round(sum(found.probabilities), 6)
    ('red.png', ['blue', 'red'], 1.0)
    """
    given = [images] if isinstance(images, str | Path) else list(images)
    return list(predictions(checkpoint, given, top, train_on))


@explain_missing()
def predictions(
    checkpoint: Union[str, Path, "TrainedNetwork"],
    images: Sequence[str | Path],
    top: int = 1,
    train_on: str | None = None,
) -> Iterator[Prediction]:
    """Return the predictions for image files one after the other; see `predict`.

    Raises:
        NasError: As `predict` raises it, before the first prediction.
    """
    from nas.data.image_files import find_image_files
    from nas.train.assessment.predictions import classify_files

    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise NasError(f"top is {top!r:.80}; it must be a whole number of at least 1", "use 1")
    paths = find_image_files(map(Path, images))
    _, classifier = _classifier(checkpoint, train_on)
    return classify_files(classifier, paths, top)
