"""Tests of the program that a product contains: it decodes as training does, and needs three packages alone."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.data.decode import decode
from nas.data.image_files import find_image_files
from nas.device.run_model import run_model
from nas.export import predict
from nas.export.product import write_product
from tests.export.products import architecture, measured_product, model_of, product_of, small_product

# Formats that keep the mode, and how an image is saved in each.
FORMATS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "L": [("PNG", {}), ("JPEG", {}), ("JPEG", {"quality": 30})],
    "LA": [("PNG", {})],
    "P": [("PNG", {}), ("GIF", {}), ("PNG", {"transparency": 3})],
    "1": [("PNG", {})],
    "I;16": [("PNG", {}), ("TIFF", {})],
    "RGB": [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True, "subsampling": 2}), ("BMP", {}), ("WEBP", {})],
    "RGBA": [("PNG", {}), ("WEBP", {"lossless": True})],
    "CMYK": [("JPEG", {}), ("TIFF", {})],
    "YCbCr": [("JPEG", {}), ("TIFF", {})],
    "F": [("TIFF", {})],
}


@st.composite
def encoded_images(draw: st.DrawFn) -> bytes:
    mode = draw(st.sampled_from(sorted(FORMATS)))
    form, options = draw(st.sampled_from(FORMATS[mode]))
    width, height = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    pixels = np.random.default_rng(draw(st.integers(0, 2**16))).integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture: Image.Image
    if mode == "I;16":
        picture = Image.fromarray(pixels.astype(np.uint16)[..., 0] * 257)
    else:
        # Enlarged noise has edges and smooth parts, and palettes of few colors.
        picture = Image.fromarray(pixels, "RGBA").resize((width * 2, height * 2)).convert("RGB").convert(mode)
        if mode in ("RGBA", "LA"):
            picture.putalpha(Image.fromarray(pixels[..., 3]).resize(picture.size))
    exif = Image.Exif()
    orientation = draw(st.sampled_from([None, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    if orientation is not None:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    metadata = {"exif": exif} if form in ("JPEG", "PNG", "WEBP") else {}
    picture.save(stream, form, **options, **metadata)
    return stream.getvalue()


def decoded_by_script(data: bytes, resolution: int, channels: int, folder: Path) -> Any:
    path = folder / "image"
    path.write_bytes(data)
    try:
        return predict.read_image(path, resolution, channels)
    except ValueError:
        return None


def assert_same_pixels(data: bytes, resolution: int, channels: int, folder: Path) -> None:
    found = decoded_by_script(data, resolution, channels, folder)
    expected = decode({"bytes": data}, root=folder, resolution=resolution, channels=channels)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected.pixels)


@settings(max_examples=100)
@given(encoded_images(), st.sampled_from([1, 8, 16, 33, 60]), st.sampled_from([1, 3]))
def test_images_are_decoded_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, resolution: int, channels: int
) -> None:
    assert_same_pixels(data, resolution, channels, tmp_path_factory.getbasetemp())


@settings(max_examples=60)
@given(encoded_images(), st.data())
def test_damaged_images_are_refused_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, choices: st.DataObject
) -> None:
    cut = choices.draw(st.integers(0, len(data)))
    broken = data[:cut] + choices.draw(st.binary(max_size=4)) + data[cut + choices.draw(st.integers(0, 8)) :]
    assert_same_pixels(broken, 8, 3, tmp_path_factory.getbasetemp())


def test_the_images_of_a_folder_are_those_that_nas_predict_finds(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    for name in ("b.png", "a.JPG", "sub/deep/c.webp", "sub/d.gif", ".hidden.png", ".git/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    picture.save(tmp_path / "without ending", "PNG")
    (tmp_path / "broken.png").write_text("not an image")
    (tmp_path / "notes.txt").write_text("text")
    os.mkfifo(tmp_path / "pipe.png")
    assert predict.find_images(tmp_path) == find_image_files([tmp_path])
    assert len(predict.find_images(tmp_path)) == 6


def run(
    folder: Path, *arguments: str | Path, blocked: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the program of a product in an interpreter that has nothing of this project."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    program = [sys.executable, *(["-c", blocked] if blocked else []), str(folder / "predict.py"), *map(str, arguments)]
    return subprocess.run(
        program, cwd=folder.parent, env=variables, capture_output=True, text=True, timeout=60, encoding="utf-8"
    )


# Only the packages that the requirements name, and what belongs to Python.
BLOCKED = """
import runpy, sys
ALLOWED = {"numpy", "onnxruntime", "PIL"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        # onnxruntime looks for these and goes on without them.
        if top not in ALLOWED | {*sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def photos(folder: Path) -> list[Path]:
    """Images of several kinds and sizes."""
    folder.mkdir()
    random = np.random.default_rng(0)
    made = []
    for i, (mode, size) in enumerate([("RGB", (40, 30)), ("L", (16, 16)), ("CMYK", (300, 200)), ("RGB", (9, 70))]):
        path = folder / f"{i}.jpg"
        pixels = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).convert(mode).save(path)
        made.append(path)
    return made


def expected_rows(paths: list[Path], model: Any, classes: tuple[str, ...]) -> list[str]:
    """What the program prints, from the decoder of the training and the model."""
    rows = []
    for path in paths:
        picture = decode({"bytes": path.read_bytes()}, root=path.parent, resolution=16, channels=3)
        assert picture is not None
        (logits,) = run_model(model, picture.pixels[None]).astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum()
        rows.append(f"{path}\t{classes[int(logits.argmax())]}\t{shares.max():.4f}")
    return rows


@pytest.mark.parametrize("batch", [None, 3])
def test_the_program_runs_with_three_packages_alone(tmp_path: Path, batch: int | None) -> None:
    write_product(*small_product(batch=batch), tmp_path / "product")
    paths = photos(tmp_path / "photos")
    found = run(tmp_path / "product", tmp_path / "photos", blocked=BLOCKED)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == expected_rows(
        paths, model_of(architecture()), ("class 0", "class 1", "class 2")
    )


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_both_kinds_of_models_give_the_same_answers(tmp_path: Path, channels: int) -> None:
    photos(tmp_path / "photos")
    said = []
    for preprocessing in (True, False):
        for batch in (None, 3):
            folder = tmp_path / f"{preprocessing}-{batch}"
            write_product(*small_product(preprocessing=preprocessing, batch=batch, channels=channels), folder)
            said.append(run(folder, tmp_path / "photos").stdout)
    assert len(set(said)) == 1
    assert len(said[0].splitlines()) == 4


def test_the_option_chooses_the_int8_model(tmp_path: Path) -> None:
    write_product(*measured_product(), tmp_path / "product")
    paths = photos(tmp_path / "photos")
    (tmp_path / "product" / "model.onnx").write_bytes(b"damaged")
    assert len(run(tmp_path / "product", "--int8", *paths).stdout.splitlines()) == 4
    damaged = run(tmp_path / "product", *paths)
    assert damaged.returncode == 1
    assert damaged.stderr.startswith("The model cannot be loaded: ")
    assert "Traceback" not in damaged.stderr


def test_a_product_without_int8_says_so(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path / "product")
    found = run(tmp_path / "product", "--int8", "x.png")
    assert (found.returncode, found.stderr) == (1, "This folder has no int8 model.\n")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_are_printed_in_one_line(tmp_path: Path, encoding: str) -> None:
    """Names of classes and files may have any characters; a terminal must not obey them."""
    names = ("Ünï côde", "tab\tand\nline", "\x1b[31mred")
    product, files = small_product(classes=names)
    write_product(product, files, tmp_path / "product")
    folder = tmp_path / "photos"
    folder.mkdir()
    hostile = [os.fsdecode(b"caf\xe9 \x1b[2J.png"), "two\nlines\t.png", "plain ü.png"]
    for name in hostile:
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
    found = run(tmp_path / "product", folder, PYTHONIOENCODING=encoding)
    lines = found.stdout.splitlines()
    assert (found.returncode, len(lines)) == (0, 3)
    assert all(len(line.split("\t")) == 3 and line.replace("\t", "").isprintable() for line in lines)
    assert any("caf\\xe9 \\x1b[2J.png" in line for line in lines)
    assert any("two\\nlines\\t.png" in line for line in lines)


def test_files_that_cannot_be_decoded_are_reported_and_the_others_go_on(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path / "product")
    good = photos(tmp_path / "photos")[0]
    bad = tmp_path / "bad\x1b.jpg"
    bad.write_bytes(good.read_bytes()[:50])
    empty = tmp_path / "empty"
    empty.mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = run(tmp_path / "product", bad, tmp_path / "absent.jpg", tmp_path / "pipe", empty, good)
    assert found.returncode == 1
    assert found.stdout.split("\t")[0] == str(good)
    assert len(found.stdout.splitlines()) == 1
    shown = str(bad).replace("\x1b", "\\x1b")
    assert sorted(found.stderr.splitlines()) == sorted(
        [
            f"{empty} is a folder without images; the other images are predicted",
            f"{shown} is not an image that can be decoded, or is damaged; the other images are predicted",
            f"{tmp_path / 'absent.jpg'} cannot be read: No such file or directory; the other images are predicted",
            f"{tmp_path / 'pipe'} is not a file of at most 1,073,741,824 bytes; the other images are predicted",
        ]
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_output_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path / "p")
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    program = [sys.executable, str(tmp_path / "p" / "predict.py"), str(tmp_path / "photo.png")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "The program ended early: [Errno 28] No space left on device\n"


def test_a_missing_package_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path / "product")
    found = run(tmp_path / "product", "x.png", blocked=BLOCKED.replace('"onnxruntime", ', ""))
    assert found.returncode == 1
    assert found.stderr.strip() == (
        "No module named 'onnxruntime'. Install the packages with `pip install -r requirements.txt`."
    )


def test_the_program_is_copied_as_it_is(tmp_path: Path) -> None:
    write_product(*small_product(), tmp_path / "product")
    assert (tmp_path / "product" / "predict.py").read_text() == Path(predict.__file__).read_text()
    # A product that was moved still works: nothing in it names its place.
    shutil.move(tmp_path / "product", tmp_path / "moved")
    assert run(tmp_path / "moved", *photos(tmp_path / "photos")).returncode == 0


def test_wider_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    data = model_of(architecture(4)).SerializeToString()
    write_product(product_of(architecture(4), {"model.onnx": data}), {"model.onnx": data}, tmp_path / "product")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 4), dtype=np.uint8)
    Image.fromarray(pixels, "CMYK").save(tmp_path / "a.tiff")
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.png")
    found = run(tmp_path / "product", tmp_path / "a.tiff", tmp_path / "b.png")
    assert [line.split("\t")[0] for line in found.stdout.splitlines()] == [str(tmp_path / "a.tiff")]
    assert "b.png is not an image that can be decoded" in found.stderr
