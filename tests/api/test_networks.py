"""Costs, scaling, latency and files of single networks from Python: the same figures as the commands show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.api.scaling import ScaledArchitecture
from nas.arch.presets import preset, preset_names
from nas.cli.main import main
from nas.cost.target import parse_target


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON object that a command prints, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert ended.value.code in (0, None)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv3-large", "resnet-18"])
def test_costs_are_those_that_are_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arch = nas.load_architecture(name)
    shown = told(capsys, "show", name, "--precision", "int8")
    found = nas.cost(arch, precision="int8")
    assert (found.macs, found.params, found.peak_bytes) == (shown["macs"], shown["params"], shown["peak_bytes"])
    assert found.size_bytes == parse_target("size=1MB", "int8").cost.estimate(arch).value
    assert (found.precision, nas.cost(arch).peak_bytes) == ("int8", 4 * found.peak_bytes)


@pytest.mark.parametrize("ending", ["txt", "json"])
@pytest.mark.parametrize("name", preset_names())
def test_what_is_saved_is_loaded(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"net.{ending}"
    nas.save_architecture(preset(name), path)
    assert nas.load_architecture(path) == preset(name)


def test_files_of_another_form_are_refused(tmp_path: Path) -> None:
    arch = preset("mnasnet-a1")
    with pytest.raises(nas.ArchitectureError, match=r"net.yaml has no known form\n  end the name in .txt or .json"):
        nas.save_architecture(arch, tmp_path / "net.yaml")
    with pytest.raises(nas.NasError, match=r"net.txt cannot be written"):
        nas.save_architecture(arch, tmp_path / "absent" / "net.txt")


FUNCTIONS: dict[str, Callable[[Any], object]] = {
    "cost": nas.cost,
    "scale": lambda arch: nas.scale(arch, 1),
    "scale_family": nas.scale_family,
    "scale_to_budget": lambda arch: nas.scale_to_budget(arch, "flops=1G"),
    "measure_latency": nas.measure_latency,
    "to_torch": nas.to_torch,
    "to_onnx": nas.to_onnx,
    "save_architecture": lambda arch: nas.save_architecture(arch, "net.txt"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_name_in_place_of_an_architecture_is_told(function: str) -> None:
    with pytest.raises(nas.ArchitectureError, match="'efficientnet-b0' is not an Architecture"):
        FUNCTIONS[function]("efficientnet-b0")


# Scaling.


def same(scaled: ScaledArchitecture, row: dict[str, Any]) -> None:
    """A network is the one of a row that the command prints."""
    cost = nas.cost(scaled.architecture)
    assert (scaled.name, scaled.phi) == (row["name"], row["phi"])
    assert (cost.macs, cost.params, scaled.architecture.resolution) == (row["macs"], row["params"], row["resolution"])


@pytest.mark.parametrize("rule", ["compound", "width", "fast:0.7", "1.2,1.1,1.15"])
def test_a_network_is_scaled_as_by_the_command(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = told(capsys, "scale", "mobilenetv2", "--phi", "1.5", "--rule", rule, "--keep", "head")["family"]
    scaled = nas.scale(nas.load_architecture("mobilenetv2"), 1.5, rule, keep=["head"])
    same(scaled, row)
    assert scaled.base == preset("mobilenetv2")
    assert scaled.realized.resolution == scaled.architecture.resolution / 224


def test_a_family_is_the_published_one() -> None:
    for number, member in enumerate(nas.scale_family(preset("efficientnet-b0")), 1):
        assert member.architecture == preset(f"efficientnet-b{number}")
        assert member.name == f"B{number}"


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("budget", ["flops=600M", "params=5M", "size=10MB"])
def test_a_budget_is_met_as_by_the_command(budget: str, free: bool, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--free",) if free else ()
    (row,) = told(capsys, "scale", "mobilenetv2", "--budget", budget, "--precision", "fp16", *words)["family"]
    same(nas.scale_to_budget(preset("mobilenetv2"), budget, free=free, precision="fp16"), row)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda arch: nas.scale(arch, 1, "magic"), "no rule is called 'magic'"),
        (lambda arch: nas.scale(arch, float("nan")), "phi is nan"),
        (
            lambda arch: nas.scale(arch, 1, keep=["tail"]),
            "keep has 'tail'\n  use stem, head, features, first-last-depth",
        ),
        (
            lambda arch: nas.scale(arch, 1, keep="features"),
            "the head of this network has no linear layer with features",
        ),
        (lambda arch: nas.scale(arch, 1, "1.5,1.5,1.5"), "any-product"),
        (lambda arch: nas.scale_to_budget(arch, "flops=400"), "a bare number has no unit"),
        (lambda arch: nas.scale_to_budget(arch, "latency=9ms"), "is about a device, and none is named"),
        (lambda arch: nas.scale_to_budget(arch, "flops=9", device="cpu"), "a bare number has no unit"),
        (lambda arch: nas.scale_to_budget(arch, "flops=1k"), "is below the smallest network"),
    ],
)
def test_what_cannot_be_scaled_is_told(call: Callable[[nas.Architecture], object], words: str) -> None:
    with pytest.raises(nas.NasError) as error:
        call(preset("mobilenetv2"))
    assert words in str(error.value)


# Devices.


def test_a_measurement_has_the_keys_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, "latency", "measure", "mnasnet-small", "--resolution", "64", "--seconds", "0.3")
    small = preset("mnasnet-small").adapted(resolution=64, classes=1000)
    measured = nas.measure_latency(small, "cpu", seconds=0.3)
    for name in ("device", "provider", "threads", "batch", "precision", "cpu", "accelerator", "system", "runtime"):
        assert getattr(measured, name) == shown[name]
    (row,) = shown["networks"]
    # Another unit would be a factor of 1000. Two measurements on a busy machine differ by far less than the root of it,
    # and the slowest runs of one may take a hundred times as long as the fastest.
    for name in ("latency_ms", "min_ms", "median_ms"):
        assert row[name] / 30 < getattr(measured, name) < 30 * row[name]
    for low, middle, high in (
        (measured.min_ms, measured.median_ms, measured.p95_ms),
        (row["min_ms"], row["median_ms"], row["p95_ms"]),
    ):
        assert low <= middle <= high < 500 * low
    assert measured.repeats >= 15


def test_a_trained_network_and_an_onnx_file_are_measured(tmp_path: Path) -> None:
    small = preset("mnasnet-small").adapted(resolution=32, classes=10)
    network = nas.TrainedNetwork(small, nas.to_torch(small).state_dict())
    file = tmp_path / "small.onnx"
    file.write_bytes(nas.to_onnx(small, network.tensors).SerializeToString())
    for given in (network, file, str(file)):
        measured = nas.measure_latency(given, seconds=0.1)
        assert measured.latency_ms > 0
    file.write_bytes(b"no model")
    with pytest.raises(nas.WeightsError, match="it is not a complete ONNX file"):
        nas.measure_latency(file)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "warp"}, "'warp' is no device"),
        ({"device": "cpu:threads=none"}, "threads is 'none'"),
        ({"device": ["cpu", "cpu"]}, "given twice"),
        ({"spread": 0.0}, "spread is 0.0\n  give a number from 0.0005 to 1"),
        ({"seconds": 1e9}, "seconds is 1000000000.0\n  give a number from 0.1 to 3,600"),
    ],
)
def test_what_cannot_be_measured_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(nas.NasError) as error:
        nas.measure_latency(preset("mnasnet-small"), **options)
    assert words in str(error.value)


@pytest.mark.slow
def test_a_latency_budget_is_met_on_a_device() -> None:
    base = preset("mnasnet-small").adapted(resolution=96, classes=10)
    latency_ms = nas.measure_latency(base, seconds=1).latency_ms
    scaled = nas.scale_to_budget(base, f"latency={3 * latency_ms:.3f}ms", device="cpu")
    assert scaled.latency_ms is not None
    assert scaled.latency_ms <= 3 * latency_ms
    assert nas.cost(scaled.architecture).macs > nas.cost(base).macs
    counted = nas.scale_to_budget(base, "flops=50M", device="cpu")
    assert counted.latency_ms is not None
    assert counted.latency_ms > 0


# Modules and graphs.


@pytest.mark.parametrize("as_state", [False, True])
def test_a_graph_computes_what_the_module_computes(as_state: bool) -> None:
    import onnxruntime
    import torch

    arch = preset("mnasnet-small").adapted(resolution=64, classes=7)
    torch.manual_seed(0)
    model = nas.to_torch(arch)
    model.train()
    with torch.no_grad():
        model(torch.randn(8, 3, 64, 64))  # so that statistics of batches are no longer 0 and 1
    model.eval()
    graph = nas.to_onnx(arch, model.state_dict() if as_state else model, batch=2)
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": images})
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    assert found.shape == (2, 7)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    weights = nas.to_torch(preset("mnasnet-small")).state_dict()
    with pytest.raises(nas.ArchitectureError, match=r"parameter .* is"):
        nas.to_onnx(preset("mobilenetv2"), weights)


@pytest.mark.parametrize("batch", [0, -1, 2.5, True, "2"])
def test_a_batch_that_is_no_whole_number_above_zero_is_refused(batch: Any) -> None:
    with pytest.raises(nas.NasError, match=r"batch is .*\n  give a whole number from 1 upwards"):
        nas.to_onnx(nas.load_architecture("mnasnet-small"), batch=batch)
