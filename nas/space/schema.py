"""Reading and checking the YAML file of a search space. An error message names the file, the key and the remedy.

    name: tiny
    net: channels=3 classes=1000 padding=same bn=0.01/0.001 drop_path=0 act=relu
    resolution: [160, 192, 224]                             # in place of the one resolution of `net`
    stem: conv k3 s2 c32
    head: conv c1280 dropout=0.2
    defaults: {operator: mbconv, se: [0, 0.25]}             # for every stage
    stages:
      - {kernel: [3, 5], expansion: 1, layers: 1, channels: 16}
      - {stride: 2, expansion: [3, 6], layers: {of: 2, plus: [-1, 0, 1]}, channels: {of: 24, times: [0.75, 1, 1.25]}}

A list is a choice, and everything else is fixed. An operator may be followed by tokens of an architecture's text
(`mbconv k5 e6`), and the operator `absent` leaves the stage out. The stem and the head are lines of an architecture's
text, or mappings that may contain lists. `docs/search_spaces.md` describes all keys.
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
from nas.arch.spec import OPERATORS, Architecture, ConvStem, Input, PoolHead, Stage
from nas.errors import ArchitectureError, NasError, SpaceError
from nas.files import read_text
from nas.space.decode import INPUT, RESOLUTION, Choice, Form, SearchSpace, SpacePart, Value, make_stage_or_none

SPACE_KEYS = ("name", "source", "net", "resolution", "stem", "head", "defaults", "stages", "baselines")
DEFAULT_TASK: Fields = {"in_channels": 3, "resolution": 224, "classes": 1000, "padding": "symmetric"}
INTEGER_TAG = "tag:yaml.org,2002:int"
REQUIRED_KEYS = ("net", "stem", "head", "stages")
# Limits that a sensible space never reaches. They keep hostile files, such as nested aliases, from exhausting memory.
MOST_BYTES = 2_000_000
MOST_CHARACTERS = 200_000
MOST_DIGITS = 500
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
    """Describe how the values of a key are converted into tokens of an architecture's text.

    Attributes:
        tokens: Function that converts a value into tokens.
        derived: Second key of the form `{of: 24, times: [0.75, 1]}`, or "" if the key does not have this form.
        derive: Function that computes a value from `of` and one entry of the second key's list.
    """

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
    "divisor": Key(_prefixed("div")),
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
    """Load YAML of a bounded size, and reject a mapping with the same key twice, which PyYAML accepts.

    An alias stands for a copy, so that a few lines of aliases to aliases can stand for any amount of data.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.size = 0  # of all that was read, with a copy in the place of each alias
        self.sizes: dict[int, int] = {}  # of the nodes that are complete, by their identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        before, event = self.size, self.peek_event()  # type: ignore[no-untyped-call] # PyYAML has no types here
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            # A node that is not complete yet contains the alias, and so has no end.
            self.size += self.sizes.get(id(node), MOST_CHARACTERS + 1)
        else:
            self.size += 1 + (_length(node) if isinstance(node, yaml.ScalarNode) else 0)
            self.sizes[id(node)] = self.size - before
        if self.size > MOST_CHARACTERS:
            problem = f"the file has more than {MOST_CHARACTERS:,} characters where its aliases are expanded"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def _length(node: yaml.ScalarNode) -> int:
    # Python refuses to print a number of thousands of digits, which YAML can write as 0xfff… or 1:1:1….
    if node.tag == INTEGER_TAG and len(node.value) > MOST_DIGITS:
        raise ValueError(f"a whole number has more than {MOST_DIGITS} characters")
    return len(node.value)


def load_space(path: Path) -> SearchSpace:
    """Return the search space of a YAML file.

    Raises:
        SpaceError: The file cannot be read or breaks a rule. The message names the file and the key.

    >>> from nas.files import shipped_folder
    >>> space = load_space(shipped_folder("search_spaces") / "nasbench_macro.yaml")
    >>> space.size, space.choices[0].values
    (6561, ('conv k1 linear', 'mbconv e3 k3', 'mbconv e6 k5'))
    """
    try:
        text = read_text(path, MOST_BYTES)
    except FileNotFoundError:
        raise SpaceError(f"{path}: no such file exists", "use `nas spaces` to list the shipped spaces") from None
    except OSError as error:
        raise SpaceError(f"{path}: the file cannot be read: {error}", "give a readable YAML file") from None
    except ValueError as error:
        raise _wrong_form(str(path), error) from None
    return parse_space(text, str(path), path.stem)


