"""Tests of the parts of an export: the request, the source of the images, stored images and the choice of int8."""

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import nas
from nas.api import export, export_check, export_source
from nas.api.export_images import STORED_SIZES, ExportData, find_data
from nas.api.export_int8 import LEFT_OUT, Int8, decide
from nas.api.export_request import ExportRequest
from nas.api.export_source import find_named, size_note, with_resolution
from nas.arch.code import parse_text
from nas.data.base import Images
from nas.device.model_file import ModelFile
from nas.errors import DataError, MissingPackageError, NasError, StudyError, WeightsError
from nas.export.inputs import InputForm, generated_images, resized_images, with_changed_pixels
from nas.export.quantization.speed import SpeedUp
from nas.models.build import build_model
from nas.search.kept_weights import KeptWeights
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.stored import write_network

HALF = Normalization((0.5,) * 3, (0.5,) * 3)
FAST = SpeedUp(1.5, 1.4, 1.6, 3.0, 2.0, "a processor")
SLOW = SpeedUp(1.1, 1.0, 1.2, 2.2, 2.0, "a processor")


def network(classes: tuple[str, ...] = ("cat", "dog")) -> TrainedNetwork:
    arch = parse_text(f"net resolution=8 classes={len(classes)}\nstem conv k3 s2 c8\nconv c8\nhead pool")
    return TrainedNetwork(arch, build_model(arch).state_dict(), classes, HALF)


def quiet(_message: str) -> None:
    """Ignore a message."""


@pytest.mark.parametrize(
    ("batch", "device", "fixed", "measured"),
    [
        (None, "cpu", 1, 1),
        (None, "cpu:batch=8", 8, 8),
        ("4", "cpu", 4, 4),
        (4, "cpu:batch=4,threads=2", 4, 4),
        ("dynamic", "cpu", None, 1),
        ("dynamic", "ssh://me@board?cpu:batch=8", None, 8),
    ],
)
def test_the_batch_is_that_of_the_device_unless_it_is_given(
    batch: int | str | None, device: str, fixed: int | None, measured: int
) -> None:
    request = ExportRequest("lite0", "p", batch=batch, device=device)
    assert (request.fixed_batch, request.address.device.batch) == (fixed, measured)


