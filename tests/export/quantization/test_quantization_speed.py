"""Tests of the speed-up of an int8 file from the times of rounds in which both files ran."""

import numpy as np
import pytest

from nas.device.machine import Machine
from nas.device.spec import Device
from nas.device.timing import summarize
from nas.export.quantization.speed import speed_up_of
from nas.export.records import Latency

MACHINE = Machine("Some CPU", "avx2", 4, "", "Linux x86_64", "1.32.0")


def rounds(speed_up: float) -> "np.typing.NDArray[np.float64]":
    """Return times in seconds `(rounds, 3)` of the reference, fp32 and int8.

    The speed of the machine drifts by a factor of 2, and the two files are disturbed by 1% apart.
    """
    generator = np.random.default_rng(0)
    drift = np.linspace(1, 2, 50)[:, None]
    noise = generator.normal(1, 0.01, size=(50, 3))
    return np.array([[0.010, 0.008, 0.008 / speed_up]]) * drift * noise


@pytest.mark.parametrize(("speed_up", "worthwhile"), [(2.0, True), (1.1, False), (0.8, False)])
def test_int8_is_recommended_from_a_speed_up_of_1_2(speed_up: float, worthwhile: bool) -> None:
    turns = summarize(rounds(speed_up))
    found = speed_up_of(turns, "Some CPU")
    # The same latencies as everywhere else.
    stated = [Latency.of(turns, index, Device(), MACHINE).milliseconds for index in (0, 1)]
    assert [found.fp32_ms, found.int8_ms] == pytest.approx(stated)
    assert found.value == pytest.approx(speed_up, rel=0.02)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.05 * speed_up
    assert found.worthwhile == worthwhile
    assert ("use the fp32 file" in found.recommendation()) == (not worthwhile)
    assert f"{found.value:.2f} times as fast as fp32 on Some CPU" in found.recommendation()
    assert found.as_json()["worthwhile"] == worthwhile


def test_a_disturbed_measurement_is_said_to_be_one() -> None:
    times = rounds(1.5)
    # In every second round another program stops the fp32 file for a while.
    times[::2, 1] *= np.linspace(1, 20, 25)
    found = speed_up_of(summarize(times), "Some CPU")
    assert 0 < found.low < 1.2 < found.high
    assert "too noisy to say whether it is at least 1.2 times" in found.recommendation()
    calm = speed_up_of(summarize(rounds(1.5)), "Some CPU")
    assert "too noisy" not in calm.recommendation()
