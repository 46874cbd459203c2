"""Check the whole chain from a latency table to the files that a user deploys.

    python benchmarks/latency_chain.py --json experiments/kernels/chain.json

Random networks of a space are exported by `torch.onnx.export`, by its older exporter (`dynamo=False`, opset 17) and its
newer one (`dynamo=True`, opset 18, the oldest one that it writes), and by `nas`. A table of the space is measured on
this machine as `nas latency table` does it. In between, after every few batches, a script that shares no code with
`nas` times all files (`benchmarks/plain_onnx.py`), so that the table and the files see the same machine. The
predictions of the table are compared with the smallest and the median time of each file, after one common factor for
the pace of the machine: the median of measured over predicted. The first run of a visit, whose weights are not in a
cache, is reported apart.

With `--cpu-time`, table and files are timed by the CPU time of the thread (`benchmarks/cpu_time.py`), which other
programs on the machine change little.

The newer exporter needs `onnxscript` (`pip install onnxscript`), which `nas` does not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import torch
from attrs import define, field
from cpu_time import CpuTimeMeter
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.table import LatencyTable
from nas.cost.table_builder import Progress, make_table
from nas.cost.table_check import agreement
from nas.cost.table_file import write_table
from nas.cost.table_plan import TablePlan
from nas.device.client import connect
from nas.device.machine import this_machine
from nas.device.spec import Device, parse_address
from nas.graph.build import build_graph
from nas.graph.form import FORM
from nas.graph.fragment import whole
from nas.graph.weights import folded_weights
from nas.models.build import build_model
from nas.samplers.cost_range import space_chain
from nas.space.files import find_space

SEED = 2026
Floats = NDArray[np.float64]
EXPORTS: Mapping[str, Mapping[str, Any]] = {
    "legacy": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "opset_version": 18},
}
FORMS = (*EXPORTS, "nas")


def main() -> None:
    """Export the networks, measure the table and the files, and print how well they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mnasnet")
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--cpu-time", action="store_true", help="time by the CPU time of the thread")
    parser.add_argument("--every", type=int, default=4, help="number of batches of the table between two visits")
    parser.add_argument("--folder", type=Path, help="folder for the ONNX files, which are made only once")
    parser.add_argument("--table", type=Path, help="file for the table that is measured")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    space = find_space(given.space)
    archs = [canonical(space.from_indices(i)) for i in space.sample(np.random.default_rng(SEED), given.networks)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        files = [export(arch, form, folder / f"{i}-{form}.onnx") for form in FORMS for i, arch in enumerate(archs)]
        visits = Visits(files, given.every, "thread_time" if given.cpu_time else "perf_counter")
        source = nullcontext(CpuTimeMeter()) if given.cpu_time else connect([parse_address("cpu")])
        with visits, source as meter:
            plan = TablePlan(space_chain(space), space.net["padding"])
            # A new partial file, because a table that is continued would see fewer visits.
            table = make_table(plan, meter, space.name, Path(temporary) / "table.partial", listen=visits)
    if given.table:
        write_table(given.table, table)
    figures = compare(table, archs, np.array(visits.seconds))
    figures = {
        "form": FORM,
        "cpu_time": given.cpu_time,
        "torch": torch.__version__,
        "machine": str(this_machine(Device())),
    } | figures
    print(json.dumps({key: figures[key] for key in figures if key != "networks"}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def export(arch: Architecture, form: str, path: Path) -> Path:
    """Write the ONNX file of a network with random weights, unless it exists."""
    if path.exists():
        return path
    torch.manual_seed(0)
    model = build_model(arch).eval()
    if form == "nas":
        weights = folded_weights(arch, {name: value.numpy() for name, value in model.state_dict().items()})
        onnx.save(build_graph(whole(arch), weights), path)
        return path
    images = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    names: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"]}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (images,), None if form == "dynamo" else str(path), verbose=False, **names, **EXPORTS[form]
        )
        if program is not None:
            program.save(path)
    return path


@define
class Visits:
    """Time all files after every few batches of a table; this is a `Listener` of `make_table`.

    Attributes:
        files: ONNX files.
        every: Number of batches between two visits.
        clock: Name of the function of the module `time` that times the runs.
        seconds: Seconds `(visits, files, runs)` so far.
    """

    files: Sequence[Path]
    every: int
    clock: str
    seconds: list[list[list[float]]] = field(factory=list, init=False)
    _process: Any = field(default=None, init=False)

    def __enter__(self) -> "Visits":
        script = Path(__file__).with_name("plain_onnx.py")
        command = [sys.executable, str(script), self.clock, *map(str, self.files)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def __call__(self, progress: Progress) -> None:
        """Visit all files if it is time."""
        if progress.done % self.every and progress.done < progress.total:
            return
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(json.loads(self._process.stdout.readline()))
        print(f"{progress.done} of {progress.total} batches, noise {progress.noise:.0%}", file=sys.stderr, flush=True)


def compare(table: LatencyTable, archs: Sequence[Architecture], seconds: Floats) -> dict[str, Any]:
    """Return how well the predictions of a table agree with the times of the files.

    Args:
        table: The table.
        archs: The networks.
        seconds: Seconds `(visits, forms * networks, runs)`.
    """
    predicted = np.array([table.estimate(arch).value for arch in archs])
    times = 1e3 * seconds.reshape(len(seconds), len(FORMS), len(archs), -1)
    cold, warm = times[..., 0].min(axis=0), times[..., 1:].min(axis=(0, 3))
    medians = np.median(times[..., 1:], axis=(0, 3))
    rows = {form: agreement_of(predicted, warm[i]) for i, form in enumerate(FORMS)}
    rows |= {f"{form}, first run of a visit": agreement_of(predicted, cold[i]) for i, form in enumerate(FORMS)}
    rows |= {f"{form}, medians": agreement_of(predicted, medians[i]) for i, form in enumerate(FORMS)}
    rows |= {f"{form} by nas": agreement_of(warm[FORMS.index("nas")], warm[i]) for i, form in enumerate(EXPORTS)}
    # The best that any prediction can reach: one half of the visits against the other.
    first, second = (times[half::2, 0, :, 1:].min(axis=(0, 2)) for half in (0, 1))
    rows["legacy, visits of even by odd number"] = agreement_of(first, second)
    return {
        "visits": len(seconds),
        "table_fit_error": table.correction.error,
        "agreement": rows,
        "networks": [
            {
                "predicted_ms": p,
                **{form: float(warm[i, n]) for i, form in enumerate(FORMS)},
                "arch": format_text(archs[n]),
            }
            for n, p in enumerate(map(float, predicted))
        ],
    }


def agreement_of(guess: Floats, truth: Floats) -> dict[str, float]:
    """Return the agreement of two sets of times after one common factor, and the factor."""
    factor = float(np.median(truth / guess))
    found = agreement(factor * guess, truth)
    return attrs.asdict(found) | {"factor": factor, "largest": float(np.max(np.abs(factor * guess / truth - 1)))}


if __name__ == "__main__":
    main()
