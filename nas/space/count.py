"""The exact number of different networks in a search space, computed without listing them.

A network is regarded as a word whose letters are its parts in canonical form, layer by layer. The options of the space
form a nondeterministic automaton that accepts these words; it often accepts the same word in several ways. The words
are counted on the automaton of its subsets of states (the powerset construction), which accepts each word in one way.
"""

from collections import defaultdict
from collections.abc import Iterator

from attrs import frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import stage_layers
from nas.arch.spec import Input, Part, Stage
from nas.space.decode import Form, SearchSpace

Forms = tuple[tuple[Form, ...], ...]
Letter = Part | Input


@frozen
class _State:
    """Represent a position in the space's list of parts.

    Attributes:
        part: Index of a part of the space.
        rest: Layers of the part that are still to come, or None if the part has not started.
    """

    part: int
    rest: tuple[Letter, ...] | None = None


States = frozenset[_State]


def count_networks(space: SearchSpace) -> int:
    """Return the number of architectures of a space that differ in their canonical form.

    >>> from nas.space.files import find_space
    >>> space = find_space("nasbench_macro")
    >>> space.size, count_networks(space)
    (6561, 3969)
    """
    return _count(frozenset({_State(0)}), 0, space.alternatives, {})


def _count(states: States, channels: int, forms: Forms, known: dict[tuple[States, int], int]) -> int:
    """Return the number of words that lead from a set of states to the end.

    `channels` is the number of output channels of the last letter. The canonical form of the next layer depends on it.
    """
    key = (states, channels)
    if key not in known:
        successors: dict[Letter, set[_State]] = defaultdict(set)
        for state in states:
            for letter, successor in _steps(state, channels, forms):
                successors[letter].add(successor)
        at_end = int(_State(len(forms)) in states)
        counts = (_count(frozenset(s), _channels(letter, channels), forms, known) for letter, s in successors.items())
        known[key] = at_end + sum(counts)
    return known[key]


def _steps(state: _State, channels: int, forms: Forms) -> Iterator[tuple[Letter, _State]]:
    """Yield every possible next letter with the state that follows it."""
    if state.rest is not None:
        yield _step(state.part, state.rest, channels)
    elif state.part < len(forms):
        for form in forms[state.part]:
            if form is None:
                yield from _steps(_State(state.part + 1), channels, forms)
            else:
                yield _step(state.part, stage_layers(form) if isinstance(form, Stage) else (form,), channels)


def _step(part: int, layers: tuple[Letter, ...], channels: int) -> tuple[Letter, _State]:
    letter = plain_layer(layers[0], channels) if isinstance(layers[0], Stage) else layers[0]
    return letter, _State(part, layers[1:]) if layers[1:] else _State(part + 1)


def _channels(letter: Letter, channels: int) -> int:
    return getattr(letter, "channels", channels)
