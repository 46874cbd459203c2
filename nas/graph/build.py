"""A fragment of an architecture ► `onnx.ModelProto`, node by node as the shape walk has them.

The operators are those that `torch.onnx.export` writes for the torch model of the same nodes once its batch
normalisations are folded, so that ONNX Runtime ends with the same graph.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import onnx
from attrs import define, field
from onnx import TensorProto, helper, numpy_helper

from nas.arch.layers import INPUT, Node, PlacedPart, Shape, same_padding
from nas.errors import ArchitectureError
from nas.graph.fragment import Fragment
from nas.graph.weights import Weights, random_weights, weighted

OPSET = 20
IR_VERSION = 10
OUTPUT = "output"
LARGEST_BYTES = 2**31 - 2**20  # of a protobuf message, with some room for what is not a weight


def build_graph(fragment: Fragment, weights: Weights | None = None, *, batch: int = 1) -> onnx.ModelProto:
    """A graph from `input` `(batch, C, H, W)` to `output`, `(batch, classes)` for a whole network.

    Args:
        fragment: what to build.
        weights: see `folded_weights`; None draws them at random.
        batch: images at a time.

    Raises:
        ArchitectureError: the weights are too large for one ONNX file.
    """
    parts = fragment.walk()
    _check_size(parts)
    tape = _Tape(random_weights(parts) if weights is None else weights, fragment.padding, batch)
    value = INPUT
    for placed in parts:
        value = _put_part(tape, placed, value, last=placed is parts[-1])
    return _model(tape, fragment.shape, parts[-1].nodes[-1])


def _check_size(parts: Iterable[PlacedPart]) -> None:
    count = sum(node.weights + node.shape.channels for _, node in weighted(parts))  # with the biases
    if 4 * count > LARGEST_BYTES:
        raise ArchitectureError(
            f"{count:,} weights do not fit into one ONNX file of 2 GB", "give a network of fewer than 500M parameters"
        )


def _put_part(tape: "_Tape", placed: PlacedPart, value: str, *, last: bool) -> str:
    """The operators of one part that reads `value`; gives the name of its result."""
    names, shapes = {INPUT: value}, {INPUT: placed.shape}
    for node in placed.nodes:
        whole = f"{placed.name}.{node.name}"
        output = OUTPUT if last and node is placed.nodes[-1] else whole
        site = _Site(tape, whole, [names[name] for name in node.inputs], shapes[node.inputs[0]], output)
        names[node.name], shapes[node.name] = EMIT[node.op](site, node), node.shape
    return names[placed.nodes[-1].name]


@define
class _Tape:
    """A graph in the making; its values are `flat`, `(batch, C)`, once a matrix was applied."""

    weights: Weights
    padding: str
    batch: int
    flat: bool = False
    nodes: list[onnx.NodeProto] = field(factory=list)
    constants: dict[str, onnx.TensorProto] = field(factory=dict)

    def keep(self, name: str, array: Any) -> str:
        """A constant of the graph."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def weight(self, name: str) -> str:
        return self.keep(name, self.weights[name])

    def numbers(self, *values: int) -> str:
        """Whole numbers that operators read as an input, such as axes; equal ones are kept once."""
        return self.keep(f"int64:{','.join(map(str, values))}", np.array(values, dtype=np.int64))


@attrs.frozen
class _Site:
    """Where a node stands: its whole name, the names of what it reads, its first input's shape, its output's name."""

    tape: _Tape
    name: str
    inputs: Sequence[str]
    shape: Shape
    output: str

    def put(self, op: str, *more: str, reads: Sequence[str] = (), makes: str = "", **attributes: Any) -> str:
        """An ONNX operator that reads `reads` (else the node's inputs) and then `more`."""
        output = makes or self.output
        node = helper.make_node(op, [*(reads or self.inputs), *more], [output], name=output, **attributes)
        self.tape.nodes.append(node)
        return output


