"""The report of `nas check`: a table, advice, and a plot."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from nas.cli.check.options import CheckOptions
from nas.cli.shared.printing import percent, print_json, print_table
from nas.cli.shared.validation import not_learned, split_row
from nas.report.uncertainty import split_line

if TYPE_CHECKING:
    from nas.cli.check.plan import PlannedCheck
    from nas.fidelity.agreement import Interval
    from nas.fidelity.check import Agreement, Check
    from nas.fidelity.collect import Evaluations

HOUR_S = 3_600
NOTHING = "the truth has learned nothing, so this check says nothing about the evaluators"
HELP_TRUTH = "give a longer --truth, more images in --data, or a larger --proxy-resolution"


def report(
    check: "Check",
    planned: "PlannedCheck",
    evaluations: "Mapping[str, Evaluations]",
    truth: Mapping[int, Sequence[float]],
    options: CheckOptions,
) -> None:
    """Print the report and write its figures.

    Args:
        check: Result of the check.
        planned: Plan of the check.
        evaluations: Evaluations by the name of the evaluator.
        truth: True accuracies by network.
        options: Options of the command.

    Raises:
        NasError: A figure cannot be drawn or written.
    """
    if options.as_json:
        print_json(_figures(check, planned, evaluations, truth, options))
    else:
        _print(check, planned, evaluations, options)
    title = f"Evaluators on {planned.space.name}"
    options.figure.write(title, lambda: _figure(check, planned), quiet=options.as_json)


def _seconds(planned: "PlannedCheck", evaluations: "Mapping[str, Evaluations]") -> float | None:
    """Return the median duration of the training runs of the truth; None where it is a table."""
    return evaluations[planned.truth].seconds_each if planned.truth in evaluations else None


def _print(
    check: "Check", planned: "PlannedCheck", evaluations: "Mapping[str, Evaluations]", options: CheckOptions
) -> None:
    click.echo(_truth_lines(check, planned, _seconds(planned, evaluations)))
    for line in _split_lines(check, planned):
        click.echo(line)
    headers = (
        "evaluator",
        "networks",
        "Kendall's tau",
        "Spearman's rho",
        "pairs right",
        "noise",
        "regret",
        "s each",
    )
    print_table(headers, [_cells(one) for one in check.agreements])
    for name, done in evaluations.items():
        if done.reasons:
            number, reason = next(iter(done.reasons.items()))
            click.echo(f"{name} could not evaluate {len(done.reasons)} networks, such as network {number}: {reason}")
    compared = {planned.truth, *(one.name for one in check.agreements)}
    for name in evaluations:
        if name not in compared:
            click.echo(f"{name} has evaluated too few of these networks to compare; the same command continues")
    for line in _advice(check, options):
        click.echo(line)


def _truth_lines(check: "Check", planned: "PlannedCheck", seconds: float | None) -> str:
    least, most = check.repeats
    times = f"{least} to {most} accuracies" if least < most else f"{least} accurac{'ies' if least > 1 else 'y'}"
    noise = "" if check.truth_noise is None else f", noise between them {percent(check.truth_noise)}"
    took = "" if seconds is None else f", {seconds:.0f} s each"
    missing = "no network has two accuracies" if check.truth_noise is None else "all networks have the same accuracy"
    unsampled = "" if check.sampling is not None else ", if its validation images caused no error"
    highest = f"unknown, because {missing}" if check.ceiling is None else f"about {check.ceiling:.2f}{unsampled}"
    first = "" if check.learned is not False else f"\n{NOTHING}"
    return (
        f"{first}\ntruth {planned.truth}: {check.networks} networks, {times} of each{took}{noise}; networks differ by "
        f"{percent(check.spread)}\nthe highest tau that can be measured with this truth: {highest}"
    )


def _split_lines(check: "Check", planned: "PlannedCheck") -> list[str]:
    """Return sentences on the validation split of the truth, and on the evaluators that share its sampling error."""
    if check.validated is None:
        return []
    split, sharing = check.validated.split, check.validated.sharing
    lines = [split_line(split, check.highest)]
    if sharing:
        lines.append(
            f"{', '.join(sharing)} and {planned.truth} validate on the same {split.images:,} images and share their "
            "sampling error: on other images, tau would be lower"
        )
    return lines


def _cells(one: "Agreement") -> tuple[str, ...]:
    return (
        one.name,
        str(one.networks),
        _interval(one.tau),
        _interval(one.rho),
        "-" if math.isnan(one.tau.value) else f"{one.pairs_right:.0%}",
        percent(one.noise),
        percent(one.regret),
        "-" if one.seconds is None else f"{one.seconds:.3g}",
    )


def _interval(interval: "Interval") -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _advice(check: "Check", options: CheckOptions) -> list[str]:
    """Return sentences on which evaluator to use."""
    if check.learned is False and check.validated is not None:
        return [not_learned(check.validated.split, check.highest, check.networks), HELP_TRUTH]
    if not check.spread:
        return ["the truth gives all networks the same accuracy: give a longer --truth, or more images"]
    if check.best is None:
        return ["every evaluator gives all networks the same accuracy: give a costlier --evaluator, or more images"]
    lines = [
        f"{one.name} cannot be distinguished from guessing with {one.networks} networks"
        for one in check.agreements
        if not one.better_than_chance
    ]
    alike = check.not_told_from_best
    if not alike:
        return [*lines, "no evaluator is reliable enough for a search: give more --networks, or a costlier --evaluator"]
    others = [one.name for one in alike if one is not check.best]
    if others:
        lines.append(f"{_praise(check.best)}; with so few networks, {', '.join(others)} may be as good")
    else:
        lines.append(f"{_praise(check.best)}, beyond chance")
    return [*lines, *(_duration(one, options) for one in dict.fromkeys((check.best, alike[0])))]


def _praise(one: "Agreement") -> str:
    return f"{one.name} ranks best, {one.pairs_right:.0%} of pairs right"


def _duration(one: "Agreement", options: CheckOptions) -> str:
    """Return a sentence on the time and the price of the planned search with an evaluator."""
    if one.seconds is None:
        return f"the duration of a search with {one.name} is unknown"
    seconds = one.seconds * options.trials
    price = "" if options.price is None else f" and costs {options.price * seconds / HOUR_S:.3g}"
    once = f"; its supernet was trained once, in {_span(one.seconds_before)}" if one.seconds_before else ""
    return f"a search of {options.trials} trials with {one.name} takes about {_span(seconds)}{price}{once}"


def _span(seconds: float) -> str:
    for size, unit in ((HOUR_S, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _figures(
    check: "Check",
    planned: "PlannedCheck",
    evaluations: "Mapping[str, Evaluations]",
    truth: Mapping[int, Sequence[float]],
    options: CheckOptions,
) -> dict[str, Any]:
    from nas.arch.code import format_text
    from nas.studies.study import versions_now

    accuracies = {name: one.accuracies for name, one in evaluations.items()}
    return {
        "space": planned.space.name,
        "targets": list(options.targets),
        "data": options.training.data,
        "study": planned.study,
        "seed": options.training.seed,
        "versions": versions_now(),
        "truth": {
            "evaluator": planned.truth,
            "networks": check.networks,
            "readings": list(check.repeats),
            "noise": check.truth_noise,
            "spread": check.spread,
            "highest_tau": check.ceiling,
            "split": None if check.validated is None else split_row(check.validated.split, check.highest),
            "learned": check.learned,
            "sampling_error": check.sampling,
            "seconds": _seconds(planned, evaluations),
        },
        "evaluators": [_row(one, options) for one in check.agreements],
        "advice": _advice(check, options),
        "networks": [
            {
                "arch": format_text(arch),
                "truth": list(truth.get(number, ())),
                "verdicts": {name: list(by[number].values()) for name, by in accuracies.items() if number in by},
            }
            for number, arch in enumerate(planned.archs)
        ],
        "files": list(map(str, options.figure.paths)),
    }


def _row(one: "Agreement", options: CheckOptions) -> dict[str, Any]:
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
        "seconds_of_the_search": None if one.seconds is None else one.seconds * options.trials,
    }


def _figure(check: "Check", planned: "PlannedCheck") -> Any:
    from nas.report.fidelity import Mark, fidelity_figure

    known = [one for one in check.agreements if not math.isnan(one.tau.value) and one.seconds]
    marks = [
        Mark(one.name, one.seconds or 0.0, one.tau.value, one.tau.low, one.tau.high, one.networks) for one in known
    ]
    title = f"{planned.space.name}: ranks by evaluators and by {planned.truth}"
    return fidelity_figure(title, marks, check.ceiling)
