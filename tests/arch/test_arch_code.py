"""Tests of the text and JSON forms: exact inverses, and an ArchitectureError for every invalid input."""

import json
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.code import format_json, format_part, format_text, parse_json, parse_part, parse_text
from nas.arch.presets import preset, preset_names
from nas.arch.spec import ACTIVATIONS, Architecture, Gate, MaxPoolStem, MlpHead, Norm, Part, Stage
from nas.errors import ArchitectureError
from tests.strategies import architectures, heads, stages, stems

_TEXT = format_text(preset("efficientnet-b0"))
_JSON = format_json(preset("efficientnet-b0"))
_PARSERS: list[Callable[[str], Architecture]] = [parse_text, parse_json]


def error_message(parse: Callable[[str], object], text: str) -> str:
    """Return the error message of the parser; require an ArchitectureError with a problem and a remedy."""
    with pytest.raises(ArchitectureError) as caught:
        parse(text)
    assert caught.value.problem.strip()
    assert caught.value.remedy.strip()
    return str(caught.value)


def check_parser(parse: Callable[[str], Architecture], text: str) -> None:
    """Require an architecture whose text parses to an equal one, or an ArchitectureError with a remedy."""
    try:
        arch = parse(text)
    except ArchitectureError:
        error_message(parse, text)
        return
    assert parse_text(format_text(arch)) == arch
    assert parse_json(format_json(arch)) == arch


@given(architectures())
@settings(deadline=None, max_examples=100)
def test_text_and_json_are_exact_inverses(arch: Architecture) -> None:
    text, file = format_text(arch), format_json(arch)
    assert parse_text(text) == arch
    assert parse_json(file) == arch
    assert format_text(parse_text(text)) == text
    assert format_json(parse_json(file)) == file


@given(st.floats(0, 1), st.floats(1e-12, 1), st.floats(0, 0.99), st.floats(1, 100), st.floats(1e-6, 1))
def test_every_allowed_number_is_written_and_read_exactly(
    momentum: float, eps: float, rate: float, expansion: float, ratio: float
) -> None:
    b0 = preset("efficientnet-b0")
    stage = Stage("mbconv", 2**31 - 1, layers=1000, kernel=99, expansion=expansion, gate=Gate(ratio))
    arch = Architecture(b0.stem, (stage,), b0.head, norm=Norm(momentum, eps), drop_path=rate)
    assert parse_text(format_text(arch)) == arch
    assert parse_json(format_json(arch)) == arch


@given(stems() | stages() | heads(), st.sampled_from(ACTIVATIONS))
@settings(max_examples=200)
def test_the_line_of_a_part_is_an_exact_inverse_for_every_default_activation(part: Part, activation: str) -> None:
    line = format_part(part, activation)
    assert parse_part(line, activation) == part
    assert format_part(parse_part(line, activation), activation) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("", "unknown operator ''"),
        ("net resolution=32", "unknown operator 'net'"),
        ("mbconw c8", "mbconw"),
        ("mbconv k3", "channels is missing"),
        ("mbconv k4 c8", "kernel"),
        ("conv c8 e6", "expansion"),
        ("conv c8 c8", "channels a second time"),
        ("conv c8\nconv c8", "'conv' is not known"),
        ("stem", "unknown stem ''"),
        ("stem pool", "unknown stem 'pool'"),
        ("stem conv k3 se0.25", "'se0.25'"),
        ("head conv", "channels is missing"),
        ("head pool c8", "'c8'"),
        ("head pool dropout=1", "dropout"),
        ("head mlp c8", "features is missing"),
        ("head mlp c8 f0", "features"),
        ("stem maxpool k7", "channels is missing"),
        ("basic c8 e2", "expansion"),
        ("bottleneck c8 projskip noskip", "skip a second time"),
        ("mbconv c8 div65", "divisor"),
        ("mbconv c8 div0", "divisor"),
        ("conv c8 div8", "divisor"),
        ("conv c8 se0.5:div65", "divisor"),
        ("conv c8 se0.5:div0", "divisor"),
        ("conv c8 se0.5:div8:div8", "divisor a second time"),
    ],
)
def test_an_invalid_part_is_rejected_with_its_given_name(line: str, shown: str) -> None:
    message = error_message(lambda text: parse_part(text, where="row 7"), line)
    assert message.startswith("row 7: ")
    assert shown in message


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_written_and_read_exactly(name: str) -> None:
    assert parse_text(format_text(preset(name))) == preset(name)
    assert parse_json(format_json(preset(name))) == preset(name)


