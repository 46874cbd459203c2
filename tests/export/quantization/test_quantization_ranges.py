"""Tests of the ranges of activations against ONNX Runtime's calibration and against known distributions."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from nas.export.quantization import ranges as module
from nas.export.quantization.graph import observed_tensors
from nas.export.quantization.ranges import METHODS, Observed, observe, ranges_by
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from tests.export.quantization.networks import architecture, problem
from tests.export.quantization.test_quantization_graph import Reader

RNG = np.random.default_rng(0)


def observed(values: "np.typing.NDArray[np.float64]") -> Observed:
    sample = values.astype(np.float32)
    return Observed(float(sample.min()), float(sample.max()), sample)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_the_smallest_and_largest_values_equal_those_of_the_calibration_of_the_runtime(
    activation: str, tmp_path: Path
) -> None:
    made = problem(activation)
    onnx.save(made.graph, tmp_path / "model.onnx")
    calibrator = create_calibrator(
        tmp_path / "model.onnx", None, str(tmp_path / "augmented.onnx"), CalibrationMethod.MinMax
    )
    calibrator.collect_data(Reader(made.images))
    expected = calibrator.compute_data()
    found, read = ranges_by("minmax", observe(made.graph, made.images)), observed_tensors(made.graph)
    assert set(found) == set(read)
    for name, other in read.items():
        np.testing.assert_allclose(found[name], np.ravel(expected[other].range_value), rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_that_does_not_divide_the_images_gives_the_same_ranges() -> None:
    made = problem(images=9)
    fixed = build_graph(whole(architecture()), batch=4)
    for name, limits in ranges_by("minmax", observe(fixed, made.images)).items():
        assert limits == pytest.approx(made.ranges[name], rel=1e-4, abs=1e-5)


def test_the_samples_of_a_tensor_have_a_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED_VALUES", 1000)
    made = problem()
    sizes = [len(each.sample) for each in observe(made.graph, made.images).values()]
    assert max(sizes) <= 1000 + len(made.images)


def test_the_percentile_leaves_out_a_share_of_1e_4_at_each_end() -> None:
    values = np.linspace(-1, 3, 1_000_001)
    assert METHODS["percentile"](observed(values)) == pytest.approx((-1 + 4e-4, 3 - 4e-4), abs=1e-5)


def test_the_entropy_clips_a_far_outlier_and_keeps_the_range_of_uniform_values() -> None:
    normal = np.append(RNG.normal(size=100_000), 40.0)
    low, high = METHODS["entropy"](observed(normal))
    assert 2.5 < high < 20
    assert low >= normal.min() - 1e-5
    uniform = RNG.uniform(0, 5, size=100_000)
    assert METHODS["entropy"](observed(uniform))[1] == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_a_constant_tensor_has_a_range_that_includes_its_value(method: str, value: float) -> None:
    low, high = METHODS[method](observed(np.full(1000, value)))
    assert min(low, 0) <= value <= max(high, 0)
