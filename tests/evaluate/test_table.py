"""Tables of accuracies: every form of a table is read back as it was written, and every mistake is an error."""

import gzip
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.code import format_json, format_text
from nas.arch.spec import Architecture, Stage
from nas.errors import DataError, EvaluationError, MissingPackageError
from nas.evaluate.base import Evaluator, HasMetadata, Limited, Timed
from nas.evaluate.table import file
from nas.evaluate.table.evaluator import TableEvaluator, read_table
from nas.evaluate.table.rows import canonical_by_runs
from nas.space.decode import SearchSpace
from nas.space.files import find_space, space_names
from nas.space.inverse import Inverse
from nas.space.schema import read_space
from tests.contracts.evaluator import EvaluatorContract
from tests.strategies import architectures

# 96 combinations; two operators are the same convolution, and a stage may be absent.
SMALL = """
net: channels=3 resolution=32 classes=10 padding=symmetric bn=0.01/0.001 drop_path=0 act=relu
stem: conv k3 s2 c8
head: conv c16 dropout=0
stages:
  - {operator: [conv, fused e1, mbconv e3], stride: 1, kernel: [3, 5], channels: [8, 16]}
  - {name: last, operator: [absent, mbconv e3], stride: 1, kernel: 3, se: [0, 0.25], channels: 16, layers: [1, 2]}
"""
OPEN = ("stage1.operator", "stage1.kernel", "stage1.channels", "last.operator", "last.se", "last.layers")
ChoiceIndices = tuple[int, ...]


@cache
def small() -> SearchSpace:
    space = read_space(yaml.safe_load(SMALL), "small.yaml", "small")
    assert tuple(choice.name for choice in space.choices) == OPEN
    return space


def network(indices: ChoiceIndices) -> Architecture:
    return canonical(small().from_indices(indices))


def digits_of(indices: ChoiceIndices) -> str:
    return "".join(str(p) for p, choice in zip(indices, small().all_choices, strict=True) if len(choice.values) > 1)


# For each form, the cells by which a row names its architecture.
FORMS: Mapping[str, Callable[[ChoiceIndices], dict[str, Any]]] = {
    "digits": lambda indices: {"arch": digits_of(indices)},
    "text": lambda indices: {"architecture": format_text(small().from_indices(indices))},
    "canonical text": lambda indices: {"arch": format_text(network(indices))},
    "json": lambda indices: {"arch": format_json(network(indices))},
    "choices": lambda indices: small().params(indices),
    "floats": lambda indices: {k: v if isinstance(v, str) else float(v) for k, v in small().params(indices).items()},
    "strings": lambda indices: {k: str(v) for k, v in small().params(indices).items()},
}
# For each suffix, the bytes of a frame in a file.
FILES: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": lambda frame: frame.to_csv(index=False).encode(),
    ".CSV": lambda frame: b"\xef\xbb\xbf" + frame.to_csv(index=False, lineterminator="\r\n").encode(),
    ".tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    ".csv.gz": lambda frame: gzip.compress(frame.to_csv(index=False).encode()),
    ".parquet": lambda frame: parquet(frame),
    # As spreadsheet programs write tables where the decimal mark is a comma, and as pandas and R write row numbers.
    ".semicolons.csv": lambda frame: frame.to_csv(index=False, sep=";", decimal=",").encode("utf-8-sig"),
    ".sep.csv": lambda frame: b"sep=;\r\n" + frame.to_csv(index=False, sep=";").encode(),
    ".tabs.csv": lambda frame: frame.to_csv(index=False, sep="\t", decimal=",").encode(),
    ".commas.tsv": lambda frame: frame.to_csv(index=False).encode(),
    ".index.csv": lambda frame: frame.to_csv().encode(),
    ".numbers.csv": lambda frame: frame.set_axis(range(1, len(frame) + 1)).to_csv().encode().removeprefix(b","),
    ".trailing.csv": lambda frame: frame.assign(**{"": ""}).to_csv(index=False, sep=";").encode(),
}


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def write(folder: Path, frame: pd.DataFrame, suffix: str = ".csv") -> Path:
    path = folder / f"table{suffix}"
    path.write_bytes(FILES[suffix](frame))
    return path


@cache
def every_network() -> frozenset[Architecture]:
    return frozenset(network(indices) for indices in small().enumerate())


