"""Samplers, built from the settings of a search."""

from collections.abc import Sequence
from types import MappingProxyType

from nas.cost.base import CostModels
from nas.objective import PARETO, directions
from nas.samplers.acquisition import Acquisition, FrontImprovement, ScoreImprovement
from nas.samplers.base import ModelSampler, OptunaSampler, Sampler
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.defaults import SURROGATE
from nas.samplers.encoding import Encoder
from nas.samplers.filtered import FilteredSampler, list_inside
from nas.samplers.history import TrialHistory
from nas.samplers.optuna_catalog import find_sampler
from nas.samplers.prior_scores import PriorScores
from nas.samplers.ranking import CandidateRanker
from nas.search.screening import Screened
from nas.search.settings import Settings

NO_COSTS: CostModels = MappingProxyType({})


def make_sampler(
    cost_range: CostRange,
    settings: Settings,
    costs: CostModels = NO_COSTS,
    wanted: Sequence[ChoiceIndices] = (),
    pool: ChoiceIndices | None = None,
    screened: Screened | None = None,
    trial_history: TrialHistory | None = None,
) -> FilteredSampler:
    """Return the sampler of a search, behind the filter of its cost range.

    Args:
        cost_range: Costs that are accepted.
        settings: Settings with the name of the sampler, the seed and the objective.
        costs: Cost models that the model of accuracy reads, beside those of the targets.
        wanted: Choice indices to suggest first.
        pool: Choice indices of all architectures that can be evaluated; None where all can.
        screened: Scores of a cheap evaluator for the model of accuracy.
        trial_history: Empty history, with what is known of the errors of accuracies; None where nothing is known.

    Raises:
        StudyError: There is no sampler of that name.
    """
    listing = list_inside(cost_range, pool)
    if settings.sampler_name == SURROGATE:
        ranker = make_ranker(cost_range, settings, costs, listing, screened)
        inner: Sampler = ModelSampler(ranker, trial_history or TrialHistory(cost_range.space))
    else:
        found = find_sampler(settings.sampler_name)
        inner = OptunaSampler(cost_range.space, directions(settings.objective), found)
    return FilteredSampler(cost_range, inner, settings.seed, wanted, listing, pool is not None)


def check_sampler(name: str) -> None:
    """Check the name of a sampler.

    Raises:
        StudyError: There is no sampler of that name.
    """
    if name != SURROGATE:
        find_sampler(name)


def make_ranker(
    cost_range: CostRange,
    settings: Settings,
    costs: CostModels = NO_COSTS,
    listing: ChoiceIndices | None = None,
    screened: Screened | None = None,
) -> CandidateRanker:
    """Return the ranking of candidates under the objective of a search."""
    targets = settings.targets
    seen = dict(costs) | {target.kept_as: target.cost for target in targets}
    acquisition: Acquisition = FrontImprovement(targets[0].limit)
    if settings.objective != PARETO:
        acquisition = ScoreImprovement(settings.reward, targets)
    encoder = Encoder(cost_range.space, seen)
    prior_scores = None if screened is None else PriorScores(encoder, screened.indices, screened.values)
    return CandidateRanker(cost_range, encoder, acquisition, listing, prior_scores)
