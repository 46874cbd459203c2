"""Architectures as text, one stage a line, and as JSON; both have an exact inverse.

    net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.01/0.001 drop_path=0.2 act=silu
    stem conv k3 s2 c32
    mbconv r1 k3 s1 e1 c16 se0.25
    mbconv r2 k3 s2 e6 c24 se0.25
    head conv c1280 dropout=0.2

Tokens of a line may stand in any order. Left out on writing: an activation that is the net's `act`, the identity skip
(`noskip`, `poolskip` and `projskip` are written), and of a gate what is usual (`se0.25:expanded:relu:hard_sigmoid:div8`
says it all). Other stems and heads than these:

    stem maxpool k7 s2 c64
    head mlp c960 f1280 dropout=0.2
    head pool dropout=0
"""

import json
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from attrs import frozen

from nas.arch.spec import (
    ACTIVATIONS,
    EXPANDING_OPERATORS,
    GATE_WIDTHS,
    GATES,
    MOST_LAYERS,
    OPERATORS,
    PADDINGS,
    Architecture,
    ConvHead,
    ConvStem,
    Gate,
    MaxPoolStem,
    MlpHead,
    Norm,
    Part,
    PoolHead,
    Stage,
)
from nas.errors import ArchitectureError

JSON_FORMAT = "nas-architecture/1"
Fields = dict[str, Any]
T = TypeVar("T")


@frozen
class Token:
    """One field's token: `read` turns its text into a value, `write` a value into text ("" leaves it out)."""

    name: str
    pattern: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    example: str

    def match(self, text: str) -> str | None:
        """What the pattern's group captured, None where the token is another field's."""
        found = re.fullmatch(self.pattern, text)
        return found.group(1) if found else None


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[0-9]+", text) else float(text)


_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,20})?(?:e[-+]?[0-9]{1,3})?)"


def _whole(name: str, prefix: str) -> Token:
    return Token(name, prefix + r"([0-9]{1,12})", int, lambda v: f"{prefix}{v}", f"{prefix}3")


def _real(name: str, prefix: str) -> Token:
    return Token(name, prefix + _NUMBER, _number, lambda v: prefix + _text(v), f"{prefix}0.2")


def _word(name: str, words: Mapping[str, str]) -> Token:
    """Words that stand for values; a value without a word is written as nothing."""
    shown = {value: word for word, value in words.items()}
    return Token(name, f"({'|'.join(words)})", words.__getitem__, lambda v: shown.get(v, ""), next(iter(words)))


def _read_gate(text: str) -> Fields | None:
    ratio, *words = text.split(":")
    if float(ratio) == 0:
        return None
    return {"ratio": float(ratio)} | read_tokens(GATE_TOKENS, " ".join(words), where=f"se{text}")


def _write_gate(gate: Fields | None) -> str:
    if gate is None:
        return ""
    return ":".join([f"se{_text(gate['ratio'])}", *write_tokens(GATE_TOKENS, gate).split()])


_ACTIVATION = _word("activation", {name: name for name in ACTIVATIONS})

GATE_TOKENS = (
    _word("of", {name: name for name in GATE_WIDTHS}),
    _ACTIVATION,
    _word("gate", {name: name for name in GATES}),
    _whole("divisor", "div"),
)

