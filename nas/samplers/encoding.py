"""Architectures as numbers, for a model that learns which of them are accurate.

What is encoded is the architecture and not the names of a space's choices: at each place of the chain the fields of
the stage that stands there, one column for each value that a field takes, and a few figures of the whole (depth, the
logarithms of its costs). Layers that may be left out move to the end of their run first, and a skip that cannot be is
the same as none, so that equal networks have equal codes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.spec import Part, Stage
from nas.cost.base import Chain, ChainCostModel
from nas.samplers.cost_range import Picks, space_chain
from nas.space.decode import SearchSpace

Floats = NDArray[np.float64]


@frozen(eq=False)
class Codes:
    """Many architectures.

    Attributes:
        values: `(N, columns)`, 1 where a field has the column's value.
        figures: `(N, figures)`.
        hints: `(N, hints)`, what cheap verdicts say; without columns where there are none.
    """

    values: Floats
    figures: Floats
    prior_scores: Floats = field()

    @prior_scores.default
    def _no_hints(self) -> Floats:
        return np.zeros((len(self.values), 0))

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> "Codes":
        return Codes(self.values[rows], self.figures[rows], self.prior_scores[rows])

    def __add__(self, other: "Codes") -> "Codes":
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("values", "figures", "prior_scores"))
        return Codes(*map(np.concatenate, pairs))


@frozen(eq=False)
class _Field:
    """One field at one place: for every form and every value of the field whether they go together."""

    place: int
    name: str
    columns: Floats


@frozen(eq=False)
class Encoder:
    """Encodes option numbers of one space.

    Attributes:
        space: whose architectures they are.
        costs: whose logarithms are figures.
    """

    space: SearchSpace
    costs: Mapping[str, ChainCostModel]
    chain: Chain = field(init=False)

    @chain.default
    def _own_chain(self) -> Chain:
        return space_chain(self.space)

    def encode(self, picks: Picks) -> Codes:
        """Codes of option numbers `(N, choices)`."""
        forms = self._plain(self._moved(self.space.forms(picks)))
        values = [table[forms[:, place]] for place, table in self._tables]
        depth = sum(layers[forms[:, place]] for place, layers in enumerate(self._layers))
        logs = [np.log(np.maximum(model.many(self.chain, forms), 1e-9)) for model in self.costs.values()]
        return Codes(np.concatenate(values, axis=1), np.stack([np.asarray(depth), *logs], axis=1))

    @cached_property
    def groups(self) -> tuple[NDArray[np.bool_], ...]:
        """Columns that belong together, as masks: of one place, and of one field at all places."""
        owners = [each for each in self._fields for _ in range(each.columns.shape[1])]
        places = {each.place: np.array([o.place == each.place for o in owners]) for each in self._fields}
        names = {each.name: np.array([o.name == each.name for o in owners]) for each in self._fields}
        return (*places.values(), *names.values())

    @property
    def fields(self) -> int:
        """How many fields have a choice."""
        return len(self._fields)

    @cached_property
    def _fields(self) -> tuple[_Field, ...]:
        return tuple(each for place, forms in enumerate(self.chain.options) for each in _fields(place, forms))

    @cached_property
    def _tables(self) -> tuple[tuple[int, Floats], ...]:
        """The columns of all fields of a place, for every form of it."""
        places = sorted({each.place for each in self._fields})
        own = [[each.columns for each in self._fields if each.place == place] for place in places]
        return tuple((place, np.concatenate(columns, axis=1)) for place, columns in zip(places, own, strict=True))

    @cached_property
    def _layers(self) -> tuple[Floats, ...]:
        """Layers of every form of every place."""
        return tuple(np.array([_layers(form) for form in forms]) for forms in self.chain.options)

    @cached_property
    def _runs(self) -> tuple[tuple[int, NDArray[np.intp], NDArray[np.intp]], ...]:
        """Places whose form may as well stand at the one before: the place, and the forms' numbers here and there."""
        pairs = zip(self.chain.options, self.chain.options[1:], strict=False)
        return tuple((i, *_matched(here, there)) for i, (here, there) in enumerate(pairs) if _alike(here, there))

    @cached_property
    def _skips(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]], ...]:
        """Of every place: the forms' channels, see `_with_identity`, and which forms are strided."""
        return tuple(
            (_channels(forms), _with_identity(forms), np.array([getattr(form, "stride", 1) > 1 for form in forms]))
            for forms in self.chain.options
        )

    def _plain(self, forms: NDArray[np.intp]) -> NDArray[np.intp]:
        """The same networks; an identity that cannot be, and no skip at all, are one."""
        plain, before = forms.copy(), np.zeros(len(forms), dtype=np.intp)
        for place, (channels, identity, strided) in enumerate(self._skips):
            own = forms[:, place]
            cannot = strided[own] | (channels[own] != before)
            plain[:, place] = np.where(cannot, identity[own], own)
            before = np.where(channels[own] > 0, channels[own], before)
        return plain

    def _moved(self, forms: NDArray[np.intp]) -> NDArray[np.intp]:
        """The same networks with what is left out at the end of each run."""
        if not self._runs:
            return forms
        moved = forms.copy()
        for _ in range(max(_longest(self._runs), 1)):
            for place, to_next, to_this in self._runs:
                absent = self.chain.options[place].index(None)
                swap = (moved[:, place] == absent) & (moved[:, place + 1] != to_next[absent])
                moved[swap, place] = to_this[moved[swap, place + 1]]
                moved[swap, place + 1] = to_next[absent]
        return moved


