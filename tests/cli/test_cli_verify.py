"""Tests of `nas verify` with real measurements on this machine."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import onnx
import pytest
from onnx import TensorProto, helper

from nas import verify_product
from nas.data.load import load_split
from nas.device.connection import Connection
from nas.device.model_file import ModelFile
from nas.device.run_model import run_model
from nas.device.spec import Address
from nas.device.timing import Aim
from nas.errors import DataError, DeviceError, NasError
from nas.export.product import Accuracy, Latency, digest_images, read_product, write_product
from tests.export.products import architecture, model_of, product_of, record, small_product

SIDE = 16


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-m", "nas", "verify", *map(str, arguments)]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product whose figures were measured here, by other calls than those of the verification."""
    arch = architecture(resolution=SIDE, classes=10)
    data = model_of(arch).SerializeToString()
    split = load_split("digits", "test", resolution=SIDE)
    labels = split.images.labels.numpy()
    images = split.images.images.permute(0, 2, 3, 1).contiguous().numpy()
    found = Accuracy.of(
        run_model(data, images).argmax(1) == labels,
        labels,
        10,
        data="digits",
        split="test",
        images_digest=digest_images(split.names, labels),
    )
    file = ModelFile("model.onnx", data, (SIDE, SIDE))
    with Connection(Address()) as connection:
        turns = connection.measure([file], Aim(seconds=1.0))
        latency = Latency.of(turns, 0, connection.device, connection.machine)
        peak = connection.logits(file, images[:1]).peak_bytes
    made = record("model.onnx", data, accuracy=found, latency=latency, peak_bytes=peak)
    folder = tmp_path_factory.mktemp("verify") / "product"
    classes = tuple(map(str, range(10)))
    write_product(product_of(arch, {}, models=(made,), classes=classes), {"model.onnx": data}, folder)
    return folder


@pytest.mark.slow
def test_a_product_holds_where_it_was_measured(product: Path) -> None:
    # The latency is left out: a network of 20 microseconds varies too much on a busy machine.
    done = verify(product, "--skip", "latency", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    checks = {(check["file"], check["what"]): check for check in found["checks"]}
    assert found["holds"]
    assert {check["outcome"] for check in found["checks"]} == {"same"}
    accuracy = checks["model.onnx", "accuracy"]
    assert accuracy["note"] == "0 of 359 images are classified differently"
    assert accuracy["low"] < accuracy["change"] == 0 < accuracy["high"]
    assert ("labels.txt", "content") in checks
    assert ("model.onnx", "memory") in checks


@pytest.mark.slow
def test_changed_files_and_other_devices_are_told_apart(product: Path, tmp_path: Path) -> None:
    stated = read_product(product)
    (model,) = stated.models
    assert model.latency is not None
    machine = attrs.evolve(model.latency.machine, cpu="another CPU")
    elsewhere = attrs.evolve(model, latency=attrs.evolve(model.latency, machine=machine))
    data = (product / "model.onnx").read_bytes()
    write_product(attrs.evolve(stated, models=(elsewhere,)), {"model.onnx": data}, tmp_path)
    (tmp_path / "labels.txt").write_text("other")
    with (tmp_path / "model_card.md").open("a") as card:
        card.write("my text")
    done = verify(tmp_path, "--skip", "accuracy")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("small: of ")
    assert "1 differs" in lines[-1]
    assert any(line.startswith("labels.txt") and line.endswith("differs") for line in lines)
    assert any(line.startswith("model_card.md") and line.endswith("not compared") for line in lines)
    assert any(line.startswith("model.onnx") and "latency" in line and line.endswith("not compared") for line in lines)
    assert any("the latency stated is of another device: cpu on another CPU" in line for line in lines)


@pytest.mark.slow
def test_images_that_are_not_here_are_asked_for_and_never_downloaded(product: Path, tmp_path: Path) -> None:
    stated = read_product(product)
    (model,) = stated.models
    assert model.accuracy is not None
    moved = attrs.evolve(model, accuracy=attrs.evolve(model.accuracy, data="someone/images"))
    write_product(
        attrs.evolve(stated, models=(moved,)), {"model.onnx": (product / "model.onnx").read_bytes()}, tmp_path
    )
    done = verify(tmp_path, "--skip", "latency", "--skip", "memory")
    assert done.returncode == 1
    assert "give them with --data" in done.stdout
    assert "not measured" in done.stdout


def test_images_here_that_cannot_be_read_are_one_figure_that_is_missing(product: Path, tmp_path: Path) -> None:
    stated = read_product(product)
    (model,) = stated.models
    assert model.accuracy is not None
    (tmp_path / "photos").mkdir()
    moved = attrs.evolve(model, accuracy=attrs.evolve(model.accuracy, data=str(tmp_path / "photos")))
    files = {"model.onnx": (product / "model.onnx").read_bytes()}
    write_product(attrs.evolve(stated, models=(moved,)), files, tmp_path / "product")
    found = verify_product(tmp_path / "product", skip=["latency"])
    outcomes = {check.what: check.outcome for check in found.checks if check.file == "model.onnx"}
    assert outcomes == {"content": "same", "accuracy": "not measured", "memory": "same"}
    with pytest.raises(DataError):
        verify_product(tmp_path / "product", data=tmp_path / "photos", skip=["latency"])


def hostile(kind: str) -> onnx.ModelProto:
    """A network of the right input and output that has something which is not allowed."""
    model = model_of(architecture(resolution=SIDE))
    if kind == "external":
        tensor = model.graph.initializer[-1]
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
    elif kind == "huge":
        shape = helper.make_tensor("big", TensorProto.INT64, [2], [2**20, 2**20])
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("ConstantOfShape", ["big"], ["filled"]))
    elif kind == "foreign":
        model.graph.node.append(helper.make_node("Evil", ["image"], ["x"], domain="com.evil"))
    return model