def accuracies(evaluator: Evaluator, archs: Sequence[Architecture]) -> list[float]:
    return [accuracy for arch in archs for accuracy in evaluator.evaluate(arch, 3)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(list(small().enumerate())), min_size=1, max_size=12),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(sorted(FILES)),
    st.sampled_from([1.0, 100.0]),
    st.data(),
)
def test_a_written_table_is_read_back(
    tmp_path: Path, drawn: list[ChoiceIndices], form: str, suffix: str, full: float, data: st.DataObject
) -> None:
    values = st.floats(0, 1) if full == 1 else st.floats(1, 100, exclude_min=True)
    figures = {network(indices): (data.draw(values), data.draw(values)) for indices in drawn}
    frame = pd.DataFrame([FORMS[form](indices) for indices in drawn])
    for i, name in enumerate(("acc_seed10", "acc_seed2")):
        frame[name] = [figures[network(indices)][i] for indices in drawn]
    evaluator = read_table(write(tmp_path, frame, suffix), small())
    expected = {arch: [pair[1] / full, pair[0] / full] for arch, pair in figures.items()}
    assert evaluator.architectures() == tuple(expected)
    assert accuracies(evaluator, evaluator.architectures()) == [pair[0] for pair in expected.values()]
    for arch, pair in expected.items():
        assert evaluator.metadata(arch) == {"accuracy_mean": pytest.approx(sum(pair) / 2), "accuracy_seeds": pair}


@st.composite
def related_networks(draw: st.DrawFn) -> Architecture:
    """Draw a network from stages of the space in any order and number, some of them changed; it may be in the space."""
    forms = [form for part in small().parts[1:-1] for form in part.forms if isinstance(form, Stage)]
    stages = draw(st.lists(st.sampled_from(forms), min_size=1, max_size=3))
    if draw(st.booleans()):
        kernel, layers, channels = (draw(st.sampled_from(values)) for values in ((3, 5), (1, 2, 3), (8, 16)))
        stages[0] = attrs.evolve(stages[0], kernel=kernel, layers=layers, channels=channels)
    return attrs.evolve(small().from_indices([0] * len(small().all_choices)), stages=tuple(stages))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(related_networks())
def test_a_text_is_accepted_if_some_options_of_the_space_give_its_network(tmp_path: Path, arch: Architecture) -> None:
    path = write(tmp_path, pd.DataFrame({"arch": [format_text(arch)], "acc": [0.5]}))
    if canonical(arch) in every_network():
        assert read_table(path, small()).architectures() == (canonical(arch),)
    else:
        with pytest.raises(DataError, match="is not in space small"):
            read_table(path, small())


def test_rows_of_the_same_network_become_one(tmp_path: Path) -> None:
    conv, fused = "000011", "100011"
    path = write(tmp_path, pd.DataFrame({"arch": [conv, fused, "000100"], "acc": [0.5, 0.5, 0.25]}))
    assert accuracies(read_table(path, small()), read_table(path, small()).architectures()) == [0.5, 0.25]


MIXED = {"arch": ["000100"], "acc_mean": [0.9], "acc_std": [7.5], "acc": [0.25], "acc_seed1": [0.5], "acc_seed0": [0.0]}
COSTS = {name: [1e6] for name in ("macs", "flops", "params", "peak_bytes", "size_bytes", "latency_ms")}


@pytest.mark.parametrize(
    ("frame", "column", "used", "accuracy"),
    [
        (MIXED, "", "acc", 0.25),
        (MIXED, "acc_seed1", "acc_seed1", 0.5),
        (MIXED, "acc_mean", "acc_mean", 0.9),
        ({k: v for k, v in MIXED.items() if k != "acc"}, "", "acc_seed0", 0.0),
        ({k.replace("acc", "accuracy"): v for k, v in MIXED.items()} | COSTS, "", "accuracy", 0.25),
        (MIXED | {"top1": [0.125]}, "top1", "top1", 0.125),
    ],
)
def test_a_search_uses_the_right_column(
    tmp_path: Path, frame: dict[str, Any], column: str, used: str, accuracy: float
) -> None:
    evaluator = read_table(write(tmp_path, pd.DataFrame(frame)), small(), column)
    assert evaluator.describe()["column"] == used
    assert accuracies(evaluator, evaluator.architectures()) == [accuracy]
    assert evaluator.metadata(evaluator.architectures()[0]) == {"accuracy_mean": 0.25, "accuracy_seeds": [0.0, 0.5]}


