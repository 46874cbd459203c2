"""The architectures that weights of other libraries are matched to, and the settings that each library gives them.

The shapes of tensors show neither strides and activations, which come from these architectures, nor the padding and the
settings of batch normalization, which come from the library.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs
from attrs import frozen

from nas.arch.multiply import multiply
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture, Norm

# The published networks that are no presets: a preset with other numbers of layers, or with multiplied channels.
DEPTHS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {"resnet-34": ("resnet-18", (3, 4, 6, 3)), "resnet-101": ("resnet-50", (3, 4, 23, 3))}
)
WIDTHS: Mapping[str, tuple[str, float, tuple[str, ...]]] = MappingProxyType(
    {
        "mobilenetv2-0.35": ("mobilenetv2", 0.35, ("head",)),
        "mobilenetv2-0.5": ("mobilenetv2", 0.5, ("head",)),
        "mobilenetv2-0.75": ("mobilenetv2", 0.75, ("head",)),
        "mobilenetv2-1.4": ("mobilenetv2", 1.4, ()),
        "mnasnet-a1-0.75": ("mnasnet-a1", 0.75, ("head",)),
        "mnasnet-b1-0.5": ("mnasnet-b1", 0.5, ("head",)),
        "mnasnet-b1-0.75": ("mnasnet-b1", 0.75, ("head",)),
        "mnasnet-b1-1.3": ("mnasnet-b1", 1.3, ("head",)),
    }
)
# Names of timm whose architectures are among these; others of the same shapes, such as resnetblur50, compute something
# else.
TIMM_NAMES = re.compile(
    r"(tf_)?efficientnet_(b[0-7]|lite[0-4])|mobilenetv2_(035|050|075|100|140)|(tf_)?mobilenetv3_(large|small)_(075|100)"
    r"|mnasnet_(050|075|100|small)|semnasnet_(075|100)|resnet(18|34|50|101|152)|fbnetc_100"
)


def candidates() -> Iterator[tuple[str, Architecture]]:
    """Yield the architectures that weights are matched to, with their names.

    >>> dict(candidates())["resnet-34"].stages[1].layers
    4
    """
    yield from ((name, preset(name)) for name in preset_names())
    for name, (base, layers) in DEPTHS.items():
        arch = preset(base)
        stages = (attrs.evolve(stage, layers=count) for stage, count in zip(arch.stages, layers, strict=True))
        yield name, attrs.evolve(arch, stages=tuple(stages))
    for name, (base, width, keep) in WIDTHS.items():
        yield name, multiply(preset(base), width=width, keep=keep)


@frozen
class Settings:
    """Hold what a library sets for the networks of a family.

    Attributes:
        library: Library and naming scheme of the weights; see `nas.weights.names`.
        family: Regular expression of the names of the architectures.
        padding: Padding of the convolutions.
        norm: Settings of batch normalization.
    """

    library: str
    family: str
    padding: str
    norm: Norm


TORCH, TENSORFLOW = Norm(), Norm(momentum=0.01, eps=1e-3)
# The first row that fits is used.
SETTINGS = (
    Settings("efficientnet_pytorch", "efficientnet-.*", "same", TENSORFLOW),
    Settings("timm-tf", ".*", "same", TENSORFLOW),
    Settings("timm", ".*", "symmetric", TORCH),
    Settings("torchvision", "efficientnet-b[5-7]|mobilenetv3-.*", "symmetric", TENSORFLOW),
    Settings("torchvision", "mnasnet-.*", "symmetric", Norm(momentum=3e-4)),
    Settings("torchvision", ".*", "symmetric", TORCH),
)


def with_settings(name: str, arch: Architecture, library: str) -> Architecture:
    """Return an architecture with the padding and the batch normalization of a library.

    >>> with_settings("efficientnet-b0", preset("efficientnet-b0"), "timm").padding
    'symmetric'
    """
    for row in SETTINGS:
        if row.library == library and re.fullmatch(row.family, name):
            return attrs.evolve(arch, padding=row.padding, norm=row.norm)
    return arch
