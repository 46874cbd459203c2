"""`nas scale --compare`: scaling rules at equal cost."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nas.api.scaling import Member, make_growth, measure, meet_budget, open_stopwatch, read_budget
from nas.api.training import study_name
from nas.cli.scale.options import ScaleOptions
from nas.cli.scale.report import member_row
from nas.cli.scale.training import on_classes_of_data, open_study
from nas.cli.shared.printing import millions, percent, print_json, print_table, say

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.measured import Stopwatch
    from nas.report.scaling import Curve
    from nas.scaling.compare import Compared

USUAL = ("compound", "fast", "depth", "width", "resolution")
BASE = "base"


def run(name: str, arch: "Architecture", options: ScaleOptions) -> None:
    """Scale the network by every rule to every budget, train the results, print them and write their figure.

    Args:
        name: Name of the architecture.
        arch: Architecture to scale.
        options: Options of the command.

    Raises:
        NasError: A rule cannot meet a budget, the images or the study cannot be used, or the device fails.
    """
    from nas.scaling.compare import compare, comparison_settings

    training = options.training

    def describe(base: "Architecture") -> dict[str, Any]:
        return comparison_settings(base, training.proxy_resolution, options.keep)

    arch = on_classes_of_data(name, arch, options, "compare", describe)
    with open_stopwatch(arch, options.devices, options.budgets) as watch:
        members = [_base(arch, watch), *_members(arch, options, watch)]
    described = describe(arch)
    study = options.study or study_name("compare", name, described, training)
    say(f"study {study}: {len(members)} networks, {training.seeds} seeds")
    with open_study(study, described, options) as opened:
        networks = [member.scaled for member in members]
        compared = compare(networks, training.proxy_resolution, training.every_seed, opened)
    rows = [_row(one, member) for one, member in zip(compared, members, strict=True)]
    if options.as_json:
        files = list(map(str, options.figure.paths))
        print_json({"base": rows[0], "study": study, "compared": rows[1:], "files": files})
    else:
        _print(name, study, rows)
    title = f"{name}: rules of scaling"
    options.figure.write(title, lambda: _figure(title, rows), quiet=options.as_json)


def _base(arch: "Architecture", watch: "Stopwatch | None") -> Member:
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Factors

    return Member(Scaled(BASE, BASE, 0.0, Factors(1.0, 1.0, 1.0), arch, arch), measure(arch, watch))


def _members(arch: "Architecture", options: ScaleOptions, watch: "Stopwatch | None") -> list[Member]:
    """Return what each rule makes at each budget, moved slightly off the rule so that all cost the same."""
    growths = [
        make_growth(arch, text, options.keep, any_product=options.any_product)
        for text in dict.fromkeys(options.rules or USUAL)
    ]
    budgets = [read_budget(text, options.precision, watch) for text in dict.fromkeys(options.budgets)]
    return [
        meet_budget(growth, budget, watch, free=True, strict=True, say=say) for budget in budgets for growth in growths
    ]


def _row(one: "Compared", member: Member) -> dict[str, Any]:
    return {
        "rule": one.scaled.rule,
        **member_row(member),
        "proxy_resolution": one.resolution,
        "accuracy": one.accuracy,
        "accuracy_spread": one.spread,
        "accuracies": list(one.accuracies),
        "reason": one.reason or None,
    }


def _print(name: str, study: str, rows: Sequence[dict[str, Any]]) -> None:
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
            click.echo(f"{row['rule']} at {row['name']}: a training run failed: {row['reason']}")
    click.echo(_conclusion(rows[1:]))


def _conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Return, for each budget, whether one rule is ahead by more than the noise between seeds."""
    from nas.noise import pooled

    noise, lines = pooled(row["accuracies"] for row in rows), []
    for budget in dict.fromkeys(row["name"] for row in rows):
        known = [row for row in rows if row["name"] == budget and row["accuracy"] is not None]
        lines.append(f"{budget}: {_ahead(sorted(known, key=lambda row: -row['accuracy']), noise)}")
    return "\n".join(lines)


def _ahead(ranked: Sequence[dict[str, Any]], noise: float) -> str:
    if not ranked:
        return "no network could be trained"
    best = ranked[0]["rule"]
    if len(ranked) == 1:
        return f"only {best} has a result, so there is nothing to compare it with"
    if math.isnan(noise):
        return f"{best} has the highest accuracy; each network has one training run, so the noise is unknown"
    alike = [row["rule"] for row in ranked[1:] if _is_near(row, ranked[0], noise)]
    if alike:
        return f"{best} has the highest accuracy; within the noise between seeds of it: {', '.join(alike)}"
    return f"{best} has the highest accuracy, by more than the noise between seeds"


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
    from nas.report.scaling import Curve

    known = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: int(row["macs"]))
    hovers = [f"{rule}<br>{percent(row['accuracy'])} at {millions(row['macs'])} MACs" for row in known]
    costs, accuracies, spreads = ([row[name] for row in known] for name in ("macs", "accuracy", "accuracy_spread"))
    return Curve(rule, costs, accuracies, spreads, hovers)