def test_one_line_of_text_is_one_stage() -> None:
    assert _TEXT.splitlines() == [
        "net channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0.2 act=silu",
        "stem conv k3 s2 c32",
        "mbconv r1 k3 s1 e1 c16 se0.25",
        "mbconv r2 k3 s2 e6 c24 se0.25",
        "mbconv r2 k5 s2 e6 c40 se0.25",
        "mbconv r3 k3 s2 e6 c80 se0.25",
        "mbconv r3 k5 s1 e6 c112 se0.25",
        "mbconv r4 k5 s2 e6 c192 se0.25",
        "mbconv r1 k3 s1 e6 c320 se0.25",
        "head conv c1280 dropout=0.2",
    ]


@given(architectures(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_tokens_are_read_in_any_order(arch: Architecture, shuffler: random.Random) -> None:
    lines = []
    for line in format_text(arch).splitlines():
        fixed = 2 if line.startswith(("stem", "head")) else 1
        words = line.split()
        tokens = words[fixed:]
        shuffler.shuffle(tokens)
        lines.append(" ".join(words[:fixed] + tokens))
    assert parse_text("\n".join(lines)) == arch


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# B0\n\n" + text.replace("\n", "   # a comment\n\n  \t\n") + "\n\n",
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n   ").replace(" ", "  "),
    ],
    ids=["comments and blank lines", "tabs", "windows lines", "indents"],
)
def test_white_space_and_comments_are_ignored(change: Callable[[str], str]) -> None:
    assert parse_text(change(_TEXT)) == preset("efficientnet-b0")


def test_omitted_tokens_have_their_default() -> None:
    arch = parse_text("net\nstem conv c8\nmbconv c16 e6 se0.25:expanded:hard_sigmoid relu6 noskip\nhead pool")
    assert arch.stages == (
        Stage(
            "mbconv",
            16,
            expansion=6,
            gate=Gate(0.25, "expanded", "relu6", "hard_sigmoid"),
            skip="none",
            activation="relu6",
        ),
    )
    assert (arch.stem.activation, arch.stem.kernel, arch.stem.stride) == ("relu", 3, 2)
    assert (arch.resolution, arch.classes, arch.in_channels, arch.padding) == (224, 1000, 3, "symmetric")


def test_the_divisor_of_a_gate_is_written_last_unless_it_is_1() -> None:
    gate = Gate(0.25, "expanded", "relu", "hard_sigmoid", 8)
    stage = Stage("mbconv", 16, expansion=6, gate=gate, activation="silu")
    line = "mbconv r1 k3 s1 e6 c16 se0.25:expanded:relu:hard_sigmoid:div8 silu"
    assert format_part(stage, "relu") == line
    assert parse_part(line) == stage
    assert parse_part(line.replace("div8", "div1")) == attrs.evolve(stage, gate=attrs.evolve(gate, divisor=1))
    assert ":div" not in format_part(attrs.evolve(stage, gate=Gate(0.25)), "relu")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("stem maxpool k7 s2 c64", MaxPoolStem(64)),
        ("head mlp c960 f1280 dropout=0.2 hard_swish", MlpHead(960, 1280, 0.2, "hard_swish")),
        ("basic r2 k3 s2 c128 projskip", Stage("basic", 128, 2, stride=2, skip="projection")),
        ("bottleneck r3 k3 s1 e4 c256", Stage("bottleneck", 256, 3, expansion=4)),
    ],
)
def test_a_line_describes_its_part(line: str, part: Part) -> None:
    assert parse_part(line) == part
    assert format_part(part, "relu") == line


def test_the_activation_of_the_first_line_is_the_default_of_all_parts() -> None:
    arch = parse_text("net act=silu\nstem conv c8\nconv c16 se0.5\nconv c16 relu\nhead conv c32 linear")
    assert [arch.stem.activation, *(stage.activation for stage in arch.stages)] == ["silu", "silu", "relu"]
    assert arch.stages[0].gate == Gate(0.5, activation="silu")
    assert getattr(arch.head, "activation", None) == "linear"


