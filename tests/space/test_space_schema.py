"""Tests of the files of search spaces: what their keys mean, and the error messages of invalid files."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.layers import walk
from nas.arch.spec import ConvHead, ConvStem, Gate, MaxPoolStem, MlpHead, PoolHead, Stage
from nas.errors import SpaceError
from nas.files import shipped_folder
from nas.space.decode import SearchSpace
from nas.space.schema import load_space, read_space

_FILE = """
net: {net}
stem: {stem}
head: {head}
{top}
defaults: {defaults}
stages:
  - {stage}
"""
_VALID = {
    "net": "channels=3 resolution=32 classes=10 act=relu",
    "stem": "conv k3 s1 c8",
    "head": "conv c16",
    "top": "",
    "defaults": "{operator: mbconv}",
    "stage": "{channels: 8, kernel: [3, 5]}",
}


def write_space(folder: Path, **changes: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(_FILE.format(**_VALID | changes), encoding="utf-8")
    return path


def error_of(path: Path) -> SpaceError:
    """Return the error of loading a file; require that it names the file, is short and has a remedy."""
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy
    assert len(caught.value.problem) < 1000
    return caught.value


def forms(path: Path) -> list[Any]:
    return list(load_space(path).parts[1].forms)


def test_the_file_that_the_invalid_files_derive_from_is_valid(tmp_path: Path) -> None:
    space = load_space(write_space(tmp_path))
    assert (space.name, space.source, space.baselines, space.size) == ("own", "", (), 2)
    assert forms(write_space(tmp_path)) == [Stage("mbconv", 8, kernel=3), Stage("mbconv", 8, kernel=5)]


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("{channels: [8, 16]}", [Stage("mbconv", 8), Stage("mbconv", 16)]),
        ("{channels: {of: 16, times: [0.75, 1.25]}}", [Stage("mbconv", 16), Stage("mbconv", 24)]),
        ("{channels: 8, layers: {of: 1, plus: [-1, 0, 2]}}", [Stage("mbconv", 8), Stage("mbconv", 8, layers=3)]),
        ("{channels: 8, se: [0, 0.25]}", [Stage("mbconv", 8), Stage("mbconv", 8, gate=Gate(0.25))]),
        ("{channels: 8, se: ['0.5:expanded']}", [Stage("mbconv", 8, gate=Gate(0.5, "expanded"))]),
        ("{channels: 8, skip: [identity, none]}", [Stage("mbconv", 8), Stage("mbconv", 8, skip="none")]),
        ("{channels: 8, expansion: [1, 1.5]}", [Stage("mbconv", 8), Stage("mbconv", 8, expansion=1.5)]),
        (
            "{channels: 8, expansion: 1.5, divisor: [1, 8]}",
            [Stage("mbconv", 8, expansion=1.5), Stage("mbconv", 8, expansion=1.5, divisor=8)],
        ),
        (
            "{channels: 8, operator: [mbconv, inverted, inverted e3 div8]}",
            [Stage("mbconv", 8), Stage("inverted", 8), Stage("inverted", 8, expansion=3, divisor=8)],
        ),
        ("{channels: 8, stride: [1, 2]}", [Stage("mbconv", 8), Stage("mbconv", 8, stride=2)]),
        ("{channels: 8, activation: [relu, silu]}", [Stage("mbconv", 8), Stage("mbconv", 8, activation="silu")]),
        ("{channels: 8, se: ['0.25:div8']}", [Stage("mbconv", 8, gate=Gate(0.25, divisor=8))]),
        ("{channels: 8, operator: basic, skip: [projection]}", [Stage("basic", 8, skip="projection")]),
        (
            "{channels: 8, operator: bottleneck, expansion: [2, 4]}",
            [Stage("bottleneck", 8, expansion=e) for e in (2, 4)],
        ),
        ("{channels: 8, operator: [conv, fused k5 e4]}", [Stage("conv", 8), Stage("fused", 8, kernel=5, expansion=4)]),
    ],
)
def test_a_key_makes_these_stages(tmp_path: Path, stage: str, made: list[Stage]) -> None:
    head = "{channels: [16, 24]}"
    assert forms(write_space(tmp_path, stage=stage, head=head)) == made


def test_a_key_of_a_stage_replaces_the_default(tmp_path: Path) -> None:
    path = write_space(
        tmp_path, defaults="{operator: mbconv, kernel: [3, 5], channels: 8}", stage="{kernel: 7, channels: [8, 9]}"
    )
    assert forms(path) == [Stage("mbconv", 8, kernel=7), Stage("mbconv", 9, kernel=7)]


def test_stem_and_head_may_be_mappings_with_choices(tmp_path: Path) -> None:
    path = write_space(
        tmp_path, stem="{channels: [8, 16], kernel: 5}", head="{kind: conv, channels: 32, dropout: [0, 0.2]}"
    )
    space = load_space(path)
    assert space.parts[0].forms == (ConvStem(8, kernel=5), ConvStem(16, kernel=5))
    assert space.parts[-1].forms == (ConvHead(32), ConvHead(32, 0.2))
    assert load_space(write_space(tmp_path, head="pool dropout=0.5")).parts[-1].forms == (PoolHead(0.5),)
    path = write_space(
        tmp_path,
        stem="{kind: maxpool, channels: [64]}",
        head="{kind: mlp, channels: 8, features: {of: 32, times: [1, 2]}}",
    )
    assert load_space(path).parts[0].forms == (MaxPoolStem(64),)
    assert load_space(path).parts[-1].forms == (MlpHead(8, 32), MlpHead(8, 64))


def test_name_source_and_baselines_are_kept(tmp_path: Path) -> None:
    space = load_space(write_space(tmp_path, top="name: mine\nsource: my head\nbaselines: [mnasnet-a1, mobilenetv2]"))
    assert (space.name, space.source, space.baselines) == ("mine", "my head", ("mnasnet-a1", "mobilenetv2"))


_INVALID: list[tuple[dict[str, str], str]] = [
    # keys
    ({"top": "colour: red"}, "'colour'"),
    ({"top": "3: 4"}, "key 3"),
    ({"stage": "{channels: [8, 16], colour: 3}"}, "stages[0]: key 'colour'"),
    ({"stage": "{channels: [8, 16], [1, 2]: 3}"}, "unhashable"),
    ({"stem": "{channels: 8, colour: 3}"}, "stem: key 'colour'"),
    ({"defaults": "{operator: mbconv, colour: 3}"}, "defaults: key 'colour'"),
    ({"stage": "{channels: 8, kernel: [3, 5], kernel: 7}"}, "key 'kernel' is given twice"),
    ({"stage": "{kernel: [3, 5]}"}, "stages[0]: channels is missing"),
    ({"defaults": "{}"}, "stages[0]: operator is missing"),
    ({"stem": "conv k3"}, "stem: channels is missing"),
    ({"head": "{dropout: [0, 0.2]}"}, "head: channels is missing"),
    ({"head": "mlp c8"}, "head: features is missing"),
    ({"head": "{channels: 8, features: 16}"}, "head.features: 'f16'"),
    # kinds of values
    ({"net": "[1, 2]"}, "net: [1, 2] is not text"),
    ({"net": "{resolution: 32}"}, "net: {'resolution': 32} is not text"),
    ({"stem": "3"}, "stem: 3 is not a mapping"),
    ({"stem": "null"}, "stem: None is not a mapping"),
    ({"defaults": "[]"}, "defaults: [] is not a mapping"),
    ({"stage": "mbconv"}, "stages[0]: 'mbconv' is not a mapping"),
    ({"stage": "{channels: [8, [16]]}"}, "stages[0].channels: option [16]"),
    ({"stage": "{channels: [8, true]}"}, "stages[0].channels: option True"),
    ({"stage": "{channels: [8, null]}"}, "stages[0].channels: option None"),
    ({"stage": "{channels: [8, 2001-01-01]}"}, "stages[0].channels: option"),
    ({"top": "name: [a]"}, "name: ['a'] is not text"),
    ({"top": "name: ''"}, "name: '' is not text"),
    ({"top": "source: {1: a, b: c}"}, "source: {1: 'a', 'b': 'c'} is not text"),
    ({"top": "baselines: mnasnet-a1"}, "baselines: 'mnasnet-a1' is not a list of words"),
    ({"top": "baselines: [5]"}, "baselines: [5] is not a list of words"),
    ({"top": "baselines: [resnet-99]"}, "baselines: no preset is called 'resnet-99'"),
    # lists
    ({"stage": "{channels: []}"}, "stages[0].channels: 0 options"),
    ({"stage": "{channels: [8, 16, 8]}"}, "stages[0].channels: an option is given twice"),
    ({"stage": "{channels: 8, expansion: [3, 3.0]}"}, "stages[0].expansion: an option is given twice"),
    ({"stage": f"{{channels: {list(range(1, 1200))}}}"}, "stages[0].channels: 1199 options"),
    ({"stage": f"{{channels: {list(range(1, 201))}, layers: {list(range(1, 201))}}}"}, "40,000 combinations"),
    ({"stage": "{channels: 8}"}, "no choice"),
    ({"stage": "{channels: [8], kernel: [3]}"}, "no choice"),
    # values
    ({"stage": "{channels: [8, 16], operator: foo}"}, "stages[0].operator: unknown operator 'foo'"),
    ({"stage": "{channels: [8, 16], operator: ''}"}, "stages[0].operator: unknown operator ''"),
    ({"stage": "{channels: [8, 16], operator: mbconv q5}"}, "stages[0].operator: 'q5'"),
    ({"stage": "{channels: [8, 16], operator: absent}"}, "stages: every stage may be absent"),
    ({"stage": "{channels: 8, operator: [conv, absent]}"}, "stages: every stage may be absent"),
    ({"stage": "{channels: 8, kernel: [3, 4]}"}, "stages[0]: stage kernel is 4"),
    ({"stage": "{channels: 8, kernel: [3, 3.5]}"}, "stages[0].kernel: 'k3.5'"),
    ({"stage": "{channels: 8, kernel: [3, '5 e6']}"}, "stages[0].kernel: 'e6'"),
    ({"stage": "{channels: [8, 0]}"}, "stages[0]: stage channels is 0"),
    ({"stage": "{channels: [8, -16]}"}, "stages[0].channels: 'c-16'"),
    ({"stage": "{channels: [8, .nan]}"}, "stages[0].channels: 'cnan'"),
    ({"stage": "{channels: [8, .inf]}"}, "stages[0].channels: 'cinf'"),
    ({"stage": "{channels: [8, '١٦']}"}, "stages[0].channels: 'c١٦'"),
    ({"stage": "{channels: [8, 99999999999999999999]}"}, "stages[0].channels"),
    ({"stage": "{channels: [8, 16], layers: 2000000000}"}, "stages[0]: stage layers"),
    ({"stage": "{channels: [8, 16], se: .nan}"}, "stages[0].se: 'senan'"),
    ({"stage": "{channels: [8, 16], se: 2}"}, "gate ratio is 2"),
    ({"stage": "{channels: [8, 16], skip: maybe}"}, "stages[0].skip: unknown option 'maybe'"),
    ({"stage": "{channels: [8, 16], activation: gelu}"}, "stages[0].activation: 'gelu'"),
    ({"stage": "{channels: [8, 16], activation: k5}"}, "stages[0].activation: 'k5'"),
    ({"stage": "{channels: [8, 16], activation: ''}"}, "stages[0].activation: an option is empty"),
    ({"stage": "{channels: 8, operator: conv, expansion: [3, 6]}"}, "stages[0]: stage operator conv has expansion 3"),
    ({"stage": "{channels: 8, operator: [mbconv, conv], expansion: [1, 6]}"}, "conv has expansion 6"),
    ({"net": "resolution=0"}, "net: architecture resolution is 0"),
    ({"net": "resolution=32 resolution=64"}, "net: 'resolution=64' gives resolution a second time"),
    ({"net": "bn=5/5"}, "net: norm momentum is 5"),
    ({"net": "act=gelu"}, "net: 'act=gelu'"),
    ({"stem": "pool"}, "stem: unknown kind 'pool'"),
    ({"stem": "{kind: [conv], channels: 8}"}, "stem: unknown kind ['conv']"),
    ({"stem": "{channels: [8, 0]}"}, "stem: convstem channels is 0"),
    ({"head": "{kind: pool, channels: [8, 16]}"}, "head.channels: 'c8'"),
    ({"head": "pool dropout=1"}, "head: poolhead dropout is 1"),
    # a field given twice
    ({"stage": "{channels: [8, 16], operator: mbconv k5, kernel: 3}"}, "stages[0]: kernel is given by two keys"),
    ({"stage": "{channels: [8, 16], operator: mbconv k5, kernel: [3, 5]}"}, "stages[0]: kernel is given by two keys"),
    ({"stage": "{channels: 8, operator: [mbconv k5, conv], kernel: [3, 5]}"}, "kernel is given by two keys"),
    ({"stage": "{channels: 8, operator: [mbconv silu, conv], activation: [relu]}"}, "activation is given by two keys"),
    # derived options
    ({"stage": "{channels: {of: 16}}"}, "stages[0].channels: {'of': 16}"),
    ({"stage": "{channels: {times: [1, 2]}}"}, "stages[0].channels: {'times': [1, 2]}"),
    ({"stage": "{channels: {of: 16, plus: [1, 2]}}"}, "stages[0].channels"),
    ({"stage": "{channels: {of: 16, times: [1, 2], plus: [1]}}"}, "stages[0].channels"),
    ({"stage": "{channels: {of: 16.5, times: [1, 2]}}"}, "stages[0].channels"),
    ({"stage": "{channels: {of: true, times: [1, 2]}}"}, "stages[0].channels"),
    ({"stage": "{channels: {of: -16, times: [1, 2]}}"}, "stages[0].channels"),
    ({"stage": f"{{channels: {{of: {10**400}, times: [1, 2]}}}}"}, "stages[0].channels"),
    ({"stage": "{channels: {of: 16, times: []}}"}, "stages[0].channels: 0 options"),
    ({"stage": "{channels: {of: 16, times: [1, 1]}}"}, "stages[0].channels: an option is given twice"),
    ({"stage": "{channels: {of: 16, times: [1, two]}}"}, "stages[0].channels.times"),
    ({"stage": "{channels: {of: 16, times: [1, .nan]}}"}, "stages[0].channels.times"),
    ({"stage": "{channels: {of: 16, times: [1, .inf]}}"}, "stages[0].channels.times"),
    ({"stage": "{channels: {of: 16, times: [1, -1]}}"}, "stages[0].channels.times"),
    ({"stage": "{channels: 8, layers: {of: 2, plus: [0, 0.5]}}"}, "stages[0].layers.plus"),
    ({"stage": "{channels: 8, kernel: {of: 3, plus: [0, 2]}}"}, "stages[0].kernel"),
    # names
    ({"stage": "{name: stem, channels: [8, 16]}"}, "stages[0].name: 'stem' is used twice"),
    ({"stage": "{name: two words, channels: [8, 16]}"}, "stages[0].name: 'two words'"),
    ({"stage": "{name: 3, channels: [8, 16]}"}, "stages[0].name: 3"),
    ({"stage": "{name: a, channels: [8, 16]}\n  - {name: a, channels: 8}"}, "stages[1].name: 'a' is used twice"),
]


@pytest.mark.parametrize(("changes", "message"), _INVALID, ids=[message for _, message in _INVALID])
def test_an_invalid_file_is_rejected_with_its_file_and_key(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    assert message in str(error_of(write_space(tmp_path, **changes)))


@pytest.mark.parametrize("key", ["net", "stem", "head", "stages"])
def test_a_missing_key_is_named(key: str) -> None:
    data = yaml.safe_load(_FILE.format(**_VALID))
    del data[key]
    with pytest.raises(SpaceError, match=rf"own\.yaml: {key} is missing"):
        read_space(data, "own.yaml", "own")


@pytest.mark.parametrize("stages", [None, [], {}, "mbconv", 3, [{"channels": [8, 16]}] * 101])
def test_stages_must_be_a_list_that_is_not_empty_and_not_too_long(stages: Any) -> None:
    data = yaml.safe_load(_FILE.format(**_VALID)) | {"stages": stages}
    with pytest.raises(SpaceError, match=r"own\.yaml: stages: .*"):
        read_space(data, "own.yaml", "own")


_BOMB = ", ".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))])
_HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "a word": b"mbconv",
    "a list": b"[1, 2]",
    "null": b"null",
    "object": b"!!python/object/apply:os.system ['exit 1']",
    "object inside": _FILE.format(**_VALID | {"top": "source: !!python/object/apply:os.system ['exit 1']"}).encode(),
    "name of code": _FILE.format(**_VALID | {"top": "source: !!python/name:os.system"}).encode(),
    "own tag": _FILE.format(**_VALID | {"top": "source: !mine x"}).encode(),
    "two documents": (_FILE.format(**_VALID) + "---\na: b").encode(),
    "unclosed": b"stages: [",
    "tabs": b"net:\n\t- x",
    "no such anchor": b"net: *nowhere",
    "merge of a number": b"<<: 5",
    "nul": b"\0",
    "latin-1": "name: Müller".encode("latin-1"),
    "utf-16": _FILE.format(**_VALID).encode("utf-16"),
    "random bytes": bytes(range(256)),
    "deep list": b"[" * 3000,
    "deep mapping": b"{a: " * 3000,
    "deep dashes": b"- " * 3000 + b"x",
    "bad date": _FILE.format(**_VALID | {"top": "source: 2001-99-99"}).encode(),
    "bad tagged int": _FILE.format(**_VALID | {"top": "source: !!int abc"}).encode(),
    "bad tagged empty int": _FILE.format(**_VALID | {"top": "source: !!int ''"}).encode(),
    "bad tagged bool": _FILE.format(**_VALID | {"top": "source: !!bool abc"}).encode(),
    "bad tagged date": _FILE.format(**_VALID | {"top": "source: !!timestamp abc"}).encode(),
    "number of 5000 digits": _FILE.format(**_VALID | {"top": f"source: {'9' * 5000}"}).encode(),
    "itself": _FILE.format(**_VALID | {"top": "source: &a [*a]"}).encode(),
    "itself as a stage": _FILE.format(**_VALID | {"stage": "&s {kernel: *s, channels: 8}"}).encode(),
    "bomb": f"{{{_BOMB}}}".encode(),
    **{
        f"bomb as {key}": _FILE.format(**_VALID | {"top": f"{key}: {{{_BOMB}}}"}).encode()
        for key in ("name", "source", "baselines")
    },
    **{
        f"bomb as {key}": _FILE.format(**_VALID | {key: f"{{{_BOMB}}}"}).encode() for key in ("net", "stem", "defaults")
    },
    "bomb as a stage's name": _FILE.format(**_VALID | {"stage": f"{{name: {{{_BOMB}}}, channels: [8, 9]}}"}).encode(),
    "bomb as an option": _FILE.format(**_VALID | {"stage": f"{{kernel: [{{{_BOMB}}}], channels: [8, 9]}}"}).encode(),
}


@pytest.mark.parametrize("data", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_a_hostile_file_is_rejected_with_a_short_message(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(data)
    error_of(path)


def test_a_folder_is_rejected(tmp_path: Path) -> None:
    assert "cannot be read" in error_of(tmp_path).problem


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "gone.yaml").problem


def test_small_aliases_and_merges_are_read(tmp_path: Path) -> None:
    stage = "&first {channels: [8, 16], kernel: &k [3, 5]}\n  - {<<: *first, kernel: 7}\n  - {channels: 8, kernel: *k}"
    assert load_space(write_space(tmp_path, stage=stage)).size == 4 * 2 * 2


_SHIPPED = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in shipped_folder("search_spaces").glob("*.yaml")
}
_WORDS = [
    "conv",
    "mbconv",
    "absent",
    "mbconv e6",
    "k5",
    "noskip",
    "pool",
    "identity",
    "of",
    "times",
    "plus",
    "name",
    "é",
    "",
]
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(_WORDS)
    | st.text(max_size=4)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_WORDS) | st.integers() | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every place in nested lists and mappings."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in inside for found in [(*at, key), *paths(value, (*at, key))]]


def check_space(space: SearchSpace) -> None:
    """Require that random combinations of an accepted space make architectures."""
    for indices in space.sample(np.random.default_rng(0), 3):
        arch = space.from_indices(indices)
        assert space.architecture(space.params(indices)) == arch
        assert next(walk(arch)).name == "stem"


@given(st.sampled_from(sorted(_SHIPPED)), st.data())
@settings(deadline=None, max_examples=200)
def test_any_changed_space_is_read_or_rejected(name: str, data: st.DataObject) -> None:
    broken = copy.deepcopy(_SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(paths(broken)))
        at = broken
        for key in path[:-1]:
            at = at[key]
        if data.draw(st.booleans()):
            at[path[-1]] = data.draw(_VALUES)
        else:
            del at[path[-1]]
    try:
        space = read_space(broken, "own.yaml", "own")
    except SpaceError as error:
        message = error
    else:
        check_space(space)
        return
    assert message.problem.startswith("own.yaml: ")
    assert message.remedy


_TEXT = _FILE.format(**_VALID | {"top": "name: own"})


@given(st.integers(0, len(_TEXT)), st.integers(0, 10), st.text(max_size=5) | st.sampled_from(list("[]{}&*!|>%@#:-,?")))
@settings(deadline=None, max_examples=200)
def test_any_damaged_file_is_read_or_rejected(start: int, length: int, put: str) -> None:
    text = _TEXT[:start] + put + _TEXT[start + length :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            space = load_space(path)
        except SpaceError as error:
            message = error
        else:
            check_space(space)
            return
        assert message.problem.startswith(str(path))
        assert message.remedy
