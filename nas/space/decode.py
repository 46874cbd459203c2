"""Search spaces: named choices, and the architecture that one option of each makes.

A space is a chain of parts (stem, stages, head). Each part has its own choices, so that parts can be decoded,
costed and counted by themselves.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.code import Fields, make_stage
from nas.arch.layers import stage_layers
from nas.arch.spec import Architecture, Part, Stage
from nas.errors import ArchitectureError, SpaceError

Value = str | int | float
Params = Mapping[str, Value]
Chooser = Callable[[str, tuple[Value, ...]], Value]
ENUMERABLE = 200_000


@frozen(eq=False)
class Choice:
    """A name and its options; an option is a value that people see and the fields that it gives to its part."""

    name: str
    values: tuple[Value, ...]
    fields: tuple[Fields, ...]

    def index(self, value: Value) -> int:
        """Which option a value is.

        Raises:
            SpaceError: it is none of them.
        """
        try:
            return self._numbers[str(value)]
        except KeyError:
            options = ", ".join(map(str, self.values))
            raise SpaceError(f"{self.name} cannot be {value!r}", f"its options are {options}") from None

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """Which option a value is by its text; of several that read alike the first."""
        return {str(value): i for i, value in reversed(list(enumerate(self.values)))}

    def only(self, value: Value) -> "Choice":
        """The same choice with one option left."""
        i = self.index(value)
        return Choice(self.name, (self.values[i],), (self.fields[i],))


@frozen(eq=False)
class SpacePart:
    """A stem, stage or head with choices; `make` turns fields into it, and into None where it is left out."""

    name: str
    make: Callable[[Fields], Part | None]
    fixed: Fields
    choices: tuple[Choice, ...] = ()
    _made: dict[tuple[int, ...], Part | None] = field(factory=dict, init=False, repr=False)

    def part(self, picks: tuple[int, ...]) -> Part | None:
        """The part for one option of each choice; the same object each time."""
        if picks not in self._made:
            given = (choice.fields[i] for choice, i in zip(self.choices, picks, strict=True))
            self._made[picks] = self.make(self.fixed | {k: v for fields in given for k, v in fields.items()})
        return self._made[picks]

    def picks(self) -> Iterator[tuple[int, ...]]:
        """Every combination of options."""
        return product(*(range(len(choice.values)) for choice in self.choices))

    @cached_property
    def _table(self) -> tuple[tuple[Part | None, ...], NDArray[np.intp]]:
        """The distinct forms, and for every combination of options which form it makes."""
        numbers: dict[Part | None, int] = {}
        which = [numbers.setdefault(self.part(picks), len(numbers)) for picks in self.picks()]
        return tuple(numbers), np.array(which, dtype=np.intp)

    @property
    def forms(self) -> tuple[Part | None, ...]:
        """The distinct parts that all combinations of options make."""
        return self._table[0]

    def form_numbers(self, picks: NDArray[np.intp]) -> NDArray[np.intp]:
        """Option numbers `(N, choices)` as numbers `(N,)` in `forms`."""
        if not self.choices:
            return np.zeros(len(picks), dtype=np.intp)
        table = self._table[1]
        numbers: NDArray[np.intp] = table[
            np.ravel_multi_index(tuple(picks.T), [len(choice.values) for choice in self.choices])
        ]
        return numbers

    @property
    def size(self) -> int:
        """How many combinations of options there are."""
        return math.prod(len(choice.values) for choice in self.choices)


@frozen(eq=False)
class SearchSpace:
    """Represent all architectures that the choices of the parts make.

    Attributes:
        name: Name of the space as users write it.
        source: Source of the space, for example a paper.
        net: Fields of `Architecture` other than stem, stages and head: resolution, classes, padding and so on.
        parts: Stem, stages and head in order.
        baselines: Names of presets that a winner is compared with.
        definition: Content of the file as JSON text. Studies store its hash in order to detect another definition.

    Raises:
        SpaceError: Every choice has a single option.

    >>> import numpy as np
    >>> from nas.space.files import find_space
    >>> space = find_space("nasbench_macro")
    >>> indices = space.sample(np.random.default_rng(0), 1)[0]
    >>> arch = space.from_picks(indices)
    >>> space.architecture(space.params(indices)) == arch
    True
    """

    name: str
    source: str
    net: Fields
    parts: tuple[SpacePart, ...]
    baselines: tuple[str, ...] = ()
    definition: str = ""

    def __attrs_post_init__(self) -> None:
        if self.size == 1:
            raise SpaceError(
                f"space {self.name} has no choice: every key has a single option", "give one key a list of options"
            )

    @cached_property
    def all_choices(self) -> tuple[Choice, ...]:
        """Every choice in order, those with a single option too."""
        return tuple(choice for part in self.parts for choice in part.choices)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The choices that are open."""
        return tuple(choice for choice in self.all_choices if len(choice.values) > 1)

    @property
    def size(self) -> int:
        """How many combinations of options there are; several may be the same network."""
        return math.prod(part.size for part in self.parts)

    def decode(self, choose: Chooser) -> Architecture:
        """The architecture of one option per open choice, each picked by `choose(name, options)`."""
        return self.architecture({choice.name: choose(choice.name, choice.values) for choice in self.choices})

    def architecture(self, params: Params) -> Architecture:
        """The architecture of named options; choices with a single option may be left out.

        Raises:
            SpaceError: a choice is missing, unknown, or has no such option.
        """
        known = {choice.name: choice for choice in self.all_choices}
        for name in params:
            if name not in known:
                raise SpaceError(f"space {self.name} has no choice {name!r}", f"its choices are {', '.join(known)}")
        return self.from_picks([self._pick(choice, params) for choice in self.all_choices])

    def _pick(self, choice: Choice, params: Params) -> int:
        if choice.name not in params and len(choice.values) > 1:
            raise SpaceError(f"no option is given for {choice.name}", "give one for each open choice")
        return choice.index(params.get(choice.name, choice.values[0]))

    def from_picks(self, picks: "NDArray[np.intp] | list[int] | tuple[int, ...]") -> Architecture:
        """The architecture of option numbers, one for each of `all_choices`."""
        made, start = [], 0
        for part in self.parts:
            end = start + len(part.choices)
            made.append(part.part(tuple(picks[start:end])))
            start = end
        return self._assemble(made)

    def _assemble(self, parts: Sequence[Any]) -> Architecture:
        """The architecture of a stem, stages (None is left out) and a head."""
        stem, *stages, head = parts
        return Architecture(stem=stem, stages=tuple(s for s in stages if s is not None), head=head, **self.net)

    def params(self, picks: "NDArray[np.intp] | list[int] | tuple[int, ...]") -> dict[str, Value]:
        """Option numbers as named options, of the open choices only."""
        pairs = zip(self.all_choices, picks, strict=True)
        return {choice.name: choice.values[i] for choice, i in pairs if len(choice.values) > 1}

    def picks(self, params: Params) -> tuple[int, ...]:
        """The inverse of `params`."""
        return tuple(self._pick(choice, params) for choice in self.all_choices)

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Option numbers drawn uniformly: `(count, len(all_choices))`."""
        sizes = [len(choice.values) for choice in self.all_choices]
        return rng.integers(sizes, size=(count, len(sizes)))

    @cached_property
    def alternatives(self) -> tuple[tuple[Part | None, ...], ...]:
        """For each part the distinct forms that it can take."""
        return tuple(part.forms for part in self.parts)

    def forms(self, picks: NDArray[np.intp]) -> NDArray[np.intp]:
        """Option numbers `(N, choices)` as numbers of forms `(N, parts)` in `alternatives`."""
        columns, start = [], 0
        for part in self.parts:
            end = start + len(part.choices)
            columns.append(part.form_numbers(picks[:, start:end]))
            start = end
        return np.stack(columns, axis=1)

    def enumerate(self) -> Iterator[tuple[int, ...]]:
        """Option numbers of every combination.

        Raises:
            SpaceError: there are more than `ENUMERABLE`.
        """
        if self.size > ENUMERABLE:
            raise SpaceError(f"space {self.name} has {self.size:,} combinations", f"at most {ENUMERABLE:,} are listed")
        return product(*(range(len(choice.values)) for choice in self.all_choices))

    def fix(self, params: Params) -> "SearchSpace":
        """The space with some choices made already.

        Raises:
            SpaceError: no such choice or option, or nothing is left to choose.
        """
        known = {choice.name for choice in self.all_choices}
        for name in params:
            if name not in known:
                raise SpaceError(
                    f"space {self.name} has no choice {name!r}", f"its choices are {', '.join(sorted(known))}"
                )
        return attrs.evolve(self, parts=tuple(_fixed(part, params) for part in self.parts))

    def for_target(self, *, resolution: int | None = None, classes: int | None = None) -> "SearchSpace":
        """The space for another target resolution (pixels) or number of classes."""
        given = {"resolution": resolution, "classes": classes}
        return attrs.evolve(self, net=self.net | {k: v for k, v in given.items() if v is not None})

    def nearest(self, arch: Architecture) -> tuple[int, ...]:
        """Option numbers of the architecture most like `arch`, stage by stage.

        Raises:
            ArchitectureError: its layers cannot be dealt out to the space's stages.
        """
        stem, *stages, head = self.parts
        if len(stages) == len(arch.stages):
            inner = [_nearest(part, stage)[1] for part, stage in zip(stages, arch.stages, strict=True)]
        else:
            inner = self._aligned(stages, arch)
        picks = (_nearest(stem, arch.stem)[1], *inner, _nearest(head, arch.head)[1])
        return tuple(i for part in picks for i in part)

    def _aligned(self, stages: Sequence[SpacePart], arch: Architecture) -> list[tuple[int, ...]]:
        """Options for stages that are cut otherwise, as a canonical form's are: its layers are dealt out anew."""
        layers = tuple(layer for stage in arch.stages for layer in stage_layers(stage))
        found = _deal(tuple(stages), layers, {})
        if found is None:
            raise ArchitectureError(
                f"the architecture's {len(layers)} layers in {len(arch.stages)} stages cannot be dealt out "
                f"to the {len(stages)} stages of space {self.name}",
                "give an architecture with as many stages as the space",
            )
        return list(found[1])