STAGE_TOKENS = (
    _whole("layers", "r"),
    _whole("kernel", "k"),
    _whole("stride", "s"),
    _real("expansion", "e"),
    _whole("channels", "c"),
    Token("gate", rf"se({_NUMBER[1:-1]}(?::[a-z0-9_]{{1,20}})*)", _read_gate, _write_gate, "se0.25"),
    _word("skip", {"noskip": "none", "poolskip": "pool", "projskip": "projection"}),
    _ACTIVATION,
)
STEM_TOKENS = (_whole("kernel", "k"), _whole("stride", "s"), _whole("channels", "c"), _ACTIVATION)
CONV_HEAD_TOKENS = (_whole("channels", "c"), _real("dropout", "dropout="), _ACTIVATION)
POOL_HEAD_TOKENS = (_real("dropout", "dropout="),)
MLP_HEAD_TOKENS = (_whole("channels", "c"), _whole("features", "f"), _real("dropout", "dropout="), _ACTIVATION)
NET_TOKENS = (
    _whole("in_channels", "channels="),
    _whole("resolution", "resolution="),
    _whole("classes", "classes="),
    Token("padding", f"padding=({'|'.join(PADDINGS)})", str, "padding={}".format, "padding=same"),
    Token(
        "norm",
        rf"bn=({_NUMBER[1:-1]}/{_NUMBER[1:-1]})",
        lambda text: Norm(*map(float, text.split("/"))),
        lambda norm: f"bn={_text(norm.momentum)}/{_text(norm.eps)}",
        "bn=0.1/1e-05",
    ),
    _real("drop_path", "drop_path="),
    Token("activation", f"act=({'|'.join(ACTIVATIONS)})", str, "act={}".format, "act=relu"),
)
Table = Mapping[str, tuple[type[Any], tuple[Token, ...]]]
# What a line's first words stand for; a new kind of stem, head or operator is one more row.
STEMS: Table = {
    "conv": (ConvStem, STEM_TOKENS),
    "maxpool": (MaxPoolStem, STEM_TOKENS),
}
HEADS: Table = {
    "conv": (ConvHead, CONV_HEAD_TOKENS),
    "pool": (PoolHead, POOL_HEAD_TOKENS),
    "mlp": (MlpHead, MLP_HEAD_TOKENS),
}
ENDS: Mapping[str, Table] = {"stem": STEMS, "head": HEADS}


def read_tokens(tokens: Sequence[Token], text: str, *, where: str) -> Fields:
    """The fields that the tokens in `text` give.

    Raises:
        ArchitectureError: a token is unknown or given twice; `where` says in which line or key.
    """
    fields: Fields = {}
    for word in text.split():
        token, captured = _find(tokens, word, where)
        if token.name in fields:
            raise ArchitectureError(f"{where}: {word!r} gives {token.name} a second time", "give each once")
        fields[token.name] = _made(where, partial(token.read, captured), {})
    return fields


def _find(tokens: Sequence[Token], word: str, where: str) -> tuple[Token, str]:
    for token in tokens:
        if (captured := token.match(word)) is not None:
            return token, captured
    known = ", ".join(f"{token.example} ({token.name})" for token in tokens)
    raise ArchitectureError(f"{where}: {reprlib.repr(word)} is not known here", f"use {known}")


def write_tokens(tokens: Sequence[Token], fields: Fields) -> str:
    """The inverse of `read_tokens`; fields that are absent are left out."""
    return " ".join(filter(None, (token.write(fields[token.name]) for token in tokens if token.name in fields)))


def make_stage(operator: str, fields: Fields, activation: str) -> Stage:
    """A stage from an operator and what tokens gave; `activation` fills in where none was given."""
    filled: Fields = {"activation": activation} | fields
    if filled.get("gate") is not None:
        filled["gate"] = Gate(**({"activation": filled["activation"]} | filled["gate"]))
    return Stage(operator=operator, **filled)


def format_stage(stage: Stage, activation: str) -> str:
    """One line of text; an activation equal to `activation` is left out."""
    fields = _fields(stage, activation)
    if stage.operator not in EXPANDING_OPERATORS:
        del fields["expansion"]
    if stage.gate is not None:
        fields["gate"] = _gate_fields(stage.gate, stage.activation)
    return f"{stage.operator} {write_tokens(STAGE_TOKENS, fields)}"


def _gate_fields(gate: Gate, activation: str) -> Fields:
    usual = Gate(gate.ratio, activation=activation)
    fields = attrs.asdict(gate)
    return {k: v for k, v in fields.items() if k == "ratio" or v != getattr(usual, k)}


