"""How sure the choice of a network is."""

from nas.report.page.answer import Answer
from nas.report.page.words import (
    amount_words,
    cost_name,
    listed,
    network_name,
    plural,
    sentence,
)
from nas.report.theme import interval, percent
from nas.report.uncertainty import (
    interval_contents,
    outlook_sentence,
    split_sentence,
)
from nas.studies.records import Record, StudyView

QUESTION = "How sure is that?"


def certainty(view: StudyView) -> Answer:
    """Return how sure the choice is: validation images, seeds, intervals, latencies, and what may still come."""
    best = view.best or next(iter(view.ranked), None)
    if best is None:
        return Answer(QUESTION, ("No trial is complete, so that nothing is known yet.",))
    sentences = (
        _accuracy_error(view, best),
        _split(view),
        _seeds(view, best),
        _contents(view),
        _latency_error(view, best),
        sentence(outlook_sentence(view)),
        _proxy(view),
    )
    return Answer(QUESTION, tuple(filter(None, sentences)))


def _accuracy_error(view: StudyView, record: Record) -> str:
    known = view.interval(record)
    if view.accuracy_label != "accuracy":
        return (
            "What is compared are scores without training. They are no accuracies, and no interval contains the error "
            "of ranking networks by them."
        )
    if known is None:
        return f"The accuracy of {network_name(record)} is unknown."
    if known.low is None or known.high is None:
        return (
            f"The accuracy of {network_name(record)}, {percent(known.value)}, has no interval: the study does not hold "
            "what one could be computed from."
        )
    source = "the table" if _is_table(view) else "the search"
    return (
        f"The accuracy of {network_name(record)} is {percent(known.value)}, {interval(known.low, known.high)}, on "
        f"images and with training runs like those of {source}."
    )


def _is_table(view: StudyView) -> bool:
    return bool(view.settings["proxy"].get("evaluator") == "table")


def _split(view: StudyView) -> str:
    if view.split is not None:
        return sentence(split_sentence(view))
    if view.accuracy_label != "accuracy" or view.expected:
        return ""
    return "The number of validation images is not known, and so is the error that they cause."


def _contents(view: StudyView) -> str:
    contained = interval_contents(view) if view.accuracy_label == "accuracy" else ""
    return f"The 95% intervals are computed {contained}." if contained else ""


def _seeds(view: StudyView, record: Record) -> str:
    further = len(view.confirmed.get(record.number, ()))
    if view.accuracy_label != "accuracy":
        return ""
    if not further:
        how = "looked up in one column" if _is_table(view) else "evaluated with one seed"
        return f"{sentence(network_name(record))[:-1]} was {how} only."
    others = sum(number >= 0 and number != record.number for number in view.confirmed)
    too = f", and {plural(others, 'further trial')} as well" if others else ""
    return f"{sentence(network_name(record))[:-1]} was evaluated with {further + 1} seeds{too}."


def _latency_error(view: StudyView, record: Record) -> str:
    inexact = [cost for cost in record.spreads if cost in record.costs]
    if not inexact:
        return "All costs are counted from the architecture, and are exact."
    words = [f"{cost_name(cost)} {amount_words(view, record, cost)}" + _share(record, cost) for cost in sorted(inexact)]
    return f"Costs with an error, ± one standard deviation, as the search used them: {listed(words)}."


def _share(record: Record, cost: str) -> str:
    spread, value = record.spreads.get(cost), record.costs.get(cost)
    return f" ({spread / value:.1%} of it)" if spread and value else ""


def _proxy(view: StudyView) -> str:
    if str(view.settings["proxy"].get("evaluator")) not in ("train", "finetune", "supernet"):
        return ""
    return (
        "These accuracies are those of a short evaluation, and a full training run gives others: the part on the "
        "quality of the proxy says what is known of how well they rank networks."
    )