@pytest.mark.parametrize(
    ("kind", "told"),
    [("external", "is in another file"), ("huge", "has the shape"), ("foreign", "com.evil"), ("garbage", "ONNX file")],
)
def test_hostile_files_are_named_and_not_run(tmp_path: Path, kind: str, told: str) -> None:
    data = b"\x08\x01garbage" if kind == "garbage" else hostile(kind).SerializeToString()
    product, _ = small_product()
    model = attrs.evolve(product.models[0], sha256=sha256(data).hexdigest(), size_bytes=len(data))
    write_product(attrs.evolve(product, models=(model,)), {"model.onnx": data}, tmp_path)
    found = verify_product(tmp_path)
    assert not found.holds
    (check,) = [check for check in found.checks if check.file == "model.onnx"]
    assert (check.what, check.outcome) == ("content", "differs")
    assert told in check.note


def test_links_and_other_folders_are_refused(product: Path, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "metrics.json").symlink_to(product / "metrics.json")
    done = verify(tmp_path / "link")
    assert done.returncode == 1
    assert "symbolic link" in done.stderr
    assert "Traceback" not in done.stderr
    for folder in (tmp_path, tmp_path / "absent", tmp_path / "a\0b"):
        with pytest.raises(NasError, match=r"metrics\.json"):
            verify_product(folder)


def test_a_model_of_another_form_than_stated_is_named(tmp_path: Path) -> None:
    product, files = small_product(preprocessing=False, batch=1)
    wrong: Any = attrs.evolve(product, batch=4)
    write_product(wrong, files, tmp_path)
    found = verify_product(tmp_path)
    assert not found.holds
    assert "metrics.json states 4 float32 images" in found.checks[0].note


def test_a_device_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path)
    with pytest.raises(DeviceError, match="CUDA"):
        verify_product(tmp_path, device="cuda")


def test_unknown_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="skip is 'speed'"):
        verify_product(tmp_path, skip=["speed"])
