"""How much of the differences between trials each choice accounts for, and which of these figures are noise.

The importance of a choice is the share of the variance of a value that its options account for, adjusted for what as
many options of no effect would account for by chance (the adjustment of R², here of one choice; Ezekiel 1930). With
many trials it is the share that is lost when the choice is left out of an additive model of all choices, so that a
choice is not given what belongs to others with which the sampler combined it. With few trials for the number of
options, such a model would not be determined, and each choice is regarded alone.

Optuna has two estimators of importance. fANOVA (Hutter et al. 2014) fits a random forest, which needs scikit-learn,
takes time and has no interval; PED-ANOVA (Watanabe et al. 2023) asks what distinguishes the best tenth.
Compared with the importances that follow from all networks of NAS-Bench-Macro (`experiments/importance`), the one here
has the smaller errors. It needs only linear algebra, so that intervals (by a jackknife) and the importances of permuted
values, which show what noise looks like, cost little.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from attrs import frozen
from numpy.typing import NDArray

from nas.noise import CONFIDENCE, quantile
from nas.report.options import Column, columns, with_params
from nas.report.section import Figure, Section, Table, missing
from nas.report.theme import BLUE, GRAY, INK, VERMILION, axis, bars, layout
from nas.studies.records import StudyView

TITLE = "Importance of the choices"
FEWEST = 20
PER_PARAMETER = 3  # trials for each parameter of the additive model, below which each choice is regarded alone
PERMUTATIONS, GROUPS = 200, 20
SHOWN = 20
ROW_PX = 26
Floats = NDArray[np.float64]
Blocks = Sequence[slice]


@frozen
class Importance:
    """Hold the importance of one choice for one value.

    Attributes:
        choice: Name of the choice.
        share: Share of the variance; it may be below 0 by the adjustment.
        low: Lower end of the 95% interval (jackknife over groups of trials), at least 0.
        high: Upper end of the interval.
        clear: Whether the share is higher than that of every choice in 95% of the permutations.
    """

    choice: str
    share: float
    low: float
    high: float
    clear: bool


@frozen
class Importances:
    """Hold the importances of all choices for one value.

    Attributes:
        rows: Importances, the highest first.
        noise: Highest share of any choice that 95% of the permutations of the values stay below.
        together: Share of the variance that all choices account for together; None where each is regarded alone.
        trials: Number of trials.
        parameters: Number of parameters of a model of all choices.
    """

    rows: tuple[Importance, ...]
    noise: float
    together: float | None
    trials: int
    parameters: int

    @property
    def clear(self) -> tuple[Importance, ...]:
        """Return the choices whose importance is not noise."""
        return tuple(row for row in self.rows if row.clear)


@frozen(eq=False)
class _Sums:
    """Hold the sums over trials from which all shares follow, with the columns of all choices side by side.

    Attributes:
        gram: Products of the columns `(P, P)`.
        products: Products of the columns and the values `(P, values)`.
        squares: Sums of the squares of the centered values `(values,)`.
        trials: Number of trials.
    """

    gram: Floats
    products: Floats
    squares: Floats
    trials: int


@frozen(eq=False)
class _Design:
    """Hold the options of the trials as numbers.

    Attributes:
        matrix: One column for each option but one of each choice, `(trials, P)`.
        blocks: Columns of each choice.
        names: Names of the choices.
    """

    matrix: Floats
    blocks: Blocks
    names: tuple[str, ...]


def importances(found: Sequence[Column], values: Floats) -> Importances | None:
    """Return the importance of choices for values; None where they cannot be known.

    Args:
        found: Options of the trials.
        values: Value of each trial, such as its accuracy.
    """
    design = _design(found)
    trials, parameters = len(values), design.matrix.shape[1]
    if trials < FEWEST or not parameters or float(np.ptp(values)) == 0:
        return None
    alone = trials < PER_PARAMETER * parameters
    rng = np.random.default_rng(0)  # The same study always gives the same page.
    shuffled = np.column_stack([values, *(rng.permutation(values) for _ in range(PERMUTATIONS))])
    sums = _sums(design.matrix, shuffled)
    shares = _shares(sums, design.blocks, alone=alone)
    noise = float(np.quantile(shares[:, 1:].max(axis=0), CONFIDENCE))
    margins = quantile(GROUPS - 1) * _jackknife(design, values, rng.permutation(trials) % GROUPS, alone=alone)
    rows = [
        Importance(name, share, max(0.0, share - margin), max(0.0, min(1.0, share + margin)), share > noise)
        for name, share, margin in zip(design.names, shares[:, 0].tolist(), margins.tolist(), strict=True)
    ]
    together = None if alone else _together(sums)
    return Importances(tuple(sorted(rows, key=lambda row: -row.share)), noise, together, trials, parameters)


def _design(found: Sequence[Column]) -> _Design:
    parts, blocks, names, start = [], [], [], 0
    for column in found:
        part = _independent(_columns(column))
        if part.shape[1]:
            parts.append(part)
            names.append(column.choice)
            blocks.append(slice(start, start := start + part.shape[1]))
    rows = len(found[0].codes) if found else 0
    return _Design(np.hstack(parts) if parts else np.zeros((rows, 0)), blocks, tuple(names))


def _columns(column: Column) -> Floats:
    """Return whether each trial has each option but the first, relative to the trials that the choice has an effect in.

    Where it has none the columns are 0, so that the choice accounts only for differences among the other trials.
    """
    used = column.codes >= 0
    has = (column.codes[:, None] == np.arange(1, len(column.options))).astype(np.float64)
    return np.asarray((has - has[used].mean(axis=0)) * used[:, None])


def _independent(part: Floats) -> Floats:
    return part[:, np.abs(part).sum(axis=0) > 0]


def _sums(matrix: Floats, values: Floats) -> _Sums:
    centered, deviations = matrix - matrix.mean(axis=0), values - values.mean(axis=0)
    return _Sums(centered.T @ centered, centered.T @ deviations, (deviations**2).sum(axis=0), len(values))


def _shares(sums: _Sums, blocks: Blocks, *, alone: bool) -> Floats:
    """Return the adjusted share of each choice in the variance of each of the values, `(choices, values)`."""
    return _alone(sums, blocks) if alone else _beside_others(sums, blocks)


def _alone(sums: _Sums, blocks: Blocks) -> Floats:
    rows = []
    for block in blocks:
        inverse, rank = _inverse(sums.gram[block, block])
        explained = _form(inverse, sums.products[block])
        noise = (sums.squares - explained) / max(1, sums.trials - rank - 1)
        rows.append((explained - rank * noise) / sums.squares)
    return np.array(rows)


def _beside_others(sums: _Sums, blocks: Blocks) -> Floats:
    """Return what each choice adds to a model of all others."""
    inverse, rank = _inverse(sums.gram)
    effects = inverse @ sums.products
    noise = (sums.squares - (effects * sums.products).sum(axis=0)) / max(1, sums.trials - rank - 1)
    rows = []
    for block in blocks:
        # The increase of the squared errors without the columns of a choice (the numerator of the partial F test).
        own, freedom = _inverse(inverse[block, block])
        rows.append((_form(own, effects[block]) - freedom * noise) / sums.squares)
    return np.array(rows)


def _inverse(matrix: Floats) -> tuple[Floats, int]:
    """Return the pseudo-inverse of a symmetric matrix, and its rank: options that occur only together are no help."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-9 * max(values[-1], 1e-300)
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T, int(kept.sum())


