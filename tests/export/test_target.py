"""Tests of running exported files on a device, with a device that counts its requests."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.device.logits import DeviceLogits
from nas.device.model_file import ModelFile
from nas.device.timing import Aim, Turns, summarize
from nas.export import target
from nas.export.inputs import InputForm, generated_images
from nas.export.target import Target, smallest_peak
from tests.api.test_export import network

FILE = ModelFile("model.onnx", b"a file")


class Counting:
    """Return the sums of the pixels of images as their logits, and count the images."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def logits(self, _model: ModelFile, images: NDArray[Any]) -> DeviceLogits:
        self.counts.append(len(images))
        sums = images.reshape(len(images), -1).sum(1, dtype=np.float32)
        return DeviceLogits(np.stack([sums, -sums], 1), 1, "CPUExecutionProvider")


def test_logits_are_computed_once_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Counting()
    runner = Target(device)  # type: ignore[arg-type]
    form = InputForm(network(), preprocess=True)
    images = generated_images(network(), 7)
    inputs = form.inputs(images)
    monkeypatch.setattr(target, "MOST_BYTES", 3 * inputs[0].nbytes)
    found = runner.logits(FILE, form, images)
    np.testing.assert_array_equal(found[:, 0], inputs.reshape(7, -1).sum(1))
    assert device.counts == [3, 3, 1]
    np.testing.assert_array_equal(runner.run_file(FILE, inputs), found)
    assert device.counts == [3, 3, 1]
    runner.run_file(ModelFile("other.onnx", b"another file"), inputs)
    runner.run_file(FILE, inputs[::-1])
    assert device.counts == [3, 3, 1] * 3


def test_the_memory_of_known_logits_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Counting()
    runner = Target(device)  # type: ignore[arg-type]
    inputs = InputForm(network(), preprocess=True).inputs(generated_images(network(), 4))
    monkeypatch.setattr(
        target, "MOST_KNOWN_BYTES", 2 * 4 * 2 * 4
    )  # two times the logits of four images for two classes
    first, second, third = (ModelFile(f"{name}.onnx", name.encode()) for name in "abc")
    for file in (first, second, first, third, first):
        runner.run_file(file, inputs)
    assert len(device.counts) == 3
    runner.run_file(second, inputs)  # unused for longest
    assert len(device.counts) == 4


class Sessions:
    """Time one file in sessions of different lengths, each of which is slower or faster as a whole."""

    def __init__(self) -> None:
        self.factors = [1.0, 1.1, 0.9, 1.2, 0.8]
        self.lengths = [30, 20, 50, 40, 25]

    def measure(self, _files: list[ModelFile], _aim: Aim) -> Turns:
        factor, length = self.factors.pop(), self.lengths.pop()
        return summarize(np.array([[0.001, 0.002 * factor]] * length))


def test_the_standard_error_is_that_of_the_differences_between_sessions() -> None:
    (timing,) = Target(Sessions()).measure([FILE]).timings  # type: ignore[arg-type]
    assert timing.repeats == 5 * 20
    assert timing.ratio == pytest.approx(2.0)
    # Of the five factors, whose median is 1.
    assert timing.spread == pytest.approx(np.std([1.0, 1.1, 0.9, 1.2, 0.8], ddof=1) / 5**0.5, rel=1e-4)


class Peaks:
    """Report peaks of memory as processes of one file had them, in bytes."""

    def __init__(self, peaks: list[int | None]) -> None:
        self.peaks = iter(peaks)

    def logits(self, _model: ModelFile, images: NDArray[Any]) -> DeviceLogits:
        return DeviceLogits(np.zeros((len(images), 2), np.float32), next(self.peaks), "CPUExecutionProvider")


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ([44, 26, 37, 26, 37], 26),
        ([37, 37, 37, 37, 26], 26),
        ([None] * 5, None),
        ([26, None, 26, 26, 26], None),
    ],
)
def test_the_peak_memory_is_the_smallest_of_several_processes(peaks: list[int | None], expected: int | None) -> None:
    inputs = np.zeros((1, 8, 8, 3), np.uint8)
    assert smallest_peak(Peaks(peaks), FILE, inputs) == expected  # type: ignore[arg-type]
