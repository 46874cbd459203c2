"""Tests of the file format of latency tables: they are read back, and invalid files are rejected."""

import io
import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import attrs
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.arch.canonical import plain_layer
from nas.arch.code import format_part
from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS, Stage
from nas.cost.correction import KINDS, MAX_ERROR, CheckedError, Correction
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, Origin
from nas.cost.table_builder import make_table
from nas.cost.table_file import (
    COLUMNS,
    HEADER,
    MAX_BYTES,
    format_table,
    parse_table,
    read_origin,
    read_table,
    write_table,
)
from nas.cost.table_plan import TablePlan
from nas.device.machine import Machine
from nas.device.spec import parse_device
from nas.errors import DeviceError, NasError
from tests.cost.fake_meter import MACHINE, FakeMeter
from tests.cost.small_space import chain_of, two_stages
from tests.device.strategies import devices
from tests.strategies import heads, stages, stems

TIMES = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.9f}")) | st.floats(1e-30, 1e-3)
ABOVE_ZERO = st.floats(1e-9, 1e6)
WORDS = st.text(max_size=40)
COUNTS = st.integers(1, 10**9)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Generate any layer in canonical form."""
    part = draw(stages() | stems() | heads())
    shape = Shape(*draw(st.tuples(*[st.integers(1, 400)] * 3)))
    return Layer(plain_layer(attrs.evolve(part, layers=1), shape.channels) if isinstance(part, Stage) else part, shape)


def origins() -> st.SearchStrategy[Origin]:
    """Generate any origin with arbitrary text in its names."""
    machines = st.builds(Machine, WORDS, WORDS, COUNTS, WORDS, WORDS, WORDS, WORDS)
    return st.builds(
        Origin,
        machines,
        devices(),
        WORDS,
        ABOVE_ZERO,
        WORDS,
        COUNTS,
        st.sampled_from(PADDINGS),
        WORDS,
        WORDS,
        COUNTS,
        WORDS,
    )


def corrections() -> st.SearchStrategy[Correction]:
    """Generate any correction, with or without a fit."""
    factors = st.fixed_dictionaries(dict.fromkeys(KINDS, st.floats(-10, 10))).map(MappingProxyType)
    return st.builds(Correction, factors, st.floats(-10, 10), st.none() | st.floats(0, 10), st.integers(0, 1000))


@st.composite
def tables(draw: st.DrawFn) -> LatencyTable:
    """Generate any table of a few layers; some spreads are unknown."""
    found = draw(st.lists(layers(), min_size=1, max_size=5, unique=True))
    times = {layer: draw(TIMES) for layer in found}
    spreads = {layer: draw(st.floats(0, 1e3) | st.just(math.nan)) for layer in found}
    checked = st.builds(CheckedError, st.floats(0, 10), st.floats(0, 10), COUNTS)
    limit = draw(st.just(MAX_ERROR) | st.floats(1e-3, 10))
    return LatencyTable("any", draw(origins()), times, spreads, draw(corrections()), draw(st.none() | checked), limit)


def approximately(value: float | None) -> object:
    """Return a value that compares equal up to the digits that are written."""
    return None if value is None else pytest.approx(value, rel=1e-5, nan_ok=True)


@given(tables())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_is_read_back_to_six_digits(table: LatencyTable) -> None:
    text = format_table(table)
    again = parse_table(text, "any")
    assert format_table(again) == text
    assert again.layers_ms == {layer: approximately(value) for layer, value in table.layers_ms.items()}
    assert again.spread_ms == {layer: approximately(value) for layer, value in table.spread_ms.items()}
    assert (again.origin.device, again.origin.classes) == (table.origin.device, table.origin.classes)
    assert again.origin.reference_ms == approximately(table.origin.reference_ms)
    assert again.correction.error == approximately(table.correction.error)
    assert again.max_error == approximately(table.max_error)
    assert (again.checked is None) == (table.checked is None)
    if again.checked and table.checked:
        assert attrs.astuple(again.checked) == tuple(map(approximately, attrs.astuple(table.checked)))
    assert again.correction.factors == {
        kind: approximately(factor) for kind, factor in table.correction.factors.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """Return a table from `make_table`."""
    partial = tmp_path_factory.mktemp("table") / "two.partial"
    plan = TablePlan(chain_of(two_stages()), "symmetric", networks=8)
    return attrs.evolve(make_table(plan, FakeMeter(noise=0.02), "two", partial), name="two")


def test_a_measured_table_is_read_back_from_its_file(made: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    write_table(path, made)
    again = read_table(path)
    assert again.name == "two"
    assert again.layers_ms == {layer: approximately(value) for layer, value in made.layers_ms.items()}
    assert read_origin(path) == again.origin == attrs.evolve(made.origin, reference_ms=again.origin.reference_ms)
    assert [file.name for file in tmp_path.iterdir()] == ["two.csv"]


def test_pandas_reads_the_same_rows(made: LatencyTable) -> None:
    one = next(iter(made.layers_ms))
    unknown = attrs.evolve(made, spread_ms={**made.spread_ms, one: math.nan})
    frame = pd.read_csv(io.StringIO(format_table(unknown)), comment="#")
    assert ",".join(frame.columns) == COLUMNS
    rows = {tuple(row): (ms, spread) for *row, ms, spread in frame.itertuples(index=False)}
    assert rows == {
        (format_part(layer.part, ""), *attrs.astuple(layer.shape)): (
            approximately(ms),
            approximately(unknown.spread_ms[layer]),
        )
        for layer, ms in made.layers_ms.items()
    }


def test_the_header_has_device_machine_versions_and_fit_in_a_fixed_order(made: LatencyTable) -> None:
    lines = format_table(made).split("\n")
    assert [line.removeprefix("# ").partition(":")[0] for line in lines[: len(HEADER)]] == list(HEADER)
    assert "# device: cpu:threads=1,batch=1,precision=fp32" in lines
    assert f"# cpu: {MACHINE.cpu}" in lines
    assert f"# layers: {len(made.layers_ms)}" in lines
    assert lines[len(HEADER)] == COLUMNS
    assert lines[-1] == ""


VALID_TABLE = """\
# format: nas-latency-table/2
# space: small
# classes: 10
# padding: symmetric
# device: cpu:threads=1,batch=1,precision=fp32
# cpu: Simulated 1/2/3
# isa: avx2
# cores: 4
# accelerator:
# system: Linux x86_64
# runtime: 1.99.0
# graph: opset99 operators9
# reference: reference-1
# reference_ms: 2.5
# passes: 2
# adapted_from:
# nas: 0.1.0
# date: 2026-01-01 00:00
# fit_networks: 24
# fit_error: 0.02
# fit_intercept_ms: -0.1
# fit_ends: 1
# fit_dense: 1.02
# fit_depthwise: 0.95
# fit_gated: 0.9375
# fit_pooled: 1e-5
# layers: 4
part,channels,height,width,latency_ms,spread_ms
conv r1 k3 s2 c8 relu,16,16,16,0.0625,0.001
head conv c32 dropout=0 relu,8,8,8,0.5,
mbconv r1 k3 s1 e3 c16 se0.25 poolskip relu,8,8,8,-0.001,0.002
stem conv k3 s2 c8 relu,3,32,32,1.5,0.01
""".replace(":\n", ": \n")
HOSTILE = (
    *("nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999", "1e9999999999", "0x10", "1_000", "+1", " 1", "1 "),
    *("", "-", "-1", "0", "-0", "00", "1e7", "1.00001e7", "9" * 12, "9" * 400, "1." + "9" * 400, "1e-99", "true"),
    *("٤٠", "４", "²", "1,5", "1#5", "\x00", "\ufeff", "None", "1e", ".5", "5.", "1e+5", "1e5", "unknown", "4\u00a0"),
)
SNIPPETS = st.sampled_from([*HOSTILE, *"\n\r\t ,#:=\"'\\.e-0159", "\r\n", "\x1c", "\u2028", "# ", ": ", "r2 ", "se0"])


def spliced(text: str, at: int, length: int, piece: str) -> str:
    return text[:at] + piece + text[at + length :]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Generate a valid table with a few changes."""
    text = VALID_TABLE
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        text = draw(st.sampled_from(DAMAGES))(draw, text)
    return text


