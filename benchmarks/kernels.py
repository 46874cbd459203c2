"""Compare the forms in which an operator can be written in an ONNX graph: their outputs and their time on this machine.

    python benchmarks/kernels.py --json experiments/kernels/kernels.json
    python benchmarks/kernels.py --networks 2 --repeats 2 opset gate       # some groups, quickly

The graphs that `nas` writes have the form `nas.graph.form.FORM`. Each group of variants changes one thing in it: the
opset, the operators of squeeze-and-excitation, of an activation, of pooling or of resizing. A variant is compared with
the form of `nas` on a single layer between two convolutions, and on whole networks that use the operator.

Every variant of a network has the same weights and the same input, and its output is compared with that of the form of
`nas`. Times are measured by the protocol of `nas.device.timing`: all variants run in turn with the reference network.
One session can be a few percent slower than an equal one, because of where its memory is. So the sessions are made anew
in another order in each repeat, and the group "again" holds a second copy of the form itself: a difference that is not
larger than its difference is noise. Given are ratios of the smallest times over all repeats, and medians of the ratios
within rounds: geometric means over networks with their standard errors. With `--cpu-time`, runs are timed by the CPU
time of the thread (`benchmarks/cpu_time.py`), which other programs on the machine change little.

A new form is chosen where a variant is faster on whole networks by more than noise. Change `nas/graph/build.py` then,
increase the number in `nas/graph/form.py`, and measure the latency tables again.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attrs import evolve, frozen
from cpu_time import by_cpu_time

from nas.arch.canonical import canonical
from nas.arch.layers import Node, Shape
from nas.arch.presets import preset
from nas.arch.spec import Gate, Stage
from nas.cost.layers import Layer, layer_in_context
from nas.device.machine import this_machine
from nas.device.reference import REFERENCE
from nas.device.session import TimedNetwork, load_network
from nas.device.spec import Device
from nas.device.timing import Aim, Timing, time_in_turn
from nas.graph.build import ACTIVATIONS, EMIT, OPERATORS, NodeContext, Operators, build_graph
from nas.graph.form import FORM
from nas.graph.fragment import Fragment, whole
from nas.graph.variants import GLOBAL_POOL, MATRIX_GATES
from nas.space.files import find_space

ONE = Device()
SPACES = ("mnasnet", "efficientnet", "mobilenetv3")
PRESETS = (
    "efficientnet-b0",
    "efficientnet-lite0",
    "mnasnet-a1",
    "mobilenetv2",
    "mobilenetv3-large",
    "mobilenetv3-small",
)
TOLERANCE = 1e-4
Emitter = Callable[[NodeContext, Node], str]
RUNTIME = "com.microsoft"


def _float(context: NodeContext, value: float) -> str:
    return context.builder.add_constant(f"float:{value}", np.array(value, dtype=np.float32))


def _mean_by_attribute(context: NodeContext, _node: Node) -> str:
    return context.append("ReduceMean", axes=[2, 3], keepdims=1)  # until opset 17


def _mean_by_pooling(context: NodeContext, _node: Node) -> str:
    return context.append("AveragePool", kernel_shape=[context.shape.height, context.shape.width])


def _hard_swish_by_gate(context: NodeContext) -> str:
    gate = context.append("HardSigmoid", alpha=1 / 6, beta=0.5, output=f"{context.name}.gate")
    return context.append("Mul", gate)


def _clipped(context: NodeContext) -> str:
    moved = context.append("Add", _float(context, 3), output=f"{context.name}.moved")
    return context.append(
        "Clip", _float(context, 0), _float(context, 6), inputs=[moved], output=f"{context.name}.clipped"
    )


def _hard_swish_by_clip(context: NodeContext) -> str:
    product = context.append("Mul", _clipped(context), output=f"{context.name}.product")
    return context.append("Div", _float(context, 6), inputs=[product])


def _hard_sigmoid_by_clip(context: NodeContext) -> str:
    return context.append("Div", _float(context, 6), inputs=[_clipped(context)])


def _silu_of_runtime(context: NodeContext) -> str:
    return context.append("QuickGelu", alpha=1.0, domain=RUNTIME)


def _swish(context: NodeContext) -> str:
    return context.append("Swish", alpha=1.0)


def _relu6_by_minimum(context: NodeContext) -> str:
    positive = context.append("Relu", output=f"{context.name}.positive")
    return context.append("Min", _float(context, 6), inputs=[positive])


def _resize_by_concat(context: NodeContext, node: Node) -> str:
    missing = node.shape.channels - node.in_channels
    if missing <= 0:
        return EMIT["resize"](context, node)
    shape = (context.builder.batch, missing, node.shape.height, node.shape.width)
    zeros = context.builder.add_constant(f"zeros:{shape}", np.zeros(shape, dtype=np.float32))
    return context.append("Concat", zeros, axis=1)


def _resize_by_conv(context: NodeContext, node: Node) -> str:
    sizes = (node.shape.channels, node.in_channels)
    identity = np.eye(*sizes, dtype=np.float32)[:, :, None, None]
    return context.append("Conv", context.builder.add_constant(f"identity:{sizes}", identity), kernel_shape=[1, 1])


def _pool_by_conv(context: NodeContext, node: Node) -> str:
    """Pool by a depthwise convolution with ones, and a division by the number of pixels inside the image."""
    builder, channels = context.builder, node.shape.channels
    ones = builder.add_constant(f"ones:{channels}", np.ones((channels, 1, 3, 3), dtype=np.float32))
    summed = context.append(
        "Conv",
        ones,
        output=f"{context.name}.sum",
        kernel_shape=[3, 3],
        pads=[1] * 4,
        strides=[node.stride] * 2,
        group=channels,
    )
    inside = [np.convolve(np.ones(side), np.ones(3), "same") for side in (context.shape.height, context.shape.width)]
    counts = np.multiply.outer(*inside)[:: node.stride, :: node.stride]
    factors = builder.add_constant(f"factors:{counts.shape}:{node.stride}", (1 / counts).astype(np.float32))
    return context.append("Mul", factors, inputs=[summed])


def _with(opset: int = OPERATORS.opset, nodes: Mapping[str, Emitter] = {}, **activations: Any) -> Operators:
    return Operators(opset, {**EMIT, **nodes}, {**ACTIVATIONS, **activations})


@frozen
class Group:
    """Hold variants of one thing.

    Attributes:
        variants: Operators of each variant, by name.
        layer: Layer in which they differ from the form of `nas`.
        shape: Shape of its input.
    """

    variants: Mapping[str, Operators]
    layer: Stage
    shape: Shape


GATED = Stage("mbconv", 40, kernel=5, expansion=3, gate=Gate(0.25))
POOLED = Stage("dsconv", 24, skip="pool")
SMALL, LARGE = Shape(40, 28, 28), Shape(24, 112, 112)
GROUPS: Mapping[str, Group] = {
    "again": Group({"the same": OPERATORS}, GATED, SMALL),
    "opset": Group(
        {"17": _with(17, {"mean": _mean_by_attribute}), "19": _with(19), "20": _with(20), "21": _with(21)},
        POOLED,
        LARGE,
    ),
    "gate": Group(
        {
            "Gemm": _with(nodes=MATRIX_GATES),
            "Gemm after GlobalAveragePool": _with(nodes={**MATRIX_GATES, **GLOBAL_POOL}),
            "hard sigmoid by Clip": _with(hard_sigmoid=_hard_sigmoid_by_clip),
        },
        evolve(GATED, gate=Gate(0.25, gate="hard_sigmoid")),
        SMALL,
    ),
    "mean": Group(
        {"GlobalAveragePool": _with(nodes=GLOBAL_POOL), "AveragePool": _with(nodes={"mean": _mean_by_pooling})},
        GATED,
        SMALL,
    ),
    "hard_swish": Group(
        {"HardSigmoid": _with(hard_swish=_hard_swish_by_gate), "Clip": _with(hard_swish=_hard_swish_by_clip)},
        Stage("mbconv", 40, expansion=3, activation="hard_swish"),
        SMALL,
    ),
    "silu": Group(
        {"QuickGelu of the runtime": _with(silu=_silu_of_runtime), "Swish of opset 24": _with(24, silu=_swish)},
        Stage("mbconv", 40, expansion=3, activation="silu"),
        SMALL,
    ),
    "relu6": Group(
        {"Min of Relu": _with(relu6=_relu6_by_minimum)}, Stage("mbconv", 40, expansion=3, activation="relu6"), SMALL
    ),
    "pool": Group({"depthwise Conv": _with(nodes={"pool": _pool_by_conv})}, POOLED, LARGE),
    "resize": Group(
        {"Concat": _with(nodes={"resize": _resize_by_concat}), "Conv": _with(nodes={"resize": _resize_by_conv})},
        evolve(POOLED, channels=40),
        LARGE,
    ),
}


def main() -> None:
    """Run the groups that are asked for, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="groups to compare; by default all")
    parser.add_argument("--networks", type=int, default=6, help="random networks of each space")
    parser.add_argument("--repeats", type=int, default=5, help="repeats with new sessions in another order")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each repeat of a network")
    parser.add_argument("--cpu-time", action="store_true", help="time by the CPU time of the thread")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    groups = {name: GROUPS[name] for name in given.groups or GROUPS}
    layers = {f"layer of {name}": _layer_of(group) for name, group in groups.items()}
    rows = {"again", *groups}
    found = [
        measured(name, network, {key: GROUPS[key] for key in GROUPS if key in rows}, given)
        for name, network in (*layers.items(), *_networks(given.networks))
    ]
    figures: dict[str, Any] = {
        "form": FORM,
        "cpu_time": given.cpu_time,
        "machine": str(this_machine(ONE)),
        "summary": summary(found),
        "networks": [each for each in found if each],
    }
    print(table(figures["summary"]))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _layer_of(group: Group) -> Fragment:
    return layer_in_context(Layer(group.layer, group.shape), 1000, "symmetric")


