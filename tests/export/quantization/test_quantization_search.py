"""Tests of the search for an int8 graph on targets that compute exactly, overflow, or refuse types."""

from typing import Any

import attrs
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from nas.device.run_model import run_model
from nas.errors import DataError, DeviceError
from nas.export.product_json import MOST_LINE
from nas.export.quantization.graph import FAST_TYPES, layers_of
from nas.export.quantization.records import (
    Labeled,
    LayerSensitivity,
    Logits,
    Loss,
    QuantizationInputs,
    QuantizationSettings,
)
from nas.export.quantization.search import notes_about, quantize_within
from nas.export.quantization.sensitivity import sensitivities
from nas.noise import quantile
from tests.export.quantization.networks import Problem, problem
from tests.export.quantization.processor import needs_exact

IMAGES = np.zeros((3, 3, 16, 16), np.float32)
ANSWERS = np.zeros(3, np.int64)


def exact(model: onnx.ModelProto, images: NDArray[Any]) -> Logits:
    return run_model(model, images)


def weights_of(model: onnx.ModelProto) -> list[NDArray[Any]]:
    return [numpy_helper.to_array(each) for each in model.graph.initializer if each.name.endswith(".weight_quantized")]


def activation_types(model: onnx.ModelProto) -> set[int]:
    read = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return {each.data_type for each in model.graph.initializer if each.name in read}


def overflowing(model: onnx.ModelProto, images: NDArray[Any]) -> Logits:
    """Compute as a processor without VNNI, on which large weights overflow with unsigned activations."""
    logits = run_model(model, images)
    large = any(each.dtype == np.int8 and np.abs(each.astype(int)).max() > 64 for each in weights_of(model))
    noise = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    return logits + noise * logits.std() if large and TensorProto.UINT8 in activation_types(model) else logits


def test_an_exact_target_gets_8_bit_weights_and_a_stated_loss() -> None:
    needs_exact(FAST_TYPES[0])
    said: list[str] = []
    made = problem("relu6")
    found = quantize_within(made.graph, made.inputs(), exact, max_loss=20, say=said.append)
    assert str(found.settings.types) == "U8S8"
    assert found.within
    assert found.settings.kept == ()
    assert found.settings.fast_in_fp32 == ("stem.conv",)
    assert found.settings.calibration_images == 30
    assert found.accuracy_fp32.value == 1
    judging = made.inputs().judging
    wrong = 1 - judging.correct(run_model(found.model, judging.images)).mean()
    assert found.loss.value == pytest.approx(100 * wrong)
    assert said
    assert found.as_json()["settings"]["types"] == {"activations": "uint8", "weights": "int8", "reduce_range": False}


def test_a_target_that_overflows_gets_7_bit_weights() -> None:
    made = problem("relu6")
    found = quantize_within(made.graph, made.inputs(), overflowing, max_loss=20)
    assert found.settings.reduce_range
    assert max(np.abs(each.astype(int)).max() for each in weights_of(found.model)) <= 64


def test_a_target_that_refuses_unsigned_activations_gets_signed_ones() -> None:
    def signed_only(model: onnx.ModelProto, images: NDArray[Any]) -> Logits:
        if TensorProto.UINT8 in activation_types(model):
            raise DeviceError("uint8 is not supported", "")
        return run_model(model, images)

    made = problem("relu6")
    found = quantize_within(made.graph, made.inputs(), signed_only, max_loss=20)
    assert str(found.settings.types) == "S8S8"


def test_a_target_without_int8_is_an_error_with_its_reason() -> None:
    def fp32_only(model: onnx.ModelProto, images: NDArray[Any]) -> Logits:
        if activation_types(model):
            raise DeviceError("QuantizeLinear is not supported", "")
        return run_model(model, images)

    made = problem()
    with pytest.raises(DeviceError, match="the device runs no int8 graph: QuantizeLinear is not supported"):
        quantize_within(made.graph, made.inputs(), fp32_only, max_loss=1)