Damage = Callable[[st.DrawFn, str], str]


def _replace_text(draw: st.DrawFn, text: str) -> str:
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 6))
    return spliced(text, at, length, draw(SNIPPETS | st.text(max_size=3)))


def _replace_number(draw: st.DrawFn, text: str) -> str:
    spans = [found.span() for found in re.finditer(r"-?[0-9][0-9.e-]*", text)]
    start, end = draw(st.sampled_from(spans or [(0, 0)]))
    number = st.integers(-(10**20), 10**20).map(str) | st.floats().map(repr)
    return spliced(text, start, end - start, draw(st.sampled_from(HOSTILE) | number))


def _change_lines(draw: st.DrawFn, text: str) -> str:
    lines = text.split("\n")
    i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    what = draw(st.sampled_from(["delete", "duplicate", "swap", "move"]))
    if what == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    else:
        line = lines[i] if what == "duplicate" else lines.pop(i)
        if what != "delete":
            lines.insert(j, line)
    return "\n".join(lines)


DAMAGES: tuple[Damage, ...] = (
    _replace_text,
    _replace_text,
    _replace_number,
    _replace_number,
    _change_lines,
    lambda draw, text: text[: draw(st.integers(0, len(text)))],
    lambda draw, text: text[draw(st.integers(0, len(text))) :],
    lambda _draw, text: text.replace("\n", "\r\n"),
    lambda _draw, text: "\ufeff" + text,
    lambda _draw, text: text + text,
)


