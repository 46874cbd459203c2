"""Comparisons of networks on fake devices of known times: pairs, groups, refusals, and networks of all origins."""

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import pytest

import nas
from nas.api import comparison_device
from nas.api.comparison import ComparisonOptions, compare_networks
from nas.api.comparison_records import (
    ComparedNetwork,
    DeviceComparison,
    DeviceLatency,
    LatencyPair,
    PublishedAccuracy,
    alike,
)
from nas.api.comparison_results import Comparison
from nas.api.comparison_text import alike_sentences, table, unseen_sentences
from nas.errors import DeviceError, NasError
from nas.version import __version__
from tests.device.fakes import Fakes, fakes_fixture
from tests.device.onnx_files import classifier, pooled_classifier

__all__ = ["fakes_fixture"]

# The reference takes 2 ms. A network takes the milliseconds at the end of its name, with noise if it has "noisy" in it,
# and is refused if it has "odd" in it. Its peak memory is 1,000 bytes for each millisecond.
PROGRAM = """
import hashlib
import numpy as np
from nas.device.timing import summarize

kept, logits = set(), {}

def milliseconds(name):
    return float(name.partition(" ")[0].removesuffix(".onnx").rpartition("-")[2])

def times(name, rounds, rng):
    noise = rng.normal(1, 0.05, rounds) if "noisy" in name else np.ones(rounds)
    return milliseconds(name) / 1e3 * noise

start_count()
while True:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    request = parse_request(line)
    if isinstance(request, HelloRequest):
        send(encode(HelloReply(machine, ("CPUExecutionProvider",), "VERSION", PROTOCOL)))
    elif isinstance(request, FileRequest):
        if request.offset + len(request.data) == request.size:
            kept.add(request.digest)
        send(encode(ReceivedReply(request.id, request.offset + len(request.data))))
    elif isinstance(request, FetchRequest):
        send(encode(ChunkReply(request.id, logits[request.digest])))
    elif missing := [each for each in needed_files(request) if each not in kept]:
        send(encode(MissingReply(request.id, tuple(missing))))
    elif isinstance(request, RunRequest):
        if "odd" in request.model.name:
            send(encode(ErrorReply(request.id, "it has an odd operator", "leave it out")))
            continue
        data = np.zeros((request.shape[0], 2), "<f4").tobytes()
        digest = hashlib.sha256(data).hexdigest()
        logits[digest] = data
        peak = int(1000 * milliseconds(request.model.name))
        send(encode(LogitsReply(request.id, digest, request.shape[0], 2, peak, "CPUExecutionProvider")))
    else:
        with (folder / "asked").open("a") as log:
            log.write(f"{len(request.networks)}\\n")
        rng = np.random.default_rng(0)
        columns = [np.full(60, 0.002), *(times(each.name, 60, rng) for each in request.networks)]
        send(encode(TimingsReply(request.id, summarize(np.array(columns).T, 6))))
"""
FP32 = ComparisonOptions(precisions=("fp32",), seconds=1.0)


@pytest.fixture(name="device")
def _device(fakes: Fakes) -> str:
    fakes.address(PROGRAM.replace("VERSION", __version__), "board")
    return f"ssh://board?cpu:python={fakes.folder / 'board' / 'python'}"


@pytest.fixture(name="files")
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> list[str]:
        for name in names:
            Path(name).write_bytes(classifier((1, 3, 4, 4)).SerializeToString())
        return list(names)

    return write


def compared(networks: list[Any], device: str, **changes: Any) -> Comparison:
    return compare_networks(networks, attrs.evolve(FP32, devices=(device,), **changes))


def test_all_pairs_are_compared_with_a_bound_for_their_number(device: str, files: Any) -> None:
    found = compared(files("a-1.onnx", "b-2.onnx", "c-4.onnx"), device)
    [board] = found.devices
    assert [(pair.first, pair.second) for pair in board.pairs] == [
        ("a-1.onnx", "b-2.onnx"),
        ("a-1.onnx", "c-4.onnx"),
        ("b-2.onnx", "c-4.onnx"),
    ]
    assert [pair.ratio for pair in board.pairs] == pytest.approx([0.5, 0.25, 0.5])
    assert all(pair.is_clear and pair.paired for pair in board.pairs)
    assert [each.latency_ms for each in board.latencies] == pytest.approx([1, 2, 4])
    assert [each.peak_bytes for each in board.latencies] == [1000, 2000, 4000]
    assert {each.peak_source for each in board.latencies} == {"measured"}
    assert (board.place, board.groups, board.rounds) == ("ssh://board", 1, (60,))


