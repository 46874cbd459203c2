"""A look at many architectures by a cheap evaluator, before any is evaluated in earnest."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan, nan
from typing import Any

import numpy as np
import optuna
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, StudyError
from nas.evaluate.base import Evaluator
from nas.search.band import Band, Picks
from nas.search.defaults import SCREENED as NETWORKS
from nas.search.draw import draw
from nas.space.decode import SearchSpace

KEPT = "nas:screened"  # in a study: verdicts in the order of the draw, None for what could not be judged
AT_ONCE = 10  # kept together, so that little is lost and little is written
FEWEST = 5  # a model of fewer says nothing


@frozen
class Screen:
    """A cheap evaluator, and how many random networks of the band it judges.

    Attributes:
        evaluator: whose verdicts need not be accuracies: only which is higher counts.
        networks: how many.

    Raises:
        StudyError: they are too few.
    """

    evaluator: Evaluator
    networks: int = field(default=NETWORKS)

    @networks.validator
    def _enough(self, _attribute: object, value: int) -> None:
        if value < FEWEST:
            raise StudyError(f"{value} networks to screen", f"screen at least {FEWEST}")

    def describe(self) -> dict[str, Any]:
        """What the verdicts depend on, as plain JSON values."""
        said = {key: value for key, value in self.evaluator.describe().items() if key != "environment"}
        return {"networks": self.networks, **said}

    def draw(self, band: Band, seed: int, pool: Picks | None = None) -> Picks:
        """The networks, the same ones for the same seed; fewer where there are no more."""
        return draw(band.space, self.networks, seed, band, pool)


def read_verdicts(study: optuna.Study) -> list[float]:
    """What is known in a study, in the order of the draw; NaN for what could not be judged."""
    return [nan if value is None else float(value) for value in study.user_attrs.get(KEPT, ())]


@frozen(eq=False)
class Screened:
    """Networks that were judged: option numbers `(N, choices)` and verdicts `(N,)`."""

    picks: Picks
    values: NDArray[np.float64]


def screen_all(
    study: optuna.Study,
    evaluator: Evaluator,
    space: SearchSpace,
    drawn: Picks,
    heed: Callable[[Iterable[float]], Iterable[float]],
    tell: Callable[[int], None],
) -> Screened | None:
    """Verdicts on the drawn networks; those that the study has are not asked for again.

    Args:
        study: that keeps them.
        evaluator: that gives them.
        space: that the networks are of.
        drawn: see `Screen.draw`.
        heed: lets an evaluation be interrupted.
        tell: called now and then with how many are judged.

    Returns:
        None where there are too few to learn from.

    Raises:
        StudyError: the first networks could not be judged, one after another.
    """
    values = read_verdicts(study)[: len(drawn)]
    for start in range(len(values), len(drawn), AT_ONCE):
        tell(start)
        archs = [space.from_picks(picks.tolist()) for picks in drawn[start : start + AT_ONCE]]
        values += _verdicts(evaluator, archs, heed)
        study.set_user_attr(KEPT, [None if isnan(value) else value for value in values])
    known = ~np.isnan(values)
    return Screened(drawn[known], np.array(values)[known]) if known.sum() >= FEWEST else None


def _verdicts(
    evaluator: Evaluator, archs: Sequence[Architecture], heed: Callable[[Iterable[float]], Iterable[float]]
) -> list[float]:
    values, reason = [], ""
    for arch in archs:
        try:
            values.append([float(value) for value in heed(evaluator.evaluate(arch, 1))][-1])
        except EvaluationError as error:
            values.append(nan)
            reason = error.problem
    if np.isnan(values).all():
        raise StudyError(
            f"{len(archs)} networks could not be screened one after another, the last with: {reason}",
            "mend the cause and give the same command again, or leave out the evaluator before the +",
        )
    return values
