"""The study of the training runs of `nas scale --fit` and `--compare`, with its progress on standard error."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nas.api import training
from nas.api.target_task import Classes, find_classes
from nas.cli.scale.options import ScaleOptions
from nas.cli.shared.printing import percent, say

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.noise import ValidationSplit
    from nas.search.events import Event
    from nas.search.job import Job
    from nas.search.job_study import JobStudy

    Settings = Mapping[str, Any]


def on_classes_of_data(
    name: str, arch: "Architecture", options: ScaleOptions, kind: str, describe: "Callable[[Architecture], Settings]"
) -> "Architecture":
    """Return the architecture with as many classes as the data has, and print the number on standard error.

    A study that was begun with the architecture's own number of classes keeps that number.

    Args:
        name: Name of the architecture.
        arch: Architecture to scale.
        options: Options of the command.
        kind: What the study is for, "fit" or "compare".
        describe: Function that returns the settings of the study of an architecture.

    Raises:
        NasError: The data cannot be read, or the database cannot be opened.
    """
    from nas.search.job_study import SETTINGS
    from nas.studies.stored import stored_settings

    classes = find_classes(options.training.data, options.classes, arch.classes, name, say)
    if options.classes is None and classes.number != arch.classes:
        settings = describe(arch)
        study = options.study or training.study_name(kind, name, settings, options.training)
        if stored_settings(study, SETTINGS, options.storage).get("base") == settings["base"]:
            classes = Classes(arch.classes, f"as in study {study}, which is continued")
    say(str(classes))
    return arch.adapted(resolution=arch.resolution, classes=classes.number)


@contextmanager
def open_study(
    name: str, settings: Mapping[str, Any], options: ScaleOptions
) -> "Iterator[tuple[JobStudy, ValidationSplit | None]]":
    """Open the study of the training runs, and print a line on standard error for each of them.

    It is yielded with the validation split of its images, which is the same at all resolutions.

    Args:
        name: Name of the study.
        settings: Settings that make its training runs comparable, as JSON values.
        options: Options of the command.

    Raises:
        NasError: The study cannot be opened, the images cannot be read, or the workers cannot be started.
    """
    # Images that cannot be read are reported before a study is made.
    evaluators = training.make_evaluators(options.training, options.engine, say)
    try:
        with training.open_training_study(
            name,
            settings,
            evaluators,
            options.training.epochs,
            options.engine,
            storage=options.storage,
            listen=_print_event,
        ) as study:
            yield study, training.validation_split(evaluators, options.training)
    except KeyboardInterrupt:
        say(f"stopped; the same command continues study {name}")
        raise


def _print_event(event: "Event") -> None:
    record, job, place = event.record, event.job, f"{event.done}/{event.total}"
    if event.kind == "started":
        say(f"{event.done} of {event.total} training runs are done")
    elif record is None or job is None:
        say(event.message)
    elif event.kind == "lost":
        say(f"{place}: {_shown(job)} was lost: {event.message}")
    else:
        result = percent(record.accuracy) if not record.reason else f"failed: {record.reason}"
        say(f"{place}: {_shown(job)}: {result} in {record.seconds or 0:.0f} s")


def _shown(job: "Job") -> str:
    factors = ", ".join(f"{name} {value:.3g}" for name, value in job.params.items())
    return f"{factors}, {job.resolution} px, seed {job.seed}"