def test_latencies_within_the_noise_cannot_be_told_apart(device: str, files: Any) -> None:
    found = compared(files("noisy-10.onnx", "noisy-10.1.onnx", "far-30.onnx"), device)
    [board] = found.devices
    assert list(alike(board, "fp32")) == [("noisy-10.onnx", ("noisy-10.1.onnx",))]
    assert list(alike_sentences(board)) == [
        "In fp32, the latency of noisy-10.onnx cannot be told apart from that of noisy-10.1.onnx: the interval of the "
        "ratio, measured round by round, includes 1 (95% for all 3 comparisons of the device together).",
        "All other latencies in fp32 can be told apart (95% for all 3 comparisons of the device together).",
    ]
    assert all(each.low_ms < each.latency_ms < each.high_ms for each in board.latencies if "noisy" in each.name)


def test_networks_whose_memory_does_not_fit_take_turns_in_groups(
    device: str, files: Any, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each file has some hundred bytes and a peak of 4 or 5 kB: two fit.
    monkeypatch.setattr(comparison_device, "MOST_BYTES", 10_500)
    found = compared(files("a-4.onnx", "b-4.onnx", "c-5.onnx"), device)
    [board] = found.devices
    assert (fakes.folder / "board" / "asked").read_text().split() == ["2", "1"]
    assert board.groups == 2
    assert [pair.paired for pair in board.pairs] == [True, False, False]
    assert [pair.ratio for pair in board.pairs] == pytest.approx([1, 0.8, 0.8])


def test_a_network_that_the_device_refuses_is_named_and_the_others_are_measured(device: str, files: Any) -> None:
    found = compared(files("odd-1.onnx", "b-2.onnx"), device)
    [board] = found.devices
    assert [each.name for each in board.latencies] == ["b-2.onnx"]
    assert [(each.name, each.problem) for each in board.refusals] == [
        ("odd-1.onnx", "ssh://board: it has an odd operator")
    ]
    assert [row["latency_ms"] for row in found.rows()] == [None, pytest.approx(2)]


def test_a_device_that_refuses_all_networks_is_an_error(device: str, files: Any) -> None:
    with pytest.raises(DeviceError, match=r"runs none of the networks: .*it has an odd operator"):
        compared(files("odd-1.onnx"), device)


def test_one_network_is_measured_without_a_comparison(device: str, files: Any) -> None:
    found = compared(files("a-1.onnx"), device)
    assert found.devices[0].pairs == ()
    assert "There is one network, so nothing is compared." in found.notes


def test_a_network_that_is_given_twice_is_compared_once(device: str, files: Any) -> None:
    said: list[str] = []
    [name] = files("a-1.onnx")
    found = compare_networks([name, name], attrs.evolve(FP32, devices=(device,)), say=said.append)
    assert [network.name for network in found.networks] == ["a-1.onnx"]
    assert "a-1.onnx is given more than once, and is compared once" in said


def test_networks_of_equal_names_are_named_as_they_were_given(device: str, files: Any) -> None:
    Path("other").mkdir()
    found = compared(files("a-1.onnx", "other/a-1.onnx"), device)
    assert [network.name for network in found.networks] == ["a-1.onnx", "other/a-1.onnx"]


def test_other_sizes_and_classes_are_stated(device: str, files: Any) -> None:
    arch = nas.load_architecture("mnasnet-small").adapted(resolution=32, classes=10)
    nas.save_architecture(arch, "net-3.txt")
    found = compared([*files("a-1.onnx"), "net-3.txt"], device)
    assert [(network.resolution, network.classes) for network in found.networks] == [((4, 4), 2), ((32, 32), 10)]
    assert [note.split(" of ")[0] for note in found.notes[:2]] == [
        "The networks take images",
        "The networks have different numbers",
    ]


def test_the_costs_of_an_architecture_are_those_of_its_shape_walk(device: str, files: Any) -> None:
    files()
    arch = nas.load_architecture("mnasnet-small").adapted(resolution=32, classes=10)
    nas.save_architecture(arch, "net-3.txt")
    [network] = compared(["net-3.txt"], device, precisions=("fp32", "int8")).networks
    own = nas.cost(arch)
    assert (network.macs, network.params, network.counted_from) == (own.macs, own.params, "architecture")
    # A file has its weights and, beside them, the graph.
    assert own.size_bytes < network.size_bytes["fp32"] < 1.1 * own.size_bytes
    assert network.size_bytes["int8"] < network.size_bytes["fp32"] / 2
    assert network.int8.startswith("quantized with random inputs")
    assert not network.is_trained


def test_an_int8_file_keeps_its_own_precision(device: str, files: Any) -> None:
    from nas.device.quantize import quantize

    files()
    Path("a-1.onnx").write_bytes(quantize(classifier((1, 3, 4, 4))).SerializeToString())
    [network] = compared(["a-1.onnx"], device, precisions=("fp32", "int8")).networks
    assert list(network.size_bytes) == ["int8"]


def test_a_file_of_uint8_images_has_no_int8_file(device: str, files: Any) -> None:
    files()
    Path("a-1.onnx").write_bytes(pooled_classifier(1).SerializeToString())
    [network] = compared(["a-1.onnx"], device, precisions=("fp32", "int8")).networks
    assert list(network.size_bytes) == ["fp32"]
    assert network.notes[0].startswith("there is no int8 file: it takes uint8 images")


def test_an_operator_that_cannot_be_counted_is_named(device: str, files: Any) -> None:
    files()
    model = classifier((1, 3, 4, 4))
    weights = {"w": np.zeros((1, 12, 3), np.float32), "r": np.zeros((1, 12, 3), np.float32), "axis": np.array([0])}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    model.graph.node[2].input[0] = "state"
    for at, (operator, inputs, outputs) in enumerate(
        [("Unsqueeze", ["flat", "axis"], ["sequence"]), ("LSTM", ["sequence", "w", "r"], ["all", "last"]),
         ("Squeeze", ["last", "axis"], ["state"])]
    ):  # fmt: skip
        options: dict[str, Any] = {"hidden_size": 3} if operator == "LSTM" else {}
        model.graph.node.insert(2 + at, onnx.helper.make_node(operator, inputs, outputs, **options))
    Path("a-1.onnx").write_bytes(model.SerializeToString())
    found = compared(["a-1.onnx"], device)
    assert (found.networks[0].macs, found.networks[0].uncounted) == (None, ("LSTM",))
    assert found.networks[0].notes == ("its operator LSTM cannot be counted, so its multiply-adds are unknown",)
    columns, [row] = table(found, found.devices[0])
    assert "MACs (M)" not in [column.title for column in columns]
    assert len(row) == len(columns)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"device": "cpu:precision=int8"}, "has a precision"),
        ({"device": ["cpu", "cpu"]}, "given twice"),
        ({"device": ["cpu", "cpu:batch=2"]}, "the batches 1, 2"),
        ({"device": []}, "no device is given"),
        ({"precision": "fp8"}, "the precision is 'fp8'"),
        ({"split": "all"}, "the split is 'all'"),
        ({"seconds": 0}, "seconds is 0"),
        ({"zoo": "yes"}, "zoo is 'yes'"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(NasError, match=told):
        nas.compare("mnasnet-small", **changes)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("zoo:vgg-17", "vgg-16"),
        ("no-such-network", "is no preset and no file"),
        ("missing.onnx", "cannot be read"),
        (5, "is no network"),
    ],
)
def test_unknown_networks_are_refused(network: Any, told: str, device: str) -> None:
    with pytest.raises(NasError, match=told):
        nas.compare([network], device=device)


