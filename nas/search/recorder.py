"""The trials of a search: what each keeps of its architecture, its costs and its result."""

from collections.abc import Mapping
from datetime import datetime
from math import isnan
from typing import Any

from attrs import define
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.code import format_text, parse_text
from nas.arch.spec import Architecture
from nas.cost.base import Cost
from nas.objective import PARETO, score
from nas.samplers.filtered import Proposal
from nas.search.plan import Plan
from nas.search.trials import Running
from nas.studies.records import CORRECT
from nas.studies.study import versions_now
from nas.workers.base import Outcome

# What a trial keeps of its architecture, beside each cost under its own name.
_KEPT = ("arch", "costs", "cost_sources", "cost_spreads", "seed")


@define(eq=False)
class TrialRecorder:
    """Makes the trials of a search and writes down their results; see `Recorder`.

    Attributes:
        plan: The search.
    """

    plan: Plan

    @property
    def is_pareto(self) -> bool:
        """Whether trials have two values, accuracy and cost, and no score."""
        return self.plan.settings.objective == PARETO

    def estimates(self, arch: Architecture) -> dict[str, Cost]:
        """Return costs by name; a target's own, at its precision, replaces a usual one of the same name."""
        models = dict(self.plan.costs) | {target.kept_as: target.cost for target in self.plan.settings.targets}
        return {name: model.estimate(arch) for name, model in models.items()}

    def score(self, arch: Architecture, accuracy: float) -> float:
        """Return the score under the search's objective; in a search for a front, under the usual objective."""
        return self.score_at(accuracy, [t.cost.estimate(arch).value for t in self.plan.settings.targets])

    def score_at(self, accuracy: float, costs: list[float]) -> float:
        """Return the score of an accuracy at known costs, one for each target."""
        settings = self.plan.settings
        return score(accuracy, costs, settings.targets, settings.reward)

    def begin(self, proposal: Proposal) -> Running:
        """Return a running trial, not yet written, that holds everything known before its evaluation."""
        kept = self._kept(proposal.arch)
        return self._begin(proposal.arch, proposal.params, proposal.distributions, proposal.system_attrs, kept)

    def again(self, trial: FrozenTrial) -> Running:
        """Return another trial of the same architecture, with the costs that were found for the first one."""
        arch = parse_text(trial.user_attrs["arch"])
        # Costs are copied and not estimated again: a measured latency would be another number for the same network.
        kept = {name: trial.user_attrs[name] for name in trial.user_attrs.get("costs", {})}
        kept |= {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
        return self._begin(arch, trial.params, trial.distributions, trial.system_attrs, kept)

    def _begin(
        self,
        arch: Architecture,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        sampler_attrs: Mapping[str, Any],
        kept: Mapping[str, Any],
    ) -> Running:
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(kept) | {"versions": versions_now()},
            system_attrs=dict(sampler_attrs),
        )
        trial.datetime_start = datetime.now()
        return Running(trial, arch, arch.resolution, self.plan.settings.seed)

    def _kept(self, arch: Architecture) -> dict[str, Any]:
        estimates = self.estimates(arch)
        costs = {name: cost.value for name, cost in estimates.items()}
        return {
            "arch": format_text(arch),
            **costs,
            "costs": costs,
            "cost_sources": {name: cost.source for name, cost in estimates.items()},
            "cost_spreads": spreads(estimates),
            "seed": self.plan.settings.seed,
        }

    def end(self, running: Running, state: TrialState, outcome: Outcome) -> FrozenTrial:
        """Return the trial with its result added."""
        trial, accuracies = running.trial, outcome.accuracies
        trial.state, trial.datetime_complete = state, datetime.now()
        if state == TrialState.COMPLETE:
            trial.values = self._values(running, accuracies[-1])
        if running.handle is None and state == TrialState.COMPLETE and not self.is_pareto:
            trial.intermediate_values[len(accuracies)] = self.score_of(running, accuracies[-1])
        kept: dict[str, Any] = {"accuracy_by_epoch": list(accuracies), "seconds": outcome.seconds}
        kept["environment"] = dict(outcome.environment)
        # Under the name that version 0.1 gave it; see `nas.studies.records`.
        kept |= {"remarks": dict(outcome.metadata)} if outcome.metadata else {}
        kept |= {CORRECT: outcome.correct} if outcome.correct else {}
        kept |= {"reason": outcome.reason} if outcome.reason else {}
        for name, value in kept.items():
            trial.set_user_attr(name, value)
        return trial

    def reported(self, running: Running, accuracy: float) -> float | None:
        """Return the score after an epoch; None for a front: Optuna's pruners compare single values alone."""
        return None if self.is_pareto else self.score_of(running, accuracy)

    def score_of(self, running: Running, accuracy: float) -> float:
        """Return the score of an accuracy at the costs that the trial keeps."""
        return self.score_at(accuracy, self._limited(running))

    def _values(self, running: Running, accuracy: float) -> list[float]:
        return [accuracy, self._limited(running)[0]] if self.is_pareto else [self.score_of(running, accuracy)]

    def _limited(self, running: Running) -> list[float]:
        """Return the costs that the targets limit, as the trial keeps them."""
        costs = running.trial.user_attrs["costs"]
        return [costs[target.kept_as] for target in self.plan.settings.targets]


def spreads(estimates: Mapping[str, Cost]) -> dict[str, float | None]:
    """Return the standard deviations of costs that are not exact, None where they are not known."""
    return {name: None if isnan(cost.spread) else cost.spread for name, cost in estimates.items() if cost.spread != 0}
