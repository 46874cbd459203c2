"""The records an architecture is made of: frozen, hashable, free of torch, checked when they are made."""

import reprlib
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, get_args

import attrs
from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable

from nas.errors import ArchitectureError

OPERATORS = ("conv", "dsconv", "mbconv", "fused", "basic", "bottleneck")
EXPANDING_OPERATORS = ("mbconv", "fused", "bottleneck")
SKIPS = ("identity", "pool", "none", "projection")
ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "linear")
GATES = ("sigmoid", "hard_sigmoid")
GATE_WIDTHS = ("input", "expanded")
PADDINGS = ("symmetric", "same")
MOST_LAYERS = 10_000

Validator = Callable[[Any, "Attribute[Any]", Any], None]


def _one_of(options: tuple[str, ...]) -> Validator:
    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if value not in options:
            raise ArchitectureError(
                f"{type(record).__name__.lower()} {attribute.name} is {reprlib.repr(value)}",
                f"use one of {', '.join(options)}",
            )

    return check


def _number(low: float, high: float = float("inf"), *, whole: bool = False, odd: bool = False) -> Validator:
    kind = "an odd whole number" if odd else "a whole number" if whole else "a number"
    span = f"{kind} from {low:g}" + (f" to {high:,}" if high != float("inf") else "")

    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if fits and whole:
            fits = isinstance(value, int)
        if not fits or (odd and value % 2 == 0):  # type: ignore[operator]
            raise ArchitectureError(
                f"{type(record).__name__.lower()} {attribute.name} is {reprlib.repr(value)}", f"use {span}"
            )

    return check


