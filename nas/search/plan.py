"""A search that was checked, before anything is evaluated or stored."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.base import CostModels
from nas.errors import StudyError, TargetError
from nas.evaluate.base import Evaluator, Limited, Preparing
from nas.objective import PARETO, limits, make_reward
from nas.samplers.cost_range import CostRange, Picks, make_cost_range
from nas.samplers.defaults import SURROGATE
from nas.samplers.filtered import FilteredSampler, Proposal, list_inside
from nas.samplers.optuna_catalog import make_pruner
from nas.search.baseline import find_baseline
from nas.search.sampler_factory import check_sampler, make_sampler
from nas.search.screening import Screen, Screened
from nas.search.settings import Settings, default_study_name, study_settings
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse


@frozen(eq=False)
class Plan:
    """A search that was checked and not yet begun.

    Attributes:
        space: what is searched.
        evaluator: gives accuracies.
        settings: what is asked for.
        costs: what is kept of every architecture.
        cost_range: what is let in.
        described: see `study_settings`.
        study_name: of the study.
        baseline: a known network's name and itself, or None.
        wanted: option numbers of the networks to start from, and a sentence on each.
        pool: option numbers of all that the evaluator can score; None where it can score everything.
        screen: a cheap evaluator to look through the band with first; None for none.
    """

    space: SearchSpace
    evaluator: Evaluator
    settings: Settings
    costs: CostModels
    cost_range: CostRange
    described: Mapping[str, Any]
    study_name: str
    baseline: tuple[str, Architecture] | None
    wanted: tuple[tuple[Picks, str], ...]
    pool: Picks | None = None
    screen: Screen | None = None

    @property
    def preparing(self) -> tuple[Preparing, ...]:
        """Those of its evaluators that have something to do before all evaluations."""
        both = (*((self.screen.evaluator,) if self.screen else ()), self.evaluator)
        return tuple(evaluator for evaluator in both if isinstance(evaluator, Preparing))

    @property
    def measures_here(self) -> bool:
        """Whether a target is measured on processors of this machine while the search goes on."""
        return any(target.measured_here for target in self.settings.targets)

    def sampler(self, screened: Screened | None = None) -> FilteredSampler:
        """What proposes the search's architectures, after what the screen has said."""
        wanted = [picks for picks, _ in self.wanted]
        return make_sampler(self.cost_range, self.settings, self.costs, wanted, self.pool, screened)


def plan(
    space: SearchSpace,
    evaluator: Evaluator,
    settings: Settings,
    costs: CostModels,
    study_name: str = "",
    screen: Screen | None = None,
) -> Plan:
    """Check everything that can be checked before a study is touched.

    Args:
        space: what is searched.
        evaluator: gives accuracies.
        settings: what is asked for.
        costs: what is kept of every architecture beside the targets' own costs.
        study_name: "" takes `default_study_name`.
        screen: a cheap evaluator to look through the band with first.

    Raises:
        NasError: a setting breaks a rule, no architecture can meet a target, or one to start from is not let in.
    """
    cost_range = check(space, settings)
    pool = find_pool(space, evaluator)
    # Nothing is evaluated before the first accuracy is asked for; what no architecture may be is told here.
    evaluator.evaluate(first_proposal(cost_range, settings, pool).arch, settings.epochs)
    _check_screen(screen, settings)
    described = study_settings(space, evaluator, settings) | ({} if screen is None else {"screen": screen.describe()})
    name = study_name or default_study_name(described)
    baseline = find_baseline(space, settings.targets)
    wanted = bring_starts_in(cost_range, settings, pool)
    return Plan(space, evaluator, settings, costs, cost_range, described, name, baseline, wanted, pool, screen)


def _check_screen(screen: Screen | None, settings: Settings) -> None:
    if screen is not None and settings.sampler_name != SURROGATE:
        raise StudyError(
            f"sampler {settings.sampler_name} cannot be told what a cheaper evaluator says",
            f"leave --sampler out, which takes {SURROGATE}, or that evaluator",
        )


