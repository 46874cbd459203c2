"""Images in one file of encoded bytes, compared with the images of their source."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed_images import Packed, pack, read
from PIL import Image

from nas.data.base import ImageData
from nas.data.load import load_images
from nas.errors import DataError
from tests.data.test_data_load import small_cifar, write_folder

__all__ = ["small_cifar"]  # a fixture


@pytest.fixture(name="packed", scope="module")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 15 images of three classes."""
    folder = tmp_path_factory.mktemp("packed")
    pack(str(write_folder(folder / "photos", each=5)), folder / "images.npz")
    return folder / "images.npz"


def assert_same(found: ImageData, expected: ImageData) -> None:
    for name in ("name", "classes", "mean", "std", "fingerprint", "flip"):
        assert getattr(found, name) == getattr(expected, name)
    for one, other in ((found.train, expected.train), (found.val, expected.val)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_a_table_gives_the_images_that_its_source_gives(small_cifar: Path, tmp_path: Path) -> None:
    pack(str(small_cifar), tmp_path / "cifar.npz")
    packed = read(tmp_path / "cifar.npz")
    expected = load_images(str(small_cifar), resolution=16, images=200)
    assert_same(packed.data(16, images=200), expected)
    assert {split: len(files) for split, files in packed.files.items()} == {"train": 10_000, "test": 2_000}
    encoded = packed.encoded(images=200)
    assert {part: held.labels for part, held in encoded.items()} == {
        "train": expected.train.labels.tolist(),
        "val": expected.val.labels.tolist(),
    }
    with Image.open(io.BytesIO(encoded["train"].files[7])) as image:  # the images of CIFAR-10 have 32 x 32 pixels
        small = image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(np.array(small), expected.train.images[7].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("splits", [(), ("val",), ("val", "test")])
def test_a_folder_gives_the_images_and_splits_that_its_source_gives(splits: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for number, split in enumerate(("train", *splits) if splits else (".",)):
        write_folder(source / split, start=1000 * number)
    pack(str(source), tmp_path / "images.npz")
    assert_same(read(tmp_path / "images.npz").data(8), load_images(str(source), resolution=8))


def test_images_that_cannot_be_decoded_are_left_out_as_those_of_the_source_are(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", each=50)
    (source / "cat" / "003.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    pack(str(source), tmp_path / "images.npz", side=4)
    pack(str(source), tmp_path / "images.npz")
    found = read(tmp_path / "images.npz").data(8)
    assert_same(found, load_images(str(source), resolution=8))
    assert "unreadable images were skipped, 1 in all" in found.notes[0]
    for number in range(4, 20):
        (source / "cat" / f"{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    pack(str(source), tmp_path / "images.npz")
    with pytest.raises(DataError, match="images are unreadable"):
        read(tmp_path / "images.npz").data(8)


def test_only_images_above_the_given_side_are_made_smaller(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", each=5)
    large = Image.linear_gradient("L").resize((80, 40)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture is stored turned by 90 degrees
    large.save(source / "cat" / "000.jpg", exif=exif, quality=95)
    large.convert("RGBA").save(source / "cat" / "001.png")  # transparency is left to the decoder
    pack(str(source), tmp_path / "whole.npz")
    pack(str(source), tmp_path / "images.npz", side=20, name="photos")
    whole, packed = (read(tmp_path / name) for name in ("whole.npz", "images.npz"))
    assert (whole.name, packed.name) == (str(source), "photos")
    changed = [
        k
        for k, (one, other) in enumerate(zip(whole.files["train"], packed.files["train"], strict=True))
        if one != other
    ]
    assert len(changed) == 1
    with Image.open(io.BytesIO(packed.files["train"][changed[0]])) as image:
        assert (image.format, image.size, dict(image.getexif())) == ("JPEG", (20, 40), {})
    difference = packed.data(10).train.images.int() - whole.data(10).train.images.int()
    assert difference.abs().max() <= 8  # of 255 levels: the file is a JPEG once more


def test_a_file_is_readable_without_pickle(packed: Path) -> None:
    with np.load(packed, allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} == set("Ubiu")


def assert_refused(path: Path, reason: str = "") -> None:
    with pytest.raises(DataError) as raised:
        read(path)
    assert raised.value.problem.startswith(f"{str(path)!r} cannot be read as packed images: {reason}")
    assert "scripts/gpu-bundle" in raised.value.remedy


class Opened:
    """An object that leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("unpickled"),)  # type: ignore[return-value]


def test_damaged_and_pickled_files_are_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, whole = tmp_path / "other.npz", packed.read_bytes()
    assert_refused(path, "[Errno 2] No such file or directory")
    assert_refused(tmp_path)
    for content in (b"", b"images", whole[:-30], whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert_refused(path)
    objects = np.array([Opened()], dtype=object)
    with np.load(packed) as arrays:
        np.savez(path, allow_pickle=True, **{**arrays, "classes": objects})
    assert_refused(path, "Object arrays cannot be loaded when allow_pickle=False")
    np.save(tmp_path / "array.npy", objects, allow_pickle=True)
    assert_refused(tmp_path / "array.npy")
    objects.dump(path)
    assert_refused(path)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("splits", np.array(["validation"])),
        ("splits", np.array(["train", "train"])),
        ("counts", np.array([16])),
        ("counts", np.array([-1])),
        ("labels", np.full(15, 3)),
        ("labels", np.zeros(15)),
        ("offsets", np.zeros(16, dtype=np.int64)),
        ("offsets", np.zeros(0, dtype=np.int64)),
        ("encoded", np.zeros(3, dtype=np.uint8)),
        ("classes", np.array("cat")),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]], packed: Path, tmp_path: Path
) -> None:
    with np.load(packed) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, name: value})
    assert_refused(tmp_path / "other.npz", "its arrays do not fit together")


@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing(position: float, value: int, packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[int(position * len(content))] ^= value
    path = packed.with_name("changed.npz")
    path.write_bytes(content)
    with suppress(DataError):
        assert contents(read(path)) == contents(read(packed))


def contents(packed: Packed) -> tuple[object, ...]:
    labels = {split: codes.tolist() for split, codes in packed.labels.items()}
    return packed.name, packed.classes, packed.flip, labels, packed.files
