"""Encodings of architectures as numbers, for a model that learns which of them are accurate.

The architecture is encoded, and not the names of a space's choices: for each place of the chain, the fields of the
stage at that place in one-hot form, and a few figures of the whole network (its depth and the logarithms of its costs).
Before that, omitted layers move to the end of their run, and a skip connection that is impossible counts as none, so
that equal networks have equal encodings.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.spec import Stage
from nas.cost.base import Chain, ChainCostModel
from nas.samplers.cost_range import ChoiceIndices, space_chain
from nas.space.decode import Form, SearchSpace

Floats = NDArray[np.float64]


@frozen(eq=False)
class Codes:
    """Hold the encodings of N architectures.

    Attributes:
        values: One-hot columns of all fields, `(N, columns)`: 1 where a field has the column's value.
        figures: Depth and logarithms of costs, `(N, figures)`.
        prior_scores: Predicted scores of a cheap evaluator, `(N, scores)`; no columns where there is none.
    """

    values: Floats
    figures: Floats
    prior_scores: Floats = field()

    @prior_scores.default
    def _no_prior_scores(self) -> Floats:
        return np.zeros((len(self.values), 0))

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> "Codes":
        return Codes(self.values[rows], self.figures[rows], self.prior_scores[rows])

    def __add__(self, other: "Codes") -> "Codes":
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("values", "figures", "prior_scores"))
        return Codes(*map(np.concatenate, pairs))


@frozen(eq=False)
class _Field:
    """Hold one field at one place: for every form of the place, its one-hot columns."""

    place: int
    name: str
    columns: Floats


@frozen(eq=False)
class Encoder:
    """Encode architectures of one space, given by their choice indices.

    Attributes:
        space: Space of the architectures.
        costs: Cost models, by name, whose logarithms become figures.
        chain: The space as cost models see it.
    """

    space: SearchSpace
    costs: Mapping[str, ChainCostModel]
    chain: Chain = field(init=False)

    @chain.default
    def _own_chain(self) -> Chain:
        return space_chain(self.space)

    def encode(self, indices: ChoiceIndices) -> Codes:
        """Return the encodings of choice indices `(N, choices)`."""
        forms = self.canonical_forms(indices)
        values = [table[forms[:, place]] for place, table in self._tables]
        depth = sum(layers[forms[:, place]] for place, layers in enumerate(self._layers))
        logs = [np.log(np.maximum(model.many(self.chain, forms), 1e-9)) for model in self.costs.values()]
        return Codes(np.concatenate(values, axis=1), np.stack([np.asarray(depth), *logs], axis=1))

    def canonical_forms(self, indices: ChoiceIndices) -> NDArray[np.intp]:
        """Return the indices of the forms of choice indices `(N, choices)`, `(N, places)`: equal for equal networks."""
        return self._without_impossible_skips(self._omitted_last(self.space.forms(indices)))

    @cached_property
    def groups(self) -> tuple[NDArray[np.bool_], ...]:
        """Return masks of columns that belong together: those of each place, then those of each field name."""
        owners = [each for each in self._fields for _ in range(each.columns.shape[1])]
        places = {each.place: np.array([o.place == each.place for o in owners]) for each in self._fields}
        names = {each.name: np.array([o.name == each.name for o in owners]) for each in self._fields}
        return (*places.values(), *names.values())

    @property
    def fields(self) -> int:
        """Return the number of fields that have a choice."""
        return len(self._fields)

    @cached_property
    def _fields(self) -> tuple[_Field, ...]:
        return tuple(each for place, forms in enumerate(self.chain.options) for each in _fields(place, forms))

    @cached_property
    def _tables(self) -> tuple[tuple[int, Floats], ...]:
        """Return for each place the columns of all its fields, one row for each form."""
        places = sorted({each.place for each in self._fields})
        own = [[each.columns for each in self._fields if each.place == place] for place in places]
        return tuple((place, np.concatenate(columns, axis=1)) for place, columns in zip(places, own, strict=True))

    @cached_property
    def _layers(self) -> tuple[Floats, ...]:
        """Return the number of layers of every form, by place."""
        return tuple(np.array([_layers(form) for form in forms]) for forms in self.chain.options)

    @cached_property
    def _runs(self) -> tuple[tuple[int, NDArray[np.intp], NDArray[np.intp]], ...]:
        """Return neighboring places with equal forms: the first place, and the forms' indices in both directions."""
        pairs = zip(self.chain.options, self.chain.options[1:], strict=False)
        return tuple((i, *_matched(here, there)) for i, (here, there) in enumerate(pairs) if _alike(here, there))

    @cached_property
    def _skips(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]], ...]:
        """Return for every place the channels of its forms, `_with_identity` of them, and which are strided."""
        return tuple(
            (_channels(forms), _with_identity(forms), np.array([getattr(form, "stride", 1) > 1 for form in forms]))
            for forms in self.chain.options
        )

    def _without_impossible_skips(self, forms: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the same networks, with impossible identity skips and missing skips written alike."""
        plain, before = forms.copy(), np.zeros(len(forms), dtype=np.intp)
        for place, (channels, identity, strided) in enumerate(self._skips):
            own = forms[:, place]
            cannot = strided[own] | (channels[own] != before)
            plain[:, place] = np.where(cannot, identity[own], own)
            before = np.where(channels[own] > 0, channels[own], before)
        return plain

    def _omitted_last(self, forms: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the same networks, with omitted layers at the end of each run."""
        if not self._runs:
            return forms
        moved = forms.copy()
        for _ in range(max(_longest(self._runs), 1)):
            for place, to_next, to_this in self._runs:
                absent = self.chain.options[place].index(None)
                # One pass moves an omitted layer by at least one place, so as many passes as the longest run are
                # enough.
                swap = (moved[:, place] == absent) & (moved[:, place + 1] != to_next[absent])
                moved[swap, place] = to_this[moved[swap, place + 1]]
                moved[swap, place + 1] = to_next[absent]
        return moved


def _fields(place: int, forms: Sequence[Form]) -> Iterator[_Field]:
    """Yield the fields that distinguish the forms of a place; one that adds nothing to an earlier one is left out."""
    seen: set[bytes] = set()
    for name in dict.fromkeys(name for form in forms if form is not None for name in attrs.fields_dict(type(form))):
        values = ["absent" if form is None else repr(getattr(form, name, None)) for form in forms]
        known = list(dict.fromkeys(values))
        columns = np.array([[value == other for other in known] for value in values], dtype=np.float64)
        # Equal columns would count the same difference twice in the kernel.
        if len(known) > 1 and columns.tobytes() not in seen:
            seen.add(columns.tobytes())
            yield _Field(place, name, columns)


def _channels(forms: Sequence[Form]) -> NDArray[np.intp]:
    """Return the output channels of each form, 0 for an omitted layer."""
    return np.array([getattr(form, "channels", 0) for form in forms], dtype=np.intp)


def _with_identity(forms: Sequence[Form]) -> NDArray[np.intp]:
    """Return for each form its own index, or for a single layer without a skip that of the same layer with one."""
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


def _layers(form: Form) -> float:
    return float(form.layers) if isinstance(form, Stage) else 0.0


def _alike(here: Sequence[Form], there: Sequence[Form]) -> bool:
    return None in here and set(here) == set(there)


def _matched(here: Sequence[Form], there: Sequence[Form]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of each form in the other place, in both directions."""
    return (
        np.array([there.index(form) for form in here], dtype=np.intp),
        np.array([here.index(form) for form in there], dtype=np.intp),
    )


def _longest(runs: Sequence[tuple[int, NDArray[np.intp], NDArray[np.intp]]]) -> int:
    """Return the number of passes that move every omitted layer to the end of the longest run."""
    lengths: dict[int, int] = defaultdict(int)
    for place, *_ in runs:
        lengths[place] = lengths[place - 1] + 1
    return max(lengths.values(), default=0)