def _form(matrix: Floats, vectors: Floats) -> Floats:
    return np.asarray((vectors * (matrix @ vectors)).sum(axis=0))


def _together(sums: _Sums) -> float:
    """Return the adjusted share of all choices together in the variance of the first of the values."""
    inverse, rank = _inverse(sums.gram)
    explained = _form(inverse, sums.products)
    noise = (sums.squares - explained) / max(1, sums.trials - rank - 1)
    return float(((explained - rank * noise) / sums.squares)[0])


def _jackknife(design: _Design, values: Floats, groups: NDArray[np.intp], *, alone: bool) -> Floats:
    """Return the standard errors of the shares `(choices,)`, from what leaving out groups of trials changes."""
    matrix = np.column_stack([np.ones(len(values)), design.matrix])
    parts = [matrix[groups == group] for group in range(GROUPS)]
    targets = [values[groups == group, None] for group in range(GROUPS)]
    grams, products = (
        np.array([part.T @ part for part in parts]),
        [p.T @ t for p, t in zip(parts, targets, strict=True)],
    )
    squares = np.array([float((target**2).sum()) for target in targets])
    whole, whole_products, whole_squares = grams.sum(axis=0), np.sum(products, axis=0), squares.sum()
    left_out = []
    for group in range(GROUPS):
        count = len(values) - len(targets[group])
        sums = _centered(
            whole - grams[group], whole_products - products[group], np.array([whole_squares - squares[group]]), count
        )
        left_out.append(_shares(sums, design.blocks, alone=alone)[:, 0])
    deviations = np.array(left_out) - np.mean(left_out, axis=0)
    return np.asarray(np.sqrt((GROUPS - 1) / GROUPS * (deviations**2).sum(axis=0)))