def _conv(site: _Site, node: Node) -> str:
    return site.put(
        "Conv",
        site.tape.weight(f"{site.name}.weight"),
        site.tape.weight(f"{site.name}.bias"),
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=_pads(site, node),
        group=node.groups,
        dilations=[1, 1],
    )


def _pads(site: _Site, node: Node) -> list[int]:
    """Above, left, below, right."""
    half = node.kernel // 2
    if site.tape.padding == "symmetric" or node.stride == 1:
        return [half] * 4
    added = [same_padding(side, node.kernel, node.stride) for side in (site.shape.height, site.shape.width)]
    return [side // 2 for side in added] + [side - side // 2 for side in added]


def _linear(site: _Site, node: Node) -> str:
    flat = site.inputs[0] if site.tape.flat else _flatten(site, node)
    site.tape.flat = True
    weight, bias = (site.tape.weight(f"{site.name}.{part}") for part in ("weight", "bias"))
    return site.put("Gemm", weight, bias, reads=[flat], transB=1)


def _flatten(site: _Site, node: Node) -> str:
    sides = site.tape.numbers(site.tape.batch, node.in_channels)
    return site.put("Reshape", sides, makes=f"{site.name}.flat", allowzero=1)


def _relu6(site: _Site) -> str:
    low, high = (site.tape.keep(f"float:{v}", np.array(v, dtype=np.float32)) for v in (0, 6))
    return site.put("Clip", low, high)


def _silu(site: _Site) -> str:
    gate = site.put("Sigmoid", makes=f"{site.name}.sigmoid")
    return site.put("Mul", gate)


ACTIVATIONS: Mapping[str, Callable[[_Site], str]] = MappingProxyType(
    {
        "relu": lambda site: site.put("Relu"),
        "relu6": _relu6,
        "silu": _silu,
        "hard_swish": lambda site: site.put("HardSwish"),
        "hard_sigmoid": lambda site: site.put("HardSigmoid", alpha=1 / 6, beta=0.5),
        "sigmoid": lambda site: site.put("Sigmoid"),
    }
)


def _pool(site: _Site, node: Node) -> str:
    half = node.kernel // 2
    return site.put(
        "AveragePool",
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=[half] * 4,
        count_include_pad=0,
        ceil_mode=0,
    )


def _max_pool(site: _Site, node: Node) -> str:
    return site.put(
        "MaxPool",
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=[node.kernel // 2] * 4,
        dilations=[1, 1],
        ceil_mode=0,
        storage_order=0,
    )


def _resize(site: _Site, node: Node) -> str:
    numbers = site.tape.numbers
    missing = node.shape.channels - node.in_channels
    if missing <= 0:
        return site.put("Slice", numbers(0), numbers(node.shape.channels), numbers(1))
    return site.put("Pad", numbers(0, 0, 0, 0, 0, missing, 0, 0), mode="constant")


# One row for each kind of node the walk makes; each gives the name of the value it made.
EMIT: Mapping[str, Callable[[_Site, Node], str]] = MappingProxyType(
    {
        "conv": _conv,
        "linear": _linear,
        "activation": lambda site, node: ACTIVATIONS[node.activation](site),
        "mean": lambda site, _: site.put("ReduceMean", site.tape.numbers(2, 3), keepdims=1),
        "scale": lambda site, _: site.put("Mul"),
        "pool": _pool,
        "maxpool": _max_pool,
        "resize": _resize,
        "add": lambda site, _: site.put("Add"),
        "dropout": lambda site, _: site.inputs[0],
    }
)


def _model(tape: _Tape, shape: Shape, last: Node) -> onnx.ModelProto:
    out = [tape.batch, last.shape.channels]
    if last.op != "linear":
        out += [last.shape.height, last.shape.width]
    graph = helper.make_graph(
        tape.nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [tape.batch, *attrs.astuple(shape)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, out)],
        list(tape.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nas")
