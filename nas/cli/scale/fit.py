"""`nas scale --fit`: coefficients of compound scaling for a network."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.api.scaling import compare_costs, open_stopwatch
from nas.api.training import study_name
from nas.cli.scale.options import ScaleOptions
from nas.cli.scale.training import on_classes_of_data, open_study
from nas.cli.shared.printing import millions, next_command, number, percent, print_json, print_table, say
from nas.cli.shared.validation import (
    HELP,
    interval_row,
    interval_text,
    not_learned,
    split_row,
    to_tell_apart,
)
from nas.report.uncertainty import split_line

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.scaling.fit import Candidate, Costs, Fit, FitSettings, Fitted

SHOWN = 8


@frozen
class _PlannedFit:
    """Hold a fit at one phi before anything is trained.

    Attributes:
        settings: Settings of the fit.
        candidates: Coefficients, and the networks that they make.
        study: Name of the study that keeps the training runs.
        described: Settings that the study stores.
    """

    settings: "FitSettings"
    candidates: "Sequence[Candidate]"
    study: str
    described: Mapping[str, Any]


def run(name: str, arch: "Architecture", options: ScaleOptions) -> None:
    """Fit the coefficients at phi 1 and at the other values of `--at-phi`, print the results and write their figure.

    Args:
        name: Name of the architecture.
        arch: Architecture to scale.
        options: Options of the command.

    Raises:
        NasError: A setting breaks a rule, the images or the study cannot be used, or the device fails.
    """
    from nas.scaling.fit import fit_settings

    settings = _settings(1.0, options)
    arch = on_classes_of_data(name, arch, options, "fit", lambda base: fit_settings(base, settings, options.keep))
    # Networks that cannot be made are reported before anything is trained.
    plans = [_plan(name, arch, phi, options) for phi in dict.fromkeys((1.0, *options.at_phi))]
    with open_stopwatch(arch, options.devices) as watch:
        fits = [_fit(plan, options, compare_costs(watch)) for plan in plans]
    studies = [plan.study for plan in plans]
    if options.as_json:
        rows = [_fit_row(fit, study) for fit, study in zip(fits, studies, strict=True)]
        print_json({"base": name, "fits": rows, "files": list(map(str, options.figure.paths))})
    else:
        _print_all(fits, studies)
    title = f"{name}: depth, width and resolution"
    options.figure.write(title, lambda: _figure(title, fits), quiet=options.as_json)
    if not options.as_json and fits[0].winner is not None:
        _print_next(fits[0].winner, options)


def _plan(name: str, arch: "Architecture", phi: float, options: ScaleOptions) -> _PlannedFit:
    from nas.scaling.fit import candidates, fit_settings

    training, settings = options.training, _settings(phi, options)
    described = fit_settings(arch, settings, options.keep)
    # Each phi has a study of its own.
    given = options.study if phi == 1 or not options.study else f"{options.study}-phi{phi:g}"
    study = given or study_name("fit", name, described, training)
    return _PlannedFit(settings, candidates(arch, settings, options.keep), study, described)


def _settings(phi: float, options: ScaleOptions) -> "FitSettings":
    from nas.scaling.fit import FitSettings

    training = options.training
    return FitSettings(
        phi=phi,
        proxy_resolution=training.proxy_resolution,
        tolerance=options.tolerance,
        step=options.step,
        repeat=options.repeat,
        seeds=training.seeds,
        seed=training.seed,
        w=options.w,
    )


def _fit(plan: _PlannedFit, options: ScaleOptions, tie_costs: "Costs") -> "Fit":
    from nas.cost.analytic import MACS
    from nas.scaling.fit import distinct, fit

    found, phi = plan.candidates, plan.settings.phi
    say(f"study {plan.study}: {len(found)} coefficients make {len(distinct(found))} networks at phi {phi:g}")
    with open_study(plan.study, plan.described, options) as (study, split):
        return fit(found, plan.settings, study, MACS, tie_costs, split)


def _print_all(fits: "Sequence[Fit]", studies: Sequence[str]) -> None:
    for fit, study in zip(fits, studies, strict=True):
        _print(fit, study)
    if len(fits) > 1:
        _print_beside(fits)


def _figure(title: str, fits: "Sequence[Fit]") -> Any:
    from nas.cli.scale.figures import fit_panels
    from nas.report.scaling import fit_figure

    return fit_figure(title, fit_panels(fits))


def _print(fit: "Fit", study: str) -> None:
    costs = _tie_costs(fit)
    headers = ("alpha,beta,gamma", "accuracy", "seeds", "spread", "MACs", "x wanted", "score", "", *_heading(fit))
    rows = [
        (
            one.candidate.rule.name + (f" (and {len(one.same)} alike)" if one.same else ""),
            interval_text(interval_row(one.interval), one.accuracy),
            str(len(one.accuracies)),
            "-" if math.isnan(one.spread) else percent(one.spread),
            millions(one.cost),
            f"{one.cost / _wanted(fit, one):.2f}",
            number(one.score),
            _mark(fit, one),
            *((costs.get(one.candidate.rule.name, "-"),) if costs else ()),
        )
        for one in fit.ranked[: max(SHOWN, len(fit.tied))]
    ]
    click.echo(f"\nfit at phi {fit.settings.phi:g}, study {study}")
    for line in _first(fit):
        click.echo(line)
    print_table(headers, rows)
    for line in _conclusions(fit):
        click.echo(line)


def _first(fit: "Fit") -> list[str]:
    """Return what has to be known before the table is read: whether anything was learned, and the validation split."""
    if fit.split is None:
        return []
    highest = max(one.accuracy for one in fit.ranked)
    lines = [] if fit.learned else [not_learned(fit.split, highest, len(fit.ranked)), f"no coefficients win; {HELP}"]
    return [*lines, split_line(fit.split, highest)]


def _mark(fit: "Fit", one: "Fitted") -> str:
    if one is fit.winner:
        return "winner"
    if fit.winner is None:
        return ""
    return "tied" if one.tied and fit.tie_costs else "open" if one.open else ""


def _heading(fit: "Fit") -> tuple[str, ...]:
    return ("tie broken by",) if fit.tie_costs else ()


def _tie_costs(fit: "Fit") -> dict[str, str]:
    from nas.cost.base import format_amount

    pairs = zip(fit.tied, fit.tie_costs, strict=False)
    return {one.candidate.rule.name: format_amount(cost.value, cost.unit) for one, cost in pairs}


def _wanted(fit: "Fit", one: "Fitted") -> float:
    from nas.cost.analytic import MACS

    base: float = MACS.estimate(one.candidate.scaled.base).value
    return base * float(2**fit.settings.phi)


def _conclusions(fit: "Fit") -> list[str]:
    """Return sentences on what can be concluded from a fit, and what cannot."""
    lines = [f"{len(fit.failed)} networks could not be trained: {fit.failed[0].reason}"] if fit.failed else []
    if fit.learned is False:
        return lines
    if math.isnan(fit.noise):
        lines.append("each network has one training run, so the noise of these figures is unknown; give --seeds 3")
        return lines if fit.winner is not None else [*lines, "no coefficients win"]
    return [*lines, f"noise between seeds: {fit.noise:.4f} of the score", *_decision(fit)]


def _decision(fit: "Fit") -> list[str]:
    """Return sentences on how clear the winner is, and on what would make it clearer."""
    repeated = sum(len(one.accuracies) == len(fit.ranked[0].accuracies) for one in fit.ranked)
    lines = []
    if fit.tie_costs:
        lines.append(
            f"a tie: {len(fit.tied)} networks, the best among them, cannot be told apart; the winner is chosen among "
            "them by cost, and not by accuracy"
        )
    elif repeated > 1:
        lines.append(f"of {repeated} with all seeds the best is ahead by more than noise")
    if fit.open:
        more = repeated + len(fit.open)
        lines.append(f"{len(fit.open)} with fewer seeds could be as good as the best; --repeat {more} would train them")
    if fit.tie_costs or fit.open:
        lines.append(to_tell_apart(fit.needs_images))
    return lines


def _print_beside(fits: "Sequence[Fit]") -> None:
    """Print how the same coefficients rank at each phi."""
    ranks = [{rule: (i, one) for i, one in enumerate(fit.ranked, 1) for rule in _names(one)} for fit in fits]
    winners = [fit.winner for fit in fits if fit.winner is not None]
    ahead = [*winners, *(one for fit in fits for one in fit.ranked[:SHOWN])]
    shown = list(dict.fromkeys(one.candidate.rule.name for one in ahead))
    headers = (
        "alpha,beta,gamma",
        *(f"{what} at phi {fit.settings.phi:g}" for fit in fits for what in ("score", "rank")),
    )
    rows = []
    for name in shown:
        places = [known.get(name) for known in ranks]
        cells = [("-", "-") if place is None else (number(place[1].score), str(place[0])) for place in places]
        rows.append((name, *(cell for pair in cells for cell in pair)))
    click.echo("\nside by side")
    print_table(headers, rows)
    won = ["none" if fit.winner is None else fit.winner.candidate.rule.name for fit in fits]
    at = [f"{name} at phi {fit.settings.phi:g}" for name, fit in zip(won, fits, strict=True)]
    click.echo(f"winners: {' and '.join(at)}")


def _names(one: "Fitted") -> list[str]:
    return [one.candidate.rule.name, *(rule.name for rule in one.same)]


def _print_next(winner: "Fitted", options: ScaleOptions) -> None:
    """Print the command that makes a family with the coefficients that were found."""
    rule = winner.candidate.rule
    off = ("--any-product",) if abs(rule.product - 2) > 0.1 else ()
    given = (("--resolution", options.resolution), ("--classes", options.classes))
    sizes = [(name, str(value)) for name, value in given if value]
    kept = [("--keep", part) for part in options.keep]
    reference = options.reference or ""
    words = ("scale", reference, "--family", "--rule", rule.name, *off, *chain.from_iterable((*sizes, *kept)))
    click.echo(f"next: {next_command(*words, storage=options.storage)}")


def _fit_row(fit: "Fit", study: str) -> dict[str, Any]:
    return {
        "study": study,
        "phi": fit.settings.phi,
        "noise": None if math.isnan(fit.noise) else fit.noise,
        "split": split_row(fit.split, max(one.accuracy for one in fit.ranked)),
        "learned": fit.learned,
        "tie": bool(fit.tie_costs),
        "winner": None if fit.winner is None else _fitted_row(fit.winner),
        "networks": [_fitted_row(one) for one in fit.ranked],
        "tie_costs": [_cost_row(one, cost) for one, cost in zip(fit.tied, fit.tie_costs, strict=False)],
        "failed": [{"rule": one.candidate.rule.name, "reason": one.reason} for one in fit.failed],
    }


def _cost_row(one: "Fitted", cost: "Cost") -> dict[str, Any]:
    return {"rule": one.candidate.rule.name, "value": cost.value, "unit": cost.unit, "spread": cost.spread}


def _fitted_row(one: "Fitted") -> dict[str, Any]:
    rule = one.candidate.rule
    return {
        "rule": rule.name,
        "alpha": rule.alpha,
        "beta": rule.beta,
        "gamma": rule.gamma,
        "same": [other.name for other in one.same],
        "accuracy": one.accuracy,
        "interval": interval_row(one.interval),
        "accuracies": list(one.accuracies),
        "spread": None if math.isnan(one.spread) else one.spread,
        "macs": int(one.cost),
        "score": one.score,
        "tied": one.tied,
        "open": one.open,
        "proxy_resolution": one.candidate.resolution,
    }
