"""`nas devices`, `nas latency …` and searches by latency on this machine: the commands as users run them."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import onnx
import onnxruntime
import psutil
import pytest
from attrs import frozen

from nas.api.devices import FOLDER
from nas.arch.presets import preset
from nas.cli.shared.exits import TARGET_MISSED
from nas.cost import analytic
from nas.cost.layers import distinct_layers
from nas.cost.table import LatencyTable
from nas.cost.table_file import format_table, read_table
from nas.cost.table_lookup import matching_tables
from nas.device.machine import providers, this_machine
from nas.device.spec import Device, parse_device
from nas.files import shipped_folder
from nas.graph.build import build_graph
from nas.graph.form import FORM
from nas.graph.fragment import whole
from nas.samplers.cost_range import space_chain
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.studies.opening import open_storage
from nas.studies.study import read_study
from nas.weights.base import TrainedNetwork
from nas.weights.stored import write_network
from tests.cli.conftest import HELD, Nas, Ran
from tests.cli.forker import Forker
from tests.cli.gate import Gate
from tests.report.browser import browse, find_browser

# Eight networks of 11 layers; each takes 0.1 to 0.3 ms.
SMALL = """
name: small
net: channels=3 resolution=48 classes=10 padding=symmetric bn=0.01/0.001 drop_path=0 act=relu
stem: conv k3 s2 c16
head: conv c64 dropout=0
stages:
  - {operator: conv, kernel: [3, 5], stride: 1, channels: [16, 32]}
  - {operator: mbconv e3, kernel: 3, stride: 2, channels: [24, 48]}
"""
# Four networks do not determine the correction, so that its error is not a result of these tests.
QUICK = ("--networks", "4", "--max-error", "1000%")
LOOSE = ("--max-error", "1000%")
SEARCH = ("search", "--space", "small.yaml", "--device", "cpu", "--band", "0.1", "--epochs", "1", "--study", "demo")
CHECK_KEYS = {
    *("mape", "retest_mape", "within_5pct", "within_10pct", "retest_within_5pct", "retest_within_10pct"),
    *("spearman", "retest_spearman", "spearman_macs", "mape_macs", "networks", "noise"),
    *("table", "device", "cpu", "runtime", "graph", "reference_ms", "reference_ms_of_table"),
    *("error", "error_spread", "max_error", "usable"),
}


@frozen
class Made:
    """A latency table of the small space, as the command left it."""

    ran: Ran
    text: str
    left: list[str]


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Made:
    """Made once for all tests."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "small.yaml").write_text(SMALL)
    ran = Nas(folder, forker)(
        "latency", "table", "--space", "small.yaml", *QUICK, "--out", "tables/small.csv", "--json"
    )
    assert ran.code == 0, ran.err
    return Made(
        ran, (folder / "tables/small.csv").read_text(), sorted(path.name for path in (folder / "tables").iterdir())
    )


@pytest.fixture(autouse=True)
def _in_folder(nas: Nas, made: Made) -> None:
    """The small space and its table, where commands are run."""
    (nas.folder / "small.yaml").write_text(SMALL)
    (nas.folder / "small.csv").write_text(made.text)


def space(nas: Nas) -> SearchSpace:
    return find_space(str(nas.folder / "small.yaml"))


def span(nas: Nas) -> tuple[float, float]:
    """The smallest and the largest latency of the space by its table."""
    return read_table(nas.folder / "small.csv").span(space_chain(space(nas)))


def target(latency_ms: float) -> tuple[str, str]:
    return "--target", f"latency={1e3 * latency_ms:.3f}us"


def slowest(nas: Nas) -> tuple[str, str]:
    """A target that lets in all of the space, or all but its fastest."""
    return target(1.2 * span(nas)[1])


# Devices.


def shipped() -> int:
    """Tables of exactly this machine that come with the package."""
    return sum(1 for _ in matching_tables([shipped_folder(FOLDER)], Device(), this_machine(Device())))


def test_what_this_machine_has(nas: Nas) -> None:
    rows = nas("devices", "--json").json
    assert [row["provider"] for row in rows] == list(providers())
    cpu = next(row for row in rows if row["device"] == "cpu")
    machine = this_machine(Device())
    assert (cpu["cores"], cpu["runtime"]) == (machine.cores, onnxruntime.__version__)
    assert machine.cpu in cpu["machine"]
    assert cpu["tables"] == shipped()
    lines = nas("devices").out.splitlines()
    assert lines[0].split()[:3] == ["device", "provider", "machine"]
    assert len(lines) == 2 + len(rows)


