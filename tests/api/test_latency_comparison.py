"""Tests of comparisons between several machines and devices, with fake devices of known times."""

import pytest

from nas.api.candidates import Candidate
from nas.api.latency import make_aim
from nas.api.latency_comparison import PASSES, measure_together
from nas.arch.presets import preset
from nas.cost.analytic import cost
from nas.device.onnx_check import check_onnx
from nas.errors import DeviceError
from tests.device.fakes import Fakes, fakes_fixture
from tests.device.onnx_files import classifier

__all__ = ["fakes_fixture"]

# The reference takes 2 ms, and candidate number n takes n + 1 times STEP, twice as long with a batch above 1.
PROGRAM = """
from nas.device.timing import summarize
import numpy as np

start_count()
while True:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    request = parse_request(line)
    if isinstance(request, HelloRequest):
        send(encode(HelloReply(machine, ("CPUExecutionProvider",), "VERSION", PROTOCOL)))
        continue
    with (folder / "asked").open("a") as log:
        log.write(f"{time.monotonic()} {len(request.networks)} {request.aim.seconds}\\n")
    columns = [STEP * (n + 1) * (2 if device.batch > 1 else 1) for n, device in enumerate(request.devices)]
    send(encode(TimingsReply(request.id, summarize(np.array([[0.002, *columns]] * 10), 6))))
"""
CANDIDATES = [Candidate("one", preset("mnasnet-small")), Candidate("two", preset("mnasnet-small"))]
AIM = make_aim(0.005, 3)


def device(fakes: Fakes, name: str, step: float, options: str = "cpu") -> str:
    """Return the text of a device on a fake machine of this name, which is made when it is first named."""
    from nas.version import __version__

    python = fakes.folder / name / "python"
    if not python.exists():
        fakes.address(PROGRAM.replace("STEP", str(step)).replace("VERSION", __version__), name)
    return f"ssh://{name}?{options}{',' if ':' in options else ':'}python={python}"


def requests(fakes: Fakes, name: str) -> list[list[float]]:
    lines = (fakes.folder / name / "asked").read_text().splitlines()
    return [[float(number) for number in line.split()] for line in lines]


def test_all_devices_of_a_machine_are_in_one_measurement(fakes: Fakes) -> None:
    devices = [device(fakes, "board", 0.001), device(fakes, "board", 0.001, "cpu:batch=4")]
    one, four = measure_together(CANDIDATES, devices, AIM)
    assert [request[1:] for request in requests(fakes, "board")] == [[4, 3]]
    assert fakes.starts() == 1
    assert [row.name for row in (*one.networks, *four.networks)] == ["one", "two", "one", "two"]
    assert [row.latency_ms for row in (*one.networks, *four.networks)] == pytest.approx([1, 2, 6, 8])
    assert [row.ratio for row in (*one.networks, *four.networks)] == pytest.approx([1, 2, 6, 8])
    assert all(row.paired and row.ratio_spread < 1e-6 for row in (*one.networks, *four.networks))
    assert (one.batch, four.batch, one.cpu) == (1, 4, "Cortex-A76")
    assert one.reference == four.reference


def test_several_machines_measure_one_after_another_in_several_passes(fakes: Fakes) -> None:
    fast, slow = measure_together(CANDIDATES, [device(fakes, "fast", 0.001), device(fakes, "slow", 0.003)], AIM)
    order = sorted((time, name) for name in ("fast", "slow") for time, *_ in requests(fakes, name))
    assert [name for _, name in order] == ["fast", "slow"] * PASSES
    assert {seconds for name in ("fast", "slow") for *_, seconds in requests(fakes, name)} == {AIM.seconds / PASSES}
    assert [row.ratio for row in (*fast.networks, *slow.networks)] == pytest.approx([1, 2, 3, 6])
    assert [row.paired for row in (*fast.networks, *slow.networks)] == [True, True, False, False]
    assert {row.repeats for row in (*fast.networks, *slow.networks)} == {10 * PASSES}
    assert (fast.place, slow.place) == ("ssh://fast", "ssh://slow")


def test_a_file_is_measured_once_on_devices_that_differ_in_their_precision(fakes: Fakes) -> None:
    file = Candidate("file", file=check_onnx(classifier().SerializeToString()))
    options = ("cpu", "cpu:precision=int8", "cpu:batch=4")
    reports = measure_together([file, CANDIDATES[0]], [device(fakes, "board", 0.001, each) for each in options], AIM)
    names = [[(row.name, row.precision) for row in report.networks] for report in reports]
    assert names == [[("file", "own"), ("one", "fp32")], [("one", "int8")], [("file", "own"), ("one", "fp32")]]
    assert [row.macs for row in reports[0].networks] == [None, cost(preset("mnasnet-small")).macs]
    reports = measure_together([file], [device(fakes, "board", 0.001, each) for each in options[:2]], AIM)
    assert [len(report.networks) for report in reports] == [1]


def test_a_device_is_given_once(fakes: Fakes) -> None:
    devices = [device(fakes, "board", 0.001, each) for each in ("cpu", "cpu:threads=1")]
    with pytest.raises(DeviceError, match=r"the device ssh://board\?cpu is given twice"):
        measure_together(CANDIDATES, devices, AIM)
