"""Contract tests of meters, which run for every meter."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest

from nas.device.client import Meter, ModelFile
from nas.device.machine import Machine
from nas.device.spec import Device
from nas.device.timing import Turns
from nas.errors import DeviceError
from nas.graph.build import build_graph
from tests.device.networks import HUGE, LARGE, QUICK, SMALL
from tests.device.onnx_files import expected_logits, pooled_classifier, random_images

FILE = ModelFile("classifier.onnx", pooled_classifier("n", "any").SerializeToString())


def check(turns: Turns, count: int) -> None:
    """Require valid times for `count` networks and for the reference."""
    assert len(turns.timings) == count
    for timing in (*turns.timings, turns.reference):
        assert 0 < timing.min_ms <= timing.median_ms <= timing.p95_ms < math.inf
        assert timing.ratio > 0
        assert timing.spread >= 0
        assert timing.repeats == QUICK.least
    assert turns.reference.ratio == 1


class MeterContract:
    """Test a meter. A subclass defines the fixture `meter` with class scope."""

    def test_it_says_what_it_measures_on(self, meter: Meter) -> None:
        assert isinstance(meter.device, Device)
        assert isinstance(meter.machine, Machine)
        kind = meter.machine.kind
        meter.measure([SMALL], QUICK)
        assert meter.machine.kind == kind

    def test_there_is_a_time_for_every_network_in_order(self, meter: Meter) -> None:
        for networks in ([SMALL], [SMALL, LARGE], [LARGE, SMALL, SMALL]):
            turns = meter.measure(networks, QUICK)
            check(turns, len(networks))
            if len(networks) > 1:
                first, second = turns.timings[:2]
                assert (first.ratio < second.ratio) == (networks[0] is SMALL)

    def test_batches_come_in_their_order(self, meter: Meter) -> None:
        counts = (1, 3, 2, 1, 2)
        for turns, count in zip(meter.measure_each([[SMALL] * n for n in counts], QUICK), counts, strict=True):
            check(turns, count)

    def test_no_batches_are_no_work(self, meter: Meter) -> None:
        assert list(meter.measure_each([], QUICK)) == []

    def test_a_refusal_is_an_error_and_the_next_one_is_measured(self, meter: Meter) -> None:
        for _ in range(3):
            with pytest.raises(DeviceError, match="are allowed"):
                meter.measure([SMALL, HUGE], QUICK)
        check(meter.measure([SMALL], QUICK), 1)

    def test_a_batch_that_is_refused_is_told_in_its_turn(self, meter: Meter) -> None:
        each = iter(meter.measure_each([[SMALL], [HUGE], [SMALL]], QUICK))
        check(next(each), 1)
        with pytest.raises(DeviceError, match="are allowed"):
            next(each)
        check(meter.measure([SMALL], QUICK), 1)

    def test_fragments_and_files_are_timed_together(self, meter: Meter) -> None:
        file = ModelFile("small.onnx", build_graph(SMALL).SerializeToString())
        turns = meter.measure([file, LARGE, file], QUICK)
        check(turns, 3)
        assert turns.timings[0].ratio < turns.timings[1].ratio > turns.timings[2].ratio
        assert turns.ratio(1, 0).value > 1

    def test_logits_are_those_of_the_file(self, meter: Meter) -> None:
        images = random_images(19, 5)
        found = meter.logits(FILE, images)
        np.testing.assert_allclose(found.logits, expected_logits(images), rtol=1e-5)
        assert found.logits.dtype == np.float32
        assert found.provider == meter.device.provider
        assert found.peak_bytes is None or 0 < found.peak_bytes < 2**30

    def test_a_file_that_is_refused_is_an_error_and_the_next_one_runs(self, meter: Meter) -> None:
        model = pooled_classifier("n", "any")
        model.graph.node[0].domain = "com.example"
        bad = ModelFile("bad.onnx", model.SerializeToString())
        with pytest.raises(DeviceError, match=r"bad\.onnx: .* only operators of ONNX"):
            meter.logits(bad, random_images(1, 5))
        with pytest.raises(DeviceError, match=r"bad\.onnx: .* only operators of ONNX"):
            meter.measure([SMALL, bad], QUICK)
        with pytest.raises(DeviceError, match="one or more images"):
            meter.logits(FILE, random_images(0, 5))
        assert len(meter.logits(FILE, random_images(1, 5)).logits) == 1

    def test_nothing_is_no_network(self, meter: Meter) -> None:
        with pytest.raises(DeviceError):
            meter.measure([], QUICK)

    def test_one_may_stop_early(self, meter: Meter) -> None:
        for turns in islice(meter.measure_each([[SMALL]] * 50, QUICK), 2):
            check(turns, 1)
        check(meter.measure([SMALL, SMALL], QUICK), 2)

    def test_threads_get_what_one_thread_gets(self, meter: Meter) -> None:
        with ThreadPoolExecutor(4) as threads:
            for count, turns in enumerate(threads.map(lambda n: meter.measure([SMALL] * n, QUICK), range(1, 7)), 1):
                check(turns, count)
