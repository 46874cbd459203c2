"""The parsed options of `nas scale`."""

from pathlib import Path
from typing import Any

from attrs import frozen

from nas.api.engines import EngineOptions
from nas.api.training import TrainingOptions
from nas.cli.shared.figures import FigureFiles
from nas.cli.shared.options import take


@frozen
class ScaleOptions:
    """Hold the parsed options of `nas scale`.

    Attributes:
        reference: Architecture to scale; None takes the network of `pretrained`, or else the best trial of the latest
            study.
        pretrained: Source of the weights that the scaled networks inherit; None if there is none.
        normalization: Normalization of the images that replaces that of the source.
        training: Options of the training runs of a fit or a comparison.
        engine: Options of the workers that do these training runs.
        figure: Files of the figure of a fit or a comparison.
    """

    reference: str | None
    phis: tuple[float, ...]
    family: bool
    budgets: tuple[str, ...]
    fit: bool
    compare: bool
    rules: tuple[str, ...]
    any_product: bool
    free: bool
    keep: tuple[str, ...]
    pretrained: str | None
    normalization: str | None
    resolution: int | None
    classes: int | None
    devices: tuple[str, ...]
    precision: str
    tolerance: float
    step: float
    at_phi: tuple[float, ...]
    repeat: int
    w: float
    study: str
    save: Path | None
    onnx: bool
    storage: str
    as_json: bool
    training: TrainingOptions
    engine: EngineOptions
    figure: FigureFiles


def read_options(parsed: dict[str, Any]) -> ScaleOptions:
    """Return the options as a record.

    Args:
        parsed: Options as click has parsed them, by name.
    """
    options = dict(parsed)
    training, engine = take(TrainingOptions, options), take(EngineOptions, options)
    figure = take(FigureFiles, options)
    return ScaleOptions(**options, training=training, engine=engine, figure=figure)
