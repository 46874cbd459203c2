"""The search for an int8 graph that loses no more accuracy on the device than is allowed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import onnx
from attrs import field, frozen
from numpy.typing import NDArray

from nas.errors import DeviceError, DeviceLostError
from nas.export.quantization.graph import (
    FAST_TYPES,
    SLOW_TYPES,
    Range,
    Types,
    layers_of,
    quantize_graph,
    short_first_layer,
)
from nas.export.quantization.ranges import METHODS, observe, ranges_by
from nas.export.quantization.records import (
    Accuracy,
    Attempt,
    LayerSensitivity,
    Logits,
    Loss,
    QuantizationInputs,
    QuantizationSettings,
    QuantizedModel,
    Run,
)
from nas.export.quantization.sensitivity import divergences, sensitivities
from nas.noise import Correct, difference

__all__ = ["QuantizationInputs", "quantize_with_ranges", "quantize_within"]

Say = Callable[[str], None]
# A slower type is chosen only where its divergence from fp32 is below this share of that of a faster type. The overflow
# of U8S8 without VNNI has a larger effect, and the eighth bit of a weight a smaller one.
_MUCH_BETTER = 0.5
# Methods whose divergence is below this multiple of the smallest one are compared again with the chosen types.
_SIMILAR = 1.5
MOST_NAMED = 20  # layers in a note


@frozen(eq=False, slots=False)
class Candidate:
    """Hold an int8 graph with its logits for the choosing images on the device.

    Attributes:
        model: The graph.
        types: Types of weights and activations.
        method: Method of the ranges.
        kept: Layers that are in fp32 for the sake of the accuracy.
        correct: Which choosing images are classified correctly `(N,)`.
        divergence: Divergence of the probabilities of each image `(N,)` from those of fp32.
    """

    model: onnx.ModelProto = field(repr=False)
    types: Types
    method: str
    kept: tuple[LayerSensitivity, ...]
    correct: Correct
    divergence: NDArray[np.float64]

    @cached_property
    def accuracy(self) -> float:
        """Return the accuracy on the choosing images."""
        return float(self.correct.mean())

    @cached_property
    def mean_divergence(self) -> float:
        """Return the mean divergence on the choosing images."""
        return float(self.divergence.mean())

    def attempt(self) -> Attempt:
        """Return the record of the candidate."""
        return Attempt(str(self.types), self.method, len(self.kept), self.accuracy, self.mean_divergence)


@frozen(eq=False)
class _Trials:
    """Make int8 graphs of one network, and measure them on the device.

    Attributes:
        model: Graph in fp32.
        inputs: Images.
        run: Function that returns logits on the device.
        ranges: Ranges of the activations by method.
        layers: Names of the nodes of each layer that may be quantized.
        reference: Logits of the fp32 graph for the choosing images on the device.
        done: All candidates so far.
        tried: Types that were tried.
    """

    model: onnx.ModelProto
    inputs: QuantizationInputs
    run: Run
    ranges: Mapping[str, Mapping[str, Range]]
    layers: Mapping[str, Sequence[str]]
    reference: Logits
    done: list[Candidate] = field(factory=list)
    tried: set[Types] = field(factory=set)

    def make(self, types: Types, method: str, kept: Sequence[LayerSensitivity] = ()) -> Candidate:
        """Return a candidate with its results on the device."""
        left_out = {each.layer for each in kept}
        nodes = {name for layer, names in self.layers.items() if layer not in left_out for name in names}
        model = quantize_graph(self.model, self.ranges[method], types, nodes)
        logits = self.run(model, self.inputs.choosing.images)
        correct = self.inputs.choosing.correct(logits)
        made = Candidate(model, types, method, tuple(kept), correct, divergences(self.reference, logits))
        self.done.append(made)
        return made

    def attempt(self, types: Types, method: str, errors: list[DeviceError]) -> Candidate | None:
        """Return a candidate, or None if the device does not run it; the error is then added to `errors`."""
        self.tried.add(types)
        try:
            return self.make(types, method)
        except DeviceLostError:
            raise
        except DeviceError as error:
            errors.append(error)
            return None

    def loss(self, candidate: Candidate) -> Loss:
        """Return the loss of a candidate on the choosing images."""
        return Loss.of(self.inputs.choosing.correct(self.reference), candidate.correct)


def quantize_within(
    model: onnx.ModelProto, inputs: QuantizationInputs, run: Run, *, max_loss: float, say: Say = lambda _: None
) -> QuantizedModel:
    """Return an int8 graph whose loss of accuracy on the device is at most `max_loss`, or the nearest one.

    The types are those that the device computes accurately, the method of the ranges is the one with the most accurate
    results, and if the loss on the choosing images is larger than allowed, as many of the most sensitive layers as
    needed stay in fp32. The loss is then stated on the judging images.

    Args:
        model: Graph in fp32, with any batch.
        inputs: Images for calibration, for choosing and for judging.
        run: Function that returns the logits of a graph on the target device.
        max_loss: Largest loss in points (percent of the images).
        say: Function that is called with sentences about the progress.

    Raises:
        DataError: There are no images for one of the purposes.
        DeviceError: The device runs no int8 graph.
    """
    images = inputs.calibration_images()
    say(f"int8: the ranges of the activations are taken from {len(images)} training images")
    observed = observe(model, images)
    return quantize_with_ranges(
        model, inputs, run, {name: ranges_by(name, observed) for name in METHODS}, max_loss=max_loss, say=say
    )


def quantize_with_ranges(
    model: onnx.ModelProto,
    inputs: QuantizationInputs,
    run: Run,
    ranges: Mapping[str, Mapping[str, Range]],
    *,
    max_loss: float,
    compared: onnx.ModelProto | None = None,
    say: Say = lambda _: None,
) -> QuantizedModel:
    """Return an int8 graph as `quantize_within` does, given the ranges of the activations.

    Args:
        model: Graph in fp32.
        inputs: Images for choosing and for judging.
        run: Function that returns the logits of a graph on the target device.
        ranges: Ranges by method, of which the most accurate one is taken.
        max_loss: Largest loss in points.
        compared: Graph in fp32 to which the loss refers; by default `model`. Another one has the same classes.
        say: Function that is called with sentences about the progress.
    """
    compared = model if compared is None else compared
    fast = short_first_layer(model)
    layers = {name: nodes for name, nodes in layers_of(model).items() if name not in fast}
    trials = _Trials(model, inputs, run, ranges, layers, run(compared, inputs.choosing.images))
    whole = chosen = _choose(trials, max_loss, say)
    if trials.loss(chosen).value > max_loss:
        say(f"int8: the loss on the choosing images is {trials.loss(chosen)}, and at most {max_loss:g} is allowed")
        order = sensitivities(model, ranges[chosen.method], layers, inputs.choosing.images, say=say)
        chosen = _keep_most_sensitive(trials, chosen, order, max_loss, say)
    settings = QuantizationSettings(
        method=chosen.method,
        types=chosen.types,
        calibration_images=len(inputs.calibration_images()),
        fast_in_fp32=fast,
        kept=chosen.kept,
        layers=len(layers) + len(fast),
        attempts=tuple(each.attempt() for each in trials.done),
    )
    fp32, int8 = (inputs.judging.correct(run(each, inputs.judging.images)) for each in (compared, chosen.model))
    loss = Loss.of(fp32, int8)
    return QuantizedModel(
        model=chosen.model,
        whole=whole.model,
        settings=settings,
        loss=loss,
        choosing_loss=trials.loss(chosen),
        accuracy_fp32=Accuracy.of(fp32),
        accuracy_int8=Accuracy.of(int8),
        max_loss=max_loss,
        notes=tuple(notes_about(loss, settings, max_loss)),
    )


def _choose(trials: _Trials, max_loss: float, say: Say) -> Candidate:
    """Return the candidate with the most accurate method, and with types that the device computes accurately.

    The methods are compared with types that never overflow. Types that run slowly are tried only where the loss of the
    others is too large.
    """
    method, *others = trials.ranges
    errors: list[DeviceError] = []
    safe = next(
        (found for types in (*FAST_TYPES[::-1], *SLOW_TYPES) if (found := trials.attempt(types, method, errors))), None
    )
    if safe is None:
        raise DeviceError(
            f"the device runs no int8 graph: {errors[0].problem}",
            "export with --format onnx, or update ONNX Runtime on the device",
        )
    by_method = [safe, *(trials.make(safe.types, each) for each in others)]
    chosen = most_accurate(by_method)
    fast = [trials.attempt(types, chosen.method, errors) for types in FAST_TYPES if types not in trials.tried]
    chosen = most_accurate([chosen, *(each for each in fast if each)])
    if trials.loss(chosen).value > max_loss:
        for types in SLOW_TYPES:
            slow = None if types in trials.tried else trials.attempt(types, chosen.method, errors)
            chosen = slow if slow and _is_much_better(slow, chosen) else chosen
    if chosen.types != safe.types:
        # The rounding of the weights to 7 bits may hide a small difference of two methods.
        limit = _SIMILAR * min(each.mean_divergence for each in by_method)
        again = [each.method for each in by_method if each.mean_divergence < limit and each.method != chosen.method]
        chosen = most_accurate([chosen, *(trials.make(chosen.types, each) for each in again)])
    for error in errors:
        say(f"int8: the device does not run all types: {error.problem}")
    accuracy = f"an accuracy of {chosen.accuracy:.2%} on the choosing images"
    say(f"int8: the types {chosen.types} with the method {chosen.method} have {accuracy}")
    return chosen


def _is_much_better(other: Candidate, candidate: Candidate) -> bool:
    gain = difference([other.correct], [candidate.correct])
    return (gain.value > 0 and gain.is_clear()) or (
        other.mean_divergence < _MUCH_BETTER * candidate.mean_divergence and gain.value >= 0
    )


def most_accurate(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the smallest divergence among those that are not clearly less accurate than the best.

    The accuracies on a few hundred images cannot distinguish the methods, and the divergence of the probabilities can.
    """
    best = max(candidates, key=lambda each: (each.accuracy, -each.mean_divergence))
    ties = [each for each in candidates if not difference([best.correct], [each.correct]).is_clear()]
    return min(ties, key=lambda each: each.mean_divergence)