def test_tables_of_exactly_this_machine_are_counted(nas: Nas, made: Made) -> None:
    folder = nas.folder / "latency_tables"
    folder.mkdir()
    (folder / "own.csv").write_text(made.text)
    (folder / "other.csv").write_text(made.text.replace("# cpu: ", "# cpu: Other "))
    (folder / "broken.csv").write_text("no table")
    (row,) = [row for row in nas("devices", "--json").json if row["device"] == "cpu"]
    assert row["tables"] == shipped() + 1


def test_a_named_device_is_asked(nas: Nas) -> None:
    ran = nas("devices", "cpu:batch=4", "cpu", "--json")
    assert ran.code == 0, ran.err
    assert [row["device"] for row in ran.json] == ["cpu:batch=4", "cpu"]
    assert {row["runtime"] for row in ran.json} == {onnxruntime.__version__}


MEASURE = ("latency", "measure", "mnasnet-small", "--resolution", "64", "--seconds", "0.3")
NO_CUDA = pytest.mark.skipif("CUDAExecutionProvider" in providers(), reason="this machine has CUDA")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("nonsense", ("'nonsense' is no device", "use cpu, cuda")),
        ("", ("no provider's name", "write one like")),
        ("cpu:threads=999", ("999 threads", "fewer threads")),
        ("cpu:threads=none", ("threads is 'none'", "a whole number from 1")),
        ("cpu:precision=fp7", ("precision is 'fp7'", "fp32, int8")),
        ("cpu:warp=9", ("unknown option 'warp'", "threads, batch, precision")),
        ("cpu:cores=999", ("no core 999", "cores are")),
        pytest.param("cuda", ("no CUDAExecutionProvider here", "onnxruntime-gpu"), marks=NO_CUDA),
        ("NoneExecutionProvider", ("no NoneExecutionProvider here", "install")),
        ("ssh://-oProxyCommand=true", ("no host can be read", "ssh://user@host")),
    ],
)
def test_a_device_that_is_none_is_told(
    nas: Nas,
    device: str,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for command in (("devices", device), (*MEASURE, "--device", device)):
        nas.here(*command, capsys=capsys, monkeypatch=monkeypatch).refused(*words)


def test_both_commands_refuse_a_device_as_processes_too(nas: Nas) -> None:
    nas("devices", "nonsense").refused("'nonsense' is no device")
    nas(*MEASURE, "--device", "nonsense").refused("'nonsense' is no device")


def test_a_device_is_told_before_a_search_begins(nas: Nas) -> None:
    for device in ("nonsense", "cpu:threads=999"):
        ran = nas.fake("search", "--space", "small.yaml", "--target", "latency=1ms", "--device", device)
        ran.refused("is no device" if device == "nonsense" else "999 threads")
    assert not (nas.folder / "nas.db").exists()


# Measuring.


def test_a_measurement_says_what_it_is_of(nas: Nas) -> None:
    ran = nas(*MEASURE, "mnasnet-a1", "--device", "cpu:batch=2", "--json")
    assert ran.code == 0, ran.err
    told, machine = ran.json, this_machine(Device())
    assert parse_device(told["device"]) == Device(batch=2)
    assert (told["provider"], told["threads"], told["batch"], told["precision"]) == (
        *("CPUExecutionProvider", 1, 2, "fp32"),
    )
    assert (told["cpu"], told["system"], told["runtime"]) == (machine.cpu, machine.system, onnxruntime.__version__)
    assert [(row["name"], row["resolution"]) for row in told["networks"]] == [("mnasnet-small", 64), ("mnasnet-a1", 64)]
    for row in (*told["networks"], told["reference"]):
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["p95_ms"]
        assert row["latency_ms"] > 0
        assert row["spread_ms"] >= 0
        assert row["repeats"] >= 15
    small, large = told["networks"]
    assert small["macs"] < large["macs"]
    assert small["latency_ms"] < large["latency_ms"]
    assert told["warmups"] >= 3 * 6


def test_a_measurement_is_a_table_for_people(nas: Nas) -> None:
    ran = nas(*MEASURE)
    assert ran.code == 0, ran.err
    header, _, own, reference, provenance = ran.out.splitlines()
    assert [word in header for word in ("MACs", "latency ms", "spread", "min", "median", "p95", "repeats")] == [
        True
    ] * 7
    assert own.startswith("mnasnet-small")
    assert reference.startswith("(reference)")
    assert f"ONNX Runtime {onnxruntime.__version__}" in provenance
    assert "cpu:threads=1,batch=1,precision=fp32" in provenance


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("efficientnet-b9",), ("no preset and no file",), 1),
        ((), ("Missing argument 'NETWORK...'",), 2),
        (("mnasnet-small", "--seconds", "0"), ("--seconds",), 2),
        (("mnasnet-small", "--device", "cpu", "--device", "cpu:threads=1"), ("the device cpu is given twice",), 1),
    ],
)
def test_what_cannot_be_measured_is_told(
    nas: Nas, arguments: tuple[str, ...], words: tuple[str, ...], code: int
) -> None:
    nas("latency", "measure", *arguments).refused(*words, code=code)


