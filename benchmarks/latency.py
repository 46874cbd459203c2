"""What measuring and predicting latency costs here, and how good it is; everything side by side in one run.

    python benchmarks/latency.py                  # all of it, about half an hour on a quiet machine
    python benchmarks/latency.py graph candidate prediction int8
    python benchmarks/latency.py tables --keep latency_tables --json experiments/latency/results.json

`graph` compares the graph written directly with the exported one, `candidate` measuring a candidate with exporting and
timing it, `tables` makes a table of each setup and checks it, `int8` quantizes a trained network.
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
from nas.data.augment import normalise
from nas.data.base import ImageData
from nas.data.load import load_images
from nas.device.client import connect
from nas.device.machine import this_machine
from nas.device.quantize import quantize
from nas.device.session import make_runner, open_session
from nas.device.timing import Aim, time_in_turn
from nas.device.words import Device, parse_address
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights
from nas.models.build import build_model
from nas.models.start import start_quietly
from nas.space.files import find_space
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe

ONE = Device()
LONG = Aim(spread=0.002, least=60, most=300, seconds=8)
SETUPS = (("mnasnet", "cpu"), ("efficientnet", "cpu"), ("mnasnet", "cpu:threads=2"))


def main() -> None:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to run; all without any")
    parser.add_argument("--keep", type=Path, help="a folder to keep the tables in")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"machine": str(this_machine(ONE)), "torch": torch.__version__}
    for part in arguments.parts or PARTS:
        figures[part] = PARTS[part](arguments)
        print(json.dumps({part: figures[part]}, indent=1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def exported(arch: Architecture, folder: Path) -> tuple[onnx.ModelProto, float]:
    """The graph that torch exports, and the seconds that took."""
    begun = time.perf_counter()
    model = build_model(arch).eval()
    images = torch.randn(1, arch.in_channels, arch.resolution, arch.resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (images,), dynamo=True, verbose=False, input_names=[INPUT], output_names=["output"]
        )
    assert program is not None
    program.save(folder / "exported.onnx")
    return onnx.load(folder / "exported.onnx"), time.perf_counter() - begun


def graphs(_arguments: argparse.Namespace) -> dict[str, Any]:
    """The same network twice: its time over that of the exported graph, in turn in one process."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("efficientnet-b0", "mnasnet-a1", "efficientnet-lite0"):
            other, _ = exported(preset(name), Path(folder))
            own = build_graph(whole(preset(name)))
            turns = time_in_turn(make_runner(other, ONE), [make_runner(own, ONE)], LONG)
            found[name] = {"own_over_exported": turns.timings[0].ratio, "spread": turns.timings[0].spread}
    return found


def candidates(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds for one candidate, all in, against exporting and timing the same network, alternately."""
    space = find_space("mnasnet")
    rng = np.random.default_rng(5)
    archs = [canonical(space.from_picks(picks)) for picks in space.sample(rng, 8)]
    aim = Aim(spread=0.01, least=10, most=100, seconds=0.4)
    rows = []
    with tempfile.TemporaryDirectory() as folder, connect([parse_address("cpu")]) as meter:
        meter.measure([whole(archs[0])], aim)
        for arch in archs:
            begun = time.perf_counter()
            meter.measure([whole(arch)], aim)
            own = time.perf_counter() - begun
            begun = time.perf_counter()
            runner = make_runner(exported(arch, Path(folder))[0], ONE)
            time_in_turn(make_runner(build_graph(whole(preset("mnasnet-small"))), ONE), [runner], aim)
            rows.append((own, time.perf_counter() - begun))
    ratios = [other / own for own, other in rows]
    return {
        "seconds_own": spread([own for own, _ in rows]),
        "seconds_export": spread([other for _, other in rows]),
        "times_faster": spread(ratios),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def predictions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Microseconds for one prediction by a table, of architectures never seen before, and of the same ones again."""
    paths = sorted((arguments.keep or Path("latency_tables")).glob("mnasnet-224*.csv"))
    table, space = read_table(paths[0]), find_space("mnasnet")
    archs = [space.from_picks(picks) for picks in space.sample(np.random.default_rng(3), 2000)]
    found = {}
    for name in ("first", "again"):
        times = [microseconds(lambda arch=arch: table.estimate(arch)) for arch in archs]  # type: ignore[misc]
        found[name] = spread(times) | {"middle_half": list(np.quantile(times, (0.25, 0.75)))}
    return found


def microseconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - begun)


def tables(arguments: argparse.Namespace) -> dict[str, Any]:
    """A table of each setup, made and checked by the real commands."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        return {f"{space} {device}": table(space, device, folder) for space, device in SETUPS}


def table(space: str, device: str, folder: Path) -> dict[str, Any]:
    """Make one and check it on 100 networks drawn afresh."""
    path = folder / f"{space}-224-{device.replace(':', '-').replace('=', '')}-{cpu_name()}.csv"
    begun = time.perf_counter()
    nas("latency", "table", "--space", space, "--device", device, "--out", str(path))
    seconds = time.perf_counter() - begun
    check = nas("latency", "check", "--space", space, "--device", device, "--table", str(path), "--json")
    return {"seconds": seconds, "layers": len(read_table(path).layers_ms), **json.loads(check)}


def cpu_name() -> str:
    """This machine's processor as a part of a file's name."""
    return "-".join(this_machine(ONE).cpu.lower().replace("/", " ").split())


def nas(*words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "nas.cli.main", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 -- its own words
    return done.stdout


def int8(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Networks trained on the digits: accuracy of the fp32 and the int8 graph, and both times at 224 pixels."""
    return {name: quantized(name) for name in ("mnasnet-a1", "efficientnet-lite0")}


def quantized(name: str, epochs: int = 5) -> dict[str, float]:
    """Both accuracies on the images that a search validates on, calibrated on 200 that it trains on."""
    data = load_images("digits", resolution=32)
    recipe = Recipe()
    arch = recipe.adapt(preset(name).adapted(resolution=32, classes=data.num_classes))
    weights = trained(arch, data, recipe, epochs)
    fp32 = build_graph(whole(arch), weights)
    batches = [image[None] for image in floats(data, data.train.images[:200])]
    accuracies = [accuracy(graph, data) for graph in (fp32, quantize(fp32, batches))]
    large = build_graph(whole(preset(name)))
    turns = time_in_turn(make_runner(large, ONE), [make_runner(quantize(large), ONE)], LONG)
    return {
        "accuracy_fp32": accuracies[0],
        "accuracy_int8": accuracies[1],
        "speed_up": 1 / turns.timings[0].ratio,
        "spread": turns.timings[0].spread,
    }


def trained(arch: Architecture, data: ImageData, recipe: Recipe, epochs: int) -> Mapping[str, Any]:
    """Weights after a short training, normalisations folded."""
    torch.manual_seed(0)
    model = build_model(arch)
    start_quietly(model)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = TrainingRun(data, model, recipe, epochs, "cpu")
    for epoch in range(1, epochs + 1):
        training.epoch(epoch, torch.Generator().manual_seed(epoch))
    return folded_weights(arch, {key: value.numpy() for key, value in model.state_dict().items()})


def floats(data: ImageData, images: torch.Tensor) -> Any:
    """Images as networks take them, `(N, 3, H, W)`."""
    return normalise(images, data.mean, data.std).numpy()


def accuracy(graph: onnx.ModelProto, data: ImageData) -> float:
    """The share of validation images that a graph tells right, one at a time."""
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
