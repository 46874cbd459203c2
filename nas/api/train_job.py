"""The job of a full training run, made of what a request names: network, weights, images and recipe."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.architectures import STUDY, find_architecture, find_record
from nas.api.train_request import FROM_RANDOM, RANDOM, WITH_WEIGHTS, TrainRequest
from nas.errors import StudyError

# torch is an optional package, so what needs it is imported when a function is called.
if TYPE_CHECKING:
    from nas.api.weights import PretrainedSource
    from nas.arch.spec import Architecture
    from nas.data.base import ImageData
    from nas.studies.records import Record
    from nas.train.full.distributed import Processes
    from nas.train.full.job import TrainingJob
    from nas.train.recipes.schema import TrainingRecipe
    from nas.train.teachers import Teacher

Say = Callable[[str], None]


@frozen(eq=False)
class NamedNetwork:
    """Hold the network that is trained.

    Attributes:
        name: Name of the network, or its reference to a study.
        arch: Its architecture.
        source: Network whose weights it starts from; None for random weights.
        study: Name of the study that it comes from, "" if there is none.
        trial: Number of its trial in the study.
    """

    name: str
    arch: "Architecture"
    source: "PretrainedSource | None" = None
    study: str = ""
    trial: int = -1


def find_network(request: TrainRequest, say: Say) -> NamedNetwork:
    """Return the network that a request names, with the weights that it starts from."""
    from nas.api.architectures import check_architecture
    from nas.api.quiet import quiet_optuna
    from nas.api.weights import find_source

    pretrained = None if request.pretrained == RANDOM else request.pretrained
    if not isinstance(request.arch, str):
        check_architecture(request.arch)
        found = NamedNetwork("network", request.arch)
    elif request.arch.startswith(STUDY):
        with quiet_optuna():
            study, record = find_record(request.arch, request.storage)
        found = NamedNetwork(request.arch, record.architecture, study=study, trial=record.number)
        pretrained = _kept_weights(request, study, record, say) if request.pretrained is None else pretrained
    else:
        found = NamedNetwork(*find_architecture(request.arch, request.storage))
    if pretrained is None:
        return found
    return attrs.evolve(found, source=find_source(pretrained, request.normalization))


def _kept_weights(request: TrainRequest, study: str, record: "Record", say: Say) -> str | None:
    """Return the path of the weights that a search kept of its trial, or None if there are none, and say which."""
    from nas.api.search import study_weights_folder
    from nas.search.kept_weights import KeptWeights

    folder = study_weights_folder(request.weights_dir, request.storage, study)
    path = KeptWeights(folder, 0, say).file(record)
    if path is None:
        say(f"there are no weights of trial {record.number} in {folder}: the training run starts from random weights")
        return None
    say(f"the training run continues from the weights of trial {record.number} in {path}")
    return str(path)


def store_in_study(
    request: TrainRequest, network: NamedNetwork, folder: Path, metrics: Mapping[str, Any], say: Say
) -> None:
    """Store the learning curve in the study that the network comes from, if any; a failure is only reported."""
    if not network.study:
        return
    from nas.api.quiet import quiet_optuna
    from nas.studies.trainings import store_training

    kept = {name: metrics[name] for name in ("curve", "metric", "epochs", "best_epoch", "validation")}
    # Confusions of many classes would be too long for a database.
    kept["test"] = {name: value for name, value in metrics["test"].items() if name != "assessment"}
    with quiet_optuna():
        try:
            store_training(request.storage, network.study, network.trial, str(folder.absolute()), kept)
        except StudyError as error:
            say(f"the learning curve is not stored in the study: {error.problem}")


def make_job(
    request: TrainRequest, network: NamedNetwork, device: str, processes: "Processes", say: Say
) -> "TrainingJob":
    """Return the job of a training run, after loading its images and its teacher."""
    from nas.train.full.job import TrainingJob

    source, arch = network.source, network.arch
    recipe = _find_recipe(request, with_weights=source is not None)
    resolution = request.resolution or arch.resolution
    data = _load_images(request, arch, resolution, say)
    job = TrainingJob(
        arch=arch.adapted(resolution=resolution, classes=data.num_classes),
        data=data,
        recipe=recipe,
        timeout_s=request.timeout_s,
        device=device,
        seed=request.seed,
        source=None if source is None else source.network,
        source_name="" if source is None else source.name,
        metric=request.metric,
        processes=processes,
    )
    return job if request.teacher is None else attrs.evolve(job, teacher=_find_teacher(request, request.teacher, job))


def _find_teacher(request: TrainRequest, teacher: str, job: "TrainingJob") -> "Teacher":
    from nas.api.teachers import find_teacher
    from nas.train.teachers import Task

    return find_teacher(
        teacher,
        Task(request.data, job.data.classes, job.normalization),
        job.device,
        resolution=job.arch.resolution,
        normalization=request.teacher_normalization,
    )


def _find_recipe(request: TrainRequest, *, with_weights: bool) -> "TrainingRecipe":
    from nas.train.recipes.files import load_recipe

    recipe = load_recipe(request.recipe or (WITH_WEIGHTS if with_weights else FROM_RANDOM))
    return recipe if request.epochs is None else attrs.evolve(recipe, epochs=request.epochs)


def _load_images(request: TrainRequest, arch: "Architecture", resolution: int, say: Say) -> "ImageData":
    from nas.data.load import load_images

    data = load_images(
        request.data,
        resolution=resolution,
        channels=arch.in_channels,
        images=request.images,
        validation_share=request.validation_share,
        test=True,
    )
    for note in (*data.notes, *_describe_classes(data)):
        say(f"{data.name}: {note}")
    return data


def _describe_classes(data: "ImageData") -> Iterator[str]:
    """Yield a sentence for each split of the source that lacks a class."""
    for name, part in (("validation", data.val), ("test", data.test)):
        present = set() if part is None else set(part.labels.tolist())
        missing = [label for number, label in enumerate(data.classes) if number not in present]
        if missing:
            yield f"the {name} split has no image of {', '.join(missing[:5])}, so its accuracy says nothing about them"
