"""Tests that read every kind of source, and check the error messages for bad input."""

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas.data import decode as decoding
from nas.data.base import ImageData, Images
from nas.data.load import class_names, load_images, load_split, load_stored
from nas.errors import DataError, MissingPackageError

_CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def small_cifar() -> Path:
    folder = os.environ.get("NAS_TEST_DATA")
    if not folder:
        pytest.skip("NAS_TEST_DATA does not name the folder with cifar10_small")
    return Path(folder) / "cifar10_small"


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Return an image of noise, so that no two images are equal."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def write_folder(root: Path, each: int = 10, classes: tuple[str, ...] = _CLASSES, start: int = 0) -> Path:
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            picture(start + 100 * k + i).save(root / name / f"{i:03}.png")
    return root


def write_table(path: Path, labels: list[Any], start: int = 0, **columns: list[Any]) -> Path:
    cells = [{"bytes": png(start + i), "path": None} for i in range(len(labels))]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": cells, "label": labels} | columns), path)
    return path


def destroy_images(path: Path) -> None:
    """Overwrite the column of image bytes; the labels and the metadata of the table stay valid."""
    group = pq.read_metadata(path).row_group(0)
    (column,) = (c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "image.bytes")
    start = column.dictionary_page_offset or column.data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * column.total_compressed_size)


def load(source: Path | str, **options: Any) -> ImageData:
    return load_images(str(source), **({"resolution": 8, "test": True} | options))


def held_out(data: ImageData) -> Images:
    assert data.test is not None
    return data.test


def counts(labels: Tensor) -> list[int]:
    return torch.bincount(labels).tolist()


def sizes(data: ImageData) -> tuple[int, int, int]:
    return len(data.train), len(data.val), len(held_out(data))


def distinct(*parts: Tensor) -> int:
    return len({image.numpy().tobytes() for part in parts for image in part})


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load("digits")


class TestDigits:
    def test_the_counts_are_the_published_ones(self, digits: ImageData) -> None:
        assert sum(sizes(digits)) == 1797
        assert digits.classes == tuple("0123456789")
        assert digits.flip is False
        overall = sum(counts(part.labels)[0] for part in (digits.train, digits.val, held_out(digits)))
        assert overall == 178  # zeros, from the UCI description

    def test_gray_levels_span_a_byte_and_channels_are_equal(self, digits: ImageData) -> None:
        images = digits.train.images
        assert (int(images.min()), int(images.max())) == (0, 255)
        assert torch.equal(images[:, 0], images[:, 2])
        assert len(set(images.flatten().tolist())) == 17

    def test_mean_and_standard_deviation_are_those_of_the_training_split(self, digits: ImageData) -> None:
        values = digits.train.images.double() / 255
        assert digits.mean == pytest.approx(values.mean((0, 2, 3)).tolist())
        assert digits.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist())

    def test_loading_again_gives_the_same_splits(self, digits: ImageData) -> None:
        again = load("digits")
        assert again.fingerprint == digits.fingerprint
        assert torch.equal(again.val.images, digits.val.images)

    def test_validation_and_test_have_a_fifth_of_each_class(self, digits: ImageData) -> None:
        train, val, test = (np.array(counts(part.labels)) for part in (digits.train, digits.val, held_out(digits)))
        assert (np.abs(val - 0.2 * (train + val + test)) <= 0.5).all()
        assert (val == test).all()

    def test_no_image_is_in_two_splits(self, digits: ImageData) -> None:
        assert distinct(digits.train.images, digits.val.images, held_out(digits).images) == 1797

    def test_notes_state_the_changes_to_the_images(self, digits: ImageData) -> None:
        assert digits.notes == ("grayscale images were repeated to 3 channels, 1,797 in all",)
        sizes = "the images have 8 x 8 pixels; they were center-cropped and resized to 12 x 12"
        assert load("digits", resolution=12).notes[0] == sizes


