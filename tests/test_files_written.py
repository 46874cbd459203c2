"""Writing of files: regular files are replaced as a whole, and everything else but standard output is refused."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.files import write_atomically
from nas.output_kinds import PAGE, write_output

WRITE = "import sys; from pathlib import Path; from nas.files import write_atomically; print('before', end=' '); "


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


# Opening a pipe that nobody reads would block, so that the test would run into its time limit.
IRREGULAR = {"a pipe": os.mkfifo, "a socket": make_socket, "a device": make_link_to_device, "a folder": os.mkdir}


@pytest.mark.parametrize("form", IRREGULAR)
def test_what_is_no_regular_file_is_not_written_to(tmp_path: Path, form: str) -> None:
    path = tmp_path / "out.html"
    IRREGULAR[form](path)
    before = path.lstat()
    for write in (write_atomically, lambda path, data: write_output(path, data, PAGE)):
        with pytest.raises(NasError, match=f"out.html is {form}, and "):
            write(path, b"<html>")
    assert path.lstat() == before
    assert len(list(tmp_path.iterdir())) == 1


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


@pytest.mark.parametrize("path", ["loop", "missing/file", "file/below"])
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
