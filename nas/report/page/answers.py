"""The questions at the top of a report page and their answers, as plain sentences computed from a study."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isinf
from types import MappingProxyType
from typing import Any

from attrs import frozen

from nas.cost.base import format_amount
from nas.objective import PARETO
from nas.report.page.words import (
    accuracy_words,
    amount_words,
    commands_of,
    cost_name,
    listed,
    network_name,
    plural,
    sentence,
    unit_of,
)
from nas.report.section import Table
from nas.report.theme import interval, percent
from nas.report.uncertainty import (
    first_sentences,
    interval_contents,
    leaders_sentence,
    outlook_sentence,
    split_sentence,
)
from nas.studies.records import DeviceMeasurement, Record, StudyView

ASKED = "What was asked?"
CHOICE = "Which network should I use, and why that one?"
CERTAINTY = "How sure is that?"
COST = "What does it cost on the device?"


@frozen
class Answer:
    """Hold a question and its answer. All texts are plain; the page escapes them.

    Attributes:
        question: The question, which is the title of its part of the page.
        sentences: The answer, the most important sentence first.
        tables: Values that the answer rests on.
        commands: What can be done next, each with the command for it.
    """

    question: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()


def answers(view: StudyView, storage: str, *, is_active: bool = False) -> tuple[Answer, ...]:
    """Return the answers of a study.

    Args:
        view: The study.
        storage: URL of its database, for the commands.
        is_active: Whether a process is searching.
    """
    return (asked(view, is_active=is_active), choice(view, storage), certainty(view), device_cost(view))


def data_of(view: StudyView) -> str:
    """Return the images that a search trained on; "" where it trained on none."""
    return str(view.settings["proxy"].get("data", ""))


def asked(view: StudyView, *, is_active: bool = False) -> Answer:
    """Return what the search was asked for, and how far it is."""
    settings = view.settings
    targets = listed([str(text) for text in settings["targets"]]) if settings["targets"] else "no target"
    label = view.accuracy_label
    what = (
        f"the highest {label} at each cost up to {targets}"
        if settings["objective"] == PARETO
        else f"the network with the highest {label} for {targets}"
    )
    sentences: tuple[str, ...] = (
        f"The search looked for {what}, in the space {settings['space']}.",
        evaluation(view),
        _state(view),
    )
    sentences += ("A process is at work on this study now, so that the answers may still change.",) * is_active
    return Answer(ASKED, sentences, (Table("Settings of the search", ("Setting", "Value"), _settings(view)),))


def evaluation(view: StudyView) -> str:
    """Return a sentence on how accuracies were found."""
    proxy = view.settings["proxy"]
    return _EVALUATIONS.get(str(proxy.get("evaluator")), _other)(view, proxy)


def _training(view: StudyView, proxy: Mapping[str, Any]) -> str:
    is_finetuned = proxy.get("evaluator") == "finetune"
    start = f"inherited the weights of {view.settings.get('source', 'a network')} and was fine-tuned" * is_finetuned
    return (
        f"Each network {start or 'was trained from random weights'} for {plural(view.settings['epochs'], 'epoch')} "
        f"{_images(proxy)}."
    )


def _images(proxy: Mapping[str, Any]) -> str:
    images = proxy.get("images")
    counts = images if isinstance(images, Mapping) else {}
    train, validation = counts.get("train", "an unknown number of"), counts.get("val", "an unknown number of others")
    size = f" at {proxy['resolution']} pixels" if "resolution" in proxy else ""
    return f"on {train} images of {proxy.get('data', 'unknown data')}{size}, and validated on {validation}"


def _supernet(_view: StudyView, proxy: Mapping[str, Any]) -> str:
    return f"All networks shared the weights of one supernet, which was trained {_images(proxy)}."


def _table(_view: StudyView, proxy: Mapping[str, Any]) -> str:
    return (
        f"No network was trained: accuracies were read from column {proxy.get('column', '?')} of the table "
        f"{proxy.get('table', '?')}, which holds {plural(int(proxy.get('architectures', 0)), 'network')}."
    )


def _python(_view: StudyView, proxy: Mapping[str, Any]) -> str:
    return f"Accuracies were returned by the function {proxy.get('function', '?')}."


def _zero_cost(_view: StudyView, proxy: Mapping[str, Any]) -> str:
    return (
        f"No network was trained: networks are ranked by the zero-cost score {proxy.get('score', '?')}, which is not "
        "an accuracy."
    )


def _other(_view: StudyView, proxy: Mapping[str, Any]) -> str:
    return f"Accuracies came from the evaluator {proxy.get('evaluator', '?')}."


_EVALUATIONS = MappingProxyType(
    {
        "train": _training,
        "finetune": _training,
        "supernet": _supernet,
        "table": _table,
        "python": _python,
        "zero-cost": _zero_cost,
    }
)


def _state(view: StudyView) -> str:
    if not view.records:
        return "No trial has begun yet, so that there is nothing to report."
    states = Counter(record.state for record in view.records)
    foreign = f" {plural(len(view.foreign), 'trial')} of another program are left out." if view.foreign else ""
    counts = listed([f"{count:,} {_STATES.get(state, state)}" for state, count in states.items()])
    return f"The study has {plural(len(view.records), 'trial')}: {counts}.{foreign}"


_STATES = MappingProxyType(
    {"pruned": "stopped early", "killed": "interrupted", "running": "without a result (running or interrupted)"}
)


def _settings(view: StudyView) -> Iterator[tuple[str, str]]:
    settings = view.settings
    yield "targets", listed([str(text) for text in settings["targets"]]) if settings["targets"] else "none"
    yield "objective", _objective(view)
    if settings["objective"] != PARETO and settings.get("band") is not None and settings["limits"]:
        first = settings["limits"][0]
        low, high = (format_amount(float(first[end]), unit_of(view, str(first["cost"]))) for end in ("low", "high"))
        yield "cost range", f"{low} to {high}"
    yield "space", str(settings["space"])
    if fixed := settings.get("fixed"):
        yield "fixed choices", ", ".join(f"{name}={value}" for name, value in fixed.items())
    if "resolution" in settings and "classes" in settings:
        yield "input of the target task", f"{settings['resolution']} pixels, {settings['classes']} classes"
    yield "sampler and pruner", f"{settings.get('sampler', 'unknown')}, {settings.get('pruner', 'unknown')}"
    yield "seed", str(settings.get("seed", "unknown"))


def _objective(view: StudyView) -> str:
    w = view.settings.get("w")
    exponents = f", exponents {w[0]:g} below and {w[1]:g} above the target" if w else ""
    return f"{view.settings['objective']}{exponents}"


def choice(view: StudyView, storage: str) -> Answer:
    """Return the network to use with the reasons, or why no network is recommended."""
    best = view.best
    sentences = [sentence(text) for text in first_sentences(view)]
    if best is None:
        none = sentence(f"no network is recommended: {view.recommendation.reason}")
        # If nothing was learned, the first sentence says so with figures.
        return Answer(CHOICE, tuple(sentences if view.learned is False else [none, *sentences]))
    costs = listed([_cost_words(view, best, cost) for cost in _stated(view, best)])
    use = f"Use trial {best.number}: its {view.accuracy_label} is {accuracy_words(view, best)}, and it costs {costs}."
    why = sentence(f"it is recommended because {view.recommendation.reason}".replace(" ,", ","))
    alike = sentence(leaders_sentence(view))
    return Answer(
        CHOICE,
        tuple(filter(None, (use, why, *sentences, alike, _front_note(view)))),
        commands=tuple(commands_of(view, best.number, data_of(view), storage)),
    )


def _stated(view: StudyView, record: Record) -> list[str]:
    limited = [str(limit["cost"]) for limit in view.settings["limits"]]
    known = [cost for cost in dict.fromkeys((*limited, "macs", "params")) if cost in record.costs]
    return known or ["macs"]


def _cost_words(view: StudyView, record: Record, cost: str) -> str:
    """Return a cost with its name, unless the unit says which it is."""
    amount = amount_words(view, record, cost)
    return amount if cost in ("macs", "params") else f"{amount} of {cost_name(cost)}"


def _front_note(view: StudyView) -> str:
    if view.settings["objective"] != PARETO or len(view.front) < 2:
        return ""
    return (
        f"The search was for a whole front: {len(view.front)} networks are on it, and a cheaper one may be the better "
        "choice for you."
    )


def certainty(view: StudyView) -> Answer:
    """Return how sure the choice is: validation images, seeds, intervals, latencies, and what may still come."""
    best = view.best or next(iter(view.ranked), None)
    if best is None:
        return Answer(CERTAINTY, ("No trial is complete, so that nothing is known yet.",))
    sentences = (
        _accuracy_error(view, best),
        _split(view),
        _seeds(view, best),
        _contents(view),
        _latency_error(view, best),
        sentence(outlook_sentence(view)),
        _proxy(view),
    )
    return Answer(CERTAINTY, tuple(filter(None, sentences)))


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


def device_cost(view: StudyView) -> Answer:
    """Return the costs of the recommended network: asked for, as the search used them, and measured."""
    best = view.best
    if best is None:
        shown = "No network is recommended, so that no cost is stated."
        return Answer(COST, (shown, *_measured_sentences(view)))
    rows = tuple(_cost_rows(view, best))
    headers = ("Cost", "Target", "In the search", "Measured after it", "Within the target")
    table = Table(f"Costs of trial {best.number} (± one standard deviation)", headers, rows)
    return Answer(COST, tuple(_cost_sentences(view, best)), (table,))


def _cost_rows(view: StudyView, best: Record) -> Iterator[tuple[str, ...]]:
    limits = {str(limit["cost"]): limit for limit in view.settings["limits"]}
    for cost in dict.fromkeys((*limits, "macs", "params", "peak_bytes")):
        if cost not in limits and cost not in best.costs:
            continue
        high = float(limits[cost]["high"]) if cost in limits else None
        measurement = view.measurements.get(best.number)
        measured = measurement if measurement is not None and measurement.cost == cost else None
        yield (
            cost_name(cost),
            "none" if high is None else format_amount(high, unit_of(view, cost)),
            amount_words(view, best, cost),
            _measured_words(view, measured, is_exact=cost in best.costs and cost not in best.spreads),
            _within(best.costs.get(cost), high, measured),
        )


def _measured_words(view: StudyView, measured: DeviceMeasurement | None, *, is_exact: bool) -> str:
    if measured is None:
        return "exact by counting" if is_exact else "not measured"
    if isinf(measured.measured):
        return "it did not run"
    return f"{format_amount(measured.measured, unit_of(view, measured.cost))} ± {measured.spread:.2g}"


def _within(value: float | None, high: float | None, measured: DeviceMeasurement | None) -> str:
    if high is None:
        return ""
    if measured is not None:
        return "yes, as measured" if measured.meets else "no, as measured"
    if value is None:
        return "unknown"
    return "yes" if value <= high else "no"


def _cost_sentences(view: StudyView, best: Record) -> Iterator[str]:
    measurement = view.measurements.get(best.number)
    if measurement is not None and not isinf(measurement.measured):
        unit = unit_of(view, measurement.cost)
        predicted = "an unknown cost" if measurement.predicted is None else format_amount(measurement.predicted, unit)
        yield (
            f"Measured {view.measured_how}, trial {best.number} takes "
            f"{format_amount(measurement.measured, unit)} ± {measurement.spread:.2g}; the search used {predicted}, and "
            f"the target is {format_amount(measurement.target, unit)}."
        )
    elif not best.spreads:
        yield f"The costs of trial {best.number} are counted from its architecture; none of them depends on a device."
    else:
        yield f"Trial {best.number} was not measured after the search, so that its predicted cost is not verified."
    yield from _measured_sentences(view)


def _measured_sentences(view: StudyView) -> Iterable[str]:
    if not view.measured_count:
        return
    met = len([r for r in view.records if view.meets(r)])
    yield (
        f"{plural(view.measured_count, 'network')} were measured {view.measured_how} after the search, and {met} of "
        "them met the target."
    )
    if noisy := sum(measurement.noisy for measurement in view.measurements.values()):
        yield f"Other work disturbed the machine in {plural(noisy, 'measurement')}; `nas latency measure` says more."
