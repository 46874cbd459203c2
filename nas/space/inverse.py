"""From a network back to options that make it, however either is cut into stages.

A network is a word whose letters are its layers under their canonical names, as in `nas.space.count`. Each part of a
space spells some words; the word of a network is dealt out to the parts, a few letters to each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from nas.arch.canonical import plain_layer
from nas.arch.layers import stage_layers
from nas.arch.spec import Architecture, Part, Stage
from nas.space.decode import SearchSpace, SpacePart

Picks = tuple[int, ...]
Word = tuple[Part, ...]


@frozen(eq=False)
class Inverse:
    """Finds options of a space that make a network; keeps what its parts spell, so that asking again is quick."""

    space: SearchSpace
    _spelled: dict[tuple[SpacePart, int], Mapping[int, Mapping[Word, Picks]]] = field(
        factory=dict, init=False, repr=False
    )

    def picks(self, arch: Architecture) -> Picks | None:
        """Option numbers, one for each of `all_choices`, of a combination that makes the same network.

        Several may; it is always the same one. None where no options make it: resolution, classes, padding and so on
        are the space's and count.
        """
        if Architecture(arch.stem, arch.stages, arch.head, **self.space.net) != arch:
            return None
        word, channels = zip(*_letters((arch.stem, *arch.stages, arch.head), 0), strict=True)
        reached: dict[int, Picks] = {0: ()}
        for part in self.space.parts:
            reached = self._further(part, reached, word, channels)
        return reached.get(len(word))

    def _further(
        self, part: SpacePart, reached: Mapping[int, Picks], word: Word, channels: Sequence[int]
    ) -> dict[int, Picks]:
        """How far into the word one more part can lead, and by which options."""
        further: dict[int, Picks] = {}
        for start, picks in reached.items():
            for length, words in self._words(part, channels[start]).items():
                own = words.get(word[start : start + length])
                if own is not None:
                    further.setdefault(start + length, picks + own)
        return further

    def _words(self, part: SpacePart, channels: int) -> Mapping[int, Mapping[Word, Picks]]:
        """What a part spells after so many channels, by length, and the first options that do."""
        key = (part, channels)
        if key not in self._spelled:
            words: dict[int, dict[Word, Picks]] = defaultdict(dict)
            for form, picks in _first_picks(part).items():
                word = tuple(letter for letter, _ in _letters((form,), channels))
                words[len(word)].setdefault(word, picks)
            self._spelled[key] = dict(words)
        return self._spelled[key]


def _first_picks(part: SpacePart) -> dict[Part | None, Picks]:
    """The part's distinct forms, each with the first options that make it."""
    first: dict[Part | None, Picks] = {}
    for picks in part.picks():
        first.setdefault(part.part(picks), picks)
    return first


def _letters(parts: Sequence[Part | None], channels: int) -> Iterator[tuple[Part, int]]:
    """Stem, single layers and head, layers under their simplest names, each with the channels that come in."""
    for part in parts:
        if isinstance(part, Stage):
            for layer in stage_layers(part):
                yield plain_layer(layer, channels), channels
                channels = layer.channels
        elif part is not None:
            yield part, channels
            channels = getattr(part, "channels", channels)