def _fields(place: int, forms: Sequence[Part | None]) -> Iterator[_Field]:
    """What tells the forms of a place apart; a field that tells no other ones apart than an earlier one is left out."""
    seen: set[bytes] = set()
    for name in dict.fromkeys(name for form in forms if form is not None for name in attrs.fields_dict(type(form))):
        values = ["absent" if form is None else repr(getattr(form, name, None)) for form in forms]
        known = list(dict.fromkeys(values))
        columns = np.array([[value == other for other in known] for value in values], dtype=np.float64)
        if len(known) > 1 and columns.tobytes() not in seen:
            seen.add(columns.tobytes())
            yield _Field(place, name, columns)


def _channels(forms: Sequence[Part | None]) -> NDArray[np.intp]:
    """Of each form's output, 0 where there is none of its own."""
    return np.array([getattr(form, "channels", 0) for form in forms], dtype=np.intp)


def _with_identity(forms: Sequence[Part | None]) -> NDArray[np.intp]:
    """For each form of a single layer without a skip the number of the same one with an identity, else its own."""
    numbers = {form: i for i, form in enumerate(forms)}
    return np.array(
        [
            numbers.get(attrs.evolve(form, skip="identity"), i)
            if isinstance(form, Stage) and form.layers == 1 and form.skip == "none"
            else i
            for i, form in enumerate(forms)
        ],
        dtype=np.intp,
    )


def _layers(form: Part | None) -> float:
    return float(form.layers) if isinstance(form, Stage) else 0.0


def _alike(here: Sequence[Part | None], there: Sequence[Part | None]) -> bool:
    return None in here and set(here) == set(there)


def _matched(here: Sequence[Part | None], there: Sequence[Part | None]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each form's number in the other place, from here to there and from there to here."""
    return (
        np.array([there.index(form) for form in here], dtype=np.intp),
        np.array([here.index(form) for form in there], dtype=np.intp),
    )


def _longest(runs: Sequence[tuple[int, NDArray[np.intp], NDArray[np.intp]]]) -> int:
    """Passes that bring everything to the end of the longest run."""
    lengths: dict[int, int] = defaultdict(int)
    for place, *_ in runs:
        lengths[place] = lengths[place - 1] + 1
    return max(lengths.values(), default=0)
