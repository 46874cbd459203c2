"""Tests of files on a device: real agents that run them, and fake ones that misbehave."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from nas.device import logits as logits_module
from nas.device.agent import answer
from nas.device.client import Connection, ModelFile
from nas.device.file_store import FileStore
from nas.device.messages import Bounds, ErrorReply, FileRequest, LocalFileRequest
from nas.device.model_file import StoredBytes
from nas.device.protocol import encode
from nas.device.run_model import run_model
from nas.device.session import open_session
from nas.device.spec import Address, Device, parse_address
from nas.errors import DeviceError, DeviceLostError
from nas.graph.build import build_graph
from tests.contracts.meter import FILE, check
from tests.device.fakes import Fakes, without_pauses
from tests.device.networks import ENDLESS, LARGE, QUICK, SMALL
from tests.device.onnx_files import (
    REFUSED,
    Change,
    classifier,
    cropped,
    expected_logits,
    pooled_classifier,
    random_images,
)
from tests.device.processes import agents, busy, eventually, workers


@pytest.fixture(name="connection", scope="module")
def _connection() -> Iterator[Connection]:
    with Connection(Address()) as connection:
        yield connection


def newest_agent() -> psutil.Process:
    """Return the agent that was started last; that of the fixture runs beside it."""
    return max(agents(), key=lambda each: each.create_time())


def file_of(model: onnx.ModelProto, name: str = "model.onnx", size: tuple[int, int] | None = None) -> ModelFile:
    return ModelFile(name, model.SerializeToString(), size)


@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_logits_of_several_requests_are_joined(
    connection: Connection, batch: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(11)
    monkeypatch.setattr(logits_module, "PART_IMAGES", 5)
    model = pooled_classifier(batch)
    found = connection.logits(file_of(model), images)
    np.testing.assert_array_equal(found.logits, run_model(model, images))
    np.testing.assert_allclose(found.logits, expected_logits(images), rtol=1e-5)


def test_normalized_images_and_a_crop_run(connection: Connection) -> None:
    images = np.random.default_rng(0).random((3, 3, 5, 6), dtype=np.float32)
    model = classifier(("n", 3, "h", "w"))
    np.testing.assert_array_equal(connection.logits(file_of(model), images).logits, run_model(model, images))
    photos = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    found = connection.logits(file_of(cropped(16)), photos).logits
    np.testing.assert_array_equal(found, run_model(cropped(16), photos))


def test_the_peak_memory_grows_with_the_network(connection: Connection) -> None:
    """A network with 16 MB of weights and activations of 9 MB has a larger peak than one with none."""
    nodes = [
        helper.make_node("MatMul", ["images", "large"], ["product"], "large"),
        helper.make_node("ReduceMax", ["product", "axes"], ["logits"], "maximum", keepdims=0),
    ]
    weight, axes = np.ones((2048, 2048), np.float32), np.array([1, 2])
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 1152, 2048])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2048])],
        [numpy_helper.from_array(weight, "large"), numpy_helper.from_array(axes, "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    large = connection.logits(file_of(model), np.ones((1, 1, 1152, 2048), np.float32))
    small = connection.logits(FILE, random_images(1))
    assert large.peak_bytes is not None
    assert small.peak_bytes is not None
    assert 25e6 < large.peak_bytes < 120e6
    assert small.peak_bytes < 8e6


@pytest.mark.parametrize(("change", "message"), REFUSED.items())
def test_a_hostile_file_is_refused_on_the_device(connection: Connection, change: Change, message: str) -> None:
    model = classifier((1, 3, 4, 4))
    change(model)
    with pytest.raises(DeviceError, match=message) as caught:
        connection.measure([file_of(model, "hostile.onnx")], QUICK)
    assert caught.value.problem.startswith("hostile.onnx: ")
    assert caught.value.remedy


def test_a_file_with_open_sizes_is_timed_at_the_stated_size(connection: Connection) -> None:
    model = pooled_classifier("n", "any")
    small, large = (file_of(model, size=(side, side)) for side in (32, 640))
    turns = connection.measure([small, large], QUICK)
    check(turns, 2)
    assert turns.ratio(1, 0).value > 3
    with pytest.raises(DeviceError, match="takes images of any size, and none is stated"):
        connection.measure([file_of(model)], QUICK)


def test_another_batch_than_that_of_the_device_is_refused(connection: Connection) -> None:
    with pytest.raises(DeviceError, match=r"model.onnx takes batches of 4, and the device has batch=1"):
        connection.measure([file_of(pooled_classifier(4))], QUICK)
    check(connection.measure([file_of(pooled_classifier(4))], QUICK, [Device(batch=4)]), 1)


def test_devices_of_one_machine_are_timed_in_turn(connection: Connection) -> None:
    devices = [
        Device(),
        Device(batch=8),
        Device(precision="int8"),
        Device(cores=(min(psutil.Process().cpu_affinity()),)),
    ]
    turns = connection.measure([LARGE] * 4, QUICK, devices)
    check(turns, 4)
    assert turns.ratio(1, 0).value > 1.5
    assert len(turns.rounds_ms) == QUICK.least
    assert {len(row) for row in turns.rounds_ms} == {5}
    with pytest.raises(DeviceError, match="1024 threads"):
        connection.measure([SMALL], QUICK, [Device(threads=1024)])


def test_the_machine_is_described_for_another_device(connection: Connection) -> None:
    assert connection.describe(Device(batch=4)) == connection.machine
    with pytest.raises(DeviceError, match="no QNNExecutionProvider here"):
        connection.describe(Device("QNNExecutionProvider"))
    check(connection.measure([SMALL], QUICK), 1)


def test_an_empty_file_is_refused(connection: Connection) -> None:
    with pytest.raises(DeviceError, match="has 0 bytes, and a device takes files of 1 to"):
        connection.measure([ModelFile("empty.onnx", b"")], QUICK)


def test_images_of_another_form_are_refused(connection: Connection) -> None:
    with pytest.raises(
        DeviceError, match=r"takes uint8 images of the shape \(4, 4, 3\), and the given ones are float32"
    ):
        connection.logits(file_of(pooled_classifier(1)), np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(DeviceError, match=r"images of the shape \(4, 4, 3\), .* uint8 of the shape \(5, 5, 3\)"):
        connection.logits(file_of(pooled_classifier(1)), random_images(1, 5))
    for images in (random_images(1)[0], random_images(1).astype(np.int64)):
        with pytest.raises(DeviceError, match="takes one or more images"):
            connection.logits(FILE, images)


def refused_layer() -> onnx.ModelProto:
    """Return a classifier with an operator for which ONNX Runtime has no kernel on the CPU."""
    model = classifier((1, 3, 4, 4))
    nodes = [
        helper.make_node("Cast", ["images"], ["narrow"], "stages.0.narrow", to=TensorProto.BFLOAT16),
        helper.make_node("Sqrt", ["narrow"], ["root"], "stages/1/root"),
        helper.make_node("Cast", ["root"], ["wide"], "stages.1.0.wide", to=TensorProto.FLOAT),
    ]
    model.graph.node[0].input[0] = "wide"
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])
    return model


def test_a_refused_operator_is_named_with_its_layer(connection: Connection) -> None:
    for ask in (
        lambda: connection.measure([SMALL, file_of(refused_layer())], QUICK),
        lambda: connection.logits(file_of(refused_layer()), np.ones((1, 3, 4, 4), np.float32)),
    ):
        with pytest.raises(DeviceError, match="cannot run the layer 'stages/1/root', whose operator is Sqrt") as caught:
            ask()
        assert "operator" in caught.value.remedy


def test_an_operator_that_a_provider_leaves_to_the_cpu_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    """The provider for Azure, which is part of every build, runs no operators."""
    with pytest.raises(
        DeviceError, match="AzureExecutionProvider cannot run the layer 'pool', whose operator is Global"
    ):
        open_session(classifier((1, 3, 4, 4)), Device("AzureExecutionProvider"))
    capfd.readouterr()  # ONNX Runtime itself prints the error too.


def test_a_batch_that_does_not_fit_into_memory_is_one_clear_error() -> None:
    model = build_graph(LARGE, batch=512)
    with Connection(Address(), Bounds(bytes=1_500 * 2**20)) as connection:
        with pytest.raises(DeviceError, match="too little memory for a batch of 512") as caught:
            connection.measure([file_of(model)], QUICK, [Device(batch=512)])
        assert "smaller batch" in caught.value.remedy
        with pytest.raises(DeviceError, match="too little memory for a batch of 512"):
            connection.logits(file_of(model), np.zeros((8, 3, 96, 96), np.float32))
        check(connection.measure([SMALL], QUICK), 1)


def test_a_crash_of_the_worker_is_an_error_and_the_agent_goes_on(connection: Connection) -> None:
    check(connection.measure([SMALL], QUICK), 1)
    agent = newest_agent()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [ModelFile(FILE.name, FILE.data, (64, 64)), LARGE], ENDLESS)
        eventually(lambda: busy(agent))
        workers(agent)[0].kill()
        with pytest.raises(DeviceError, match="was ended by SIGKILL") as caught:
            waiting.result(60)
    assert not isinstance(caught.value, DeviceLostError)
    assert agent.is_running()
    assert len(connection.logits(FILE, random_images(1)).logits) == 1


def test_an_agent_on_this_machine_opens_a_file_itself(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classifier((1, 3, 9, 7)).SerializeToString()
    images = np.zeros((1, 3, 9, 7), np.float32)
    sent: list[int] = []
    real = FileRequest.__init__

    def noted(own: FileRequest, *given: Any) -> None:
        sent.append(given[2])
        real(own, *given)

    monkeypatch.setattr(FileRequest, "__init__", noted)
    with (tmp_path / "model").open("w+b") as file:
        file.write(data)
        file.flush()
        stored = cast(bytes, StoredBytes(file))
        own = connection.logits(ModelFile("stored", stored), images).logits
        assert sent == [images.nbytes]
        # Where the agent cannot open it, the bytes are sent.
        monkeypatch.setattr(StoredBytes, "descriptor", 0)
        with Connection(parse_address("cpu")) as another:
            assert another.logits(ModelFile("stored", stored), images).logits == pytest.approx(own)
    assert sorted(sent[1:]) == sorted([images.nbytes, len(data)])


def test_an_agent_behind_ssh_is_sent_the_bytes(fakes: Fakes, tmp_path: Path) -> None:
    """The fake agent ends at any other request than those for which it has an answer."""
    program = FORGETFUL.replace(
        "ANSWER",
        "missing = () if isinstance(request, FetchRequest) or globals().get('asked') else (request.model.digest,)\n"
        "        asked = True\n"
        "        send(encode(ChunkReply(request.id, bytes(8)) if isinstance(request, FetchRequest) else "
        "MissingReply(request.id, missing) if missing else LogitsReply(request.id, '0' * 64, 1, 2, 77, 'Fake')))",
    )
    with (tmp_path / "model").open("w+b", buffering=0) as file, without_pauses(fakes.address(program)) as connection:
        file.write(FILE.data)
        stored = cast(bytes, StoredBytes(file))
        assert connection.logits(ModelFile("stored", stored), random_images(1)).logits.tolist() == [[0, 0]]


def test_an_agent_opens_only_files_of_the_process_that_started_it(tmp_path: Path) -> None:
    """This process plays the agent, and its client is the process that started the tests."""
    (tmp_path / "foreign").write_bytes(b"abcdef")
    files = FileStore()
    with (tmp_path / "foreign").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        reply = answer(encode(LocalFileRequest(1, digest, 6, file.fileno())), files)
    assert isinstance(reply, ErrorReply)
    assert files.missing([digest]) == (digest,)


def test_after_a_loss_files_are_sent_again() -> None:
    images = random_images(20)
    pauses: list[float] = []
    with without_pauses(Address(), pauses) as connection:
        first = connection.logits(FILE, images)
        newest_agent().kill()
        again = connection.logits(FILE, images)
        check(connection.measure([file_of(pooled_classifier(1))], QUICK), 1)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert pauses == [0.5]


@pytest.mark.slow
def test_an_agent_that_is_killed_while_it_runs_images_is_restarted() -> None:
    images = np.random.default_rng(0).random((400, 3, 96, 96), dtype=np.float32)
    model = build_graph(LARGE)
    pauses: list[float] = []
    with without_pauses(Address(), pauses) as connection, ThreadPoolExecutor(1) as thread:
        assert connection.machine
        agent = newest_agent()
        waiting = thread.submit(connection.logits, file_of(model), images)
        eventually(lambda: busy(agent))
        agent.kill()
        found = waiting.result(120)
    np.testing.assert_array_equal(found.logits, run_model(model, images))
    assert pauses == [0.5]


def test_the_files_of_an_agent_have_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system frees such files when the process ends, however that happens."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with without_pauses(Address()) as connection:
        connection.logits(FILE, random_images(20))
        links = [str(link.readlink()) for link in Path(f"/proc/{newest_agent().pid}/fd").iterdir()]
        assert sum(name.startswith(str(tmp_path)) and name.endswith("(deleted)") for name in links) >= 2
        assert not list(tmp_path.rglob("nas-*"))


FORGETFUL = """
send_hello()
while True:
    request = receive()
    if isinstance(request, FileRequest):
        send(encode(ReceivedReply(request.id, request.offset + len(request.data))))
    else:
        ANSWER
