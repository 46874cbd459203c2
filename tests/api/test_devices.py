"""Tests of what a search is told about latency tables of its device, with a simulated device."""

from pathlib import Path

import attrs
import pytest

from nas.api.devices import FOLDER, find_table, on_device
from nas.cost.measured import MeasuredLatency, TableLatency
from nas.cost.table import LatencyTable
from nas.cost.table_builder import make_table
from nas.cost.table_file import write_table
from nas.cost.table_plan import TablePlan
from nas.graph.form import FORM, UNNAMED_FORM
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
    assert isinstance(found.cost, MeasuredLatency)
    assert said[0].startswith(f"latency table old was made with ONNX graphs of the form '{UNNAMED_FORM}'")
    assert "not used; measure it again with `nas latency table --space two --device cpu`" in said[0]
    assert "each candidate is measured" in said[1]
    assert found.basis["graph"] == FORM


def test_a_search_says_which_table_it_does_not_use_because_of_the_number_of_classes(table: LatencyTable) -> None:
    write_table(Path(FOLDER) / "own.csv", table)
    own = SPACE.net["classes"]
    said: list[str] = []
    found = on_device(SPACE.for_target(classes=own + 1), FakeMeter(), ["cpu"], None, 0, said.append)
    assert isinstance(found.cost, MeasuredLatency)
    assert said[0].startswith(f"latency table own is of classes {own}, not {own + 1}")
    assert f"`nas latency table --classes {own + 1}`" in said[0]
