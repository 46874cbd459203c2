"""The section of the proxy task: how accuracies were found, and what is known of how well they rank networks."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.report.section import Figure, Section, Table, command
from nas.report.theme import BLUE, GRAY, INK, axis, bars, layout
from nas.studies.records import SOURCE, StudyView

TITLE = "Quality of the proxy"
LONGEST = 120
_AROUND = "around-"  # begins the stored name of a space around a network


@frozen
class RankAgreement:
    """Hold how well the accuracies of one evaluator rank networks as those of another one do.

    Attributes:
        evaluator: Name of the evaluator, as the user wrote it.
        other: Name of the evaluator that it is compared with.
        networks: Number of networks that both evaluated.
        tau: Kendall's tau; NaN where all accuracies are equal.
        low: Lower end of its 95% interval.
        high: Upper end of its 95% interval.
        study: Name of the study of the check.
    """

    evaluator: str
    other: str
    networks: int
    tau: float
    low: float
    high: float
    study: str

    @property
    def is_known(self) -> bool:
        """Return whether there is a tau."""
        return self.tau == self.tau


def proxy_section(view: StudyView, agreements: Sequence[RankAgreement] = ()) -> Section:
    """Return the section of the proxy task.

    Args:
        view: The study.
        agreements: What checks in the same database found of evaluators such as that of the study.
    """
    tables = [Table("How accuracies were found", ("What", "Value"), _facts(view))]
    if not agreements:
        unknown = "No check of it is stored in this database: how well it ranks networks is not known."
        if _is_table(view):
            unknown = "How well these rank networks for other images or longer training runs is not known."
        return Section(TITLE, f"{_what(view)} {unknown}", (), tables, commands=_commands(view))
    known = [one for one in agreements if one.is_known]
    tables.append(_table(agreements))
    text = f"{_what(view)} {_reading(known, len(agreements))}"
    return Section(TITLE, text, [_figure(known)] if known else [], tables, commands=_commands(view))


def _is_table(view: StudyView) -> bool:
    return bool(view.settings["proxy"].get("evaluator") == "table")


def _what(view: StudyView) -> str:
    evaluator = view.settings["proxy"].get("evaluator", "unknown")
    if _is_table(view):
        return "Accuracies were looked up in a table, and are those of the training runs behind it."
    if evaluator == "python":
        return (
            f"Accuracies come from the function {view.settings['proxy'].get('function', '?')}. What counts is whether "
            "it ranks networks as full training on the target task would."
        )
    return (
        f"Accuracies come from the evaluator {evaluator}, which stands for full training on the target task. What "
        "counts is whether it ranks networks as full training would."
    )


def _facts(view: StudyView) -> list[tuple[str, str]]:
    settings = view.settings
    flat = dict(_flat(settings["proxy"]))
    rows = [(name, value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…") for name, value in flat.items()]
    split = view.split
    known = (
        [] if split is None else [("validation images", f"{split.images:,}"), ("majority class", f"{split.chance:.2%}")]
    )
    trained = settings["proxy"].get("evaluator") in ("train", "finetune")
    return [*([("epochs", str(settings["epochs"]))] if trained else []), *rows, *known]


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _commands(view: StudyView) -> tuple[str, ...]:
    """Return the command that checks the evaluator; none for a table, whose accuracies are the truth of its search."""
    settings = view.settings
    if _is_table(view):
        return ()
    # A check computes costs, and measures nothing on a device.
    counted = [str(text) for text in settings["targets"] if not str(text).startswith("latency")]
    targets = [word for text in counted for word in ("--target", text)]
    data = settings["proxy"].get("data")
    words = ("nas", "check", *_space(settings), *targets, *(("--data", str(data)) if data else ()))
    return (command(*words, *_checked(settings["proxy"])),)


def _space(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of the space; one around a network is stored under a name that --space does not take."""
    name, source = str(settings["space"]), settings.get(SOURCE)
    pretrained = () if source is None else ("--pretrained", str(source))
    if not name.startswith(_AROUND):
        return ("--space", name, *pretrained)
    # Without --space, a check with a pretrained network is of the networks around it.
    space = pretrained or ("--space", f"around:{name.removeprefix(_AROUND)}")
    # Where the proxy task has a full resolution, the resolution is a choice, which --resolution would fix.
    is_fixed = "resolution" in settings and "full_resolution" not in settings["proxy"]
    return (*space, *(("--resolution", str(settings["resolution"])) if is_fixed else ()))


def _checked(proxy: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that name an evaluator without training, which is compared with a training run."""
    kind = proxy.get("evaluator")
    which = {"python": proxy.get("function"), "zero-cost": proxy.get("score")}.get(str(kind))
    return ("--evaluator", f"{kind}:{which}", "--truth", "train") if which else ()


def _reading(known: Sequence[RankAgreement], count: int) -> str:
    if not known:
        return (
            f"{count} comparisons are stored, and none gives a tau, because all accuracies of an evaluator are equal."
        )
    clear = sum(one.low > 0 for one in known)
    return (
        f"Checks in this database compare it on random networks: {clear} of {count} agreements can be told apart from "
        "guessing. A tau of 1 is the same order, and 0 is guessing; (1 + tau) / 2 is the share of pairs in that order."
    )


def _table(agreements: Sequence[RankAgreement]) -> Table:
    rows = [
        (
            one.evaluator,
            one.other,
            str(one.networks),
            f"{one.tau:.2f} ({one.low:.2f} to {one.high:.2f})" if one.is_known else "unknown",
            one.study,
        )
        for one in agreements
    ]
    headers = ("Evaluator", "Compared with", "Networks", "Kendall's tau (95% interval)", "Study")
    return Table("Agreement of the order of networks", headers, rows, {2, 3})


def _figure(known: Sequence[RankAgreement]) -> Figure:
    places = list(range(len(known)))
    values = [one.tau for one in known]
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=places,
        mode="markers",
        marker={"color": BLUE, "size": 10},
        error_x=bars(values, [one.low for one in known], [one.high for one in known], INK),
        hovertemplate="tau %{x:.2f}<extra></extra>",
        name="Kendall's tau",
    )
    figure.add_vline(x=0, line={"color": GRAY, "width": 1.2, "dash": "dash"})
    ticks: dict[str, Any] = {"tickmode": "array", "tickvals": places, "ticktext": [_label(one) for one in known]}
    figure.update_layout(
        layout("Agreement of the order of networks", "bars: 95% intervals; 0 is guessing", legend_rows=0),
        xaxis=axis("Kendall's tau", span=(-1.02, 1.02)),
        yaxis=axis("", span=(len(known) - 0.4, -0.6), showgrid=False, **ticks),
        showlegend=False,
    )
    said = "; ".join(f"{one.evaluator} and {one.other}: {one.tau:.2f}" for one in known)
    return Figure("proxy", f"Kendall's tau of evaluators: {said}.", figure, height_px=150 + 60 * len(known))


def _label(one: RankAgreement) -> str:
    first, second = (name if len(name) <= 24 else f"{name[:23]}…" for name in (one.evaluator, one.other))
    return f"{escape(first)}<br>and {escape(second)}"
