"""The inverse of decoding: from a network to choice indices that make it, however its stages are cut.

As in `nas.space.count`, a network is regarded as a word whose letters are its parts in canonical form, layer by layer.
Each part of a space can make some words. The word of the network is divided among the parts of the space, from left to
right, so that each part makes its section of the word.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import stage_layers
from nas.arch.spec import Architecture, Input, Part, Stage
from nas.space.decode import Form, SearchSpace, SpacePart

ChoiceIndices = tuple[int, ...]
Letter = Part | Input
Word = tuple[Letter, ...]


@frozen(eq=False)
class Inverse:
    """Find choice indices of a space that make a given network.

    The words that the space's parts can make are computed once and kept, so later searches are fast.

    Attributes:
        space: Space whose choice indices are found.

    >>> from nas.space.files import find_space
    >>> space = find_space("nasbench_macro")
    >>> Inverse(space).indices(space.from_indices((2, 1, 1, 2, 2, 1, 1, 2)))
    (2, 1, 1, 2, 2, 1, 1, 2)
    """

    space: SearchSpace
    _known_words: dict[tuple[SpacePart, int], Mapping[int, Mapping[Word, ChoiceIndices]]] = field(
        factory=dict, init=False, repr=False
    )

    def indices(self, arch: Architecture) -> ChoiceIndices | None:
        """Return choice indices, one for each of `all_choices`, that make the same network as `arch`.

        If several combinations make the network, the result is always the same one. The result is None if no
        combination makes it. Classes, padding and the other settings must be those of the space.
        """
        if Architecture(arch.stem, arch.stages, arch.head, **self.space.net_of(arch)) != arch:
            return None
        inputs = (Input(arch.resolution),) if self.space.has_input else ()
        word, channels = zip(*_letters((*inputs, arch.stem, *arch.stages, arch.head), 0), strict=True)
        reached: dict[int, ChoiceIndices] = {0: ()}
        for part in self.space.parts:
            reached = self._advance(part, reached, word, channels)
        return reached.get(len(word))

    def _advance(
        self, part: SpacePart, reached: Mapping[int, ChoiceIndices], word: Word, channels: Sequence[int]
    ) -> dict[int, ChoiceIndices]:
        """Return the positions in the word that one more part can reach, with the choice indices that reach them.

        Args:
            part: Next part of the space.
            reached: Positions that the parts before it can reach, with their choice indices.
            word: Word of the network.
            channels: Input channels of each letter of the word.
        """
        further: dict[int, ChoiceIndices] = {}
        for start, indices in reached.items():
            for length, words in self._words(part, channels[start]).items():
                own = words.get(word[start : start + length])
                if own is not None:
                    # Several choice indices may reach the same position; any of them will do, so the first is kept.
                    further.setdefault(start + length, indices + own)
        return further

    def _words(self, part: SpacePart, channels: int) -> Mapping[int, Mapping[Word, ChoiceIndices]]:
        """Return the words that a part with so many input channels can make, grouped by their length.

        Each word has the first choice indices that make it.
        """
        key = (part, channels)
        if key not in self._known_words:
            words: dict[int, dict[Word, ChoiceIndices]] = defaultdict(dict)
            for form, indices in _first_indices(part).items():
                word = tuple(letter for letter, _ in _letters((form,), channels))
                words[len(word)].setdefault(word, indices)
            self._known_words[key] = dict(words)
        return self._known_words[key]


def _first_indices(part: SpacePart) -> dict[Form, ChoiceIndices]:
    """Return the distinct forms of a part, each with the first choice indices that make it."""
    first: dict[Form, ChoiceIndices] = {}
    for indices in part.indices():
        first.setdefault(part.part(indices), indices)
    return first


def _letters(parts: Sequence[Form], channels: int) -> Iterator[tuple[Letter, int]]:
    """Yield inputs, stems, single layers in canonical form, and heads, each with its number of input channels."""
    for part in parts:
        if isinstance(part, Stage):
            for layer in stage_layers(part):
                yield plain_layer(layer, channels), channels
                channels = layer.channels
        elif part is not None:
            yield part, channels
            channels = getattr(part, "channels", channels)