def test_columns_that_match_a_pattern_are_ignored(tmp_path: Path) -> None:
    frame = pd.DataFrame({"arch": ["000100"], "acc": [0.5], "op0": [1], "op1": [2], "": [0]})
    evaluator = read_table(write(tmp_path, frame), small(), ignore=("op*", ""))
    assert accuracies(evaluator, evaluator.architectures()) == [0.5]
    assert evaluator.metadata(evaluator.architectures()[0]) == {}


def test_frames_with_an_index_and_other_types_are_read(tmp_path: Path) -> None:
    params = pd.DataFrame([small().params(indices) for indices in ((1, 1, 0, 1, 1, 1), (2, 0, 1, 1, 1, 0))])
    frame = params.astype({"stage1.kernel": "int8", "last.se": "float32", "stage1.operator": "category"})
    path = write(tmp_path, frame.assign(acc=np.array([0.5, 0.25], dtype="float32"))[1:], ".parquet")
    assert accuracies(read_table(path, small()), [network((2, 0, 1, 1, 1, 0))]) == [0.25]
    named = pd.DataFrame({"arch": ["000100"], "acc": [0.5]}).set_index("arch")
    assert len(read_table(write(tmp_path, named, ".parquet"), small()).architectures()) == 1


def test_the_description_and_the_protocols_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, pd.DataFrame({"arch": ["000100"], "acc": [0.5]}))
    evaluator = read_table(path, small())
    assert isinstance(evaluator, HasMetadata)
    assert isinstance(evaluator, Limited)
    assert not isinstance(evaluator, Timed)
    assert evaluator.describe() == {
        "evaluator": "table",
        "table": "table.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        "column": "acc",
        "architectures": 1,
        "environment": {"pandas": pd.__version__},
    }


def test_a_network_without_a_row_is_an_error_when_its_accuracy_is_requested(tmp_path: Path) -> None:
    evaluator = read_table(write(tmp_path, pd.DataFrame({"arch": ["000100"], "acc": [0.5]})), small())
    accuracy = evaluator.evaluate(network((2, 1, 1, 1, 1, 1)), 1)
    with pytest.raises(EvaluationError, match=r"table table\.csv has no row for this network: stem conv k3 .*mbconv"):
        next(accuracy)
    assert evaluator.metadata(network((2, 1, 1, 1, 1, 1))) == {}


CSV = "arch,acc"
CHOICES = f"{','.join(OPEN)},acc"
GOOD = "conv,3,8,absent,0,1,0.5"
TEXT = format_text(small().from_indices((2, 0, 0, 1, 0, 0)))
OTHER_SIZE = TEXT.replace("resolution=32", "resolution=64")

