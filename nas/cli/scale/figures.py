"""The points in the figure of a fit."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.report.scaling import Coefficients, Panel
    from nas.scaling.fit import Fit, Fitted
    from nas.scaling.rules import PowerRule


def fit_panels(fits: "Sequence[Fit]") -> "list[Panel]":
    """Return a panel for each fit; each marks the coefficients of the EfficientNet paper (arXiv 1905.11946)."""
    from nas.report.scaling import Panel

    return [Panel(f"at phi {fit.settings.phi:g}", _points(fit)) for fit in fits]


def _points(fit: "Fit") -> "list[Coefficients]":
    from nas.report.scaling import PUBLISHED, Coefficients
    from nas.scaling.rules import own

    scored = [Coefficients(shares(one.candidate.rule), one.score, _hover(one), _kind(fit, one)) for one in fit.ranked]
    paper = own(1.2, 1.1, 1.15)
    return [*scored, Coefficients(shares(paper), None, PUBLISHED, PUBLISHED)]


def _kind(fit: "Fit", one: "Fitted") -> str:
    if one is fit.winner:
        return "winner"
    return "tied with the best" if one.tied and fit.tie_costs else "scored"


def shares(rule: "PowerRule") -> tuple[float, float, float]:
    """Return the shares of depth, width and resolution in the growth of the MACs, which sum to 1."""
    parts = (math.log(rule.alpha), 2 * math.log(rule.beta), 2 * math.log(rule.gamma))
    return parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts)


def _hover(one: "Fitted") -> str:
    from nas.cli.shared.printing import millions, percent

    spread = "" if math.isnan(one.spread) else f" ± {percent(one.spread)}"
    return (
        f"{one.candidate.rule.name}<br>{percent(one.accuracy)}{spread} over {len(one.accuracies)} seeds"
        f"<br>{millions(one.cost)} MACs, score {one.score:.4f}"
    )