def _fields(record: Any, activation: str) -> Fields:
    fields = {name: getattr(record, name) for name in attrs.fields_dict(type(record))}
    if fields.get("activation") == activation:
        del fields["activation"]
    return fields


def _format_end(word: str, table: Table, record: Any, activation: str) -> str:
    kind = _kind(table, record)
    return f"{word} {kind} {write_tokens(table[kind][1], _fields(record, activation))}"


def format_part(part: Part, activation: str) -> str:
    """A part's line of text; an activation equal to `activation` is left out."""
    if isinstance(part, Stage):
        return format_stage(part, activation)
    word, table = ("stem", STEMS) if _is_in(STEMS, part) else ("head", HEADS)
    return _format_end(word, table, part, activation)


def format_text(arch: Architecture) -> str:
    """The text form, without a line break at its end; `parse_text` is its exact inverse."""
    activation = arch.stem.activation
    net = _fields(arch, "") | {"activation": activation}
    lines = [
        f"net {write_tokens(NET_TOKENS, net)}",
        *(format_part(part, activation) for part in (arch.stem, *arch.stages, arch.head)),
    ]
    return "\n".join(lines)


def parse_text(text: str) -> Architecture:
    """Read the text form.

    Raises:
        ArchitectureError: naming the line, the rule and the remedy.
    """
    lines = [(number, " ".join(line.split("#")[0].split())) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if len(lines) > MOST_LAYERS:
        raise ArchitectureError(
            f"the text has {len(lines):,} lines", f"an architecture has at most {MOST_LAYERS:,} layers"
        )
    words = [line.split()[0] for _, line in lines]
    if words[:2] != ["net", "stem"] or words[-1:] != ["head"] or words.count("head") != 1 or len(words) < 4:
        raise ArchitectureError(
            "an architecture's text has a first line 'net …', a second 'stem …', its stages and a last 'head …'",
            "see `nas show efficientnet-b0 --text` for one that is right",
        )
    net = dict(_parse_net(f"line {lines[0][0]}", lines[0][1]))
    activation = net.pop("activation", "relu")
    parts: Fields = {
        "stem": _parse_end(f"line {lines[1][0]}", lines[1][1], activation),
        "stages": tuple(_parse_stage(f"line {number}", line, activation) for number, line in lines[2:-1]),
        "head": _parse_end(f"line {lines[-1][0]}", lines[-1][1], activation),
    }
    return _made(f"line {lines[0][0]}", Architecture, parts | net)


def parse_part(line: str, activation: str = "relu", *, where: str = "the part") -> Part:
    """Read one line of the text form; the inverse of `format_part`.

    Args:
        line: a stem, a stage or a head.
        activation: where the line gives none.
        where: how messages name the line.

    Raises:
        ArchitectureError: it breaks a rule.
    """
    line = " ".join(line.split())
    parse = _parse_end if line.partition(" ")[0] in ENDS else _parse_stage
    return parse(where, line, activation)


@lru_cache(maxsize=65_536)
def _parse_net(where: str, line: str) -> Mapping[str, Any]:
    return MappingProxyType(read_tokens(NET_TOKENS, line.partition(" ")[2], where=where))


@lru_cache(maxsize=65_536)
def _parse_stage(where: str, line: str, activation: str) -> Stage:
    operator, _, rest = line.partition(" ")
    if operator not in OPERATORS:
        raise ArchitectureError(
            f"{where}: unknown operator {reprlib.repr(operator)}", f"use one of {', '.join(OPERATORS)}"
        )
    fields = read_tokens(STAGE_TOKENS, rest, where=where)
    _check_keys(where, Stage, {"operator": operator} | fields)
    return _made(where, make_stage, {"operator": operator, "fields": fields, "activation": activation})


@lru_cache(maxsize=65_536)
def _parse_end(where: str, line: str, activation: str) -> Any:
    word, kind, rest = [*line.split(maxsplit=2), "", ""][:3]
    table = ENDS[word]
    if kind not in table:
        raise ArchitectureError(f"{where}: unknown {word} {reprlib.repr(kind)}", f"use one of {', '.join(table)}")
    cls, tokens = table[kind]
    fields = read_tokens(tokens, rest, where=where)
    if "activation" in attrs.fields_dict(cls):
        fields = {"activation": activation} | fields
    return _record(where, cls, fields)


def _made(where: str, make: Callable[..., T], fields: Fields) -> T:
    """`make(**fields)`, its errors told with their place."""
    try:
        return make(**fields)
    except ArchitectureError as error:
        raise ArchitectureError(f"{where}: {error.problem}", error.remedy) from None


def _check_keys(where: str, cls: type, fields: Fields) -> None:
    known = attrs.fields_dict(cls)
    missing = [name for name, field in known.items() if field.default is attrs.NOTHING and name not in fields]
    unknown = [name for name in fields if name not in known]
    if missing or unknown:
        problem = f"{where}: " + (f"{missing[0]} is missing" if missing else f"{reprlib.repr(unknown[0])} is not known")
        raise ArchitectureError(problem, f"a {cls.__name__} has {', '.join(known)}")


def _record(where: str, cls: type[T], fields: Fields) -> T:
    _check_keys(where, cls, fields)
    return _made(where, cls, fields)


def format_json(arch: Architecture) -> str:
    """The JSON file form; `parse_json` is its exact inverse."""
    data = {"format": JSON_FORMAT} | attrs.asdict(arch)
    data["stem"] = {"kind": _kind(STEMS, arch.stem)} | data["stem"]
    data["head"] = {"kind": _kind(HEADS, arch.head)} | data["head"]
    return json.dumps(data, indent=1)


def _is_in(table: Table, record: object) -> bool:
    return any(cls is type(record) for cls, _ in table.values())


def _kind(table: Table, record: object) -> str:
    return next(kind for kind, (cls, _) in table.items() if cls is type(record))


def parse_json(text: str) -> Architecture:
    """Read the JSON file form.

    Raises:
        ArchitectureError: naming the key, the rule and the remedy.
    """
    data = _object("the file", _load(text))
    if data.pop("format", None) != JSON_FORMAT:
        raise ArchitectureError(f"the file has no format {JSON_FORMAT!r}", "write one with `nas show ARCH --save FILE`")
    _check_keys("the file", Architecture, data)
    stages = data["stages"] if isinstance(data["stages"], list) else [data["stages"]]
    if len(stages) > MOST_LAYERS:
        raise ArchitectureError(f"stages are {len(stages):,}", f"an architecture has at most {MOST_LAYERS:,} layers")
    data["stages"] = tuple(_json_stage(f"stages[{i}]", stage) for i, stage in enumerate(stages))
    data["stem"] = _json_end("stem", STEMS, data["stem"])
    data["head"] = _json_end("head", HEADS, data["head"])
    if "norm" in data:
        data["norm"] = _record("norm", Norm, _object("norm", data["norm"]))
    return _made("the file", Architecture, data)


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ArchitectureError(
            f"the file is not JSON: {error}", "write one with `nas show ARCH --save FILE`"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return fields


def _object(where: str, data: Any) -> Fields:
    if not isinstance(data, dict):
        raise ArchitectureError(f"{where}: {reprlib.repr(data)} is not a JSON object", "give names and values in {}")
    return dict(data)


def _json_stage(where: str, data: Any) -> Stage:
    fields = _object(where, data)
    if fields.get("gate") is not None:
        fields["gate"] = _record(f"{where}.gate", Gate, _object(f"{where}.gate", fields["gate"]))
    return _record(where, Stage, fields)


def _json_end(where: str, table: Table, data: Any) -> Any:
    fields = _object(where, data)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in table:
        raise ArchitectureError(f"{where}: kind is {reprlib.repr(kind)}", f"use one of {', '.join(table)}")
    return _record(where, table[kind][0], fields)
