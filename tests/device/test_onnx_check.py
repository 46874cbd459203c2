"""Tests of the check of ONNX files from elsewhere: what passes, and what is refused before ONNX Runtime reads it."""

import random
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.quant_utils import add_infer_metadata

from nas.arch.code import parse_text
from nas.device.onnx_check import MOST_STRUCTURE_BYTES, CheckedFile, check_onnx
from nas.device.onnx_structure import MOST_FIELDS, structure_bytes
from nas.device.quantize import quantize
from nas.errors import WeightsError
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from tests.device.onnx_files import REFUSED, WEIGHT, Change, classifier, cropped, pooled_classifier

NETWORK = parse_text("net resolution=16 classes=10\nstem conv k3 s2 c8\nmbconv k3 s1 e2 c8 se0.25 silu\nhead pool")


def check(model: onnx.ModelProto, size: tuple[int, int] | None = None, batch: int = 16) -> CheckedFile:
    return check_onnx(model.SerializeToString(), size=size, batch=batch)


def test_the_forms_of_images_are_read() -> None:
    found = check(classifier(("n", 3, 4, 4)))
    assert (found.dtype, found.shape, found.batch, found.classes) == (np.dtype(np.float32), (3, 4, 4), None, 2)
    found = check(classifier((5, 3, "h", "w")), (7, 9))
    assert (found.dtype, found.shape, found.batch, found.classes) == (np.dtype(np.float32), (3, 7, 9), 5, 2)
    found = check(pooled_classifier("n", "any"), (7, 9))
    assert (found.dtype, found.shape, found.batch, found.classes) == (np.dtype(np.uint8), (7, 9, 3), None, 2)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (33, 32), (32, 32)])
def test_a_crop_of_images_of_any_size_passes(size: tuple[int, int]) -> None:
    found = check(cropped(32), size)
    assert (found.shape, found.classes) == ((*size, 3), 2)


def test_graphs_of_networks_pass_in_fp32_and_int8() -> None:
    model = build_graph(whole(NETWORK), batch=2)
    for each in (model, quantize(model)):
        assert {node.domain for node in each.graph.node} <= {"", "ai.onnx"}
        found = check(each)
        assert (found.shape, found.batch, found.classes) == ((3, 16, 16), 2, 10)


def test_an_open_size_is_that_of_the_metadata_or_must_be_stated() -> None:
    model = cropped(32)
    with pytest.raises(WeightsError, match="takes images of any size, and none is stated") as caught:
        check(model)
    assert "--resolution" in caught.value.remedy
    helper.set_model_props(model, {"input_size": "[3, 32, 48]"})
    assert check(model).shape == (32, 48, 3)
    assert check(model, (64, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    "text", ["", "32", "[3]", "[3, 0, 0]", '[3, "a", "b"]', "[3, 1e9, 5]", f"[3, {10**30}, 5]", "[" * 9999, "{}"]
)
def test_a_size_in_the_metadata_that_is_none_is_refused(text: str) -> None:
    model = cropped(32)
    helper.set_model_props(model, {"input_size": text})
    with pytest.raises(WeightsError, match=r"none is stated|has the shape"):
        check(model)


@pytest.mark.parametrize(("change", "message"), REFUSED.items())
def test_what_could_do_harm_or_is_no_classifier_is_refused(change: Change, message: str) -> None:
    model = classifier()
    change(model)
    with pytest.raises(WeightsError, match=message) as caught:
        check(model, (4, 4))
    assert caught.value.remedy


def test_images_that_are_too_large_are_refused() -> None:
    with pytest.raises(WeightsError, match="a tensor has at most") as caught:
        check(pooled_classifier("n", "any"), (10_000, 10_000))
    assert "smaller images" in caught.value.remedy
    assert check(pooled_classifier("n", "any"), (10_000, 10_000), batch=1).shape == (10_000, 10_000, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int64, np.uint64, bool])
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_all_types_are_counted_as_onnx_writes_them(dtype: type, raw: bool) -> None:
    model = classifier()
    array: NDArray[Any] = np.ones((3, 5), dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = array.tobytes() if raw else array.flatten().tolist()
    model.graph.initializer.append(helper.make_tensor("extra", kind, array.shape, values, raw=raw))
    assert check(model).classes == 2
    model.graph.initializer[-1].dims[0] = 4
    with pytest.raises(WeightsError, match="'extra' states the shape"):
        check(model)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_numbers_of_four_bits_are_counted_in_pairs(count: int) -> None:
    model = classifier()
    model.graph.initializer.append(helper.make_tensor("extra", TensorProto.INT4, [count], [1] * count))
    assert check(model).classes == 2


def test_numbers_of_tensors_are_no_structure() -> None:
    small, large = (classifier() for _ in range(2))
    for model, values in ((small, 10), (large, 100_000)):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(values, np.float32), "extra"))
        array = numpy_helper.from_array(np.zeros(values, np.float32))
        model.graph.node.insert(0, helper.make_node("Constant", [], ["constant"], value=array))
    one, other = (structure_bytes(model.SerializeToString()) for model in (small, large))
    assert abs(one - other) < 32  # the numbers that state lengths have more digits
    assert 0 < one < len(small.SerializeToString())


