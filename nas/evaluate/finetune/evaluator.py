"""An evaluator that fine-tunes the weights that a network inherits from a pretrained one."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import attrs
import torch
from attrs import define, field, frozen
from torch import Tensor

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.data.augment import Scaling
from nas.errors import NasError, WeightsError
from nas.evaluate.finetune.recipe import DistillationRecipe, FinetuneRecipe
from nas.evaluate.finetune.teacher import Teacher
from nas.evaluate.short_training.epochs import EpochEvaluator
from nas.models.build import build_model
from nas.train.distillation import Distillation, TeacherOutputs
from nas.train.first_weights import (
    ArrayTensors,
    gate_means_of,
    head_and_fresh_parameters,
    inherit_for,
    normalization_for,
    re_estimate_statistics,
)
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from nas.version import __version__
from nas.weights.base import TrainedNetwork
from nas.weights.stored import read_network, write_network
from nas.weights.tensor_files import read_tensor_file

FOLDER = Path("nas-finetuned")
# One teacher serves the searches of all seeds.
TEACHER_SEED = 0


@define(eq=False)
class _Held:
    """Hold what an evaluator keeps between evaluations in one process.

    Attributes:
        outputs: Outputs of the teacher, or None before they are needed.
        gates: Means of the gates of the source, or None before they are needed.
        digest: Digest of the source's tensors, or "" before it is needed.
        shares: Share of inherited parameters of each architecture, as it is trained.
        metadata: Metadata of the last evaluation of each architecture.
    """

    outputs: TeacherOutputs | None = None
    gates: Mapping[str, Tensor] | None = None
    digest: str = ""
    shares: dict[Architecture, float] = field(factory=dict)
    metadata: dict[Architecture, dict[str, Any]] = field(factory=dict)


@frozen
class FinetuneEvaluator(EpochEvaluator):
    """Give the accuracy after each epoch of fine-tuning weights that are inherited from a pretrained network.

    A network inherits the weights of the source; its batch-norm statistics are re-estimated on training images, and it
    is trained on the training split. Images are normalized as those of the source. With `distill`, the source network
    is fine-tuned once on the same images, and the networks learn from its outputs beside the labels.

    Seeds, checkpoints, batches that do not fit into the memory, and errors are those of `TrainEvaluator`, which also
    describes the other arguments.

    Args:
        data: Images, held at the resolution of the largest networks; see `full_resolution`.
        source: Pretrained network.
        recipe: Hyperparameters of the training runs.
        distill: Whether the networks learn from the fine-tuned source network.
        distillation: Hyperparameters of the distillation.
        folder: Folder of the fine-tuned source network, which workers and later searches read again.
        weights: Folder in which the weights of each finished evaluation are written; None writes nothing.

    Raises:
        NasError: See `TrainEvaluator`.
        WeightsError: The normalization of the source is unknown.
    """

    source: TrainedNetwork = field(kw_only=True)
    recipe: FinetuneRecipe = field(factory=FinetuneRecipe, kw_only=True)
    distill: bool = field(default=True, kw_only=True)
    distillation: DistillationRecipe = field(factory=DistillationRecipe, kw_only=True)
    folder: Path = field(default=FOLDER, kw_only=True)
    weights: Path | None = field(default=None, kw_only=True)
    _held: _Held = field(init=False, factory=_Held, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        normalization_for(self.source, self.data.channels)

    def prepare(self) -> None:
        """Find the means of the gates, and read the outputs of the teacher or train it, once; see `Preparing`.

        Raises:
            NasError: The teacher cannot be read, trained or written, or memory ran out.
        """
        # Otherwise every worker process computes the means.
        _ = self._gates
        if self.distill and self._held.outputs is None:
            pixels = self._pixels(self.source.arch)
            outputs = self._teacher.outputs(self.data, pixels, self.device)
            self._held.outputs = outputs.to(self.device)

    def seconds_to_prepare(self) -> float:
        """Return the estimated duration of training the teacher in seconds, 0 if it is trained.

        Raises:
            NasError: The file of the teacher cannot be read.
        """
        if not self.distill or self._held.outputs is not None or self._teacher.seconds() is not None:
            return 0.0
        return self.distillation.epochs * self._as_teacher().seconds_per_epoch(self._teacher_arch)

    def seconds_prepared(self) -> float:
        """Return the duration of making the teacher in seconds, whenever it was made; 0 if there is none.

        It is the duration of its training, and of the computation of its outputs.

        Raises:
            NasError: The file of the teacher cannot be read.
        """
        return (self._teacher.seconds() or 0.0) if self.distill else 0.0

    def weights_path(self, arch: Architecture, budget: int) -> Path | None:
        """Return the path of the weights of an evaluation, or None if none are written.

        The name is a digest of everything that the weights depend on, so that every process computes the same.
        """
        return None if self.weights is None else self.weights / self._weights_name(arch, budget)

    def _weights_name(self, arch: Architecture, budget: int) -> str:
        described = json.dumps(self._described_run(arch, budget), sort_keys=True)
        return f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.safetensors"

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the share of inherited parameters, the batch size if memory ran out, and the name of the weights.

        If the weights of the last evaluation could not be written, "weights_problem" says why.
        """
        return {**super().metadata(arch), **self._held.metadata.get(arch, {})}

    def with_seed(self, seed: int) -> Self:
        """Return the evaluator with another seed; the teacher is the same. See `Reseedable`.

        It writes no weights: those that are kept are the weights of the trials themselves.
        """
        other = self._evolved(seed=seed, weights=None)
        other._held.outputs, other._held.gates, other._held.digest = self._held.outputs, self._held.gates, self._digest
        return other

    def to_send(self) -> Self:
        """Return the evaluator without callbacks, with images in shared memory; see `Sendable`.

        Every process reads the outputs of the teacher from their file, so call `prepare` first.

        Raises:
            DataError: The images cannot be shared.
        """
        source = attrs.evolve(self.source, tensors=ArrayTensors(self.source.tensors))
        sent = attrs.evolve(super().to_send(), source=source)
        sent._held.digest = self._digest
        sent._held.gates = None if self._held.gates is None else ArrayTensors(self._held.gates)
        return sent

    def describe(self) -> Mapping[str, Any]:
        """Return everything that the accuracies depend on, as plain JSON values."""
        norm = normalization_for(self.source, self.data.channels)
        return {
            "evaluator": "finetune",
            **self._describe_training(),
            # Without the name of the source, so that a renamed file trains no new teacher and fits its studies.
            "source": {
                "architecture": format_text(self.source.arch),
                "tensors": self._digest,
                "same_classes": self._has_same_classes,
            },
            "normalization": {"mean": list(norm.mean), "std": list(norm.std)},
            "distillation": attrs.asdict(self.distillation) if self.distill else None,
        }

    @property
    def _has_same_classes(self) -> bool:
        return self.source.classes == self.data.classes

    @property
    def _digest(self) -> str:
        if not self._held.digest:
            self._held.digest = self.source.digest
        return self._held.digest

    @property
    def _gates(self) -> Mapping[str, Tensor]:
        if self._held.gates is None:
            self._held.gates = gate_means_of(self.source, self.data, self.device)
        return self._held.gates

    @property
    def _teacher(self) -> Teacher:
        teacher = self._as_teacher()
        described = teacher._described_run(self._teacher_arch, self.distillation.epochs)
        return Teacher(described, self.folder, self._fine_tuned_source, self.notify)

    @property
    def _teacher_arch(self) -> Architecture:
        # Weights for another number of channels of the image are inherited as by every other network.
        return attrs.evolve(self.source.arch, in_channels=self.data.channels)

    def _as_teacher(self) -> Self:
        """Return the evaluator that fine-tunes the source network, which keeps its checkpoints and weights."""
        teacher = attrs.evolve(
            self,
            seed=TEACHER_SEED,
            recipe=self.distillation.training,
            distill=False,
            metric="accuracy",
            checkpoints=self.folder,
            weights=self.folder,
        )
        teacher._held.gates, teacher._held.digest = self._held.gates, self._digest
        return teacher

    def _fine_tuned_source(self) -> tuple[TrainedNetwork, float]:
        """Return the fine-tuned source network, and the duration of its training in seconds.

        Raises:
            NasError: The network cannot be trained, written or read.
        """
        teacher, arch, epochs = self._as_teacher(), self._teacher_arch, self.distillation.epochs
        path = self.folder / teacher._weights_name(arch, epochs)
        if not path.exists():
            self.notify(f"the source network is fine-tuned for {epochs} epochs as the teacher; folder {self.folder}")
            for epoch, accuracy in enumerate(teacher.evaluate(arch, epochs), 1):
                self.notify(f"teacher: epoch {epoch} of {epochs} is done, accuracy {accuracy:.3f}")
            if (problem := teacher.metadata(arch).get("weights_problem")) is not None:
                raise NasError(problem, "choose another folder for the fine-tuned source network")
        network = self._read_fine_tuned(path)
        return network, float(network.provenance.get("seconds", 0.0))

    def _read_fine_tuned(self, path: Path) -> TrainedNetwork:
        """Return the fine-tuned source network in a file.

        Raises:
            NasError: The file cannot be read, or holds another network.
        """
        remedy = "delete it to fine-tune the source network again"
        try:
            network = read_network(path, read_tensor_file(path))
        except WeightsError as error:
            raise NasError(f"the fine-tuned source network cannot be read: {error.problem}", remedy) from None
        expected = self._teacher_arch.adapted(resolution=self._teacher_arch.resolution, classes=self.data.num_classes)
        # The name of the file says what it should hold, and not what it does hold.
        if network is None or network.arch != expected or network.provenance.get("source_tensors") != self._digest:
            raise NasError(f"{path} holds another network than the fine-tuned source network", remedy)
        return network

    def _accuracies(self, arch: Architecture, budget: int) -> Iterator[float]:
        self.prepare()
        # An evaluation that is stopped has no metadata, and not those of a former one.
        self._held.metadata.pop(arch, None)
        yield from super()._accuracies(arch, budget)

    def _adapted(self, arch: Architecture) -> Architecture:
        self._check_channels(arch)
        return self.recipe.adapt(arch.adapted(resolution=arch.resolution, classes=self.data.num_classes))

    def _start(self, arch: Architecture, budget: int, recipe: Recipe) -> TrainingRun:
        inherited = inherit_for(self.source, arch, self.data.classes, self.seed, self._gates)
        self._held.shares[arch] = inherited.report.share
        model = build_model(arch)
        model.load_state_dict(dict(inherited.tensors))
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        norm, pixels = normalization_for(self.source, self.data.channels), self._pixels(arch)
        factors = dict.fromkeys(head_and_fresh_parameters(model, inherited), self.recipe.head_rate)
        run = TrainingRun(
            self.data,
            model,
            recipe,
            budget,
            self.device,
            self.on_batch,
            self.metric,
            self._val_batch(recipe, pixels),
            pixels,
            recipe.make_optimizer(model, factors),
            Scaling(norm.mean, norm.std, self.device),
            self._distillation(),
        )
        re_estimate_statistics(run)
        return run

    def _distillation(self) -> Distillation | None:
        """Return what a loss takes from the teacher; None without a teacher, or while durations are estimated."""
        outputs, recipe = self._held.outputs, self.distillation
        if outputs is None:
            return None
        return Distillation(outputs, recipe.share, recipe.temperature, recipe.feature_weight)

    def _finish(self, arch: Architecture, budget: int, run: TrainingRun, accuracy: float, seconds: float) -> None:
        self._held.metadata[arch] = {"inherited": round(self._held.shares[self._adapted(arch)], 4)}
        path = self.weights_path(arch, budget)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_network(self._trained(arch, budget, run, accuracy, seconds), path)
            self._held.metadata[arch]["weights"] = path.name
        except (NasError, OSError, ModuleNotFoundError) as error:
            problem = error.problem if isinstance(error, NasError) else f"{path} cannot be written: {error}"
            # The process of the search reports it, because a worker process has no user to report it to.
            self._held.metadata[arch]["weights_problem"] = problem

    def _trained(
        self, arch: Architecture, budget: int, run: TrainingRun, accuracy: float, seconds: float
    ) -> TrainedNetwork:
        model = run.model if run.average is None else run.average.model
        provenance = {
            "source": self.source.provenance.get("source", ""),
            "source_tensors": self._digest,
            "data": self.data.name,
            # The architecture has its own resolution, at which it is meant to run.
            "pixels": str(self._pixels(arch)),
            "epochs": str(budget),
            "seed": str(self.seed),
            "accuracy": str(accuracy),
            "seconds": f"{seconds:.3f}",
            "nas": __version__,
        }
        return TrainedNetwork(
            arch.adapted(resolution=arch.resolution, classes=self.data.num_classes),
            model.state_dict(),
            self.data.classes,
            normalization_for(self.source, self.data.channels),
            provenance,
        )
