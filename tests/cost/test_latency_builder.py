"""Tests of the measurement of a table, which continues after any interruption and rejects foreign partial files."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from nas.arch.spec import Stage
from nas.cost.table import LatencyTable
from nas.cost.table_builder import Progress, make_table
from nas.cost.table_file import format_table, read_table
from nas.cost.table_plan import NETWORKS, PAIR_REPEATS, PASSES, TablePlan
from nas.device.spec import parse_device
from nas.errors import DeviceError, NasError, TargetError
from nas.graph.fragment import Fragment, whole
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from tests.cost.fake_meter import MACHINE, FakeMeter
from tests.cost.small_space import chain_of, drawn, small_space, two_stages

NOISE, DRIFT = 0.03, 1e-3


def plan_of(space: SearchSpace, **changes: Any) -> TablePlan:
    return TablePlan(chain_of(space), "symmetric", **changes)


SMALL = plan_of(small_space())


def noisy(**changes: Any) -> FakeMeter:
    return FakeMeter(noise=NOISE, drift=DRIFT, **changes)


def figures(table: LatencyTable) -> object:
    """Return everything of a table except its date."""
    return attrs.evolve(table.origin, date=""), table.layers_ms, table.spread_ms, table.correction


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "table.partial"


def make(meter: FakeMeter, partial: Path, plan: TablePlan = SMALL, **changes: Any) -> LatencyTable:
    return make_table(plan, meter, "small", partial, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, LatencyTable]:
    """Return a complete partial file and its table."""
    partial = tmp_path_factory.mktemp("table") / "table.partial"
    table = make(noisy(), partial)
    return partial.read_text(), table


Finished = tuple[str, LatencyTable]


def stopped_at(number: int, partial: Path) -> FakeMeter:
    """Return a meter that failed at a batch and works again."""
    meter = noisy(fails_at=number)
    with pytest.raises(DeviceError, match="simulated device failed"):
        make(meter, partial)
    meter.fails_at = None
    return meter


@pytest.mark.parametrize("number", [0, 1, 4, len(SMALL.batches) - 1])
def test_an_interrupted_table_equals_an_uninterrupted_one(number: int, partial: Path, finished: Finished) -> None:
    meter = stopped_at(number, partial)
    assert len(partial.read_text().splitlines()) == 1 + number
    assert figures(make(meter, partial)) == figures(finished[1])
    assert len(meter.measured) == len(SMALL.batches)


def test_a_complete_partial_file_is_not_measured_again(partial: Path, finished: Finished) -> None:
    partial.write_text(finished[0])
    assert figures(make(noisy(fails_at=0), partial)) == figures(finished[1])


def test_an_interrupt_keeps_the_finished_batches(partial: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(noisy(), partial, listen=interrupt)
    meter = noisy()
    make(meter, partial)
    assert len(meter.measured) == len(SMALL.batches) - 3


def test_progress_is_reported_after_every_batch(partial: Path) -> None:
    reported: list[Progress] = []
    make(noisy(), partial, listen=reported.append)
    assert [(progress.done, progress.total) for progress in reported] == [
        (i, len(SMALL.batches)) for i in range(1, len(SMALL.batches) + 1)
    ]
    assert reported[-1].seconds_left == 0
    assert {progress.noise for progress in reported} == {NOISE}


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_last_line_that_was_cut_short_is_measured_again(cut: int, partial: Path, finished: Finished) -> None:
    partial.write_text(finished[0][:-cut])
    meter = noisy()
    table = make(meter, partial)
    assert len(meter.measured) == (cut > 1)  # A line that lacks only its line break is complete.
    assert table.origin.reference_ms == pytest.approx(finished[1].origin.reference_ms, rel=DRIFT * len(SMALL.batches))
    assert len(partial.read_text().splitlines()) == 1 + len(SMALL.batches)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "machine": lambda path: make(noisy(machine=attrs.evolve(MACHINE, cpu="Another 9/9/9")), path),
    "runtime": lambda path: make(noisy(machine=attrs.evolve(MACHINE, runtime="2.0.0")), path),
    "device": lambda path: make(noisy(device=parse_device("cpu:threads=2")), path),
    "space": lambda path: make_table(SMALL, noisy(), "other", path),
    "layers": lambda path: make(noisy(), path, plan_of(two_stages())),
    "seed": lambda path: make(noisy(), path, plan_of(small_space(), seed=1)),
    "networks": lambda path: make(noisy(), path, plan_of(small_space(), networks=8)),
    "passes": lambda path: make(noisy(), path, plan_of(small_space(), passes=3)),
    "text": lambda path: path.write_text("something of mine\n"),
    "nothing": lambda path: path.write_text(""),
    "bytes": lambda path: path.write_bytes(b"\xff\x00\n" * 9),
    "deep": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_partial_file_of_another_table_is_rejected_and_kept(what: str, partial: Path) -> None:
    FOREIGN[what](partial)
    before = partial.read_bytes()
    meter = noisy()
    with pytest.raises(DeviceError, match="beginning of another table") as caught:
        make(meter, partial)
    assert "--out" in caught.value.remedy
    assert partial.read_bytes() == before
    assert not meter.measured


def test_a_different_number_of_cores_is_the_same_machine(partial: Path) -> None:
    stopped_at(2, partial)
    meter = noisy(machine=attrs.evolve(MACHINE, cores=64))
    make(meter, partial)
    assert len(meter.measured) == len(SMALL.batches) - 2


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "NaN": lambda batch: batch | {"ratios": [float("nan"), *batch["ratios"][1:]]},
    "infinite": lambda batch: batch | {"ratios": [float("inf"), *batch["ratios"][1:]]},
    "below zero": lambda batch: batch | {"ratios": [-1.0, *batch["ratios"][1:]]},
    "zero": lambda batch: batch | {"ratios": [0.0, *batch["ratios"][1:]]},
    "a bool": lambda batch: batch | {"ratios": [True, *batch["ratios"][1:]]},
    "text": lambda batch: batch | {"ratios": ["1.0", *batch["ratios"][1:]]},
    "a list": lambda batch: batch | {"ratios": [[1.0], *batch["ratios"][1:]]},
    "too few": lambda batch: batch | {"ratios": batch["ratios"][1:]},
    "too many": lambda batch: batch | {"ratios": [1.0, *batch["ratios"]]},
    "no list": lambda batch: batch | {"ratios": "1" * len(batch["ratios"])},
    "no reference": lambda batch: {key: value for key, value in batch.items() if key != "reference_ms"},
    "reference NaN": lambda batch: batch | {"reference_ms": float("nan")},
    "reference null": lambda batch: batch | {"reference_ms": None},
    "more": lambda batch: batch | {"comment": "mine"},
    "another number": lambda batch: batch | {"number": 0},
    "number of text": lambda batch: batch | {"number": "2"},
    "no batch": lambda batch: batch["ratios"],
    "nothing": lambda _batch: None,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_invalid_line_and_all_lines_after_it_are_measured_again(
    what: str, partial: Path, finished: Finished
) -> None:
    lines = finished[0].splitlines()
    lines[3] = json.dumps(HOSTILE[what](json.loads(lines[3])))
    partial.write_text("".join(f"{line}\n" for line in lines))
    meter = noisy()
    assert make(meter, partial).layers_ms.keys() == finished[1].layers_ms.keys()
    assert len(meter.measured) == len(SMALL.batches) - 2
    assert partial.read_text().splitlines()[:3] == lines[:3]


def test_a_full_disk_is_reported_and_keeps_the_finished_batches(partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter, real = noisy(), os.fsync

    def fsync(number: int) -> None:
        if len(meter.measured) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NasError, match="No space left on device") as caught:
        make(meter, partial)
    assert "goes on from there" in caught.value.remedy
    monkeypatch.undo()
    make(meter, partial)
    assert len(meter.measured) <= len(SMALL.batches) + 1


def test_a_file_that_cannot_be_used_is_reported_before_any_measurement(tmp_path: Path) -> None:
    meter = noisy()
    for place in (tmp_path / "none" / "table.partial", tmp_path):
        with pytest.raises(NasError, match="cannot be"):
            make(meter, place)
    assert not meter.measured


# Tests of the plan.


@pytest.mark.parametrize("space", [small_space(), find_space("mnasnet")], ids=lambda space: space.name)
def test_every_item_is_timed_in_every_pass_and_pairs_several_times(space: SearchSpace) -> None:
    plan = plan_of(space)
    items = [item for batch in plan.batches for item in batch]
    assert {(item.kind, count) for item, count in Counter(items).items()} == {
        ("layer", PASSES),
        ("pair", PASSES * PAIR_REPEATS),
        ("network", PASSES),
    }
    assert len(items) == PASSES * (len(plan.layers) + PAIR_REPEATS * len(plan.shapes) + len(plan.samples))
    assert plan_of(space).batches == plan.batches
    assert plan_of(space, seed=1).batches != plan.batches


def test_networks_are_distinct_and_at_most_as_many_as_the_space_has() -> None:
    assert len(set(plan_of(small_space()).samples)) == NETWORKS
    assert set(plan_of(two_stages(), networks=100).samples) == {
        whole(two_stages().from_indices(indices)) for indices in two_stages().enumerate()
    }


def test_every_network_of_the_plan_is_complete() -> None:
    for network in plan_of(find_space("nasbench_macro")).samples:
        assert isinstance(network, Fragment)
        assert network.walk()[-1].nodes[-1].shape.channels == 10
        assert any(isinstance(part, Stage) for part in network.parts)


# Tests of adapted tables.

SLOWER = {"ends": 1.9, "dense": 1.7, "depthwise": 2.0, "gated": 2.1, "pooled": 1.8}


def test_a_table_is_adapted_with_a_few_networks(tmp_path: Path) -> None:
    space = small_space()
    known = attrs.evolve(make(FakeMeter(noise=0.005), tmp_path / "a"), name="board-a")
    networks = [whole(arch) for arch in drawn(space, 60, seed=9)]
    errors = []
    for seed in range(3):
        board = FakeMeter(noise=0.005, factors=SLOWER, machine=attrs.evolve(MACHINE, cpu="Board B"), seed=seed)
        plan = plan_of(space, with_layers=False, networks=10, seed=seed)
        table = make(board, tmp_path / f"b{seed}", plan, based_on=known)
        errors += [table.predict(network) / board.hidden_ms(network) - 1 for network in networks]
        assert {len(fragment.parts) for batch in board.measured for fragment in batch} <= {3, 4}
        assert sum(map(len, board.measured)) == 10 * PASSES
        assert (table.origin.adapted_from, table.origin.machine.cpu) == ("board-a", "Board B")
        assert table.layers_ms == known.layers_ms
    assert np.abs(errors).mean() < 0.03


def test_a_table_without_all_layers_is_reported_before_any_measurement(partial: Path, tmp_path: Path) -> None:
    few = make(FakeMeter(), tmp_path / "few", plan_of(two_stages()))
    meter = FakeMeter()
    with pytest.raises(TargetError, match="has no layer"):
        make(meter, partial, plan_of(small_space(), with_layers=False), based_on=few)
    assert not meter.measured
    assert not partial.exists()


# A test on this machine with a killed process.

SCRIPT = """
import sys
from pathlib import Path
from nas.cost.table_file import write_table
from nas.cost.table_builder import make_table
from nas.cost.table_plan import NETWORKS, TablePlan
from nas.device.client import connect
from nas.device.spec import Address
from tests.cost.small_space import chain_of, two_stages

plan = TablePlan(chain_of(two_stages()), "symmetric", networks=8)

def listen(progress):
    print(progress.done, progress.total, flush=True)
    if progress.done == 2:
        sys.stdin.read()  # until the test has killed this process, where it has not closed the input

with connect([Address()]) as meter:
    table = make_table(plan, meter, "two", Path(sys.argv[1]), listen=listen)
write_table(Path(sys.argv[2]), table)
"""


@pytest.mark.slow
def test_the_next_process_continues_after_a_killed_one(tmp_path: Path) -> None:
    partial, path = tmp_path / "two.partial", tmp_path / "two.csv"
    command = [sys.executable, "-c", SCRIPT, str(partial), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1 4\n"
        first.send_signal(signal.SIGKILL)  # while the second batch is measured, or just afterwards
    kept = partial.read_text().splitlines()
    assert len(kept) in (2, 3)
    assert not path.exists()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{i} 4" for i in range(len(kept), 5)]
    assert partial.read_text().splitlines()[: len(kept)] == kept
    table = read_table(path)
    assert len(table.layers_ms) == len(plan_of(two_stages()).layers)
    assert format_table(table) == path.read_text()
