"""The records that the known networks are written with: one record is one operation, a tuple of records is a sequence.

A network reads like the table of its paper: a tuple of records from the image to the logits, in which `Parallel`
and `Cells` hold sequences of their own. Shapes are those of one image: `(C, H, W)` for feature maps, `(T, D)`
for T tokens with D features, and `(F,)` for vectors. `nas.zoo.nodes` derives the shapes, the parameters and the MACs
from the records, and `nas.zoo.graph` writes the ONNX graph.
"""

from typing import TypeAlias

from attrs import frozen

# Pixels above, on the left, below and on the right; one number stands for all four.
Padding: TypeAlias = int | tuple[int, int, int, int]
LINEAR = "linear"


@frozen
class Conv:
    """Represent a convolution, what is added to its output, and an activation.

    Attributes:
        channels: Number of output channels.
        kernel: Size of the kernel, or its height and width.
        stride: Stride in both directions.
        padding: Padding with zeros; by default half of an odd kernel on each side.
        groups: Number of groups of channels that are convolved separately.
        offset: "norm" for batch normalization, which is folded into the convolution and has a scale and a shift for
            each channel; "bias" for a bias; or "none".
        activation: Activation function after it; "linear" for none.
    """

    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: Padding | None = None
    groups: int = 1
    offset: str = "norm"
    activation: str = "relu"


@frozen
class Depthwise:
    """Represent a convolution with one kernel for each channel; the attributes are those of `Conv`."""

    kernel: int = 3
    stride: int = 1
    padding: Padding | None = None
    offset: str = "norm"
    activation: str = "relu"


@frozen
class Linear:
    """Represent a matrix product over the features of a vector or of each token, with a bias and an activation.

    Attributes:
        features: Number of output features.
        activation: Activation function after it; "linear" for none.
    """

    features: int
    activation: str = LINEAR


@frozen
class Activation:
    """Represent an activation function, one of the names in `nas.zoo.graph.ACTIVATIONS`."""

    function: str = "relu"


@frozen
class BatchNorm:
    """Represent a batch normalization that is not folded, because no single convolution precedes it."""

    epsilon: float = 1e-5


@frozen
class GroupNorm:
    """Represent group normalization (arXiv 1803.08494) with a scale and a shift for each channel."""

    groups: int = 32
    epsilon: float = 1e-5


@frozen
class LayerNorm:
    """Represent layer normalization of each token (arXiv 1607.06450)."""

    epsilon: float = 1e-6


@frozen
class Pool:
    """Represent maximum or average pooling.

    Attributes:
        kind: "max" or "average".
        kernel: Height and width of the window.
        stride: Stride of the window.
        padding: Padding, which a maximum never selects.
        ceil: Whether a last window that reaches beyond the image counts, so that the output size is rounded up.
        counts_padding: Whether the zeros of the padding count in an average.
    """

    kind: str
    kernel: int
    stride: int
    padding: Padding = 0
    ceil: bool = False
    counts_padding: bool = False


@frozen
class GlobalAverage:
    """Represent the mean over the height and width of a feature map, which becomes 1, or over all tokens."""


@frozen
class Flatten:
    """Represent a feature map as one vector."""


@frozen
class Pad:
    """Represent zeros around a feature map; a negative number of pixels cuts pixels off."""

    padding: Padding


@frozen
class Channels:
    """Represent the selection of consecutive channels: part `part` of `parts` equal ones."""

    part: int
    parts: int = 2


@frozen
class Shuffle:
    """Represent the channel shuffle of ShuffleNet (arXiv 1707.01083): channels of all groups take turns."""

    groups: int = 2


@frozen
class Tokens:
    """Represent a feature map as a sequence of tokens, one for each pixel.

    Attributes:
        class_token: Whether a learned token for the class comes first.
        positions: Whether a learned vector is added to each token.
    """

    class_token: bool = False
    positions: bool = False


@frozen
class Transpose:
    """Represent the exchange of tokens and features."""


@frozen
class FirstToken:
    """Represent the selection of the first token as a vector."""


@frozen
class Products:
    """Represent the products of attention (arXiv 1706.03762) for queries, keys and values side by side.

    An input `(T, 3 D)` gives an output `(T, D)`. Both matrix products count as MACs: `T * T * D` each.
    """

    heads: int


@frozen
class Parallel:
    """Represent several sequences that read the same input.

    Attributes:
        paths: The sequences; an empty one is the input itself.
        join: "concat" to join the channels of the outputs, or "add" to add the outputs.
        activation: Activation function after it; "linear" for none.
    """

    paths: "tuple[Block, ...]"
    join: str = "concat"
    activation: str = LINEAR


@frozen
class Cells:
    """Represent cells that each read the outputs of the two cells before them (NASNet, arXiv 1707.07012).

    Attributes:
        cells: The cells in order.
    """

    cells: "tuple[Cell, ...]"


@frozen
class Cell:
    """Represent one cell: a graph of sums of two values each, whose outputs are joined.

    Attributes:
        previous: Sequence that adjusts the output of the cell before the last one.
        current: Sequence that adjusts the output of the last cell.
        sums: For each sum, two pairs of a value and the sequence it goes through. Values are numbered: 0 is the
            adjusted output of the last cell, 1 that of the one before, and from 2 on they are the sums.
        outputs: Numbers of the values that are joined as the output.
    """

    previous: "Block"
    current: "Block"
    sums: "tuple[tuple[tuple[int, Block], tuple[int, Block]], ...]"
    outputs: tuple[int, ...]


Operation: TypeAlias = (
    Conv
    | Depthwise
    | Linear
    | Activation
    | BatchNorm
    | GroupNorm
    | LayerNorm
    | Pool
    | GlobalAverage
    | Flatten
    | Pad
    | Channels
    | Shuffle
    | Tokens
    | Transpose
    | FirstToken
    | Products
)
Block: TypeAlias = Operation | Parallel | Cells | tuple["Block", ...]


def residual(body: Block, shortcut: Block = (), activation: str = LINEAR) -> Parallel:
    """Return the sum of a body and a shortcut, by default the identity, with an activation."""
    return Parallel((body, shortcut), "add", activation)


def attention(heads: int, features: int) -> Block:
    """Return multi-head self-attention: one matrix for queries, keys and values, the products, and a projection."""
    return (Linear(3 * features), Products(heads), Linear(features))
