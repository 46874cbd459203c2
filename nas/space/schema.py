"""YAML ► `SearchSpace`. What a file may hold, checked with file, key, rule and remedy.

    name: tiny
    net: channels=3 resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0 act=relu
    stem: conv k3 s2 c32
    head: conv c1280 dropout=0.2
    defaults: {operator: mbconv, se: [0, 0.25]}             # for every stage
    stages:
      - {kernel: [3, 5], expansion: 1, layers: 1, channels: 16}
      - {stride: 2, expansion: [3, 6], layers: {of: 2, plus: [-1, 0, 1]}, channels: {of: 24, times: [0.75, 1, 1.25]}}

A list is a choice, anything else is fixed. An operator may carry tokens of an architecture's text (`mbconv k5 e6`), and
`absent` leaves the stage out. Stem and head are an architecture's lines, or mappings with lists in them.
"""

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import attrs
import yaml
from attrs import frozen

from nas.arch.code import (
    HEADS,
    NET_TOKENS,
    STAGE_TOKENS,
    STEMS,
    Fields,
    Table,
    Token,
    read_tokens,
)
from nas.arch.presets import preset
from nas.arch.rounding import round_channels
from nas.arch.spec import OPERATORS, Architecture, ConvStem, Part, PoolHead, Stage
from nas.errors import ArchitectureError, NasError, SpaceError
from nas.files import read_small
from nas.space.decode import Choice, SearchSpace, SpacePart, Value, make_stage_or_none

SPACE_KEYS = ("name", "source", "net", "stem", "head", "defaults", "stages", "baselines")
USUAL_TASK: Fields = {"in_channels": 3, "resolution": 224, "classes": 1000}
REQUIRED_KEYS = ("net", "stem", "head", "stages")
MOST_BYTES = 2_000_000
MOST_KEYS = 10_000
MOST_OPTIONS = 1000
MOST_STAGES = 100
MOST_FORMS = 20_000
FIELD_NAMES = {"se": "gate"}
DERIVED_RULES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "times": (lambda by: by > 0, "numbers above 0"),
    "plus": (lambda by: float(by).is_integer(), "whole numbers"),
}
SKIP_WORDS = {"identity": "", "none": "noskip", "pool": "poolskip", "projection": "projskip"}


@frozen
class Key:
    """How a key's value becomes tokens; `of` names the mapping form's second key and what it does to `of`."""

    tokens: Callable[[Any], str]
    derived: str = ""
    derive: Callable[[int, float], float] = max


def _prefixed(prefix: str) -> Callable[[Any], str]:
    return lambda value: f"{prefix}{value}"


_CHANNELS = Key(_prefixed("c"), "times", round_channels)
_SIZES = {"kernel": Key(_prefixed("k")), "stride": Key(_prefixed("s")), "channels": _CHANNELS}
_ACTIVATION = {"activation": Key(str)}
STAGE_KEYS: Mapping[str, Key] = {
    "operator": Key(str),
    **_SIZES,
    "layers": Key(_prefixed("r"), "plus", lambda of, by: max(1, int(of + by))),
    "expansion": Key(_prefixed("e")),
    "se": Key(_prefixed("se")),
    "skip": Key(lambda value: SKIP_WORDS[value]),
    **_ACTIVATION,
}
STEM_KEYS: Mapping[str, Key] = {**_SIZES, **_ACTIVATION}
HEAD_KEYS: Mapping[str, Key] = {
    "channels": _CHANNELS,
    "features": Key(_prefixed("f"), "times", round_channels),
    "dropout": Key(_prefixed("dropout=")),
    **_ACTIVATION,
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, which YAML forbids and PyYAML lets pass."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys (`<<`) can double a mapping again and again."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_KEYS:,} keys are merged", problem_mark=node.start_mark)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def load_space(path: Path) -> SearchSpace:
    """Read a space's file.

    Raises:
        SpaceError: naming file, key, rule and remedy.
    """
    try:
        data = _Loader(read_small(path, MOST_BYTES)).get_single_data()
    except FileNotFoundError:
        raise SpaceError(f"{path}: no such file", "see `nas spaces` for those that are shipped") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise SpaceError(f"{path}: cannot be read: {error}", "give a readable YAML file") from None
    except yaml.YAMLError as error:
        raise SpaceError(f"{path}: not YAML: {' '.join(str(error).split())}", "mend it at the place named") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # a date, number or tag that is none
        raise SpaceError(f"{path}: a value has a wrong form: {error}", "put it in quotes, or mend it") from None
    return read_space(data, str(path), path.stem)


