"""Compare the ONNX graphs that `nas` writes with those of `torch.onnx.export`, in time and in output.

    python benchmarks/exporters.py --cpu-time --json experiments/export/exporters.json
    python benchmarks/exporters.py --networks 1 --presets mnasnet-a1 --repeats 2     # a few networks, quickly

All presets and random networks of each shipped space are written by `nas`, by torch's older exporter (`dynamo=False`,
opset 17) and by its newer one (`dynamo=True`, opset 18), with the same weights. All graphs of a network run in turn on
the same image, and their outputs are compared. A second copy of the graph of `nas` shows the noise: one session can be
a few percent slower than an equal one, because of where its memory is. The sessions are therefore made anew in another
order in each repeat.

Given is the time of the graph of `nas` as a share of that of torch: the median over the repeats, and its standard error
from the spread between repeats. A network counts as slower where this share is above 1.02 by more than two standard
errors. The results so far are in the file after every network, and networks that the file has are not measured again.
"""

import argparse
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from cpu_time import by_cpu_time
from torch import nn

from nas.arch.canonical import canonical
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture
from nas.device.machine import this_machine
from nas.device.run_model import run_model
from nas.device.session import TimedNetwork, load_network
from nas.device.spec import Device
from nas.device.timing import Aim, time_in_turn
from nas.graph.build import build_graph
from nas.graph.form import FORM
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights
from nas.models.build import build_model
from nas.space.files import find_space

ONE = Device()
SEED = 2027
SPACES = ("mnasnet", "efficientnet", "mobilenetv3", "nasbench_macro")
EXPORTERS: Mapping[str, Mapping[str, Any]] = {
    "torch, older exporter": {"dynamo": False, "opset_version": 17},
    "torch, newer exporter": {"dynamo": True, "opset_version": 18},
}
OWN, AGAIN = "nas", "nas again"
# Deep networks with random weights add up rounding errors; the largest difference seen is about a tenth of this.
TOLERANCE = 1e-3
LIMIT = 1.02