def _fixed(part: SpacePart, params: Params) -> SpacePart:
    choices = tuple(c.only(params[c.name]) if c.name in params else c for c in part.choices)
    return SpacePart(part.name, part.make, part.fixed, choices)


Found = tuple[float, tuple[int, ...]]
Dealt = tuple[float, tuple[tuple[int, ...], ...]]


def _nearest(part: SpacePart, target: Part | None) -> Found:
    """The options that come nearest to `target`, None being a stage that is left out, and how near."""
    return min((_distance(part.part(picks), target), picks) for picks in part.picks())


def _deal(
    stages: tuple[SpacePart, ...], layers: tuple[Stage, ...], known: dict[tuple[int, int], Dealt | None]
) -> Dealt | None:
    """The cheapest way to give each stage the next few layers, until none is left."""
    if not stages:
        return None if layers else (0.0, ())
    key = (len(stages), len(layers))
    if key not in known:
        ways = []
        for count in range(min(len(layers), _most_layers(stages[0])) + 1):
            distance, picks = _nearest(stages[0], _together(layers[:count]))
            rest = _deal(stages[1:], layers[count:], known) if distance < math.inf else None
            if rest is not None:
                ways.append((distance + _unlike(layers[:count]) + rest[0], (picks, *rest[1])))
        known[key] = min(ways, default=None)
    return known[key]


