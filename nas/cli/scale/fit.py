"""`nas scale --fit`: coefficients of compound scaling for a network."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from nas.cli.scale.grow import open_stopwatch
from nas.cli.scale.training import figure_paths, open_study, study_name, together, write_figures

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.scaling.fit import Candidate, Fit, FitSettings, Fitted

SHOWN = 8


def run(_mode: str, name: str, arch: "Architecture", options: dict[str, Any], stack: ExitStack) -> None:
    """Fit at phi 1 and at the other values asked for, print the results and write their figure.

    Raises:
        NasError: A setting breaks a rule, the images or the study cannot be used, or the device fails.
    """
    from nas.cli.shared.printing import print_json
    from nas.scaling.fit import candidates

    every = _settings(options)
    # Networks that cannot be made are reported before anything is trained.
    found = {one.phi: candidates(arch, one, options["keep"]) for one in every}
    watch = open_stopwatch(arch, options, stack)
    fits = [_fit(name, arch, one, found[one.phi], options, together(watch)) for one in every]
    studies = [_study(name, arch, one, options)[0] for one in every]
    if options["as_json"]:
        rows = [_fit_row(fit, study) for fit, study in zip(fits, studies, strict=True)]
        print_json({"base": name, "fits": rows, "files": list(map(str, figure_paths(options)))})
    else:
        _print_all(fits, studies)
    title = f"{name}: depth, width and resolution"
    write_figures(options, title, lambda: _figure(title, fits))
    if not options["as_json"]:
        _print_next(options["reference"], fits[0], options)


def _print_all(fits: "Sequence[Fit]", studies: Sequence[str]) -> None:
    for fit, study in zip(fits, studies, strict=True):
        _print(fit, study)
    if len(fits) > 1:
        _print_beside(fits)


def _figure(title: str, fits: "Sequence[Fit]") -> Any:
    from nas.cli.scale.figures import fit_panels
    from nas.report.scaling import fit_figure

    return fit_figure(title, fit_panels(fits))


def _settings(options: Mapping[str, Any]) -> "list[FitSettings]":
    from nas.scaling.fit import FitSettings

    names = ("proxy_resolution", "tolerance", "step", "repeat", "seeds", "seed", "w")
    shared = {name: options[name] for name in names}
    return [FitSettings(phi=phi, **shared) for phi in dict.fromkeys((1.0, *options["at_phi"]))]


def _study(
    name: str, arch: "Architecture", settings: "FitSettings", options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the name of the study of a fit, and what is kept in it; each phi has a study of its own."""
    from nas.scaling.fit import fit_settings

    described = fit_settings(arch, settings, options["keep"])
    own = study_name("fit", name, described, options)
    return (own if settings.phi == 1 or not options["study"] else f"{own}-phi{settings.phi:g}"), described


def _fit(
    name: str,
    arch: "Architecture",
    settings: "FitSettings",
    found: "Sequence[Candidate]",
    options: Mapping[str, Any],
    tie_costs: Any,
) -> "Fit":
    from nas.cost.analytic import MACS
    from nas.scaling.fit import distinct, fit

    own, described = _study(name, arch, settings, options)
    click.echo(
        f"study {own}: {len(found)} coefficients make {len(distinct(found))} networks at phi {settings.phi:g}", err=True
    )
    with open_study(own, described, options) as opened:
        return fit(found, settings, opened, MACS, tie_costs)


def _print(fit: "Fit", study: str) -> None:
    from nas.cli.shared.printing import millions, number, percent, print_table

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
    for line in sentences(fit):
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


def sentences(fit: "Fit") -> list[str]:
    """Return sentences on what can be concluded from a fit, and what cannot."""
    said = [f"{len(fit.failed)} networks could not be trained: {fit.failed[0].reason}"] if fit.failed else []
    if math.isnan(fit.noise):
        return [*said, "each network has one training: how far these figures are noise is not known; give --seeds 3"]
    said.append(f"noise between seeds: {fit.noise:.4f} of the score")
    repeated = sum(len(one.accuracies) == len(fit.ranked[0].accuracies) for one in fit.ranked)
    if fit.tie_costs:
        said.append(f"a tie: {len(fit.tied)} networks are within the noise of the best; the cheapest of them wins")
    elif repeated > 1:
        said.append(f"of {repeated} with all seeds the best is ahead by more than the noise between seeds")
    if fit.open:
        more = repeated + len(fit.open)
        said.append(f"{len(fit.open)} with fewer seeds are within the noise too; --repeat {more} would train them")
    return said


def _print_beside(fits: "Sequence[Fit]") -> None:
    """Print how the same coefficients rank at each phi."""
    from nas.cli.shared.printing import number, print_table

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


def _print_next(reference: str, fit: "Fit", options: Mapping[str, Any]) -> None:
    from nas.cli.shared.printing import next_command

    rule = fit.winner.candidate.rule
    off = ("--any-product",) if abs(rule.product - 2) > 0.1 else ()
    sizes = [(f"--{word}", str(options[word])) for word in ("resolution", "classes") if options[word]]
    kept = [("--keep", part) for part in options["keep"]]
    words = ("scale", reference, "--family", "--rule", rule.name, *off, *chain.from_iterable((*sizes, *kept)))
    click.echo(f"next: {next_command(*words, storage=options['storage'])}")


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