# Several networks and devices.


def save_small(path: Path, *, weights: bool = True) -> None:
    """Save the ONNX graph of a small network for images of 32 pixels."""
    arch = preset("mnasnet-small").adapted(resolution=32, classes=10)
    model = build_graph(whole(arch), batch=1)
    if not weights:
        model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())


COMPARED = ("--device", "cpu", "--device", "cpu:precision=int8", "--seconds", "0.3")


def test_networks_and_files_are_compared_on_several_devices(nas: Nas) -> None:
    save_small(nas.folder / "small.onnx")
    command = ("latency", "measure", "mnasnet-small", "small.onnx", "--resolution", "32", "--classes", "10", *COMPARED)
    ran = nas(*command, "--json")
    assert ran.code == 0, ran.err
    assert "small.onnx: an ONNX file has a precision of its own" in ran.err
    fp32, int8 = ran.json["devices"]
    assert [parse_device(each["device"]) for each in (fp32, int8)] == [Device(), Device(precision="int8")]
    assert [(row["name"], row["precision"]) for row in fp32["networks"]] == [
        ("mnasnet-small", "fp32"),
        ("small.onnx", "own"),
    ]
    assert [(row["name"], row["precision"]) for row in int8["networks"]] == [("mnasnet-small", "int8")]
    first, file = fp32["networks"]
    assert (first["ratio"], first["ratio_spread"], first["paired"]) == (1, 0, True)
    assert file["paired"]
    assert file["ratio"] > 0 < file["ratio_spread"]
    assert (file["macs"], file["params"], file["resolution"]) == (None, None, 32)
    assert first["macs"] > 0
    assert {row["repeats"] for each in (fp32, int8) for row in each["networks"]} == {first["repeats"]}
    assert fp32["reference"] == int8["reference"]


def test_a_comparison_is_a_table_with_a_row_for_each_network_and_device(nas: Nas) -> None:
    ran = nas("latency", "measure", "mnasnet-small", "mnasnet-a1", "--resolution", "32", *COMPARED)
    assert ran.code == 0, ran.err
    header, _, *rows = ran.out.splitlines()
    assert [word in header for word in ("network", "device", "precision", "latency ms", "ratio")] == [True] * 5
    assert [row.split()[:3] for row in rows[:5]] == [
        ["mnasnet-small", "cpu:threads=1,batch=1", "fp32"],
        ["mnasnet-a1", "cpu:threads=1,batch=1", "fp32"],
        ["mnasnet-small", "cpu:threads=1,batch=1", "int8"],
        ["mnasnet-a1", "cpu:threads=1,batch=1", "int8"],
        ["(reference)", "cpu:threads=1,batch=1", "fp32"],
    ]
    assert rows[0].endswith("1.000 ± 0.000")
    assert len(rows) == 7
    assert "precision=int8 on" in rows[6]


@pytest.mark.slow
def test_a_trained_network_is_measured_with_its_weights(nas: Nas) -> None:
    import torch

    from nas.models.build import build_model

    arch = preset("mnasnet-small").adapted(resolution=32, classes=10)
    torch.manual_seed(0)
    write_network(TrainedNetwork(arch, build_model(arch).state_dict()), nas.folder / "best.safetensors")
    ran = nas("latency", "measure", "best.safetensors", "--seconds", "0.3", "--json")
    assert ran.code == 0, ran.err
    (row,) = ran.json["networks"]
    assert (row["name"], row["resolution"], row["macs"]) == ("best.safetensors", 32, analytic.cost(arch).macs)
    ran = nas("latency", "measure", "best.safetensors", "--classes", "7", "--seconds", "0.3")
    assert ran.code == 0, ran.err
    assert "measured with random weights, because its own are for 10 classes" in ran.err


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("missing.onnx", ("missing.onnx cannot be read: No such file", "give the path of an ONNX file")),
        ("empty.onnx", ("empty.onnx: it has 0 inputs", "export the network once more")),
        ("text.onnx", ("text.onnx: it is not a complete ONNX file", "export the network once more")),
        ("outside.onnx", ("outside.onnx: the tensor", "is in another file, which is not read")),
        ("folder.onnx", ("folder.onnx cannot be read", "give the path of an ONNX file")),
    ],
)
def test_a_file_that_cannot_be_measured_is_refused_before_a_device_is_asked(
    nas: Nas, file: str, words: tuple[str, ...]
) -> None:
    (nas.folder / "empty.onnx").write_bytes(b"")
    (nas.folder / "text.onnx").write_text("no model")
    (nas.folder / "folder.onnx").mkdir()
    save_small(nas.folder / "outside.onnx", weights=False)
    nas("latency", "measure", file, "--device", "ssh://nowhere.invalid").refused(*words)