def find_pool(space: SearchSpace, evaluator: Evaluator) -> Picks | None:
    """Option numbers of what an evaluator can score, None where it can score everything.

    Raises:
        StudyError: the space has none of it.
    """
    if not isinstance(evaluator, Limited):
        return None
    inverse = Inverse(space)
    found = [picks for picks in map(inverse.picks, evaluator.architectures()) if picks is not None]
    if not found:
        raise StudyError(
            f"space {space.name} holds none of the architectures that the evaluator can score",
            "give the space, and the --fix options, that they were made for",
        )
    return np.array(found, dtype=np.intp)


def check(space: SearchSpace, settings: Settings) -> CostRange:
    """What can be checked before images are read.

    Raises:
        NasError: a setting breaks a rule, or no architecture can meet a target.
    """
    check_sampler(settings.sampler_name)
    make_pruner(settings.pruner, settings.epochs)
    check_objective(settings.objective, settings.w, settings.band)
    names = [target.name for target in settings.targets]
    if len(set(names)) < len(names):
        raise TargetError(f"a target is given twice: {', '.join(names)}", "give each once")
    cost_range = make_cost_range(
        space, settings.targets, limits(settings.targets, band=settings.band, objective=settings.objective)
    )
    first_proposal(cost_range, settings)
    return cost_range


def check_objective(objective: str, w: float | None, band: float) -> None:
    """What can be checked before a device is asked.

    Raises:
        TargetError: a setting breaks a rule.
    """
    limits((), band=band, objective=objective)
    if objective != PARETO:
        make_reward(objective, w)
    elif w is not None:
        raise TargetError(f"w is {w}, and objective {PARETO} has none", "leave --w out, or choose another")


def first_proposal(cost_range: CostRange, settings: Settings, pool: Picks | None = None) -> Proposal:
    """What a search begins with, were it not told where to start.

    Raises:
        TargetError: there is none: targets that can each be met need not be met together, and a small space has gaps.
    """
    proposal = make_sampler(cost_range, settings, pool=pool).suggest(0)
    if proposal is None:
        spans = zip(settings.targets, cost_range.limits.low, cost_range.limits.high, strict=True)
        known = "" if pool is None else f", of the {len(pool):,} that the evaluator can score,"
        asked = " and ".join(
            f"{target.name} from {target.amount(low)} to {target.amount(high)}" for target, low, high in spans
        )
        raise TargetError(
            f"no architecture of space {cost_range.space.name}{known} was found with {asked}",
            "give other targets, or a smaller --band",
        )
    return proposal


def bring_starts_in(
    cost_range: CostRange, settings: Settings, pool: Picks | None = None
) -> tuple[tuple[Picks, str], ...]:
    """Option numbers of the networks to start from, moved into the space and the band, and a sentence on each.

    Where only a pool can be evaluated it is the nearest of that.

    Raises:
        NasError: one cannot be moved there.
    """
    listing = None if pool is None else list_inside(cost_range, pool)
    return tuple(_start(cost_range, arch, settings.seed, listing) for arch in settings.start_from)


def _start(cost_range: CostRange, arch: Architecture, seed: int, listing: Picks | None) -> tuple[Picks, str]:
    """The architecture of the space and the band, or of a list, that is nearest to a known one."""
    near = np.array(cost_range.space.nearest(arch), dtype=np.intp)
    if listing is None:
        inside = cost_range.bring_in(near, np.random.default_rng(seed))
    else:
        inside = listing[(listing != near).sum(axis=1).argmin()]
    if inside is None:
        raise StudyError("a network to start from cannot be brought into the band", "start from one of about its cost")
    if not cost_range.admits(cost_range.space.from_picks(inside.tolist())):
        raise StudyError(
            "a network to start from was brought into the band by a rough cost, and is outside by its own",
            "start from another one, or give a smaller --band",
        )
    off = _unlike(arch, cost_range.space.from_picks(near.tolist()))
    moved = int((near != inside).sum())
    return inside, f"{off} of its stages moved onto the space's grid, {moved} choices changed to come into the band"


def _unlike(arch: Architecture, own: Architecture) -> int:
    """How many stages differ; they are cut in the same way first."""
    if len(arch.stages) != len(own.stages):
        arch, own = canonical(arch), canonical(own)
    return sum(known != other for known, other in zip_longest(arch.stages, own.stages))
