"""Databases that are damaged, disks that are full or read-only: one message, and no finished trial is lost."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import FAKE, Nas
from tests.cli.forker import Forker
from tests.cli.gate import Gate
from tests.cli.test_cli_search import FAST, SEARCH, trials
from tests.search.fakes import SMALLEST, TINY

PAGE = 4096
COMMANDS = (
    ("studies",),
    ("show", "study:demo:best"),
    ("pareto", "demo"),
    FAST,
    (*FAST, "--start-from", "study:demo:best"),
    ("scale", "study:demo:best", "--phi", "1"),
    ("check", "--space", "tiny.yaml", "--target", "flops=1.2M", "--evaluator", "zero-cost:macs"),
    ("studies", "restore", "--into", "nas.db"),
)


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def pages(path: Path) -> None:
    """All but those that hold the schema; SQLite's file format has no sums that would tell."""
    size = path.stat().st_size
    for start in range(4 * PAGE, size, PAGE):
        overwrite(path, start, b"\xa5" * 200)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "header": lambda path: overwrite(path, 0, b"not a database at all"),
    "schema": lambda path: overwrite(path, 100, b"\xff" * 300),
    "pages": pages,
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "half a page": lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
    "empty": lambda path: os.truncate(path, 0),
}


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Mapping[str, bytes]:
    """A database and its journal, as a search left them."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(TINY)
    ran = Nas(folder, forker).fake(*FAST, "--trials", "2")
    assert ran.code == 0, ran.err
    return {name: (folder / name).read_bytes() for name in ("nas.db", "nas-trials/demo.jsonl")}


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_told_with_the_way_out(
    nas: Nas,
    whole: Mapping[str, bytes],
    damage: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(nas.folder, whole)
    path = nas.folder / "nas.db"
    DAMAGES[damage](path)
    before = path.read_bytes()
    for command in COMMANDS:
        ran = nas.here(*command, capsys=capsys, monkeypatch=monkeypatch)
        ran.refused("sqlite:///nas.db is damaged", "nas-trials/: nas studies restore --into nas-restored.db")
        assert sum(line.startswith("nas: ") for line in ran.err.splitlines()) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["header", "pages", "half"])
def test_without_journals_no_way_out_is_made_up(
    nas: Nas,
    whole: Mapping[str, bytes],
    damage: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(nas.folder, {"nas.db": whole["nas.db"]})
    DAMAGES[damage](nas.folder / "nas.db")
    ran = nas.here("studies", capsys=capsys, monkeypatch=monkeypatch)
    ran.refused("is damaged and cannot be opened")
    assert "restore" not in ran.err


@pytest.mark.slow
def test_a_search_that_was_killed_and_lost_its_database_goes_on(nas: Nas, gate: Gate) -> None:
    gate.let(3)
    process = nas.start(*FAST, module=FAKE, **gate.environment)
    gate.wait_for(4)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    pages(nas.folder / "nas.db")
    told = nas.fake(*FAST)
    told.refused("nas studies restore --into nas-restored.db")
    words = shlex.split(told.err.splitlines()[-1].partition("nas studies restore")[2])
    ran = nas("studies", "restore", *words)
    assert ran.code == 0, ran.err
    assert "demo: 3 trials restored, 0 lines skipped" in ran.out
    assert "next: nas studies --storage sqlite:///nas-restored.db" in ran.out
    resumed = nas.fake(*FAST, "--storage", "sqlite:///nas-restored.db", "--json")
    assert resumed.code == 0, resumed.err
    assert "resumed: 3 of 6 trials are done" in resumed.err
    (nas.folder / "nas.db").write_bytes((nas.folder / "nas-restored.db").read_bytes())
    ended = trials(nas.folder)
    (nas.folder / "nas.db").unlink()
    whole = nas.fake(*FAST, "--json")
    assert ended == trials(nas.folder)
    for key in ("trial", "arch", "score", "accuracy"):
        assert resumed.json["best"][key] == whole.json["best"][key]


@pytest.mark.slow
def test_restoring_tells_what_it_took(nas: Nas) -> None:
    assert nas.fake(*FAST, "--trials", "3").code == 0
    journal = nas.folder / "nas-trials" / "demo.jsonl"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*lines[:2], b'{"kind": "trial", \x1b[31m', lines[2][:100], *lines[3:]]))
    ran = nas("studies", "restore", "--into", "sqlite:///new.db", "--json")
    assert ran.code == 0, ran.err
    (row,) = ran.json["studies"]
    assert (row["study"], row["trials"], row["lost"], len(row["passed_over"])) == ("demo", 2, 1, 2)
    assert [line.partition(":")[0] for line in row["passed_over"]] == ["line 3", "line 4"]
    shown = nas("studies", "restore", str(journal), "--into", "other.db")
    assert "demo: 2 trials restored, 2 lines skipped, 1 unfinished or lost trials are evaluated again" in shown.out
    assert "\x1b" not in shown.out
    assert [(row["study"], row["trials"], row["killed"]) for row in nas(
        "studies", "--json", "--storage", "sqlite:///other.db"
    ).json] == [("demo", 2, 1)]  # fmt: skip
    nas("studies", "restore", "--into", "other.db").refused("has a study demo already", "a new database")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--into", "new.db"), ("there are no journals in nas-trials",)),
        (("--into", "new.db", "--storage", "postgresql://me:hunter2@h/d"), ("there are no journals beside",)),
        (("absent.jsonl", "--into", "new.db"), ("absent.jsonl cannot be read",)),
        (("tiny.yaml", "--into", "new.db"), ("tiny.yaml is no journal",)),
    ],
)
def test_what_cannot_be_restored(nas: Nas, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = nas("studies", "restore", *arguments)
    ran.refused(*words)
    assert "hunter2" not in ran.err
    assert not (nas.folder / "new.db").exists()


def test_options_of_a_list_are_none_of_restoring(nas: Nas) -> None:
    nas("studies", "--json", "restore", "--into", "new.db").refused("options of restore stand behind the word", code=2)


def mounted(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk of one's own cannot be had: {done.stderr}")


@pytest.fixture(name="disk")
def _disk(tmp_path: Path, nas: Nas) -> Iterator[Nas]:
    """`nas` on a disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no mount")
    try:
        (folder / "tiny.yaml").write_text(TINY)
        (folder / "smallest.yaml").write_text(SMALLEST)
        yield Nas(folder, nas.forker)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 40_000, 120_000, 180_000])