def _centered(gram: Floats, products: Floats, squares: Floats, trials: int) -> _Sums:
    """Return the sums about the means from plain sums, whose first column is that of ones."""
    means, mean = gram[0, 1:] / trials, products[0] / trials
    return _Sums(
        gram[1:, 1:] - trials * np.outer(means, means),
        products[1:] - trials * means[:, None] * mean,
        squares - trials * mean**2,
        trials,
    )


def importance_section(view: StudyView) -> Section:
    """Return the section of the importance of choices for accuracy, and for the cost that the first target limits."""
    known = with_params(record for record in view.complete if record.accuracy is not None)
    if len(known) < FEWEST:
        return missing(TITLE, _too_few(view, len(known)))
    found = columns(known)
    accuracy = importances(found, np.array([record.accuracy for record in known], dtype=np.float64))
    if accuracy is None:
        return missing(TITLE, f"All {len(known)} complete trials have the same {view.accuracy_label} or options.")
    costs = [record.costs.get(view.cost_name, math.nan) for record in known]
    cost = None if any(map(math.isnan, costs)) else importances(found, np.array(costs, dtype=np.float64))
    return Section(
        TITLE,
        " ".join(_sentences(view, accuracy)),
        [_figure(view, accuracy, cost)],
        [_table(view, accuracy, cost)],
    )


def _too_few(view: StudyView, known: int) -> str:
    if len(view.complete) >= FEWEST:
        return "The study does not hold which option of each choice its trials have."
    return f"{known} trials are complete. Fewer than {FEWEST} say nothing about the importance of choices."


def _sentences(view: StudyView, found: Importances) -> Iterable[str]:
    label, clear = view.accuracy_label, len(found.clear)
    yield (
        f"Each bar is the share of the variance of the {label} among {found.trials} complete trials that the options "
        "of a choice account for, with its 95% interval."
    )
    yield (
        f"With the {label} permuted among the trials, the highest share of any choice stays below {found.noise:.1%} in "
        f"95% of {PERMUTATIONS} permutations: {clear} of {len(found.rows)} choices are above that, and the others, in "
        "gray, cannot be told apart from noise."
    )
    if wide := [row.choice for row in found.clear if row.low <= 0]:
        yield (
            f"The intervals of {', '.join(wide)} reach 0 all the same: that a share is not noise is known, and not how "
            "large it is."
        )
    if found.together is None:
        yield (
            f"There are fewer than {PER_PARAMETER} trials for each of the {found.parameters} options to compare; each "
            "choice is therefore regarded alone, and may show what belongs to another one that varied with it."
        )
    else:
        yield (
            f"A choice counts beside all others. All together account for {max(0.0, found.together):.0%}; the rest is "
            "noise of evaluations, and effects of combinations."
        )
    yield "The shares refer to the trials of this search, which its sampler chose, and not to the whole space."


