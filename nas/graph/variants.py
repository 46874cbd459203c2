"""Variants of the form of a graph: other operators with the same results, of which a device may run one faster.

`nas.graph.form.FORM` is the fastest form on the CPUs that were measured (experiments/kernels). Other devices may have
other kernels, so that an exported file is written in the form that is fastest on its own device.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas.arch.layers import Node
from nas.graph.build import ACTIVATIONS, EMIT, OPERATORS, NodeContext, Operators

Emitter = Callable[[NodeContext, Node], str]
STANDARD = "standard"
_GATE_CONVS = ("se_reduce", "se_expand")


def _conv_or_matrix(context: NodeContext, node: Node) -> str:
    """Append a convolution; one of a gate, whose input is a vector for each image, becomes a matrix product."""
    name = context.name.rpartition(".")[2]
    if name not in _GATE_CONVS:
        return EMIT["conv"](context, node)
    weight = context.builder.weights[f"{context.name}.weight"]
    matrix = context.builder.add_constant(f"{context.name}.weight", weight.reshape(weight.shape[:2]))
    bias = context.builder.weight(f"{context.name}.bias")
    if name == _GATE_CONVS[1]:
        return context.append("Gemm", matrix, bias, transB=1)
    flat = context.append("Flatten", output=f"{context.name}.flat")
    return context.append("Gemm", matrix, bias, inputs=[flat], transB=1)


def _scale_by_vector(context: NodeContext, node: Node) -> str:
    shape = context.builder.numbers(-1, node.shape.channels, 1, 1)
    factors = context.append("Reshape", shape, inputs=context.inputs[1:], output=f"{context.name}.factors")
    return context.append("Mul", inputs=[context.inputs[0], factors])


MATRIX_GATES: Mapping[str, Emitter] = MappingProxyType({"conv": _conv_or_matrix, "scale": _scale_by_vector})
GLOBAL_POOL: Mapping[str, Emitter] = MappingProxyType({"mean": lambda context, _: context.append("GlobalAveragePool")})


def with_nodes(nodes: Mapping[str, Emitter]) -> Operators:
    """Return the operators of `nas.graph.form.FORM` with others for some kinds of nodes."""
    return Operators(OPERATORS.opset, MappingProxyType({**EMIT, **nodes}), ACTIVATIONS)


VARIANTS: Mapping[str, Operators] = MappingProxyType(
    {
        STANDARD: OPERATORS,
        "means by GlobalAveragePool": with_nodes(GLOBAL_POOL),
        "gates by matrix products": with_nodes(MATRIX_GATES),
        "gates by matrix products, means by GlobalAveragePool": with_nodes({**MATRIX_GATES, **GLOBAL_POOL}),
    }
)
"""Operators by the name of the variant; the first one is the form in which latencies are measured."""
