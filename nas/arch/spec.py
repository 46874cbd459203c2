"""The records of an architecture: frozen, hashable, without torch, and checked when they are created."""

import reprlib
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, get_args

import attrs
from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable

from nas.errors import ArchitectureError

OPERATORS = ("conv", "dsconv", "mbconv", "inverted", "fused", "basic", "bottleneck")
EXPANDING_OPERATORS = ("mbconv", "inverted", "fused", "bottleneck")
SKIPS = ("identity", "pool", "none", "projection")
ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "linear")
GATES = ("sigmoid", "hard_sigmoid")
GATE_WIDTHS = ("input", "expanded")
PADDINGS = ("symmetric", "same")
# A limit far above any published network. It keeps a short text or file from describing a network that exhausts memory.
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
    allowed = f"{kind} from {low:g}" + (f" to {high:,}" if high != float("inf") else "")

    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if fits and whole:
            fits = isinstance(value, int)
        if not fits or (odd and value % 2 == 0):  # type: ignore[operator]
            raise ArchitectureError(
                f"{type(record).__name__.lower()} {attribute.name} is {reprlib.repr(value)}", f"use {allowed}"
            )

    return check


def _float(value: Any) -> Any:
    """Return a whole number as a float and any other value unchanged, so that the validator checks it.

    Without this, 6 and 6.0 would give different text forms of equal architectures.
    """
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
                f"{type(record).__name__.lower()} {attribute.name} is {reprlib.repr(value)}",
                f"use a value of type {names}",
            )

    return check


def _count(low: int = 1) -> Validator:
    return _number(low, 2**31 - 1, whole=True)


@frozen(cache_hash=True)
class Gate:
    """Represent squeeze-and-excitation: pool, squeeze, excite and scale (Hu et al., arXiv 1709.01507).

    Attributes:
        ratio: Squeezed width as a share of the channels named by `of`. The width is `max(1, int(ratio * channels))`.
        of: Channels that the ratio refers to: "input", the input channels of the block (EfficientNet, MnasNet), or
            "expanded", the channels that are gated (MobileNetV3).
        activation: Activation between the two 1x1 convolutions.
        gate: Function that turns the excitation into factors between 0 and 1.
        divisor: Number that the squeezed width is a multiple of, rounded as in `round_channels` (8 in MobileNetV3).
            With 1 the width is not rounded.
    """

    ratio: float = field(converter=_float, validator=_number(1e-6, 1))
    of: str = field(default="input", validator=_one_of(GATE_WIDTHS))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))
    gate: str = field(default="sigmoid", validator=_one_of(GATES))
    divisor: int = field(default=1, validator=_number(1, 64, whole=True))


