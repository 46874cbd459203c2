"""Where decoded images lie: the choice, the file, and disks that are full."""

import errno
import os
from pathlib import Path

import psutil
import pytest
import torch

from nas.data import room
from nas.data.load import load_images
from nas.data.room import Room, find_room, free_memory
from nas.errors import DataError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from tests.data.test_data_load import picture, write_folder
from tests.evaluate.colors import TINY as ARCH


@pytest.fixture(name="temporary", autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_memory_is_taken_up_to_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 1000)
    assert [find_room(needed, 0.5).mapped for needed in (499, 500, 501)] == [False, False, True]


def test_free_memory_is_no_more_than_the_machine_has_or_the_container_lets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total
    most, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(room, "_LIMITS", ((str(most), str(used)),))
    used.write_text("200\n")
    for text, expected in (("1000\n", 800), ("150", 0)):
        most.write_text(text)
        assert free_memory() == expected
    most.write_text("max\n")
    assert free_memory() > 1000


@pytest.mark.parametrize("reserve", ["_reserve", "_fill"])
def test_a_mapped_tensor_is_like_any_other_and_has_no_file(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, reserve: str
) -> None:
    monkeypatch.setattr(room, "_RESERVE", getattr(room, reserve))
    images = Room(mapped=True).make((5, 3, 7, 7))
    assert (images.dtype, images.shape) == (torch.uint8, (5, 3, 7, 7))
    assert not images.any()
    images[3] = 9
    assert images.sum() == 9 * 3 * 49
    assert list(temporary.iterdir()) == []
    assert Room(mapped=True).make((0, 3, 7, 7)).shape == (0, 3, 7, 7)


def test_a_full_disk_is_told_and_nothing_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: object, _start: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", lambda *given: full(*given))
    with pytest.raises(DataError, match=r"the images take 2\.0 GB.*No space left on device\n  free some, set TMPDIR"):
        Room(mapped=True).make((1000, 3, 816, 816))
    assert list(temporary.iterdir()) == []


def test_a_folder_too_large_for_memory_gives_the_same_images_and_accuracies(tmp_path: Path, temporary: Path) -> None:
    source = write_folder(tmp_path / "images", each=12)
    (source / "cat" / "000.png").write_bytes(b"broken")
    held, mapped = (
        load_images(str(source), resolution=8, max_corrupt_share=0.1, memory_share=share) for share in (0.5, 0.0)
    )
    assert (held.train.mapped, mapped.train.mapped, mapped.val.mapped) == (False, True, True)
    assert torch.equal(held.train.images, mapped.train.images)
    assert (held.fingerprint, held.mean, held.std) == (mapped.fingerprint, mapped.mean, mapped.std)
    assert any("kept in the temporary folder" in note for note in mapped.notes)
    assert not any("temporary" in note for note in held.notes)
    assert list(temporary.iterdir()) == []
    accuracies = [list(TrainEvaluator(data).evaluate(ARCH, 2)) for data in (held, mapped)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize(("owls", "told"), [(10, False), (3, True)])
def test_uneven_classes_are_told(tmp_path: Path, owls: int, told: bool) -> None:
    source = write_folder(tmp_path / "images", each=30, classes=("cat", "dog"))
    (source / "owl").mkdir()
    for i in range(owls + 2):  # one each for val and test, or a fifth
        picture(900 + i).save(source / "owl" / f"{i}.png")
    notes = load_images(str(source), resolution=8).notes
    uneven = [note for note in notes if "uneven" in note]
    assert bool(uneven) is told
    if told:
        assert "from 3 images to train on (owl) to 18 (cat)" in uneven[0]