class TestImagesOption:
    def test_the_requested_number_is_kept_and_the_other_splits_are_whole(self) -> None:
        few = load("digits", images=95)
        assert sizes(few) == (95, 359, 359)
        assert set(counts(few.train.labels)) == {9, 10}

    def test_a_smaller_subset_is_contained_in_a_larger_one(self) -> None:
        small, large = load("digits", images=20), load("digits", images=50)
        assert distinct(small.train.images, large.train.images) == 50

    def test_a_number_above_the_number_of_images_keeps_all_with_a_note(self) -> None:
        data = load("digits", images=5000)
        assert len(data.train) == 1079
        assert "5,000 training images were requested, but only 1,079 exist: all of them are used" in data.notes

    @pytest.mark.parametrize("images", [9, 0, -1])
    def test_fewer_images_than_classes_raise_an_error(self, images: int) -> None:
        with pytest.raises(DataError, match=rf"^{images} images are requested for 10 classes"):
            load("digits", images=images)

    def test_a_rare_class_keeps_an_image(self, tmp_path: Path) -> None:
        data = load(write_table(tmp_path / "t.parquet", ["a"] * 97 + ["b"] * 3), images=3)
        assert counts(data.train.labels) == [2, 1]


class TestCifar:
    def test_splits_and_classes_are_those_of_the_files(self, small_cifar: Path) -> None:
        data = load(small_cifar, resolution=32, images=1000)
        assert sizes(data) == (1000, 2000, 2000)
        assert data.classes[:2] == ("airplane", "automobile")
        assert counts(data.val.labels) == counts(held_out(data).labels) == [200] * 10
        assert counts(data.train.labels) == [100] * 10
        assert data.notes == ()
        assert data.flip

    def test_pixels_are_those_of_the_file(self, small_cifar: Path) -> None:
        data = load(small_cifar, resolution=32, images=10)
        first = pq.read_table(small_cifar / "test.parquet").slice(0, 1).to_pylist()[0]
        expected = np.asarray(Image.open(io.BytesIO(first["image"]["bytes"])))
        assert held_out(data).labels[0] == first["label"]
        assert torch.equal(held_out(data).images[0].permute(1, 2, 0), torch.from_numpy(expected.copy()))


class TestParquet:
    def test_one_file_is_split_three_ways(self, tmp_path: Path) -> None:
        data = load(write_table(tmp_path / "t.parquet", ["b", "a"] * 10))
        assert data.classes == ("a", "b")
        assert sizes(data) == (10, 6, 4)
        assert distinct(data.train.images, data.val.images, held_out(data).images) == 20

    def test_files_named_after_splits_are_kept(self, tmp_path: Path) -> None:
        write_table(tmp_path / "train-00000-of-00002.parquet", [3, 5] * 3)
        write_table(tmp_path / "train-00001-of-00002.parquet", [3, 5] * 2, start=20)
        write_table(tmp_path / "validation.parquet", [3, 5], start=40)
        write_table(tmp_path / "test.parquet", [5, 5, 3], start=60)
        data = load(tmp_path)
        assert data.classes == ("3", "5")
        assert sizes(data) == (10, 2, 3)
        assert held_out(data).labels.tolist() == [1, 1, 0]

    def test_folders_named_after_splits_are_kept(self, tmp_path: Path) -> None:
        write_table(tmp_path / "train" / "0000.parquet", [0, 1] * 5)
        write_table(tmp_path / "test" / "0000.parquet", [0, 1], start=20)
        assert sizes(load(tmp_path)) == (6, 4, 2)

    def test_a_folder_name_may_contain_glob_characters(self, tmp_path: Path) -> None:
        write_table(tmp_path / "my [odd] *data?" / "a.parquet", [0, 1] * 5)
        assert sizes(load(tmp_path / "my [odd] *data?")) == (4, 4, 2)

    def test_images_may_be_plain_bytes_and_labels_integers(self, tmp_path: Path) -> None:
        table = pa.table({"img": [png(i) for i in range(12)], "fine_label": [10, 9] * 6, "id": list(range(12))})
        pq.write_table(table, tmp_path / "t.parquet")
        assert load(tmp_path / "t.parquet").classes == ("9", "10")

    def test_relative_paths_start_at_the_folder_of_the_table(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "pictures", classes=("a", "b"), each=3)
        paths = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
        cells = [{"bytes": None, "path": path} for path in paths]
        pq.write_table(pa.table({"image": cells, "label": list("aaabbb")}), tmp_path / "t.parquet")
        assert sizes(load(tmp_path / "t.parquet")) == (2, 2, 2)

    def test_class_names_without_images_are_noted(self, tmp_path: Path) -> None:
        names = datasets.ClassLabel(names=["a", "unused", "b"])
        features = datasets.Features({"image": datasets.Image(), "label": names})
        cells = [{"bytes": png(i), "path": None} for i in range(6)]
        table = datasets.Dataset.from_dict({"image": cells, "label": [0, 2] * 3}, features=features)
        table.to_parquet(tmp_path / "t.parquet")
        data = load(tmp_path / "t.parquet")
        assert data.classes == ("a", "b")
        assert "classes without images are ignored, 1 in all: unused" in data.notes

    def test_nothing_is_written_next_to_the_data_or_left_in_the_temporary_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        write_table(tmp_path / "data" / "t.parquet", [0, 1] * 5)
        before = snapshot(tmp_path / "data")
        load(tmp_path / "data")
        assert snapshot(tmp_path / "data") == before
        assert list(temporary.iterdir()) == []


