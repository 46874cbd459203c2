"""Image folders as users have them: links, files of any kind, names in any encoding; nothing is lost without a word."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nas.data.base import ImageData
from nas.data.formats import sort_files
from nas.data.load import count_classes, load_images
from nas.data.parquet_size import measure
from nas.data.tree import read_tree
from nas.errors import DataError
from tests.data import test_data_load
from tests.data.test_data_load import counts, picture, png, sizes, write_folder, write_table

HEIC = b"\0\0\0\x18ftypheic" + bytes(100)
CAFE = os.fsdecode(b"caf\xe9")


def load(source: Path | str, **options: Any) -> ImageData:
    """Load images of which a fifth validates, however few they are."""
    return test_data_load.load(source, **({"validation_share": 0.2} | options))


class TestLinks:
    def test_links_to_classes_are_read_as_the_folders_themselves(self, tmp_path: Path) -> None:
        real = write_folder(tmp_path / "real")
        (tmp_path / "all").mkdir()
        for name in ("cat", "dog", "owl"):
            (tmp_path / "all" / name).symlink_to(real / name)
        assert load(tmp_path / "all").fingerprint == load(real).fingerprint

    def test_a_linked_validation_split_is_used(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "parts" / "train")
        (tmp_path / "parts" / "val").symlink_to(write_folder(tmp_path / "more", each=4, start=1000))
        assert sizes(test_data_load.load(tmp_path / "parts")) == (24, 12, 6)  # the test split is taken from train

    def test_links_to_files_are_read(self, tmp_path: Path) -> None:
        real = write_folder(tmp_path / "real")
        for path in read_tree(real).files:
            (tmp_path / "links" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "links" / path).symlink_to(real / path)
        assert load(tmp_path / "links").fingerprint == load(real).fingerprint

    def test_cycles_end_and_are_noted(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "all")
        (tmp_path / "all" / "cat" / "up").symlink_to("..")
        (tmp_path / "all" / "same").symlink_to("cat")
        data = load(tmp_path / "all")
        assert data.classes == ("cat", "dog", "owl")
        assert "links to folders that are read at another place are ignored: cat/up, same" in data.notes

    def test_broken_links_to_images_count_as_unreadable_images(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        for i in range(3):
            (tmp_path / "cat" / f"lost{i}.png").symlink_to("/nowhere")
        with pytest.raises(DataError, match=r"3 of 33 images are unreadable: cat/lost0.png \(broken link\)"):
            load(tmp_path)
        data = load(tmp_path, max_corrupt_share=0.1)
        assert data.notes[0].startswith("broken links were skipped, 3 in all: cat/lost0.png")

    def test_a_broken_link_in_place_of_a_class_is_an_error(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        (tmp_path / "wolf").symlink_to("/nowhere/wolf")
        with pytest.raises(DataError, match=r"1 symbolic link leads to nothing: wolf \(to /nowhere/wolf\)"):
            load(tmp_path)

    def test_a_linked_table_is_read_though_its_file_has_another_name(self, tmp_path: Path) -> None:
        shutil.move(write_table(tmp_path / "t.parquet", [0, 1] * 5), tmp_path / "blob")
        (tmp_path / "train.parquet").symlink_to("blob")
        assert sizes(load(tmp_path / "train.parquet")) == (6, 2, 2)

    def test_a_folder_without_permission_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_folder(tmp_path)
        scan = os.scandir

        def refuse(path: Path) -> object:
            if str(path).endswith("dog"):
                raise PermissionError(13, "Permission denied")
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(DataError, match=r"the folder .*dog cannot be read: Permission denied"):
            load(tmp_path)


class TestContent:
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "QOI"])
    def test_images_are_recognized_without_an_ending(self, form: str, tmp_path: Path) -> None:
        picture(0).save(tmp_path / "image", form)
        picture(0).save(tmp_path / "other.dat", form)
        assert len(sort_files(tmp_path, [Path("image"), Path("other.dat")]).pictures) == 2

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (HEIC, "HEIC"),
            (b"\xff\x0a" + bytes(20), "JPEG XL"),
            (b"P1 is a text", None),
            (b"BMW", ""),
            (b"", ""),
            (b"%PDF-1.7", ""),
        ],
    )
    def test_other_content_is_named(self, content: bytes, kind: str | None, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(content)
        assert sort_files(tmp_path, [Path("file")]).others.get(Path("file")) == kind

    def test_images_of_any_name_are_read(self, tmp_path: Path) -> None:
        plain = load(write_folder(tmp_path / "plain")).fingerprint
        for k, path in enumerate(read_tree(write_folder(tmp_path / "odd")).files):
            (tmp_path / "odd" / path).rename((tmp_path / "odd" / path).with_suffix(("", ".dat", ".PNG")[k % 3]))
        assert load(tmp_path / "odd").fingerprint == plain

    def test_files_that_are_not_read_are_counted_and_named(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        for name in ("a.heic", "b.jpeg2"):
            (tmp_path / "cat" / name).write_bytes(HEIC)
        (tmp_path / "dog" / "notes.txt").write_text("mine")
        os.mkfifo(tmp_path / "dog" / "pipe")
        assert load(tmp_path).notes == (
            "HEIC images cannot be decoded and were skipped, 2 in all: cat/a.heic, cat/b.jpeg2; convert them to JPEG "
            "or PNG",
            "files that are not images were skipped, 2 in all: dog/notes.txt, dog/pipe",
        )

    def test_an_empty_class_is_noted(self, tmp_path: Path) -> None:
        (write_folder(tmp_path) / "wolf").mkdir()
        assert load(tmp_path).notes == ("classes without images are ignored, 1 in all: wolf",)

    @pytest.mark.parametrize(
        ("path", "content", "message"),
        [
            ("wolf/a.heic", HEIC, r"the folder wolf has no image .*: wolf/a.heic is an image in the format HEIC;"),
            ("wolf/deep/a.txt", b"text", r"the folder wolf has no image .*: wolf/deep/a.txt is not an image;"),
        ],
    )
    def test_a_class_of_skipped_files_is_an_error(
        self, path: str, content: bytes, message: str, tmp_path: Path
    ) -> None:
        write_folder(tmp_path)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(content)
        with pytest.raises(DataError, match=message):
            load(tmp_path)

    def test_a_class_of_broken_links_is_an_error(self, tmp_path: Path) -> None:
        (write_folder(tmp_path) / "wolf").mkdir()
        (tmp_path / "wolf" / "a.png").symlink_to("/nowhere")
        with pytest.raises(DataError, match=r"the folder wolf has no image .*: wolf/a.png is a broken link;"):
            load(tmp_path, max_corrupt_share=1)

    def test_a_class_of_a_split_that_would_be_lost_is_an_error(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "train")
        write_folder(tmp_path / "val", classes=("cat",), each=2, start=1000)
        (tmp_path / "val" / "dog").mkdir()
        (tmp_path / "val" / "dog" / "a.heic").write_bytes(HEIC)
        with pytest.raises(DataError, match="the folder val/dog has no image that can be decoded"):
            load(tmp_path)


class TestUnlabeled:
    @pytest.mark.parametrize("place", [".", "unknown"])
    def test_an_unlabeled_test_folder_is_passed_over(self, place: str, tmp_path: Path) -> None:
        write_folder(tmp_path / "train")
        (tmp_path / "test" / place).mkdir(parents=True, exist_ok=True)
        for i in range(5):
            picture(5000 + i).save(tmp_path / "test" / place / f"{i}.png")
        data = load(tmp_path)
        assert sizes(data) == (18, 6, 6)
        assert data.notes == (
            "the folder test has 5 images in no folder of a training class: without labels they are ignored",
        )

    def test_a_test_table_without_labels_is_ignored(self, tmp_path: Path) -> None:
        write_table(tmp_path / "train.parquet", [0, 1] * 10)
        pq.write_table(pa.table({"image": [png(1)], "id": [1]}), tmp_path / "test.parquet")
        for test in (True, False):
            data = load(tmp_path, test=test)
            assert data.notes == ("the split test has no column 'label': it is ignored",)
            assert len(data.train) == 12


class TestNames:
    @pytest.mark.parametrize("path", ["photos/cat", "photos/cat/003.png", "photos"])
    def test_names_need_not_be_utf8(self, path: str, tmp_path: Path) -> None:
        plain = load(write_folder(tmp_path / "photos"))
        renamed = (tmp_path / path).with_name(CAFE)
        (tmp_path / path).rename(renamed)
        data = load(renamed if path == "photos" else tmp_path / "photos")
        assert counts(data.train.labels) == counts(plain.train.labels)
        assert data.classes == (("caf\\xe9", "dog", "owl") if path == "photos/cat" else plain.classes)
        "".join((data.name, *data.notes, *data.classes)).encode()  # everything can be printed

    def test_an_unreadable_image_is_named_in_escaped_form(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        (tmp_path / "cat" / f"{CAFE}.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"1 of 31 images are unreadable: cat/caf\\xe9\.png;"):
            load(tmp_path)

    def test_a_table_below_such_a_name_is_read(self, tmp_path: Path) -> None:
        (tmp_path / CAFE).mkdir()
        write_table(tmp_path / "t.parquet", [0, 1] * 5).rename(tmp_path / CAFE / "t.parquet")
        assert sizes(load(tmp_path / CAFE)) == (6, 2, 2)


def _gray(path: Path) -> None:
    Image.open(path).convert("L").save(path)


def _nothing(_path: Path) -> None:
    """Leave an image as it is."""


class TestChannels:
    @pytest.mark.parametrize(
        ("change", "notes"),
        [(_gray, ()), (_nothing, ("color images were converted to grayscale, 30 in all",))],
        ids=["gray", "color"],
    )
    def test_one_channel_is_read_from_gray_and_from_color(
        self, change: Callable[[Path], None], notes: tuple[str, ...], tmp_path: Path
    ) -> None:
        for path in read_tree(write_folder(tmp_path)).files:
            change(tmp_path / path)
        data = load(tmp_path, channels=1)
        assert data.train.images.shape[1:] == (1, 8, 8)
        assert data.channels == len(data.mean) == 1
        assert data.notes == notes
        if not notes:
            expected = load(tmp_path).train.images  # the same gray values, three times
            assert (expected == data.train.images).all()

    def test_four_channels_are_those_of_the_images(self, tmp_path: Path) -> None:
        for path in read_tree(write_folder(tmp_path)).files:
            Image.open(tmp_path / path).convert("RGBA").save(tmp_path / path)
        assert load(tmp_path, channels=4).train.images.shape[1:] == (4, 8, 8)

    def test_another_number_of_channels_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"an image has 3 channels \(R, G, B\), and the network takes 4"):
            load(write_folder(tmp_path), channels=4)


class TestSize:
    @staticmethod
    def write(path: Path, rows: int, size: int) -> Path:
        value = pa.array([b"x" * size], pa.binary())
        repeated = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), value)
        pq.write_table(pa.table({"image": repeated, "label": [k % 2 for k in range(rows)]}), path, store_schema=False)
        return path

    def test_repeated_values_count_each_time(self, tmp_path: Path) -> None:
        extent = measure(self.write(tmp_path / "t.parquet", 1000, 1000), 10**9)
        assert extent.size == 1000 * 1000 + 8 * 1000
        assert extent.largest == 1000

    def test_a_small_table_of_many_gigabytes_is_refused_at_once(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "t.parquet", 10_000, 1_000_000)
        assert path.stat().st_size < 1_000_000
        with pytest.raises(DataError, match=r"values more than 4.0 GB"):
            load(path)


@pytest.mark.parametrize("write", [write_folder, lambda path: write_table(path / "t.parquet", [3, 5, 7] * 4)])
def test_classes_are_counted_without_decoding(write: Callable[[Path], Path], tmp_path: Path) -> None:
    source = write(tmp_path / "data")
    assert count_classes(str(source)) == load_images(str(source), resolution=8).num_classes == 3
