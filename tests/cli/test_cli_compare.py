"""`nas compare` on this machine: the command as users run it."""

import csv
import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import nas as package
from nas.api.comparison_makers import zoo_references
from nas.arch.code import parse_text
from nas.data.load import load_split
from nas.noise import wilson
from nas.zoo.catalog import zoo_names, zoo_network
from tests.cli.conftest import Nas
from tests.device.onnx_files import classifier

QUICK = ("--seconds", "0.3", "--precision", "fp32")
NORMALIZATION = package.Normalization((0.5,) * 3, (0.5,) * 3)


@pytest.fixture(name="tiny")
def _tiny(nas: Nas) -> str:
    """A small architecture in the folder of the command."""
    arch = package.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    package.save_architecture(arch, nas.folder / "tiny.txt")
    return "tiny.txt"


SMALL = """net channels=3 resolution=16 classes=10 padding=same bn=0.01/0.001 act=relu6
stem conv k3 s2 c8
mbconv r1 k3 s2 e3 c16
head conv c32"""


def trained(nas: Nas, name: str, seed: int) -> str:
    """A weights file of a small network, whose weights are those of a seed."""
    import torch

    torch.manual_seed(seed)
    arch = parse_text(SMALL)
    network = package.TrainedNetwork(arch, package.to_torch(arch).state_dict(), normalization=NORMALIZATION)
    package.save_weights(network, nas.folder / name)
    return name