def main() -> None:
    """Compare the networks that are asked for, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=30, help="random networks of each space")
    parser.add_argument("--presets", nargs="*", default=preset_names(), help="presets; by default all")
    parser.add_argument("--repeats", type=int, default=5, help="repeats with new sessions in another order")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each repeat of a network")
    parser.add_argument("--cpu-time", action="store_true", help="time by the CPU time of the thread")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    # The newer exporter warns that torchvision is not installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    figures = _read(given)
    for name, arch in _networks(given):
        if name not in figures["networks"]:
            figures["networks"][name] = _measured(name, arch, given)
            _write(figures, given)
    print(table(figures["networks"]))


def _read(given: argparse.Namespace) -> dict[str, Any]:
    head = {
        "form": FORM,
        "cpu_time": given.cpu_time,
        "torch": torch.__version__,
        "machine": str(this_machine(ONE)),
    }
    if given.json and given.json.exists():
        found: dict[str, Any] = json.loads(given.json.read_text(encoding="utf-8"))
        assert {key: found[key] for key in head} == head, f"{given.json} is of another form, machine or clock"
        return found
    return head | {"networks": {}}


def _write(figures: Mapping[str, Any], given: argparse.Namespace) -> None:
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _networks(given: argparse.Namespace) -> Iterator[tuple[str, Architecture]]:
    for name in given.presets:
        yield name, preset(name)
    for name in SPACES:
        space = find_space(name)
        for number, indices in enumerate(space.sample(np.random.default_rng(SEED), given.networks)):
            yield f"{name} {number}", canonical(space.from_indices(indices))


def _measured(name: str, arch: Architecture, given: argparse.Namespace) -> dict[str, Any]:
    """Return the differences of the outputs, and the ratios of the times of each repeat."""
    model = _model(arch)
    graphs = _graphs(arch, model)
    images = np.random.default_rng(0).random((1, arch.in_channels, arch.resolution, arch.resolution), np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    errors = {
        key: float(abs(run_model(graph, images) - expected).max() / abs(expected).max())
        for key, graph in graphs.items()
    }
    assert errors[OWN] < TOLERANCE, f"{name}: the graph of nas differs from torch by {errors[OWN]}"
    repeats = [_ratios(graphs, given, seed) for seed in range(given.repeats)]
    row: dict[str, Any] = {
        "ms": float(np.median([each["ms"] for each in repeats])),
        "ratios": {key: [each[key] for each in repeats] for key in graphs if key != OWN},
        "largest_difference": errors,
    }
    shown = (f"{key} {np.median(ratios):.3f}" for key, ratios in row["ratios"].items())
    print(f"{name}: {row['ms']:.2f} ms; {', '.join(shown)}", file=sys.stderr, flush=True)
    return row


def _graphs(arch: Architecture, model: nn.Module) -> dict[str, onnx.ModelProto]:
    weights = folded_weights(arch, {name: value.numpy() for name, value in model.state_dict().items()})
    own = build_graph(whole(arch), weights)
    return {OWN: own, AGAIN: own, **{name: _exported(model, arch, name) for name in EXPORTERS}}


def _model(arch: Architecture) -> nn.Module:
    """Return a module whose batch normalizations differ, as those of a trained network do.

    Equal biases, such as the zeros of a new module, would be stored only once by the newer exporter.
    """
    torch.manual_seed(0)
    model = build_model(arch).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.9, 1.1)  # type: ignore[arg-type]
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, 0, 0.1)  # type: ignore[arg-type]
    return model


def _exported(model: nn.Module, arch: Architecture, exporter: str) -> onnx.ModelProto:
    images = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    options: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"], **EXPORTERS[exporter]}
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        target = None if options["dynamo"] else buffer
        program = torch.onnx.export(model, (images,), target, verbose=False, **options)
    return onnx.load_model_from_string(buffer.getvalue()) if program is None else program.model_proto


def _ratios(graphs: Mapping[str, onnx.ModelProto], given: argparse.Namespace, seed: int) -> dict[str, float]:
    """Return the time of the graph of `nas` in milliseconds, and as a share of each other graph."""
    order = [key for key in graphs if key != OWN]
    np.random.default_rng(seed).shuffle(order)
    # The graph of nas is the reference of the rounds, and is loaded first, in the middle and last in turn.
    place = seed % (len(order) + 1)
    order.insert(place, OWN)
    loaded = dict(zip(order, (load_network(graphs[key], ONE) for key in order), strict=True))
    runs = {key: _run(each, cpu_time=given.cpu_time) for key, each in loaded.items()}
    clock = time.thread_time if given.cpu_time else time.monotonic
    others = [key for key in order if key != OWN]
    aim = Aim(spread=0.001, least=10, most=1000, seconds=given.seconds)
    turns = time_in_turn(runs[OWN], [runs[key] for key in others], aim, clock=clock)
    ratios = {key: 1 / timing.ratio for key, timing in zip(others, turns.timings, strict=True)}
    return {"ms": turns.reference.median_ms, **ratios}


def _run(network: TimedNetwork, *, cpu_time: bool) -> Any:
    return by_cpu_time(network) if cpu_time else network


def table(networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as a table in Markdown, by space and exporter."""
    lines = [
        "| networks | compared with | number | nas / other | largest | above 1.02 | beyond noise | wrong outputs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for name, row in networks.items():
        groups.setdefault(name.partition(" ")[0] if name.partition(" ")[0] in SPACES else "presets", []).append(row)
    groups["all"] = list(networks.values())
    for group, rows in groups.items():
        lines += [_line(group, key, rows) for key in (AGAIN, *EXPORTERS)]
    return "\n".join(lines)


def _line(group: str, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    ratios = np.array([row["ratios"][key] for row in rows])
    medians = np.median(ratios, axis=1)
    # The standard error of a median of normal values is 1.25 times that of their mean.
    errors = 1.25 * ratios.std(axis=1, ddof=1) / ratios.shape[1] ** 0.5
    beyond = int(np.sum(medians - 2 * errors > LIMIT))
    mean = float(np.exp(np.log(medians).mean()))
    wrong = sum(row["largest_difference"][key] >= TOLERANCE for row in rows)
    slower = int(np.sum(medians > LIMIT))
    return f"| {group} | {key} | {len(rows)} | {mean:.3f} | {medians.max():.3f} | {slower} | {beyond} | {wrong} |"


if __name__ == "__main__":
    main()
