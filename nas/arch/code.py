"""The text form of an architecture, with one stage on each line, and its JSON form. Both have an exact inverse.

    net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.01/0.001 drop_path=0.2 act=silu
    stem conv k3 s2 c32
    mbconv r1 k3 s1 e1 c16 se0.25
    mbconv r2 k3 s2 e6 c24 se0.25
    head conv c1280 dropout=0.2

The tokens of a line can be in any order. `format_text` leaves out what is the default:

- an activation that equals `act` of the first line;
- the identity skip (the other skips are `noskip`, `poolskip` and `projskip`);
- the divisor 1 of the channels inside a block (`div8` is that of MobileNetV3);
- the parts of a gate that have their default (`se0.25:expanded:relu:hard_sigmoid:div8` names all of them).

The other kinds of stems and heads are:

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
    """Describe how one field is written as a token.

    Attributes:
        name: Name of the field.
        pattern: Regular expression that matches the whole token; its first group captures the value.
        read: Function that converts the captured text into the value.
        write: Function that converts the value into the token; "" means that the token is left out.
        example: Example of the token for error messages.
    """

    name: str
    pattern: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    example: str

    def match(self, text: str) -> str | None:
        """Return the text that the pattern captures, or None if the text is not a token of this field."""
        found = re.fullmatch(self.pattern, text)
        return found.group(1) if found else None


def _format_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _parse_number(text: str) -> float:
    return int(text) if re.fullmatch(r"[0-9]+", text) else float(text)


# The number of digits is limited so that a hostile text cannot make `int` and `float` slow.
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,20})?(?:e[-+]?[0-9]{1,3})?)"


def _integer(name: str, prefix: str) -> Token:
    return Token(name, prefix + r"([0-9]{1,12})", int, lambda v: f"{prefix}{v}", f"{prefix}3")


def _decimal(name: str, prefix: str) -> Token:
    return Token(name, prefix + _NUMBER, _parse_number, lambda v: prefix + _format_number(v), f"{prefix}0.2")


def _word(name: str, words: Mapping[str, str]) -> Token:
    """Return a token whose words stand for values; a value without a word is left out of the text."""
    word_of = {value: word for word, value in words.items()}
    return Token(name, f"({'|'.join(words)})", words.__getitem__, lambda v: word_of.get(v, ""), next(iter(words)))


def _read_gate(text: str) -> Fields | None:
    ratio, *words = text.split(":")
    if float(ratio) == 0:
        return None
    return {"ratio": float(ratio)} | read_tokens(GATE_TOKENS, " ".join(words), where=f"se{text}")


def _write_gate(gate: Fields | None) -> str:
    if gate is None:
        return ""
    return ":".join([f"se{_format_number(gate['ratio'])}", *write_tokens(GATE_TOKENS, gate).split()])


_ACTIVATION = _word("activation", {name: name for name in ACTIVATIONS})

GATE_TOKENS = (
    _word("of", {name: name for name in GATE_WIDTHS}),
    _ACTIVATION,
    _word("gate", {name: name for name in GATES}),
    _integer("divisor", "div"),
)

STAGE_TOKENS = (
    _integer("layers", "r"),
    _integer("kernel", "k"),
    _integer("stride", "s"),
    _decimal("expansion", "e"),
    _integer("channels", "c"),
    # `[1:-1]` drops the group of `_NUMBER`: the one group of a token captures the whole value.
    Token("gate", rf"se({_NUMBER[1:-1]}(?::[a-z0-9_]{{1,20}})*)", _read_gate, _write_gate, "se0.25"),
    _word("skip", {"noskip": "none", "poolskip": "pool", "projskip": "projection"}),
    _ACTIVATION,
    Token("divisor", "div([0-9]{1,12})", int, lambda v: "" if v == 1 else f"div{v}", "div8"),
)
STEM_TOKENS = (_integer("kernel", "k"), _integer("stride", "s"), _integer("channels", "c"), _ACTIVATION)
CONV_HEAD_TOKENS = (_integer("channels", "c"), _decimal("dropout", "dropout="), _ACTIVATION)
POOL_HEAD_TOKENS = (_decimal("dropout", "dropout="),)
MLP_HEAD_TOKENS = (_integer("channels", "c"), _integer("features", "f"), _decimal("dropout", "dropout="), _ACTIVATION)
NET_TOKENS = (
    _integer("in_channels", "channels="),
    _integer("resolution", "resolution="),
    _integer("classes", "classes="),
    Token("padding", f"padding=({'|'.join(PADDINGS)})", str, "padding={}".format, "padding=same"),
    Token(
        "norm",
        rf"bn=({_NUMBER[1:-1]}/{_NUMBER[1:-1]})",
        lambda text: Norm(*map(float, text.split("/"))),
        lambda norm: f"bn={_format_number(norm.momentum)}/{_format_number(norm.eps)}",
        "bn=0.1/1e-05",
    ),
    _decimal("drop_path", "drop_path="),
    Token("activation", f"act=({'|'.join(ACTIVATIONS)})", str, "act={}".format, "act=relu"),
)
Table = Mapping[str, tuple[type[Any], tuple[Token, ...]]]
# The record and the tokens for each kind of stem and head, by the word that follows "stem" or "head" in the text.
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
    """Return the values of the fields whose tokens are in `text`.

    Args:
        tokens: Tokens that are allowed.
        text: Tokens separated by white space.
        where: Name of the line or key for error messages.

    Raises:
        ArchitectureError: A token is unknown, has an invalid value, or is given twice.

    >>> read_tokens(STEM_TOKENS, "k3 c32", where="stem")
    {'kernel': 3, 'channels': 32}
    """
    fields: Fields = {}
    for word in text.split():
        token, captured = _find(tokens, word, where)
        if token.name in fields:
            raise ArchitectureError(f"{where}: {word!r} gives {token.name} a second time", "give each field once")
        fields[token.name] = _build(where, partial(token.read, captured), {})
    return fields


def _find(tokens: Sequence[Token], word: str, where: str) -> tuple[Token, str]:
    for token in tokens:
        if (captured := token.match(word)) is not None:
            return token, captured
    known = ", ".join(f"{token.example} ({token.name})" for token in tokens)
    raise ArchitectureError(f"{where}: {reprlib.repr(word)} is not known here", f"use tokens such as {known}")


def write_tokens(tokens: Sequence[Token], fields: Fields) -> str:
    """Return the tokens of the given fields; this is the inverse of `read_tokens`."""
    return " ".join(filter(None, (token.write(fields[token.name]) for token in tokens if token.name in fields)))


def make_stage(operator: str, fields: Fields, activation: str) -> Stage:
    """Return a stage.

    Args:
        operator: Operator of the stage.
        fields: Fields as `read_tokens` returns them; a gate is a dictionary of its fields.
        activation: Activation of the stage if `fields` has none.
    """
    filled: Fields = {"activation": activation} | fields
    if filled.get("gate") is not None:
        filled["gate"] = Gate(**({"activation": filled["activation"]} | filled["gate"]))
    return Stage(operator=operator, **filled)


def format_stage(stage: Stage, activation: str) -> str:
    """Return the line of a stage in the text form; an activation equal to `activation` is left out."""
    fields = _fields_to_write(stage, activation)
    if stage.operator not in EXPANDING_OPERATORS:
        del fields["expansion"]
    if stage.gate is not None:
        fields["gate"] = _gate_fields_to_write(stage.gate, stage.activation)
    return f"{stage.operator} {write_tokens(STAGE_TOKENS, fields)}"


def _gate_fields_to_write(gate: Gate, activation: str) -> Fields:
    default = Gate(gate.ratio, activation=activation)
    fields = attrs.asdict(gate)
    return {k: v for k, v in fields.items() if k == "ratio" or v != getattr(default, k)}


def _fields_to_write(record: Any, activation: str) -> Fields:
    fields = {name: getattr(record, name) for name in attrs.fields_dict(type(record))}
    if fields.get("activation") == activation:
        del fields["activation"]
    return fields


def _format_end(word: str, table: Table, record: Any, activation: str) -> str:
    kind = _kind(table, record)
    return f"{word} {kind} {write_tokens(table[kind][1], _fields_to_write(record, activation))}"


def format_part(part: Part, activation: str) -> str:
    """Return the line of a part in the text form; an activation equal to `activation` is left out.

    >>> format_part(Stage("mbconv", 24, layers=2, stride=2, expansion=6, gate=Gate(0.25)), "relu")
    'mbconv r2 k3 s2 e6 c24 se0.25'
    """
    if isinstance(part, Stage):
        return format_stage(part, activation)
    word, table = ("stem", STEMS) if _is_in(STEMS, part) else ("head", HEADS)
    return _format_end(word, table, part, activation)


def format_text(arch: Architecture) -> str:
    """Return the text form, without a line break at its end; `parse_text` is the exact inverse.

    >>> from nas.arch.presets import preset
    >>> print(format_text(preset("mobilenetv2")))
    net channels=3 resolution=224 classes=1000 padding=symmetric bn=0.1/1e-05 drop_path=0 act=relu6
    stem conv k3 s2 c32
    mbconv r1 k3 s1 e1 c16
    mbconv r2 k3 s2 e6 c24
    mbconv r3 k3 s2 e6 c32
    mbconv r4 k3 s2 e6 c64
    mbconv r3 k3 s1 e6 c96
    mbconv r3 k3 s2 e6 c160
    mbconv r1 k3 s1 e6 c320
    head conv c1280 dropout=0.2
    """
    activation = arch.stem.activation
    net = _fields_to_write(arch, "") | {"activation": activation}
    lines = [
        f"net {write_tokens(NET_TOKENS, net)}",
        *(format_part(part, activation) for part in (arch.stem, *arch.stages, arch.head)),
    ]
    return "\n".join(lines)


def parse_text(text: str) -> Architecture:
    r"""Return the architecture that a text describes.

    Empty lines and comments that start with "#" are ignored.

    Raises:
        ArchitectureError: The text breaks a rule. The message names the line.

    >>> arch = parse_text("net resolution=32 classes=10\nstem conv c8\nmbconv e6 c16  # one stage\nhead pool")
    >>> arch.stages[0].expansion, arch.resolution
    (6.0, 32)
    >>> parse_text(format_text(arch)) == arch
    True
    """
    lines = [(number, " ".join(line.split("#")[0].split())) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if len(lines) > MOST_LAYERS:
        raise ArchitectureError(
            f"the text has {len(lines):,} lines, and an architecture has at most {MOST_LAYERS:,} layers",
            "give fewer lines",
        )
    words = [line.split()[0] for _, line in lines]
    if words[:2] != ["net", "stem"] or words[-1:] != ["head"] or words.count("head") != 1 or len(words) < 4:
        raise ArchitectureError(
            "an architecture's text has a first line 'net …', a second line 'stem …', then a line for each stage, and "
            "a last line 'head …'",
            "see `nas show efficientnet-b0 --text` for an example",
        )
    net = dict(_parse_net(f"line {lines[0][0]}", lines[0][1]))
    activation = net.pop("activation", "relu")
    parts: Fields = {
        "stem": _parse_end(f"line {lines[1][0]}", lines[1][1], activation),
        "stages": tuple(_parse_stage(f"line {number}", line, activation) for number, line in lines[2:-1]),
        "head": _parse_end(f"line {lines[-1][0]}", lines[-1][1], activation),
    }
    return _build(f"line {lines[0][0]}", Architecture, parts | net)


def parse_part(line: str, activation: str = "relu", *, where: str = "the part") -> Part:
    """Return the part that one line of the text form describes; this is the inverse of `format_part`.

    Args:
        line: Line of a stem, a stage or a head.
        activation: Activation of the part if the line has none.
        where: Name of the line for error messages.

    Raises:
        ArchitectureError: The line breaks a rule.

    >>> parse_part("stem maxpool k7 s2 c64", "relu")
    MaxPoolStem(channels=64, kernel=7, stride=2, activation='relu')
    """
    line = " ".join(line.split())
    parse = _parse_end if line.partition(" ")[0] in ENDS else _parse_stage
    return parse(where, line, activation)


@lru_cache(maxsize=65_536)
def _parse_net(where: str, line: str) -> Mapping[str, Any]:
    # All callers share the cached result, so it is read-only.
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
    return _build(where, make_stage, {"operator": operator, "fields": fields, "activation": activation})


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
    return _build_record(where, cls, fields)


def _build(where: str, make: Callable[..., T], fields: Fields) -> T:
    """Return `make(**fields)`; an error message gets `where` as its prefix."""
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
        raise ArchitectureError(problem, f"the fields of {cls.__name__} are {', '.join(known)}")


def _build_record(where: str, cls: type[T], fields: Fields) -> T:
    _check_keys(where, cls, fields)
    return _build(where, cls, fields)


def format_json(arch: Architecture) -> str:
    """Return the JSON form; `parse_json` is the exact inverse."""
    data = {"format": JSON_FORMAT} | attrs.asdict(arch)
    data["stem"] = {"kind": _kind(STEMS, arch.stem)} | data["stem"]
    data["head"] = {"kind": _kind(HEADS, arch.head)} | data["head"]
    return json.dumps(data, indent=1)


def _is_in(table: Table, record: object) -> bool:
    return any(cls is type(record) for cls, _ in table.values())


def _kind(table: Table, record: object) -> str:
    return next(kind for kind, (cls, _) in table.items() if cls is type(record))


def parse_json(text: str) -> Architecture:
    """Return the architecture that a JSON text describes.

    Raises:
        ArchitectureError: The text is not JSON or breaks a rule. The message names the key.

    >>> from nas.arch.presets import preset
    >>> parse_json(format_json(preset("mobilenetv2"))) == preset("mobilenetv2")
    True
    """
    data = _require_object("the file", _load_json(text))
    if data.pop("format", None) != JSON_FORMAT:
        raise ArchitectureError(
            f"the file has no format {JSON_FORMAT!r}", "write a file with `nas show ARCH --save FILE`"
        )
    _check_keys("the file", Architecture, data)
    stages = data["stages"] if isinstance(data["stages"], list) else [data["stages"]]
    if len(stages) > MOST_LAYERS:
        raise ArchitectureError(
            f"the stages are {len(stages):,}, and an architecture has at most {MOST_LAYERS:,} layers",
            "give fewer stages",
        )
    data["stages"] = tuple(_json_stage(f"stages[{i}]", stage) for i, stage in enumerate(stages))
    data["stem"] = _json_end("stem", STEMS, data["stem"])
    data["head"] = _json_end("head", HEADS, data["head"])
    if "norm" in data:
        data["norm"] = _build_record("norm", Norm, _require_object("norm", data["norm"]))
    return _build("the file", Architecture, data)


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_reject_duplicate_keys)
    except (ValueError, RecursionError) as error:
        raise ArchitectureError(
            f"the file is not JSON: {error}", "write a file with `nas show ARCH --save FILE`"
        ) from None


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has the same key twice")
    return fields


def _require_object(where: str, data: Any) -> Fields:
    if not isinstance(data, dict):
        raise ArchitectureError(
            f"{where}: {reprlib.repr(data)} is not a JSON object", "give an object with names and values in {}"
        )
    return dict(data)


def _json_stage(where: str, data: Any) -> Stage:
    fields = _require_object(where, data)
    if fields.get("gate") is not None:
        fields["gate"] = _build_record(f"{where}.gate", Gate, _require_object(f"{where}.gate", fields["gate"]))
    return _build_record(where, Stage, fields)


def _json_end(where: str, table: Table, data: Any) -> Any:
    fields = _require_object(where, data)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in table:
        raise ArchitectureError(f"{where}: kind is {reprlib.repr(kind)}", f"use one of {', '.join(table)}")
    return _build_record(where, table[kind][0], fields)