def test_no_network_is_refused(device: str) -> None:
    with pytest.raises(NasError, match="no network is given"):
        nas.compare([], device=device)


def test_published_accuracies_are_not_those_of_int8_files() -> None:
    network = ComparedNetwork(
        "net", "zoo:net", "zoo", (224, 224), 3, 1000, 2_000_000_000, 10, "architecture",
        size_bytes={"fp32": 4, "int8": 1}, published=PublishedAccuracy(0.7, "paper"),
    )  # fmt: skip
    latencies = [
        DeviceLatency(2.0, 0.1, 1.9, 2.0, 2.1, 20, "net", precision, 1.8, 2.2, 5, "measured")
        for precision in ("fp32", "int8")
    ]
    pair = LatencyPair("net", "net", "fp32", "int8", 1.0, 0.9, 1.1, True)
    device = DeviceComparison("cpu", "", "", 1, 1, "", "", "", "", 0.0, False, (20,), 1, tuple(latencies), (pair,))
    fp32, int8 = Comparison((network,), (device,)).rows()
    assert (fp32["published_top1"], fp32["published_top1_per_gmac"], fp32["published_top1_per_ms"]) == (0.7, 0.35, 0.35)
    assert (int8["published_top1"], int8["accuracy"]) == (None, None)
    assert not pair.is_clear


def test_networks_of_unknown_accuracy_are_named() -> None:
    def network(name: str, top1: float | None) -> ComparedNetwork:
        published = None if top1 is None else PublishedAccuracy(top1, "paper")
        return ComparedNetwork(name, name, "zoo", (8, 8), 3, 2, 1, 1, "architecture", published=published)

    known, other = network("known", 0.7), network("other", None)
    assert list(unseen_sentences([known])) == []
    assert list(unseen_sentences([other])) == []  # There is no figure.
    assert list(unseen_sentences([known, other, network("third", None)])) == [
        "The figures of published accuracy do not have other and third, whose published accuracy is unknown."
    ]
    [many] = unseen_sentences([known, *(network(f"n{number}", None) for number in range(20))])
    assert many.startswith("The figures of published accuracy do not have n0, n1,")
    assert "n7 and 12 others, whose" in many