def _networks(count: int) -> Iterator[tuple[str, Fragment]]:
    for name in PRESETS:
        yield name, whole(preset(name))
    rng = np.random.default_rng(11)
    for name in SPACES:
        space = find_space(name)
        for number, indices in enumerate(space.sample(rng, count)):
            yield f"{name} {number}", whole(canonical(space.from_indices(indices)))


def measured(name: str, network: Fragment, groups: Mapping[str, Group], given: argparse.Namespace) -> dict[str, Any]:
    """Return the ratios of the time of each variant to that of the form of `nas`, by group and variant."""
    own = _graph(network, OPERATORS)
    graphs = {("again", "the same"): own} | {
        (group, variant): graph
        for group, each in groups.items()
        for variant, operators in each.variants.items()
        # A network that does not use the operator says nothing about it, although its opset differs.
        if (graph := _graph(network, operators)).graph != own.graph or group == "opset"
    }
    if len(graphs) == 1:
        return {}
    outputs = {key: _output(load_network(graph, ONE)) for key, graph in (("own", own), *graphs.items())}
    errors = {key: _difference(outputs[key], outputs["own"]) for key in graphs}
    for (group, variant), error in errors.items():
        assert error < TOLERANCE, f"{name}: {group} {variant} differs by {error}"
    repeats = [_times({"own": own, **graphs}, given, seed) for seed in range(given.repeats)]
    row = {
        "network": name,
        "own_min_ms": min(each["own"].min_ms for each in repeats),
        "variants": {
            f"{group}: {variant}": {
                "ratio": float(np.median([each[group, variant].ratio / each["own"].ratio for each in repeats])),
                "ratios": [each[group, variant].ratio / each["own"].ratio for each in repeats],
                "min_ms": min(each[group, variant].min_ms for each in repeats),
                "largest_difference": errors[group, variant],
            }
            for group, variant in graphs
        },
    }
    print(f"{name}: {row['own_min_ms']:.2f} ms", *_brief(row), sep="\n  ", flush=True)
    return row