def _keep_most_sensitive(
    trials: _Trials, chosen: Candidate, order: Sequence[LayerSensitivity], max_loss: float, say: Say
) -> Candidate:
    """Return the candidate with the fewest of the most sensitive layers in fp32 whose loss is allowed.

    The number of layers is doubled until the loss is allowed, and then found by bisection. The accuracy on a few
    hundred images is noisy, and a bisection of all layers could leave half of them in fp32 by chance.
    """
    too_few, enough = 0, len(order)
    found: Candidate | None = None
    while enough - too_few > 1:
        count = (too_few + enough) // 2 if found else min(max(1, 2 * too_few), enough - 1)
        candidate = trials.make(chosen.types, chosen.method, order[:count])
        loss = trials.loss(candidate)
        say(f"int8: with {count} of {len(order)} layers in fp32 the loss on the choosing images is {loss}")
        if loss.value <= max_loss:
            enough, found = count, candidate
        else:
            too_few = count
    return found or trials.make(chosen.types, chosen.method, order)


def notes_about(loss: Loss, settings: QuantizationSettings, max_loss: float) -> list[str]:
    """Return sentences for the user about the layers in fp32, and about the loss on the judging images."""
    notes = []
    if settings.kept:
        # The report has all of them, and a sentence about a hundred layers is not read.
        others = len(settings.kept) - MOST_NAMED
        names = ", ".join(each.layer for each in settings.kept[:MOST_NAMED])
        names += f" and {others} others" if others > 0 else ""
        notes.append(
            f"{len(settings.kept)} of {settings.layers} layers stay in fp32, because int8 loses too much accuracy in "
            f"them: {names}."
        )
    if not loss.resolves(max_loss):
        notes.append(
            f"The int8 loss is {loss}. These images are too few to say whether it is at most {max_loss:g} points; "
            f"about {loss.images_to_resolve(max_loss):,} images would be needed."
        )
    elif loss.value > max_loss:
        notes.append(f"The int8 loss is {loss}, which is more than the {max_loss:g} points that are allowed.")
    else:
        notes.append(f"The int8 loss is {loss}; at most {max_loss:g} points are allowed.")
    return notes
