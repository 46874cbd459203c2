"""An architecture as a torch module, made from the nodes of the one shape walk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from attrs import frozen
from torch import Tensor, nn

from nas.arch.layers import INPUT, Node, PlacedPart, walk
from nas.arch.spec import Architecture, Norm, Stage
from nas.models.blocks import Add, Classifier, Conv, ConvNorm, Mean, Resize, Scale, activation


@frozen
class Setting:
    """What a node's module takes from its surroundings: the architecture's padding and norm, its layer's drop rate."""

    padding: str
    norm: Norm
    drop_rate: float


def build_model(arch: Architecture) -> nn.Sequential:
    """The network with fresh weights: input `(N, in_channels, H, W)` of any size, output logits `(N, classes)`.

    Its parts are `stem`, `stages.I.J` (layer J of stage I) and `head`, each holding its nodes' modules under the nodes'
    names, e.g. `stages.2.0.depthwise.conv.weight`. Fresh weights, dropout and dropped branches are drawn from torch's
    global generator.
    """
    model = nn.Sequential()
    for placed, rate in _with_drop_rates(arch):
        setting = Setting(arch.padding, arch.norm, rate)
        _place(model, placed.name, Nodes(placed.nodes, setting))
    return model


def _with_drop_rates(arch: Architecture) -> Iterator[tuple[PlacedPart, float]]:
    parts = tuple(walk(arch))
    layers = [placed.name for placed in parts if isinstance(placed.part, Stage)]
    rates = {name: arch.drop_path * i / len(layers) for i, name in enumerate(layers)}
    return ((placed, rates.get(placed.name, 0.0)) for placed in parts)


def _place(model: nn.Sequential, name: str, module: nn.Module) -> None:
    """Set a submodule at a dotted name; the containers on the way are made as needed."""
    folder, _, rest = name.partition(".")
    if not rest:
        model.add_module(name, module)
        return
    if folder not in dict(model.named_children()):
        model.add_module(folder, nn.Sequential())
    _place(model.get_submodule(folder), rest, module)  # type: ignore[arg-type]


class Nodes(nn.Module):
    """One part: a module for each node, run in order over named values; a value is let go after its last reader."""

    def __init__(self, nodes: Sequence[Node], setting: Setting) -> None:
        super().__init__()
        for node in nodes:
            self.add_module(node.name, MODULES[node.op](node, setting))
        last_read = {name: node.name for node in nodes for name in node.inputs}
        self.steps = tuple(
            (node.name, node.inputs, tuple(name for name in set(node.inputs) if last_read[name] == node.name))
            for node in nodes
        )

    def forward(self, values: Tensor) -> Tensor:
        """From the part's input to the output of its last node."""
        alive = {INPUT: values}
        for name, inputs, done in self.steps:
            alive[name] = self._modules[name](*[alive[read] for read in inputs])  # type: ignore[misc]
            for read in done:
                del alive[read]
        return alive[name]


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


# One row for each kind of node the walk makes.
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