def read_space(data: Any, file: str, name: str) -> SearchSpace:
    """A space from what its YAML holds; `file` is named in errors, `name` is the default of its name."""
    space = _mapping(file, data, SPACE_KEYS)
    for key in REQUIRED_KEYS:
        if key not in space:
            raise SpaceError(f"{file}: {key} is missing", f"a space has {', '.join(REQUIRED_KEYS)}")
    net = _tokens(file, "net", NET_TOKENS, space["net"])
    activation = net.pop("activation", "relu")
    net = USUAL_TASK | net
    parts = (
        _end(file, "stem", space["stem"], STEMS, STEM_KEYS, activation),
        *_stages(file, space["stages"], space.get("defaults", {}), activation),
        _end(file, "head", space["head"], HEADS, HEAD_KEYS, activation),
    )
    if all(_may_be_absent(part) for part in parts[1:-1]):
        raise SpaceError(f"{file}: stages: every one may be absent", "leave one stage without that option")
    _at(f"{file}: net", lambda: Architecture(stem=ConvStem(1), stages=(Stage("conv", 1),), head=PoolHead(), **net))
    title, source = _word(file, space, "name") or name, _word(file, space, "source") or ""
    baselines = _baselines(file, space.get("baselines", []))
    definition = json.dumps(data, sort_keys=True, default=str)
    made: SearchSpace = _at(file, lambda: SearchSpace(title, source, net, parts, baselines, definition))
    return made