# For each mistake, the file, the arguments of `read_table`, and phrases of the message.
MISTAKES: Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "nothing at all": ("", {}, ("there is no row",)),
    "a header alone": (f"{CSV}\n", {}, ("there is no row",)),
    "a short line": (f"{CSV}\n000100,0.5\n000101\n", {}, ("line 3 has 1 fields and the header has 2",)),
    "a long line": (f"{CSV}\n000100,0.5,1\n", {}, ("line 2 has 3 fields",)),
    "an open quote": (f'{CSV}\n"000100,0.5\n', {}, ("the file cannot be read", "unexpected end of data")),
    "a column twice": ("arch,acc,acc\n000100,0.5,0.5\n", {}, ("there are two columns named 'acc'",)),
    "no architecture": ("acc\n0.5\n", {}, ("there is no arch or architecture", *OPEN)),
    "a choice too few": ("stage1.kernel,acc\n3,0.5\n", {}, ("are missing: 'stage1.operator', 'stage1.channels'",)),
    "two columns of architectures": (
        "arch,architecture,acc\n000100,000100,0.5\n",
        {},
        ("'arch', 'architecture'", "keep one way"),
    ),
    "a column of architectures and one of a choice": (
        "arch,last.se,acc\n000100,0,0.5\n",
        {},
        ("'arch', 'last.se'", "keep one way"),
    ),
    "unknown columns": (
        "arch,acc,op0,op1\n000100,0.5,1,2\n",
        {},
        ("unknown columns: 'op0', 'op1'", "--ignore-columns 'op0'", "'op*'"),
    ),
    "a column without a name": ("arch,,acc\n000100,0,0.5\n", {}, ("unknown columns: ''",)),
    "no accuracy": (
        "arch,top1,acc_std\n000100,0.5,0\n",
        {},
        ("no column accuracy, acc, or", "choose 'top1' with --accuracy"),
    ),
    "a mean alone": ("arch,acc_mean\n000100,0.5\n", {}, ("choose 'acc_mean' with --accuracy",)),
    "accuracy ignored": (f"{CSV}\n000100,0.5\n", {"ignore": ("a*c",)}, ("no column accuracy",)),
    "an absent column": (f"{CSV}\n000100,0.5\n", {"column": "top1"}, ("no column of accuracies 'top1'", "'acc'")),
    "a cost as accuracy": ("arch,acc,macs\n000100,0.5,1\n", {"column": "macs"}, ("no column of accuracies 'macs'",)),
    "two kinds": (
        "arch,acc,accuracy\n000100,0.5,0.5\n",
        {},
        ("this table has both: 'acc', 'accuracy'", "keep one kind"),
    ),
    "no number": (f"{CSV}\n000100,0.5\n000101,95%\n", {}, ("line 3: acc is '95%', which is not a number",)),
    "accuracies missing": (
        "arch,acc_seed0,acc_seed1\n000100,0.5,0.5\n000101,0.5,\n\n000110,nan,0.5\n",
        {},
        ("2 of 3 rows lack an accuracy, the first is line 3 with acc_seed1",),
    ),
    "beyond 100": (
        f"{CSV}\n000100,50\n000101,100.5\n",
        {},
        ("line 3 with acc 100.5 is no accuracy", "from 0 to 1, or from 0 to 100 percent"),
    ),
    "infinite": (f"{CSV}\n000100,inf\n", {}, ("line 2 with acc inf",)),
    "negative": (f"{CSV}\n000100,-0.5\n", {}, ("line 2 with acc -0.5",)),
    "mixed": (
        f"{CSV}\n000100,93.5\n000101,0.94\n",
        {},
        ("line 3 with acc 0.94 is a share and line 2 with acc 93.5 a percentage", "as shares, from 0 to 1"),
    ),
    "the same network otherwise": (
        f"{CSV}\n000001,0.5\n000100,0.25\n100000,0.75\n",
        {},
        ("line 2 has acc 0.5 and line 4 has acc 0.75, but they are the same network",),
    ),
    "no option": (
        f"{CHOICES}\n{GOOD}\nconv,7,8,absent,0,1,0.5\n",
        {},
        ("line 3: stage1.kernel is '7', which is not one of its options", "3, 5"),
    ),
    "half an option": (f"{CHOICES}\nconv,3.5,8,absent,0,1,0.5\n", {}, ("line 2: stage1.kernel is '3.5'",)),
    "an empty option": (f"{CHOICES}\n{GOOD}\nconv,3,8,,0,1,0.5\n", {}, ("line 3: last.operator is ''",)),
    "too few digits": (
        f"{CSV}\n100,0.5\n",
        {},
        ("line 2: arch is '100'; it has 3 digits for the 6 open choices", "leading zeros are kept"),
    ),
    "no such digit": (
        f"{CSV}\n300000,0.5\n",
        {},
        ("arch is '300000'; stage1.operator has no option 3", "0 (conv), 1 (fused e1), 2 (mbconv e3)"),
    ),
    "no text": (f"{CSV}\nresnet,0.5\n", {}, ("line 2: arch is 'resnet'; an architecture's text has", "give its text")),
    "no architecture in a row": (f"{CSV}\n000100,0.5\n,0.5\n", {}, ("line 3: arch is ''",)),
    "broken json": (f"{CSV}\n{{}},0.5\n", {}, ("line 2: arch is '{}'; the file has no format",)),
    "a broken line": (
        f'{CSV}\n000100,0.5\n"{TEXT}",0.5\n"{TEXT.replace("mbconv", "mconv", 1)}",0.5\n',
        {},
        (f"line {4 + TEXT.count(chr(10))}: arch is 'net ", "unknown operator 'mconv'"),
    ),
    "another space": (f'{CSV}\n"{TEXT.replace("s2 c8", "s2 c16")}",0.5\n', {}, ("line 2", "is not in space small")),
    "another resolution": (f'{CSV}\n"{OTHER_SIZE}",0.5\n', {}, ("it has resolution 64 and not 32", "--resolution")),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_an_error_in_one_line(tmp_path: Path, case: str) -> None:
    text, arguments, phrases = MISTAKES[case]
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    check_error(path, arguments, phrases)


