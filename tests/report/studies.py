"""Studies with given records, random studies, and a study that a search made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from nas.arch.code import format_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, cost
from nas.cost.target import parse_target
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.studies.records import Record, StudyView

ARCH = format_text(preset("mobilenetv2"))
SETTINGS: Mapping[str, Any] = {
    "targets": ["flops=400M"],
    "objective": "soft",
    "band": 0.9,
    "epochs": 3,
    "proxy": {"evaluator": "train"},
    "limits": [{"cost": "macs", "low": 360e6, "high": 400e6}],
    "space": "mnasnet",
}
STATES = ("complete", "pruned", "failed", "killed", "running")


def record(number: int, macs: float = 380e6, accuracy: float | None = 0.5, state: str = "complete") -> Record:
    costs = {"macs": int(macs), "params": 4_000_000, "peak_bytes": 6_000_000}
    return Record(number, state, ARCH, costs, accuracy=accuracy)


def study(*records: Record, baseline: Record | None = None, name: str = "demo", **settings: Any) -> StudyView:
    return StudyView(name, {**SETTINGS, **settings}, records, baseline)


@st.composite
def records(draw: st.DrawFn, number: int) -> Record:
    """Draw a trial. Costs and accuracies have few distinct values, so that ties are common."""
    state = draw(st.sampled_from(STATES))
    costs = {name: draw(st.integers(1, 6)) for name in ("macs", "params", "peak_bytes")}
    accuracy = draw(st.integers(0, 6)) / 7
    complete = state == "complete"
    return Record(
        number=number,
        state=state,
        arch=draw(st.sampled_from([ARCH, 'net <b>&"\nstem', ""])),
        costs=costs if complete or draw(st.booleans()) else {},
        accuracy=accuracy if complete or draw(st.booleans()) else None,
        score=draw(st.none() | st.floats(-2, 2)),
        seconds=draw(st.none() | st.floats(0, 1e6)),
        seed=draw(st.integers(0, 2**31 - 1)),
    )


@st.composite
def studies(draw: st.DrawFn) -> StudyView:
    """Draw a study, with or without a baseline."""
    trials = [draw(records(number)) for number in range(draw(st.integers(0, 12)))]
    texts = {"flops=400M": "macs", "params=5M": "params", "peak_memory=8MB at int8": "peak_bytes"}
    target = draw(st.sampled_from(tuple(texts)))
    limits = [{"cost": texts[target], "low": 2, "high": 5}]
    base = Record(-1, "complete", ARCH, {"macs": 3, "params": 3, "peak_bytes": 3}, accuracy=0.5, label="known <x1>")
    return study(*trials, baseline=draw(st.sampled_from([None, base])), targets=[target], limits=limits)


class FakeEvaluator:
    """Return accuracies that rise with the number of parameters and have random noise."""

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        top = 0.4 + 0.04 * (cost(arch).params / 1e6) ** 0.5 + Random(format_text(arch)).gauss(0, 0.02)  # noqa: S311
        for epoch in range(budget):
            yield top * (1 - 0.5 ** (epoch + 1))

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "fake"}


def run_search(folder: Path, trials: int = 12) -> tuple[StudyView, str]:
    """Run a search; return its study and the URL of its storage."""
    storage = f"sqlite:///{folder / 'nas.db'}"
    settings = Settings([parse_target("flops=400M")], trials=trials)
    return search(
        find_space("mnasnet"), FakeEvaluator(), settings, COUNTED, study_name="demo", storage=storage
    ), storage