def _float(value: Any) -> Any:
    """Whole numbers become floats; anything else is left for the validator to judge."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def _is(*classes: type) -> Validator:
    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, classes):
            names = " or ".join(cls.__name__ for cls in classes)
            raise ArchitectureError(
                f"{type(record).__name__.lower()} {attribute.name} is {reprlib.repr(value)}", f"give a {names}"
            )

    return check


def _counted(low: int = 1) -> Validator:
    return _number(low, 2**31 - 1, whole=True)


@frozen(cache_hash=True)
class Gate:
    """Squeeze-and-excitation: pool, squeeze, excite, scale (Hu et al., arXiv 1709.01507).

    Attributes:
        ratio: squeezed width as a share of the channels named by `of`; the width is `max(1, int(ratio * channels))`.
        of: "input", the block's input channels (EfficientNet, MnasNet), or "expanded", the gated channels.
        activation: between the two 1x1 convolutions.
        gate: what turns the excitation into a factor.
        divisor: where it is not 1, the width is rounded to a multiple of it as channels are (MobileNetV3 has 8).
    """

    ratio: float = field(converter=_float, validator=_number(1e-6, 1))
    of: str = field(default="input", validator=_one_of(GATE_WIDTHS))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))
    gate: str = field(default="sigmoid", validator=_one_of(GATES))
    divisor: int = field(default=1, validator=_number(1, 64, whole=True))


@frozen(cache_hash=True)
class Stage:
    """`layers` equal layers, of which the first may be strided and may change the number of channels.

    Attributes:
        operator: "conv" (convolution, BN, activation), "dsconv" (depthwise then pointwise, each with BN and activation,
            MobileNetV1), "mbconv" (expand, depthwise, linear projection, MobileNetV2; with expansion 1 there is nothing
            to expand), "fused" (expanding k x k convolution, linear projection; EfficientNetV2), "basic" (k x k
            convolution, BN, activation, k x k convolution, BN; ResNet) or "bottleneck" (1x1 to fewer channels, k x k,
            1x1 to the output's, each with BN and all but the last with an activation; ResNet). The last two have
            their activation once more after the skip is added.
        layers: how many.
        kernel: side of the spatial kernel, odd; of both in basic.
        stride: of the first layer; the others have 1. It is the first one's in basic, the k x k's in bottleneck.
        expansion: channels inside the block over its input channels (mbconv and fused), or output channels over those
            inside (bottleneck).
        channels: output channels.
        gate: squeeze-and-excitation after the spatial convolution (basic and bottleneck: at the branch's end), or None.
        skip: "identity" adds the layer's input where stride is 1 and the channels are equal, and nothing elsewhere;
            "pool" adds the input after a 3x3 average pooling of the layer's stride, its channels cut or filled up with
            zeros to the output's; "projection" adds the input where "identity" can, and elsewhere what a 1x1
            convolution of the layer's stride with BN makes of it; "none" adds nothing.
        activation: wherever the operator has one; "linear" is none at all.
    """

    operator: str = field(validator=_one_of(OPERATORS))
    channels: int = field(validator=_counted())
    layers: int = field(default=1, validator=_number(1, 1000, whole=True))
    kernel: int = field(default=3, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=1, validator=_number(1, 4, whole=True))
    expansion: float = field(default=1.0, converter=_float, validator=_number(1, 100))
    gate: Gate | None = field(default=None, validator=_is(Gate, NoneType))
    skip: str = field(default="identity", validator=_one_of(SKIPS))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))

    def __attrs_post_init__(self) -> None:
        if self.expansion != 1 and self.operator not in EXPANDING_OPERATORS:
            raise ArchitectureError(
                f"stage operator {self.operator} has expansion {self.expansion:g}",
                f"only {', '.join(EXPANDING_OPERATORS)} expand; leave the expansion out",
            )


@frozen(cache_hash=True)
class ConvStem:
    """A k x k convolution, BN and an activation."""

    channels: int = field(validator=_counted())
    kernel: int = field(default=3, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=2, validator=_number(1, 4, whole=True))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class MaxPoolStem:
    """A k x k convolution, BN, an activation and 3x3 max-pooling of stride 2, padded by 1 on every side (ResNet)."""

    channels: int = field(validator=_counted())
    kernel: int = field(default=7, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=2, validator=_number(1, 4, whole=True))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class ConvHead:
    """A 1x1 convolution, BN, an activation, global average pooling, dropout and a classifier."""

    channels: int = field(validator=_counted())
    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class PoolHead:
    """Global average pooling, dropout and a classifier."""

    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))


@frozen(cache_hash=True)
class MlpHead:
    """A 1x1 convolution, BN, an activation, global average pooling, a matrix, an activation, dropout and a classifier.

    MobileNetV3's (arXiv 1905.02244, section 5.1).

    Attributes:
        channels: of the convolution.
        features: that the matrix makes of them, with a bias each.
    """

    channels: int = field(validator=_counted())
    features: int = field(validator=_counted())
    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


def _stages(stages: Any) -> Any:
    """Several become a tuple; anything else is left for the validator to judge."""
    return tuple(stages) if isinstance(stages, Iterable) else stages


Stem = ConvStem | MaxPoolStem
Head = ConvHead | PoolHead | MlpHead
Part = Stem | Stage | Head


def _members(union: Any) -> tuple[type, ...]:
    return get_args(union) or (union,)


@frozen(cache_hash=True)
class Norm:
    """Batch normalisation: torch's momentum (TensorFlow's is one minus it) and epsilon."""

    momentum: float = field(default=0.1, converter=_float, validator=_number(0, 1))
    eps: float = field(default=1e-5, converter=_float, validator=_number(1e-12, 1))


@frozen(cache_hash=True)
class Architecture:
    """Represent an image classifier with input `(N, in_channels, resolution, resolution)` and output `(N, classes)`.

    Attributes:
        stem: First layers of the network.
        stages: Stages between the stem and the head; there is at least one.
        head: Last layers of the network, including the classifier.
        resolution: Height and width of the input in pixels.
        in_channels: Number of channels of the input.
        classes: Number of classes.
        padding: Padding of the convolutions: "symmetric" ((k - 1) / 2 pixels on every side) or "same" (TensorFlow's,
            where an odd number of pixels puts the additional one on the right and below).
        norm: Settings of all batch normalizations.
        drop_path: Largest rate of stochastic depth (arXiv 1603.09382). In training, layer i of N, counted from 0, is
            dropped with rate drop_path * i / N.

    >>> import nas
    >>> arch = nas.load_architecture("mobilenetv2")
    >>> arch.adapted(resolution=96, classes=10).classes
    10
    """

    stem: Stem = field(validator=_is(*_members(Stem)))
    stages: tuple[Stage, ...] = field(converter=_stages, validator=[_is(tuple), deep_iterable(_is(Stage))])
    head: Head = field(validator=_is(*_members(Head)))
    resolution: int = field(default=224, validator=_number(1, 100_000, whole=True))
    in_channels: int = field(default=3, validator=_counted())
    classes: int = field(default=1000, validator=_counted())
    padding: str = field(default="symmetric", validator=_one_of(PADDINGS))
    norm: Norm = field(default=Norm(), validator=_is(Norm))
    drop_path: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))

    def __attrs_post_init__(self) -> None:
        if not self.stages:
            raise ArchitectureError("an architecture has no stage", "give it at least one")
        layers = sum(stage.layers for stage in self.stages)
        if layers > MOST_LAYERS:
            raise ArchitectureError(f"an architecture has {layers:,} layers", f"give it at most {MOST_LAYERS:,}")

    def adapted(self, *, resolution: int, classes: int) -> "Architecture":
        """The same network for other images and labels: what a proxy task trains."""
        return attrs.evolve(self, resolution=resolution, classes=classes)