def check_error(path: Path, arguments: dict[str, Any], phrases: Sequence[str]) -> None:
    """Check that reading the table fails with a message in one line that contains the phrases and a remedy."""
    with pytest.raises(DataError) as caught:
        read_table(path, small(), **arguments)
    error = caught.value
    assert error.problem.startswith(("table mine.", f"table {path}"))
    assert "\n" not in str(error.problem) + error.remedy
    assert error.remedy
    assert len(error.problem) < 400
    for phrase in phrases:
        assert phrase in str(error)


PARQUET_MISTAKES: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no accuracy in a row": ({"arch": ["000100", "000101"], "acc": [0.5, None]}, ("1 of 2", "row 2 with acc")),
    "numbers in place of digits": (
        {"arch": [100, 100101], "acc": [0.5, 0.5]},
        ("row 1: arch is '100'; it has 3 digits",),
    ),
    "lists in place of architectures": ({"arch": [[0, 0, 0, 1, 0, 0]], "acc": [0.5]}, ("row 1: arch is '[",)),
    "lists in place of accuracies": (
        {"arch": ["000100"], "acc": [[0.5, 0.5]]},
        ("row 1: acc is array", "is not a number"),
    ),
    "a bool": ({"arch": ["000100"], "acc": [True]}, ("row 1: acc is True", "is not a number")),
    "an empty choice": (
        {name: [value, None] for name, value in small().params((0,) * 6).items()} | {"acc": [0.5, 0.5]},
        ("row 2: stage1.operator is ", "not one of its options"),
    ),
    "an unknown column": ({"arch": ["000100"], "acc": [0.5], "0": [1]}, ("unknown columns: '0'",)),
}


@pytest.mark.parametrize("case", PARQUET_MISTAKES)
def test_a_mistake_in_a_parquet_file_is_an_error(tmp_path: Path, case: str) -> None:
    columns, phrases = PARQUET_MISTAKES[case]
    path = tmp_path / "mine.parquet"
    path.write_bytes(parquet(pd.DataFrame(columns)))
    check_error(path, {}, phrases)