def test_networks_side_by_side_as_table_json_and_files(nas: Nas, tiny: str) -> None:
    files = ("--csv", "found.csv", "--html", "found.html")
    ran = nas("compare", tiny, "zoo:lenet-5", "--seconds", "0.3", "--json", *files)
    assert ran.code == 0, ran.err
    found = ran.json
    lenet = zoo_network("lenet-5")
    assert [(each["name"], each["origin"]) for each in found["networks"]] == [
        ("tiny", "architecture"),
        ("lenet-5", "zoo"),
    ]
    assert (found["networks"][1]["macs"], found["networks"][1]["params"]) == (lenet.macs, lenet.params)
    assert [(row["network"], row["precision"]) for row in found["rows"]] == [
        ("tiny", "fp32"), ("tiny", "int8"), ("lenet-5", "fp32"), ("lenet-5", "int8"),
    ]  # fmt: skip
    for row in found["rows"]:
        assert row["low_ms"] <= row["latency_ms"] <= row["high_ms"]
        assert row["size_bytes"] > 0
        assert row["accuracy"] is None
    [device] = found["devices"]
    # Two pairs of networks, one for each precision, and two of the precisions of each network.
    assert len(device["pairs"]) == 4
    with (nas.folder / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == [row["network"] for row in found["rows"]]
    assert float(rows[0]["latency_ms"]) == pytest.approx(found["rows"][0]["latency_ms"])
    page = (nas.folder / "found.html").read_text()
    assert "lenet-5" in page
    assert "<script src" not in page
    assert ran.out.startswith("{")


def test_the_table_has_the_fastest_network_first_and_the_notes_below(nas: Nas, tiny: str) -> None:
    ran = nas("compare", "zoo:squeezenet-1.1", tiny, *QUICK)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split()[:2] == ["network", "precision"]
    assert [line.split()[0] for line in lines[2:4]] == ["tiny", "squeezenet-1.1"]
    assert "58.2" in lines[3]  # its published accuracy
    assert "The networks take images of different sizes" in ran.out
    assert "Published accuracies are those of their sources on ImageNet; none of them was measured here." in ran.out


def test_accuracies_are_measured_on_the_same_images(nas: Nas, tiny: str) -> None:
    one, other = trained(nas, "one.safetensors", 1), trained(nas, "other.safetensors", 2)
    ran = nas("compare", one, other, tiny, "--data", "digits", *QUICK, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    split = load_split("digits", "test", resolution=16)
    evaluated = package.evaluate_network(nas.folder / one, "digits", against=nas.folder / other, train_on="cpu")
    [measured] = found["networks"][0]["accuracies"]
    assert measured["value"] == pytest.approx(evaluated.assessment.accuracy.value, abs=1.5 / len(split.images))
    correct = round(measured["value"] * measured["images"])
    assert (measured["low"], measured["high"]) == pytest.approx(wilson(correct, len(split.images)))
    [pair] = found["accuracy_pairs"]
    assert (pair["first"], pair["second"]) == ("one.safetensors", "other.safetensors")
    assert evaluated.accuracy_difference is not None
    assert pair["difference"] == pytest.approx(evaluated.accuracy_difference.value, abs=3 / len(split.images))
    assert found["networks"][2]["accuracies"] == []
    assert found["networks"][2]["notes"] == ["its accuracy was not measured: its weights are random"]
    assert (found["data"], found["split"], found["accuracy_device"]) == ("digits", "test", "cpu")


def test_a_network_of_other_classes_has_no_accuracy(nas: Nas) -> None:
    one = trained(nas, "one.safetensors", 1)
    (nas.folder / "two.onnx").write_bytes(classifier((1, 3, 4, 4)).SerializeToString())
    ran = nas("compare", one, "two.onnx", "--data", "digits", *QUICK)
    assert ran.code == 0, ran.err
    assert "two.onnx: its accuracy was not measured: it does not state the normalization of its images." in ran.out
    assert "intervals are 95% (Wilson)" in ran.out


def test_an_export_has_its_own_int8_file(nas: Nas) -> None:
    one = trained(nas, "one.safetensors", 1)
    exported = nas("export", one, "--data", "digits", "--format", "onnx-int8", "--out", "product")
    assert exported.code in (0, 3), exported.err
    ran = nas("compare", "product", "--data", "digits", "--seconds", "0.3", "--json")
    assert ran.code == 0, ran.err
    [network] = ran.json["networks"]
    assert (network["origin"], network["int8"]) == ("export", "the int8 file of the export")
    assert network["size_bytes"] == {
        name: (nas.folder / "product" / file).stat().st_size
        for name, file in (("fp32", "model.onnx"), ("int8", "model-int8.onnx"))
    }
    assert [each["precision"] for each in network["accuracies"]] == ["fp32", "int8"]


def test_names_from_files_are_escaped(nas: Nas) -> None:
    name = "<img src=x onerror=alert(1)>\x1b[31m.onnx"
    (nas.folder / name).write_bytes(classifier((1, 3, 4, 4)).SerializeToString())
    ran = nas("compare", name, *QUICK, "--html", "found.html")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out + ran.err
    page = (nas.folder / "found.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_one_picture_needs_an_accuracy(nas: Nas, tiny: str) -> None:
    ran = nas("compare", tiny, *QUICK, "--svg", "found.svg")
    assert ran.code == 1
    assert "latency (ms)" in ran.out  # nothing that was measured is lost
    assert "no network has a measured or a published accuracy" in ran.err
    assert not (nas.folder / "found.svg").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no network is given"),
        (("zoo:resnet-51",), "resnet-50"),
        (("timm:resnet50",), "pip install timm"),
        (("missing.onnx",), "cannot be read"),
        (("mnasnet-small", "--device", "ssh://nobody@host.invalid"), "ssh to ssh://nobody@host.invalid failed"),
        (("mnasnet-small", "--device", "cpu:precision=int8"), "has a precision"),
        (("mnasnet-small", "--csv", "trials.csv"), "holds a table of trials"),
        (("mnasnet-small", "--html", "page.txt"), "end the name in .html"),
        (("mnasnet-small", "--csv", "no/such/found.csv"), "there is no folder"),
    ],
)
def test_bad_input_is_one_message(
    words: tuple[str, ...],
    told: str,
    nas: Nas,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (nas.folder / "trials.csv").write_text("trial,state,value\n")
    if "timm:resnet50" in words:
        pytest.importorskip("torch")
        if find_spec("timm"):
            pytest.skip("timm is installed")
    monkeypatch.setenv("NAS_SSH", "ssh -o ConnectTimeout=5")
    nas.here("compare", *words, capsys=capsys, monkeypatch=monkeypatch).refused(told)


def test_a_file_that_is_damaged_is_refused(nas: Nas) -> None:
    (nas.folder / "bad.onnx").write_bytes(np.random.default_rng(0).bytes(1000))
    nas("compare", "bad.onnx", *QUICK).refused("bad.onnx", "ONNX file")


def test_the_zoo_is_every_known_network() -> None:
    assert zoo_references() == [f"zoo:{name}" for name in zoo_names()]
    assert len(zoo_names()) >= 26


@pytest.mark.slow
def test_known_networks_of_every_kind_are_compared(nas: Nas) -> None:
    named = ("alexnet", "squeezenet-1.1", "mobilenetv4-conv-small", "shufflenet-v2-1.0", "mlp-mixer-b-16")
    ran = nas("compare", *(f"zoo:{name}" for name in named), "--precision", "fp32", "--seconds", "1", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert len(found["networks"]) == len(named)
    assert found["devices"][0]["refusals"] == []
    assert all(re.fullmatch(r"[\w.-]+", row["network"]) and row["latency_ms"] > 0 for row in found["rows"])
    assert json.dumps(found)


def test_the_page_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text(encoding="utf-8")
    assert "nas compare" in page
