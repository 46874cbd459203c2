"""The parsed options of `nas check`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from nas.api.engines import EngineOptions
from nas.api.evaluators import EvaluatorOptions
from nas.api.search_plan import PROXY_RESOLUTION
from nas.api.training import TrainingOptions
from nas.cli.shared.figures import FigureFiles
from nas.cli.shared.options import take

OF_SPACE = 0  # a resolution that stands for that of the search space


@frozen
class CheckOptions:
    """Hold the parsed options of `nas check`.

    Attributes:
        truth: Evaluator whose accuracies count as the truth; None takes a longer training run.
        minutes: Time limit in minutes.
        trials: Number of trials of the planned search.
        price: Price of an hour on this machine; None if it is unknown.
        training: Options of the training runs.
        engine: Options of the workers that do the training runs.
        figure: Files of the figure.
    """

    space: str | None
    fixes: tuple[str, ...]
    targets: tuple[str, ...]
    resolution: int | None
    classes: int | None
    evaluators: tuple[str, ...]
    truth: str | None
    accuracy: str
    ignore_columns: tuple[str, ...]
    accuracy_unit: str
    supernet_epochs: int | None
    supernet_dir: Path
    pretrained: str | None
    normalization: str | None
    distill: bool
    weights_dir: Path
    networks: int
    minutes: float
    trials: int
    price: float | None
    study: str
    storage: str
    as_json: bool
    training: TrainingOptions
    engine: EngineOptions
    figure: FigureFiles

    def evaluator_options(self, seed: int) -> EvaluatorOptions:
        """Return the options of an evaluator with a seed."""
        from nas.api.weights import cached_source

        source = None if self.pretrained is None else cached_source(self.pretrained, self.normalization)
        return EvaluatorOptions(
            seed=seed,
            metric=self.training.metric,
            train_on=self.training.train_on,
            images=self.training.images,
            supernet_epochs=self.supernet_epochs,
            supernet_dir=self.supernet_dir,
            accuracy=self.accuracy,
            ignore_columns=self.ignore_columns,
            accuracy_unit=self.accuracy_unit,
            source=source,
            distill=self.distill,
            teacher_dir=self.weights_dir.absolute(),
        )

    def with_settings(self, settings: Mapping[str, int], *, supernet: bool) -> "CheckOptions":
        """Return the options with the settings of one evaluator in place of those that all evaluators share.

        Args:
            settings: The settings "epochs", "resolution" and "images" by name; those that are missing do not change.
            supernet: Whether the epochs are those of a supernet.
        """
        epochs, training = settings.get("epochs"), self.training
        training = evolve(
            training,
            epochs=training.epochs if supernet else epochs or training.epochs,
            proxy_resolution=settings.get("resolution", training.proxy_resolution),
            images=settings.get("images", training.images),
        )
        return evolve(self, training=training, supernet_epochs=epochs if supernet and epochs else self.supernet_epochs)


def read_options(parsed: dict[str, Any]) -> CheckOptions:
    """Return the options as a record.

    Args:
        parsed: Options as click has parsed them, by name.
    """
    options = dict(parsed)
    if options["proxy_resolution"] is None:
        options["proxy_resolution"] = PROXY_RESOLUTION if options["pretrained"] is None else OF_SPACE
    training, engine = take(TrainingOptions, options), take(EngineOptions, options)
    figure = take(FigureFiles, options)
    return CheckOptions(**options, training=training, engine=engine, figure=figure)