def _most_layers(part: SpacePart) -> int:
    return max(form.layers if isinstance(form, Stage) else 0 for form in part.forms)


def _together(layers: Sequence[Stage]) -> Stage | None:
    return attrs.evolve(layers[0], layers=len(layers)) if layers else None


def _unlike(layers: Sequence[Stage]) -> int:
    return sum(layer != attrs.evolve(layers[0], stride=1) for layer in layers[1:])


def _distance(part: Part | None, target: Part | None) -> float:
    """Fields that differ, sizes by how much."""
    if part is None and target is None:
        return 0.0
    if part is None or type(part) is not type(target):
        return math.inf
    return sum(_field_distance(getattr(part, name), getattr(target, name)) for name in attrs.fields_dict(type(part)))


def _field_distance(a: Any, b: Any) -> float:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) / max(a, b, 1e-9)
    return float(a != b)


def make_stage_or_none(fields: Fields, activation: str) -> Stage | None:
    """A stage of fields that name its operator; None where the operator is None, "absent" in a file."""
    fields = dict(fields)
    operator = fields.pop("operator", "")
    if operator is None:
        return None
    for name in ("operator", "channels"):
        if not (operator if name == "operator" else name in fields):
            raise ArchitectureError(f"{name} is missing", f"give {name} here or in the defaults")
    return make_stage(operator, fields, activation)
