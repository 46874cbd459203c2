"""The plan of a search: everything that is checked before anything is evaluated or stored."""

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
from nas.samplers.cost_range import ChoiceIndices, CostRange, make_cost_range
from nas.samplers.defaults import SURROGATE
from nas.samplers.filtered import FilteredSampler, Proposal, list_inside
from nas.samplers.history import TrialHistory
from nas.samplers.optuna_catalog import make_pruner
from nas.search.baseline import find_baseline, on_task
from nas.search.sampler_factory import check_sampler, make_sampler
from nas.search.screening import Screen, Screened
from nas.search.settings import Settings, default_study_name, study_settings
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse
from nas.studies.records import SOURCE


@frozen(eq=False)
class Plan:
    """Hold a search that is checked and not yet started.

    Attributes:
        space: Search space.
        evaluator: Evaluator of accuracies.
        settings: Settings of the search.
        costs: Cost models whose values every trial stores.
        cost_range: Costs that are accepted.
        described: Settings in the form that the study stores; see `study_settings`.
        study_name: Name of the study.
        baseline: Name and architecture of the baseline, or None.
        wanted: Choice indices of the networks to start from, with a message about each.
        pool: Choice indices of all architectures that the evaluator can score; None where it can score all.
        screen: Screening by a cheap evaluator, or None.
    """

    space: SearchSpace
    evaluator: Evaluator
    settings: Settings
    costs: CostModels
    cost_range: CostRange
    described: Mapping[str, Any]
    study_name: str
    baseline: tuple[str, Architecture] | None
    wanted: tuple[tuple[ChoiceIndices, str], ...]
    pool: ChoiceIndices | None = None
    screen: Screen | None = None

    @property
    def preparing(self) -> tuple[Preparing, ...]:
        """Return the evaluators that must prepare before the first evaluation."""
        both = (*((self.screen.evaluator,) if self.screen else ()), self.evaluator)
        return tuple(evaluator for evaluator in both if isinstance(evaluator, Preparing))

    @property
    def measures_here(self) -> bool:
        """Return whether a target is measured on the CPU cores of this machine during the search."""
        return any(target.measured_here for target in self.settings.targets)

    def sampler(self, screened: Screened | None = None, trial_history: TrialHistory | None = None) -> FilteredSampler:
        """Return the sampler of the search, given the result of the screening and what is known of errors."""
        wanted = [indices for indices, _ in self.wanted]
        return make_sampler(self.cost_range, self.settings, self.costs, wanted, self.pool, screened, trial_history)


def plan(
    space: SearchSpace,
    evaluator: Evaluator,
    settings: Settings,
    costs: CostModels,
    study_name: str = "",
    screen: Screen | None = None,
    source: tuple[str, Architecture] | None = None,
) -> Plan:
    """Return a plan, after everything is checked that can be checked before a study is opened.

    Args:
        space: Search space.
        evaluator: Evaluator of accuracies.
        settings: Settings of the search.
        costs: Cost models whose values every trial stores, beside those of the targets.
        study_name: Name of the study; "" takes `default_study_name`.
        screen: Screening by a cheap evaluator, or None.
        source: Name and architecture of the network whose weights the candidates inherit; it is then the baseline.

    Raises:
        NasError: A setting breaks a rule, no architecture can meet a target, or a network to start from cannot be
            moved into the cost range.
    """
    cost_range = check(space, settings)
    pool = find_pool(space, evaluator)
    # The generator does no work before its first accuracy is requested, but it checks the architecture here.
    evaluator.evaluate(first_proposal(cost_range, settings, pool).arch, settings.epochs)
    _check_screen(screen, settings)
    described = (
        study_settings(space, evaluator, settings)
        | ({} if screen is None else {"screen": screen.describe()})
        | ({} if source is None else {SOURCE: source[0]})
    )
    name = study_name or default_study_name(described)
    baseline = find_baseline(space, settings.targets) if source is None else (source[0], on_task(source[1], space))
    wanted = move_starts(cost_range, settings, pool)
    return Plan(space, evaluator, settings, costs, cost_range, described, name, baseline, wanted, pool, screen)


def _check_screen(screen: Screen | None, settings: Settings) -> None:
    if screen is not None and settings.sampler_name != SURROGATE:
        raise StudyError(
            f"sampler {settings.sampler_name} cannot use the scores of a cheaper evaluator",
            f"leave --sampler out, which takes {SURROGATE}, or that evaluator",
        )