def _figure(view: StudyView, accuracy: Importances, cost: Importances | None) -> Figure:
    figure = go.Figure()
    rows = accuracy.rows[:SHOWN]
    for clear, name, color in ((True, view.accuracy_label, BLUE), (False, "cannot be told apart from noise", GRAY)):
        some = [row for row in rows if row.clear == clear]
        if some:
            _draw_bars(figure, some, name, color)
    if cost is not None:
        shares = {row.choice: row.share for row in cost.rows}
        figure.add_scatter(
            x=[100 * max(0.0, shares[row.choice]) for row in rows],
            y=[escape(row.choice) for row in rows],
            name=f"the same for {_cost_words(view)}",
            mode="markers",
            marker={"symbol": "diamond", "size": 9, "color": VERMILION},
            hovertemplate="%{y}: %{x:.1f}%<extra></extra>",
        )
    figure.add_vline(x=100 * accuracy.noise, line={"color": INK, "width": 1.2, "dash": "dot"})
    order: dict[str, Any] = {"categoryorder": "array", "categoryarray": [escape(row.choice) for row in reversed(rows)]}
    figure.update_layout(
        layout(TITLE, "dotted: 95% of permutations stay below", legend_rows=2),
        xaxis=axis("Share of the variance (%)", rangemode="tozero"),
        yaxis=axis("", showgrid=False, **order),
        bargap=0.3,
    )
    return Figure("importance", _alt(view, accuracy), figure, height_px=210 + ROW_PX * len(rows))


def _draw_bars(figure: go.Figure, rows: Sequence[Importance], name: str, color: str) -> None:
    middle = [max(0.0, row.share) for row in rows]
    ends = bars([100 * x for x in middle], [100 * row.low for row in rows], [100 * row.high for row in rows], INK)
    figure.add_bar(
        x=[100 * x for x in middle],
        y=[escape(row.choice) for row in rows],
        name=name,
        orientation="h",
        marker={"color": color},
        error_x=ends,
        hovertemplate="%{y}: %{x:.1f}%<extra></extra>",
    )


_COST_WORDS = {
    "macs": "MACs",
    "params": "parameters",
    "peak_bytes": "peak memory",
    "size_bytes": "size",
    "latency_ms": "latency",
}


def _cost_words(view: StudyView) -> str:
    return _COST_WORDS.get(view.cost_name, view.cost_name.replace("_", " "))


def _alt(view: StudyView, found: Importances) -> str:
    first = ", ".join(f"{row.choice} {row.share:.0%}" for row in found.clear[:5])
    return f"Share of the variance of the {view.accuracy_label} by choice. Above noise: {first or 'none'}."


def _table(view: StudyView, accuracy: Importances, cost: Importances | None) -> Table:
    costs = {} if cost is None else {row.choice: row for row in cost.rows}
    shown = [row for row in accuracy.rows if row.clear] or list(accuracy.rows[:5])
    rows = [
        (
            row.choice,
            f"{_share(row)}",
            "above noise" if row.clear else "may be noise",
            _share(costs[row.choice]) if row.choice in costs else "unknown",
        )
        for row in shown
    ]
    headers = ("Choice", f"Share of the variance of {view.accuracy_label}", "", f"Share of that of {_cost_words(view)}")
    hidden = len(accuracy.rows) - len(rows)
    return Table(f"Importance of choices ({hidden} more cannot be told apart from noise)", headers, rows, {1, 3})


def _share(row: Importance) -> str:
    return f"{max(0.0, row.share):.1%} ({row.low:.1%} to {row.high:.1%})"