def _graph(network: Fragment, operators: Operators) -> onnx.ModelProto:
    graph = build_graph(network, operators=operators)
    # The runtime's own operators; a graph without them may name their version too.
    graph.opset_import.append(onnx.helper.make_opsetid(RUNTIME, 1))
    return graph


def _brief(row: Mapping[str, Any]) -> Iterator[str]:
    for name, one in row["variants"].items():
        low, high = min(one["ratios"]), max(one["ratios"])
        yield f"{name}: {one['ratio']:.3f} ({low:.3f}-{high:.3f}), minimum {one['min_ms'] / row['own_min_ms']:.3f}"


def _output(network: TimedNetwork) -> Any:
    return network.binding.copy_outputs_to_cpu()[0]


def _difference(output: Any, expected: Any) -> float:
    return float(abs(output - expected).max() / abs(expected).max())


def _times(graphs: Mapping[Any, onnx.ModelProto], given: argparse.Namespace, seed: int) -> dict[Any, Timing]:
    order = list(graphs)
    np.random.default_rng(seed).shuffle(order)
    loaded = [load_network(graph, ONE) for graph in (build_graph(REFERENCE), *(graphs[key] for key in order))]
    reference, *runs = map(by_cpu_time, loaded) if given.cpu_time else loaded
    clock = time.thread_time if given.cpu_time else time.monotonic
    turns = time_in_turn(reference, runs, Aim(spread=0.001, least=20, most=1000, seconds=given.seconds), clock=clock)
    return dict(zip(order, turns.timings, strict=True))


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return for each variant its ratio on its layer, and geometric means with standard errors over whole networks."""
    names = dict.fromkeys(name for each in found if each for name in each["variants"])
    return {name: _summary(name, [each for each in found if each and name in each["variants"]]) for name in names}


def _summary(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ratios = {row["network"]: row["variants"][name]["ratio"] for row in rows}
    minima = {row["network"]: row["variants"][name]["min_ms"] / row["own_min_ms"] for row in rows}
    networks = [network for network in ratios if not network.startswith("layer of ")]
    return {
        "layer": minima.get(f"layer of {name.partition(':')[0]}"),
        "networks": len(networks),
        "minima": _mean([minima[network] for network in networks]),
        "medians": _mean([ratios[network] for network in networks]),
        "fastest": min((minima[network] for network in networks), default=None),
        "slowest": max((minima[network] for network in networks), default=None),
    }


def _mean(ratios: Sequence[float]) -> tuple[float, float] | None:
    """Return the geometric mean and its standard error, or None without ratios."""
    logs = np.log(ratios)
    return (float(np.exp(logs.mean())), float(logs.std() / max(1, len(logs) - 1) ** 0.5)) if len(logs) else None


def table(summaries: Mapping[str, Any]) -> str:
    """Return the summary as a table in Markdown."""
    lines = [
        "| variant | its layer | networks | minima | from – to | medians |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in summaries.items():
        layer = "–" if one["layer"] is None else f"{one['layer']:.2f}"
        if not one["networks"]:
            lines.append(f"| {name} | {layer} | 0 | – | – | – |")
            continue
        minima, medians = (f"{mean:.3f} ± {error:.3f}" for mean, error in (one["minima"], one["medians"]))
        lines.append(
            f"| {name} | {layer} | {one['networks']} | {minima} | {one['fastest']:.2f} – {one['slowest']:.2f} "
            f"| {medians} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
