"""Tests of the choice of a form by measurement, with devices of which the times are known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from attrs import field, frozen

from nas.arch.presets import preset
from nas.device.model_file import ModelFile
from nas.device.spec import Device
from nas.device.timing import Aim, Timing, Turns
from nas.export.form import REPEATS, fastest_form
from nas.graph.build import Operators, build_graph
from nas.graph.fragment import whole
from nas.graph.variants import STANDARD, VARIANTS

GATES = "gates by matrix products"


@frozen(eq=False)
class KnownDevice:
    """A device on which each variant takes a known time, with noise from session to session."""

    ratios: dict[str, float]
    noise: float = 0.0
    rng: np.random.Generator = field(factory=lambda: np.random.default_rng(0))
    measured: list[list[str]] = field(factory=list)
    device: Device = field(factory=Device)

    def measure(self, candidates: Sequence[ModelFile], _aim: Aim) -> Turns:
        self.measured.append([each.name for each in candidates])
        return Turns(tuple(map(self._timing, candidates)), Timing(1.0, 0.0, 1.0, 1.0, 1.0, 15), 0.0, 6)

    def _timing(self, file: ModelFile) -> Timing:
        ratio = self.ratios.get(file.name, 1.0) * (1 + self.noise * self.rng.standard_normal())
        return Timing(ratio, 0.001, ratio, ratio, ratio, 15)


def _builder(name: str) -> Callable[[Operators], onnx.ModelProto]:
    fragment = whole(preset(name).adapted(resolution=32, classes=3))
    return lambda operators: build_graph(fragment, operators=operators)


def _choose(ratios: dict[str, float], noise: float = 0.0, name: str = "mobilenetv3-small") -> Any:
    device = KnownDevice(ratios, noise)
    return fastest_form(_builder(name), device), device  # type: ignore[arg-type]


def test_a_clearly_faster_variant_is_chosen() -> None:
    found, device = _choose({GATES: 0.9}, 0.005)
    assert found.name == GATES
    assert found.operators is VARIANTS[GATES]
    assert len(device.measured) == REPEATS
    assert len({tuple(order) for order in device.measured}) > 1, "the sessions are always made in the same order"


@pytest.mark.parametrize(
    ("ratio", "noise"), [(0.985, 0.0), (1.1, 0.0), (0.97, 0.2)], ids=["a small gain", "slower", "noise"]
)
def test_the_standard_form_is_kept_without_a_clear_gain(ratio: float, noise: float) -> None:
    found, _ = _choose(dict.fromkeys(VARIANTS, ratio) | {STANDARD: 1.0}, noise)
    assert found.name == STANDARD
    assert [each.name for each in found.times] == [name for name in VARIANTS if name != STANDARD]


def test_variants_that_write_the_same_graph_are_not_measured() -> None:
    found, device = _choose({}, name="mobilenetv2")
    assert all(GATES not in order for order in device.measured)
    assert found.name == STANDARD
