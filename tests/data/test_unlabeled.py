"""Images without labels: nested folders, other sizes, and files that are no images."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data.names import printable
from nas.data.unlabeled import load_unlabeled
from nas.errors import DataError


def save(path: Path, gray: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), gray, np.uint8)).save(path)


def test_all_images_below_a_folder_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    save(tmp_path / "b" / "c.png", 30, (20, 12))
    save(tmp_path / "a.png", 10)
    save(tmp_path / "b" / "a.png", 20)
    (tmp_path / "note.txt").write_text("no image")
    found = load_unlabeled(tmp_path, resolution=8)
    assert found.images.shape == (3, 3, 8, 8)
    assert found.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert found.names == ("a.png", "b/a.png", "b/c.png")
    assert found.notes == (
        "the images have 2 sizes, from 8 x 8 to 20 x 12 pixels; they were center-cropped and resized to 8 x 8",
    )


@pytest.mark.parametrize("name", [b"two\nlines.png", b"caf\xe9.png", "名.png".encode(), b"file:x.png"])
def test_images_have_any_name(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("images") / "a.png", 20)
    (Path("images") / "a.png").rename(Path("images") / os.fsdecode(name))
    found = load_unlabeled(Path("images"), resolution=8)
    assert found.names == (printable(os.fsdecode(name)),)
    assert found.images[0, 0, 0, 0] == 20


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    with pytest.raises(DataError, match="of unlabeled images has no image that can be decoded, and 1 other file"):
        load_unlabeled(tmp_path, resolution=8)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load_unlabeled(tmp_path / "missing", resolution=8)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    save(tmp_path / "good.png", 10)
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"1 of 2 images are unreadable: bad\.png"):
        load_unlabeled(tmp_path, resolution=8)
    found = load_unlabeled(tmp_path, resolution=8, max_corrupt_share=0.5)
    assert found.names == ("good.png",)
    assert found.notes == ("unreadable images were skipped, 1 in all: bad.png",)
