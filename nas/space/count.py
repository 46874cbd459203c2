"""How many different networks a space holds, exactly and without listing them.

A network is a word, its layers (under their canonical names) are the letters. The space's options are an automaton
that makes such words, often one word in several ways; the words are counted on the automaton of its subsets, which
makes each word in one way.
"""

from collections import defaultdict
from collections.abc import Iterator

from attrs import frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import stage_layers
from nas.arch.spec import Part, Stage
from nas.space.decode import SearchSpace

Forms = tuple[tuple[Part | None, ...], ...]


@frozen
class _Place:
    """Before a place (`rest` is None), or inside one with layers still to come."""

    number: int
    rest: tuple[Part, ...] | None = None


States = frozenset[_Place]


def count_networks(space: SearchSpace) -> int:
    """The number of canonically different architectures."""
    return _count(frozenset({_Place(0)}), 0, space.alternatives, {})


def _count(states: States, channels: int, forms: Forms, known: dict[tuple[States, int], int]) -> int:
    """Words that lead from a set of states to the end; `channels` are those of the last letter's output."""
    key = (states, channels)
    if key not in known:
        after: dict[Part, set[_Place]] = defaultdict(set)
        for state in states:
            for letter, following in _steps(state, channels, forms):
                after[letter].add(following)
        ended = int(_Place(len(forms)) in states)
        words = (_count(frozenset(s), _channels(letter, channels), forms, known) for letter, s in after.items())
        known[key] = ended + sum(words)
    return known[key]


def _steps(state: _Place, channels: int, forms: Forms) -> Iterator[tuple[Part, _Place]]:
    """Every letter that can come next, and where it leads."""
    if state.rest is not None:
        yield _step(state.number, state.rest, channels)
    elif state.number < len(forms):
        for form in forms[state.number]:
            if form is None:
                yield from _steps(_Place(state.number + 1), channels, forms)
            else:
                yield _step(state.number, stage_layers(form) if isinstance(form, Stage) else (form,), channels)


def _step(number: int, layers: tuple[Part, ...], channels: int) -> tuple[Part, _Place]:
    letter = plain_layer(layers[0], channels) if isinstance(layers[0], Stage) else layers[0]
    return letter, _Place(number, layers[1:]) if layers[1:] else _Place(number + 1)


def _channels(letter: Part, channels: int) -> int:
    return getattr(letter, "channels", channels)
