"""`nas scale --compare`: scaling rules at equal cost."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from nas.cli.scale.grow import meet, open_stopwatch, read_budget
from nas.cli.scale.report import member_row
from nas.cli.scale.training import figure_paths, open_study, study_name, write_figures

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.cost.measured import Stopwatch
    from nas.report.scaling import Curve
    from nas.scaling.compare import Compared
    from nas.scaling.grow import Scaled

USUAL = ("compound", "fast", "depth", "width", "resolution")
BASE = "base"


def run(_mode: str, name: str, arch: "Architecture", options: dict[str, Any], stack: ExitStack) -> None:
    """Bring every rule to every budget, train the networks, print the results and write their figure.

    Raises:
        NasError: A rule cannot meet a budget, the images or the study cannot be used, or the device fails.
    """
    from nas.cli.shared.printing import print_json
    from nas.scaling.compare import compare, comparison_settings

    watch = open_stopwatch(arch, options, stack)
    members = [(_base(arch), None if watch is None else watch.estimate(arch)), *_members(arch, options, watch)]
    described = comparison_settings(arch, options["proxy_resolution"], options["keep"])
    study = study_name("compare", name, described, options)
    click.echo(f"study {study}: {len(members)} networks, {options['seeds']} seeds", err=True)
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    with open_study(study, described, options) as opened:
        compared = compare([one for one, _ in members], options["proxy_resolution"], seeds, opened)
    rows = [_row(one, latency) for one, (_, latency) in zip(compared, members, strict=True)]
    if options["as_json"]:
        files = list(map(str, figure_paths(options)))
        print_json({"base": rows[0], "study": study, "compared": rows[1:], "files": files})
    else:
        _print(name, study, rows)
    title = f"{name}: rules of scaling"
    write_figures(options, title, lambda: _figure(title, rows))


def _base(arch: "Architecture") -> "Scaled":
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Factors

    return Scaled(BASE, BASE, 0.0, Factors(1.0, 1.0, 1.0), arch, arch)


def _members(
    arch: "Architecture", options: dict[str, Any], watch: "Stopwatch | None"
) -> "list[tuple[Scaled, Cost | None]]":
    """Return what each rule makes at each budget, moved slightly off the rule so that all cost the same."""
    from nas.scaling.budget import Growth
    from nas.scaling.rules import parse_rule

    rules = [parse_rule(text, any_product=options["any_product"]) for text in dict.fromkeys(options["rules"] or USUAL)]
    budgets = [read_budget(text, options["precision"], watch) for text in dict.fromkeys(options["budgets"])]
    keep = frozenset(options["keep"])
    return [
        meet(Growth(arch, rule, keep), budget, watch, free=True, strict=True) for budget in budgets for rule in rules
    ]


def _row(one: "Compared", latency: "Cost | None") -> dict[str, Any]:
    return {
        "rule": one.scaled.rule,
        **member_row(one.scaled, latency),
        "proxy_resolution": one.resolution,
        "accuracy": one.accuracy,
        "accuracy_spread": one.spread,
        "accuracies": list(one.accuracies),
        "reason": one.reason or None,
    }


def _print(name: str, study: str, rows: Sequence[dict[str, Any]]) -> None:
    from nas.cli.shared.printing import millions, percent, print_table

    timed = any("latency_ms" in row for row in rows)
    headers: tuple[str, ...] = ("rule", "budget", "depth", "width", "px", "MACs", "params", "activations")
    headers = (*headers, *(("latency ms",) if timed else ()), "accuracy", "spread", "seeds")
    lines = [
        (
            row["rule"] if row["rule"] != BASE else name,
            row["name"] if row["rule"] != BASE else "",
            f"{row['realised']['depth']:.2f}",
            f"{row['realised']['width']:.2f}",
            str(row["resolution"]),
            millions(row["macs"]),
            millions(row["params"]),
            millions(row["activations"]),
            *((f"{row['latency_ms']:.4g} ± {row['latency_ms_spread']:.2g}",) if timed else ()),
            percent(row["accuracy"]),
            percent(row["accuracy_spread"]),
            str(len(row["accuracies"])),
        )
        for row in rows
    ]
    click.echo(f"\nstudy {study}; depth, width and px (pixels of a side) as realised")
    print_table(headers, lines, left=2)
    for row in rows:
        if row["reason"]:
            click.echo(f"{row['rule']} at {row['name']}: a training failed: {row['reason']}")
    click.echo(_conclusion(rows[1:]))


def _conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Return, for each budget, whether one rule is ahead by more than the noise between seeds."""
    from nas.noise import pooled

    noise, said = pooled(row["accuracies"] for row in rows), []
    for budget in dict.fromkeys(row["name"] for row in rows):
        known = [row for row in rows if row["name"] == budget and row["accuracy"] is not None]
        said.append(f"{budget}: {_ahead(sorted(known, key=lambda row: -row['accuracy']), noise)}")
    return "\n".join(said)


def _ahead(ranked: Sequence[dict[str, Any]], noise: float) -> str:
    if not ranked:
        return "nothing could be trained"
    best = ranked[0]["rule"]
    if len(ranked) == 1:
        return f"there is {best} alone, and nothing to compare it with"
    if math.isnan(noise):
        return f"{best} is in front; each network has one training, so how far that is noise is not known"
    alike = [row["rule"] for row in ranked[1:] if _is_near(row, ranked[0], noise)]
    if alike:
        return f"{best} is in front; {', '.join(alike)} within the noise between seeds"
    return f"{best} is ahead of all others by more than the noise between seeds"


def _is_near(row: dict[str, Any], best: dict[str, Any], noise: float) -> bool:
    from nas.noise import is_near

    return is_near(best["accuracy"] - row["accuracy"], noise, (len(one["accuracies"]) for one in (row, best)))


def _figure(title: str, rows: Sequence[dict[str, Any]]) -> Any:
    from nas.report.scaling import comparison_figure

    curves = [_curve(rule, [row for row in rows if row["rule"] == rule]) for rule in _rules(rows)]
    return comparison_figure(title, "FLOPs (multiply-adds)", curves[0], curves[1:])


def _rules(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["rule"] for row in rows))


def _curve(rule: str, rows: Sequence[dict[str, Any]]) -> "Curve":
    from nas.cli.shared.printing import millions, percent
    from nas.report.scaling import Curve

    known = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: int(row["macs"]))
    hovers = [f"{rule}<br>{percent(row['accuracy'])} at {millions(row['macs'])} MACs" for row in known]
    costs, accuracies, spreads = ([row[name] for row in known] for name in ("macs", "accuracy", "accuracy_spread"))
    return Curve(rule, costs, accuracies, spreads, hovers)