_BROKEN_TEXT = [
    ("resolution=224", "resolution=0", "line 1", "resolution"),
    ("resolution=224", "resolution=2.5", "line 1", "resolution=2.5"),
    ("resolution=224", "resolution=224 resolution=32", "line 1", "resolution a second time"),
    ("bn=0.01/0.001", "bn=0.01", "line 1", "bn=0.01"),
    ("bn=0.01/0.001", "bn=5/0.001", "line 1", "momentum"),
    ("act=silu", "act=gelu", "line 1", "act=gelu"),
    ("drop_path=0.2", "drop_path=1", "line 1", "drop_path"),
    ("drop_path=0.2", "drop_path=nan", "line 1", "drop_path=nan"),
    ("drop_path=0.2", "drop_path=1e999", "line 1", "drop_path"),
    ("channels=3", "channels=3;resolution=32", "line 1", "channels=3;resolution=32"),
    ("stem conv", "stem pool", "line 2", "'pool'"),
    ("stem conv k3", "stem conv k4", "line 2", "kernel"),
    ("stem conv k3", "stem conv k٣", "line 2", "k٣"),
    ("s2 c32", "s2", "line 2", "channels is missing"),
    ("s2 c32", "s2 c32 e6", "line 2", "'e6'"),
    ("mbconv r1", "mbconw r1", "line 3", "mbconw"),
    ("r1 k3 s1 e1 c16", "r0 k3 s1 e1 c16", "line 3", "layers"),
    ("r1 k3 s1 e1 c16", "r1001 k3 s1 e1 c16", "line 3", "layers"),
    ("r1 k3 s1 e1 c16", "r1 k3 s1 e1", "line 3", "channels is missing"),
    ("e1 c16", "e0.5 c16", "line 3", "expansion"),
    ("e1 c16", "e-1 c16", "line 3", "'e-1'"),
    ("e1 c16", "e1 c9999999999999", "line 3", "c9999999999999"),
    ("e1 c16", "e1 c9999999999", "line 3", "channels"),
    ("c16 se0.25", "c16 se2", "line 3", "ratio"),
    ("c16 se0.25", "c16 se0.25:gelu", "line 3", "se0.25:gelu"),
    ("c16 se0.25", "c16 se0.25:relu:relu6", "line 3", "a second time"),
    ("c16 se0.25", "c16 se0.25 se0.5", "line 3", "gate a second time"),
    ("c16 se0.25", "c16 noskip poolskip", "line 3", "skip a second time"),
    ("mbconv r2 k3 s2 e6 c24", "conv r2 k3 s2 e6 c24", "line 4", "expansion"),
    ("c24 se0.25", "c24 relu silu", "line 4", "activation a second time"),
    ("head conv", "head dense", "line 10", "'dense'"),
    ("head conv c1280", "head conv", "line 10", "channels is missing"),
    ("head conv c1280", "head pool c1280", "line 10", "'c1280'"),
    ("dropout=0.2", "dropout=1", "line 10", "dropout"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "shown"), _BROKEN_TEXT)
def test_invalid_text_is_rejected_with_its_line_number(right: str, wrong: str, line: str, shown: str) -> None:
    assert right in _TEXT
    message = error_message(parse_text, _TEXT.replace(right, wrong, 1))
    assert message.startswith(f"{line}:")
    assert shown in message


_LINES = _TEXT.splitlines()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["net"],
        _LINES[1:],
        _LINES[:1] + _LINES[2:],
        _LINES[:-1],
        _LINES[:2] + _LINES[-1:],
        _LINES + _LINES[-1:],
        _LINES[:3] + _LINES[-1:] + _LINES[3:],
        [*_LINES[:2], "head pool", *_LINES[2:]],
        ["# net", *_LINES[1:]],
    ],
    ids=["empty", "net", "no net", "no stem", "no head", "no stage", "two heads", "stages after", "early", "comment"],
)
def test_text_without_all_its_lines_in_order_is_rejected(lines: list[str]) -> None:
    assert "'net …'" in error_message(parse_text, "\n".join(lines))


def test_a_second_net_line_is_rejected_as_an_unknown_operator() -> None:
    assert "line 3: unknown operator 'net'" in error_message(
        parse_text, "\n".join([*_LINES[:2], _LINES[0], *_LINES[2:]])
    )


def changed(path: tuple[str | int, ...], value: Any) -> str:
    data = json.loads(_JSON)
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(data)


