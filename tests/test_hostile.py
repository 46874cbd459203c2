"""Files from strangers can be wrong, and nothing else: no code runs, and memory and time stay small."""

import gzip
import json
import os
import pickle
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from nas.api.architectures import find_architecture
from nas.arch.code import format_json, format_text
from nas.arch.presets import preset
from nas.cost.table_file import read_origin, read_table
from nas.errors import NasError
from nas.space.files import find_space
from nas.studies.opening import open_storage
from nas.studies.restore import read_journal
from tests.search.fakes import TINY

TOUCH = "touch hacked"
SECONDS, MEGABYTES = 60, 400


def too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"it took more than {SECONDS} s")


@pytest.fixture(autouse=True)
def _bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file is left by code that was run, and what a case may take has an end."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
    assert not Path("hacked").exists()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


class Runs:
    """What runs a command wherever it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (TOUCH,)


def test_the_pickle_of_these_tests_does_run_code(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs()))  # noqa: S301 -- its own
    (tmp_path / "hacked").unlink()


def refused(read: Callable[[], object], *words: str) -> None:
    with pytest.raises(NasError) as error:
        read()
    assert len(error.value.problem) < 600
    assert error.value.remedy
    for word in words:
        assert word in str(error.value)


def times_ten(levels: int) -> str:
    """Lists of ten times the list before: ten to the power of `levels`, in a few lines."""
    return ", ".join(
        ["&a0 [3, 5]", *(f"&a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))],
    )


def doubled(levels: int) -> str:
    """Mappings that merge the one before twice."""
    return "".join(f"  m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, levels))


BARE = TINY.replace("defaults: {operator: [conv, mbconv e3], kernel: [3, 5]}\n", "")
SPACES = {
    "a call": (TINY.replace("[3, 5]", f"!!python/object/apply:os.system ['{TOUCH}']"), "not YAML"),
    "a call by new": (TINY.replace("[3, 5]", f"!!python/object/new:os.system ['{TOUCH}']"), "not YAML"),
    "a module": (TINY.replace("[3, 5]", "!!python/module:os"), "not YAML"),
    "a name": (TINY.replace("[3, 5]", "!!python/name:os.system"), "not YAML"),
    "billion laughs": (TINY.replace("[3, 5]", f"[{times_ten(40)}]"), "aliases"),
    "billion laughs as a name": (TINY.replace("tiny", f"[{times_ten(40)}]"), "aliases"),
    "merged again and again": (f"{BARE}defaults:\n  m0: &m0 {{kernel: 3}}\n{doubled(60)}", "aliases"),
    "in itself": (f"{BARE}defaults: &d {{kernel: *d}}\n", "aliases"),
    "a long text again and again": (f"{TINY}\nsource: &s {'x' * 1000}\nbaselines: [{'*s, ' * 500}]\n", "aliases"),
    "billion laughs under every key": (f"{TINY}\nbaselines: [{times_ten(40)}]\n", "aliases"),
    "deep": (TINY.replace("[3, 5]", "[" * 20_000), "cannot be read"),
    "long number": (TINY.replace("[3, 5]", "[3, " + "9" * 5000 + "]"), "wrong form"),
    "long number in another base": (TINY.replace("[3, 5]", "[3, 0x" + "f" * 5000 + "]"), "wrong form"),
    "large number": (TINY.replace("[1, 2]", "[1, 999999999]"), "from 1 to 1,000"),
    "infinity": (TINY.replace("[1, 2]", "[1, .inf]"), "layers"),
    "large file": ("#" * 3_000_000, "larger than 2,000,000 bytes"),
    "other keys": (f"__class__: 1\n{TINY}", "is not known"),
}


@pytest.mark.parametrize("case", SPACES)
def test_a_hostile_search_space(case: str, tmp_path: Path) -> None:
    text, word = SPACES[case]
    (tmp_path / "space.yaml").write_text(text)
    refused(lambda: find_space("space.yaml"), "space.yaml", word)


GOOD: dict[str, Any] = json.loads(format_json(preset("mobilenetv2")))


def with_stage(**fields: Any) -> str:
    return json.dumps(GOOD | {"stages": [GOOD["stages"][0] | fields, *GOOD["stages"][1:]]})


LINES = format_text(preset("mobilenetv2")).splitlines()
ARCHITECTURES = {
    "large resolution": (json.dumps(GOOD | {"resolution": 10**12}), "resolution is 1000000000000"),
    "endless": (json.dumps(GOOD | {"resolution": float("inf")}), "resolution is inf"),
    "no number": (json.dumps(GOOD | {"drop_path": float("nan")}), "drop_path is nan"),
    "long number": (json.dumps(GOOD).replace("224", "9" * 5000), "not JSON"),
    "many layers": (with_stage(layers=10**9), "layers is 1000000000"),
    "many layers in all": (json.dumps(GOOD | {"stages": [GOOD["stages"][0] | {"layers": 1000}] * 11}), "11,000 layers"),
    "many stages": (json.dumps(GOOD | {"stages": [{}] * 20_000}), "stages are 20,000"),
    "many channels": (with_stage(channels=2**63), "channels is 92233"),
    "large kernel": (with_stage(kernel=10**9 + 1), "kernel is 1000000001"),
    "large expansion": (with_stage(expansion=1e308), "expansion is 1e+308"),
    "operator": (with_stage(operator="__import__('os').system('touch hacked')"), "operator is"),
    "another object": (with_stage(operator={"py/reduce": ["os.system", TOUCH]}), "operator is"),
    "dunder": (json.dumps(GOOD | {"__class__": "os"}), "'__class__' is not known"),
    "deep": ('{"stages": ' + "[" * 100_000, "not JSON"),
    "a key twice": ('{"format": 1, "format": 2}', "twice"),
    "large file": ("{" + " " * 3_000_000 + "}", "larger than 2,000,000 bytes"),
    "many lines": ("\n".join([*LINES[:3], *["conv r1"] * 50_000, LINES[-1]]), "lines"),
    "a long word": ("\n".join([f"net {'x' * 1_000_000}", *LINES[1:]]), "is not known here"),
    "code": ("\n".join([LINES[0], "stem __import__('os')", *LINES[2:]]), "unknown stem"),
    "a pickle": (pickle.dumps(Runs()).decode("latin-1"), "architecture"),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_a_hostile_architecture(case: str, tmp_path: Path) -> None:
    text, word = ARCHITECTURES[case]
    (tmp_path / "arch.json").write_text(text)
    refused(lambda: find_architecture("arch.json", "sqlite://"), "arch.json", word)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Runs()),
        b"# format: nas-latency-table/1\n" * 100_000,
        b"# format: !!python/object/apply:os.system ['touch hacked']\n",
        b"# format: " + b"x" * 70_000_000,
        b"\0" * 1000,
    ],
)
def test_a_hostile_latency_table(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(data)
    refused(lambda: read_table(Path("table.csv")), "table.csv")


READERS: dict[str, Callable[[Path], object]] = {
    "search space": lambda path: find_space(str(path)),
    "architecture": lambda path: find_architecture(str(path), "sqlite://"),
    "latency table": read_table,
    "header of a latency table": read_origin,
    "journal": read_journal,
    "database": lambda path: open_storage(f"sqlite:///{path}", create=False),
    "database to write to": lambda path: open_storage(f"sqlite:///{path}"),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe_or_reads_a_device(name: str, tmp_path: Path) -> None:
    pipe, device = tmp_path / "pipe.yaml", tmp_path / "device.yaml"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        refused(partial(READERS[name], path), path.name, "device or a pipe")


@pytest.mark.parametrize("name", [name for name in READERS if "database" not in name and "header" not in name])
def test_no_reader_reads_more_than_its_limit(name: str, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as opened:
        opened.truncate(1 << 43)
    refused(lambda: READERS[name](file), file.name, "larger than", "the largest size that is read")


def test_a_file_of_tensors_that_unpacks_to_more_than_memory(tmp_path: Path) -> None:
    tensor_file = pytest.importorskip("nas.train.tensor_file")
    kind = tensor_file.FileKind("weights", 1, ".pt", "remove it", "choose another folder")
    path = tmp_path / "a.pt"
    kind.write(path, {}, {"x": [0] * 1000})
    packed = tmp_path / "b.pt"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in whole.namelist():
            archive.writestr(part, whole.read(part))
    assert kind.read(path, {})["x"] == [0] * 1000
    refused(lambda: kind.read(packed, {}), "b.pt is not a complete weights file")


CONV = "net channels=3 resolution=32 classes=10\\nstem conv k3 s2 c8"
CELLS = ("=cmd|'/C touch hacked'!A0", '=HYPERLINK("http://h/")', "@SUM(1)", "__import__('os').system('touch hacked')")


@pytest.mark.parametrize("cell", CELLS)
def test_a_table_of_accuracies_with_formulas(cell: str, tmp_path: Path) -> None:
    table_file = pytest.importorskip("nas.evaluate.table.file")
    quoted = cell.replace('"', '""')
    (tmp_path / "table.csv").write_text(f'arch,accuracy\nx,"{quoted}"\n')
    frame, _ = table_file.read_file(Path("table.csv"))
    assert frame["accuracy"].tolist() == [cell]
    refused(lambda: table_file.read_numbers(frame["accuracy"]), "is not a number")


def test_a_table_that_unpacks_to_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_file = pytest.importorskip("nas.evaluate.table.file")
    monkeypatch.setattr(table_file, "MOST_BYTES", 10_000)
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"arch,accuracy\n" + b"x,1\n" * 1_000_000))
    refused(lambda: table_file.read_file(Path("table.csv.gz")), "when it is unpacked")


def test_a_parquet_file_with_pickles_in_it(tmp_path: Path) -> None:
    table_file = pytest.importorskip("nas.evaluate.table.file")
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pickled = pickle.dumps(Runs())
    # What pyarrow before 14.0.1 unpickled on reading.
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickled}
    fields = [arrow.field("arch", arrow.binary()), arrow.field("accuracy", arrow.binary(), metadata=extension)]
    table = arrow.table([[pickled], [pickled]], schema=arrow.schema(fields))
    parquet.write_table(table, tmp_path / "table.parquet")
    frame, _ = table_file.read_file(Path("table.parquet"))
    refused(lambda: table_file.read_numbers(frame["accuracy"]), "is not a number")


def test_a_parquet_file_with_hostile_notes_for_pandas(tmp_path: Path) -> None:
    table_file = pytest.importorskip("nas.evaluate.table.file")
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    notes = {"columns": [{"name": "accuracy", "numpy_type": TOUCH, "pandas_type": "object"}], "index_columns": [{}]}
    schema = arrow.schema([arrow.field("accuracy", arrow.float64())], metadata={b"pandas": json.dumps(notes).encode()})
    parquet.write_table(arrow.table([[0.5]], schema=schema), tmp_path / "table.parquet")
    refused(lambda: table_file.read_file(Path("table.parquet")), "cannot be read")


def torch_zip(path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"format": 1, "described": "{}", "tensors": Runs()}, path)


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Runs()))


def inside_json(path: Path) -> None:
    torch, supernet_file = pytest.importorskip("torch"), pytest.importorskip("nas.evaluate.supernet.checkpoint")
    torch.save({"format": supernet_file.KIND.format, "described": "[" * 100_000, "tensors": []}, path)


@pytest.mark.parametrize("write", [torch_zip, bare_pickle, inside_json])
def test_a_supernets_file_that_runs_code(write: Callable[[Path], None], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    supernet_file = pytest.importorskip("nas.evaluate.supernet.checkpoint")
    write(tmp_path / "weights.pt")
    refused(lambda: supernet_file.read_checkpoint(Path("weights.pt"), {}), "weights.pt is not a complete supernet file")
