"""Search spaces: named choices, and the architecture that one option of each choice makes.

A space is a sequence of parts (stem, stages and head). Each part has its own choices, so each part can be decoded on
its own, and costs can be computed part by part. A space with several resolutions has one more part before the stem, the
input. A combination of options is given either by choice indices, one number
for each choice, or by named options, a mapping from the names of choices to their values.
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
from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture, Input, Part, Stage
from nas.errors import ArchitectureError, SpaceError

Value = str | int | float
Params = Mapping[str, Value]
Chooser = Callable[[str, tuple[Value, ...]], Value]
# What the options of a part make: None is a stage that is left out.
Form = Part | Input | None
INPUT = "input"
RESOLUTION = "resolution"
# The largest number of combinations that `SearchSpace.enumerate` lists.
ENUMERABLE = 200_000


@frozen(eq=False)
class Choice:
    """Represent a choice between several options.

    Attributes:
        name: Name of the choice, for example "stage2.kernel".
        values: Values of the options as users see them.
        fields: Fields of the part that each option sets.

    >>> kernel = Choice("stage1.kernel", (3, 5), ({"kernel": 3}, {"kernel": 5}))
    >>> kernel.index("5")
    1
    """

    name: str
    values: tuple[Value, ...]
    fields: tuple[Fields, ...]

    def index(self, value: Value) -> int:
        """Return the index of the option with the given value.

        Raises:
            SpaceError: No option has this value.
        """
        try:
            return self._index_by_text[str(value)]
        except KeyError:
            options = ", ".join(map(str, self.values))
            raise SpaceError(f"{self.name} cannot be {value!r}", f"its options are {options}") from None

    @cached_property
    def _index_by_text(self) -> Mapping[str, int]:
        """Return the index of each option by the text of its value, or the first index if several have the same text.

        Values are compared as text, because on the command line the value 3 is the text "3".
        """
        return {str(value): i for i, value in reversed(list(enumerate(self.values)))}

    def only(self, value: Value) -> "Choice":
        """Return the same choice with only one option."""
        i = self.index(value)
        return Choice(self.name, (self.values[i],), (self.fields[i],))


@frozen(eq=False)
class SpacePart:
    """Represent an input, a stem, a stage or a head with choices.

    Attributes:
        name: Name of the part: "input", "stem", "head" or the name of a stage.
        make: Function that builds the part from its fields. It returns None if a stage is left out.
        fixed: Fields that no choice sets.
        choices: Choices of the part.
    """

    name: str
    make: Callable[[Fields], Form]
    fixed: Fields
    choices: tuple[Choice, ...] = ()
    _made: dict[tuple[int, ...], Form] = field(factory=dict, init=False, repr=False)

    def part(self, indices: tuple[int, ...]) -> Form:
        """Return the part that the given choice indices make, one index for each choice of the part.

        The same indices always return the same object.
        """
        if indices not in self._made:
            chosen = (choice.fields[i] for choice, i in zip(self.choices, indices, strict=True))
            self._made[indices] = self.make(self.fixed | {k: v for fields in chosen for k, v in fields.items()})
        return self._made[indices]

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Return an iterator over the choice indices of every combination of options."""
        return product(*(range(len(choice.values)) for choice in self.choices))

    @cached_property
    def _table(self) -> tuple[tuple[Form, ...], NDArray[np.intp]]:
        """Return the distinct forms, and the index of the form that each combination of options makes."""
        numbers: dict[Form, int] = {}
        which = [numbers.setdefault(self.part(indices), len(numbers)) for indices in self.indices()]
        return tuple(numbers), np.array(which, dtype=np.intp)

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return the distinct parts that the combinations of options make."""
        return self._table[0]

    def form_numbers(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the indices in `forms`, of shape `(N,)`, of choice indices of shape `(N, choices)`."""
        if not self.choices:
            return np.zeros(len(indices), dtype=np.intp)
        table = self._table[1]
        numbers: NDArray[np.intp] = table[
            np.ravel_multi_index(tuple(indices.T), [len(choice.values) for choice in self.choices])
        ]
        return numbers

    @property
    def size(self) -> int:
        """Return the number of combinations of options."""
        return math.prod(len(choice.values) for choice in self.choices)


