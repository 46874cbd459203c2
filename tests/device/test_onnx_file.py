"""ONNX files of strangers: what is read, what is computed, and what is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from nas.device.onnx_check import MOST_BYTES, OPEN_BATCH
from nas.device.onnx_file import read_onnx
from nas.errors import WeightsError
from tests.device.onnx_files import REFUSED, WEIGHT, Change, classifier, pooled_classifier


def save(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "teacher.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("shape", [("n", 3, 4, 4), (5, 3, 4, 4), ("n", 3, "h", "w"), (1, 3, 4, 4)])
@pytest.mark.parametrize("count", [0, 1, 5, OPEN_BATCH + 1])
def test_logits_are_computed_for_any_number_of_images(shape: tuple[int | str, ...], count: int, tmp_path: Path) -> None:
    network = read_onnx(save(tmp_path, classifier(shape)), resolution=4, threads=1)
    assert (network.input_shape, network.classes) == ((3, 4, 4), 2)
    images = np.random.default_rng(0).random((count, 3, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(network(images), images.mean((2, 3)) @ WEIGHT, rtol=1e-5)


def test_metadata_is_read(tmp_path: Path) -> None:
    model = classifier()
    helper.set_model_props(model, {"classes": '["cat", "dog"]'})
    assert read_onnx(save(tmp_path, model), 4, threads=1).metadata == {"classes": '["cat", "dog"]'}


@pytest.mark.parametrize(("change", "message"), REFUSED.items())
def test_what_could_do_harm_or_is_no_classifier_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    model = classifier()
    change(model)
    path = save(tmp_path, model)
    with pytest.raises(WeightsError, match=message) as raised:
        read_onnx(path, 4, threads=1)
    assert raised.value.problem.startswith(f"{path}: ")
    assert raised.value.remedy


def test_a_network_with_preprocessing_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="only networks of normalized images") as raised:
        read_onnx(save(tmp_path, pooled_classifier("n")), 4, threads=1)
    assert "without preprocessing" in raised.value.remedy


def test_a_file_that_is_too_large_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(WeightsError, match="it is larger than 1,000,000,000 bytes"):
        read_onnx(path, 4)
    with pytest.raises(WeightsError, match="No such file"):
        read_onnx(tmp_path / "missing.onnx", 4)
