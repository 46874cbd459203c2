"""Tests of the known networks against torchvision, timm and pretrainedmodels: equal counts, and equal outputs.

The tests are skipped where these packages are not installed; `pip install --no-deps torchvision timm pretrainedmodels
munch` is enough beside torch. The counts that they give are also in `test_zoo_counts.py`, which needs none of them.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from attrs import define, field
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.layers import walk
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.weights import weight_shape, weighted
from nas.zoo.catalog import ZooNetwork, zoo_names, zoo_network
from nas.zoo.graph import build_network_graph
from nas.zoo.nodes import Node, Tensor

Values = NDArray[np.float32]


@cache
def _declare_operators() -> torch.library.Library:
    """Declare torchvision's compiled operators, which do not load beside a torch without CUDA."""
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


@cache
def library(name: str) -> Any:
    """Return a library of networks, or skip the test if it cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if importlib.util.find_spec("torchvision") and "torchvision" not in sys.modules:
                _declare_operators()
            return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        return f"{name} cannot be imported: {error}"


def _made(module: str, name: str, **options: Any) -> nn.Module:
    found = library(module)
    if isinstance(found, str):
        pytest.skip(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(found, name)(**options)
    assert isinstance(model, nn.Module)
    return model


def _timm(name: str) -> nn.Module:
    return _made("timm", "create_model", model_name=name)


_torchvision = partial(_made, "torchvision.models")


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


REFERENCES: Mapping[str, Callable[[], nn.Module]] = {
    "lenet-5": _lenet,
    "alexnet": partial(_torchvision, "alexnet"),
    "vgg-16": partial(_torchvision, "vgg16", init_weights=False),
    "googlenet": partial(_torchvision, "googlenet", aux_logits=False, init_weights=False),
    "inception-v3": partial(_torchvision, "inception_v3", aux_logits=False, init_weights=False),
    "resnet-18": partial(_torchvision, "resnet18"),
    "resnet-50": partial(_torchvision, "resnet50"),
    "resnet-152": partial(_torchvision, "resnet152"),
    "squeezenet-1.1": partial(_torchvision, "squeezenet1_1"),
    "wide-resnet-50-2": partial(_torchvision, "wide_resnet50_2"),
    "densenet-121": partial(_torchvision, "densenet121"),
    "xception": partial(_timm, "legacy_xception"),
    "resnext-50-32x4d": partial(_torchvision, "resnext50_32x4d"),
    "mobilenetv1": partial(_timm, "mobilenetv1_100"),
    "nasnet-a-mobile": partial(
        _made, "pretrainedmodels.models.nasnet_mobile", "nasnetamobile", num_classes=1000, pretrained=None
    ),
    "se-resnet-50": partial(_timm, "seresnet50"),
    "mobilenetv2": partial(_torchvision, "mobilenet_v2"),
    "shufflenet-v2-1.0": partial(_torchvision, "shufflenet_v2_x1_0"),
    "mnasnet-a1": partial(_timm, "semnasnet_100"),
    "mobilenetv3-large": partial(_torchvision, "mobilenet_v3_large"),
    "mobilenetv3-small": partial(_torchvision, "mobilenet_v3_small"),
    "efficientnet-b0": partial(_torchvision, "efficientnet_b0"),
    "bit-r50x1": partial(_timm, "resnetv2_50x1_bit"),
    "vit-b-16": partial(_timm, "vit_base_patch16_224"),
    "mlp-mixer-b-16": partial(_timm, "mixer_b16_224"),
    "mobilenetv4-conv-small": partial(_timm, "mobilenetv4_conv_small"),
}
# These references differ in what costs nothing: EfficientNet and MnasNet pad as TensorFlow does and the references
# symmetrically, and the reference of MobileNetV1 has ReLU6. `tests/graph` compares the outputs of such architectures.
_OTHER_OUTPUTS = {"mnasnet-a1", "efficientnet-b0", "mobilenetv1"}
# Rounding errors grow with depth.
_TOLERANCES = {"resnet-152": 1e-3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def reference(name: str) -> Any:
    """Return the reference of a network with random weights, which the seed determines."""
    torch.manual_seed(0)
    return REFERENCES[name]().eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_names())
def test_parameters_and_macs_are_those_of_the_reference(name: str) -> None:
    network, model = zoo_network(name), reference(name)
    # Without this, the products of attention are inside an operator that the counter does not see.
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    cropped = _count_cropped(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *network.shape))
    assert network.params == sum(parameter.numel() for parameter in model.parameters())
    assert network.macs * 2 == counter.get_total_flops() - 2 * sum(cropped)
    assert bool(cropped) is (name == "nasnet-a-mobile")


def _count_cropped(model: nn.Module) -> list[int]:
    """Return a list that receives the MACs of pixels that the port of NASNet computes and then cuts off."""
    cropped: list[int] = []

    def count(module: Any, _inputs: object, output: torch.Tensor) -> None:
        height, width = output.shape[-2:]
        weights = module.depthwise_conv2d.weight.numel() + module.pointwise_conv2d.weight.numel()
        cropped.append(weights * (height * width - (height - 1) * (width - 1)))

    for module in model.modules():
        if getattr(module, "name", "") == "specific" or type(module).__name__ == "BranchSeparablesReduction":
            first: Any = module
            first.separable_1.register_forward_hook(count)
    return cropped


def _settle(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Give normalizations and classifiers numbers that would show a mistake in their order."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.any():
                module.weight.normal_(0, 0.02)  # timm starts some classifiers with zeros, which hide every difference.
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
        if norms:
            model.train()
            model(torch.randn(4, *shape))
            model.eval()


@define
class Layers:
    """Hold the layers of a torch model in the order of computation, and take each of them once.

    Attributes:
        layers: The layers that have not been taken, each with the layer that was computed after it.
    """

    layers: list[tuple[nn.Module, nn.Module | None]] = field(factory=list)

    def take(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the first layer whose weight has a shape, and the layer that was computed after it.

        A 1x1 convolution after global pooling is a linear layer.
        """
        found = next(pair for pair in self.layers if tuple(_weight(pair[0]).shape) in (shape, (*shape, 1, 1)))
        self.layers.remove(found)
        return found

    def folded(self, shape: tuple[int, ...]) -> dict[str, Values]:
        """Take a convolution and the batch normalization that was computed after it, and fold them."""
        layer, norm = self.take(shape)
        assert isinstance(norm, nn.BatchNorm2d)
        self.layers = [pair for pair in self.layers if pair[0] is not norm]
        return _folded(layer, norm)


