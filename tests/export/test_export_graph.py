"""Tests of exported graphs against the torch network, and of their metadata."""

import json

import numpy as np
import onnx
import pytest
import torch

from nas.arch.presets import preset
from nas.device.run_model import run_model
from nas.errors import WeightsError
from nas.export.graph import export_graph
from nas.models.build import build_model
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.stored import parse_network
from nas.weights.tensor_files import TensorFile

CLASSES = ("cat", "dög", "owl")
NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


@pytest.fixture(name="network")
def network_fixture() -> TrainedNetwork:
    torch.manual_seed(0)
    arch = preset("mobilenetv3-small").adapted(resolution=32, classes=3)
    return TrainedNetwork(arch, build_model(arch).state_dict(), CLASSES, NORMALIZATION, {"trained on": "toys"})


@pytest.mark.parametrize("batch", [2, None])
def test_a_graph_with_preprocessing_has_the_logits_of_torch(network: TrainedNetwork, batch: int | None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found = run_model(export_graph(network, batch=batch, preprocessing=True), images)
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        expected = network.module()(NORMALIZATION.apply(pixels)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_graph_without_preprocessing_takes_normalized_images(network: TrainedNetwork) -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    found = run_model(export_graph(network, batch=1, preprocessing=False), images)
    with torch.no_grad():
        expected = network.module()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("preprocessing", [True, False])
def test_the_metadata_states_everything_about_the_network(network: TrainedNetwork, preprocessing: bool) -> None:
    model = export_graph(network, batch=1, preprocessing=preprocessing)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["nas_format"] == "nas-onnx/1"
    assert json.loads(metadata["input_size"]) == [3, 32, 32]
    assert bool(json.loads(metadata["preprocessing"])) is preprocessing
    # The texts are those of weights files, which have a reader.
    read = parse_network(TensorFile(dict(network.tensors), metadata=metadata))
    assert (read.arch, read.classes, read.normalization) == (network.arch, CLASSES, NORMALIZATION)
    assert read.provenance == {"trained on": "toys"}


def test_a_graph_is_the_same_every_time(network: TrainedNetwork) -> None:
    first, second = (export_graph(network, batch=None, preprocessing=True).SerializeToString() for _ in range(2))
    assert first == second


def test_an_unknown_normalization_is_refused(network: TrainedNetwork) -> None:
    bare = TrainedNetwork(network.arch, network.tensors)
    with pytest.raises(WeightsError, match="normalization"):
        export_graph(bare, batch=1, preprocessing=False)
