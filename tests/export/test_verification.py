import math

import attrs
import numpy as np
import pytest

from nas.device.spec import Device
from nas.export.records import Accuracy
from nas.export.verification import (
    DIFFERS,
    NOT_COMPARED,
    NOT_MEASURED,
    SAME,
    compare_accuracy,
    compare_latency,
    compare_memory,
)
from tests.export.products import accuracy, latency


def of(correct: list[bool], digest: str = "0" * 64) -> Accuracy:
    labels = np.zeros(len(correct), dtype=np.int64)
    return Accuracy.of(np.array(correct), labels, 1, data="photos", split="test", images_digest=digest)


def test_equal_answers_are_the_same() -> None:
    check = compare_accuracy("model.onnx", accuracy(27), accuracy(27))
    assert (check.outcome, check.change) == (SAME, 0)
    # With one changed image more and one less, no agreement of few images is certain: 1.96 · sqrt(1) / 30.
    assert check.high == pytest.approx(1.95996 / 30, abs=1e-4)


def test_a_few_changed_answers_are_noise_and_many_in_one_direction_are_not() -> None:
    before = [True] * 80 + [False] * 20
    balanced = [False] * 2 + [True] * 80 + [False] * 18  # two lost, two gained
    worse = [False] * 12 + [True] * 68 + [False] * 20
    same = compare_accuracy("m", of(before), of(balanced))
    assert same.outcome == SAME
    assert same.change == pytest.approx(0)
    assert same.note == "4 of 100 images are classified differently"
    differs = compare_accuracy("m", of(before), of(worse))
    # McNemar: 12 lost of 100; sqrt(12 · (1 - .12) + 1) / 100 is the standard error.
    half = 1.95996 * math.sqrt(12 * 0.88**2 + 88 * 0.12**2 + 1) / 100
    assert differs.outcome == DIFFERS
    assert differs.change == pytest.approx(-0.12)
    assert differs.low == pytest.approx(-0.12 - half, abs=1e-4)
    assert differs.high == pytest.approx(-0.12 + half, abs=1e-4)


@pytest.mark.parametrize(
    "stored", [of([True] * 50, "1" * 64), attrs.evolve(of([True] * 50), packed=""), of([True] * 50, "")]
)
def test_figures_of_other_images_are_not_compared(stored: Accuracy) -> None:
    check = compare_accuracy("m", stored, of([False] * 50))
    assert (check.outcome, check.change, check.stored, check.found) == (NOT_COMPARED, None, 1.0, 0.0)


@pytest.mark.parametrize(("ratio", "outcome"), [(2.0, SAME), (2.1, SAME), (1.9, SAME), (2.4, DIFFERS), (1.6, DIFFERS)])
def test_latencies_are_compared_as_multiples_of_the_reference(ratio: float, outcome: str) -> None:
    check = compare_latency("m", latency(2.0), latency(ratio))
    error = math.sqrt(2 * 0.01**2 + 2 * 0.03**2)
    assert check.outcome == outcome
    assert check.change == pytest.approx(ratio / 2)
    assert check.low is not None
    assert check.low == pytest.approx(ratio / 2 * math.exp(-1.95996 * error), rel=1e-4)


def test_latencies_of_another_device_are_not_compared() -> None:
    found = latency(9.0)
    for other in (
        attrs.evolve(found, device=Device(threads=4)),
        attrs.evolve(found, machine=attrs.evolve(found.machine, cpu="another")),
    ):
        check = compare_latency("m", latency(2.0), other)
        assert (check.outcome, check.change) == (NOT_COMPARED, None)
        assert "another device: cpu on CPU 9/8/7 with ONNX Runtime 1.32.0" in check.note
    # Another number of cores is no other kind of machine.
    cores = attrs.evolve(found, machine=attrs.evolve(found.machine, cores=64))
    assert compare_latency("m", latency(2.0), cores).outcome == DIFFERS


def test_a_disturbed_machine_gives_no_outcome_against_a_file() -> None:
    noisy = attrs.evolve(latency(3.0), noise=0.2)
    assert compare_latency("m", latency(2.0), noisy).outcome == NOT_MEASURED
    assert compare_latency("m", latency(2.0), attrs.evolve(noisy, timing=latency(2.0).timing)).outcome == SAME


@pytest.mark.parametrize(
    ("stored", "found", "same_device", "outcome"),
    [
        (100, 110, True, SAME),
        (100, 130, True, DIFFERS),
        (100, 70, True, DIFFERS),
        (100, 300, False, NOT_COMPARED),
        (None, 300, True, NOT_COMPARED),
        (0, 300, True, NOT_COMPARED),
        (100, None, True, NOT_MEASURED),
    ],
)
def test_memory(stored: int | None, found: int | None, same_device: bool, outcome: str) -> None:
    assert compare_memory("m", stored, found, same_device=same_device).outcome == outcome
