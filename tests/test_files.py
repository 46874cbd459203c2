"""Reading of files: every reader has the same limits, and waits for nothing."""

import codecs
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.files import decode_text, read_bytes, read_text


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(codecs.BOM_UTF8 + "name: café\n".encode())
    assert read_text(file, 100) == "name: café\n"


@given(st.text(alphabet=st.characters(exclude_characters="\ufeff", exclude_categories=["Cs"])))
def test_every_text_is_read_with_and_without_a_mark(text: str) -> None:
    assert decode_text(text.encode()) == text
    assert decode_text(codecs.BOM_UTF8 + text.encode()) == text


def test_the_largest_allowed_size_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"12345")
    assert read_bytes(file, 5) == b"12345"
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_bytes(file, 4)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it is larger than 1,000 bytes"):
        read_bytes(tmp_path / "sparse", 1000)


@pytest.mark.parametrize("most", [1_000, 8_000_000_000])
def test_a_small_file_takes_little_memory_however_large_the_limit_is(tmp_path: Path, most: int) -> None:
    """Worker processes have a limit of their memory, which a buffer of the largest allowed size would exceed."""
    (tmp_path / "a.txt").write_bytes(b"net")
    tracemalloc.start()
    assert read_bytes(tmp_path / "a.txt", most) == b"net"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_file_whose_size_is_unknown_is_read() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system has no /proc")
    assert read_bytes(Path("/proc/self/status"), 1_000_000).startswith(b"Name:")
    with pytest.raises(OSError, match="it is larger than 10 bytes"):
        read_bytes(Path("/proc/self/status"), 10)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"net")
    (tmp_path / "link").symlink_to("a.txt")
    assert read_bytes(tmp_path / "link", 9) == b"net"


def test_a_named_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def read() -> None:
        with pytest.raises(OSError, match="only regular files are read"):
            read_bytes(tmp_path / "pipe", 9)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(device: str) -> None:
    with pytest.raises(OSError, match="only regular files are read"):
        read_bytes(Path(device), 9)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path, 9)


def test_files_without_a_size_in_proc_are_bounded() -> None:
    with pytest.raises(OSError, match="it is larger than 10 bytes"):
        read_bytes(Path("/proc/cpuinfo"), 10)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"net\ncaf\xe9", "it is not UTF-8 text: line 2 has the byte 0xe9; save it as UTF-8"),
        ("net".encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(data: bytes, message: str) -> None:
    with pytest.raises(OSError, match=f"^{message}$"):
        decode_text(data)
