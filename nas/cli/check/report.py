"""The report of `nas check`: a table, advice, and a plot."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from nas.cli.scale.training import figure_paths, write_figures

if TYPE_CHECKING:
    from nas.cli.check.request import Asked
    from nas.fidelity.agreement import Interval
    from nas.fidelity.check import Agreement, Check
    from nas.fidelity.collect import Evaluations

HOUR_S = 3_600


def report(
    check: "Check",
    asked: "Asked",
    evaluations: "Mapping[str, Evaluations]",
    truth: Mapping[int, Sequence[float]],
    options: Mapping[str, Any],
) -> None:
    """Print the report and write its figures.

    Args:
        check: Result of the check.
        asked: What was asked for.
        evaluations: Evaluations by the name of the evaluator.
        truth: True accuracies by network.
        options: Options of the command.

    Raises:
        NasError: A figure cannot be drawn or written.
    """
    from nas.cli.shared.printing import print_json

    if options["as_json"]:
        print_json(_figures(check, asked, evaluations, truth, options))
    else:
        _print(check, asked, evaluations, options)
    write_figures(options, f"Evaluators on {asked.space.name}", lambda: _figure(check, asked))


def _seconds(asked: "Asked", evaluations: "Mapping[str, Evaluations]") -> float | None:
    """Return the median duration of the training runs of the truth; None where it is a table."""
    return evaluations[asked.truth].seconds_each if asked.truth in evaluations else None


def _print(
    check: "Check", asked: "Asked", evaluations: "Mapping[str, Evaluations]", options: Mapping[str, Any]
) -> None:
    from nas.cli.shared.printing import print_table

    click.echo(_truth_line(check, asked, _seconds(asked, evaluations)))
    headers = (
        "evaluator",
        "networks",
        "Kendall's tau",
        "Spearman's rho",
        "pairs right",
        "noise",
        "lost",
        "s each",
    )
    print_table(headers, [_cells(one) for one in check.agreements])
    for name, said in evaluations.items():
        if said.reasons:
            number, reason = next(iter(said.reasons.items()))
            click.echo(f"{name} could not judge {len(said.reasons)} networks, network {number}: {reason}")
    left_out = [name for name in evaluations if name != asked.truth and name not in {s.name for s in check.agreements}]
    for name in left_out:
        click.echo(f"{name} judged too few of these networks to compare; the same command goes on")
    for line in advice(check, options):
        click.echo(line)


def _truth_line(check: "Check", asked: "Asked", seconds: float | None) -> str:
    from nas.cli.shared.printing import percent

    least, most = check.repeats
    times = f"{least} to {most} readings" if least < most else f"{least} reading{'s' if least > 1 else ''}"
    noise = "" if check.truth_noise is None else f", noise between them {percent(check.truth_noise)}"
    took = "" if seconds is None else f", {seconds:.0f} s each"
    best = "unknown: no network has two" if check.truth_noise is None else "none: they are all alike"
    best = best if check.ceiling is None else f"about {check.ceiling:.2f}"
    return (
        f"\ntruth {asked.truth}: {check.networks} networks, {times} of each{took}{noise}; networks differ by "
        f"{percent(check.spread)}\nthe highest tau that can be read beside it: {best}"
    )


def _cells(one: "Agreement") -> tuple[str, ...]:
    from nas.cli.shared.printing import percent

    return (
        one.name,
        str(one.networks),
        _told(one.tau),
        _told(one.rho),
        "-" if math.isnan(one.tau.value) else f"{one.pairs_right:.0%}",
        percent(one.noise),
        percent(one.regret),
        "-" if one.seconds is None else f"{one.seconds:.3g}",
    )


def _told(interval: "Interval") -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def advice(check: "Check", options: Mapping[str, Any]) -> list[str]:
    """Return sentences on which evaluator to use."""
    if not check.spread:
        return ["the truth does not tell these networks apart: give a longer --truth, or more images"]
    if check.best is None:
        return ["no evaluator tells these networks apart: give a costlier one, or more images"]
    lines = [
        f"{one.name} is not told from guessing by {one.networks} networks"
        for one in check.agreements
        if not one.better_than_chance
    ]
    alike = check.not_told_from_best
    if not alike:
        return [*lines, "none of them is worth a search yet: give more --networks, or a costlier --evaluator"]
    others = [one.name for one in alike if one is not check.best]
    if others:
        lines.append(f"{_praise(check.best)}; {', '.join(others)} may do as well, as far as these networks tell")
    else:
        lines.append(f"{_praise(check.best)}, beyond chance")
    return [*lines, *(_planned(one, options) for one in dict.fromkeys((check.best, alike[0])))]


def _praise(one: "Agreement") -> str:
    return f"{one.name} ranks best, {one.pairs_right:.0%} of pairs right"


def _planned(one: "Agreement", options: Mapping[str, Any]) -> str:
    """Return a sentence on the time and the price of the planned search with an evaluator."""
    if one.seconds is None:
        return f"--evaluator {one.name}: how long it takes is not known"
    seconds = one.seconds * options["trials"]
    price = "" if options["price"] is None else f", {options['price'] * seconds / HOUR_S:.3g} in money"
    before = f", and the training behind it took {_span(one.seconds_before)}, once" if one.seconds_before else ""
    return f"a search of {options['trials']} trials by {one.name} takes about {_span(seconds)}{price}{before}"


def _span(seconds: float) -> str:
    for size, unit in ((HOUR_S, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _figures(
    check: "Check",
    asked: "Asked",
    evaluations: "Mapping[str, Evaluations]",
    truth: Mapping[int, Sequence[float]],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    from nas.arch.code import format_text
    from nas.studies.study import versions_now

    said = {name: one.accuracies for name, one in evaluations.items()}
    return {
        "space": asked.space.name,
        "targets": list(options["targets"]),
        "data": options["data"],
        "study": asked.study,
        "seed": options["seed"],
        "versions": versions_now(),
        "truth": {
            "evaluator": asked.truth,
            "networks": check.networks,
            "readings": list(check.repeats),
            "noise": check.truth_noise,
            "spread": check.spread,
            "highest_tau": check.ceiling,
            "seconds": _seconds(asked, evaluations),
        },
        "evaluators": [_row(one, options) for one in check.agreements],
        "advice": advice(check, options),
        "networks": [
            {
                "arch": format_text(arch),
                "truth": list(truth.get(number, ())),
                "verdicts": {name: list(by[number].values()) for name, by in said.items() if number in by},
            }
            for number, arch in enumerate(asked.archs)
        ],
        "files": list(map(str, figure_paths(options))),
    }


def _row(one: "Agreement", options: Mapping[str, Any]) -> dict[str, Any]:
    def span(interval: "Interval") -> list[float] | None:
        return None if math.isnan(interval.value) else [interval.value, interval.low, interval.high]

    return {
        "evaluator": one.name,
        "networks": one.networks,
        "failed": one.failed,
        "tau": span(one.tau),
        "rho": span(one.rho),
        "noise": one.noise,
        "lost": one.regret,
        "seconds": one.seconds,
        "seconds_before": one.seconds_before,
        "as_good_as_the_best": one.as_good,
        "seconds_of_the_search": None if one.seconds is None else one.seconds * options["trials"],
    }


def _figure(check: "Check", asked: "Asked") -> Any:
    from nas.report.fidelity import Mark, fidelity_figure

    known = [one for one in check.agreements if not math.isnan(one.tau.value) and one.seconds]
    marks = [
        Mark(one.name, one.seconds or 0.0, one.tau.value, one.tau.low, one.tau.high, one.networks) for one in known
    ]
    title = f"{asked.space.name}: ranks by evaluators and by {asked.truth}"
    return fidelity_figure(title, marks, check.ceiling)
