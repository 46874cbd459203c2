"""ONNX files of trained networks, with what is known about the network as their metadata."""

import json
from collections.abc import Mapping

import onnx
from onnx import helper

from nas.device.model_file import ModelFile
from nas.errors import WeightsError
from nas.graph.build import Operators, build_graph
from nas.graph.fragment import whole
from nas.graph.preprocessing import only_preprocessing, with_preprocessing
from nas.graph.weights import folded_weights
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.stored import FORMAT_KEY, describe_network

FORMAT = "nas-onnx/1"
STEPS = ("center crop to a square", "bilinear resize with antialiasing", "normalization")


def known_normalization(network: TrainedNetwork) -> Normalization:
    """Return the normalization of the images of a network.

    Raises:
        WeightsError: It is unknown.
    """
    if network.normalization is None:
        raise WeightsError(
            "the normalization of the images of the network is unknown, and an exported file must state it",
            "save it with its normalization: nas weights SOURCE --normalization imagenet --save FILE",
        )
    return network.normalization


def as_file(model: onnx.ModelProto, name: str = "model.onnx") -> ModelFile:
    """Return a model as a file, which is the same every time; `model_of` is the inverse."""
    return ModelFile(name, model.SerializeToString(deterministic=True))


def model_of(file: ModelFile) -> onnx.ModelProto:
    """Return the model of a file that `as_file` made."""
    return onnx.load_model_from_string(file.data)


def preprocessing_file(file: ModelFile) -> ModelFile:
    """Return the preprocessing of a file alone; see `nas.graph.preprocessing.only_preprocessing`."""
    return as_file(only_preprocessing(model_of(file)), "preprocessing.onnx")


def export_graph(
    network: TrainedNetwork, batch: int | None, preprocessing: bool, operators: Operators | None = None
) -> onnx.ModelProto:
    """Return the ONNX file of a trained network, which has passed the checker of ONNX.

    Args:
        network: The network; the normalization of its images must be known.
        batch: Number of images of one run; None leaves it open.
        preprocessing: Whether the input is uint8 images of any size; otherwise it is normalized images.
        operators: Operators of the graph; None takes those of `nas.graph.form.FORM`.

    Raises:
        WeightsError: The normalization of the images is unknown.
        ArchitectureError: The weights are too large for one ONNX file.
    """
    normalization = known_normalization(network)
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in network.tensors.items()}
    weights = folded_weights(network.arch, arrays)
    model = build_graph(whole(network.arch), weights, batch=batch, operators=operators)
    if preprocessing:
        model = with_preprocessing(model, normalization.mean, normalization.std)
    helper.set_model_props(model, dict(_metadata(network, preprocessing=preprocessing)))
    onnx.checker.check_model(model, full_check=True)
    return model


def _metadata(network: TrainedNetwork, *, preprocessing: bool) -> Mapping[str, str]:
    arch = network.arch
    return {
        FORMAT_KEY: FORMAT,
        **describe_network(network),
        "input_size": json.dumps([arch.in_channels, arch.resolution, arch.resolution]),
        "preprocessing": json.dumps(STEPS if preprocessing else ()),
    }