@frozen(cache_hash=True)
class Stage:
    """Represent a sequence of equal layers, of which the first may have a stride and may change the channels.

    Attributes:
        operator: Kind of the layers:

            - "conv": a k x k convolution, BN and an activation.
            - "dsconv": a depthwise and a pointwise convolution, each with BN and an activation (MobileNetV1).
            - "mbconv": an expanding 1x1 convolution, a depthwise convolution and a linear projection (MobileNetV2).
              With expansion 1 there is no expanding convolution.
            - "inverted": the same as "mbconv", but with expansion 1 there is an expanding convolution too (FBNet, arXiv
              1812.03443).
            - "fused": an expanding k x k convolution and a linear projection (EfficientNetV2). With expansion 1 it is
              the same as "conv".
            - "basic": two k x k convolutions with BN, with an activation between them (ResNet).
            - "bottleneck": a 1x1 convolution to fewer channels, a k x k convolution and a 1x1 convolution to the output
              channels, each with BN and all but the last with an activation (ResNet).

            "basic" and "bottleneck" have another activation after the skip is added.
        channels: Number of output channels.
        layers: Number of layers.
        kernel: Height and width of the spatial kernel, an odd number. "basic" uses it in both convolutions.
        stride: Stride of the first layer; the other layers have stride 1. "basic" applies it in its first convolution,
            "bottleneck" in its k x k convolution.
        expansion: Number of channels inside the block divided by its input channels ("mbconv", "inverted", "fused"), or
            its output channels divided by the number of channels inside the block ("bottleneck").
        gate: Squeeze-and-excitation after the spatial convolution, or None. In "basic" and "bottleneck" it is at the
            end of the branch.
        skip: Value that is added to the output of a layer:

            - "identity": the layer's input if the stride is 1 and the channels are equal, otherwise nothing.
            - "pool": the layer's input after 3x3 average pooling with the layer's stride. Channels are cut, or channels
              of zeros are added, to match the output.
            - "projection": the same as "identity" where that is possible, otherwise a 1x1 convolution of the input with
              the layer's stride and BN.
            - "none": nothing.
        activation: Activation function of the operator; "linear" means that there is none.
        divisor: Number that the channels inside the block are a multiple of, rounded as in `round_channels` (8 in
            MobileNetV3). With 1 they are only rounded to a whole number.

    >>> Stage("mbconv", 24, layers=2, stride=2, expansion=6, gate=Gate(0.25)).expansion
    6.0
    """

    operator: str = field(validator=_one_of(OPERATORS))
    channels: int = field(validator=_count())
    layers: int = field(default=1, validator=_number(1, 1000, whole=True))
    kernel: int = field(default=3, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=1, validator=_number(1, 4, whole=True))
    expansion: float = field(default=1.0, converter=_float, validator=_number(1, 100))
    gate: Gate | None = field(default=None, validator=_is(Gate, NoneType))
    skip: str = field(default="identity", validator=_one_of(SKIPS))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))
    divisor: int = field(default=1, validator=_number(1, 64, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.divisor != 1 and self.operator not in EXPANDING_OPERATORS:
            raise ArchitectureError(
                f"stage operator {self.operator} has divisor {self.divisor}",
                f"only {', '.join(EXPANDING_OPERATORS)} have channels inside the block; leave the divisor out",
            )
        if self.expansion != 1 and self.operator not in EXPANDING_OPERATORS:
            raise ArchitectureError(
                f"stage operator {self.operator} has expansion {self.expansion:g}",
                f"only {', '.join(EXPANDING_OPERATORS)} have an expansion; leave the expansion out",
            )


@frozen(cache_hash=True)
class ConvStem:
    """Represent a stem of a k x k convolution, BN and an activation."""

    channels: int = field(validator=_count())
    kernel: int = field(default=3, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=2, validator=_number(1, 4, whole=True))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class MaxPoolStem:
    """Represent ResNet's stem: a k x k convolution, BN, an activation and 3x3 max pooling.

    The max pooling has stride 2 and is padded by 1 on every side.
    """

    channels: int = field(validator=_count())
    kernel: int = field(default=7, validator=_number(1, 99, whole=True, odd=True))
    stride: int = field(default=2, validator=_number(1, 4, whole=True))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class ConvHead:
    """Represent a head of a 1x1 convolution, BN, an activation, global average pooling, dropout and a classifier."""

    channels: int = field(validator=_count())
    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


@frozen(cache_hash=True)
class PoolHead:
    """Represent a head of global average pooling, dropout and a classifier."""

    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))


@frozen(cache_hash=True)
class MlpHead:
    """Represent MobileNetV3's head (arXiv 1905.02244, section 5.1).

    It consists of a 1x1 convolution, BN, an activation, global average pooling, a linear layer with biases, an
    activation, dropout and a classifier.

    Attributes:
        channels: Number of output channels of the convolution.
        features: Number of output features of the linear layer before the classifier.
        dropout: Dropout rate before the classifier.
        activation: Activation after the convolution and after the linear layer.
    """

    channels: int = field(validator=_count())
    features: int = field(validator=_count())
    dropout: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))
    activation: str = field(default="relu", validator=_one_of(ACTIVATIONS))


def _stages(stages: Any) -> Any:
    """Return an iterable as a tuple and any other value unchanged, so that the validator checks it."""
    return tuple(stages) if isinstance(stages, Iterable) else stages


@frozen(cache_hash=True)
class Input:
    """Represent the input of the networks of a search space that has several resolutions; it has no layers.

    Attributes:
        resolution: Height and width of the input in pixels.
    """

    resolution: int = field(validator=_number(1, 100_000, whole=True))


Stem = ConvStem | MaxPoolStem
Head = ConvHead | PoolHead | MlpHead
Part = Stem | Stage | Head


def _members(union: Any) -> tuple[type, ...]:
    return get_args(union) or (union,)


@frozen(cache_hash=True)
class Norm:
    """Represent the settings of batch normalization.

    Attributes:
        momentum: Momentum as torch defines it; TensorFlow's is one minus this value.
        eps: Constant that is added to the variance.
    """

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
    in_channels: int = field(default=3, validator=_count())
    classes: int = field(default=1000, validator=_count())
    padding: str = field(default="symmetric", validator=_one_of(PADDINGS))
    norm: Norm = field(default=Norm(), validator=_is(Norm))
    drop_path: float = field(default=0.0, converter=_float, validator=_number(0, 0.99))

    def __attrs_post_init__(self) -> None:
        if not self.stages:
            raise ArchitectureError("the architecture has no stage", "give it at least one stage")
        layers = sum(stage.layers for stage in self.stages)
        if layers > MOST_LAYERS:
            raise ArchitectureError(
                f"the architecture has {layers:,} layers", f"give it at most {MOST_LAYERS:,} layers"
            )

    def adapted(self, *, resolution: int, classes: int) -> "Architecture":
        """Return the same network for another resolution and number of classes, such as those of a proxy task."""
        return attrs.evolve(self, resolution=resolution, classes=classes)
