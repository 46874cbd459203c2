"""What `nas scale --fit` and `--compare` share: the trainings, their study, and how they are told."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from nas.cli.scale.report import file_stem
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.cost.measured import Stopwatch
    from nas.evaluate.base import Evaluators
    from nas.search.scoring import Scoring, Told


def make_evaluators(options: Mapping[str, Any]) -> "Evaluators":
    """Trainings on the images that are named; with several workers each takes its share of the cores.

    Raises:
        NasError: the images cannot be read; told before a study is made.
    """
    import os

    from nas.evaluate.short_training.resized import TrainEvaluators
    from nas.train.device import find_device

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // options["workers"]) if options["workers"] > 1 else None
    evaluators = TrainEvaluators(
        options["data"],
        options["images"],
        find_device(options["train_on"]),
        threads,
        metric=options.get("metric", METRIC_NAMES[0]),
    )
    data = evaluators.at(options["proxy_resolution"], options["seed"]).data
    for note in data.notes:
        click.echo(f"{data.name}: {note}", err=True)
    return attrs.evolve(evaluators, fingerprint=data.fingerprint)


@contextmanager
def scoring(name: str, described: Mapping[str, Any], options: Mapping[str, Any]) -> "Iterator[Scoring]":
    """The study of the trainings, and a line on standard error for each of them.

    Raises:
        NasError: it cannot be opened, or the images cannot be read.
    """
    from nas.search.scoring import open_scoring
    from nas.studies.opening import quiet_optuna

    quiet_optuna()
    evaluators = make_evaluators(options)
    try:
        with open_scoring(
            name,
            described,
            evaluators,
            options["epochs"],
            storage=options["storage"],
            workers=options["workers"],
            listen=_tell,
        ) as opened:
            yield opened
    except KeyboardInterrupt:
        click.echo(f"stopped; the same command goes on with study {name}", err=True)
        raise


def _tell(told: "Told") -> None:
    from nas.cli.shared.printing import percent

    if told.job is None or told.score is None:
        click.echo(told.message or f"{told.done} of {told.total} trainings are done", err=True)
        return
    factors = ", ".join(f"{name} {value:.3g}" for name, value in told.job.params.items())
    result = percent(told.score.accuracy) if not told.score.reason else f"failed: {told.score.reason}"
    click.echo(
        f"{told.done}/{told.total}: {factors}, {told.job.resolution} px, seed {told.job.seed}: {result} "
        f"in {told.score.seconds:.0f} s",
        err=True,
    )


def study_name(kind: str, name: str, described: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The given name, or one that the same command finds again."""
    if options["study"]:
        return str(options["study"])
    whole = [described, options["epochs"], options["data"], options["images"], options["train_on"]]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:6]
    return f"{kind}-{file_stem(name)}-{digest}"


def together(watch: "Stopwatch | None") -> "Callable[[Sequence[Architecture]], Sequence[Cost]]":
    """What networks cost on the device, measured in turn; their MACs where none is named."""
    from nas.cost.analytic import MACS
    from nas.cost.measured import Judge

    if watch is None:
        return lambda archs: [MACS.estimate(arch) for arch in archs]
    return Judge(watch.meter, watch.reference_ms).together


def figure_paths(options: Mapping[str, Any]) -> list[Path]:
    """The files of the figure that were asked for; the picture first, since it is what can fail."""
    return [path for path in (options["png"], options["html"]) if path]


def write_figures(options: Mapping[str, Any], title: str, draw: Callable[[], Any]) -> None:
    """Draw and write the figure; last of all, so that a failure takes nothing else with it.

    Raises:
        NasError: it cannot be drawn or written.
    """
    from nas.report.files import write_html, write_png

    paths = figure_paths(options)
    figure = draw() if paths else None
    for path in paths:
        if path == options["png"]:
            write_png(path, figure)
        else:
            write_html(path, figure, title)
        if not options["as_json"]:
            click.echo(f"wrote {path}")