@pytest.mark.parametrize(
    "given",
    [
        {"checkpoint": 3},
        {"checkpoint": None},
        {"format": "tflite"},
        {"batch": 1.5},
        {"batch": True},
        {"batch": 5000},
        {"max_loss": -1},
        {"max_loss": float("nan")},
        {"validation_share": 0.9},
        {"device": None},
        {"against": 7},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(NasError):
        ExportRequest(**{"checkpoint": "lite0", "out": "p", **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nas.export_model("lite0", None), "out is None"),  # type: ignore[arg-type]
        (lambda: nas.export_model("lite0", "p", qat="yes"), "qat is 'yes'"),  # type: ignore[arg-type]
        (lambda: nas.export_model("lite0", "p", preprocess=0), "preprocess is 0"),  # type: ignore[arg-type]
        (lambda: nas.verify_product(3), "folder is 3"),  # type: ignore[arg-type]
        (lambda: nas.push_product(3, "me/small"), "folder is 3"),  # type: ignore[arg-type]
        (lambda: nas.push_product("p", 3), "repository is 3"),  # type: ignore[arg-type]
        (lambda: nas.push_product("p", "me/small", revision=3), "revision is 3"),  # type: ignore[arg-type]
        (lambda: nas.push_product("p", "me/small", private="no"), "private is 'no'"),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_another_type_is_refused_before_any_work(call: Callable[[], object], words: str) -> None:
    with pytest.raises(NasError) as error:
        call()
    assert error.value.problem == words
    assert error.value.remedy


def test_a_missing_package_is_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "huggingface_hub" else object())
    with pytest.raises(MissingPackageError, match=r"huggingface_hub(.|\n)*hwnas\[export\]"):
        export.export_model("nowhere", tmp_path / "p")


class TestSource:
    def test_a_folder_of_a_training_run_names_its_images(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos-trained"
        folder.mkdir()
        write_network(network(), folder / "weights.safetensors")
        (folder / "metrics.json").write_text('{"format": "nas-training/1", "data": "photos/"}')
        for checkpoint in (folder, folder / "weights.safetensors"):
            named = find_named(str(checkpoint), ExportRequest(checkpoint, "p"), quiet)
            assert (named.name, named.data) == ("photos-trained", "photos/")
        write_network(network(), folder / "other.safetensors")
        other = folder / "other.safetensors"
        assert find_named(str(other), ExportRequest(other, "p"), quiet).data == ""

    def test_the_files_say_nothing_about_the_folders_of_this_machine(self, tmp_path: Path) -> None:
        folder = tmp_path / ("my  photos-" + 230 * "x")  # longer than the name of a product
        folder.mkdir()
        provenance = {"data": "/home/someone/photos", "source": "hub:owner/name", "recipe": "/a\n/b\n"}
        write_network(attrs.evolve(network(), provenance=provenance), folder / "weights.safetensors")
        named = find_named(str(folder), ExportRequest(folder, "p"), quiet)
        assert named.network.provenance == {**provenance, "data": "photos"}
        assert named.name == ("my photos-" + 230 * "x")[:200]

    @pytest.mark.parametrize("metrics", ["", "[]", '{"data": "x"}', '{"format": "nas-training/1", "data": 3}'])
    def test_damaged_metrics_name_no_images(self, tmp_path: Path, metrics: str) -> None:
        write_network(network(), tmp_path / "weights.safetensors")
        (tmp_path / "metrics.json").write_text(metrics)
        assert find_named(str(tmp_path), ExportRequest(tmp_path, "p"), quiet).data == ""

    def test_a_network_without_normalization_is_refused(self) -> None:
        bare = attrs.evolve(network(), normalization=None)
        with pytest.raises(WeightsError, match="normalization"):
            find_named(bare, ExportRequest(bare, "p"), quiet)

    def test_a_missing_study_is_refused(self, tmp_path: Path) -> None:
        request = ExportRequest("study:none:best", "p", storage=f"sqlite:///{tmp_path / 'nas.db'}")
        with pytest.raises(StudyError):
            find_named("study:none:best", request, quiet)


class TestStored:
    @pytest.fixture(name="photos")
    def photos_fixture(self, tmp_path: Path) -> Path:
        """Photographs of several sizes, one of them that of the network."""
        rng = np.random.default_rng(0)
        sizes = [(8, 8), (16, 12), (9, 20), (30, 30), (7, 7), (40, 10)]
        for label in ("cat", "dog"):
            for split in ("train", "val"):
                folder = tmp_path / split / label
                folder.mkdir(parents=True)
                for number in range(12):
                    pixels = rng.integers(0, 256, (*sizes[number % 6], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        return tmp_path

    def test_images_of_equal_sizes_other_than_that_of_the_network_are_together(self, photos: Path) -> None:
        found = list(ExportData(str(photos), network(), None, quiet).stored())
        assert len(found) == STORED_SIZES
        for images in found:
            assert images.shape[1:3] != (8, 8)
            assert images.shape[0] == 4
            assert images.dtype == np.uint8

    def test_the_labels_are_indices_of_the_logits(self, photos: Path) -> None:
        data = ExportData(str(photos), network(("dog", "cat")), None, quiet)
        data.check_classes()
        plain = ExportData(str(photos), network(), None, quiet)
        assert torch.equal(data.val.labels, 1 - plain.val.labels)
        logits = torch.eye(2)[data.test.labels].numpy()
        assert data.accuracy(logits).value == 1

    def test_calibration_images_are_training_images(self, photos: Path) -> None:
        data = ExportData(str(photos), network(), None, quiet)
        assert len(data.train(5)) == 5
        training = data.for_training()
        assert (training.classes, len(training.val)) == (("cat", "dog"), len(data.val))


class TestInputs:
    def test_the_inputs_are_those_of_the_file(self) -> None:
        images = generated_images(network(), 3)
        raw = InputForm(network(), preprocess=True).inputs(images)
        assert (raw.dtype.name, raw.shape) == ("uint8", (3, 8, 8, 3))
        normalized = InputForm(network(), preprocess=False).inputs(images)
        np.testing.assert_allclose(normalized, raw.transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)

    def test_pixels_change_by_at_most_one_gray_level(self) -> None:
        images = generated_images(network(), 3)
        change = with_changed_pixels(images).images.int() - images.images.int()
        assert set(change.flatten().tolist()) == {-1, 0, 1}

    def test_images_are_resized_as_for_training(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (1, 12, 31, 3), dtype=np.uint8)
        pillow = Image.fromarray(image[0]).crop((9, 0, 21, 12)).resize((8, 8), Image.Resampling.BILINEAR)
        found = resized_images(image, 8).images
        np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), np.asarray(pillow))


@pytest.mark.parametrize(
    ("format_", "is_within", "speed_up", "is_kept", "recommended"),
    [
        ("auto", True, FAST, True, "int8"),
        ("auto", False, FAST, False, "fp32"),
        ("auto", True, SLOW, False, "fp32"),
        ("onnx-int8", False, SLOW, True, "fp32"),
        ("onnx-int8", True, FAST, True, "int8"),
    ],
)
def test_int8_is_kept_where_it_is_worth_it_or_asked_for(
    format_: str, is_within: bool, speed_up: SpeedUp, is_kept: bool, recommended: str
) -> None:
    made = Int8(ModelFile("model-int8.onnx", b"x"), is_within, report={"loss": 0.1})
    decided = decide(ExportRequest("lite0", "p", format=format_), made, speed_up)
    assert decided.is_kept is is_kept
    assert decided.report is not None
    assert decided.report["recommended"] == recommended
    assert any("times as fast" in note for note in decided.notes)
    assert (LEFT_OUT in decided.notes) is not is_kept


def test_the_weights_that_a_search_kept_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.api.search import study_weights_folder

    storage, weights = f"sqlite:///{tmp_path / 'nas.db'}", tmp_path / "weights"

    @attrs.frozen
    class Trial:
        number: int = 3

    @attrs.frozen
    class View:
        settings: dict[str, object]

    folder = study_weights_folder(weights, storage, "demo")
    folder.mkdir(parents=True)
    made = network()
    write_network(made, folder / "trial-3.safetensors")
    assert KeptWeights(folder, 0, quiet).file(Trial()) is not None  # type: ignore[arg-type]
    monkeypatch.setattr(export_source, "find_record", lambda _reference, _storage: ("demo", Trial()))
    monkeypatch.setattr("nas.studies.study.read_study", lambda *_: View({"proxy": {"data": "photos/"}}))
    monkeypatch.setattr("nas.studies.opening.open_storage", lambda *_, **__: None)
    request = ExportRequest("study:demo:best", "p", weights_dir=weights, storage=storage)
    named = find_named("study:demo:best", request, quiet)
    assert (named.name, named.data) == ("study:demo:best", "photos/")
    assert named.network.digest == made.digest


@pytest.mark.parametrize(
    ("pixels", "resolution", "noted"),
    [("64", None, True), ("8", None, False), ("64", 64, False), ("", 16, False), ("x" * 3000, None, False)],
)
def test_weights_of_images_of_another_size_are_noted(pixels: str, resolution: int | None, *, noted: bool) -> None:
    made = attrs.evolve(network(), provenance={"pixels": pixels})
    named = with_resolution(export_source.NamedNetwork("net", made), resolution)
    assert named.network.arch.resolution == (resolution or 8)
    assert bool(size_note(named.network)) is noted
    assert not noted or "--resolution 64" in size_note(named.network)


class Nearly:
    """Return the logits of the trained network with a tie that is turned around, as rounding may do it."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def logits(self, _file: ModelFile, form: InputForm, images: Images) -> NDArray[np.float32]:
        found = export_check.reference_logits(form.network, images)
        found[3] = found[3, ::-1] + self.shift
        return found


def test_a_changed_prediction_is_listed_with_the_name_of_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(tuple(map(str, range(10))))
    data = ExportData("digits", made, None, quiet)
    logits = np.ones((359, 10), np.float32)
    logits[:, 9] = 0.9995
    logits[3, :9], logits[3, 9] = 0.9995, 1.0
    monkeypatch.setattr(export_check, "reference_logits", lambda _network, _images: logits.copy())
    form = InputForm(made, preprocess=False)
    found = export_check.check_file(ModelFile("m", b""), form, Nearly(0), data, quiet)  # type: ignore[arg-type]
    (changed,) = found["changed"]
    assert (changed["image"], changed["expected"], changed["found"]) == (3, 9, 0)
    assert changed["name"] == data.val_names[3]
    assert 0 < changed["margin"] < 1e-3
    with pytest.raises(WeightsError, match="does not agree"):
        export_check.check_file(ModelFile("m", b""), form, Nearly(0.01), data, quiet)  # type: ignore[arg-type]


def test_recorded_images_that_were_moved_are_asked_for() -> None:
    named = export_source.NamedNetwork("net", network(), "/moved/away")
    with pytest.raises(
        DataError, match=r"images that the training run recorded cannot be used: .*'/moved/away'"
    ) as found:
        find_data(ExportRequest("net", "p"), named, quiet)
    assert "with --data" in found.value.remedy
    # Images that the user named himself need no such advice.
    with pytest.raises(DataError, match=r"^there is no file or folder 'other/folder/x'"):
        find_data(ExportRequest("net", "p", data="other/folder/x"), named, quiet)
