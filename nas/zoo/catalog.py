"""The known networks by name, with their papers, published accuracies, exact costs and ONNX graphs."""

import difflib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.errors import ArchitectureError
from nas.zoo import early, inception, mobile, nasnet, residual, tokens
from nas.zoo.nodes import Node, Shape, walk_network
from nas.zoo.records import Block

if TYPE_CHECKING:
    import onnx


class PublishedTop1(NamedTuple):
    """Hold a published top-1 accuracy on the validation images of ImageNet.

    Attributes:
        value: Accuracy in percent.
        source: Who published it, and what differs from training on ImageNet alone and from the network's resolution.
    """

    value: float
    source: str


@frozen(slots=False)
class ZooNetwork:
    """Represent a known network.

    Attributes:
        name: Name in `zoo_names`.
        title: Name with the variant that it is.
        year: Year of the paper's first version.
        paper: Paper, with its number on arXiv where it has one.
        published_top1: Published accuracy; None if it is unknown or not on ImageNet.
        architecture: The network as an architecture of this package; None if it has other operators.
        records: The network as records; None if it is an architecture.
        resolution: Height and width of the image.
        in_channels: Number of channels of the image.
        classes: Number of classes.

    >>> vgg = zoo_network("vgg-16")
    >>> vgg.params, round(vgg.macs / 1e6, 2)
    (138357544, 15470.26)
    """

    name: str
    title: str
    year: int
    paper: str
    published_top1: PublishedTop1 | None
    architecture: Architecture | None
    records: Block | None
    resolution: int = 224
    in_channels: int = 3
    classes: int = 1000

    @property
    def shape(self) -> Shape:
        """Return the shape `(C, H, W)` of the image."""
        return self.in_channels, self.resolution, self.resolution

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes of a network of records; there are none if it is an architecture."""
        return () if self.records is None else walk_network(self.records, self.shape)

    @property
    def params(self) -> int:
        """Return the number of parameters that training changes; a batch normalization has two for each channel."""
        return cost(self.architecture).params if self.architecture else sum(node.outcome.params for node in self.nodes)

    @property
    def macs(self) -> int:
        """Return the number of multiply-adds for one image, as `nas.cost.analytic` counts them.

        The two matrix products of attention count too; see `nas.zoo.nodes`.
        """
        return cost(self.architecture).macs if self.architecture else sum(node.outcome.macs for node in self.nodes)

    def onnx(self, batch: int = 1, seed: int = 0) -> "onnx.ModelProto":
        """Return the ONNX graph with random weights, for measurements of latency.

        Args:
            batch: Number of images in a batch.
            seed: Seed of the random weights.

        Raises:
            ArchitectureError: The batch is not a whole number from 1.
        """
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise ArchitectureError(f"the batch is {batch!r}", "use a whole number of images from 1")
        # Imported late, so that the names and costs of the networks need no ONNX.
        from nas.zoo.graph import build_network_graph, random_source

        if self.architecture is None:
            return build_network_graph(self.nodes, self.shape, random_source(seed), batch=batch)
        from nas.graph.build import build_graph
        from nas.graph.fragment import whole
        from nas.graph.weights import random_weights

        fragment = whole(self.architecture)
        return build_graph(fragment, random_weights(fragment.walk(), seed), batch=batch)


def _torchvision(value: float) -> PublishedTop1:
    return PublishedTop1(value, "torchvision, weights IMAGENET1K_V1")


def _paper(value: float) -> PublishedTop1:
    return PublishedTop1(value, "paper")


@frozen
class _Row:
    """Hold one line of the table; `network` is the name of a preset, the text of an architecture, or records."""

    title: str
    year: int
    paper: str
    network: str | Block
    top1: PublishedTop1 | None
    resolution: int = 224
    in_channels: int = 3
    classes: int = 1000


_ROWS: Mapping[str, _Row] = MappingProxyType(
    {
        "lenet-5": _Row(
            "LeNet-5 with full connections, average pooling and a linear output, for digits",
            1998,
            "LeCun et al. 1998, Gradient-based learning applied to document recognition",
            early.LENET_5,
            None,
            resolution=32,
            in_channels=1,
            classes=10,
        ),
        "alexnet": _Row(
            "AlexNet as in torchvision: one column, without local response normalization",
            2012,
            "Krizhevsky et al. 2012; this form arXiv 1404.5997",
            early.ALEXNET,
            _torchvision(56.522),
        ),
        "vgg-16": _Row("VGG-16 without batch norm", 2014, "arXiv 1409.1556", early.VGG_16, _torchvision(71.592)),
        "googlenet": _Row(
            "GoogLeNet as in torchvision, with batch norm, 3x3 instead of 5x5 kernels, without auxiliary heads",
            2014,
            "arXiv 1409.4842",
            inception.GOOGLENET,
            _torchvision(69.778),
        ),
        "inception-v3": _Row(
            "Inception-V3 without auxiliary head",
            2015,
            "arXiv 1512.00567",
            inception.INCEPTION_V3,
            _torchvision(77.294),
            resolution=299,
        ),
        "resnet-18": _Row("ResNet-18", 2015, "arXiv 1512.03385", "resnet-18", _torchvision(69.758)),
        "resnet-50": _Row(
            "ResNet-50 with the stride in the 3x3 convolution",
            2015,
            "arXiv 1512.03385",
            "resnet-50",
            _torchvision(76.130),
        ),
        "resnet-152": _Row(
            "ResNet-152 with the stride in the 3x3 convolution",
            2015,
            "arXiv 1512.03385",
            "resnet-152",
            _torchvision(78.312),
        ),
        "squeezenet-1.1": _Row("SqueezeNet 1.1", 2016, "arXiv 1602.07360", early.SQUEEZENET_1_1, _torchvision(58.178)),
        "wide-resnet-50-2": _Row(
            "Wide-ResNet-50-2", 2016, "arXiv 1605.07146", residual.WIDE_RESNET_50_2, _torchvision(78.468)
        ),
        "densenet-121": _Row("DenseNet-121", 2016, "arXiv 1608.06993", residual.DENSENET_121, _torchvision(74.434)),
        "xception": _Row("Xception", 2016, "arXiv 1610.02357", inception.XCEPTION, _paper(79.0), resolution=299),
        "resnext-50-32x4d": _Row(
            "ResNeXt-50 (32x4d)", 2016, "arXiv 1611.05431", residual.RESNEXT_50, _torchvision(77.618)
        ),
        "mobilenetv1": _Row("MobileNetV1", 2017, "arXiv 1704.04861", "mobilenetv1", _paper(70.6)),
        "nasnet-a-mobile": _Row(
            "NASNet-A-Mobile (4 @ 1056) without auxiliary head",
            2017,
            "arXiv 1707.07012",
            nasnet.NASNET_A_MOBILE,
            _paper(74.0),
        ),
        "se-resnet-50": _Row(
            "SE-ResNet-50 with the stride in the 3x3 convolution",
            2017,
            "arXiv 1709.01507",
            residual.SE_RESNET_50,
            PublishedTop1(77.63, "authors' repository, with the stride in the first 1x1 convolution"),
        ),
        "mobilenetv2": _Row("MobileNetV2", 2018, "arXiv 1801.04381", "mobilenetv2", _paper(72.0)),
        "shufflenet-v2-1.0": _Row(
            "ShuffleNet V2 1.0x", 2018, "arXiv 1807.11164", mobile.SHUFFLENET_V2, _torchvision(69.362)
        ),
        "mnasnet-a1": _Row("MnasNet-A1", 2018, "arXiv 1807.11626", "mnasnet-a1", _paper(75.2)),
        "mobilenetv3-large": _Row("MobileNetV3-Large", 2019, "arXiv 1905.02244", "mobilenetv3-large", _paper(75.2)),
        "mobilenetv3-small": _Row("MobileNetV3-Small", 2019, "arXiv 1905.02244", "mobilenetv3-small", _paper(67.4)),
        "efficientnet-b0": _Row("EfficientNet-B0", 2019, "arXiv 1905.11946", "efficientnet-b0", _paper(77.1)),
        "bit-r50x1": _Row(
            "BiT R50x1: ResNet-v2-50 with group norm and weight standardization",
            2019,
            "arXiv 1912.11370",
            residual.BIT_R50X1,
            PublishedTop1(80.340, "timm, weights goog_in21k_ft_in1k: pretrained on ImageNet-21k, at 448 pixels"),
        ),
        "vit-b-16": _Row("ViT-B/16", 2020, "arXiv 2010.11929", tokens.VIT_B_16, _torchvision(81.072)),
        "mlp-mixer-b-16": _Row(
            "MLP-Mixer-B/16",
            2021,
            "arXiv 2105.01601",
            tokens.MLP_MIXER_B_16,
            PublishedTop1(76.602, "timm, weights goog_in21k_ft_in1k: pretrained on ImageNet-21k"),
        ),
        "mobilenetv4-conv-small": _Row(
            "MobileNetV4-Conv-Small", 2024, "arXiv 2404.10518", mobile.MOBILENET_V4_CONV_SMALL, _paper(73.8)
        ),
    }
)


def zoo_names() -> tuple[str, ...]:
    """Return the names of the known networks in the order of their years.

    >>> zoo_names()[:3]
    ('lenet-5', 'alexnet', 'vgg-16')
    """
    return tuple(_ROWS)


def zoo_network(name: str) -> ZooNetwork:
    """Return the known network with the given name.

    Raises:
        ArchitectureError: No known network has this name.

    >>> zoo_network("googlenet").published_top1
    PublishedTop1(value=69.778, source='torchvision, weights IMAGENET1K_V1')
    """
    if name not in _ROWS:
        close = difflib.get_close_matches(name, _ROWS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ArchitectureError(
            f"no known network is called {name!r:.80}", f"{hint}the known networks are {', '.join(zoo_names())}"
        )
    row = _ROWS[name]
    architecture = _architecture(row.network) if isinstance(row.network, str) else None
    return ZooNetwork(
        name,
        row.title,
        row.year,
        row.paper,
        row.top1,
        architecture,
        None if isinstance(row.network, str) else row.network,
        row.resolution,
        row.in_channels,
        row.classes,
    )


def _architecture(text: str) -> Architecture:
    return parse_text(text) if "\n" in text else preset(text)