def test_a_file_whose_batch_is_another_is_refused(nas: Nas) -> None:
    save_small(nas.folder / "small.onnx")
    words = ("small.onnx takes batches of 1, and the device has batch=4", "give the device with batch=1")
    nas("latency", "measure", "small.onnx", "--device", "cpu:batch=4").refused(*words)


def test_files_of_one_name_are_told_apart_by_their_folders(nas: Nas) -> None:
    for name in ("one", "two"):
        (nas.folder / name).mkdir()
        save_small(nas.folder / name / "model.onnx")
    files = ("one/model.onnx", "two/model.onnx")
    ran = nas("latency", "measure", *files, "--seconds", "0.3", "--json")
    assert tuple(row["name"] for row in ran.json["networks"]) == files
    nas("latency", "measure", "one").refused("'one' is a folder, and not one that `nas train` wrote", "model.onnx")


# Tables.


def test_a_table_has_every_layer_and_says_what_it_is_of(nas: Nas, made: Made) -> None:
    told, table = made.ran.json, read_table(nas.folder / "small.csv")
    layers = distinct_layers(space_chain(space(nas)))
    assert set(table.layers_ms) == set(layers)
    assert (told["layers"], told["space"], told["file"]) == (len(layers), "small", "tables/small.csv")
    assert parse_device(told["device"]) == table.origin.device == Device()
    assert table.origin.machine == this_machine(Device())
    assert (told["fit_networks"], table.correction.networks) == (4, 4)
    assert made.left == ["small.csv"]
    assert f"measuring {len(layers)} layers and 4 networks" in made.ran.err
    low, high = span(nas)
    assert 0 < low < high


@pytest.mark.slow
def test_a_table_that_is_killed_is_finished_by_the_same_command(nas: Nas, gate: Gate) -> None:
    command = ("latency", "table", "--space", "tiny.yaml", *LOOSE)
    gate.let(2)
    process = nas.start(*command, module=HELD, **gate.environment)
    gate.wait_for(3)
    helpers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert "Traceback" not in process.communicate()[1]
    (partial,) = (nas.folder / "latency_tables").iterdir()
    assert partial.name.endswith(".csv.partial")
    kept = partial.read_text().split("\n")[1:-1]
    assert len(kept) == 3
    gone, alive = psutil.wait_procs(helpers, timeout=60)
    assert not alive, "the agent outlived what it worked for"
    assert gone
    ran = nas(*command)
    assert ran.code == 0, ran.err
    assert not partial.exists()
    first = re.search(r": (\d+) of \d+", ran.err)
    assert first
    assert int(first[1]) == len(kept) + 1
    (file,) = (nas.folder / "latency_tables").iterdir()
    assert f"wrote latency_tables/{file.name}: " in ran.out
    tiny = find_space(str(nas.folder / "tiny.yaml"))
    read_table(file).check_chain(space_chain(tiny), tiny.net["padding"])
    assert file.name.startswith("tiny-32-cpu-")
    assert ran.out.splitlines()[-1] == (
        f"next: nas latency check --space tiny.yaml --device cpu --table latency_tables/{file.name}"
    )


def test_what_is_begun_of_another_table_is_not_gone_on_with(nas: Nas) -> None:
    (nas.folder / "x.csv.partial").write_text('{"format": "something else"}\n')
    ran = nas("latency", "table", "--space", "small.yaml", *QUICK, "--out", "x.csv")
    ran.refused("x.csv.partial holds the beginning of another table", "--out")


@pytest.mark.slow
def test_a_table_is_adapted_to_another_device(nas: Nas) -> None:
    arguments = ("latency", "table", "--space", "small.yaml", "--device", "cpu:batch=2", "--from", "small.csv")
    ran = nas(*arguments, *QUICK, "--out", "two.csv", "--json")
    assert ran.code == 0, ran.err
    assert "measuring 0 layers and 4 networks" in ran.err
    table, own = read_table(nas.folder / "two.csv"), read_table(nas.folder / "small.csv")
    assert parse_device(ran.json["device"]) == table.origin.device == Device(batch=2)
    assert (table.origin.adapted_from, table.layers_ms) == ("small", own.layers_ms)
    assert (ran.json["fit_networks"], table.correction.networks) == (4, 4)
    checked = nas(
        *("latency", "check", "--space", "small.yaml", "--device", "cpu:batch=2", "--table", "two.csv"),
        *(*LOOSE, "--json"),
    )
    assert checked.code == 0, checked.err
    assert (checked.json["table"], checked.json["device"]) == ("two", str(Device(batch=2)))


