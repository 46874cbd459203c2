"""`nas export`, with small networks of random weights."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import onnxruntime
import pytest

from nas.api import export_check, export_onnx
from nas.api.weights import load_weights
from nas.arch.code import parse_text
from nas.data.load import load_split
from nas.export import target
from nas.export.form import FormChoice
from nas.graph.build import OPERATORS
from nas.graph.variants import STANDARD
from nas.models.build import build_model
from nas.train.prediction import Predictor
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.stored import write_network
from tests.cli.conftest import Nas, Ran
from tests.cli.test_cli_evaluate import DIGITS, HALF, network


@pytest.fixture(name="run")
def _run(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "partial[Ran]":
    # In this process, because importing torch takes longer than the command; and without the measurements that take
    # longest, which have tests of their own.
    monkeypatch.setattr(export_onnx, "fastest_form", lambda _build, _meter: FormChoice(STANDARD, OPERATORS))
    monkeypatch.setattr(target, "AIM", attrs.evolve(target.AIM, seconds=0.05))
    return partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)


def saved(path: Path, text: str, normalization: Normalization) -> None:
    """Write a network with random weights that classifies the digits."""
    arch = parse_text(text)
    write_network(TrainedNetwork(arch, build_model(arch).state_dict(), DIGITS, normalization), path)


def logits(path: Path, images: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return session.run(None, {name: images})[0]


def pixels(split: str) -> Any:
    return load_split("digits", split, resolution=16).images


class TestExport:
    @pytest.mark.slow
    def test_the_real_command_writes_a_file_that_agrees_with_the_network(self, nas: Nas, tmp_path: Path) -> None:
        made = network(tmp_path / "tiny.safetensors")
        done = nas(
            "export", "tiny.safetensors", "--data", "digits", "--format", "onnx", "--batch", "dynamic", "--out", "p"
        )
        assert done.code == 0, done.err
        assert "checked on 359 validation images: all predictions are equal" in done.out
        assert "checked on 64 images of 8 x 8 pixels, which the file resizes" in done.out
        metrics = json.loads((tmp_path / "p" / "metrics.json").read_text())
        (model,) = metrics["models"]
        assert (model["file"], model["agreement"]["agrees"], model["agreement"]["images"]) == ("model.onnx", True, 359)
        assert model["size_bytes"] == (tmp_path / "p" / "model.onnx").stat().st_size
        assert model["peak_bytes"] > 0
        test = pixels("test")
        expected = Predictor(HALF, "cpu").logits(made.module(), test).numpy()
        found = logits(tmp_path / "p" / "model.onnx", test.images.permute(0, 2, 3, 1).numpy())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        # The number of correct images is what a session in this process finds.
        correct = int((found.argmax(1) == test.labels.numpy()).sum())
        assert sum(right for right, _ in model["accuracy"]["by_class"]) == correct
        assert model["latency"]["device"] == "cpu:threads=1,batch=1,precision=fp32"

    def test_without_images_the_check_says_that_they_are_generated(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "tiny.safetensors")
        done = run("export", "tiny.safetensors", "--out", "p", "--json", "--no-preprocess", "--batch", "2")
        assert done.code == 0, done.err
        (model,) = done.json["models"]
        assert model["agreement"]["images_are"] == "generated"
        assert model["accuracy"] is None
        assert (done.json["preprocessing"], done.json["batch"]) == (False, 2)
        notes = " ".join(done.json["notes"])
        assert "generated images, and its accuracy is unknown" in notes
        assert "No int8 file was made, because its calibration needs images" in notes
        dims = onnx.load(tmp_path / "p" / "model.onnx").graph.input[0].type.tensor_type.shape.dim
        assert [dim.dim_value for dim in dims] == [2, 3, 16, 16]

    @pytest.mark.slow
    def test_a_training_run_names_its_images_and_another_network_is_measured_beside_it(
        self, run: "partial[Ran]", tmp_path: Path
    ) -> None:
        (tmp_path / "t").mkdir()
        network(tmp_path / "t" / "weights.safetensors")
        (tmp_path / "t" / "metrics.json").write_text('{"format": "nas-training/1", "data": "digits"}')
        network(tmp_path / "other.safetensors", seed=1)
        done = run("export", "t", "--format", "onnx", "--against", "other.safetensors", "--out", "p")
        assert done.code == 0, done.err
        assert "the images are those that the training run recorded: digits" in done.err
        assert "against other" in done.out
        assert "checked on 359 validation images" in done.out

    def test_the_torch_form_is_a_weights_file(self, run: "partial[Ran]", tmp_path: Path) -> None:
        made = network(tmp_path / "tiny.safetensors")
        arguments = ("export", "tiny.safetensors", "--data", "digits", "--format", "torch")
        done = run(*arguments, "--out", "p", "--against", "tiny.safetensors")
        assert done.code == 0, done.err
        loaded = load_weights(tmp_path / "p" / "model.safetensors")
        assert loaded.digest == made.digest
        assert done.out.count("% (") == 2

    def test_the_form_of_timm_has_a_file_of_tensors(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "tiny.safetensors")
        done = run("export", "tiny.safetensors", "--format", "timm", "--out", "p", "--json")
        assert done.code == 0, done.err
        (model,) = done.json["models"]
        assert (model["form"], model["latency"], model["accuracy"]) == ("timm", None, None)
        assert (tmp_path / "p" / model["file"]).stat().st_size == model["size_bytes"]

    @pytest.mark.slow
    def test_a_grayscale_network_takes_one_channel(self, run: "partial[Ran]", tmp_path: Path) -> None:
        text = "net resolution=16 classes=10 channels=1\nstem conv k3 s2 c8\nconv c8\nhead conv c16"
        saved(tmp_path / "gray.safetensors", text, Normalization((0.3,), (0.4,)))
        done = run("export", "gray.safetensors", "--data", "digits", "--format", "onnx", "--out", "p")
        assert done.code == 0, done.err
        assert logits(tmp_path / "p" / "model.onnx", np.zeros((1, 20, 30, 1), np.uint8)).shape == (1, 10)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--data", "digits", "--out", "full"), ("full has other files, such as",)),
            (("--out", "afile/p"), ("afile is not a folder",)),
            (("--batch", "0", "--out", "p"), ("batch is 0", "whole number from 1 to 4,096, or dynamic")),
            (("--batch", "two", "--out", "p"), ("batch is 'two'", "dynamic")),
            (("--batch", "99999999999999999999", "--out", "p"), ("batch is '9999",)),
            (("--device", "toaster", "--out", "p"), ("'toaster' is no device name",)),
            (("--device", "cpu:precision=int8", "--out", "p"), ("has a precision", "--format onnx-int8")),
            (("--device", "cpu:batch=4", "--batch", "2", "--out", "p"), ("batches of 4 images", "give the number")),
            (("--format", "onnx-int8", "--out", "p"), ("an int8 file is asked for, and no images are given", "--data")),
            (("--qat", "--out", "p"), ("no images are given",)),
            (("--qat", "--format", "onnx", "--out", "p"), ("the format onnx has no int8 file",)),
            (("--data", "nowhere", "--out", "p"), ("nowhere",)),
            (("--data", "digits", "--against", "nowhere.safetensors", "--out", "p"), ("nowhere.safetensors",)),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
    )
    def test_bad_input_is_refused_before_any_work(
        self, run: "partial[Ran]", tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
    ) -> None:
        network(tmp_path / "tiny.safetensors")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "diary.txt").write_text("dear")
        (tmp_path / "afile").write_text("x")
        run("export", "tiny.safetensors", *arguments).refused(*words)
        assert not (tmp_path / "p").exists()
        assert (tmp_path / "full" / "diary.txt").read_text() == "dear"

    def test_classes_that_differ_are_refused(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "tiny.safetensors", ("cat", "dog"))
        run("export", "tiny.safetensors", "--data", "digits", "--out", "p").refused("classes that the network does not")
        network(tmp_path / "three.safetensors", None, outputs=3)
        run("export", "three.safetensors", "--data", "digits", "--out", "p").refused(
            "10 classes, and the network has 3"
        )
        assert not (tmp_path / "p").exists()

    def test_a_network_without_normalization_is_refused(self, run: "partial[Ran]", tmp_path: Path) -> None:
        made = network(tmp_path / "tiny.safetensors")
        write_network(attrs.evolve(made, normalization=None), tmp_path / "bare.safetensors")
        run("export", "bare.safetensors", "--out", "p").refused(
            "normalization of the images", "--normalization imagenet"
        )

    def test_a_study_without_weights_is_refused(self, nas: Nas, run: "partial[Ran]") -> None:
        arguments = (
            "--target",
            "flops=10M",
            "--space",
            "mnasnet",
            "--resolution",
            "32",
            "--trials",
            "1",
            "--study",
            "s",
        )
        assert nas.fake("search", *arguments).code == 0
        run("export", "study:s:best", "--out", "p").refused("there are no weights of trial", "nas train study:s:best")

    def test_a_file_that_disagrees_is_not_written(
        self, run: "partial[Ran]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = network(tmp_path / "tiny.safetensors")
        changed = {
            name: tensor * 1.01 if name.endswith("conv.weight") else tensor for name, tensor in made.tensors.items()
        }
        other = attrs.evolve(made, tensors=changed)
        real = export_check.reference_logits
        monkeypatch.setattr(export_check, "reference_logits", lambda _network, images: real(other, images))
        done = run("export", "tiny.safetensors", "--data", "digits", "--format", "onnx", "--out", "p")
        done.refused("does not agree with the trained network on 359 validation images", "nothing was written")
        assert not (tmp_path / "p").exists()

    def test_a_batch_without_memory_is_refused(self, run: "partial[Ran]", tmp_path: Path) -> None:
        text = "net resolution=1024 classes=10\nstem conv k3 s1 c64\nconv c8\nhead conv c16"
        saved(tmp_path / "big.safetensors", text, HALF)
        done = run("export", "big.safetensors", "--batch", "4096", "--no-preprocess", "--out", "p")
        done.refused("a tensor has at most", "a smaller batch")
        assert not (tmp_path / "p").exists()