def parse_space(text: str, file: str, name: str) -> SearchSpace:
    """Return the search space that the text of a file describes.

    Args:
        text: Text in YAML.
        file: Name of the file for error messages.
        name: Name of the space if the text has none.

    Raises:
        SpaceError: The text breaks a rule. The message names the file and the key.
    """
    try:
        data = _Loader(text).get_single_data()
    except RecursionError as error:
        raise SpaceError(f"{file}: the file cannot be read: {error}", "give a readable YAML file") from None
    except yaml.YAMLError as error:
        raise SpaceError(
            f"{file}: not YAML: {' '.join(str(error).split())}", "correct the file at the place that is named"
        ) from None
    # PyYAML raises these for values such as the date 2001-99-99 or for tags that do not fit their value.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _wrong_form(file, error) from None
    return read_space(data, file, name)


def _wrong_form(file: str, error: Exception) -> SpaceError:
    return SpaceError(f"{file}: a value has a wrong form: {error}", "correct the value, or put it in quotes")


def read_space(data: Any, file: str, name: str) -> SearchSpace:
    """Return the search space of a file's content.

    Args:
        data: Content of the YAML file.
        file: Name of the file for error messages.
        name: Name of the space if the content has none.

    Raises:
        SpaceError: The content breaks a rule. The message names the file and the key.

    >>> data = {"net": "resolution=32", "stem": "conv c8", "head": "pool"}
    >>> data["stages"] = [{"operator": "mbconv e6", "channels": 16, "kernel": [3, 5]}]
    >>> read_space(data, "tiny.yaml", "tiny").size
    2
    """
    space = _mapping(file, data, SPACE_KEYS)
    for key in REQUIRED_KEYS:
        if key not in space:
            raise SpaceError(f"{file}: {key} is missing", f"give each of the keys {', '.join(REQUIRED_KEYS)}")
    net = _tokens(file, "net", NET_TOKENS, space["net"])
    activation = net.pop("activation", "relu")
    resolutions = _resolutions(file, space, net)
    net = DEFAULT_TASK | net | ({RESOLUTION: max(resolutions)} if resolutions else {})
    inputs = (_input(resolutions),) if isinstance(space.get(RESOLUTION), list) else ()
    parts = (
        _end(file, "stem", space["stem"], STEMS, STEM_KEYS, activation),
        *_stages(file, space["stages"], space.get("defaults", {}), activation),
        _end(file, "head", space["head"], HEADS, HEAD_KEYS, activation),
    )
    if all(_may_be_absent(part) for part in parts[1:-1]):
        raise SpaceError(
            f"{file}: stages: every stage may be absent, and a network needs at least one stage",
            "remove the operator absent from one stage",
        )
    # The settings of `net` are checked by building an architecture with them; its stem, stage and head do not matter.
    _with_place(
        f"{file}: net", lambda: Architecture(stem=ConvStem(1), stages=(Stage("conv", 1),), head=PoolHead(), **net)
    )
    title, source = _text_or_none(file, space, "name") or name, _text_or_none(file, space, "source") or ""
    baselines = _baselines(file, space.get("baselines", []))
    definition = json.dumps(data, sort_keys=True, default=str)
    space_of_file: SearchSpace = _with_place(
        file, lambda: SearchSpace(title, source, net, (*inputs, *parts), baselines, definition)
    )
    return space_of_file


def _resolutions(file: str, space: Mapping[str, Any], net: Fields) -> tuple[int, ...]:
    """Return the values of the key `resolution`, or none if the space does not have it."""
    if RESOLUTION not in space:
        return ()
    _check_disjoint(file, {RESOLUTION: 0}, net)
    where, given = f"{file}: {RESOLUTION}", space[RESOLUTION]
    if isinstance(given, dict):
        raise SpaceError(f"{where}: {_shorten(given)} is not a number or a list", "give a list such as [160, 192, 224]")
    values, _ = _options(where, Key(str), given)
    return tuple(_with_place(where, partial(_build, Input, {RESOLUTION: value})).resolution for value in values)


def _input(resolutions: tuple[int, ...]) -> SpacePart:
    fields = tuple({RESOLUTION: value} for value in resolutions)
    return SpacePart(INPUT, partial(_build, Input), {}, (Choice(RESOLUTION, resolutions, fields),))