def _baselines(file: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpaceError(f"{file}: baselines: {_shown(names)} is not a list of words", "give a list of presets")
    for name in names:
        _at(f"{file}: baselines", partial(preset, name))
    return tuple(names)


def _word(file: str, space: Mapping[str, Any], key: str) -> str | None:
    word = space.get(key)
    if key in space and not (isinstance(word, str) and word):
        raise SpaceError(f"{file}: {key}: {_shown(word)} is not text", f"give text, or leave {key} out")
    return word


def _may_be_absent(part: SpacePart) -> bool:
    given = (part.fixed, *(fields for choice in part.choices for fields in choice.fields))
    return any(fields.get("operator", "") is None for fields in given)


def _shown(value: object) -> str:
    """A value in a message, cut: a few aliases in a file stand for values of any size."""
    text = reprlib.repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _at(where: str, step: Callable[[], Any]) -> Any:
    """Run a step; what it finds wrong is told with its place."""
    try:
        return step()
    except NasError as error:
        raise SpaceError(f"{where}: {error.problem}", error.remedy) from None


def _mapping(where: str, data: Any, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpaceError(f"{where}: {_shown(data)} is not a mapping", f"give keys out of {', '.join(keys)}")
    for key in data:
        if key not in keys:
            raise SpaceError(f"{where}: key {_shown(key)} is not known", f"use one of {', '.join(keys)}")
    return data


def _tokens(file: str, key: str, tokens: Sequence[Token], text: Any) -> Fields:
    if not isinstance(text, str):
        raise SpaceError(f"{file}: {key}: {_shown(text)} is not text", f"write {tokens[0].example} and so on")
    fields: Fields = _at(file, lambda: read_tokens(tokens, text, where=key))
    return fields


def _end(file: str, name: str, data: Any, table: Table, keys: Mapping[str, Key], activation: str) -> SpacePart:
    if isinstance(data, str):
        kind, _, rest = data.strip().partition(" ")
        data = {}
    else:
        data = dict(_mapping(f"{file}: {name}", data, ("kind", *keys)))
        kind, rest = data.pop("kind", "conv"), ""
    if not isinstance(kind, str) or kind not in table:
        raise SpaceError(f"{file}: {name}: unknown kind {_shown(kind)}", f"use one of {', '.join(table)}")
    cls, tokens = table[kind]
    usual = {"activation": activation} if any(token.name == "activation" for token in tokens) else {}
    fixed = usual | _tokens(file, name, tokens, rest)
    return _part(file, name, name, partial(_made, cls), keys, data, tokens, fixed)


def _made(cls: type, fields: Fields) -> Part:
    needed = [name for name, field in attrs.fields_dict(cls).items() if field.default is attrs.NOTHING]
    if missing := [name for name in needed if name not in fields]:
        raise ArchitectureError(f"needs {missing[0]}", "see the shipped spaces")
    part: Part = cls(**fields)
    return part


def _stages(file: str, stages: Any, defaults: Any, activation: str) -> Iterator[SpacePart]:
    if not isinstance(stages, list) or not 1 <= len(stages) <= MOST_STAGES:
        raise SpaceError(f"{file}: stages: {_shown(stages)}", f"give a list of 1 to {MOST_STAGES} stages")
    defaults = _mapping(f"{file}: defaults", defaults, tuple(STAGE_KEYS))
    names: set[str] = set()
    for i, data in enumerate(stages):
        where = f"stages[{i}]"
        own = dict(_mapping(f"{file}: {where}", data, ("name", *STAGE_KEYS)))
        name = own.pop("name", f"stage{i + 1}")
        if not isinstance(name, str) or name in {*names, "stem", "head"} or not name.isidentifier():
            raise SpaceError(
                f"{file}: {where}.name: {_shown(name)} is taken or not a word", "give each stage its own word"
            )
        names.add(name)
        make = partial(make_stage_or_none, activation=activation)
        yield _part(file, where, name, make, STAGE_KEYS, defaults | own, STAGE_TOKENS, {})


def _part(
    file: str,
    where: str,
    name: str,
    make: Callable[[Fields], Part | None],
    keys: Mapping[str, Key],
    data: Mapping[str, Any],
    tokens: Sequence[Token],
    fixed: Fields,
) -> SpacePart:
    choices: list[Choice] = []
    own: Fields = {}
    for key, value in data.items():
        values, texts = _options(f"{file}: {where}.{key}", keys[key], value)
        fields = tuple(_option(f"{file}: {where}.{key}", key, tokens, text) for text in texts)
        if isinstance(value, list | dict):
            choices.append(Choice(f"{name}.{key}", values, fields))
        else:
            _check_once(f"{file}: {where}", own, fields[0])
            own |= fields[0]
    for a, b in combinations([own, *({k: 0 for given in c.fields for k in given} for c in choices)], 2):
        _check_once(f"{file}: {where}", a, b)
    part = SpacePart(name, make, fixed | own, tuple(choices))
    _check_part(f"{file}: {where}", part)
    return part


def _options(where: str, key: Key, value: Any) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """A key's values and the tokens each stands for."""
    if isinstance(value, dict):
        return _derived(where, key, value)
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_OPTIONS:
        raise SpaceError(f"{where}: {len(values)} options", f"give 1 to {MOST_OPTIONS}")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, str | int | float):
            raise SpaceError(f"{where}: option {_shown(v)}", "an option is a number or a word")
    if min(len({str(v) for v in values}), len(set(values))) < len(values):
        raise SpaceError(f"{where}: an option stands twice in {_shown(values)}", "give each option once")
    return tuple(values), tuple(_token_text(where, key, v) for v in values)


def _token_text(where: str, key: Key, value: Value) -> str:
    try:
        return key.tokens(value)
    except KeyError:
        raise SpaceError(f"{where}: unknown option {_shown(value)}", f"use {', '.join(SKIP_WORDS)}") from None


def _derived(where: str, key: Key, value: Mapping[str, Any]) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    if not key.derived or set(value) != {"of", key.derived} or not _is_whole(value["of"]):
        form = f"{{of: 16, {key.derived}: […]}}" if key.derived else "a list of options"
        raise SpaceError(f"{where}: {_shown(dict(value))}", f"give {form}")
    values, _ = _options(where, Key(str), value[key.derived])
    fits, rule = DERIVED_RULES[key.derived]
    if not all(isinstance(v, int | float) and abs(v) < 1e6 and fits(v) for v in values):
        raise SpaceError(f"{where}.{key.derived}: {_shown(list(values))}", f"give {rule}")
    return values, tuple(key.tokens(key.derive(value["of"], float(v))) for v in values)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000


def _option(where: str, key: str, tokens: Sequence[Token], text: str) -> Fields:
    if key == "skip" and not text:
        return {"skip": "identity"}
    if key != "operator":
        own = [token for token in tokens if token.name == FIELD_NAMES.get(key, key)]
        fields = _where(where, own or tokens, text)
        if not fields:
            raise SpaceError(f"{where}: an option is empty", "give a number or a word")
        return fields
    operator, _, rest = text.partition(" ")
    if operator == "absent":
        return {"operator": None}
    if operator not in OPERATORS:
        known = ", ".join((*OPERATORS, "absent"))
        raise SpaceError(f"{where}: unknown operator {operator!r}", f"use one of {known}")
    return {"operator": operator} | _where(where, tokens, rest)


def _where(where: str, tokens: Sequence[Token], text: str) -> Fields:
    file, _, key = where.partition(": ")
    return _tokens(file, key, tokens, text)


def _check_once(where: str, a: Fields, b: Fields) -> None:
    if both := sorted(a.keys() & b.keys()):
        raise SpaceError(f"{where}: {both[0]} is given by two keys", "leave it out of one of them")


def _check_part(where: str, part: SpacePart) -> None:
    """Every option fits with each option of every other choice."""
    if part.size > MOST_FORMS:
        raise SpaceError(
            f"{where}: {part.size:,} combinations in one stage", f"at most {MOST_FORMS:,}; split the stage"
        )
    for picks in _pairs([len(choice.values) for choice in part.choices]):
        _at(where, partial(part.part, picks))


def _pairs(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every pair of options with the first option of all other choices."""
    first = (0,) * len(sizes)
    yield first
    for a, b in combinations(range(len(sizes)), 2):
        for i, j in product(range(sizes[a]), range(sizes[b])):
            yield tuple({a: i, b: j}.get(at, 0) for at in range(len(sizes)))
    if len(sizes) == 1:
        yield from ((i,) for i in range(sizes[0]))
