"""`nas scale --compare`: scaling rules at equal cost."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from nas.api.scaling import Member, make_growth, measure, meet_budget, open_stopwatch, read_budget
from nas.api.training import study_name
from nas.cli.scale.options import ScaleOptions
from nas.cli.scale.report import member_row
from nas.cli.scale.training import on_classes_of_data, open_study
from nas.cli.shared.printing import millions, percent, print_json, print_table, say
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
    from nas.cost.measured import Stopwatch
    from nas.report.scaling import Curve
    from nas.scaling.compare import Compared, Conclusion
    from nas.scaling.evidence import Evidence

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
    from nas.scaling.compare import alike, compare, comparison_settings, conclude, gather

    training = options.training

    def describe(base: "Architecture") -> dict[str, Any]:
        return comparison_settings(base, training.proxy_resolution, options.keep)

    arch = on_classes_of_data(name, arch, options, "compare", describe)
    with open_stopwatch(arch, options.devices, options.budgets) as watch:
        members, acting = _members(arch, options, watch)
    described = describe(arch)
    study = options.study or study_name("compare", name, described, training)
    say(f"study {study}: {len(members)} networks, {training.seeds} seeds")
    with open_study(study, described, options) as (opened, split):
        networks = [member.scaled for member in members]
        compared = compare(networks, training.proxy_resolution, training.every_seed, opened)
    evidence = gather(compared, split)
    groups = alike(compared)
    rows = [_row(group, compared, members, evidence, acting) for group in groups]
    rivals = [compared[group[0]] for group, row in zip(groups, rows, strict=True) if row["acts"]]
    conclusions = conclude(list(dict.fromkeys(row["name"] for row in rows[1:])), rivals, evidence)
    if options.as_json:
        print_json(_figures(study, rows, conclusions, evidence, options))
    else:
        _print(name, study, rows, _first(rows, evidence), _conclusions(conclusions, rows, evidence))
    title = f"{name}: rules of scaling"
    options.figure.write(title, lambda: _figure(title, rows), quiet=options.as_json)


def _figures(
    study: str,
    rows: Sequence[dict[str, Any]],
    conclusions: "Sequence[Conclusion]",
    evidence: "Evidence",
    options: ScaleOptions,
) -> dict[str, Any]:
    return {
        "base": rows[0],
        "study": study,
        "split": split_row(evidence.split, _highest(rows)),
        "learned": evidence.learned,
        "compared": list(rows[1:]),
        "conclusions": [_conclusion_row(one, rows) for one in conclusions],
        "files": list(map(str, options.figure.paths)),
    }


def _base(arch: "Architecture", watch: "Stopwatch | None") -> Member:
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Factors

    return Member(Scaled(BASE, BASE, 0.0, Factors(1.0, 1.0, 1.0), arch, arch), measure(arch, watch))


def _members(arch: "Architecture", options: ScaleOptions, watch: "Stopwatch | None") -> tuple[list[Member], list[bool]]:
    """Return the base and what each rule makes at each budget, moved slightly off the rule so that all cost the same.

    The second list says for each of them whether the rule itself changes the base.
    """
    from nas.scaling.compare import acts

    growths = [
        make_growth(arch, text, options.keep, any_product=options.any_product)
        for text in dict.fromkeys(options.rules or USUAL)
    ]
    budgets = [read_budget(text, options.precision, watch) for text in dict.fromkeys(options.budgets)]
    members, acting = [_base(arch, watch)], [False]
    for budget, growth in product(budgets, growths):
        member = meet_budget(growth, budget, watch, free=True, strict=True, say=say)
        members.append(member)
        acting.append(acts(growth, member.scaled))
    return members, acting


def _row(
    group: Sequence[int],
    compared: "Sequence[Compared]",
    members: Sequence[Member],
    evidence: "Evidence",
    acting: Sequence[bool],
) -> dict[str, Any]:
    """Return the row of a network, which rules share that make the same network at the same budget."""
    one, rules = compared[group[0]], [compared[i].scaled.rule for i in group]
    return {
        "rule": " = ".join(rules),
        "rules": rules,
        **member_row(members[group[0]]),
        "proxy_resolution": one.resolution,
        "acts": any(acting[i] for i in group),
        "accuracy": one.accuracy,
        "interval": interval_row(evidence.interval(one.runs) if one.accuracies else None),
        "accuracy_spread": one.spread,
        "accuracies": list(one.accuracies),
        "reason": one.reason or None,
    }


def _highest(rows: Sequence[dict[str, Any]]) -> float | None:
    return max((row["accuracy"] for row in rows if row["accuracy"] is not None), default=None)


def _first(rows: Sequence[dict[str, Any]], evidence: "Evidence") -> list[str]:
    """Return what has to be known before the table is read: whether anything was learned, and the validation split."""
    split, highest = evidence.split, _highest(rows)
    if split is None or highest is None:
        return []
    lines = [] if evidence.learned else [not_learned(split, highest, len(evidence.networks)), f"no rule wins; {HELP}"]
    return [*lines, split_line(split, highest)]


def _print(
    name: str, study: str, rows: Sequence[dict[str, Any]], first: Sequence[str], conclusions: Sequence[str]
) -> None:
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
            interval_text(row["interval"], row["accuracy"]),
            percent(row["accuracy_spread"]),
            str(len(row["accuracies"])),
        )
        for row in rows
    ]
    click.echo(f"\nstudy {study}; depth, width and px (pixels of a side) as realised")
    for line in first:
        click.echo(line)
    print_table(headers, lines, left=2)
    for row in rows:
        if row["reason"]:
            click.echo(f"{row['rule']} at {row['name']}: a training run failed: {row['reason']}")
    for line in conclusions:
        click.echo(line)


def _conclusions(
    conclusions: "Sequence[Conclusion]", rows: Sequence[dict[str, Any]], evidence: "Evidence"
) -> list[str]:
    """Return sentences on what can be concluded for each budget, and on the rules that change nothing there."""
    lines = []
    for one in conclusions:
        still = [rule for row in rows if row["name"] == one.budget and not row["acts"] for rule in row["rules"]]
        if still:
            lines.append(
                f"{one.budget}: {' = '.join(still)} cannot act on this network: rounding leaves the base as it is"
            )
        if evidence.learned is not False:
            lines.append(f"{one.budget}: {_conclusion(one, rows)}")
    if any(one.tied for one in conclusions):
        lines.append(to_tell_apart(evidence.needs_images(max(len(row["accuracies"]) for row in rows))))
    return lines


def _conclusion(one: "Conclusion", rows: Sequence[dict[str, Any]]) -> str:
    if not one.ranked:
        acting = [row for row in rows if row["name"] == one.budget and row["acts"]]
        return "no network could be trained" if acting else "there is nothing to compare"
    best, *others = (_rule_names(each, rows) for each in one.ranked)
    if not others:
        return f"only {best} has a result, so there is nothing to compare it with"
    if one.tied is None:
        return "each network has one training run, so no rule can be named the best; give --seeds 3"
    if one.tied:
        alike = "; ".join(_rule_names(each, rows) for each in one.tied)
        return f"{best} has the highest accuracy; it cannot be told apart from {alike}"
    return f"{best} has the highest accuracy, by more than noise"


def _rule_names(one: "Compared", rows: Sequence[dict[str, Any]]) -> str:
    """Return the rules that make a network at its budget."""
    return str(next(row["rule"] for row in rows if row["name"] == one.scaled.name and one.scaled.rule in row["rules"]))


def _conclusion_row(one: "Conclusion", rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    leads = one.tied is not None and not one.tied
    return {
        "budget": one.budget,
        "best": _rule_names(one.ranked[0], rows) if leads else None,
        "tied": None if one.tied is None else [_rule_names(each, rows) for each in one.tied],
    }


def _figure(title: str, rows: Sequence[dict[str, Any]]) -> Any:
    from nas.report.scaling import comparison_figure

    curves = [_curve(rule, [row for row in rows if rule in row["rules"]]) for rule in _rules(rows)]
    return comparison_figure(title, "FLOPs (multiply-adds)", curves[0], curves[1:])


def _rules(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(rule for row in rows for rule in row["rules"]))


def _curve(rule: str, rows: Sequence[dict[str, Any]]) -> "Curve":
    from nas.report.scaling import Curve

    known = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: int(row["macs"]))
    hovers = [f"{rule}<br>{percent(row['accuracy'])} at {millions(row['macs'])} MACs" for row in known]
    costs, accuracies, intervals = ([row[name] for row in known] for name in ("macs", "accuracy", "interval"))
    return Curve(rule, costs, accuracies, intervals, hovers)
