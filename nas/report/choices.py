"""Choices that the best trials have in common: the share of each option among them and among all trials."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from attrs import evolve, frozen
from numpy.typing import NDArray

from nas.noise import CONFIDENCE, wilson
from nas.objective import PARETO
from nas.report.options import Column, columns, with_params
from nas.report.section import Figure, Section, Table, missing
from nas.report.theme import BLUE, GRAY, INK, VERMILION, axis, bars, layout, percent
from nas.studies.records import Record, StudyView

TITLE = "What the best trials have in common"
FEWEST = 20
BEST_SHARE, FEWEST_BEST = 0.1, 10
ROW_PX = 19
Row = tuple[float, float, int]  # cost, negative accuracy and number of a trial
MORE, LESS = "more frequent", "less frequent"


@frozen
class OptionShare:
    """Hold how often one option occurs among the best trials, and among all.

    Only trials in which the choice has an effect are counted.

    Attributes:
        choice: Name of the choice, for example "stage2.kernel".
        option: Text of the option.
        best: Number of the best trials that have it.
        best_of: Number of the best trials.
        all: Number of all trials that have it.
        all_of: Number of all trials.
        low: Lower end of the 95% interval of the share among the best (Wilson's interval).
        high: Upper end of the interval.
        p: Probability that as large a difference comes from chance in any of the comparisons of the study (Fisher's
            exact test with Holm's correction).
        tendency: "more frequent" or "less frequent" among the best; "" where chance explains the difference.
    """

    choice: str
    option: str
    best: int
    best_of: int
    all: int
    all_of: int
    low: float
    high: float
    p: float
    tendency: str = ""

    @property
    def best_share(self) -> float:
        """Return the share among the best trials."""
        return self.best / self.best_of

    @property
    def all_share(self) -> float:
        """Return the share among all trials."""
        return self.all / self.all_of


@frozen
class Commonalities:
    """Hold the shares of all options.

    Attributes:
        shares: Shares, choice by choice in the order of the search space.
        best: Number of trials that count as the best.
        trials: Number of complete trials.
        comparisons: Number of comparisons that the probabilities account for.
        order: How the best trials were chosen, as a clause.
    """

    shares: tuple[OptionShare, ...]
    best: int
    trials: int
    comparisons: int
    order: str

    @property
    def clear(self) -> tuple[OptionShare, ...]:
        """Return the options with a difference that chance does not explain."""
        return tuple(share for share in self.shares if share.tendency)


def commonalities(view: StudyView) -> Commonalities | None:
    """Return what the best trials have in common; None for fewer than 20 complete trials with known options."""
    known = with_params(record for record in view.complete if record.accuracy is not None)
    if len(known) < FEWEST:
        return None
    best, order = _best(view, known)
    is_best = np.array([record.number in best for record in known])
    pairs = [(column, shares) for column in columns(known) if (shares := _shares(column, is_best))]
    # The two options of one choice give the same comparison.
    comparisons = sum(len(shares) - (len(shares) == 2) for _, shares in pairs)
    shares = _corrected([share for _, some in pairs for share in some], comparisons)
    return Commonalities(tuple(shares), len(best), len(known), comparisons, order)


def _best(view: StudyView, known: Sequence[Record]) -> tuple[frozenset[int], str]:
    """Return the numbers of the best trials, and how they were chosen."""
    count = max(FEWEST_BEST, math.ceil(BEST_SHARE * len(known)))
    if view.settings["objective"] == PARETO:
        return _first_fronts(view, known, count), "that the fewest trials beat in both accuracy and cost"
    numbers = {record.number for record in known}
    ordered = [record.number for record in view.promising if record.number in numbers]
    by = "expected score, and by score where no score is expected" if view.expected else "score"
    return frozenset(ordered[:count]), f"with the highest {by}"


def _first_fronts(view: StudyView, known: Sequence[Record], count: int) -> frozenset[int]:
    """Return trials of the Pareto front, then of the front of those that remain, and so on."""
    rows = [(record.costs.get(view.cost_name, math.inf), -(record.accuracy or 0.0), record.number) for record in known]
    left, chosen = sorted(rows), list[int]()
    while left and len(chosen) < count:
        front, rest, best = list[Row](), list[Row](), math.inf
        for row in left:
            (front if row[1] < best else rest).append(row)
            best = min(best, row[1])
        chosen += [number for *_, number in front]
        left = rest
    return frozenset(chosen)


def _shares(column: Column, is_best: NDArray[np.bool_]) -> list[OptionShare]:
    """Return the shares of the options of one choice; none where it has no effect in any of the best trials."""
    used = column.codes >= 0
    best_of, all_of = int((used & is_best).sum()), int(used.sum())
    if not best_of or best_of == all_of:
        return []
    shares = []
    for code, option in enumerate(column.options):
        has = column.codes == code
        best, total = int((has & is_best).sum()), int(has.sum())
        p = fisher(best, best_of, total, all_of)
        shares.append(OptionShare(column.choice, option, best, best_of, total, all_of, *wilson(best, best_of), p))
    return shares


def fisher(best: int, best_of: int, total: int, all_of: int) -> float:
    """Return the probability that chance gives at least such a difference: Fisher's exact test, twice the smaller tail.

    Args:
        best: Number of the best trials that have an option.
        best_of: Number of the best trials.
        total: Number of all trials that have it.
        all_of: Number of all trials.

    The tea-tasting lady of Fisher (1935), who finds three of the four cups with milk first among eight:

    >>> round(fisher(3, 4, 4, 8) / 2, 4) == round(17 / 70, 4)
    True
    """
    from scipy.special import gammaln

    def log_combinations(n: int, k: NDArray[np.int_]) -> NDArray[np.float64]:
        return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))

    # All numbers that the best trials could have; the probabilities are those of the hypergeometric distribution.
    counts = np.arange(max(0, best_of + total - all_of), min(best_of, total) + 1)
    logs = log_combinations(total, counts) + log_combinations(all_of - total, best_of - counts)
    chances = np.exp(logs - log_combinations(all_of, np.array([best_of])))
    tails = float(chances[counts <= best].sum()), float(chances[counts >= best].sum())
    return min(1.0, 2 * min(tails))


def _corrected(shares: Sequence[OptionShare], comparisons: int) -> list[OptionShare]:
    """Return the shares with the probabilities of all comparisons together (Holm 1979), and what follows from them."""
    found = list(shares)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(found)), key=lambda i: found[i].p)):
        highest = max(highest, min(1.0, found[i].p * max(1, comparisons - place)))
        share = evolve(found[i], p=highest)
        tendency = MORE if share.best_share > share.all_share else LESS
        found[i] = evolve(share, tendency=tendency if highest < 1 - CONFIDENCE else "")
    return found


def choices_section(view: StudyView) -> Section:
    """Return the section of what the best trials have in common."""
    found = commonalities(view)
    if found is None or not found.shares:
        return missing(TITLE, _why_missing(view))
    tables = [_table(found.clear)] if found.clear else []
    return Section(TITLE, " ".join(_sentences(found)), [_figure(found)], tables)


def _why_missing(view: StudyView) -> str:
    known = with_params(view.complete)
    if view.complete and not known:
        return "The study does not hold which option of each choice its trials have."
    if len(known) < FEWEST:
        return f"{len(known)} trials are complete, and with fewer than {FEWEST} nothing can be told apart from chance."
    return "All complete trials have the same options, so that there is nothing to compare."


def _sentences(found: Commonalities) -> Iterable[str]:
    yield (
        f"The best trials are the {found.best} of {found.trials} complete trials {found.order}. Bars are their shares "
        "with 95% intervals; diamonds are the shares among all complete trials."
    )
    clear = len(found.clear)
    options = "no option is" if not clear else "one option is" if clear == 1 else f"{clear} options are"
    yield (
        f"After correction for {found.comparisons} comparisons, {options} more or less frequent among the best than "
        "chance explains" + ("; all other differences may be chance." if clear else "; all differences may be chance.")
    )
    yield (
        "Samplers prefer options that did well, so that the shares among all trials are not uniform; and options that "
        "they combined rise and fall together. A difference therefore shows what the best trials share, and "
        "not by itself what makes them good."
    )


def _table(shares: Sequence[OptionShare]) -> Table:
    rows = [
        (
            share.choice,
            share.option,
            f"{percent(share.best_share, 0)} ({percent(share.low, 0)} to {percent(share.high, 0)})",
            percent(share.all_share, 0),
            share.tendency,
            f"{share.p:.2g}" if share.p >= 1e-4 else "< 0.0001",
        )
        for share in sorted(shares, key=lambda share: share.p)
    ]
    headers = ("Choice", "Option", "Share among the best (95% interval)", "Share among all", "Among the best", "p")
    return Table("Options with a difference that chance does not explain", headers, rows, {2, 3, 5})


def _figure(found: Commonalities) -> Figure:
    figure = go.Figure()
    rows = _rows(found.shares)
    kinds = ((MORE, BLUE), (LESS, VERMILION), ("", GRAY))
    for tendency, color in kinds:
        some = [(place, share) for place, _, share in rows if share is not None and share.tendency == tendency]
        if some:
            name = f"{tendency} among the best" if tendency else "among the best; may be chance"
            _draw_bars(figure, some, name, color)
    shown = [(place, share) for place, _, share in rows if share is not None]
    figure.add_scatter(
        x=[round(100 * share.all_share, 2) for _, share in shown],
        y=[place for place, _ in shown],
        name="among all complete trials",
        mode="markers",
        marker={"symbol": "diamond", "size": 8, "color": INK},
        hovertemplate="%{x:.0f}% of all trials<extra></extra>",
    )
    ticks: dict[str, Any] = {
        "tickmode": "array",
        "tickvals": [row[0] for row in rows],
        "ticktext": [row[1] for row in rows],
    }
    figure.update_layout(
        layout("Shares of the options", f"{found.best} best of {found.trials} complete trials", legend_rows=2),
        xaxis=axis("Share of the trials (%)", span=(0, 102)),
        yaxis=axis("", span=(len(rows) - 0.4, -0.6), showgrid=False, **ticks),
        bargap=0.25,
    )
    return Figure("choices", _alt(found), figure, height_px=190 + ROW_PX * len(rows))


def _rows(shares: Sequence[OptionShare]) -> list[tuple[int, str, OptionShare | None]]:
    """Return the place, label and share of each row of the figure; each stage begins with a row of its name."""
    rows: list[tuple[int, str, OptionShare | None]] = []
    stage = ""
    for share in shares:
        own, _, what = share.choice.partition(".")
        if own != stage:
            stage = own
            rows.append((len(rows), f"<b>{escape(own)}</b>", None))
        rows.append((len(rows), escape(f"{what} {share.option}".strip()), share))
    return rows


def _draw_bars(figure: go.Figure, some: Sequence[tuple[int, OptionShare]], name: str, color: str) -> None:
    values = [100 * share.best_share for _, share in some]
    ends = bars(values, [100 * share.low for _, share in some], [100 * share.high for _, share in some], INK)
    figure.add_bar(
        x=values,
        y=[place for place, _ in some],
        name=name,
        orientation="h",
        marker={"color": color, "opacity": 0.75},
        error_x=ends,
        customdata=[[share.best, share.best_of] for _, share in some],
        hovertemplate="%{customdata[0]} of the %{customdata[1]} best<extra></extra>",
    )


def _alt(found: Commonalities) -> str:
    said = "; ".join(
        f"{share.choice} {share.option}: {percent(share.best_share, 0)} of the best and "
        f"{percent(share.all_share, 0)} of all"
        for share in sorted(found.clear, key=lambda share: share.p)[:5]
    )
    return f"Shares of each option among the best trials and among all. {said or 'No difference exceeds chance'}."
