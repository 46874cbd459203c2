"""Writing of files: regular files are replaced as a whole, and everything else is written to."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.files import write_atomically

WRITE = "import sys; from pathlib import Path; from nas.files import write_atomically; print('before', end=' '); "


def test_a_named_pipe_stays_one_and_its_reader_gets_everything(tmp_path: Path) -> None:
    pipe, data, found = tmp_path / "pipe", os.urandom(300_000), []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, data)
    reader.join(60)
    assert found == [data]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_to_through_links_and_stays_one(tmp_path: Path) -> None:
    main, device = os.openpty()
    link = tmp_path / "link"
    link.symlink_to(os.ttyname(device))
    write_atomically(link, b"hello")
    assert os.read(main, 100) == b"hello"
    assert link.is_symlink()
    assert stat.S_ISCHR(link.stat().st_mode)
    os.close(device)
    os.close(main)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_to_a_regular_file_stays_a_link(tmp_path: Path, is_there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if is_there:
        target.write_bytes(b"old")
    link.symlink_to("target")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"target", "link"}


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("ü" * 127)
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("path", ["loop", "missing/file", ".", "file/below"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    with pytest.raises(NasError, match=f"{path} cannot be written: ") as error:
        write_atomically(Path(path), b"new")
    assert error.value.remedy


@pytest.mark.parametrize("where", ["a pipe", "a file"])
def test_standard_output_gets_the_content_in_its_place(tmp_path: Path, where: str) -> None:
    script = f"{WRITE} write_atomically(Path('/dev/stdout'), b'content'); print(' after')"
    if where == "a pipe":
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    else:
        with (tmp_path / "out").open("wb") as file:
            subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
        out = (tmp_path / "out").read_bytes()
    assert out == b"before content after\n"
