"""Screening: a cheap evaluator scores many architectures before the search evaluates any of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from attrs import field, frozen
from numpy.typing import NDArray

from nas.errors import EvaluationError, StudyError
from nas.evaluate.base import Evaluator
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.random_networks import draw
from nas.search.defaults import SCREENED as DEFAULT_NETWORKS

SCREENED = "nas:screened"  # attribute of a study: choice indices with scores, None where the evaluator failed
# Scores are stored in batches of so many, or of a tenth of those that are stored: every write contains all of them, and
# a kill loses little.
BATCH, TENTH = 10, 10
FEWEST = 5  # a model of fewer scores is useless


@frozen
class Screen:
    """Hold a cheap evaluator, and the number of random networks inside the cost range that it scores.

    Attributes:
        evaluator: Evaluator whose scores need not be accuracies: only their order is used.
        networks: Number of networks.

    Raises:
        StudyError: The number is too small.
    """

    evaluator: Evaluator
    networks: int = field(default=DEFAULT_NETWORKS)

    @networks.validator
    def _enough(self, _attribute: object, value: int) -> None:
        if value < FEWEST:
            raise StudyError(f"the number of networks to screen is {value}", f"screen at least {FEWEST}")

    def describe(self) -> dict[str, Any]:
        """Return what the scores depend on, as plain JSON values."""
        settings = {key: value for key, value in self.evaluator.describe().items() if key != "environment"}
        return {"networks": self.networks, **settings}

    def draw(self, cost_range: CostRange, seed: int, pool: ChoiceIndices | None = None) -> ChoiceIndices:
        """Return choice indices of the networks, the same ones for the same seed; fewer where there are no more."""
        return draw(cost_range.space, self.networks, seed, cost_range, pool)


@frozen(eq=False)
class Screened:
    """Hold scored networks: choice indices, `(N, choices)`, and scores, `(N,)`."""

    indices: ChoiceIndices
    values: NDArray[np.float64]


def screen_all(
    study: optuna.Study,
    drawn: ChoiceIndices,
    evaluate: Callable[[ChoiceIndices], float],
    tell: Callable[[int], None],
) -> Screened | None:
    """Score as many networks as were drawn, and return all scores; those that the study holds are not computed again.

    Args:
        study: Study that stores the scores together with choice indices, so that another draw cannot mix them up.
        drawn: Choice indices of the networks; see `Screen.draw`.
        evaluate: Returns the score of a network.
        tell: Called before each batch with the number of networks that are done.

    Returns:
        The scored networks; None where there are too few for a model, or all scores are equal.

    Raises:
        StudyError: The evaluator failed for all of the first networks.
    """
    kept: list[list[Any]] = list(study.user_attrs.get(SCREENED, ()))
    known = {tuple(indices) for indices, _ in kept}
    waiting = [indices for indices in drawn if tuple(indices.tolist()) not in known][: max(0, len(drawn) - len(kept))]
    while waiting:
        tell(len(kept))
        size = max(BATCH, len(kept) // TENTH)
        # A first batch of failures alone means a wrong setting; later failures are those of single networks.
        kept += _scores(waiting[:size], evaluate, sure=any(value is not None for _, value in kept))
        waiting = waiting[size:]
        study.set_user_attr(SCREENED, kept)
    scored = [(indices, value) for indices, value in kept if _is_score(value)]
    if _why_unused([value for _, value in scored]):
        return None
    return Screened(
        np.array([indices for indices, _ in scored], dtype=np.intp), np.array([value for _, value in scored])
    )


def describe_unused(study: optuna.Study) -> str:
    """Return which scores of a screened study are not used, and why; "" where all are used."""
    values = [value for _, value in study.user_attrs.get(SCREENED, ())]
    scores = [value for value in values if _is_score(value)]
    failed = f"{len(values) - len(scores)} of {len(values)} networks have no score" if scores != values else ""
    unused = _why_unused(scores)
    return "; ".join(filter(None, (failed, f"{unused}, so the search goes on without scores" if unused else "")))


def _is_score(value: float | None) -> bool:
    # An earlier version stored scores that are not finite, too.
    return value is not None and math.isfinite(value)


def _why_unused(scores: Sequence[float]) -> str:
    """Return why scores are no help to the model of accuracy; "" where they may be."""
    if len(scores) < FEWEST:
        return f"{len(scores)} scores are fewer than {FEWEST}"
    return "" if len(set(scores)) > 1 else f"all {len(scores)} scores are {scores[0]:g}"


def _scores(
    networks: Sequence[ChoiceIndices], evaluate: Callable[[ChoiceIndices], float], *, sure: bool
) -> list[list[Any]]:
    """Return choice indices with scores, None where the evaluator failed; `sure` where it succeeded before."""
    rows: list[list[Any]] = []
    reason = ""
    for indices in networks:
        try:
            rows.append([indices.tolist(), evaluate(indices)])
        except EvaluationError as error:
            rows.append([indices.tolist(), None])
            reason = error.problem
    if not sure and len(rows) == BATCH and all(value is None for _, value in rows):
        raise StudyError(
            f"the first {len(rows)} networks could not be screened, the last with: {reason}",
            "correct the cause and run the same command again, or leave out the evaluator before the +",
        )
    return rows
