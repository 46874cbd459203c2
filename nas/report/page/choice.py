"""Which network a search recommends, and why that one."""

from nas.cost.base import format_amount
from nas.objective import PARETO
from nas.report.page.answer import Answer
from nas.report.page.words import (
    accuracy_words,
    amount_words,
    commands_of,
    cost_name,
    data_of,
    listed,
    sentence,
    unit_of,
)
from nas.report.uncertainty import (
    first_sentences,
    leaders_sentence,
)
from nas.studies.records import Record, StudyView

QUESTION = "Which network should I use, and why that one?"
SOFT = "soft"
CLEARLY = 0.05  # share of the target; a network this much below it did not merely miss the last step to the target


def choice(view: StudyView, storage: str) -> Answer:
    """Return the network to use with the reasons, or why no network is recommended."""
    best = view.best
    sentences = [sentence(text) for text in first_sentences(view)]
    if best is None:
        none = sentence(f"no network is recommended: {view.recommendation.reason}")
        # If nothing was learned, the first sentence says so with figures.
        return Answer(QUESTION, tuple(sentences if view.learned is False else [none, *sentences]))
    costs = listed([_cost_words(view, best, cost) for cost in _stated(view, best)])
    use = f"Use trial {best.number}: its {view.accuracy_label} is {accuracy_words(view, best)}, and it costs {costs}."
    why = sentence(f"it is recommended because {view.recommendation.reason}".replace(" ,", ","))
    alike, paid = sentence(leaders_sentence(view)), _payment(view, best)
    return Answer(
        QUESTION,
        tuple(filter(None, (use, paid, why, *sentences, alike, _front_note(view)))),
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


def _payment(view: StudyView, best: Record) -> str:
    """Return a sentence on what the soft objective pays for a cost clearly below the target; "" if it pays nothing."""
    limits = view.settings["limits"]
    name, high = str(limits[0]["cost"]), float(limits[0]["high"])
    saved = 1 - best.costs.get(name, high) / high
    if view.settings["objective"] != SOFT or saved < CLEARLY or best.score is None or not best.accuracy:
        return ""
    paid = best.score / best.accuracy - 1
    what = cost_name(name) if len(limits) == 1 else "all costs together"
    if paid <= 0:
        return ""
    return (
        f"That is {saved:.0%} less than the target of {format_amount(high, unit_of(view, name))}: the soft objective "
        f"pays for lower costs, and the score of this network is {paid:.1%} above its {view.accuracy_label}, for "
        f"{what}."
    )
