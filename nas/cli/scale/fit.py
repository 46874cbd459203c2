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
    if not options.as_json:
        _print_next(fits[0], options)


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
    with open_study(plan.study, plan.described, options) as study:
        return fit(found, plan.settings, study, MACS, tie_costs)


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
            percent(one.accuracy),
            str(len(one.accuracies)),
            "-" if math.isnan(one.spread) else percent(one.spread),
            millions(one.cost),
            f"{one.cost / _wanted(fit, one):.2f}",
            number(one.score),
            "winner" if one is fit.winner else "tied" if one.tied and costs else "",
            *((costs.get(one.candidate.rule.name, "-"),) if costs else ()),
        )
        for one in fit.ranked[: max(SHOWN, len(fit.tied))]
    ]
    click.echo(f"\nfit at phi {fit.settings.phi:g}, study {study}")
    print_table(headers, rows)
    for line in _conclusions(fit):
        click.echo(line)


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
    if math.isnan(fit.noise):
        return [*lines, "each network has one training run, so the noise of these figures is unknown; give --seeds 3"]
    lines.append(f"noise between seeds: {fit.noise:.4f} of the score")
    repeated = sum(len(one.accuracies) == len(fit.ranked[0].accuracies) for one in fit.ranked)
    if fit.tie_costs:
        lines.append(f"a tie: {len(fit.tied)} networks are within the noise of the best; the cheapest of them wins")
    elif repeated > 1:
        lines.append(f"of {repeated} with all seeds the best is ahead by more than the noise between seeds")
    if fit.open:
        more = repeated + len(fit.open)
        lines.append(f"{len(fit.open)} with fewer seeds are within the noise too; --repeat {more} would train them")
    return lines


def _print_beside(fits: "Sequence[Fit]") -> None:
    """Print how the same coefficients rank at each phi."""
    ranks = [{rule: (i, one) for i, one in enumerate(fit.ranked, 1) for rule in _names(one)} for fit in fits]
    shown = list(dict.fromkeys(one.candidate.rule.name for fit in fits for one in (fit.winner, *fit.ranked[:SHOWN])))
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
    winners = " and ".join(f"{fit.winner.candidate.rule.name} at phi {fit.settings.phi:g}" for fit in fits)
    click.echo(f"winners: {winners}")


def _names(one: "Fitted") -> list[str]:
    return [one.candidate.rule.name, *(rule.name for rule in one.same)]


def _print_next(fit: "Fit", options: ScaleOptions) -> None:
    """Print the command that makes a family with the coefficients that were found."""
    rule = fit.winner.candidate.rule
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
        "tie": bool(fit.tie_costs),
        "winner": _fitted_row(fit.winner),
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
        "accuracies": list(one.accuracies),
        "spread": None if math.isnan(one.spread) else one.spread,
        "macs": int(one.cost),
        "score": one.score,
        "tied": one.tied,
        "proxy_resolution": one.candidate.resolution,
    }