@frozen(eq=False)
class SearchSpace:
    """Represent all architectures that the choices of the parts make.

    Attributes:
        name: Name of the space as users write it.
        source: Source of the space, for example a paper.
        net: Fields of `Architecture` other than stem, stages and head: resolution, classes, padding and so on. The
            resolution is the largest one of the space, whatever choices are fixed.
        parts: Stem, stages and head in order, after the input if the space has a choice of resolutions.
        baselines: Names of presets that a winner is compared with.
        definition: Content of the file as JSON text. Studies store its hash in order to detect another definition.

    Raises:
        SpaceError: Every choice has a single option.

    >>> import numpy as np
    >>> from nas.space.files import find_space
    >>> space = find_space("nasbench_macro")
    >>> indices = space.sample(np.random.default_rng(0), 1)[0]
    >>> arch = space.from_indices(indices)
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
        """Return all choices in order, including those with a single option."""
        return tuple(choice for part in self.parts for choice in part.choices)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Return the choices with more than one option."""
        return tuple(choice for choice in self.all_choices if len(choice.values) > 1)

    @property
    def has_input(self) -> bool:
        """Return whether the first part is an input, so that the resolution is a choice."""
        return self.parts[0].name == INPUT

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Return the resolutions of the space's networks in ascending order."""
        inputs = [form.resolution for form in self.parts[0].forms if isinstance(form, Input)]
        return tuple(sorted(inputs)) or (self.net[RESOLUTION],)

    @property
    def full_resolution(self) -> int | None:
        """Return the resolution that full-sized proxy images stand for, or None if no network has smaller images.

        Choices that are fixed do not change it, so that they do not change how a network is evaluated.
        """
        return self.net[RESOLUTION] if self.has_input else None

    @property
    def size(self) -> int:
        """Return the number of combinations of options; several combinations may make the same network."""
        return math.prod(part.size for part in self.parts)

    def decode(self, choose: Chooser) -> Architecture:
        """Return the architecture whose option for each open choice is the result of `choose(name, options)`."""
        return self.architecture({choice.name: choose(choice.name, choice.values) for choice in self.choices})

    def architecture(self, params: Params) -> Architecture:
        """Return the architecture of named options; choices with a single option may be left out.

        Raises:
            SpaceError: An open choice is missing, a choice is unknown, or a choice has no such option.
        """
        known = {choice.name: choice for choice in self.all_choices}
        for name in params:
            if name not in known:
                raise SpaceError(f"space {self.name} has no choice {name!r}", f"its choices are {', '.join(known)}")
        return self.from_indices([self._pick(choice, params) for choice in self.all_choices])

    def _pick(self, choice: Choice, params: Params) -> int:
        if choice.name not in params and len(choice.values) > 1:
            raise SpaceError(f"no option is given for {choice.name}", "give an option for each open choice")
        return choice.index(params.get(choice.name, choice.values[0]))

    def from_indices(self, indices: "NDArray[np.intp] | list[int] | tuple[int, ...]") -> Architecture:
        """Return the architecture of choice indices, one for each of `all_choices`."""
        parts, start = [], 0
        for part in self.parts:
            end = start + len(part.choices)
            parts.append(part.part(tuple(indices[start:end])))
            start = end
        return self._assemble(parts)

    def _assemble(self, parts: Sequence[Any]) -> Architecture:
        """Return the architecture of the forms of all parts; a stage that is None is left out."""
        net = self.net | ({RESOLUTION: parts[0].resolution} if self.has_input else {})
        stem, *stages, head = parts[int(self.has_input) :]
        return Architecture(stem=stem, stages=tuple(s for s in stages if s is not None), head=head, **net)

    def net_of(self, arch: Architecture) -> Fields:
        """Return the fields `net` that an architecture of the space has; a resolution that is a choice is its own."""
        return self.net | ({RESOLUTION: arch.resolution} if self.has_input else {})

    def params(self, indices: "NDArray[np.intp] | list[int] | tuple[int, ...]") -> dict[str, Value]:
        """Return choice indices as named options of the open choices."""
        pairs = zip(self.all_choices, indices, strict=True)
        return {choice.name: choice.values[i] for choice, i in pairs if len(choice.values) > 1}

    def indices(self, params: Params) -> tuple[int, ...]:
        """Return named options as choice indices; this is the inverse of `params`."""
        return tuple(self._pick(choice, params) for choice in self.all_choices)

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Return choice indices of uniformly random combinations, of shape `(count, len(all_choices))`."""
        sizes = [len(choice.values) for choice in self.all_choices]
        return rng.integers(sizes, size=(count, len(sizes)))

    @cached_property
    def alternatives(self) -> tuple[tuple[Form, ...], ...]:
        """Return the distinct forms of each part."""
        return tuple(part.forms for part in self.parts)

    def forms(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the indices in `alternatives`, of shape `(N, parts)`, of choice indices of shape `(N, choices)`."""
        columns, start = [], 0
        for part in self.parts:
            end = start + len(part.choices)
            columns.append(part.form_numbers(indices[:, start:end]))
            start = end
        return np.stack(columns, axis=1)

    def enumerate(self) -> Iterator[tuple[int, ...]]:
        """Return an iterator over the choice indices of every combination.

        Raises:
            SpaceError: There are more than `ENUMERABLE` combinations.
        """
        if self.size > ENUMERABLE:
            raise SpaceError(
                f"space {self.name} has {self.size:,} combinations, and at most {ENUMERABLE:,} are listed",
                "fix some of its choices",
            )
        return product(*(range(len(choice.values)) for choice in self.all_choices))

    def fix(self, params: Params) -> "SearchSpace":
        """Return the space with some choices fixed to one option.

        Raises:
            SpaceError: A choice or an option is unknown, or no open choice remains.

        >>> from nas.space.files import find_space
        >>> find_space("nasbench_macro").fix({"layer2.operator": "absent"}).size
        2187
        """
        known = {choice.name for choice in self.all_choices}
        for name in params:
            if name not in known:
                raise SpaceError(
                    f"space {self.name} has no choice {name!r}", f"its choices are {', '.join(sorted(known))}"
                )
        return attrs.evolve(self, parts=tuple(_fixed(part, params) for part in self.parts))

    def for_target(self, *, resolution: int | None = None, classes: int | None = None) -> "SearchSpace":
        """Return the same space for another resolution in pixels or another number of classes.

        A resolution takes the place of a choice of resolutions, also where it is none of its options.

        Raises:
            SpaceError: The resolution was the only choice.
        """
        changes = {RESOLUTION: resolution, "classes": classes}
        parts = self.parts[int(self.has_input and resolution is not None) :]
        return attrs.evolve(self, net=self.net | {k: v for k, v in changes.items() if v is not None}, parts=parts)

    def for_images(self, *, resolution: int, classes: int) -> "SearchSpace":
        """Return the space for images of another resolution, with the same choices.

        Args:
            resolution: Height and width of the largest images, in pixels; see `proxy_resolution`.
            classes: Number of classes of the images.
        """
        if not self.has_input:
            return self.for_target(resolution=resolution, classes=classes)
        first, *others = self.parts
        choices = tuple(_on_images(choice, resolution, self.net[RESOLUTION]) for choice in first.choices)
        net = self.net | {RESOLUTION: resolution, "classes": classes}
        return attrs.evolve(self, net=net, parts=(SpacePart(first.name, first.make, first.fixed, choices), *others))

    def nearest(self, arch: Architecture) -> tuple[int, ...]:
        """Return the choice indices of the architecture that is most similar to `arch`, stage by stage.

        Raises:
            ArchitectureError: The layers of `arch` cannot be distributed over the stages of the space.
        """
        first = int(self.has_input)
        stem, *stages, head = self.parts[first:]
        inputs = [_nearest(part, Input(arch.resolution))[1] for part in self.parts[:first]]
        if len(stages) == len(arch.stages):
            inner = [_nearest(part, stage)[1] for part, stage in zip(stages, arch.stages, strict=True)]
        else:
            inner = self._align(stages, arch)
        indices = (*inputs, _nearest(stem, arch.stem)[1], *inner, _nearest(head, arch.head)[1])
        return tuple(i for part in indices for i in part)

    def _align(self, stages: Sequence[SpacePart], arch: Architecture) -> list[tuple[int, ...]]:
        """Return choice indices for the stages of the space if `arch` has another number of stages.

        A canonical form often has fewer stages than the space, so its layers are distributed over the stages again.
        """
        layers = tuple(layer for stage in arch.stages for layer in stage_layers(stage))
        alignment = _distribute(tuple(stages), layers, {})
        if alignment is None:
            raise ArchitectureError(
                f"the architecture's {len(layers)} layers in {len(arch.stages)} stages cannot be dealt out "
                f"to the {len(stages)} stages of space {self.name}",
                "give an architecture with as many stages as the space",
            )
        return list(alignment[1])


