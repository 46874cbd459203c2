"""Measure how long it takes to measure and to predict latencies on this machine, and how accurate that is.

    python benchmarks/latency.py                  # all parts, about half an hour on a quiet machine
    python benchmarks/latency.py graph candidate prediction int8
    python benchmarks/latency.py tables --keep latency_tables --json experiments/latency/results.json

`graph` compares the latency of the graph that nas writes with that of the graph that torch exports. `candidate`
compares the duration of measuring a candidate with that of exporting and timing it. `tables` makes a table for each
setup and checks it. `prediction` times predictions by a table. `int8` quantizes trained networks.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from nas.arch.canonical import canonical
from nas.arch.layers import INPUT
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.table_file import read_table
from nas.data.augment import normalize
from nas.data.base import ImageData
from nas.data.load import load_images
from nas.device.client import connect
from nas.device.machine import this_machine
from nas.device.quantize import quantize
from nas.device.session import load_network, open_session
from nas.device.spec import Device, parse_address
from nas.device.timing import Aim, time_in_turn
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.space.files import find_space
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe

ONE = Device()
LONG = Aim(spread=0.002, least=60, most=300, seconds=8)
SETUPS = (("mnasnet", "cpu"), ("efficientnet", "cpu"), ("mnasnet", "cpu:threads=2"))


def main() -> None:
    """Run the parts that are asked for, and print their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts to run; by default all")
    parser.add_argument("--keep", type=Path, help="folder for the tables")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"machine": str(this_machine(ONE)), "torch": torch.__version__}
    for part in arguments.parts or PARTS:
        figures[part] = PARTS[part](arguments)
        print(json.dumps({part: figures[part]}, indent=1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def exported(arch: Architecture, folder: Path) -> tuple[onnx.ModelProto, float]:
    """Return the graph that torch exports, and the duration of the export in seconds."""
    start = time.perf_counter()
    model = build_model(arch).eval()
    images = torch.randn(1, arch.in_channels, arch.resolution, arch.resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (images,), dynamo=True, verbose=False, input_names=[INPUT], output_names=["output"]
        )
    assert program is not None
    program.save(folder / "exported.onnx")
    return onnx.load(folder / "exported.onnx"), time.perf_counter() - start


def graphs(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the latency of each graph of nas over that of the exported graph, measured alternately in one process."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("efficientnet-b0", "mnasnet-a1", "efficientnet-lite0"):
            other, _ = exported(preset(name), Path(folder))
            own = build_graph(whole(preset(name)))
            turns = time_in_turn(load_network(other, ONE), [load_network(own, ONE)], LONG)
            found[name] = {"own_over_exported": turns.timings[0].ratio, "spread": turns.timings[0].spread}
    return found


def candidates(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds to measure a candidate, and to export and time the same network, measured alternately."""
    space = find_space("mnasnet")
    rng = np.random.default_rng(5)
    archs = [canonical(space.from_indices(indices)) for indices in space.sample(rng, 8)]
    aim = Aim(spread=0.01, least=10, most=100, seconds=0.4)
    rows = []
    with tempfile.TemporaryDirectory() as folder, connect([parse_address("cpu")]) as meter:
        meter.measure([whole(archs[0])], aim)
        for arch in archs:
            start = time.perf_counter()
            meter.measure([whole(arch)], aim)
            own = time.perf_counter() - start
            start = time.perf_counter()
            runner = load_network(exported(arch, Path(folder))[0], ONE)
            time_in_turn(load_network(build_graph(whole(preset("mnasnet-small"))), ONE), [runner], aim)
            rows.append((own, time.perf_counter() - start))
    ratios = [other / own for own, other in rows]
    return {
        "seconds_own": spread([own for own, _ in rows]),
        "seconds_export": spread([other for _, other in rows]),
        "times_faster": spread(ratios),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median, the minimum and the maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def predictions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the microseconds of a prediction by a table, for new architectures and for the same ones again."""
    paths = sorted((arguments.keep or Path("latency_tables")).glob("mnasnet-224*.csv"))
    table, space = read_table(paths[0]), find_space("mnasnet")
    archs = [space.from_indices(indices) for indices in space.sample(np.random.default_rng(3), 2000)]
    found = {}
    for name in ("first", "again"):
        times = [microseconds(lambda arch=arch: table.estimate(arch)) for arch in archs]  # type: ignore[misc]
        found[name] = spread(times) | {"middle_half": list(np.quantile(times, (0.25, 0.75)))}
    return found


def microseconds(call: Callable[[], object]) -> float:
    """Return the duration of one call, in microseconds."""
    start = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - start)


def tables(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make and check a table for each setup, with the commands of nas."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        return {f"{space} {device}": table(space, device, folder) for space, device in SETUPS}


def table(space: str, device: str, folder: Path) -> dict[str, Any]:
    """Make a table, and check it on 100 new random networks."""
    path = folder / f"{space}-224-{device.replace(':', '-').replace('=', '')}-{cpu_name()}.csv"
    start = time.perf_counter()
    nas("latency", "table", "--space", space, "--device", device, "--out", str(path))
    seconds = time.perf_counter() - start
    check = nas("latency", "check", "--space", space, "--device", device, "--table", str(path), "--json")
    return {"seconds": seconds, "layers": len(read_table(path).layers_ms), **json.loads(check)}


def cpu_name() -> str:
    """Return the name of this machine's CPU as a part of a file name."""
    return "-".join(this_machine(ONE).cpu.lower().replace("/", " ").split())


def nas(*words: str) -> str:
    """Run a command of nas and return its output."""
    command = [sys.executable, "-m", "nas.cli.main", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 -- the command is constant
    return done.stdout


def int8(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Train networks on the digits; return accuracies as fp32 and int8, and the speed-up at 224 pixels."""
    return {name: quantized(name) for name in ("mnasnet-a1", "efficientnet-lite0")}


def quantized(name: str, epochs: int = 5) -> dict[str, float]:
    """Return the accuracies of a network on the validation split; 200 training images calibrate the quantization."""
    data = load_images("digits", resolution=32)
    recipe = Recipe()
    arch = recipe.adapt(preset(name).adapted(resolution=32, classes=data.num_classes))
    weights = trained(arch, data, recipe, epochs)
    fp32 = build_graph(whole(arch), weights)
    batches = [image[None] for image in floats(data, data.train.images[:200])]
    accuracies = [accuracy(graph, data) for graph in (fp32, quantize(fp32, batches))]
    large = build_graph(whole(preset(name)))
    turns = time_in_turn(load_network(large, ONE), [load_network(quantize(large), ONE)], LONG)
    return {
        "accuracy_fp32": accuracies[0],
        "accuracy_int8": accuracies[1],
        "speed_up": 1 / turns.timings[0].ratio,
        "spread": turns.timings[0].spread,
    }


def trained(arch: Architecture, data: ImageData, recipe: Recipe, epochs: int) -> Mapping[str, Any]:
    """Return the weights after a short training run, with batch normalization folded."""
    torch.manual_seed(0)
    model = build_model(arch)
    zero_init_residual(model)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = TrainingRun(data, model, recipe, epochs, "cpu")
    for epoch in range(1, epochs + 1):
        training.epoch(epoch, torch.Generator().manual_seed(epoch))
    return folded_weights(arch, {key: value.numpy() for key, value in model.state_dict().items()})


def floats(data: ImageData, images: torch.Tensor) -> Any:
    """Return normalized images, `(N, 3, H, W)`."""
    return normalize(images, data.mean, data.std).numpy()


def accuracy(graph: onnx.ModelProto, data: ImageData) -> float:
    """Return the share of validation images that a graph classifies correctly, one image at a time."""
    session = open_session(graph, ONE)
    logits = [session.run(None, {INPUT: image[None]})[0][0] for image in floats(data, data.val.images)]
    return float((np.argmax(logits, axis=1) == data.val.labels.numpy()).mean())


PARTS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "graph": graphs,
    "candidate": candidates,
    "tables": tables,
    "prediction": predictions,
    "int8": int8,
}

if __name__ == "__main__":
    main()
