"""Building the torch module of an architecture from the nodes of `nas.arch.layers`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from attrs import frozen
from torch import Tensor, nn

from nas.arch.layers import INPUT, Node, PlacedPart, walk
from nas.arch.spec import Architecture, Norm, Stage
from nas.models.blocks import Add, Classifier, Conv, ConvNorm, Mean, Resize, Scale, activation


@frozen
class Setting:
    """Hold the settings of a node's module that come from the architecture or from the layer.

    Attributes:
        padding: Padding of the architecture.
        norm: Batch normalization settings of the architecture.
        drop_rate: Rate of stochastic depth of the layer.
    """

    padding: str
    norm: Norm
    drop_rate: float


def build_model(arch: Architecture) -> nn.Sequential:
    """Return the torch module of an architecture with random weights.

    The input has the shape `(N, in_channels, H, W)` with any height and width. The output has the shape `(N, classes)`
    and holds the logits.

    The submodules are `stem`, `stages.I.J` (layer J of stage I, counted from 0) and `head`. Each contains the modules
    of its nodes under the names of the nodes, for example `stages.2.0.depthwise.conv.weight`. The initial weights,
    dropout and stochastic depth use torch's global random number generator.

    >>> import torch
    >>> from nas.arch.code import parse_text
    >>> model = build_model(parse_text("net classes=10;stem conv c8;mbconv e6 c16;head pool".replace(";", chr(10))))
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    model = nn.Sequential()
    for placed, rate in _with_drop_rates(arch):
        setting = Setting(arch.padding, arch.norm, rate)
        _add_at_path(model, placed.name, Nodes(placed.nodes, setting))
    return model


def _with_drop_rates(arch: Architecture) -> Iterator[tuple[PlacedPart, float]]:
    parts = tuple(walk(arch))
    layers = [placed.name for placed in parts if isinstance(placed.part, Stage)]
    # As in the code of EfficientNet: the rate grows linearly from 0 in the first layer.
    rates = {name: arch.drop_path * i / len(layers) for i, name in enumerate(layers)}
    return ((placed, rates.get(placed.name, 0.0)) for placed in parts)


def _add_at_path(model: nn.Sequential, path: str, module: nn.Module) -> None:
    """Add a submodule at a path such as "stages.2.0"; missing containers are created."""
    container, _, rest = path.partition(".")
    if not rest:
        model.add_module(path, module)
        return
    if container not in dict(model.named_children()):
        model.add_module(container, nn.Sequential())
    _add_at_path(model.get_submodule(container), rest, module)  # type: ignore[arg-type]


class Nodes(nn.Module):
    """Compute one part of a network with a module for each node.

    Args:
        nodes: Nodes in the order of computation.
        setting: Settings of the modules.
    """

    def __init__(self, nodes: Sequence[Node], setting: Setting) -> None:
        super().__init__()
        for node in nodes:
            self.add_module(node.name, MODULES[node.op](node, setting))
        # A value is deleted after the last node that reads it, so that it does not occupy memory for longer.
        last_read = {name: node.name for node in nodes for name in node.inputs}
        self.steps = tuple(
            (node.name, node.inputs, tuple(name for name in set(node.inputs) if last_read[name] == node.name))
            for node in nodes
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return the output of the last node, given the input of the part."""
        values_by_name = {INPUT: values}
        for name, inputs, last_uses in self.steps:
            values_by_name[name] = self._modules[name](*[values_by_name[read] for read in inputs])  # type: ignore[misc]
            for read in last_uses:
                del values_by_name[read]
        return values_by_name[name]


def _conv(node: Node, setting: Setting) -> nn.Module:
    conv = Conv(
        node.in_channels,
        node.shape.channels,
        kernel=node.kernel,
        stride=node.stride,
        groups=node.groups,
        bias=not node.norm,
        same=setting.padding == "same",
    )
    return ConvNorm(conv, setting.norm) if node.norm else conv


def _pool(node: Node, _setting: Setting) -> nn.Module:
    return nn.AvgPool2d(node.kernel, node.stride, padding=node.kernel // 2, count_include_pad=False)


def _max_pool(node: Node, _setting: Setting) -> nn.Module:
    return nn.MaxPool2d(node.kernel, node.stride, padding=node.kernel // 2)


# The function that builds the module of each kind of node (`Node.op`).
MODULES: Mapping[str, Callable[[Node, Setting], nn.Module]] = MappingProxyType(
    {
        "conv": _conv,
        "linear": lambda node, _: Classifier(node.in_channels, node.shape.channels),
        "activation": lambda node, _: activation(node.activation),
        "mean": lambda _node, _: Mean(),
        "scale": lambda _node, _: Scale(),
        "pool": _pool,
        "maxpool": _max_pool,
        "resize": lambda node, _: Resize(node.shape.channels),
        "add": lambda _node, setting: Add(setting.drop_rate),
        "dropout": lambda node, _: nn.Dropout(node.rate),
    }
)