def find_pool(space: SearchSpace, evaluator: Evaluator) -> ChoiceIndices | None:
    """Return choice indices of the architectures that an evaluator can score; None where it can score all.

    Raises:
        StudyError: The space contains none of them.
    """
    if not isinstance(evaluator, Limited):
        return None
    inverse = Inverse(space)
    found = [indices for indices in map(inverse.indices, evaluator.architectures()) if indices is not None]
    if not found:
        raise StudyError(
            f"space {space.name} contains none of the architectures that the evaluator can score",
            "give the space and the --fix options that they belong to",
        )
    return np.array(found, dtype=np.intp)


def check(space: SearchSpace, settings: Settings) -> CostRange:
    """Check what can be checked before images are read, and return the cost range.

    Raises:
        NasError: A setting breaks a rule, or no architecture can meet a target.
    """
    check_sampler(settings.sampler_name)
    make_pruner(settings.pruner, settings.epochs)
    check_objective(settings.objective, settings.w, settings.band)
    _check_patience(settings)
    names = [target.name for target in settings.targets]
    if len(set(names)) < len(names):
        raise TargetError(f"a target is given twice: {', '.join(names)}", "give each once")
    cost_range = make_cost_range(
        space, settings.targets, limits(settings.targets, band=settings.band, objective=settings.objective)
    )
    first_proposal(cost_range, settings)
    return cost_range


def _check_patience(settings: Settings) -> None:
    if settings.patience is None or settings.patience.chance is None:
        return
    if settings.sampler_name != SURROGATE or settings.objective == PARETO:
        cause = "objective pareto" if settings.objective == PARETO else f"sampler {settings.sampler_name}"
        raise StudyError(
            f"the search cannot end by the chance of a gain, which is not known with {cause}",
            f"give --patience a number of trials, or use sampler {SURROGATE} and another objective than {PARETO}",
        )


def check_objective(objective: str, w: float | None, band: float) -> None:
    """Check the objective, which needs no device.

    Raises:
        TargetError: A setting breaks a rule.
    """
    limits((), band=band, objective=objective)
    if objective != PARETO:
        make_reward(objective, w)
    elif w is not None:
        raise TargetError(f"w is {w}, and objective {PARETO} has none", "leave --w out, or choose another objective")


def first_proposal(cost_range: CostRange, settings: Settings, pool: ChoiceIndices | None = None) -> Proposal:
    """Return the first suggestion of a search that has no networks to start from.

    Raises:
        TargetError: There is none. Targets that can each be met cannot always be met together, and the costs of a small
            space have gaps.
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


def move_starts(
    cost_range: CostRange, settings: Settings, pool: ChoiceIndices | None = None
) -> tuple[tuple[ChoiceIndices, str], ...]:
    """Return choice indices of the networks to start from, moved into the cost range, with a message about each.

    Where only a pool can be evaluated, each is replaced by the nearest member of the pool.

    Raises:
        NasError: A network cannot be moved there.
    """
    listing = None if pool is None else list_inside(cost_range, pool)
    return tuple(_start(cost_range, arch, settings.seed, listing) for arch in settings.start_from)


def _start(
    cost_range: CostRange, arch: Architecture, seed: int, listing: ChoiceIndices | None
) -> tuple[ChoiceIndices, str]:
    """Return the architecture nearest to a known one, inside the cost range or from a list."""
    near = np.array(cost_range.space.nearest(arch), dtype=np.intp)
    if listing is None:
        inside = cost_range.bring_in(near, np.random.default_rng(seed))
    else:
        inside = listing[(listing != near).sum(axis=1).argmin()]
    if inside is None:
        raise StudyError(
            "a network to start from cannot be moved into the cost range", "start from one of similar cost"
        )
    if not cost_range.admits(cost_range.space.from_indices(inside.tolist())):
        raise StudyError(
            "a network to start from was moved into the cost range by an estimated cost, but its own cost is outside",
            "start from another network, or give a smaller --band",
        )
    off = _unlike(arch, cost_range.space.from_indices(near.tolist()))
    moved = int((near != inside).sum())
    return (
        inside,
        f"{off} stages of a network to start from were moved onto the space's grid, "
        f"and {moved} choices were changed to come into the cost range",
    )


def _unlike(arch: Architecture, own: Architecture) -> int:
    """Return the number of stages that differ, after both networks are split into stages in the same way."""
    if len(arch.stages) != len(own.stages):
        arch, own = canonical(arch), canonical(own)
    return sum(known != other for known, other in zip_longest(arch.stages, own.stages))
