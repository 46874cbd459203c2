"""Sentences that say what the data of a study support; docs/uncertainty.md explains them."""

from collections.abc import Iterator, Mapping
from math import isnan
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.noise import ValidationSplit
    from nas.studies.comparison import AgainstSource, Lead
    from nas.studies.records import StudyView

# What lets networks learn more, by the name of the evaluator.
_TO_LEARN_MORE: Mapping[str, str] = MappingProxyType(
    {
        "train": "--pretrained, more --epochs, more images in --data, or a larger --proxy-resolution",
        "finetune": "more --epochs, or more images in --data",
        "supernet": "more --supernet-epochs, or more images in --data",
    }
)
# Largest chance of a gain at which nothing better is expected.
UNLIKELY = 0.05
_TO_SEE_MORE = "more --trials, or more images in --data, a part of which validates"


def first_sentences(view: "StudyView") -> Iterator[str]:
    """Yield what a user must know first: that nothing was learned, or how the best compares with the baseline."""
    from nas.studies.comparison import against_source, ahead_of_baseline

    if view.learned is False:
        yield _not_learned(view)
    elif view.best is not None and (against := against_source(view, view.best)) is not None:
        yield _compared_with_source(against, view.best.number)
    elif (lead := ahead_of_baseline(view)) is not None:
        yield _compared_with_baseline(view, lead)
    elif view.learned and view.best:
        yield (
            f"The best network, trial {view.best.number}, is better than the most frequent class by more than noise. "
            "There is no baseline to compare it with."
        )


def _not_learned(view: "StudyView") -> str:
    assert view.split is not None  # noqa: S101 -- else it is not known whether anything was learned
    candidates = view.candidates or view.ranked
    highest = max(fmean(view.runs(record)) for record in candidates)
    kind = "re-trained " if any(record.number in view.confirmed for record in candidates) else ""
    networks = f"{len(candidates)} {kind}networks" if len(candidates) > 1 else f"the only {kind}network"
    more = _TO_LEARN_MORE.get(str(view.settings["proxy"].get("evaluator")), "longer training on more images")
    return (
        f"Nothing has been learned: the highest accuracy of {networks} is "
        f"{highest:.2%}, and the most frequent class alone gives {view.split.chance:.2%} of the "
        f"{view.split.images} validation images. Networks that learn nothing differ as much by chance, so none is "
        f"recommended. What would help: {more}."
    )


def _compared_with_source(against: "AgainstSource", trial: int) -> str:
    from nas.cost.base import format_amount

    lead = against.lead
    difference = format_difference(against)
    costs = f"{format_amount(against.own, against.unit)} against {format_amount(against.other, against.unit)}"
    if isnan(lead.half):
        accuracy = f"its accuracy differs by {difference}; the noise is not known"
    elif lead.low > 0:
        accuracy = f"it is more accurate by more than noise: {difference}"
    elif lead.high < 0:
        accuracy = f"it is less accurate by more than noise: {difference}"
    else:
        accuracy = f"its accuracy cannot be told apart from that of {lead.other.label}: {difference}"
    change = f"{abs(against.change):.0%} {'less' if against.change < 0 else 'more'}"
    return (
        f"The best network, trial {trial}, costs {change} than {lead.other.label} ({costs}), whose weights it "
        f"inherited and which was fine-tuned in the same way, and {accuracy}."
    )


def format_difference(against: "AgainstSource") -> str:
    """Return the difference of the accuracies, with half the width of its interval where that is known."""
    half = against.lead.half
    return f"{100 * against.lead.value:+.1f}{'' if isnan(half) else f' ± {100 * half:.1f}'} points"


def _compared_with_baseline(view: "StudyView", lead: "Lead") -> str:
    best = f"trial {view.best.number}" if view.best else ""
    difference = f"{100 * lead.value:+.1f}{'' if isnan(lead.half) else f' ± {100 * lead.half:.1f}'} points of accuracy"
    baseline = f"the baseline {lead.other.label}"
    if lead.is_clear:
        return f"The best network, {best}, is ahead of {baseline} by more than noise: {difference} at equal score."
    if lead.is_clear is None:
        return f"The best network, {best}, differs from {baseline} by {difference}; the noise is not known."
    return (
        f"No network is ahead of {baseline} by more than noise: {best} differs from it by {difference} at equal score. "
        f"What would help: {_TO_SEE_MORE}."
    )


def split_sentence(view: "StudyView") -> str:
    """Return the size of the validation split, its standard error and the majority-class rate; "" if unknown."""
    accuracy = shown_accuracy(view)
    return "" if view.split is None or accuracy is None else split_line(view.split, accuracy)


def shown_accuracy(view: "StudyView") -> float | None:
    """Return the mean accuracy of the best trial, or without one of the first; None where there is no trial."""
    shown = view.best or next(iter(view.ranked), None)
    return None if shown is None else fmean(view.runs(shown))


def expected_sentence(view: "StudyView") -> str:
    """Return what the expected accuracies and their intervals contain; "" without any."""
    if not view.expected:
        return ""
    if any(expected.high is None for expected in view.expected.values()):
        return "expected: after all trials, without the noise of a single evaluation, ± the error between seeds only"
    return f"expected: after all trials and seeds, the best first; 95% intervals {interval_contents(view)}"


def interval_contents(view: "StudyView") -> str:
    """Return which errors the intervals of expected accuracies contain; "" without any."""
    if not view.expected:
        return ""
    if view.split is None or any(expected.high is None for expected in view.expected.values()):
        return "between seeds only: the number of validation images is not known"
    if not view.confirmed:
        return "with the choice of validation images; no network was re-trained with another seed"
    return "with the choice of validation images and the noise of training runs"


def leaders_sentence(view: "StudyView") -> str:
    """Return which of the first trials cannot be told apart from the best one; "" if all can."""
    from nas.studies.comparison import is_testable, not_told_apart

    alike = not_told_apart(view)
    if view.best is None or not alike:
        return ""
    if not is_testable(view):
        return "the noise of these accuracies is not known, so that no lead of the best trial can be tested"
    numbers = [str(record.number) for record in alike]
    listed = f"trials {', '.join(numbers[:-1])} and {numbers[-1]}" if len(numbers) > 1 else f"trial {numbers[0]}"
    return f"trial {view.best.number} cannot be told apart from {listed}: its lead is not more than noise"


def outlook_sentence(view: "StudyView") -> str:
    """Return what is still to be expected of the search; "" if this is not known."""
    outlook = view.outlook
    if outlook is None:
        return ""
    chance = f"a chance of {_shown_chance(outlook.chance)} of a gain above {100 * outlook.gain:g} points"
    if outlook.chance <= UNLIKELY:
        return f"after {outlook.trials} trials the model expects nothing better: {chance}"
    return (
        f"after {outlook.trials} trials the model still expects something better: {chance}; more --trials continue the "
        "search, or a larger --patience if that ended it"
    )


def _shown_chance(chance: float) -> str:
    if chance < 0.001:
        return "less than 0.1%"
    return f"{chance:.1%}" if chance < 0.1 else f"{min(chance, 0.99):.0%}"


def split_line(split: "ValidationSplit", accuracy: float) -> str:
    """Return a sentence on the size of a validation split, on the sampling error of an accuracy, and on chance."""
    error = f"a standard error of {100 * split.standard_error(accuracy):.1f} points at {accuracy:.2%}"
    chance = f"the most frequent class alone gives {split.chance:.2%}"
    return f"validation split: {split.images:,} images, {error}; {chance}"