@pytest.mark.parametrize(
    ("name", "data", "phrase"),
    [
        ("mine.csv", b"arch,acc\n\xff\xfe,0.5\n", "it is not UTF-8 text: line 2 has the byte 0xff"),
        ("mine.csv.gz", b"arch,acc\n000100,0.5\n", "the file cannot be read: BadGzipFile"),
        (
            "mine.csv.gz",
            gzip.compress(b"arch,acc\n000100,0.5\n" * 20, mtime=0)[:-12],
            "the file cannot be read: EOFError",
        ),
        ("mine.parquet", b"arch,acc\n000100,0.5\n", "the file cannot be read: ArrowInvalid"),
        ("mine.xlsx", b"", "the file's name must end in .csv, .csv.gz, .tsv, .parquet"),
        ("mine.csv", None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, name: str, data: bytes | None, phrase: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    check_error(tmp_path / name, {}, [phrase])


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").mkdir()
    check_error(tmp_path / "mine.csv", {}, ["cannot be read"])


def test_digits_are_only_for_choices_of_up_to_ten_options(tmp_path: Path) -> None:
    wide = yaml.safe_load(SMALL)
    wide["stages"][0]["channels"] = [8 * i for i in range(1, 12)]
    space = read_space(wide, "wide.yaml", "wide")
    with pytest.raises(DataError, match="each of which may have up to 10 options"):
        read_table(write(tmp_path, pd.DataFrame({"arch": ["000100"], "acc": [0.5]})), space)


def test_a_parquet_file_without_pyarrow_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, pd.DataFrame({"arch": ["000100"], "acc": [0.5]}), ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pyarrow, which is not installed\n  pip install 'hwnas\[train\]'"):
        read_table(path, small())


def test_a_table_of_the_whole_space_serves_a_space_with_fixed_choices(tmp_path: Path) -> None:
    rows = [(0, 0, 0, 1, 0, 0), (0, 1, 0, 1, 0, 0)]
    frame = pd.DataFrame([small().params(indices) for indices in rows]).assign(acc=0.5)
    fixed = Inverse(small().fix({"stage1.kernel": 3}))
    listed = read_table(write(tmp_path, frame), small()).architectures()
    assert listed == tuple(map(network, rows))
    assert [fixed.indices(arch) for arch in listed] == [rows[0], None]


@pytest.mark.parametrize("name", space_names())
def test_all_architectures_of_a_table_are_in_canonical_form(tmp_path: Path, name: str) -> None:
    space = find_space(name)
    drawn = space.sample(np.random.default_rng(0), 300).tolist()
    frame = pd.DataFrame([space.params(indices) for indices in drawn]).assign(acc=0.5)
    expected = dict.fromkeys(canonical(space.from_indices(indices)) for indices in drawn)
    assert read_table(write(tmp_path, frame), space).architectures() == tuple(expected)


@given(architectures())
def test_the_canonical_form_by_runs_of_stages_is_the_canonical_form(arch: Architecture) -> None:
    assert canonical_by_runs(arch) == canonical(arch)


class TestTableEvaluator(EvaluatorContract):
    epochs = 1

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = write(
            tmp_path, pd.DataFrame({"arch": ["000100", "201111"], "acc_seed0": [50.0, 60.5], "acc_seed1": [51, 61]})
        )

    def evaluator(self) -> TableEvaluator:
        return read_table(self.path, small())

    def architectures(self) -> Sequence[Architecture]:
        return self.evaluator().architectures()


@pytest.fixture(name="macro", scope="module")
def _macro() -> Path:
    folder = os.environ.get("NAS_TEST_DATA")
    if not folder:
        pytest.skip("NAS_TEST_DATA does not name the folder with nasbench_macro.parquet")
    return Path(folder, "nasbench_macro.parquet")


def test_all_of_nasbench_macro_is_read(macro: Path, tmp_path: Path) -> None:
    space, frame = find_space("nasbench_macro"), pd.read_parquet(macro)
    evaluator = read_table(macro, space, ignore=("op*",))
    assert len(evaluator.architectures()) == 3969
    assert evaluator.describe()["column"] == "acc_seed0"
    archs = [space.from_indices([int(digit) for digit in code]) for code in frame["arch"]]
    assert accuracies(evaluator, archs) == (frame["acc_seed0"] / 100).tolist()
    means = [evaluator.metadata(arch)["accuracy_mean"] for arch in archs]
    np.testing.assert_allclose(means, frame["acc_mean"] / 100, atol=1e-6)
    seeds = [evaluator.metadata(arch)["accuracy_seeds"] for arch in archs]
    np.testing.assert_array_equal(seeds, frame[["acc_seed0", "acc_seed1", "acc_seed2"]] / 100)
    again = read_table(write(tmp_path, frame.drop(columns=["op0", "op1"])), space, "acc_seed2", ["op?"])
    assert again.architectures() == evaluator.architectures()
    assert accuracies(again, archs) == (frame["acc_seed2"] / 100).tolist()
    assert json.dumps(dict(again.metadata(archs[0]))) == json.dumps(dict(evaluator.metadata(archs[0])))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).symlink_to("/dev/zero")], ids=["pipe", "device"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_devices_and_pipes_are_refused_at_once(make: Callable[[Path], None], suffix: str, tmp_path: Path) -> None:
    make(tmp_path / f"mine{suffix}")
    check_error(tmp_path / f"mine{suffix}", {}, ["only regular files are read"])


def test_a_small_parquet_file_of_many_gigabytes_is_refused(tmp_path: Path) -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"arch": text, "acc": [0.5] * 10_000}), path, store_schema=False)
    assert path.stat().st_size < 1_000_000
    check_error(path, {}, ["larger than 200,000,000 bytes when it is unpacked"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_number_of_cells_is_bounded(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MOST_CELLS", 5)
    path = write(tmp_path, pd.DataFrame({"arch": ["000100"] * 3, "acc": [0.5] * 3}), suffix).rename(
        tmp_path / f"mine{suffix}"
    )
    check_error(path, {}, ["the table has more than 5 cells"])


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("percent", ["0.4", "0.9"], [0.004, 0.009]),
        ("percent", ["0.4", "90"], [0.004, 0.9]),
        ("share", ["0.4", "0.9"], [0.4, 0.9]),
        ("share", ["0.4", "90"], "acc 90 is no accuracy"),
        ("auto", ["0.4", "90"], "give --accuracy-unit percent"),
    ],
)
def test_the_unit_of_accuracies_can_be_given(
    unit: str, values: list[str], expected: list[float] | str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "arch,acc\n" + "".join(f"{code},{value}\n" for code, value in zip(("000000", "010000"), values, strict=True))
    )
    if isinstance(expected, str):
        check_error(path, {"unit": unit}, [expected])
        return
    table = read_table(path, small(), unit=unit)
    assert [row.accuracy for row in table.rows.values()] == pytest.approx(expected)
    assert table.describe().get("unit") == (None if unit == "auto" else unit)
