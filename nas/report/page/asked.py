"""This module answers what a search was asked for, how far it is, and how it found accuracies."""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from nas.cost.base import format_amount
from nas.objective import PARETO
from nas.report.page.answer import Answer
from nas.report.page.words import (
    listed,
    plural,
    unit_of,
)
from nas.report.section import Table
from nas.studies.records import StudyView

QUESTION = "What was asked?"


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
    return Answer(QUESTION, sentences, (Table("Settings of the search", ("Setting", "Value"), _settings(view)),))


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