def with_far_channel(made: Problem, factor: float = 3000.0) -> Problem:
    """Return the same function with one channel of the second block's expansion that has far larger values.

    ReLU commutes with positive factors, so the depthwise convolution can divide by what the expansion multiplies with.
    """
    graph = onnx.ModelProto()
    graph.CopyFrom(made.graph)
    for constant in graph.graph.initializer:
        values = numpy_helper.to_array(constant).copy()
        if constant.name in ("stages.0.1.expand.weight", "stages.0.1.expand.bias"):
            values[0] *= factor
        elif constant.name == "stages.0.1.depthwise.weight":
            values[0] /= factor
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return attrs.evolve(made, graph=graph)


def test_the_layers_at_a_tensor_with_one_far_channel_are_the_most_sensitive_and_stay_in_fp32() -> None:
    made = with_far_channel(problem(images=150))
    np.testing.assert_allclose(made.logits, problem(images=150).logits, rtol=1e-3, atol=1e-4)
    order = sensitivities(made.graph, made.ranges, layers_of(made.graph), made.images[:40])
    assert {each.layer for each in order[:2]} == {"stages.0.1.expand", "stages.0.1.depthwise"}
    assert order[1].error > 10 * order[2].error
    found = quantize_within(made.graph, made.inputs(), exact, max_loss=8)
    assert {"stages.0.1.expand", "stages.0.1.depthwise"} <= {each.layer for each in found.settings.kept}
    assert len(found.settings.kept) < found.settings.layers - 1
    assert any("stages.0.1.expand" in note for note in found.notes)


def test_a_loss_has_the_paired_interval_of_the_images_on_which_the_answers_differ() -> None:
    fp32, int8 = np.ones(400, bool), np.ones(400, bool)
    int8[:4] = False
    fp32[399] = False
    found = Loss.of(fp32, int8)
    by_image = fp32.astype(float) - int8
    error = np.sqrt((((by_image - by_image.mean()) ** 2).sum() + 1) / 400**2)
    assert found.value == pytest.approx(0.75)
    assert found.high - found.value == pytest.approx(100 * quantile() * error)
    assert not found.resolves(0.5)
    assert found.resolves(3)
    assert found.resolves(-3)


def test_the_number_of_images_that_would_resolve_a_loss() -> None:
    loss = Loss(0.25, -0.75, 1.25, 400)
    # Half the interval is 1 point with 400 images, so it is .25 points with 16 times as many.
    assert loss.images_to_resolve(0.5) == 400 * 16


@pytest.mark.parametrize("missing", ["calibration", "choosing", "judging"])
def test_missing_images_are_an_error_that_names_their_purpose(missing: str) -> None:
    images = {name: Labeled(IMAGES, ANSWERS) for name in ("choosing", "judging")}
    images |= {missing: Labeled(IMAGES[:0], ANSWERS[:0])}
    with pytest.raises(DataError, match=missing):
        QuantizationInputs(IMAGES[:0] if missing == "calibration" else IMAGES, images["choosing"], images["judging"])


def test_at_most_1000_calibration_images_are_taken_from_the_whole_data() -> None:
    inputs = QuantizationInputs(np.arange(2500), (IMAGES, ANSWERS), (IMAGES, ANSWERS))
    taken = inputs.calibration_images()
    assert len(taken) == len(set(taken.tolist())) == 1000
    assert taken[-1] > 2490


def test_the_types_have_short_names() -> None:
    assert [str(each) for each in FAST_TYPES] == ["U8S8", "U8S8 with 7-bit weights"]


def test_a_note_about_many_layers_is_short_enough_for_a_product() -> None:
    kept = tuple(LayerSensitivity(f"stages.{i}.0.depthwise", 1.0) for i in range(150))
    settings = QuantizationSettings("minmax", FAST_TYPES[0], 100, (), kept, 200, ())
    note, _ = notes_about(Loss(0.0, -0.1, 0.1, 1000), settings, 0.5)
    assert len(note) < MOST_LINE
    assert note.startswith("150 of 200 layers stay in fp32")
    assert note.endswith("stages.19.0.depthwise and 130 others.")
