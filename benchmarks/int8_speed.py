"""Compare the speed of the int8 files of `nas export` with fp32, and with ONNX Runtime's quantizer as it stands.

    python benchmarks/int8_speed.py --cpu-time --json experiments/export/int8_speed.json
    python benchmarks/int8_speed.py --presets mobilenetv2 --seconds 2          # one network, quickly

Presets with random weights at 224 pixels, batch 1, one thread. Three graphs of each network run in turn: fp32, the int8
graph of `nas export` (`nas.export.quantization`) with all layers but a short first one in int8, and the result of
`onnxruntime.quantization.quantize_static` on the fp32 graph (QDQ, per channel, U8S8). Speed depends on no weights, so
that this says nothing about accuracies. Given are paired ratios of times with their standard errors.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cpu_time import by_cpu_time

from nas.arch.presets import preset
from nas.device.machine import this_machine
from nas.device.quantize import quantize
from nas.device.session import load_network
from nas.device.spec import Device
from nas.device.timing import Aim, time_in_turn
from nas.export.quantization.graph import Types, layers_of, quantize_graph, short_first_layer
from nas.export.quantization.ranges import observe, ranges_by
from nas.graph.build import build_graph
from nas.graph.fragment import whole

ONE = Device()
PRESETS = (
    *("mobilenetv2", "efficientnet-lite0", "mnasnet-b1", "fbnet-c", "resnet-18"),
    *("mnasnet-a1", "mobilenetv3-small", "mobilenetv3-large", "efficientnet-b0"),
)
IMAGES = 4  # for ranges of random networks, on which the speed does not depend


def main() -> None:
    """Measure the networks that are asked for, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=PRESETS, help="presets")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds for each network")
    parser.add_argument("--cpu-time", action="store_true", help="time by the CPU time of the thread")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    rows = [_measured(name, given) for name in given.presets]
    print("| network | fp32 ms | nas export | quantize_static |", "|---|---|---|---|", *map(_line, rows), sep="\n")
    if given.json:
        figures = {"cpu_time": given.cpu_time, "machine": str(this_machine(ONE)), "networks": rows}
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    graph = build_graph(whole(preset(name).adapted(resolution=224, classes=1000)))
    loaded = [load_network(each, ONE) for each in (graph, _int8(graph), quantize(graph))]
    reference, *runs = map(by_cpu_time, loaded) if given.cpu_time else loaded
    clock = time.thread_time if given.cpu_time else time.monotonic
    turns = time_in_turn(reference, runs, Aim(spread=0.001, least=20, most=400, seconds=given.seconds), clock=clock)
    speed_ups = {
        key: {"value": 1 / timing.ratio, "spread": timing.spread / timing.ratio}
        for key, timing in zip(("nas", "quantize_static"), turns.timings, strict=True)
    }
    return {"network": name, "fp32_ms": turns.reference.median_ms, **speed_ups}


def _int8(graph: onnx.ModelProto) -> onnx.ModelProto:
    images = np.random.default_rng(0).normal(size=(IMAGES, 3, 224, 224)).astype(np.float32)
    in_fp32 = short_first_layer(graph)
    nodes = {node for layer, own in layers_of(graph).items() if layer not in in_fp32 for node in own}
    return quantize_graph(graph, ranges_by("minmax", observe(graph, images)), Types("uint8", "int8"), nodes)


def _line(row: dict[str, Any]) -> str:
    own, static = (f"{row[key]['value']:.2f} ± {row[key]['spread']:.2f}" for key in ("nas", "quantize_static"))
    return f"| {row['network']} | {row['fp32_ms']:.2f} | {own} | {static} |"


if __name__ == "__main__":
    main()
