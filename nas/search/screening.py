"""A look at many architectures by a cheap evaluator, before any is evaluated in earnest."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from attrs import field, frozen
from numpy.typing import NDArray

from nas.errors import EvaluationError, StudyError
from nas.evaluate.base import Evaluator
from nas.samplers.cost_range import CostRange, Picks
from nas.samplers.random_networks import draw
from nas.search.defaults import SCREENED as NETWORKS

KEPT = "nas:screened"  # in a study: option numbers with verdicts, None for what could not be judged
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

    def draw(self, cost_range: CostRange, seed: int, pool: Picks | None = None) -> Picks:
        """The networks, the same ones for the same seed; fewer where there are no more."""
        return draw(cost_range.space, self.networks, seed, cost_range, pool)


@frozen(eq=False)
class Screened:
    """Networks that were judged: option numbers `(N, choices)` and verdicts `(N,)`."""

    picks: Picks
    values: NDArray[np.float64]


def screen_all(
    study: optuna.Study,
    drawn: Picks,
    evaluate: Callable[[Picks], float],
    tell: Callable[[int], None],
) -> Screened | None:
    """Verdicts on as many networks as were drawn; those that the study has come first, and are not asked for again.

    Args:
        study: that keeps them, with the networks' option numbers: another draw does not mix them up.
        drawn: see `Screen.draw`.
        evaluate: the verdict on a network.
        tell: called now and then with how many are judged.

    Returns:
        None where there are too few to learn from.

    Raises:
        StudyError: none of the first networks could be judged.
    """
    kept: list[list[Any]] = list(study.user_attrs.get(KEPT, ()))
    known = {tuple(picks) for picks, _ in kept}
    waiting = [picks for picks in drawn if tuple(picks.tolist()) not in known][: max(0, len(drawn) - len(kept))]
    for start in range(0, len(waiting), AT_ONCE):
        tell(len(kept))
        kept += _verdicts(waiting[start : start + AT_ONCE], evaluate, sure=any(value is not None for _, value in kept))
        study.set_user_attr(KEPT, kept)
    told = [(picks, value) for picks, value in kept if value is not None]
    if len(told) < FEWEST:
        return None
    return Screened(np.array([picks for picks, _ in told], dtype=np.intp), np.array([value for _, value in told]))


def _verdicts(networks: Sequence[Picks], evaluate: Callable[[Picks], float], *, sure: bool) -> list[list[Any]]:
    """Option numbers with verdicts, None for what could not be judged; `sure` where others could."""
    rows: list[list[Any]] = []
    reason = ""
    for picks in networks:
        try:
            rows.append([picks.tolist(), evaluate(picks)])
        except EvaluationError as error:
            rows.append([picks.tolist(), None])
            reason = error.problem
    if not sure and len(rows) == AT_ONCE and all(value is None for _, value in rows):
        raise StudyError(
            f"the first {len(rows)} networks could not be screened, the last with: {reason}",
            "mend the cause and give the same command again, or leave out the evaluator before the +",
        )
    return rows
