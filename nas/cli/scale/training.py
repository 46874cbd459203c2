"""What `nas scale --fit` and `--compare` share: the training runs, their study, and the report of their progress."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from nas.api.engines import RAY
from nas.cli.scale.report import file_stem
from nas.cli.shared.engine import make_engine
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.cost.measured import Stopwatch
    from nas.evaluate.base import Evaluators
    from nas.evaluate.short_training.resized import TrainEvaluators
    from nas.search.events import Event
    from nas.search.job import Job
    from nas.search.job_study import JobStudy

PROBED = "mobilenetv2"  # the network whose training step is measured to choose the number of threads


def make_evaluators(options: Mapping[str, Any]) -> "Evaluators":
    """Return evaluators that train on the images that the options name.

    Raises:
        NasError: The images cannot be read; raised before a study is made.
    """
    from nas.evaluate.short_training.resized import TrainEvaluators
    from nas.train.device import find_device

    evaluators = TrainEvaluators(
        options["data"],
        options["images"],
        find_device(options["train_on"]),
        metric=options.get("metric", METRIC_NAMES[0]),
    )
    data = evaluators.at(options["proxy_resolution"], options["seed"]).data
    for note in data.notes:
        click.echo(f"{data.name}: {note}", err=True)
    threads = _threads(options, evaluators)
    return attrs.evolve(evaluators, threads=threads, fingerprint=data.fingerprint, place=_place(options))


def _place(options: Mapping[str, Any]) -> str:
    """Return the absolute path of images in files, for tasks of Ray; the study keeps the path as it was given."""
    source = options["data"]
    is_file = options["engine"] == RAY and source != "digits" and Path(source).exists()
    return str(Path(source).absolute()) if is_file else ""


def _threads(options: Mapping[str, Any], evaluators: "TrainEvaluators") -> int | None:
    """Return the threads of each training run: those of --threads, or the fewest that a probe finds about the fastest.

    Ray decides about its own tasks, and a training run on a GPU has no use for them: None stands for both.
    """
    from nas.api.engines import cores_per_worker
    from nas.arch.presets import preset
    from nas.workers.threads import choose_threads

    cores = cores_per_worker(options["engine"], options["workers"])
    if options["threads"] is not None or cores is None or cores == 1:
        return options["threads"] or cores
    evaluator, arch = evaluators.at(options["proxy_resolution"], options["seed"]), preset(PROBED)
    if evaluator.seconds_per_step(arch) is None:
        return None
    choice = choose_threads(lambda: evaluator.seconds_per_step(arch) or 0.0, cores)
    click.echo(str(choice), err=True)
    return choice.threads


@contextmanager
def open_study(name: str, described: Mapping[str, Any], options: Mapping[str, Any]) -> "Iterator[JobStudy]":
    """Open the study of the training runs, which prints a line on standard error for each of them.

    Args:
        name: Name of the study.
        described: What makes its training runs comparable.
        options: Options of the command.

    Raises:
        NasError: The study cannot be opened, the images cannot be read, or the workers cannot be started.
    """
    from nas.search.job_study import open_job_study
    from nas.search.session import open_session
    from nas.studies.opening import quiet_optuna

    quiet_optuna()
    evaluators = make_evaluators(options)
    try:
        with (
            open_session(make_engine(options)) as session,
            open_job_study(
                name,
                described,
                evaluators,
                options["epochs"],
                session,
                storage=options["storage"],
                retries=options["retries"],
                listen=_report,
            ) as study,
        ):
            yield study
    except KeyboardInterrupt:
        click.echo(f"stopped; the same command goes on with study {name}", err=True)
        raise


def _report(event: "Event") -> None:
    """Print what happened on standard error."""
    from nas.cli.shared.printing import percent

    record, job, place = event.record, event.job, f"{event.done}/{event.total}"
    if event.kind == "started":
        click.echo(f"{event.done} of {event.total} trainings are done", err=True)
    elif record is None or job is None:
        click.echo(event.message, err=True)
    elif event.kind == "lost":
        click.echo(f"{place}: {_shown(job)} was lost: {event.message}", err=True)
    else:
        result = percent(record.accuracy) if not record.reason else f"failed: {record.reason}"
        click.echo(f"{place}: {_shown(job)}: {result} in {record.seconds or 0:.0f} s", err=True)


def _shown(job: "Job") -> str:
    factors = ", ".join(f"{name} {value:.3g}" for name, value in job.params.items())
    return f"{factors}, {job.resolution} px, seed {job.seed}"


def study_name(kind: str, name: str, described: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the name that was given, or one that the same command makes again."""
    if options["study"]:
        return str(options["study"])
    whole = [described, options["epochs"], options["data"], options["images"], options["train_on"]]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:6]
    return f"{kind}-{file_stem(name)}-{digest}"


def together(watch: "Stopwatch | None") -> "Callable[[Sequence[Architecture]], Sequence[Cost]]":
    """Return a function that measures networks on the device, in turn; their MACs where no device is named."""
    from nas.cost.analytic import MACS
    from nas.cost.measured import Judge

    if watch is None:
        return lambda archs: [MACS.estimate(arch) for arch in archs]
    return Judge(watch.meter, watch.reference_ms).together


def figure_paths(options: Mapping[str, Any]) -> list[Path]:
    """Return the files of the figure; the picture first, since writing it may fail."""
    return [path for path in (options["png"], options["html"]) if path]


def write_figures(options: Mapping[str, Any], title: str, draw: Callable[[], Any]) -> None:
    """Draw and write the figure, after everything else, so that a failure loses nothing.

    Args:
        options: Options of the command.
        title: Title of the page.
        draw: Returns the figure; called only where a file is to be written.

    Raises:
        NasError: The figure cannot be drawn or written.
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