def _on_images(choice: Choice, held: int, largest: int) -> Choice:
    """Return a choice of resolutions with the resolutions of the images that networks are evaluated on."""
    fields = ({RESOLUTION: proxy_resolution(held, one[RESOLUTION], largest)} for one in choice.fields)
    return Choice(choice.name, choice.values, tuple(fields))


def _fixed(part: SpacePart, params: Params) -> SpacePart:
    choices = tuple(c.only(params[c.name]) if c.name in params else c for c in part.choices)
    return SpacePart(part.name, part.make, part.fixed, choices)


# A distance with the choice indices of one stage, and with those of several stages.
Match = tuple[float, tuple[int, ...]]
Alignment = tuple[float, tuple[tuple[int, ...], ...]]


def _nearest(part: SpacePart, target: Form) -> Match:
    """Return the smallest distance to `target` and its choice indices; None is a stage that is left out."""
    return min((_distance(part.part(indices), target), indices) for indices in part.indices())


def _distribute(
    stages: tuple[SpacePart, ...], layers: tuple[Stage, ...], known: dict[tuple[int, int], Alignment | None]
) -> Alignment | None:
    """Return the distribution of the layers over the stages with the smallest sum of distances, or None.

    This is dynamic programming: `known` has the result for each number of remaining stages and remaining layers.
    """
    if not stages:
        return None if layers else (0.0, ())
    key = (len(stages), len(layers))
    if key not in known:
        alignments = []
        for count in range(min(len(layers), _most_layers(stages[0])) + 1):
            distance, indices = _nearest(stages[0], _as_one_stage(layers[:count]))
            rest = _distribute(stages[1:], layers[count:], known) if distance < math.inf else None
            if rest is not None:
                alignments.append((distance + _count_different(layers[:count]) + rest[0], (indices, *rest[1])))
        known[key] = min(alignments, default=None)
    return known[key]


def _most_layers(part: SpacePart) -> int:
    return max(form.layers if isinstance(form, Stage) else 0 for form in part.forms)


def _as_one_stage(layers: Sequence[Stage]) -> Stage | None:
    return attrs.evolve(layers[0], layers=len(layers)) if layers else None


def _count_different(layers: Sequence[Stage]) -> int:
    """Return the number of layers that differ from the first one, which one stage cannot represent."""
    return sum(layer != attrs.evolve(layers[0], stride=1) for layer in layers[1:])


def _distance(part: Form, target: Form) -> float:
    """Return the sum over the fields of the relative difference of numbers, and 1 for each other field that differs."""
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
    """Return a stage, or None if the operator is None, which is "absent" in a file.

    Args:
        fields: Fields of the stage, including its operator.
        activation: Activation of the stage if `fields` has none.

    Raises:
        ArchitectureError: The operator or the channels are missing, or a field has an invalid value.
    """
    fields = dict(fields)
    operator = fields.pop("operator", "")
    if operator is None:
        return None
    for name in ("operator", "channels"):
        if not (operator if name == "operator" else name in fields):
            raise ArchitectureError(f"{name} is missing", f"give {name} in the stage or in the defaults")
    return make_stage(operator, fields, activation)
