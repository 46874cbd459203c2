"""Tests of the storage of decoded images: the choice between memory and file, the file, and full disks."""

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


def test_memory_is_used_up_to_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 1000)
    assert [find_room(needed, 0.5).mapped for needed in (499, 500, 501)] == [False, False, True]


def test_free_memory_is_within_the_machine_s_memory_and_the_container_s_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(room, "_LIMITS", ((str(limit), str(used)),))
    used.write_text("200\n")
    for text, expected in (("1000\n", 800), ("150", 0)):
        limit.write_text(text)
        assert free_memory() == expected
    limit.write_text("max\n")
    assert free_memory() > 1000


@pytest.mark.parametrize("reserve", ["_reserve", "_fill"])
def test_a_mapped_tensor_is_an_ordinary_tensor_and_leaves_no_file(
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


def test_a_full_disk_raises_an_error_and_leaves_no_file(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: object, _start: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: fail(*arguments))
    message = r"the decoded images take 2\.0 GB.*No space left on device\n  free disk space, set TMPDIR"
    with pytest.raises(DataError, match=message):
        Room(mapped=True).make((1000, 3, 816, 816))
    assert list(temporary.iterdir()) == []


def test_images_in_a_file_are_the_same_and_give_the_same_accuracies(tmp_path: Path, temporary: Path) -> None:
    source = write_folder(tmp_path / "images", each=12)
    (source / "cat" / "000.png").write_bytes(b"broken")
    in_memory, mapped = (
        load_images(str(source), resolution=8, max_corrupt_share=0.1, memory_share=share) for share in (0.5, 0.0)
    )
    assert (in_memory.train.mapped, mapped.train.mapped, mapped.val.mapped) == (False, True, True)
    assert torch.equal(in_memory.train.images, mapped.train.images)
    assert (in_memory.fingerprint, in_memory.mean, in_memory.std) == (mapped.fingerprint, mapped.mean, mapped.std)
    assert any("kept in the temporary folder" in note for note in mapped.notes)
    assert not any("temporary" in note for note in in_memory.notes)
    assert list(temporary.iterdir()) == []
    accuracies = [list(TrainEvaluator(data).evaluate(ARCH, 2)) for data in (in_memory, mapped)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize(("owls", "noted"), [(10, False), (3, True)])
def test_imbalanced_classes_are_noted(tmp_path: Path, owls: int, noted: bool) -> None:
    source = write_folder(tmp_path / "images", each=30, classes=("cat", "dog"))
    (source / "owl").mkdir()
    for i in range(owls + 2):  # at least one image goes to val and one to test
        picture(900 + i).save(source / "owl" / f"{i}.png")
    notes = load_images(str(source), resolution=8, validation_share=0.2).notes
    imbalance = [note for note in notes if "imbalanced" in note]
    assert bool(imbalance) is noted
    if noted:
        assert "from 3 training images (owl) to 18 (cat)" in imbalance[0]