def _weight(layer: Any) -> torch.Tensor:
    assert isinstance(layer.weight, torch.Tensor)
    return layer.weight


_KINDS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def computed_layers(model: Any, image: torch.Tensor) -> tuple[Layers, Values]:
    """Return the layers of a model in the order of computation, and its output."""
    order: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, _KINDS):
            module.register_forward_hook(lambda layer, _inputs, _output: order.append(layer))
    with torch.no_grad():
        output = model(image).numpy()
    if hasattr(model, "cell_stem_1"):
        # The second cell of NASNet computes its right input last, and all other cells first.
        right = list(model.cell_stem_1.conv_1x1)[1:]
        order = [layer for layer in order if layer not in right]
        after = order.index(model.cell_stem_1.final_path_bn) + 1
        order[after:after] = right
    return Layers(list(zip(order, [*order[1:], None], strict=True))), output


def _standardized(layer: Any) -> torch.Tensor:
    """Return the weight of a convolution, standardized for each output channel if the layer does that."""
    weight = _weight(layer).detach().double()
    if "StdConv" not in type(layer).__name__:
        return weight
    mean, variance = weight.mean((1, 2, 3), keepdim=True), weight.var((1, 2, 3), unbiased=False, keepdim=True)
    return (weight - mean) / (variance + float(layer.eps)).sqrt()


def _folded(layer: Any, norm: Any) -> dict[str, Values]:
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return {
        "weight": (_weight(layer).detach().double() * scale[:, None, None, None]).float().numpy(),
        "bias": (norm.bias.detach().double() - norm.running_mean.double() * scale).float().numpy(),
    }


def _plain(layer: Any, shape: tuple[int, ...]) -> dict[str, Values]:
    found = {"weight": _standardized(layer).float().numpy().reshape(shape)}
    return found if layer.bias is None else found | {"bias": layer.bias.detach().numpy()}


def _norm_weights(layer: Any) -> dict[str, Values]:
    found = {"scale": layer.weight.detach().numpy(), "shift": layer.bias.detach().numpy()}
    if isinstance(layer, nn.BatchNorm2d):
        found |= {"mean": layer.running_mean.numpy(), "variance": layer.running_var.numpy()}  # type: ignore[union-attr]
    return found


def _node_weights(node: Node, layers: Layers, model: Any) -> dict[str, Values]:
    tensors = {tensor.name: tensor.shape for tensor in node.outcome.tensors}
    if "class_token" in tensors:
        return {"class_token": model.cls_token.detach().numpy(), "positions": model.pos_embed.detach().numpy()}
    if "scale" in tensors:
        return _norm_weights(layers.take(tensors["scale"])[0])
    if getattr(node.record, "offset", "bias") == "norm":
        return layers.folded(tensors["weight"])
    return _plain(layers.take(tensors["weight"])[0], tensors["weight"])


def graph_with_weights(network: ZooNetwork, layers: Layers, model: nn.Module) -> bytes:
    """Return the network's ONNX graph with the weights of a torch model."""
    if network.architecture is None:
        weights = {node.name: _node_weights(node, layers, model) for node in network.nodes if node.outcome.tensors}

        def source(name: str, tensor: Tensor) -> Values:
            found = weights[name][tensor.name]
            assert found.shape == tensor.shape
            return found

        return bytes(build_network_graph(network.nodes, network.shape, source).SerializeToString())
    named: dict[str, Values] = {}
    for name, node in weighted(walk(network.architecture)):
        shape = weight_shape(node)
        found = layers.folded(shape) if node.norm else _plain(layers.take(shape)[0], shape)
        named |= {f"{name}.{part}": array for part, array in found.items()}
    return bytes(build_graph(whole(network.architecture), named).SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo_names() if name not in _OTHER_OUTPUTS])
def test_with_the_weights_of_the_reference_the_outputs_are_equal(name: str) -> None:
    network, model = zoo_network(name), reference(name)
    _settle(model, network.shape)
    image = torch.randn(1, *network.shape)
    layers, expected = computed_layers(model, image)
    session = onnxruntime.InferenceSession(
        graph_with_weights(network, layers, model), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"input": image.numpy()})[0]
    assert layers.layers == []
    assert np.ptp(expected) > 0
    tolerance = _TOLERANCES.get(name, 1e-4)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
