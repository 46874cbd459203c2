"""The report of `nas evaluate` as tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nas.cli.shared.printing import print_table
from nas.data.wording import counted

if TYPE_CHECKING:
    from nas.api.evaluation import Evaluation
    from nas.train.assessment.assessment import Assessment
    from nas.train.assessment.intervals import Interval
    from nas.train.assessment.robustness import NetworkRobustness, Robustness

UNKNOWN = "unknown"
# Rows of the table of classes; the file of --out has all of them.
MOST_CLASSES = 30
MOST_PAIRS = 5


def print_evaluation(found: "Evaluation") -> None:
    """Print the results of an evaluation with their intervals."""
    for line in _summary(found.name, found.assessment):
        click.echo(line)
    if found.baseline is not None:
        for line in _summary(found.baseline_name, found.baseline):
            click.echo(line)
        click.echo(f"accuracy of {found.name} minus {found.baseline_name}: {_points(found.accuracy_difference)}")
    _print_classes(found.assessment)
    for pair in found.assessment.pairs[:MOST_PAIRS]:
        images = counted(pair.images, "image")
        click.echo(f"confused: {pair.label} as {pair.predicted}: {images}, {_percent(pair.share)}")
    if found.robustness is not None:
        _print_robustness(found.robustness)
    click.echo("in brackets: 95% confidence intervals")


def _summary(name: str, found: "Assessment") -> Iterator[str]:
    likelihood = found.negative_log_likelihood
    yield f"{name}: accuracy {_percent(found.accuracy)} on {found.images:,} images"
    yield f"  calibration error {_percent(found.calibration_error)}"
    yield f"  negative log-likelihood {likelihood.value:.4f} ({likelihood.low:.4f} to {likelihood.high:.4f})"


def _print_classes(found: "Assessment") -> None:
    rows = [
        (each.name, f"{each.images:,}", _percent(each.precision), _percent(each.recall), _percent(each.f1))
        for each in sorted(found.classes, key=lambda each: each.recall.value if each.recall else -1)[:MOST_CLASSES]
    ]
    left_out = len(found.classes) - len(rows)
    title = f"classes, the lowest recall first{f', {left_out:,} more are in the JSON values' if left_out else ''}"
    print_table(("class", "images", "precision", "recall", "F1"), rows, title=title)


def _print_robustness(found: "Robustness") -> None:
    networks = [each for each in (found.network, found.baseline) if each is not None]
    names = tuple(each.name for each in networks)
    click.echo(f"robustness on {found.images:,} images, corrupted at {found.side} px (seed {found.seed})")
    print_table(("accuracy by severity 1 to 5", *names), list(_robustness_rows(networks)))
    widths = [cell.accuracy.high - cell.accuracy.low for each in networks for cell in each.corruptions]
    click.echo(f"intervals by severity: at most ± {50 * max(widths):.0f} points; the JSON values have each of them")
    print_table(
        ("predicted class unchanged", *names),
        [
            (same[0].perturbation, *(_percent(each.same) for each in same))
            for same in zip(*(each.perturbations for each in networks), strict=True)
        ],
    )
    _print_backgrounds(found, networks)
    if found.against is not None:
        click.echo(f"mean corruption error of {names[0]} minus {names[1]}: {_points(found.against.error_difference)}")
        click.echo(f"corruption error relative to {names[1]}: {_percent(found.against.relative_error)}")


def _robustness_rows(networks: "list[NetworkRobustness]") -> Iterator[tuple[str, ...]]:
    yield "clean", *(_percent(each.clean) for each in networks)
    for kind in dict.fromkeys(cell.kind for cell in networks[0].corruptions):
        cells = [[cell.accuracy.value for cell in each.corruptions if cell.kind == kind] for each in networks]
        yield kind.replace("_", " "), *(" ".join(f"{100 * value:.0f}" for value in values) for values in cells)
    yield "mean corruption error", *(_percent(each.mean_corruption_error) for each in networks)


def _print_backgrounds(found: "Robustness", networks: "list[NetworkRobustness]") -> None:
    if not found.masked:
        click.echo("backgrounds: not measured, because fewer than two images have a usable mask")
        return
    names = tuple(each.name for each in networks)
    rows = [
        (same[0].background, *(_percent(each.accuracy) for each in same))
        for same in zip(*(each.backgrounds for each in networks), strict=True)
    ]
    gap = ("same class minus any", *(_points(each.background_gap) for each in networks))
    title = f"backgrounds of {found.masked:,} of {found.images:,} images, masks {found.masks}"
    print_table(("accuracy", *names), [*rows, gap], title=title)


def _percent(interval: "Interval | None") -> str:
    if interval is None:
        return UNKNOWN
    return f"{100 * interval.value:.2f}% ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _points(interval: "Interval | None") -> str:
    if interval is None:
        return UNKNOWN
    return f"{100 * interval.value:+.2f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