def plain_content(text: str) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    """Read a table without checks: the header and the sorted rows, with numbers in one form."""
    lines = text.split("\n")
    header = {}
    for line in lines[: len(HEADER)]:
        key, _, value = line.removeprefix("# ").partition(":")
        header[key] = str(parse_device(value)) if key == "device" else _value(value.strip())
    rows = [line.split(",") for line in lines[len(HEADER) + 1 : -1]]
    return header, sorted((*row[:4], *map(_value, row[4:])) for row in rows)


def _value(text: str) -> object:
    return f"{float(text):.6g}" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", text) else text


def rejection(text: str) -> DeviceError | None:
    """Return the error of a rejected text, or None for a valid one, whose table must have the content of the text."""
    try:
        table = parse_table(text, "any")
    except DeviceError as error:
        return error
    assert plain_content(format_table(table)) == plain_content(text)
    assert all(map(math.isfinite, table.layers_ms.values()))
    assert all(value >= 0 or math.isnan(value) for value in table.spread_ms.values())
    assert all(getattr(layer.part, "layers", 1) == 1 for layer in table.layers_ms)
    return None


def check_message(rejected: DeviceError | None) -> None:
    assert rejected is not None
    assert rejected.problem.startswith("latency table any: ")
    assert rejected.remedy
    assert len(rejected.problem) < 1000


def test_a_valid_table_is_read_and_written_unchanged() -> None:
    assert rejection(VALID_TABLE) is None
    assert format_table(parse_table(VALID_TABLE, "any")) == VALID_TABLE


CHECKED = VALID_TABLE.replace(
    "# layers: 4\n",
    "# layers: 4\n# max_error: 0.3\n# checked_networks: 40\n# checked_error: 0.21\n# checked_spread: 0.01\n",
)


