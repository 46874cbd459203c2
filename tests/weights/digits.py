"""A small network for the embedded digits whose classifier was fitted by least squares, which takes no training run."""

from functools import cache

import torch
from torch import Tensor, nn

from nas.arch.spec import Architecture
from nas.data.base import ImageData, Images
from nas.data.load import load_images
from nas.weights.base import Normalization, TrainedNetwork
from tests.weights.networks import network, trained

ARCH = network("net classes=10 resolution=16;stem conv c16 s1;mbconv r2 s2 e3 c16;mbconv r2 s2 e4 c24;head conv c64")
GRAY = Normalization((0.3,) * 3, (0.3,) * 3)


@cache
def digits(resolution: int) -> ImageData:
    return load_images("digits", resolution=resolution)


def pixels(images: Images) -> Tensor:
    return images.images.float() / 255


@cache
def digits_network(arch: Architecture = ARCH) -> TrainedNetwork:
    """A network whose accuracy on the validation split is above 60%."""
    data = digits(arch.resolution)
    model = trained(arch).float()
    # The statistics of the batch normalization become those of the training images.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(GRAY.apply(pixels(data.train)))
    model.eval()
    features: list[Tensor] = []
    classifier = model.get_submodule("head.classifier")
    classifier.register_forward_hook(lambda _module, inputs, _out: features.append(inputs[0].flatten(1)))
    with torch.no_grad():
        model(GRAY.apply(pixels(data.train)))
        inputs = torch.cat([features[0], torch.ones(len(features[0]), 1)], 1).double()
        targets = torch.eye(data.num_classes)[data.train.labels].double()
        fitted = torch.linalg.lstsq(inputs, targets).solution.T.float()
    tensors = {
        **model.state_dict(),
        "head.classifier.weight": fitted[:, :-1].reshape(model.get_parameter("head.classifier.weight").shape),
        "head.classifier.bias": fitted[:, -1].contiguous(),
    }
    return TrainedNetwork(arch, tensors, data.classes, GRAY, {"source": "least squares"})


def accuracy(network: TrainedNetwork) -> float:
    """The accuracy on the validation split, computed in one batch."""
    assert network.normalization is not None
    val = digits(network.arch.resolution).val
    with torch.no_grad():
        logits = network.module()(network.normalization.apply(pixels(val)))
    return int((logits.argmax(1) == val.labels).sum()) / len(val)
