"""Networks that inherit trained weights, and their accuracy before any further training."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.api.training import Say, TrainingOptions
from nas.errors import WeightsError

# torch is an optional package, so what needs it is imported when a function is called.
if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.data.base import ImageData
    from nas.noise import Correct, Difference, Estimate
    from nas.train.prediction import Predictor
    from nas.weights.base import TrainedNetwork


_OLD_STATISTICS = "The batch-norm statistics are those of the source; give images to estimate them again."


@frozen
class AccuracyBefore:
    """Hold the accuracies of a source and of a network that inherited from it, before any further training.

    Attributes:
        images: Number of validation images.
        source: Accuracy of the source with its 95% interval.
        network: Accuracy of the network with its 95% interval.
        difference: Accuracy of the network minus that of the source, on the same images.
    """

    images: int
    source: "Estimate"
    network: "Estimate"
    difference: "Difference"


@frozen(eq=False)
class InheritedNetwork:
    """Hold a network with inherited weights.

    Attributes:
        network: The network: its architecture and weights, with the normalization of the source.
        share: Share of its parameters that come from the source, from 0 to 1.
        exact: Whether it computes the function of the source.
        report: What was inherited, in a few lines, and reasons why the function differs.
        accuracy: Accuracy before any further training; None if it was not measured.
        note: Sentence about the accuracy, such as the reason why it was not measured; "" if there is nothing to say.

    >>> import nas
    >>> arch = nas.load_architecture("mobilenetv2")
    >>> print(nas.inherit_weights(nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict()), arch).report)
    100.0% of the 3,504,872 parameters are inherited (nodes: 53 inherited).
    The network computes the same function as its source.
    """

    network: "TrainedNetwork"
    share: float
    exact: bool
    report: str
    accuracy: AccuracyBefore | None = None
    note: str = ""


@check_arguments
@explain_missing()
def inherit_weights(
    network: "TrainedNetwork",
    arch: "Architecture",
    *,
    data: str | Path | None = None,
    images: int | None = None,
    validation_share: float | None = None,
    train_on: str | None = None,
) -> InheritedNetwork:
    """Return a network with the weights that an architecture can inherit from a trained network.

    Kernels, channels and layers that the architecture has in addition begin so that the function of the source is kept
    where that is possible. What is not kept is reported.

    Args:
        network: The trained network, such as `nas.load_weights` returns it.
        arch: The architecture, such as one that `nas.scale` makes.
        data: Source of images. If it is given, the batch-norm statistics are estimated again on training images where
            the function is not kept exactly, and the accuracy of both networks is measured on the validation split
            where its classes are those of the source.
        images: Number of training images; None takes all of them.
        validation_share: Share of the images that validates; None takes a fifth, or more of a small set.
        train_on: Device that computes, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.

    Returns:
        The network with a report.

    Raises:
        WeightsError: The network is something else, or data is given and the normalization of the network is unknown.
        DataError: The images cannot be read.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small")
    >>> source = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict())
    >>> grown = nas.inherit_weights(source, nas.scale(arch, 1, "depth").architecture)
    >>> grown.exact, round(grown.share, 2)
    (True, 0.72)
    """
    from nas.api.architectures import check_architecture
    from nas.weights.base import TrainedNetwork

    check_architecture(arch)
    if not isinstance(network, TrainedNetwork):
        raise WeightsError(f"{network!r:.200} is not a TrainedNetwork", "get one with nas.load_weights")
    training = None
    if data is not None:
        training = TrainingOptions(str(data), images=images, validation_share=validation_share, train_on=train_on)
    return Inheritance(network, training).network(arch)


@frozen(eq=False)
class Inheritance:
    """Make networks that inherit from one source, and measure their accuracy before any further training.

    Attributes:
        source: The trained network.
        training: Options that name the images and the device; None measures no accuracy.
        say: Function that is called with sentences about the images.
    """

    source: "TrainedNetwork"
    training: TrainingOptions | None = None
    say: Say = lambda _message: None
    _validation: "_Validation | None" = field(init=False, repr=False)

    @_validation.default
    def _make_validation(self) -> "_Validation | None":
        return None if self.training is None else _Validation(self.source, self.training, self.say)

    def network(self, arch: "Architecture") -> InheritedNetwork:
        """Return a network with the weights that the architecture inherits from the source.

        Raises:
            NasError: The images cannot be read, or do not fit the network.
        """
        from nas.weights.base import TrainedNetwork
        from nas.weights.inheritance import inherit
        from nas.weights.normalizations import with_channels

        source = self.source
        inherited = inherit(source.arch, source.tensors, arch)
        if inherited.report.notes and self._validation is not None:
            # The notes are about gates that are removed, whose means are measured on images.
            inherited = inherit(source.arch, source.tensors, arch, gate_means=self._validation.gate_means)
        report = inherited.report
        network = TrainedNetwork(
            arch,
            inherited.tensors,
            source.classes if arch.classes == source.arch.classes else None,
            source.normalization and with_channels(source.normalization, arch.in_channels),
            {**source.provenance, "inherited": f"{report.share:.1%} of the parameters, {_kept(report.exact)}"},
        )
        note = "" if report.exact or self._validation is not None else _OLD_STATISTICS
        found = InheritedNetwork(network, report.share, report.exact, report.describe(), note=note)
        return found if self._validation is None else self._validation.measured(found)


@frozen(eq=False)
class _Validation:
    """Measure the accuracy of networks that inherited from one source.

    Attributes:
        source: The trained network, whose normalization must be known.
        training: Options that name the images and the device.
        say: Function that is called with sentences about the images.
    """

    source: "TrainedNetwork"
    training: TrainingOptions
    say: Say
    # The images of the resolution that was used last, since each resolution needs a copy of them.
    _held: "dict[tuple[int, int], ImageData]" = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._predictor(self.source)  # raises here, and not after the images were read

    def measured(self, found: InheritedNetwork) -> InheritedNetwork:
        """Return a network with new batch-norm statistics if it needs them, and with its accuracy if it has one."""
        data = self._images(found.network.arch)
        if not found.exact:
            found = self._with_statistics(found, data)
        reason = self._other_classes(found.network.arch, data)
        if reason:
            return attrs.evolve(found, note=reason)
        network = found.network
        correct = self._predictor(network).correct(network.module(), data.val)
        return attrs.evolve(found, accuracy=_compare(self._source_correct, correct), note=self._assumption(data))

    def _with_statistics(self, found: InheritedNetwork, data: "ImageData") -> InheritedNetwork:
        network = found.network
        model = network.module()
        count = self._predictor(network).re_estimate(model, data.train)
        text = f"estimated again on {count:,} training images of {data.name}"
        tensors = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
        provenance = {**network.provenance, "batch-norm statistics": text}
        network = attrs.evolve(network, tensors=tensors, provenance=provenance)
        return attrs.evolve(found, network=network, report=f"{found.report}\nThe batch-norm statistics were {text}.")

    def _other_classes(self, arch: "Architecture", data: "ImageData") -> str:
        """Return the reason why the labels of the images say nothing about the logits of a network, or ""."""
        own, names = self.source.arch.classes, self.source.classes
        unmeasured = "so no accuracy can be measured before the network is trained"
        if arch.classes != own:
            return f"The network has {arch.classes:,} classes and its source {own:,}, {unmeasured}."
        if data.num_classes != own:
            return f"{data.name} has {data.num_classes:,} classes and the source {own:,}, {unmeasured}."
        if names is not None and names != data.classes:
            theirs, ours = next(pair for pair in zip(names, data.classes, strict=True) if pair[0] != pair[1])
            return f"{data.name} has a class {ours!r} where the source has {theirs!r}, {unmeasured}."
        return ""

    def _assumption(self, data: "ImageData") -> str:
        if self.source.classes is not None:
            return ""
        return f"The names of the source's classes are unknown; they count as those of {data.name} in the same order."

    def _images(self, arch: "Architecture") -> "ImageData":
        from nas.data.load import load_images

        form = arch.resolution, arch.in_channels
        if form not in self._held:
            self._held.clear()
            data = self._held[form] = load_images(
                self.training.data,
                resolution=arch.resolution,
                channels=arch.in_channels,
                images=self.training.images,
                validation_share=self.training.validation_share,
            )
            for note in data.notes:
                self.say(f"{data.name}: {note}")
        return self._held[form]

    def _predictor(self, network: "TrainedNetwork") -> "Predictor":
        from nas.train.device import find_device
        from nas.train.prediction import Predictor

        if network.normalization is None:
            raise WeightsError(
                "the normalization of the images of the source is unknown, so no images can be given to it",
                "give it: --normalization imagenet, 0..1, -1..1 or MEAN/STD, or normalization= of nas.load_weights",
            )
        return Predictor(network.normalization, find_device(self.training.train_on))

    @cached_property
    def gate_means(self) -> Mapping[str, Any]:
        """Return the mean of every channel of each gate of the source over training images, by the layer's name."""
        return self._predictor(self.source).gate_means(self.source.module(), self._images(self.source.arch).train)

    @cached_property
    def _source_correct(self) -> "Correct":
        return self._predictor(self.source).correct(self.source.module(), self._images(self.source.arch).val)


def _kept(exact: bool) -> str:
    return "and the function of the source is kept" if exact else "and the function of the source is approximated"


def _compare(source: "Correct", network: "Correct") -> AccuracyBefore:
    from nas.noise import ValidationSplit, difference, estimate

    # The rate of chance is not used for intervals.
    split = ValidationSplit(len(network), 0.0, float(len(network)))
    rates = float(source.mean()), float(network.mean())
    before, after = (estimate(rate, split.standard_error(rate)) for rate in rates)
    return AccuracyBefore(len(network), before, after, difference([network], [source]))