def test_the_error_of_a_check_is_kept_and_decides_whether_a_table_is_usable() -> None:
    table = parse_table(CHECKED, "any")
    assert format_table(table) == CHECKED
    assert (table.checked, table.max_error) == (CheckedError(0.21, 0.01, 40), 0.3)
    assert (table.error, table.is_usable) == (0.21, True)
    assert not parse_table(CHECKED.replace("# max_error: 0.3\n", ""), "any").is_usable


@pytest.mark.parametrize(("error", "usable"), [("0.15", True), ("0.151", False), ("unknown", True)])
def test_without_a_check_the_error_of_the_fit_decides(error: str, usable: bool) -> None:
    table = parse_table(VALID_TABLE.replace("fit_error: 0.02", f"fit_error: {error}"), "any")
    assert table.is_usable == usable


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("# checked_error: 0.21\n", ""), "all or none"),
        (("# checked_networks: 40", "# checked_networks: 0"), "line 29"),
        (("# checked_error: 0.21", "# checked_error: nan"), "line 30"),
        (("# max_error: 0.3", "# max_error: 0"), "line 28"),
        (("# checked_spread: 0.01", "# unknown_key: 0.01"), "line 31"),
    ],
)
def test_a_damaged_check_is_rejected(change: tuple[str, str], word: str) -> None:
    with pytest.raises(DeviceError, match=word):
        parse_table(CHECKED.replace(*change), "any")


def test_a_table_of_the_first_format_is_of_the_form_of_that_time(tmp_path: Path) -> None:
    old = VALID_TABLE.replace("table/2", "table/1").replace("# graph: opset99 operators9\n", "")
    (tmp_path / "old.csv").write_text(old)
    table = read_table(tmp_path / "old.csv")
    assert table.origin.machine.graph == "opset20 operators1"
    assert read_origin(tmp_path / "old.csv") == table.origin
    assert format_table(table) == VALID_TABLE.replace("opset99", "opset20").replace("operators9", "operators1")