def nested(number: int, content: bytes) -> bytes:
    """Return a field of protobuf with a message in it."""
    length = len(content)
    digits = [length >> shift & 0x7F for shift in (0, 7, 14, 21)]
    return bytes([number << 3 | 2, *(digit | 0x80 for digit in digits[:3]), digits[3]]) + content


EMPTY = bytes(2 * MOST_FIELDS + 2).replace(b"\0\0", b"\x0a\0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nested(7, nested(1, nested(5, EMPTY))), "more than 1,000,000 fields"),
        (nested(7, bytes(2 * MOST_FIELDS + 2)), "more than 1,000,000 fields"),
        (nested(7, nested(13, bytes(MOST_STRUCTURE_BYTES))), "beside the numbers of its tensors"),
        (nested(7, nested(5, nested(7, bytes(MOST_STRUCTURE_BYTES)))), "beside the numbers of its tensors"),
    ],
)
def test_many_small_messages_are_refused_before_they_are_read(content: bytes, message: str) -> None:
    """A file of a few megabytes with empty messages would take gigabytes when it is read."""
    with pytest.raises(WeightsError, match=message):
        check_onnx(classifier().SerializeToString() + content)


DATA = classifier((2, 3, 4, 4)).SerializeToString()


@given(st.binary(max_size=64), st.integers(0, len(DATA)))
def test_damaged_bytes_are_refused_or_still_a_classifier(noise: bytes, cut: int) -> None:
    for damaged in (noise, DATA[:cut], DATA[:cut] + noise + DATA[cut + len(noise) :], DATA[:cut] + noise + DATA[cut:]):
        try:
            checked = check_onnx(damaged, size=(4, 4))
        except WeightsError:
            continue
        assert checked.classes > 0  # the noise hit a name or a weight


@given(st.randoms(use_true_random=True))
@settings(max_examples=30)
def test_files_with_other_bits_are_refused_or_still_a_classifier(rng: random.Random) -> None:
    for _ in range(20):
        damaged = bytearray(DATA)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            assert check_onnx(bytes(damaged), size=(4, 4)).classes > 0
        except WeightsError:
            continue


@given(st.binary(max_size=200))
def test_the_structure_of_random_bytes_is_counted_or_refused(data: bytes) -> None:
    try:
        assert 0 <= structure_bytes(data) <= len(data)
    except ValueError:
        return


def test_metadata_is_kept() -> None:
    model = classifier()
    add_infer_metadata(model)
    assert check(model).metadata
    assert WEIGHT.shape == (3, 2)