def older_form(text: str) -> str:
    return re.sub("# graph: .*", "# graph: opset20 operators1", text)


def test_a_table_of_another_form_of_graphs_is_not_adapted_and_not_passed_over(nas: Nas, made: Made) -> None:
    (nas.folder / "latency_tables").mkdir()
    (nas.folder / "latency_tables/old.csv").write_text(older_form(made.text))
    words = ("old", "form 'opset20 operators1'", f"form '{FORM}'", "nas latency table --space small --device cpu")
    nas("latency", "table", "--space", "small.yaml", "--from", "latency_tables/old.csv", "--out", "x.csv").refused(
        *words
    )
    nas("latency", "check", "--space", "small.yaml").refused(*words)


@pytest.mark.slow
def test_a_table_of_another_form_of_graphs_is_replaced_by_the_same_command(nas: Nas, made: Made) -> None:
    (nas.folder / "x.csv").write_text(older_form(made.text))
    ran = nas("latency", "table", "--space", "small.yaml", *QUICK, "--out", "x.csv", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["graph"] == read_table(nas.folder / "x.csv").origin.machine.graph == FORM


def test_a_table_of_another_space_cannot_be_adapted(nas: Nas) -> None:
    ran = nas("latency", "table", "--space", "tiny.yaml", "--from", "small.csv", "--out", "x.csv")
    ran.refused("latency table small has no layer", "another space or resolution")
    assert not list(nas.folder.glob("x.csv*"))


# Checks.


def test_a_check_tells_how_well_a_table_and_a_second_measurement_agree(nas: Nas, made: Made) -> None:
    (nas.folder / "latency_tables").mkdir()
    (nas.folder / "latency_tables/found.csv").write_text(made.text)
    ran = nas("latency", "check", "--space", "small.yaml", "--networks", "5", *LOOSE, "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert set(told) == CHECK_KEYS
    assert (told["table"], told["networks"], told["device"]) == ("found", 4, str(Device()))
    assert "the space has 4 networks that the table was not fitted on" in ran.err
    for key in ("mape", "retest_mape", "mape_macs", "noise", "reference_ms", "reference_ms_of_table"):
        assert 0 <= told[key] < math.inf
    for key in ("within_5pct", "within_10pct", "retest_within_5pct", "retest_within_10pct"):
        assert 0 <= told[key] <= 1
    assert told["within_5pct"] <= told["within_10pct"]
    for key in ("spearman", "retest_spearman", "spearman_macs"):
        assert -1 <= told[key] <= 1


@pytest.mark.slow
def test_a_check_is_drawn(nas: Nas) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the picture")
    arguments = ("--space", "small.yaml", "--table", "small.csv", "--networks", "5")
    ran = nas("latency", "check", *arguments, *LOOSE, "--png", "check.png", "--html", "check.html")
    assert ran.code == 0, ran.err
    assert [line.split("  ")[0] for line in ran.out.splitlines()[2:5]] == ["table", "measured again", "MACs alone"]
    assert (nas.folder / "check.png").read_bytes().startswith(b"\x89PNG")
    drawn = browse(nas.folder / "check.html")
    assert drawn.count('class="point"') == 2 * 4


@pytest.mark.slow
def test_a_plot_that_cannot_be_written_does_not_lose_the_check(nas: Nas) -> None:
    arguments = ("--space", "small.yaml", "--table", "small.csv", "--networks", "5", "--json")
    # The path of the page is as long as systems allow, and that of the temporary file beside it is too long.
    folder = nas.folder
    while (left := 4090 - len(str(folder / "check.html"))) > 1:
        folder /= "x" * (left - 1 if left < 200 else 100)
    folder.mkdir(parents=True)
    (nas.folder / "check.html").symlink_to(folder / "check.html")
    ran = nas("latency", "check", *arguments, *LOOSE, "--html", "check.html")
    assert (ran.code, set(ran.json)) == (1, CHECK_KEYS)
    assert json.loads(ran.err.splitlines()[-1])["error"]["problem"].startswith("check.html cannot be written")


@pytest.mark.slow
def test_a_space_whose_networks_were_all_fitted_cannot_be_checked(nas: Nas) -> None:
    alike = (nas.folder / "smallest.yaml").read_text().replace("[0.75, 1, 2, 3]", "[0.75, 1]")
    (nas.folder / "one.yaml").write_text(alike)
    made = nas("latency", "table", "--space", "one.yaml", "--out", "one.csv", *LOOSE, "--json")
    assert made.code == 0, made.err
    ran = nas("latency", "check", "--space", "one.yaml", "--table", "one.csv", "--json")
    ran.refused("has 0 networks that the table was not fitted on", "--networks")


def test_without_a_table_a_check_says_how_to_make_one(nas: Nas) -> None:
    ran = nas("latency", "check", "--space", "small.yaml")
    ran.refused("there is no latency table of cpu", "space small", "nas latency table --space small.yaml --device cpu")


def first_row(text: str) -> str:
    return text.split("\n")[text.split("\n").index("part,channels,height,width,latency_ms,spread_ms") + 1]


def with_a_word_for_a_time(text: str) -> str:
    fields = first_row(text).split(",")
    return text.replace(first_row(text), ",".join([*fields[:4], "fast", fields[5]]))


VERBS = [pytest.param("search", marks=pytest.mark.slow), "check"]
Edit = Callable[[str], str]
BAD_TABLES: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "of another device": (lambda text: text.replace("batch=1", "batch=2"), ("not of this device", "batch=2", "--from")),
    "of another machine": (lambda text: text.replace("# cpu: ", "# cpu: Other "), ("its cpu is Other", "make one")),
    "of another runtime": (lambda text: re.sub("# runtime: .*", "# runtime: 0.1", text), ("its ONNX Runtime is 0.1",)),
    "with graphs of another form": (
        older_form,
        ("graphs of the form 'opset20 operators1'", "is not used", "measure it again with `nas latency table"),
    ),
    "of the first format": (
        lambda text: re.sub("# graph: .*\n", "", text.replace("table/2", "table/1")),
        ("graphs of the form 'opset20 operators1'", "nas latency table --space small --device cpu"),
    ),
    "with a word for a time": (with_a_word_for_a_time, ("line 30", "a number of milliseconds", "make the")),
    "with a word for a number": (lambda text: re.sub("# passes: .*", "# passes: x", text), ("passes is 'x'",)),
    "cut short": (lambda text: text[:-5], ("its last line is cut short", "make the table anew")),
    "without its last line": (lambda text: text[: text.rindex("\n", 0, -1) + 1], ("should have", "layers")),
    "empty": (lambda _text: "", ("line 1 is ''", "make the table anew")),
    "of other classes": (lambda text: text.replace("# classes: 10", "# classes: 7"), ("classes 7, not 10", "make one")),
    "not text": (lambda _text: "\udcff", ("it is not UTF-8 text: line 1", "make the table anew")),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("edit", BAD_TABLES)
def test_a_wrong_table_is_told(nas: Nas, made: Made, verb: str, edit: str) -> None:
    change, words = BAD_TABLES[edit]
    (nas.folder / "bad.csv").write_bytes(change(made.text).encode("utf-8", "surrogateescape"))
    with_table(nas, verb, "bad.csv").refused("latency table bad", *words)
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("table", "more", "words"),
    [
        ("small.csv", ("--space", "tiny.yaml"), ("has no layer", "of another space or resolution", "make one")),
        ("small.csv", ("--resolution", "64"), ("has no layer", "on 3x64x64", "make one")),
        ("small.csv", ("--classes", "11"), ("is of classes 10, not 11", "make one")),
        ("absent.csv", (), ("absent.csv cannot be read", "No such file")),
        ("small.yaml", (), ("small.yaml", "should begin with '# format: '")),
    ],
)
def test_a_table_of_something_else_is_told(
    nas: Nas, verb: str, table: str, more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with_table(nas, verb, table, *more).refused(*words)


def with_table(nas: Nas, verb: str, table: str, *more: str) -> Ran:
    if verb == "search":
        return nas.fake(*SEARCH, "--target", "latency=1ms", "--table", table, *more)
    return nas("latency", "check", "--space", "small.yaml", "--device", "cpu", "--table", table, *more)


# Searches.


def check_verified(told: dict[str, Any], limit: float) -> None:
    """What was measured of the best is there in full."""
    assert told["verified"]
    for row in told["verified"]:
        measurement = row["measurement"]
        assert (measurement["cost"], measurement["target"]) == ("latency_ms", pytest.approx(limit, rel=1e-3))
        assert measurement["predicted"] == row["latency_ms"] > 0
        assert measurement["measured"] > 0
        assert measurement["spread"] >= 0
        assert measurement["meets"] == (measurement["measured"] <= measurement["target"])
    met = [row for row in told["verified"] if row["measurement"]["meets"]]
    assert told["best"] == (max(met, key=lambda row: row["score"]) if met else None)


@pytest.mark.slow
def test_a_search_by_a_table_measures_its_best_and_goes_on_with_nothing(nas: Nas, made: Made) -> None:
    (nas.folder / "latency_tables").mkdir()
    (nas.folder / "latency_tables/found.csv").write_text(made.text)
    asked = (*SEARCH, *slowest(nas), "--trials", "4")
    ran = nas.fake(*asked, "--json")
    assert ran.code == 0, ran.err
    assert "latencies are predicted by table found: error ±" in ran.err
    assert "verifying: 4 of 4 trials are done; measuring 4 of the best on the device" in ran.err
    check_verified(ran.json, 1.2 * span(nas)[1])
    assert len(ran.json["verified"]) == ran.json["trials"] == 4
    table = read_table(nas.folder / "small.csv")
    view = read_study(open_storage(f"sqlite:///{nas.folder / 'nas.db'}"), "demo")
    for record in view.complete:
        assert record.costs["latency_ms"] == pytest.approx(table.estimate(record.architecture).value)
    again = nas.fake(*asked, "--json")
    assert again.out == ran.out
    assert "verifying" not in again.err
    assert "\ntrial " not in again.err
    text = nas.fake(*asked)
    told, header = text.out.splitlines()[1:3]
    assert told.startswith("target: latency=")
    assert told.endswith(" on cpu")
    assert header.split() == [
        "architecture",
        "accuracy",
        "MACs",
        "params",
        "latency",
        "measured",
        "meets",
        "it",
        "score",
    ]
    assert text.out.count(" ± ") == 4 + 4  # of predictions and of measurements
    nas.fake(*SEARCH, *slowest(nas), "--table", "small.csv").refused("made with limits.1.basis.by table found")


@pytest.mark.slow
@pytest.mark.alone
def test_a_search_without_a_table_measures_candidates(nas: Nas) -> None:
    low, high = span(nas)
    limit = 2 * high
    asked = (*SEARCH, "--target", "flops=20M", *target(limit), "--trials", "3", "--json")
    ran = nas.fake(*asked)
    assert ran.code == 0, ran.err
    assert "no usable latency table for cpu on this machine and space small, so each candidate is measured" in ran.err
    check_verified(ran.json, limit)
    assert all(low / 10 < row["latency_ms"] <= limit for row in ran.json["verified"])
    again = nas.fake(*asked)
    assert (again.json, "verifying" in again.err) == (ran.json, False)
    view = read_study(open_storage(f"sqlite:///{nas.folder / 'nas.db'}"), "demo")
    assert view.settings["limits"][1]["basis"]["by"] == "measuring"


def faster(table: LatencyTable, factor: float) -> LatencyTable:
    """A table whose times are too good to be true."""
    times = {layer: factor * time for layer, time in table.layers_ms.items()}
    fitted = attrs.evolve(table.correction, intercept=factor * table.correction.intercept)
    return attrs.evolve(table, layers_ms=times, correction=fitted)


@pytest.mark.slow
def test_a_search_in_which_none_meets_its_target_has_no_best(nas: Nas) -> None:
    limit = 0.05 * span(nas)[1]
    (nas.folder / "wrong.csv").write_text(format_table(faster(read_table(nas.folder / "small.csv"), 0.02)))
    asked = (*SEARCH, *target(limit), "--trials", "3", "--table", "wrong.csv")
    ran = nas.fake(*asked)
    assert ran.code == TARGET_MISSED, ran.err
    first = ran.out.splitlines()[0]
    assert first.startswith("The target is missed: none of the 3 networks that were measured on the device meets the")
    assert "times the predicted ones" in first
    again = nas.fake(*asked, "--json")
    assert (again.code, "The target is missed" in again.err) == (TARGET_MISSED, True)
    told = again.json
    assert told["best"] is None
    assert [row["measurement"]["meets"] for row in told["verified"]] == [False] * 3
    nas("show", "study:demo:best").refused(
        "demo has no best: none of the 3 networks that were measured", "trial=NUMBER"
    )
    assert nas("show", "study:demo:trial=0").code == 0
    assert nas("studies").code == nas("pareto", "demo").code == 0


def with_error(text: str, error: float) -> str:
    return re.sub("# max_error: .*\n", "", re.sub("# fit_error: .*", f"# fit_error: {error}", text))


def test_a_search_refuses_a_table_with_a_large_error(nas: Nas, made: Made) -> None:
    (nas.folder / "bad.csv").write_text(with_error(made.text, 0.52))
    ran = nas.fake(*SEARCH, *slowest(nas), "--table", "bad.csv")
    ran.refused("latency table bad.csv is not used: its error ±52.0% on 4 networks", "limit of 15%", "--max-error")
    assert not (nas.folder / "nas.db").exists()
    good = with_error(made.text, 0.05)
    (nas.folder / "good.csv").write_text(good)
    ran = nas.fake(*SEARCH, *slowest(nas), "--table", "good.csv", "--dry-run")
    assert (ran.code, "`nas latency check` has not checked it" in ran.err) == (0, True)


@pytest.mark.slow
def test_a_table_with_a_large_error_is_not_found_by_itself(nas: Nas, made: Made) -> None:
    (nas.folder / "latency_tables").mkdir()
    (nas.folder / "latency_tables/found.csv").write_text(with_error(made.text, 0.52))
    ran = nas.fake(*SEARCH, *slowest(nas), "--dry-run")
    assert ran.code == 0, ran.err
    assert "latency table found is not used: its error ±52.0%" in ran.err
    assert "each candidate is measured" in ran.err


@pytest.mark.slow
def test_a_check_marks_a_wrong_table_until_its_error_is_accepted(nas: Nas) -> None:
    slower = attrs.evolve(faster(read_table(nas.folder / "small.csv"), 2.0), max_error=0.15)
    (nas.folder / "wrong.csv").write_text(format_table(slower))
    arguments = ("latency", "check", "--space", "small.yaml", "--table", "wrong.csv", "--networks", "5")
    ran = nas(*arguments, "--json")
    assert ran.code == 1
    assert (ran.json["usable"], ran.json["max_error"]) == (False, 0.15)
    assert "latency table wrong is not usable: its error ±" in ran.err
    marked = read_table(nas.folder / "wrong.csv")
    assert marked.checked is not None
    assert (marked.checked.networks, marked.is_usable) == (4, False)
    assert marked.layers_ms == pytest.approx(slower.layers_ms, rel=1e-5)
    assert marked.error == pytest.approx(ran.json["error"], rel=1e-5)
    nas.fake(*SEARCH, *slowest(nas), "--table", "wrong.csv").refused("wrong.csv is not used", "networks of a check")
    accepted = nas(*arguments, *LOOSE)
    assert accepted.code == 0, accepted.err
    ran = nas.fake(*SEARCH, *slowest(nas), "--table", "wrong.csv", "--dry-run")
    assert (ran.code, "has not checked it" in ran.err) == (0, False)


@pytest.mark.slow
def test_a_table_whose_fit_is_poor_is_written_and_the_command_fails(nas: Nas) -> None:
    arguments = ("latency", "table", "--space", "smallest.yaml", "--out", "poor.csv", "--networks", "4", "--json")
    ran = nas(*arguments, "--max-error", "0.001%")
    assert ran.code == 1
    assert (ran.json["usable"], ran.json["max_error"]) == (False, 1e-5)
    assert "latency table poor is not usable" in ran.err
    assert not read_table(nas.folder / "poor.csv").is_usable


@pytest.mark.parametrize("share", ["nan", "inf%", "0", "-5%", "15", "much", ""])
def test_a_limit_that_is_no_share_is_told(nas: Nas, share: str) -> None:
    nas("latency", "check", "--space", "small.yaml", "--max-error", share).refused("is not a share above 0", code=2)


def test_a_target_below_the_space_says_what_is_possible(nas: Nas) -> None:
    low, high = span(nas)
    ran = nas.fake(*SEARCH, *target(low / 2), "--table", "small.csv")
    ran.refused("cannot be met in space small", f"{low:.4g} ms to {high:.4g} ms")
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.slow
def test_a_target_below_the_space_is_told_without_a_table_too(nas: Nas) -> None:
    ran = nas.fake(*SEARCH, *target(span(nas)[0] / 50))
    ran.refused("cannot be met in space small", "latency goes from", " ms to ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "latency=8ms"), ("is about a device, and none is named", "--device cpu")),
        (("--target", "flops=1M", "--device", "cpu"), ("--device and --table are about latency", "latency=8ms")),
        (("--target", "flops=1M", "--table", "small.csv"), ("--device and --table are about latency",)),
        (("--target", "latency=8", "--device", "cpu"), ("a bare number has no unit", "latency=8ms")),
        (("--target", "latency=8MB", "--device", "cpu"), ("unknown unit 'MB'", "us, ms, s")),
    ],
)
def test_targets_and_devices_that_do_not_fit_are_told(
    nas: Nas, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    nas.fake("search", "--space", "small.yaml", *arguments).refused(*words)
    assert not (nas.folder / "nas.db").exists()


def test_a_dry_run_by_a_table_touches_nothing(nas: Nas) -> None:
    limit = span(nas)[1]
    ran = nas.fake(*SEARCH, *target(limit), "--table", "small.csv", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["targets"][0].startswith("latency=")
    assert ran.json["targets"][0].endswith("us on cpu")
    assert " ms to " in ran.json["cost_range"]["latency"]
    assert not (nas.folder / "nas.db").exists()
