"""Words that the parts of a report page share: names of networks, accuracies and costs with their errors."""

from collections.abc import Iterator

from nas.cost.base import cost_title, format_amount
from nas.report.commands import command_line
from nas.report.theme import interval, percent
from nas.studies.records import Record, StudyView

UNITS = {"macs": "MACs", "params": "params", "peak_bytes": "bytes", "size_bytes": "bytes", "latency_ms": "ms"}
NAMES = {
    "macs": "multiply-adds (MACs)",
    "params": "parameters",
    "peak_bytes": "peak memory",
    "size_bytes": "size of the weights",
}


def sentence(text: str) -> str:
    """Return a text as a sentence: with a capital letter and a full stop.

    >>> sentence("trial 3 is first"), sentence("Is it?"), sentence("")
    ('Trial 3 is first.', 'Is it?', '')
    """
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def plural(count: int, word: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "trial"), plural(2000, "trial")
    ('1 trial', '2,000 trials')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(words: "list[str] | tuple[str, ...]") -> str:
    """Return words as an enumeration.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def network_name(record: Record) -> str:
    """Return a name for a trial or the baseline."""
    return f"baseline {record.label}" if record.number < 0 else f"trial {record.number}"


def accuracy_words(view: StudyView, record: Record) -> str:
    """Return the accuracy of a network with its interval and the number of its seeds, as far as they are known."""
    known = view.interval(record)
    if known is None:
        return "unknown"
    seeds = 1 + len(view.confirmed.get(record.number, ()))
    notes = [f"mean of {seeds} seeds"] * (seeds > 1)
    notes += [interval(known.low, known.high)] * (view.accuracy_label == "accuracy")
    return percent(known.value) + (f" ({', '.join(notes)})" if notes else "")


def unit_of(view: StudyView, cost: str) -> str:
    """Return the unit of a cost."""
    limits = (limit for limit in view.settings["limits"] if limit["cost"] == cost)
    return next((str(limit["unit"]) for limit in limits if limit.get("unit")), UNITS.get(cost, ""))


def cost_name(cost: str) -> str:
    """Return a cost in words."""
    return NAMES.get(cost) or cost_title(cost)


def amount_words(view: StudyView, record: Record, cost: str) -> str:
    """Return a cost as the search used it, with its standard deviation; "unknown" where the study lacks it."""
    value = record.costs.get(cost)
    if value is None:
        return "unknown"
    spread = record.spreads.get(cost, 0.0)
    error = "" if spread == 0 else " ± ?" if spread is None else f" ± {spread:.2g}"
    return f"{format_amount(value, unit_of(view, cost))}{error}"


def costs_of(view: StudyView) -> tuple[str, ...]:
    """Return the names of the costs to show: those of the targets first, then what is always counted."""
    limited = [str(limit["cost"]) for limit in view.settings["limits"]]
    return tuple(dict.fromkeys((*limited, "macs", "params", "peak_bytes")))


def commands_of(view: StudyView, number: int, data: str, storage: str) -> Iterator[tuple[str, str]]:
    """Yield what can be done with a trial, and the command for it.

    Args:
        view: The study.
        number: Number of the trial.
        data: Images that the search trained on; "" where it trained on none.
        storage: URL of the database.
    """
    which, folder = f"study:{view.name}:trial={number}", f"trial-{number}"
    images = ("--data", data or "FOLDER")
    yield "show it layer by layer", command_line("show", which, storage=storage)
    yield "train it fully", command_line("train", which, *images, "--out", folder, storage=storage)
    yield "export it after training", command_line("export", folder)


def data_of(view: StudyView) -> str:
    """Return the images that a search trained on; "" where it trained on none."""
    return str(view.settings["proxy"].get("data", ""))