_BROKEN_JSON: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("format",), "nas-architecture/99", "nas-architecture/1"),
    (("resolution",), "224", "resolution"),
    (("resolution",), 224.0, "resolution"),
    (("resolution",), True, "resolution"),
    (("drop_path",), 10**400, "drop_path"),
    (("drop_path",), float("nan"), "drop_path"),
    (("padding",), ["same"], "padding"),
    (("weights",), 1, "'weights'"),
    (("norm",), 0.1, "norm"),
    (("norm",), {"momentum": 0.1, "decay": 1}, "norm: 'decay'"),
    (("norm", "eps"), 0, "norm: norm eps"),
    (("stem",), None, "stem"),
    (("stem", "kind"), "dense", "stem: kind is 'dense'"),
    (("stem", "kind"), [], "stem: kind is []"),
    (("stem", "kind"), {"a": 1}, "stem: kind"),
    (("stem", "kernel"), 4, "stem: convstem kernel is 4"),
    (("head",), {"kind": "conv"}, "head: channels is missing"),
    (("head",), {"kind": "pool", "channels": 3}, "head: 'channels'"),
    (("stages",), [], "stage"),
    (("stages",), None, "stages[0]"),
    (("stages",), {}, "stages[0]"),
    (("stages", 2), "mbconv", "stages[2]"),
    (("stages", 2, "operator"), "mbconw", "stages[2]: stage operator is 'mbconw'"),
    (("stages", 2, "kernel"), 4, "stages[2]: stage kernel is 4"),
    (("stages", 2, "colour"), 4, "stages[2]: 'colour'"),
    (("stages", 2, "gate"), 0.25, "stages[2].gate"),
    (("stages", 2, "gate"), {}, "stages[2].gate: ratio is missing"),
    (("stages", 2, "gate", "of"), "output", "stages[2].gate: gate of is 'output'"),
    (("x" * 10_000,), 1, "xxx"),
    (("padding",), "x" * 100_000, "xxx"),
]


@pytest.mark.parametrize(("path", "value", "shown"), _BROKEN_JSON)
def test_invalid_json_is_rejected_with_its_key_in_a_short_message(
    path: tuple[str | int, ...], value: Any, shown: str
) -> None:
    message = error_message(parse_json, changed(path, value))
    assert shown in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"net"',
        "{}",
        "\0",
        "\ufeff{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        _TEXT,
    ],
)
def test_a_file_without_an_architecture_is_rejected(text: str) -> None:
    assert len(error_message(parse_json, text)) < 400


@pytest.mark.parametrize("key", [*json.loads(_JSON), "operator"])
def test_required_keys_are_required_and_others_have_a_default(key: str) -> None:
    data = json.loads(_JSON)
    required = key in ("format", "stem", "stages", "head", "operator")
    (data["stages"][0] if key == "operator" else data).pop(key)
    if required:
        assert key in error_message(parse_json, json.dumps(data))
    else:
        parse_json(json.dumps(data))


@pytest.mark.parametrize("parse", _PARSERS)
@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_parsed_or_rejected(parse: Callable[[str], Architecture], text: str) -> None:
    check_parser(parse, text)


_OTHER_WORDS = "dsconv fused conv pool noskip poolskip relu e1.5 se0 se1:expanded k c-1 # s9 é"
_WORDS = sorted({word for line in [*_LINES, _OTHER_WORDS] for word in line.split()})


@given(st.lists(st.lists(st.sampled_from(_WORDS), max_size=7), max_size=4))
@settings(deadline=None, max_examples=200)
def test_any_mixture_of_words_is_parsed_or_rejected(lines: list[list[str]]) -> None:
    text = ["net", "stem conv c8", *(" ".join(["mbconv c8", *line]) for line in lines), "head pool"]
    check_parser(parse_text, "\n".join(text))
    check_parser(parse_text, "\n".join(" ".join(line) for line in lines))


@given(st.integers(0, len(_TEXT)), st.integers(0, 12), st.text(max_size=6))
@settings(deadline=None, max_examples=200)
def test_any_damaged_text_is_parsed_or_rejected(start: int, length: int, put: str) -> None:
    check_parser(parse_text, _TEXT[:start] + put + _TEXT[start + length :])


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PATHS: list[tuple[str | int, ...]] = [
    *((key,) for key in json.loads(_JSON)),
    *((end, key) for end in ("stem", "head", "norm") for key in json.loads(_JSON)[end]),
    *(("stages", 1, key) for key in json.loads(_JSON)["stages"][1]),
    *(("stages", 1, "gate", key) for key in json.loads(_JSON)["stages"][1]["gate"]),
]


@given(st.sampled_from(_PATHS), _ANY_JSON)
@settings(deadline=None, max_examples=200)
def test_any_value_in_a_file_is_parsed_or_rejected(path: tuple[str | int, ...], value: Any) -> None:
    check_parser(parse_json, changed(path, value))
