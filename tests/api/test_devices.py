"""Tests of what a search is told about latency tables of its device, with a simulated device."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from attrs import define

from nas.api.devices import FOLDER, GUIDE_ATTEMPTS, GUIDE_LIMIT, find_table, on_device
from nas.cost.guide import GUIDE_NETWORKS
from nas.cost.guided import GuidedCost
from nas.cost.measured import TableLatency
from nas.cost.table import LatencyTable
from nas.cost.table_builder import make_table
from nas.cost.table_file import write_table
from nas.cost.table_plan import TablePlan
from nas.device.model_file import ModelFile
from nas.device.timing import Aim, Turns
from nas.graph.form import FORM, UNNAMED_FORM
from nas.graph.fragment import Fragment
from nas.samplers.cost_range import space_chain
from tests.cost.fake_meter import FakeMeter
from tests.cost.small_space import two_stages

SPACE = two_stages()


@pytest.fixture(name="table")
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    """Return a table of the simulated device; its folder is in the working directory and is empty."""
    monkeypatch.chdir(tmp_path)
    Path(FOLDER).mkdir()
    plan = TablePlan(space_chain(SPACE), SPACE.net["padding"], networks=8)
    return make_table(plan, FakeMeter(), SPACE.name, tmp_path / "table.partial")


def test_a_search_predicts_by_a_table_of_its_form_of_graphs_and_stores_the_form(table: LatencyTable) -> None:
    write_table(Path(FOLDER) / "own.csv", table)
    said: list[str] = []
    found = on_device(SPACE, FakeMeter(), ["cpu"], None, 0, said.append)
    assert isinstance(found.cost, TableLatency)
    assert said[0].startswith("latencies are predicted by table own")
    assert (found.basis["by"], found.basis["graph"]) == ("table own", FORM)
    assert FORM not in found.basis["machine"]


def test_a_search_says_which_table_it_does_not_use_because_of_its_form_of_graphs(table: LatencyTable) -> None:
    machine = attrs.evolve(table.origin.machine, graph=UNNAMED_FORM)
    write_table(Path(FOLDER) / "old.csv", attrs.evolve(table, origin=attrs.evolve(table.origin, machine=machine)))
    said: list[str] = []
    assert find_table(SPACE, FakeMeter(), None) is None
    found = on_device(SPACE, FakeMeter(), ["cpu"], None, 0, said.append)
    assert isinstance(found.cost, GuidedCost)
    assert said[0].startswith(f"latency table old was made with ONNX graphs of the form '{UNNAMED_FORM}'")
    assert "not used; measure it again with `nas latency table --space two --device cpu`" in said[0]
    assert "each candidate is measured" in said[1]
    assert found.basis["graph"] == FORM


def test_a_search_says_which_table_it_does_not_use_because_of_the_number_of_classes(table: LatencyTable) -> None:
    write_table(Path(FOLDER) / "own.csv", table)
    own = SPACE.net["classes"]
    said: list[str] = []
    found = on_device(SPACE.for_target(classes=own + 1), FakeMeter(), ["cpu"], None, 0, said.append)
    assert isinstance(found.cost, GuidedCost)
    assert said[0].startswith(f"latency table own is of classes {own}, not {own + 1}")
    assert f"`nas latency table --classes {own + 1}`" in said[0]


@define(eq=False)
class DisturbedMeter(FakeMeter):
    """Simulate a device on which another program disturbs the first measurements."""

    disturbed: int = 0

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim) -> Turns:
        self.noise = 0.5 if len(self.measured) < self.disturbed else 0.0
        return super().measure(candidates, aim)


@pytest.mark.parametrize("attempts", [1, 2, GUIDE_ATTEMPTS, 10])
def test_networks_are_measured_again_while_something_disturbs_the_guide(
    attempts: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    meter, said = DisturbedMeter(disturbed=(attempts - 1) * GUIDE_NETWORKS), list[str]()
    found = on_device(SPACE, meter, ["cpu"], None, 0, said.append)
    assert isinstance(found.cost, GuidedCost)
    made = min(attempts, GUIDE_ATTEMPTS)
    assert len(meter.measured) == made * GUIDE_NETWORKS
    again = [text for text in said if "something else disturbs the measurements" in text]
    assert sum("measured again" in text for text in again) == min(attempts - 1, GUIDE_ATTEMPTS - 1)
    assert sum("stop other programs" in text for text in again) == (attempts > GUIDE_ATTEMPTS)
    error = found.cost.guide.correction.error
    assert error is not None
    assert (error <= GUIDE_LIMIT) == (attempts <= GUIDE_ATTEMPTS)
