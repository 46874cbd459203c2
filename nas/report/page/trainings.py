"""The section of the full training runs of a study's networks, which `nas train` stores in the study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from nas.report.section import Figure, Section, Table, missing
from nas.report.theme import DASHES, axis, interval, layout, marks, percent
from nas.studies.records import StudyView

TITLE = "Full training runs"


def trainings_section(view: StudyView, trainings: Sequence[Mapping[str, Any]], command: str) -> Section:
    """Return the section of full training runs.

    Args:
        view: The study.
        trainings: What `nas.studies.trainings.read_trainings` returns; any program may have written it.
        command: Command that trains the recommended network; "" if there is none.
    """
    if not trainings:
        reason = "No network of this study has been trained fully, so that its final accuracy is not known."
        return missing(TITLE, reason, (command,) if command else ())
    rows = [_row(training) for training in trainings]
    headers = ("Trial", "Best epoch", "Validation accuracy", "Test accuracy", "Folder")
    table = Table("Finished training runs, with 95% intervals", headers, rows, {0, 1})
    curves = [(training, _curve(training)) for training in trainings]
    drawn = [(training, curve) for training, curve in curves if curve]
    text = (
        "The test accuracy is that of images which neither the search nor the training run used; it is the figure to "
        f"rely on. The {view.accuracy_label} of the search itself is that of a short evaluation."
    )
    return Section(TITLE, text, [_figure(drawn)] if drawn else [], [table])


def _row(training: Mapping[str, Any]) -> tuple[str, ...]:
    best, epochs = training.get("best_epoch", "unknown"), training.get("epochs", "unknown")
    accuracies = (_accuracy(training.get(split)) for split in ("validation", "test"))
    return (str(training["trial"]), f"{best} of {epochs}", *accuracies, _place(training["folder"]))


def _place(folder: str) -> str:
    """Return a folder by its path from here, or by its name alone: a page that is passed on must not tell more."""
    path = Path(folder)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def _accuracy(found: object) -> str:
    if not isinstance(found, Mapping) or not isinstance(found.get("accuracy"), int | float):
        return "unknown"
    low, high = (found.get(end) if isinstance(found.get(end), int | float) else None for end in ("low", "high"))
    return f"{percent(found['accuracy'])} ({interval(low, high)})"


def _curve(training: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = [(point.get("epoch"), point.get("accuracy")) for point in training["curve"] if isinstance(point, Mapping)]
    return [(x, 100 * y) for x, y in points if isinstance(x, int | float) and isinstance(y, int | float)]


def _figure(drawn: Sequence[tuple[Mapping[str, Any], list[tuple[float, float]]]]) -> Figure:
    figure = go.Figure()
    for number, (training, curve) in enumerate(drawn):
        figure.add_scatter(
            x=[x for x, _ in curve],
            y=[y for _, y in curve],
            name=f"trial {training['trial']}",
            mode="lines",
            line={"color": marks(number)[0], "dash": DASHES[number % len(DASHES)], "width": 2},
        )
    figure.update_layout(
        layout("Validation accuracy by epoch"), xaxis=axis("Epoch"), yaxis=axis("Validation accuracy (%)")
    )
    last = "; ".join(f"trial {training['trial']} ends at {curve[-1][1]:.2f}%" for training, curve in drawn)
    return Figure("trainings", f"Learning curves of {len(drawn)} full training runs: {last}.", figure)