"""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("send(encode(MissingReply(request.id, (request.model.digest,))))", "cannot keep all files"),
        ("send(encode(MissingReply(request.id, ('0' * 64,))))", "asks for a file that is not part"),
        ("send(encode(LogitsReply(request.id, '0' * 64, 2, 2, None, 'x')))", r"logits \(2, 2\), and those of 1 images"),
        (
            "send(encode(LogitsReply(request.id, '0' * 64, 1, 10**9, None, 'x')))",
            r"logits \(1, 1,000,000,000\)",
        ),
        ("send(encode(times_of(request)))", "a reply to another request"),
        (
            "send(encode(LogitsReply(request.id, '0' * 64, 1, 2, None, 'x') if hasattr(request, 'model') else "
            "ChunkReply(request.id, b'123456789')))",
            "another number of logits",
        ),
        (
            "send(encode(LogitsReply(request.id, '0' * 64, 1, 2, None, 'x') if hasattr(request, 'model') else "
            "ChunkReply(request.id, b'')))",
            "another number of logits",
        ),
    ],
)
def test_a_device_that_answers_wrongly_is_an_error(fakes: Fakes, answer: str, words: str) -> None:
    turns = "def times_of(request):\n    return TimingsReply(request.id, Turns((timing,), timing, 0.0, 6))\n"
    program = turns + FORGETFUL.replace("ANSWER", answer)
    with without_pauses(fakes.address(program)) as connection, pytest.raises(DeviceError, match=words) as caught:
        connection.logits(FILE, random_images(1))
    assert not isinstance(caught.value, DeviceLostError)


def test_a_device_with_little_room_may_ask_for_a_file_twice(fakes: Fakes) -> None:
    answer = (
        "asked = globals().get('asked', 0) + isinstance(request, RunRequest)\n        "
        "send(encode(ChunkReply(request.id, bytes(8)) if isinstance(request, FetchRequest) else "
        "MissingReply(request.id, (request.model.digest,)) if asked < 3 else "
        "LogitsReply(request.id, '0' * 64, 1, 2, 77, 'Fake')))"
    )
    with without_pauses(fakes.address(FORGETFUL.replace("ANSWER", answer))) as connection:
        found = connection.logits(FILE, random_images(1))
    assert found.logits.tolist() == [[0, 0]]
    assert (found.peak_bytes, found.provider) == (77, "Fake")
