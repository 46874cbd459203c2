"""The section of a scaled family: its costs, which are computed, and its accuracies where a study holds them."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import plotly.graph_objects as go
from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import Costs, cost
from nas.cost.base import format_amount
from nas.errors import NasError
from nas.report.section import Figure, Section, Table, command, missing
from nas.report.theme import BLUE, INK, VERMILION, axis, bars, interval, layout, percent

TITLE = "The scaled family"
PHIS = (0, 1, 2, 3, 4, 5, 6, 7)
# Scales a network by a rule; this package may not import what does.
Grow = Callable[[float], Architecture]


def _accuracies(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@frozen
class Measured:
    """Hold the training runs that a study holds of a network.

    Attributes:
        arch: The network, as it was trained.
        accuracies: Accuracies of its training runs, from 0 to 1; at least one.
        source: Where they come from, such as the name of the study and the images.
        low: Lower end of the 95% interval of the mean; None where it is unknown.
        high: Upper end of the interval.
    """

    arch: Architecture
    accuracies: tuple[float, ...] = field(converter=_accuracies)
    source: str
    low: float | None = None
    high: float | None = None

    @property
    def accuracy(self) -> float:
        """Return the mean of the accuracies."""
        return fmean(self.accuracies)


@frozen
class Member:
    """Represent one network of a family.

    Attributes:
        phi: Compound coefficient.
        arch: The network.
        costs: Its counted costs.
        measured: Training runs of it that a study holds; None if there are none.
    """

    phi: float
    arch: Architecture
    costs: Costs
    measured: Measured | None = None


def family(grow: Grow, known: Iterable[Measured] = (), phis: Sequence[float] = PHIS) -> tuple[Member, ...]:
    """Return the networks of a family that can be built; a large phi may exceed what a network may have.

    Args:
        grow: Function that returns the network at a compound coefficient; at 0 it is the network itself.
        known: Networks with measured accuracies; those of the family are found by their layers.
        phis: Compound coefficients.
    """
    by_layers = {_layers(each.arch): each for each in known}
    members = []
    for phi in phis:
        try:
            arch = grow(phi)
        except NasError:
            break
        members.append(Member(phi, arch, cost(arch), by_layers.get(_layers(arch))))
    return tuple(members)


def _layers(arch: Architecture) -> tuple[object, ...]:
    """Return what identifies a network whatever images it is trained on: small images stand for those of the target."""
    whole = canonical(arch)
    return (whole.stem, whole.stages, whole.head)


def family_section(
    name: str, rule: str, members: Sequence[Member], *, reference: Sequence[str] = (), failure: str = ""
) -> Section:
    """Return the section of a family.

    Args:
        name: Name of the network that is scaled; any text.
        rule: Name of the scaling rule.
        members: Networks of the family by rising phi; see `family`.
        reference: Words that name the network on the command line, such as "study:demo:best"; none if there are none.
        failure: Why there are no members.
    """
    ways = (("--phi", "3", "--rule", rule), ("--fit",)) if reference else ()
    commands = [command("nas", "scale", *reference, *way) for way in ways]
    if len(members) < 2:
        return missing(TITLE, failure or f"Rule {rule} gives no larger network of {name}.", commands)
    text = " ".join(_sentences(name, rule, members))
    figures = [_costs_figure(members)]
    if sum(member.measured is not None for member in members) > 1:  # one point is no curve
        figures.append(_accuracy_figure(members))
    return Section(TITLE, text, figures, [_table(members)], commands=commands)


def _sentences(name: str, rule: str, members: Sequence[Member]) -> Iterable[str]:
    first, last = members[0].costs.macs, members[-1].costs.macs
    yield (
        f"{name} scaled by rule {rule} to phi {members[-1].phi:g}: from {format_amount(first, 'MACs')} to "
        f"{format_amount(last, 'MACs')}. Resolutions, MACs and parameters are computed from the rule, and not measured."
    )
    measured = [member for member in members if member.measured]
    if not measured:
        yield "No study in this database holds accuracies of these networks: larger is not known to be more accurate."
        return
    sources = ", ".join(dict.fromkeys(member.measured.source for member in measured if member.measured))
    yield (
        f"Accuracies were measured for {len(measured)} of {len(members)} networks ({sources}); those of the others are "
        "not known."
    )
    if len({member.measured.source for member in measured if member.measured}) > 1:
        yield "Accuracies of different studies may be of other images, resolutions and epochs, and are not comparable."


def _costs_figure(members: Sequence[Member]) -> Figure:
    figure = go.Figure()
    phis = [member.phi for member in members]
    for what, values, color, symbol in (
        ("MACs (millions)", [member.costs.macs / 1e6 for member in members], BLUE, "circle"),
        ("parameters (millions)", [member.costs.params / 1e6 for member in members], VERMILION, "square"),
    ):
        figure.add_scatter(
            x=phis,
            y=values,
            name=what,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate=f"phi %{{x}}: %{{y:,.4g}} {what}<extra></extra>",
        )
    figure.update_layout(
        layout("Costs of the family", "computed, not measured"),
        xaxis=axis("phi", dtick=1),
        yaxis=axis("Millions", log=True),
    )
    last = members[-1]
    text = (
        f"MACs and parameters by phi, computed. At phi {last.phi:g} there are {format_amount(last.costs.macs, 'MACs')} "
        f"and {last.costs.params:,} parameters."
    )
    return Figure("family-costs", text, figure)


def _accuracy_figure(members: Sequence[Member]) -> Figure:
    pairs = [(member, member.measured) for member in members if member.measured]
    values = [100 * measured.accuracy for _, measured in pairs]
    lows = [None if measured.low is None else 100 * measured.low for _, measured in pairs]
    highs = [None if measured.high is None else 100 * measured.high for _, measured in pairs]
    figure = go.Figure()
    figure.add_scatter(
        x=[member.costs.macs / 1e6 for member, _ in pairs],
        y=values,
        text=[f"phi {member.phi:g}" for member, _ in pairs],
        textposition="top center",
        mode="lines+markers+text",
        line={"color": BLUE, "width": 2},
        marker={"color": BLUE, "size": 9},
        error_y=bars(values, lows, highs, INK),
        hovertemplate="%{text}: %{y:.2f}%<extra></extra>",
    )
    figure.update_layout(
        layout("Measured accuracies of the family", "bars: 95% intervals where they are known", legend_rows=0),
        xaxis=axis("MACs (millions)", log=True),
        yaxis=axis("Accuracy (%)"),
        showlegend=False,
    )
    said = ", ".join(f"phi {member.phi:g}: {percent(measured.accuracy)}" for member, measured in pairs)
    return Figure("family-accuracies", f"Measured accuracies by MACs: {said}.", figure)


def _table(members: Sequence[Member]) -> Table:
    rows = [
        (
            f"{member.phi:g}",
            f"{member.arch.resolution}",
            f"{sum(stage.layers for stage in member.arch.stages)}",
            format_amount(member.costs.macs, "MACs"),
            f"{member.costs.params:,}",
            "not measured" if member.measured is None else _accuracy(member.measured),
        )
        for member in members
    ]
    headers = ("phi", "Resolution", "Layers", "MACs (computed)", "Parameters (computed)", "Accuracy (measured)")
    return Table("Networks of the family", headers, rows, {0, 1, 2, 3, 4, 5})


def _accuracy(measured: Measured) -> str:
    runs = f"{len(measured.accuracies)} seed{'s' * (len(measured.accuracies) > 1)}"
    known = measured.low is not None and measured.high is not None
    return f"{percent(measured.accuracy)} ({runs}{f', {interval(measured.low, measured.high)}' if known else ''})"
