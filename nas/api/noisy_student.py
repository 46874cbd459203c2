"""Noisy Student: rounds in which a student learns from labeled images, and from unlabeled ones that a teacher labels.

Each round is a training run with a folder of its own, so that the same command continues after an interruption.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.train_request import OF_ROUNDS, RANDOM, TrainRequest
from nas.errors import NasError
from nas.files import read_bytes, write_atomically

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.train.full.job import TrainingJob
    from nas.train.full.report import Report
    from nas.train.noisy_student.selection import Selection
    from nas.weights.base import TrainedNetwork

# Changes a job before it is trained.
Prepare = Callable[["TrainingJob"], "TrainingJob"]
# Trains what a request asks for, and returns the metrics; the last argument says whether the test split is used.
TrainOnce = Callable[[TrainRequest, Prepare, bool], Mapping[str, Any]]
MOST_BYTES = 8_000_000_000


@frozen(eq=False)
class NoisyStudent:
    """Train a teacher and one student after the other (Xie et al. 2019, arXiv 1911.04252).

    Attributes:
        request: What is asked for.
        arch: Architecture of the first network; its resolution is that of the images.
        source: Network whose weights the first network inherits, or None.
        folder: Folder of the results. Each round has a folder in it: "round-0" for the teacher, and then "round-1".
        report: Receiver of messages.
        train_once: Function that trains one network.
    """

    request: TrainRequest
    arch: "Architecture"
    source: "TrainedNetwork | None"
    folder: Path
    report: "Report"
    train_once: TrainOnce

    def run(self) -> dict[str, Any]:
        """Train all rounds that are left, and return the metrics of the last student with the counts of all rounds.

        Raises:
            NasError: The folder holds something else, or a round fails.
        """
        from nas.data.unlabeled import find_images
        from nas.train.full.distributed import find_processes

        processes = find_processes().count
        if processes > 1:
            raise NasError(
                f"{processes} processes train together, and Noisy Student labels images in one process",
                "start the command without a launcher",
            )
        self._check_folder()
        find_images(self.unlabeled)  # an error now, and not after the teacher is trained
        teacher = self.request.teacher
        if teacher is None:
            self.report.say("round 0: the teacher is trained on the labeled images")
            self.train_once(self._round_request(0, self.source), lambda job: job, False)
            teacher = str(self._round_folder(0))
        rounds, metrics = [], dict[str, Any]()
        for number in range(1, self.request.rounds + 1):
            metrics, row = self._train_student(number, teacher)
            rounds.append(row)
            teacher = str(self._round_folder(number))
        return self._finish({**metrics, "noisy_student": rounds})

    @property
    def unlabeled(self) -> Path:
        """Return the folder of unlabeled images."""
        assert self.request.unlabeled is not None  # noqa: S101 -- there is no round without unlabeled images
        return self.request.unlabeled

    def _check_folder(self) -> None:
        from nas.train.full.folder import FILES

        first = 1 if self.request.teacher is not None else 0
        found = [name for name in FILES if (self.folder / name).exists()]
        if found and not self._round_folder(first).is_dir():
            raise NasError(
                f"folder {self.folder} has the file {found[0]} and no folder round-{first}, so it is not known which "
                "training run wrote it, and it is not overwritten",
                "choose another folder with --out, or move the files away",
            )

    def _round_folder(self, number: int) -> Path:
        return self.folder / f"round-{number}"

    def _round_request(self, number: int, pretrained: "TrainedNetwork | None") -> TrainRequest:
        """Return the request of a training run without unlabeled images."""
        name, tensorboard = f"round-{number}", self.request.tensorboard
        usual: dict[str, Any] = {
            each.name: each.default for each in attrs.fields(TrainRequest) if each.name in OF_ROUNDS
        }
        return attrs.evolve(
            self.request,
            arch=self._student(number),
            pretrained=RANDOM if pretrained is None else pretrained,
            normalization=None,
            resolution=None,
            teacher=None,
            teacher_normalization=None,
            unlabeled=None,
            out=self._round_folder(number),
            **usual,
            tensorboard=None if tensorboard is None else tensorboard / name,
        )

    def _student(self, number: int) -> "Architecture":
        """Return the architecture of a round, which is larger than that of the round before it if that is asked for."""
        from nas.scaling.grow import scale
        from nas.scaling.rules import parse_rule

        phi = self.request.grow * number
        return self.arch if not phi else scale(self.arch, parse_rule("compound"), phi).arch

    def _train_student(self, number: int, teacher: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train the student of a round, and return its metrics, and how many images of each class were kept."""
        from nas.api.weights import load_weights

        is_ours = teacher != self.request.teacher
        pretrained = load_weights(teacher) if is_ours else self.source
        self.report.say(f"round {number}: {teacher} labels the images in {self.unlabeled}")
        row: dict[str, Any] = {"round": number, "teacher": teacher}
        metrics = self.train_once(
            self._round_request(number, pretrained),
            partial(self._add_unlabeled, number, teacher, row),
            number == self.request.rounds,
        )
        return dict(metrics), {**row, "validation": metrics.get("validation")}

    def _add_unlabeled(self, number: int, teacher: str, row: dict[str, Any], job: "TrainingJob") -> "TrainingJob":
        """Return a job with the unlabeled images of a round, and write into `row` how many were kept."""
        from nas.api.teachers import find_teacher
        from nas.data.unlabeled import load_unlabeled
        from nas.train.noisy_student.labeling import kept_soft_labels
        from nas.train.noisy_student.selection import describe_selection, select
        from nas.train.noisy_student.training_set import student_set
        from nas.train.teachers import Task

        given = self.request.teacher_normalization if teacher == self.request.teacher else None
        found = find_teacher(
            teacher,
            Task(self.request.data, job.data.classes, job.normalization),
            job.device,
            resolution=job.arch.resolution,
            normalization=given,
        )
        unlabeled = load_unlabeled(self.unlabeled, job.arch.resolution, job.arch.in_channels)
        for note in unlabeled.notes:
            self.report.say(f"{self.unlabeled}: {note}")
        probabilities = kept_soft_labels(self._round_folder(number), found, unlabeled.images, job.device)
        selection = select(probabilities, self.request.confidence, self.request.per_class)
        for line in describe_selection(selection, job.data.classes):
            self.report.say(f"round {number}: {line}")
        row.update(_counts(selection, job.data.classes, len(unlabeled.images)))
        student = student_set(job.data, unlabeled.images, selection)
        return attrs.evolve(job, data=student.data, targets=student.targets)

    def _finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Copy the files of the last student into the folder, and write the metrics."""
        from nas.train.full.folder import TrainingFolder
        from nas.weights.checkpoints import ARCHITECTURE_FILE, LAST_FILE, RECIPE_FILE, WEIGHTS_FILE

        last = self._round_folder(self.request.rounds)
        drawings = sorted(path.name for path in last.glob("*.html"))
        for name in (WEIGHTS_FILE, LAST_FILE, ARCHITECTURE_FILE, RECIPE_FILE, *drawings):
            write_atomically(self.folder / name, read_bytes(last / name, MOST_BYTES))
        TrainingFolder(self.folder).write_metrics(metrics)
        return metrics


def _counts(selection: "Selection", classes: tuple[str, ...], images: int) -> dict[str, Any]:
    return {
        "unlabeled": images,
        "classes": {name: attrs.asdict(count) for name, count in zip(classes, selection.counts, strict=True)},
    }
