"""Published networks as data.

Sources: EfficientNet arXiv 1905.11946 (tables 1 and 8; batch normalization as in its TensorFlow code),
EfficientNet-Lite (its code; Lite3 and Lite4 with the resolutions of timm, 300 and 380 pixels instead of 280 and 300),
FBNet arXiv 1812.03443 (figure 4; the number of features and the blocks with expansion 1 as in timm), MnasNet arXiv
1807.11626 (figure 7 and its code), MobileNetV1 arXiv 1704.04861 (table 1), MobileNetV2 arXiv 1801.04381 (table 2),
MobileNetV3 arXiv 1905.02244 (tables 1 and 2; width multipliers as in its code), ResNet arXiv 1512.03385 (table 1).
MobileNetV3 and ResNet follow torchvision, where the stride of a bottleneck is in the 3x3 convolution.
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs
from attrs import frozen

from nas.arch.code import parse_text
from nas.arch.multiply import FIRST_LAST_DEPTH, multiply
from nas.arch.spec import Architecture
from nas.errors import ArchitectureError

_EFFICIENTNET = """
net channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0.2 act=silu
stem conv k3 s2 c32
mbconv r1 k3 s1 e1 c16 se0.25
mbconv r2 k3 s2 e6 c24 se0.25
mbconv r2 k5 s2 e6 c40 se0.25
mbconv r3 k3 s2 e6 c80 se0.25
mbconv r3 k5 s1 e6 c112 se0.25
mbconv r4 k5 s2 e6 c192 se0.25
mbconv r1 k3 s1 e6 c320 se0.25
head conv c1280 dropout=0.2
"""

_RESNET_50 = """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu
stem maxpool k7 s2 c64
bottleneck r3 k3 s1 e4 c256 projskip
bottleneck r4 k3 s2 e4 c512 projskip
bottleneck r6 k3 s2 e4 c1024 projskip
bottleneck r3 k3 s2 e4 c2048 projskip
head pool dropout=0
"""

_TEXTS = {
    "efficientnet-b0": _EFFICIENTNET,
    "efficientnet-lite0": _EFFICIENTNET.replace("act=silu", "act=relu6").replace(" se0.25", ""),
    "fbnet-c": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu
stem conv k3 s2 c16
inverted r1 k3 s1 e1 c16
mbconv r1 k3 s2 e6 c24
inverted r2 k3 s1 e1 c24
mbconv r1 k5 s2 e6 c32
mbconv r1 k5 s1 e3 c32
mbconv r1 k5 s1 e6 c32
mbconv r1 k3 s1 e6 c32
mbconv r1 k5 s2 e6 c64
mbconv r1 k5 s1 e3 c64
mbconv r2 k5 s1 e6 c64
mbconv r3 k5 s1 e6 c112
mbconv r1 k5 s1 e3 c112
mbconv r4 k5 s2 e6 c184
mbconv r1 k3 s1 e6 c352
head conv c1984 dropout=0
""",
    "mnasnet-a1": """
net channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0 act=relu
stem conv k3 s2 c32
mbconv r1 k3 s1 e1 c16 noskip
mbconv r2 k3 s2 e6 c24
mbconv r3 k5 s2 e3 c40 se0.25
mbconv r4 k3 s2 e6 c80
mbconv r2 k3 s1 e6 c112 se0.25
mbconv r3 k5 s2 e6 c160 se0.25
mbconv r1 k3 s1 e6 c320
head conv c1280 dropout=0.2
""",
    "mnasnet-b1": """
net channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0 act=relu
stem conv k3 s2 c32
mbconv r1 k3 s1 e1 c16 noskip
mbconv r3 k3 s2 e3 c24
mbconv r3 k5 s2 e3 c40
mbconv r3 k5 s2 e6 c80
mbconv r2 k3 s1 e6 c96
mbconv r4 k5 s2 e6 c192
mbconv r1 k3 s1 e6 c320 noskip
head conv c1280 dropout=0.2
""",
    "mnasnet-small": """
net channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0 act=relu
stem conv k3 s2 c8
mbconv r1 k3 s1 e1 c8
mbconv r1 k3 s2 e3 c16
mbconv r2 k3 s2 e6 c16
mbconv r4 k5 s2 e6 c32 se0.25
mbconv r3 k3 s1 e6 c32 se0.25
mbconv r3 k5 s2 e6 c88 se0.25
mbconv r1 k3 s1 e6 c144
head conv c1280 dropout=0.2
""",
    "mobilenetv1": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu
stem conv k3 s2 c32
dsconv r1 k3 s1 c64 noskip
dsconv r2 k3 s2 c128 noskip
dsconv r2 k3 s2 c256 noskip
dsconv r6 k3 s2 c512 noskip
dsconv r2 k3 s2 c1024 noskip
head pool dropout=0.001
""",
    "mobilenetv2": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu6
stem conv k3 s2 c32
mbconv r1 k3 s1 e1 c16
mbconv r2 k3 s2 e6 c24
mbconv r3 k3 s2 e6 c32
mbconv r4 k3 s2 e6 c64
mbconv r3 k3 s1 e6 c96
mbconv r3 k3 s2 e6 c160
mbconv r1 k3 s1 e6 c320
head conv c1280 dropout=0.2
""",
    "mobilenetv3-large": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.01/0.001 drop_path=0 act=hard_swish
