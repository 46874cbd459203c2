"""What commands write: standard output of any kind, files that are not theirs, and nothing where they are refused."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.api.errors import missing_memory
from nas.cli.main import main
from nas.cli.main import nas as root
from nas.cli.shared.parameter_types import Duration, OutputFile
from nas.cli.shared.printing import next_command
from tests.cli.conftest import ROOT, Nas, Ran, surroundings
from tests.cli.test_cli_search import FAST
from tests.test_output_kinds import write_database

Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return lambda *arguments: nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def parameters(command: click.Command = root, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Parameter]]:
    """Yield all options and arguments of the whole command line, with the words of their command."""
    yield from ((" ".join((*words, name.name or "")), name) for name in command.params)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None
            yield from parameters(found, (*words, verb))


def shell(line: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = f'nas() {{ {shlex.quote(sys.executable)} -m nas.cli.main "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", command], cwd=folder, env=surroundings(environment), capture_output=True)


# Standard output.


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp437", "euc_jp"])
def test_a_terminal_without_a_character_shows_another_sign(tmp_path: Path, encoding: str) -> None:
    ran = shell("nas scale mnasnet-a1 --phi 1", tmp_path, PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"1.200 ? 1.438" in ran.stdout


def test_json_is_the_same_data_in_every_encoding(tmp_path: Path) -> None:
    save = "nas show mnasnet-small --save 'größe.json' >/dev/null"
    ran = shell(f"{save}; nas show größe.json --json", tmp_path, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="1")
    assert json.loads(ran.stdout)["name"] == "größe"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("words", ["spaces", "spaces --json", "--help"])
def test_a_full_output_is_one_message(tmp_path: Path, words: str) -> None:
    ran = shell(f"nas {words} > /dev/full", tmp_path)
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr
    assert b"the standard output cannot be written: No space left on device" in ran.stderr


def test_a_reader_that_has_enough_ends_the_command_without_a_word(tmp_path: Path) -> None:
    ran = shell("nas scale mnasnet-a1 --family --save f | true; echo ${PIPESTATUS[0]}", tmp_path)
    assert (ran.stdout, ran.stderr) == (b"1\n", b"")


def test_a_closed_output_is_told_before_any_work(tmp_path: Path) -> None:
    ran = shell(f"nas {shlex.join(FAST)} --space nasbench_macro >&-", tmp_path)
    assert ran.returncode == 1
    assert b"the standard output is closed\n" in ran.stderr
    assert not [*tmp_path.iterdir()]


def test_a_closed_input_and_a_closed_error_output_change_nothing(tmp_path: Path) -> None:
    assert shell("nas show mnasnet-small <&- 2>&-", tmp_path).stdout == shell("nas show mnasnet-small", tmp_path).stdout


def test_control_characters_of_names_are_escaped(here: Here) -> None:
    name = "a\x1b[31m'b"
    ran = here(*FAST, "--trials", "1", "--study", name)
    assert ran.code == 0, ran.err
    for shown in (ran, here("studies"), here("pareto", name), here("show", name), here(f"\x1b{name}")):
        assert "\x1b" not in shown.out + shown.err
        assert "\\x1b" in shown.out + shown.err


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=6).filter(lambda word: b"\0" not in word), min_size=1, max_size=3))
def test_a_proposed_command_is_read_by_a_shell_as_it_was_meant(words: list[bytes]) -> None:
    line = next_command("show", *map(os.fsdecode, words))
    assert line.isprintable()
    ran = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert ran.stdout.split(b"\0")[:-1] == [b"nas", b"show", *words]


# Files that are not the command's own.


def test_every_file_that_is_written_has_a_kind() -> None:
    # A folder holds files of several kinds, and a flag names no file.
    files = {name for name, each in parameters() if each.metavar != "FOLDER" and not getattr(each, "is_flag", False)}
    written = {name for name in files if name.rpartition(" ")[2] in ("html", "png", "svg", "csv", "out")}
    kinds = {name for name, parameter in parameters() if isinstance(parameter.type, OutputFile)}
    assert kinds == written | {"show save", "weights save", "spaces around save"}
    assert len(kinds) >= 11


def test_no_output_replaces_a_database(nas: Nas, here: Here) -> None:
    assert here(*FAST, "--trials", "1", "--study", "demo").code == 0
    names = {"html": "a.html", "png": "a.png", "csv": "a.csv"}
    before = (nas.folder / "nas.db").read_bytes()
    for option, name in names.items():
        here("pareto", "demo", f"--{option}", "nas.db").refused(
            "nas.db has no known form", f"end the name in .{option}"
        )
        (nas.folder / name).write_bytes(before)
        here("pareto", "demo", f"--{option}", name).refused(f"{name} holds a SQLite database", "another name")
        assert (nas.folder / name).read_bytes() == before
    (nas.folder / "demo-pareto.html").write_bytes(before)
    here("pareto", "demo").refused("demo-pareto.html holds a SQLite database")
    here("show", "mnasnet-a1", "--save", "nas.db").refused("nas.db has no known form")
    assert (nas.folder / "nas.db").read_bytes() == before


def test_trained_weights_are_not_replaced_by_random_ones(nas: Nas, here: Here) -> None:
    arguments = ("scale", "mnasnet-small", "--phi", "0", "--onnx", "--save", "f")
    assert here(*arguments).code == 0
    (file,) = (nas.folder / "f").glob("*.onnx")
    assert here(*arguments).code == 0
    file.write_bytes(b"\x08\x07\x12\x07pytorch")
    here(*arguments).refused(f"{file.name} holds something else and not an ONNX file that nas wrote")


# Numbers.


NUMBERS = [name for name, one in parameters() if isinstance(one.type, click.types.FloatParamType | Duration)]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_numbers_that_are_not_finite_are_refused_by_every_option(name: str, value: str) -> None:
    parameter = dict(parameters())[name]
    with pytest.raises(click.BadParameter):
        parameter.type.convert(value, parameter, None)


# Commands that are refused.

SEARCH = ("search", "--target", "flops=400M")
FIT = ("scale", "mnasnet-small", "--fit")
REFUSED: tuple[tuple[str, ...], ...] = (
    (*SEARCH, "--data", "nowhere.parquet"),
    (*SEARCH, "--space", "nothere"),
    (*SEARCH, "--evaluator", "table:missing.csv"),
    (*SEARCH, "--evaluator", "python:nomodule:f"),
    (*SEARCH, "--evaluator", "zero-cost:nothing"),
    (*SEARCH, "--sampler", "nothing"),
    (*SEARCH, "--fix", "x=1"),
    (*SEARCH, "--start-from", "nothere"),
    (*SEARCH, "--storage", "sqlite:///no/such/nas.db"),
    (*SEARCH, "--storage", "postgres://u:pw@h/d"),
    (*SEARCH, "--storage", "sqlite:////dev/zero"),
    (*SEARCH, "--precision", "fp4"),
    (*SEARCH, "--supernet-dir", "x"),
    (*SEARCH, "--band", "nan"),
    ("search", "--target", "latency=8ms", "--device", "nodevice"),
    ("search", "--target", "latency=8ms", "--device", "cpu", "--table", "missing.csv"),
    ("check", "--data", "nowhere.parquet"),
    ("check", "--png", "x.jpg"),
    ("check", "--evaluator", "nothing"),
    ("check", "--truth", "table:missing.csv"),
    ("check", "--storage", "sqlite:///no/nas.db"),
    ("check", "--target", "latency=4ms"),
    ("check", "--price", "inf"),
    (*FIT, "--data", "nowhere.parquet"),
    (*FIT, "--storage", "sqlite:///no/nas.db"),
    (*FIT, "--png", "no/x.png"),
    ("scale", "mnasnet-small", "--compare", "--data", "nowhere.parquet", "--budget", "flops=200M"),
    ("scale", "mnasnet-small", "--phi", "1", "--save", "x", "--html", "y.html"),
    ("scale", "mnasnet-small", "--phi", "400", "--save", "x"),
    ("scale", "mnasnet-small", "--phi", "1", "--rule", "nothing", "--save", "x"),
    ("scale", "mnasnet-small", "--phi", "1", "--save", "x", "--device", "nodevice"),
    ("latency", "measure", "nothing"),
    ("latency", "table", "--device", "nodevice", "--out", "a/b.csv"),
    ("latency", "table", "--from", "missing.csv"),
    ("latency", "table", "--from", "/dev/zero"),
    ("latency", "table", "--out", "x.txt"),
    ("latency", "check", "--table", "missing.csv"),
    ("latency", "check", "--png", "x.txt"),
    ("pareto", "nothing", "--html", "x.html"),
    ("show", "mnasnet-small", "--save", "x.yaml"),
    ("show", "mnasnet-small", "--precision", "fp4", "--save", "x.json"),
    ("show", "/dev/zero"),
    ("show", "study:x:best", "--save", "x.json"),
    ("show", "study:x:best", "--storage", "sqlite://"),
    ("studies",),
    ("studies", "delete", "x"),
    ("studies", "restore", "--into", "x.db"),
    ("studies", "restore", "/dev/zero", "--into", "x.db"),
    ("spaces", "/dev/zero.yaml"),
)


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_a_refused_command_leaves_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (1, 2)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("verb", [("studies",), ("show", "study:demo:best"), ("pareto", "demo")])
@pytest.mark.parametrize("content", ["empty", "foreign"])
def test_reading_turns_no_file_into_a_study_database(nas: Nas, here: Here, verb: tuple[str, ...], content: str) -> None:
    file = nas.folder / "nas.db"
    file.touch() if content == "empty" else write_database(file)
    before = file.read_bytes()
    here(*verb).refused("nas.db is no study database: it has no table of studies", "nas search")
    assert file.read_bytes() == before


def test_a_study_of_another_command_is_named_as_such(nas: Nas, here: Here) -> None:
    (nas.folder / "nas.db").write_bytes((ROOT / "tests/golden/studies_0.1/studies.sqlite").read_bytes())
    for name, command in {"fitted": "nas scale --fit", "compared": "nas scale --compare"}.items():
        here("pareto", name).refused(f"study '{name}' keeps the training runs of `{command}`", "repeat its")
        here("show", f"study:{name}").refused(f"study '{name}' keeps the training runs of `{command}`")
    here("pareto", "none").refused("there is no study 'none'")


def test_a_database_in_memory_says_that_nothing_is_kept(nas: Nas) -> None:
    ran = nas.fake(*FAST, "--trials", "1", "--storage", "sqlite://")
    assert ran.code == 0, ran.err
    assert ran.err.count("Storage sqlite:// is in memory: nothing is kept when this process ends.") == 1


# Memory.


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_missing_memory_is_recognized(error: BaseException) -> None:
    found = missing_memory(error)
    assert found is not None
    assert found.problem == "there is not enough memory for this command"
    assert missing_memory(RuntimeError("a shape is wrong")) is None


@pytest.mark.slow
def test_a_small_limit_of_memory_is_one_message(tmp_path: Path) -> None:
    ran = shell("ulimit -v 400000; nas search --target flops=400M", tmp_path, OPENBLAS_NUM_THREADS="1")
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr
    assert b"there is not enough memory for this command" in ran.stderr