class TestImageFolder:
    def test_each_subfolder_is_a_class(self, tmp_path: Path) -> None:
        data = load(write_folder(tmp_path))
        assert data.classes == _CLASSES
        assert sizes(data) == (15, 9, 6)
        assert data.num_classes == 3
        assert data.resolution == 8

    def test_every_image_keeps_its_label(self, tmp_path: Path) -> None:
        data = load(write_folder(tmp_path))
        class_of = {
            np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes(): path.parent.name
            for path in tmp_path.rglob("*.png")
        }
        for part in (data.train, data.val, held_out(data)):
            for image, label in zip(part.images, part.labels.tolist(), strict=True):
                assert class_of[image.numpy().tobytes()] == data.classes[label]

    def test_folders_of_splits_contain_folders_of_classes(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "train")
        write_folder(tmp_path / "valid", each=2, start=1000)
        write_folder(tmp_path / "Test", each=3, start=2000)
        assert sizes(load(tmp_path)) == (30, 6, 9)

    def test_a_missing_validation_split_is_taken_from_train(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "train")
        write_folder(tmp_path / "test", each=1, start=2000)
        data = load(tmp_path)
        assert sizes(data) == (18, 12, 3)
        assert distinct(data.train.images, data.val.images, held_out(data).images) == 33

    def test_a_class_may_be_named_train(self, tmp_path: Path) -> None:
        assert load(write_folder(tmp_path, classes=("bus", "train"))).classes == ("bus", "train")

    def test_hidden_files_and_other_files_are_ignored(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        (tmp_path / ".cache").mkdir()
        picture(5).save(tmp_path / ".cache" / "thumb.png")
        (tmp_path / "cat" / "notes.txt").write_text("mine")
        assert sum(sizes(load(tmp_path))) == 30

    def test_images_of_different_sizes_are_resized_with_a_note(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        picture(7, (20, 12)).save(tmp_path / "cat" / "wide.png")
        data = load(tmp_path, validation_share=0.2)
        assert data.train.images.shape[1:] == (3, 8, 8)
        assert data.notes == (
            "the images have 2 sizes, from 8 x 8 to 20 x 12 pixels; they were center-cropped and resized to 8 x 8",
        )

    def test_the_fingerprint_depends_on_pixels_and_class_names_but_not_on_the_path(self, tmp_path: Path) -> None:
        first = load(write_folder(tmp_path / "a")).fingerprint
        assert load(write_folder(tmp_path / "b")).fingerprint == first
        assert load(write_folder(tmp_path / "c", classes=("cat", "dog", "ox"))).fingerprint != first
        for i in range(3):  # the test split, which has two images of a class, does not count
            picture(999 + i).save(tmp_path / "a" / "cat" / f"{i:03}.png")
        assert load(tmp_path / "a").fingerprint != first
        assert len(first) == 12

    def test_a_path_may_be_relative_or_begin_with_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_folder(tmp_path / "pets")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert load("pets").fingerprint == load("~/pets").fingerprint
        assert load("pets").name == "pets"


class TestWithoutTestSplit:
    """A search loads no test split; only the labels of that split are checked."""

    def test_it_is_the_default_and_changes_nothing_else(self, digits: ImageData) -> None:
        data = load_images("digits", resolution=8)
        assert data.test is None
        assert data.fingerprint == digits.fingerprint
        assert (data.mean, data.std, data.classes) == (digits.mean, digits.std, digits.classes)
        assert torch.equal(data.train.images, digits.train.images)
        assert torch.equal(data.val.labels, digits.val.labels)

    def test_broken_test_images_are_found_only_if_the_split_is_loaded(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "train")
        write_folder(tmp_path / "test", each=2, start=2000)
        whole = load(tmp_path, validation_share=0.2).fingerprint
        for path in (tmp_path / "test").rglob("*.png"):
            path.write_bytes(b"no image")
        data = load(tmp_path, test=False, max_corrupt_share=0, validation_share=0.2)
        assert (data.test, data.fingerprint, data.notes) == (None, whole, ())
        with pytest.raises(DataError, match=r"6 of 36 images are unreadable: test"):
            load(tmp_path)

    def test_the_test_images_of_a_table_are_not_read(self, tmp_path: Path) -> None:
        write_table(tmp_path / "train.parquet", ["a", "b"] * 5)
        destroy_images(write_table(tmp_path / "test.parquet", ["a", "b"], start=20))
        assert len(load(tmp_path, test=False).train) == 6
        with pytest.raises(DataError):
            load(tmp_path)

    def test_a_test_split_taken_from_train_is_not_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoded: list[object] = []
        decode = decoding.decode

        def decode_and_count(cell: dict[str, Any], **options: Any) -> decoding.Picture | None:
            decoded.append(cell)
            return decode(cell, **options)

        monkeypatch.setattr(decoding, "decode", decode_and_count)
        data = load(write_table(tmp_path / "t.parquet", [0, 1] * 10), test=False)
        assert len(decoded) == len(data.train) + len(data.val) == 16

    def test_the_labels_of_the_test_split_are_still_checked(self, tmp_path: Path) -> None:
        write_table(tmp_path / "train.parquet", ["a", "b"] * 5)
        write_table(tmp_path / "test.parquet", ["a", "c"], start=20)
        with pytest.raises(DataError, match="test has images of class c, but train has none"):
            load(tmp_path, test=False)


class TestCorrupt:
    def test_a_few_unreadable_images_are_skipped_and_named(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        whole = (tmp_path / "dog" / "004.png").read_bytes()
        (tmp_path / "cat" / "003.png").write_bytes(b"no image")
        (tmp_path / "dog" / "004.png").write_bytes(whole[: len(whole) // 2])
        data = load(tmp_path, max_corrupt_share=0.1, validation_share=0.2)
        assert sum(sizes(data)) == 28
        (note,) = data.notes
        assert note.startswith("unreadable images were skipped, 2 in all: ")
        assert str(Path("cat", "003.png")) in note
        assert str(Path("dog", "004.png")) in note

    def test_too_many_unreadable_images_raise_an_error_with_five_names(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        for i in range(7):
            (tmp_path / "cat" / f"{i:03}.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"7 of 30 images are unreadable: cat.* and 2 more; at most 1.00%"):
            load(tmp_path)

    def test_exactly_the_allowed_share_is_accepted(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        for i in range(3):
            (tmp_path / "cat" / f"{i:03}.png").write_bytes(b"")
        assert sum(sizes(load(tmp_path, max_corrupt_share=0.1))) == 27
        with pytest.raises(DataError, match="3 of 30"):
            load(tmp_path, max_corrupt_share=0.09)

    def test_a_missing_file_raises_an_error_whatever_the_allowed_share(self, tmp_path: Path) -> None:
        cells = [{"bytes": png(i), "path": None} for i in range(19)] + [{"bytes": None, "path": "gone.png"}]
        pq.write_table(pa.table({"image": cells, "label": [0, 1] * 10}), tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r"gone\.png' cannot be read: No such file"):
            load(tmp_path / "t.parquet", max_corrupt_share=1.0)

    def test_images_without_a_file_are_named_by_row(self, tmp_path: Path) -> None:
        cells: list[Any] = [{"bytes": png(i), "path": None} for i in range(20)]
        cells[3], cells[8] = {"bytes": b"bad", "path": None}, None
        pq.write_table(pa.table({"image": cells, "label": [0, 1] * 10}), tmp_path / "t.parquet")
        (note,) = load(tmp_path / "t.parquet", max_corrupt_share=0.5, validation_share=0.2).notes
        assert note.startswith("unreadable images were skipped, 2 in all: ")
        assert "train row 3" in note
        assert "train row 8" in note

    def test_a_class_without_readable_images_raises_an_error(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        for path in (tmp_path / "cat").iterdir():
            path.write_bytes(b"")
        with pytest.raises(DataError, match=r"the split train has no readable image of class cat;"):
            load(tmp_path, max_corrupt_share=1.0)


def _table(**columns: list[Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        pq.write_table(pa.table(columns), folder / "t.parquet")
        return folder / "t.parquet"

    return write


def _labels(*labels: Any) -> Callable[[Path], Path]:
    return lambda folder: write_table(folder / "t.parquet", list(labels))


def _text(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text("not a table")
        return folder / name

    return write


def _unknown_class(folder: Path) -> Path:
    write_folder(folder / "train")
    write_folder(folder / "test", classes=("cat", "fox"), each=2)
    return folder


def _both_kinds(folder: Path) -> Path:
    write_table(folder / "t.parquet", [0, 1] * 5)
    return write_folder(folder)


def _misplaced_image(folder: Path) -> Path:
    write_folder(folder)
    picture(0).save(folder / "loose.png")
    return folder


def _partly_named(folder: Path) -> Path:
    write_table(folder / "train.parquet", [0, 1] * 5)
    write_table(folder / "extra.parquet", [0, 1] * 5)
    return folder


def _no_train(folder: Path) -> Path:
    write_table(folder / "val.parquet", [0, 1] * 5)
    write_table(folder / "test.parquet", [0, 1] * 5)
    return folder


def _empty_test(folder: Path) -> Path:
    table = pq.read_table(write_table(folder / "train.parquet", [0, 1] * 5))
    pq.write_table(table.slice(0, 0), folder / "test.parquet")
    return folder


_IMAGES = [png(0)] * 6
_BAD = {
    "no label column": (_table(image=_IMAGES, size=[1] * 6), r"no label column; .* image \(binary\), size \(int64\)"),
    "no image column": (_table(pixels=_IMAGES, label=[0, 1] * 3), r"no image column; .* pixels \(binary\)"),
    "two image columns": (_table(image=_IMAGES, img=_IMAGES, label=[0, 1] * 3), "several .*: image, img;"),
    "two label columns": (_table(image=_IMAGES, label=[0, 1] * 3, labels=[0, 1] * 3), "several .*: label, labels;"),
    "floating-point labels": (
        _table(image=_IMAGES, label=[0.5, 1.5] * 3),
        r"no label column; .*label \((double|float64)\)",
    ),
    "missing labels": (_labels("a", None, "b", None, "a", "b"), "2 of 6 images have no label in the column 'label'"),
    "one class": (_labels("a", "a", "a"), "only one class, a; .* at least two classes"),
    "empty table": (lambda folder: _labels(0, 1)(folder) and _remove_rows(folder), "has no images"),
    "empty test split": (_empty_test, "the split test in .* has no images"),
    "too few": (_labels("a", "a", "a", "b", "b"), r"too few images: b \(2\); each class needs at least 3 images"),
    "unknown class in test": (_unknown_class, "test has images of class fox, but train has none"),
    "broken table": (_text("t.parquet"), "cannot be read"),
    "another kind of file": (_text("t.csv"), "the data file is 't.csv'; a data file must be a Parquet file"),
    "empty folder": (lambda folder: folder, "neither images nor Parquet"),
    "both kinds": (_both_kinds, "Parquet files or images, not both"),
    "misplaced image": (_misplaced_image, "the image loose.png is not at a path of the form class/image"),
    "partly named": (_partly_named, "extra.parquet does not"),
    "no train split": (_no_train, "one split must be called train"),
    "missing path": (lambda folder: folder / "nowhere", "there is no file or folder"),
}


def _remove_rows(folder: Path) -> Path:
    path = folder / "t.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    return path


@pytest.mark.parametrize("case", _BAD)
def test_bad_sources_raise_an_error_with_a_remedy(case: str, tmp_path: Path) -> None:
    write, message = _BAD[case]
    with pytest.raises(DataError, match=message) as raised:
        load(write(tmp_path))
    assert raised.value.remedy


@pytest.mark.parametrize(
    "source",
    ["", "./nowhere", "~/nowhere", "a/b/c", "photos.zip", "x/train.parquet", "C:\\photos", "tests/nowhere", "nowhere"],
)
def test_a_source_that_looks_like_a_path_is_not_requested_from_the_hub(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("the hub was asked"))
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(DataError, match="there is no file or folder"):
        load(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resolution": 0}, "is 0 pixels; it must be at least 1 pixel"), ({"max_corrupt_share": 1.5}, "is 1.5; it must")],
)
def test_numbers_out_of_range_raise_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("digits", **options)


@pytest.mark.parametrize("name", ["sklearn", "datasets", "PIL"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=name) as raised:
        load("digits")
    assert raised.value.remedy == "pip install 'hwnas[train]'"


class TestHub:
    """The answer of the `datasets` library is replaced; only the network access is left out."""

    @pytest.fixture(autouse=True)
    def _known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)

    @staticmethod
    def table(count: int, start: int = 0) -> datasets.Dataset:
        features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        cells = [{"bytes": png(start + i), "path": None} for i in range(count)]
        return datasets.Dataset.from_dict({"img": cells, "label": [i % 2 for i in range(count)]}, features=features)

    def test_splits_and_the_configuration_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        requests: list[tuple[str, str | None]] = []
        tables = datasets.DatasetDict(
            {"train": self.table(10), "validation": self.table(4, 50), "unsupervised": self.table(4, 70)}
        )

        def answer(name: str, config: str | None) -> datasets.DatasetDict:
            requests.append((name, config))
            return tables

        monkeypatch.setattr(datasets, "load_dataset", answer)
        data = load("owner/pets.v1:plain")
        assert requests == [("owner/pets.v1", "plain")]
        assert sizes(data) == (8, 4, 2)
        assert data.classes == ("a", "b")
        assert data.notes == ("these splits are ignored: unsupervised",)

    @pytest.mark.parametrize("withheld", [3, 4])
    def test_a_test_split_is_ignored_only_if_all_of_its_labels_are_withheld(
        self, withheld: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        labels = [-1] * withheld + [0] * (4 - withheld)
        held_out = self.table(4, 50).remove_columns("label").add_column("label", labels)
        labeled = held_out.cast_column("label", datasets.ClassLabel(names=["a", "b"]))
        tables = datasets.DatasetDict({"train": self.table(10), "test": labeled})
        monkeypatch.setattr(datasets, "load_dataset", lambda *_: tables)
        if withheld < 4:
            with pytest.raises(DataError, match="3 of 14 images have no label"):
                load("owner/pets")
            return
        data = load("owner/pets", validation_share=0.2)
        assert data.notes == ("the labels of the split test are withheld: without labels it is ignored",)
        assert sum(sizes(data)) == 10

    def test_a_missing_connection_raises_an_error_with_a_remedy(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
        message = "'owner/pets' is not a local file or folder, and it cannot be loaded from the Hugging Face hub"
        with pytest.raises(DataError, match=message) as raised:
            load("owner/pets")
        assert "connection" in raised.value.remedy

    def test_a_hub_that_cannot_be_reached_is_asked_once_and_quietly(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        requests = []

        def fail(*_: Any, **__: Any) -> None:
            requests.append(1)
            raise OSError("Name or service not known")

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
        with pytest.raises(DataError, match="cannot be loaded from the Hugging Face hub"):
            load("owner/pets")
        assert requests == [1]
        assert capfd.readouterr().err == ""
        assert datasets.config.HF_HUB_OFFLINE is False


def test_an_image_inside_an_archive_is_read(tmp_path: Path) -> None:
    from nas.data.decode import decode

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", png(1))
    read = decode({"bytes": None, "path": f"zip://x.png::{tmp_path / 'a.zip'}"}, root=Path(), resolution=8)
    assert read is not None
    assert np.array_equal(read.pixels, np.asarray(picture(1)))


class TestStored:
    def test_images_are_those_of_the_split_in_their_own_size(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "photos")
        found = list(load_stored(str(root), "val", channels=3))
        split = load_split(str(root), "val", resolution=8)
        assert [image.shape for image in found] == [(8, 8, 3)] * len(split.images)
        same = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
        assert torch.equal(same, split.images.images)

    def test_some_images_are_spread_over_the_split_and_unreadable_ones_are_left_out(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "photos")
        names = load_split(str(root), "val", resolution=8).names
        (root / names[0]).write_bytes(b"no image")
        assert len(list(load_stored(str(root), "val", images=3))) == 2
        assert len(list(load_stored(str(root), "val"))) == len(names) - 1

    def test_the_classes_are_known_without_the_images(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "photos")
        assert class_names(str(root)) == load_split(str(root), "val", resolution=8).classes