def _baselines(file: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpaceError(
            f"{file}: baselines: {_shorten(names)} is not a list of words", "give a list of names of presets"
        )
    for name in names:
        _with_place(f"{file}: baselines", partial(preset, name))
    return tuple(names)


def _text_or_none(file: str, space: Mapping[str, Any], key: str) -> str | None:
    word = space.get(key)
    if key in space and not (isinstance(word, str) and word):
        raise SpaceError(f"{file}: {key}: {_shorten(word)} is not text", f"give text, or leave {key} out")
    return word


def _may_be_absent(part: SpacePart) -> bool:
    given = (part.fixed, *(fields for choice in part.choices for fields in choice.fields))
    return any(fields.get("operator", "") is None for fields in given)


def _shorten(value: object) -> str:
    """Return a value as text for a message, cut to 100 characters.

    A few nested aliases in a file can represent values of any size.
    """
    text = reprlib.repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _with_place(where: str, step: Callable[[], Any]) -> Any:
    """Return the result of a step; errors become a `SpaceError` whose message starts with the place `where`."""
    try:
        return step()
    except NasError as error:
        raise SpaceError(f"{where}: {error.problem}", error.remedy) from None


def _mapping(where: str, data: Any, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpaceError(
            f"{where}: {_shorten(data)} is not a mapping", f"give a mapping with keys such as {', '.join(keys)}"
        )
    for key in data:
        if key not in keys:
            raise SpaceError(f"{where}: key {_shorten(key)} is not known", f"use one of {', '.join(keys)}")
    return data


def _tokens(file: str, key: str, tokens: Sequence[Token], text: Any) -> Fields:
    if not isinstance(text, str):
        raise SpaceError(
            f"{file}: {key}: {_shorten(text)} is not text", f"give a text with tokens such as {tokens[0].example}"
        )
    fields: Fields = _with_place(file, lambda: read_tokens(tokens, text, where=key))
    return fields


def _end(file: str, name: str, data: Any, table: Table, keys: Mapping[str, Key], activation: str) -> SpacePart:
    if isinstance(data, str):
        kind, _, rest = data.strip().partition(" ")
        data = {}
    else:
        data = dict(_mapping(f"{file}: {name}", data, ("kind", *keys)))
        kind, rest = data.pop("kind", "conv"), ""
    if not isinstance(kind, str) or kind not in table:
        raise SpaceError(f"{file}: {name}: unknown kind {_shorten(kind)}", f"use one of {', '.join(table)}")
    cls, tokens = table[kind]
    default = {"activation": activation} if any(token.name == "activation" for token in tokens) else {}
    fixed = default | _tokens(file, name, tokens, rest)
    return _part(file, name, name, partial(_build, cls), keys, data, tokens, fixed)


def _build(cls: type, fields: Fields) -> Any:
    needed = [name for name, field in attrs.fields_dict(cls).items() if field.default is attrs.NOTHING]
    if missing := [name for name in needed if name not in fields]:
        raise ArchitectureError(f"{missing[0]} is missing", f"give {missing[0]}, as the shipped spaces do")
    return cls(**fields)


def _stages(file: str, stages: Any, defaults: Any, activation: str) -> Iterator[SpacePart]:
    if not isinstance(stages, list) or not 1 <= len(stages) <= MOST_STAGES:
        raise SpaceError(
            f"{file}: stages: {_shorten(stages)} is not a list of 1 to {MOST_STAGES} stages", "give such a list"
        )
    defaults = _mapping(f"{file}: defaults", defaults, tuple(STAGE_KEYS))
    names: set[str] = set()
    for i, data in enumerate(stages):
        where = f"stages[{i}]"
        own = dict(_mapping(f"{file}: {where}", data, ("name", *STAGE_KEYS)))
        name = own.pop("name", f"stage{i + 1}")
        if not isinstance(name, str) or name in {*names, "stem", "head"} or not name.isidentifier():
            raise SpaceError(
                f"{file}: {where}.name: {_shorten(name)} is used twice, is reserved, or is not a word",
                "give each stage a different name of letters, digits and underscores, other than stem and head",
            )
        names.add(name)
        make = partial(make_stage_or_none, activation=activation)
        yield _part(file, where, name, make, STAGE_KEYS, defaults | own, STAGE_TOKENS, {})


def _part(
    file: str,
    where: str,
    name: str,
    make: Callable[[Fields], Form],
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
            _check_disjoint(f"{file}: {where}", own, fields[0])
            own |= fields[0]
    for a, b in combinations([own, *({k: 0 for given in c.fields for k in given} for c in choices)], 2):
        _check_disjoint(f"{file}: {where}", a, b)
    part = SpacePart(name, make, fixed | own, tuple(choices))
    _check_part(f"{file}: {where}", part)
    return part


def _options(where: str, key: Key, value: Any) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """Return the values of a key, and for each value its tokens."""
    if isinstance(value, dict):
        return _derived_options(where, key, value)
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_OPTIONS:
        raise SpaceError(
            f"{where}: {len(values)} options are given, and a choice has 1 to {MOST_OPTIONS:,}",
            "change the number of options",
        )
    for v in values:
        if isinstance(v, bool) or not isinstance(v, str | int | float):
            raise SpaceError(
                f"{where}: option {_shorten(v)} is not allowed; an option is a number or a word", "correct the option"
            )
    if min(len({str(v) for v in values}), len(set(values))) < len(values):
        raise SpaceError(f"{where}: an option is given twice in {_shorten(values)}", "give each option once")
    return tuple(values), tuple(_tokens_of(where, key, v) for v in values)


def _tokens_of(where: str, key: Key, value: Value) -> str:
    try:
        return key.tokens(value)
    except KeyError:
        raise SpaceError(f"{where}: unknown option {_shorten(value)}", f"use {', '.join(SKIP_WORDS)}") from None


def _derived_options(where: str, key: Key, value: Mapping[str, Any]) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    if not key.derived or set(value) != {"of", key.derived} or not _is_whole(value["of"]):
        form = f"{{of: 16, {key.derived}: […]}}" if key.derived else "a list of options"
        raise SpaceError(f"{where}: {_shorten(dict(value))} is not a valid value", f"give {form}")
    values, _ = _options(where, Key(str), value[key.derived])
    fits, rule = DERIVED_RULES[key.derived]
    if not all(isinstance(v, int | float) and abs(v) < 1e6 and fits(v) for v in values):
        raise SpaceError(f"{where}.{key.derived}: {_shorten(list(values))} has an invalid number", f"give {rule}")
    return values, tuple(key.tokens(key.derive(value["of"], float(v))) for v in values)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000


def _option(where: str, key: str, tokens: Sequence[Token], text: str) -> Fields:
    if key == "skip" and not text:
        return {"skip": "identity"}
    if key != "operator":
        own = [token for token in tokens if token.name == FIELD_NAMES.get(key, key)]
        fields = _read_tokens_at(where, own or tokens, text)
        if not fields:
            raise SpaceError(f"{where}: an option is empty", "give a number or a word")
        return fields
    operator, _, rest = text.partition(" ")
    if operator == "absent":
        return {"operator": None}
    if operator not in OPERATORS:
        known = ", ".join((*OPERATORS, "absent"))
        raise SpaceError(f"{where}: unknown operator {operator!r}", f"use one of {known}")
    return {"operator": operator} | _read_tokens_at(where, tokens, rest)


def _read_tokens_at(where: str, tokens: Sequence[Token], text: str) -> Fields:
    file, _, key = where.partition(": ")
    return _tokens(file, key, tokens, text)


def _check_disjoint(where: str, a: Fields, b: Fields) -> None:
    if both := sorted(a.keys() & b.keys()):
        raise SpaceError(f"{where}: {both[0]} is given by two keys", f"remove {both[0]} from one of the keys")


def _check_part(where: str, part: SpacePart) -> None:
    """Raise a `SpaceError` unless every option fits with every option of each other choice.

    Building every combination would take too long for large stages. The rules of a stage concern at most two fields,
    so it is enough to build every pair of options.
    """
    if part.size > MOST_FORMS:
        raise SpaceError(
            f"{where}: the part has {part.size:,} combinations of options, and at most {MOST_FORMS:,} are possible",
            "give it fewer options, or split the stage into several stages",
        )
    for indices in _pairs([len(choice.values) for choice in part.choices]):
        _with_place(where, partial(part.part, indices))


def _pairs(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield choice indices for every pair of options, with the first option of all other choices."""
    first = (0,) * len(sizes)
    yield first
    for a, b in combinations(range(len(sizes)), 2):
        for i, j in product(range(sizes[a]), range(sizes[b])):
            yield tuple({a: i, b: j}.get(at, 0) for at in range(len(sizes)))
    if len(sizes) == 1:
        yield from ((i,) for i in range(sizes[0]))
