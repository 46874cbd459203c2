"""Tests of the files that an agent keeps."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.device.file_store import FileStore
from nas.device.messages import CHUNK_BYTES, MAX_FILE_BYTES
from nas.errors import DeviceError


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content(store: FileStore, digest: str) -> bytes:
    with store.content(digest) as view:
        return bytes(view)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 60))
def test_a_file_in_parts_is_kept_under_its_digest(data: bytes, size: int) -> None:
    store = FileStore()
    digest = digest_of(data)
    for start in range(0, len(data), size):
        assert store.missing([digest]) == (digest,)
        part = data[start : start + size]
        assert store.receive(digest, len(data), start, part) == start + len(part)
    assert store.missing([digest]) == ()
    assert content(store, digest) == data
    store.close()
    assert store.missing([digest]) == (digest,)


def test_files_of_this_machine_may_be_longer_than_a_part() -> None:
    store, data = FileStore(), bytes(range(256)) * (CHUNK_BYTES // 128)
    assert content(store, store.put(data)) == data
    store.close()


def test_the_files_that_were_unused_for_longest_make_room() -> None:
    store = FileStore(most_bytes=10, most_files=3)
    one, two, three = (store.put(bytes([number]) * 3) for number in range(3))
    assert store.missing([one, two, three]) == ()
    store.missing([one])
    four = store.put(b"four")
    assert store.missing([one, two, three, four]) == (two,)
    large = store.put(b"0123456789")
    assert store.missing([one, three, four, large]) == (one, three, four)
    store.close()


def test_a_file_with_other_bytes_is_dropped() -> None:
    store = FileStore()
    with pytest.raises(DeviceError, match="its digest differs"):
        store.receive(digest_of(b"abc"), 3, 0, b"abd")
    assert store.missing([digest_of(b"abc")])
    assert content(store, store.put(b"abc")) == b"abc"
    store.close()


DIGEST = digest_of(b"abcdef")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda store: store.receive(DIGEST, 6, 1, b"b"), "does not follow"),
        (lambda store: store.receive(DIGEST, 6, 3, b"d"), "does not follow"),
        (lambda store: store.receive(digest_of(b"x"), 6, 2, b"c"), "does not follow"),
        (lambda store: store.receive(DIGEST, 7, 2, b"c"), "does not follow"),
        (lambda store: store.receive(DIGEST, 6, 2, b"cdefg"), "is not inside its file"),
        (lambda store: store.receive(DIGEST, 6, 2, b""), "is not inside its file"),
        (lambda store: store.receive(DIGEST, MAX_FILE_BYTES + 1, 0, b"a"), "at most 1,000,000,000 are kept"),
        (lambda store: content(store, DIGEST), "is not kept"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_and_the_file_can_be_sent_again(
    wrong: Callable[[FileStore], object], message: str
) -> None:
    store = FileStore()
    store.receive(DIGEST, 6, 0, b"ab")
    with pytest.raises(DeviceError, match=message) as caught:
        wrong(store)
    assert caught.value.remedy
    assert store.put(b"abcdef") == DIGEST
    assert content(store, DIGEST) == b"abcdef"
    store.close()


def test_a_full_disk_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full rejects every write like a full disk."""
    with Path("/dev/full").open("w+b", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        with pytest.raises(DeviceError, match=r"cannot keep a file .*No space left") as caught:
            FileStore().put(b"abc")
    assert "TMPDIR" in caught.value.remedy


def test_a_file_of_this_machine_is_kept_without_a_copy(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"abcdef")
    store = FileStore(most_bytes=8)
    store.keep_open(tmp_path / "model", DIGEST, 6)
    (tmp_path / "model").unlink()
    assert content(store, DIGEST) == b"abcdef"
    other = store.put(b"abcd")
    assert store.missing([DIGEST, other]) == (DIGEST,)  # It counts among the bytes, and made room.
    store.close()


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("missing", 6, "cannot be read"),
        (".", 6, "cannot be read"),
        ("\0", 6, "cannot be read"),
        ("longer", 6, "has other bytes"),
        ("changed", 6, "has other bytes"),
    ],
)
def test_another_file_of_this_machine_is_refused(tmp_path: Path, name: str, size: int, message: str) -> None:
    (tmp_path / "longer").write_bytes(b"abcdefg")
    (tmp_path / "changed").write_bytes(b"abcdeg")
    store = FileStore(most_bytes=10)
    kept = store.put(b"kept")
    with pytest.raises(DeviceError, match=message):
        store.keep_open(tmp_path / name, DIGEST, size)
    assert store.missing([kept, DIGEST]) == (DIGEST,)  # A file that is refused takes no room from others.
    store.close()


def test_a_file_of_this_machine_that_is_larger_than_the_room_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"abcdef")
    with pytest.raises(DeviceError, match="at most 5 are kept"):
        FileStore(most_bytes=5).keep_open(tmp_path / "model", DIGEST, 6)


def test_bytes_that_are_appended_later_are_no_part_of_a_file(tmp_path: Path) -> None:
    store = FileStore()
    with (tmp_path / "model").open("wb", buffering=0) as file:
        file.write(b"abcdef")
        store.keep_open(tmp_path / "model", DIGEST, 6)
        file.write(b"ghi")
    assert content(store, DIGEST) == b"abcdef"
    store.close()


def test_a_pipe_does_not_block_the_agent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DeviceError, match="cannot be read"):
        FileStore().keep_open(tmp_path / "pipe", DIGEST, 6)
