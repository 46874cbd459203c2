"""Peak memory of several files at a time: on processes of this machine, and on fake devices that are lost."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from nas.api import comparison_peaks
from nas.api.comparison_entries import Entry, Spool
from nas.api.comparison_makers import Maker, NetworkOptions
from nas.api.comparison_peaks import Part, find_peaks
from nas.api.several import most_at_once, several_at_once
from nas.device.connection import Connection
from nas.device.logits import DeviceLogits
from nas.device.spec import Address, parse_address
from nas.errors import DeviceLostError
from nas.version import __version__
from tests.api.test_comparison import PROGRAM
from tests.device.fakes import Fakes, fakes_fixture
from tests.device.onnx_files import classifier
from tests.device.test_device_files import refused_layer

__all__ = ["fakes_fixture"]
# The first process of the device ends when it runs a file.
LOST_ONCE = PROGRAM.replace("VERSION", __version__).replace("start_count()", "starts = start_count()")
LOST_ONCE = LOST_ONCE.replace(
    '        if "odd" in', '        if starts == 1:\n            sys.exit(1)\n        if "odd" in'
)


@pytest.fixture(name="spool")
def _spool() -> Iterator[Spool]:
    spool = Spool()
    yield spool
    spool.close()


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two processes at a time, however many cores there are."""
    monkeypatch.setattr(comparison_peaks, "most_at_once", lambda _bytes: 2)


def parts_of(spool: Spool, folder: Path, names: Sequence[str]) -> list[Part]:
    def entry(name: str) -> Entry:
        model = refused_layer() if "refused" in name else classifier((1, 3, 4, 4))
        (folder / name).write_bytes(model.SerializeToString())
        return Maker(NetworkOptions(), spool, print).make(folder / name, 1)

    return [Part(entry(name), "fp32") for name in names]


@pytest.mark.usefixtures("two_at_once")
def test_results_keep_their_order_and_a_refusal_stays_one(spool: Spool, tmp_path: Path) -> None:
    small = parts_of(spool, tmp_path, ["a.onnx", "refused.onnx", "b.onnx"])
    large = [
        Part(Maker(NetworkOptions(resolution=side), spool, print).make("mobilenetv1", 1), "fp32") for side in (32, 320)
    ]
    with Connection(parse_address("cpu")) as connection:
        peaks, refusals = find_peaks(connection, [large[1], *small, large[0]], print)
    assert [each.part for each in peaks] == [large[1], small[0], small[2], large[0]]
    assert [each.name for each in refusals] == ["refused.onnx"]
    known = [each.bytes for each in peaks if each.bytes is not None]
    if known:  # The 4.2 million weights have 17 MB; what activations add differs less than two runs of one file do.
        assert min(known[0], known[3]) > 17e6 > max(known[1:3])


def fake_devices(monkeypatch: pytest.MonkeyPatch, address: Address) -> None:
    monkeypatch.setattr(comparison_peaks, "Connection", lambda _address: Connection(address, pauses=()))


@pytest.mark.usefixtures("two_at_once")
def test_another_process_runs_the_files_of_a_lost_one(
    fakes: Fakes, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(spool, tmp_path, ["a-1.onnx", "b-2.onnx", "c-3.onnx"])
    fake_devices(monkeypatch, fakes.address(LOST_ONCE, "board"))
    peaks, refusals = find_peaks(Connection(parse_address("cpu")), parts, print)
    assert [(each.part.name, each.bytes) for each in peaks] == [
        ("a-1.onnx", 1000),
        ("b-2.onnx", 2000),
        ("c-3.onnx", 3000),
    ]
    assert refusals == []


@pytest.mark.usefixtures("two_at_once")
def test_a_device_that_is_lost_altogether_is_an_error(
    fakes: Fakes, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(spool, tmp_path, ["a-1.onnx", "b-2.onnx"])
    fake_devices(monkeypatch, fakes.address(LOST_ONCE.replace("starts == 1", "True"), "board"))
    with pytest.raises(DeviceLostError, match="no device of the pool is left"):
        find_peaks(Connection(parse_address("cpu")), parts, print)


@pytest.mark.usefixtures("two_at_once")
def test_another_machine_runs_one_file_after_the_other(
    fakes: Fakes, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(spool, tmp_path, ["a-1.onnx", "b-2.onnx"])
    address = fakes.address(PROGRAM.replace("VERSION", __version__), "board")
    threads: list[threading.Thread] = []
    real = Connection.logits

    def noted(*given: Any) -> DeviceLogits:
        threads.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(Connection, "logits", noted)
    with Connection(attrs.evolve(address)) as connection:
        peaks, _ = find_peaks(connection, parts, print)
    assert [each.bytes for each in peaks] == [1000, 2000]
    # An interrupt ends what the main thread waits for, and would wait for other threads.
    assert threads == [threading.main_thread()] * 2
    assert fakes.starts() == 1


def test_no_more_processes_run_than_fit_into_the_memory() -> None:
    assert most_at_once(2**62) == 1
    assert most_at_once(0) >= 1


def test_work_that_has_not_begun_is_dropped_after_an_error() -> None:
    done: list[int] = []

    def fail_first() -> None:
        with several_at_once(1) as threads:
            first = threads.submit(lambda: 1 // 0)
            for number in range(1000):
                threads.submit(done.append, number)
            first.result()

    with pytest.raises(ZeroDivisionError):
        fail_first()
    assert len(done) < 1000