stem conv k3 s2 c16
mbconv r1 k3 s1 e1 c16 relu
mbconv r1 k3 s2 e4 c24 relu
mbconv r1 k3 s1 e3 c24 relu
mbconv r3 k5 s2 e3 c40 se0.25:expanded:relu:hard_sigmoid:div8 relu
mbconv r1 k3 s2 e6 c80
mbconv r1 k3 s1 e2.5 c80 div8
mbconv r2 k3 s1 e2.3 c80 div8
mbconv r2 k3 s1 e6 c112 se0.25:expanded:relu:hard_sigmoid:div8
mbconv r3 k5 s2 e6 c160 se0.25:expanded:relu:hard_sigmoid:div8
head mlp c960 f1280 dropout=0.2
""",
    "mobilenetv3-small": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.01/0.001 drop_path=0 act=hard_swish
stem conv k3 s2 c16
mbconv r1 k3 s2 e1 c16 se0.25:expanded:relu:hard_sigmoid:div8 relu
mbconv r1 k3 s2 e4.5 c24 relu div8
mbconv r1 k3 s1 e3.67 c24 relu div8
mbconv r1 k5 s2 e4 c40 se0.25:expanded:relu:hard_sigmoid:div8
mbconv r2 k5 s1 e6 c40 se0.25:expanded:relu:hard_sigmoid:div8
mbconv r2 k5 s1 e3 c48 se0.25:expanded:relu:hard_sigmoid:div8
mbconv r3 k5 s2 e6 c96 se0.25:expanded:relu:hard_sigmoid:div8
head mlp c576 f1024 dropout=0.2
""",
    "resnet-18": """
net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu
stem maxpool k7 s2 c64
basic r2 k3 s1 c64
basic r2 k3 s2 c128 projskip
basic r2 k3 s2 c256 projskip
basic r2 k3 s2 c512 projskip
head pool dropout=0
""",
    "resnet-50": _RESNET_50,
    "resnet-152": _RESNET_50.replace("r4", "r8").replace("r6", "r36"),
}


@frozen
class Multipliers:
    """Describe how a published larger or smaller network is scaled from its base network.

    Attributes:
        base: Name of the preset that is scaled.
        width: Multiplier of the channels.
        depth: Multiplier of the number of layers of each stage.
        resolution: Height and width of the input in pixels.
        dropout: Dropout rate before the classifier.
        keep: What is not scaled; see `nas.arch.multiply.KEEPABLE`.
    """

    base: str
    width: float
    depth: float
    resolution: int
    dropout: float
    keep: tuple[str, ...] = ()


# The coefficients of B1 to B7 that EfficientNet's code publishes. They are not alpha^phi, beta^phi and gamma^phi of the
# paper's compound scaling: those powers give other networks.
FAMILY: Mapping[str, Multipliers] = MappingProxyType(
    {
        "efficientnet-b1": Multipliers("efficientnet-b0", 1.0, 1.1, 240, 0.2),
        "efficientnet-b2": Multipliers("efficientnet-b0", 1.1, 1.2, 260, 0.3),
        "efficientnet-b3": Multipliers("efficientnet-b0", 1.2, 1.4, 300, 0.3),
        "efficientnet-b4": Multipliers("efficientnet-b0", 1.4, 1.8, 380, 0.4),
        "efficientnet-b5": Multipliers("efficientnet-b0", 1.6, 2.2, 456, 0.4),
        "efficientnet-b6": Multipliers("efficientnet-b0", 1.8, 2.6, 528, 0.5),
        "efficientnet-b7": Multipliers("efficientnet-b0", 2.0, 3.1, 600, 0.5),
    }
)
_LITE = ("stem", "head", FIRST_LAST_DEPTH)
# The other presets that are scaled from a base network.
SCALED: Mapping[str, Multipliers] = MappingProxyType(
    {
        "efficientnet-lite1": Multipliers("efficientnet-lite0", 1.0, 1.1, 240, 0.2, _LITE),
        "efficientnet-lite2": Multipliers("efficientnet-lite0", 1.1, 1.2, 260, 0.3, _LITE),
        "efficientnet-lite3": Multipliers("efficientnet-lite0", 1.2, 1.4, 300, 0.3, _LITE),
        "efficientnet-lite4": Multipliers("efficientnet-lite0", 1.4, 1.8, 380, 0.3, _LITE),
        "mobilenetv3-large-0.75": Multipliers("mobilenetv3-large", 0.75, 1.0, 224, 0.2, ("features",)),
        "mobilenetv3-small-0.75": Multipliers("mobilenetv3-small", 0.75, 1.0, 224, 0.2, ("features",)),
    }
)


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets in alphabetical order.

    >>> preset_names()[:3]
    ('efficientnet-b0', 'efficientnet-b1', 'efficientnet-b2')
    """
    return tuple(sorted([*_TEXTS, *FAMILY, *SCALED]))


def preset(name: str) -> Architecture:
    """Return the published network with the given name.

    Raises:
        ArchitectureError: No preset has this name.

    >>> arch = preset("efficientnet-b0")
    >>> len(arch.stages), arch.resolution
    (7, 224)
    """
    if name in _TEXTS:
        return parse_text(_TEXTS[name])
    by = FAMILY.get(name) or SCALED.get(name)
    if by is None:
        raise ArchitectureError(f"no preset is called {name!r}", f"use one of {', '.join(preset_names())}")
    arch = multiply(preset(by.base), width=by.width, depth=by.depth, resolution=by.resolution, keep=by.keep)
    return attrs.evolve(arch, head=attrs.evolve(arch.head, dropout=by.dropout))
