"""Tests of logits that are computed in this process."""

import numpy as np
import pytest

from nas.device.run_model import run_model
from nas.errors import DeviceError
from tests.device.onnx_files import expected_logits, pooled_classifier, random_images


@pytest.mark.parametrize("batch", [1, 2, 5, 64, "batch"])
@pytest.mark.parametrize("count", [1, 7, 33])
def test_images_are_split_into_batches_and_the_last_one_is_padded(batch: int | str, count: int) -> None:
    images = random_images(count)
    model = pooled_classifier(batch)
    expected = expected_logits(images)
    for given in (model, model.SerializeToString()):
        logits = run_model(given, images)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_open_sizes_take_images_of_any_size() -> None:
    images = random_images(3, 9)
    np.testing.assert_allclose(
        run_model(pooled_classifier("batch", "size"), images), expected_logits(images), rtol=1e-5
    )


def test_wrong_images_are_one_clear_error() -> None:
    with pytest.raises(DeviceError, match="cannot run the network on a batch of 16"):
        run_model(pooled_classifier(16), random_images(2, 5))
    with pytest.raises(DeviceError, match="cannot run"):
        run_model(pooled_classifier(1), random_images(2).astype(np.float32))
    with pytest.raises(DeviceError, match="no images"):
        run_model(pooled_classifier(1), random_images(0))
    with pytest.raises(DeviceError, match="ONNX Runtime rejects the network"):
        run_model(b"no model", random_images(1))
