"""Proposers and their parts, made of a search's settings."""

from collections.abc import Sequence
from types import MappingProxyType

from nas.cost.base import CostModels
from nas.objective import PARETO, directions, make_reward
from nas.samplers.acquisition import FrontGain, Gain, ScoreGain
from nas.samplers.cost_range import Band, Picks
from nas.samplers.defaults import SURROGATE
from nas.samplers.encoding import Encoder
from nas.samplers.filtered import Proposer, list_inside
from nas.samplers.history import Ledger
from nas.samplers.optuna_catalog import find_sampler
from nas.samplers.prior_scores import Hints
from nas.samplers.ranking import Suggester
from nas.samplers.suggestions import ModelWisher, OptunaWisher, Wisher
from nas.search.screening import Screened
from nas.search.settings import Settings

NO_COSTS: CostModels = MappingProxyType({})


def make_proposer(
    band: Band,
    settings: Settings,
    costs: CostModels = NO_COSTS,
    wanted: Sequence[Picks] = (),
    pool: Picks | None = None,
    screened: Screened | None = None,
) -> Proposer:
    """A proposer for a search.

    Args:
        band: what is let in.
        settings: whose sampler, seed and objective count.
        costs: what the model of accuracy looks at beside the targets' own.
        wanted: option numbers to propose first.
        pool: all that can be evaluated; None where everything can.
        screened: what a cheap evaluator says, for the model of accuracy.

    Raises:
        StudyError: there is no such sampler.
    """
    listing = list_inside(band, pool)
    wisher = _make_wisher(band, settings, costs, listing, screened)
    return Proposer(band, wisher, settings.seed, wanted, listing, pool is not None)


def check_sampler(name: str) -> None:
    """Refuse what is no sampler's name.

    Raises:
        StudyError: there is no such sampler.
    """
    if name != SURROGATE:
        find_sampler(name)


def make_suggester(
    band: Band,
    settings: Settings,
    costs: CostModels = NO_COSTS,
    listing: Picks | None = None,
    screened: Screened | None = None,
) -> Suggester:
    """The model of accuracy, and what it aims at under a search's objective."""
    targets = settings.targets
    seen = dict(costs) | {target.kept_as: target.cost for target in targets}
    gain: Gain = FrontGain(targets[0].limit)
    if settings.objective != PARETO:
        gain = ScoreGain(make_reward(settings.objective, settings.w), targets)
    encoder = Encoder(band.space, seen)
    hints = None if screened is None else Hints(encoder, screened.picks, screened.values)
    return Suggester(band, encoder, gain, listing, hints)


def _make_wisher(
    band: Band, settings: Settings, costs: CostModels, listing: Picks | None, screened: Screened | None
) -> Wisher:
    if settings.sampler_name == SURROGATE:
        return ModelWisher(make_suggester(band, settings, costs, listing, screened), Ledger(band.space))
    return OptunaWisher(band.space, directions(settings.objective), find_sampler(settings.sampler_name))