@given(damaged())
@settings(max_examples=700, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_damaged_table_is_rejected_or_read_as_written(text: str) -> None:
    rejected = rejection(text)
    if rejected is not None:
        check_message(rejected)


@given(st.text(max_size=400))
@settings(max_examples=250)
def test_random_text_is_rejected(text: str) -> None:
    check_message(rejection(text))


@given(st.binary(max_size=200), st.integers(0, len(VALID_TABLE)))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_in_a_file_are_rejected_or_read(tmp_path: Path, piece: bytes, at: int) -> None:
    path = tmp_path / "any.csv"
    data = VALID_TABLE.encode()
    path.write_bytes(data[:at] + piece + data[at:])
    for read in (read_table, read_origin):
        with suppress(DeviceError):
            read(path)


@pytest.mark.parametrize("end", range(0, len(VALID_TABLE), 7))
def test_a_truncated_table_is_rejected(end: int) -> None:
    check_message(rejection(VALID_TABLE[:end]))


STEM = "stem conv k3 s2 c8 relu,3,32,32,1.5,0.01\n"


def test_a_repeated_layer_is_rejected() -> None:
    rejected = rejection(VALID_TABLE.replace("# layers: 4\n", "# layers: 5\n").replace(STEM, STEM + STEM))
    assert "1 of its layers occur twice" in str(rejected)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("# layers: 4\n", "# layers: 5\n", "should have 5 layers"),
        (STEM, "", "should have 4 layers"),
        (STEM, STEM + STEM, "should have 4 layers"),
        (STEM, STEM.replace("1.5", "nan"), "line 32.*number of milliseconds"),
        (STEM, STEM.replace("1.5", "inf"), "line 32.*number of milliseconds"),
        (STEM, STEM.replace("1.5", "1e999"), "line 32"),
        (STEM, STEM.replace("1.5", "1e8"), "line 32.*number of milliseconds"),
        (STEM, STEM.replace("0.01", "-0.01"), "line 32.*not below 0"),
        (STEM, STEM.replace("0.01", "nan"), "line 32"),
        (STEM, STEM.replace(",3,", ",0,"), "line 32.*whole number above 0"),
        (STEM, STEM.replace(",3,", ",٣,"), "line 32.*whole number above 0"),
        (STEM, STEM.replace(" relu", ""), "line 32.*canonical form 'stem conv k3 s2 c8 relu'"),
        (STEM, STEM.replace("k3 s2", "s2 k3"), "line 32.*canonical form"),
        (STEM, STEM.replace("stem", "foot"), "line 32"),
        ("conv r1", "conv r2", "line 29.*a single layer"),
        ("conv r1 k3 s2 c8 relu", "fused r1 k3 s2 e1 c8 relu", "line 29.*canonical form 'conv r1 k3 s2 c8 relu'"),
        ("conv r1 k3 s2 c8 relu", "conv r1 k3 s2 c8 noskip relu", "line 29.*canonical form 'conv r1 k3 s2 c8 relu'"),
        ("0.0625", "0.0625,1", "line 29 has 7 fields"),
        ("\n", "\r\n", "line 1"),
        ("# format", "\ufeff# format", "line 1 "),
        ("table/2", "table/3", "line 1: format is 'nas-latency-table/3'; it should be one of nas-latency-table/2"),
        ("# classes: 10", "# classes: -10", "line 3: classes is '-10'"),
        ("# classes: 10", "# classes: " + "9" * 1500, "line 3: classes"),
        ("symmetric", "none", "line 4: padding"),
        ("cpu:threads=1", "cpu:threads=0", "line 5: device"),
        ("Simulated", "Simu\x00lated", "line 6: cpu"),
        ("_ms: 2.5", "_ms: 0", "line 14: reference_ms is '0'; it should be a number above 0"),
        ("fit_error: 0.02", "fit_error: -0.02", "line 20: fit_error"),
        ("# space", "#space", "line 2 .* should begin with '# space: '"),
        ("part,channels", "channels,part", "line 28 is not"),
        (STEM, STEM[:-1], "its last line is cut short"),
    ],
)
def test_a_broken_rule_is_reported_with_its_line(old: str, new: str, named: str) -> None:
    assert old in VALID_TABLE
    text = VALID_TABLE.replace(old, new)
    with pytest.raises(DeviceError, match=named):
        parse_table(text, "any")
    check_message(rejection(text))


def test_latencies_may_be_negative_and_spreads_unknown() -> None:
    table = parse_table(VALID_TABLE, "any")
    assert min(table.layers_ms.values()) == -0.001
    assert [math.isnan(spread) for spread in table.spread_ms.values()] == [False, True, False, False]


@pytest.mark.parametrize("piece", ["9", "1.", "e6 ", "se0.25:relu", "conv ", " ", ",", "# ", "-", "\u2028", "cpu:"])
@pytest.mark.parametrize("place", ["conv r1", "0.0625", "# space: ", "# device: ", "# format", "# reference_ms: "])
def test_a_line_of_a_megabyte_is_rejected_quickly_with_a_short_message(place: str, piece: str) -> None:
    text = VALID_TABLE.replace(place, place + piece * (1_000_000 // len(piece)), 1)
    begun = time.process_time()
    check_message(rejection(text))
    assert time.process_time() - begun < 2


def test_a_large_missing_or_binary_file_is_rejected(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.csv", tmp_path / "binary.csv"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    binary.write_bytes(VALID_TABLE.encode() + b"\xff\xfe")
    for path, named in ((large, "larger than"), (binary, "not UTF-8 text"), (tmp_path, "cannot be read")):
        with pytest.raises(DeviceError, match=named):
            read_table(path)
    with pytest.raises(DeviceError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


def test_a_missing_folder_is_reported(made: LatencyTable, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="cannot be written"):
        write_table(tmp_path / "none" / "two.csv", made)