def test_a_full_disk_is_told_and_costs_no_finished_trial(disk: Nas, room: int) -> None:
    free = os.statvfs(disk.folder)
    filler = disk.folder / "filler"
    filler.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - room))
    arguments = (*SEARCH, "--epochs", "2", "--trials", "30")
    ran = disk.fake(*arguments)
    ran.refused("disk is full", "free some space on its disk")
    done = [line for line in ran.err.splitlines() if line.startswith("trial ")]
    filler.unlink()
    resumed = disk.fake(*arguments, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["trials"] == 30
    ended = [line for line in resumed.err.splitlines() if line.startswith("trial ")]
    assert 30 - len(done) - 1 <= len(ended) <= 30 - len(done)
    new = disk("studies", "restore", "--into", "new.db", "--json")
    assert new.json["studies"][0]["trials"] >= 30


@pytest.mark.slow
def test_a_disk_that_is_read_only(disk: Nas) -> None:
    assert disk.fake(*FAST, "--trials", "2").code == 0
    before = {path.name: path.read_bytes() for path in disk.folder.iterdir() if path.is_file()}
    mounted(disk.folder, "-o", "remount,ro")
    assert disk("studies", "--json").json[0]["trials"] == 2
    assert disk("show", "study:demo:best").code == 0
    # SQLite's own words are the last ones of the second problem; notes on the search stand before a message.
    for ran, problem, remedy in (
        (
            disk("pareto", "demo"),
            "demo-pareto.html cannot be written: its folder is protected against writing",
            "choose another place",
        ),
        (
            disk.fake(*FAST),
            "storage sqlite:///nas.db failed: (sqlite3.OperationalError) attempt to write a readonly database",
            "check that it can be written to and that no other program locks it; finished trials are kept",
        ),
        (
            disk.fake(*FAST, "--storage", "sqlite:///other.db"),
            "storage sqlite:///other.db cannot be opened: its folder does not exist or cannot be written to",
            "make the folder, or give another place with --storage",
        ),
    ):
        ran.refused()
        assert ran.err[ran.err.index("nas: ") :] == f"nas: {problem}\n  {remedy}\n"
    disk("studies", "restore", "--into", "new.db").refused("cannot be opened", "be written to")
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir() if path.is_file()} == before
