"""The search: propose, evaluate, tell, until there are as many trials as asked for."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import isnan
from typing import Any

import attrs
import optuna
from attrs import frozen
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.base import Cost, CostModels
from nas.errors import EvaluationError, NasError, StudyError
from nas.evaluate.base import Evaluator, Remarking
from nas.objective import PARETO, make_reward, score
from nas.search.band import Picks
from nas.search.confirm import SHARE, confirm, read_confirmed, settle
from nas.search.defaults import DEFAULT_STORAGE
from nas.search.handover import hand_over, keep
from nas.search.interrupts import Interrupts
from nas.search.lease import Lease
from nas.search.plan import Plan, find_pool, plan
from nas.search.propose import Proposal
from nas.search.samplers import make_pruner
from nas.search.screen import Screen, Screened, screen_all
from nas.search.settings import Settings, directions
from nas.search.storage import (
    BASELINE,
    KILLED,
    Record,
    StudyView,
    explained,
    kill,
    kill_running,
    open_storage,
    open_study,
    read_study,
    read_trial,
    versions_now,
)
from nas.search.tally import Tally
from nas.search.verify import verify
from nas.space.decode import SearchSpace

MOST_FAILURES = 5
# A trial of one epoch is likely to take as long as the one before it.
QUICK_S = 0.1


@frozen
class Event:
    """Something that happened in a search.

    Attributes:
        kind: "resumed", "screening", "moved" (a network to start from), "baseline", "epoch", "trial", "exhausted",
            "confirming", "verifying".
        record: of the trial or baseline concerned.
        done: trials counted so far.
        total: trials asked for.
        best: the best complete trial so far.
        seconds_left: estimated, None while unknown.
        message: for people.
    """

    kind: str
    record: Record | None = None
    done: int = 0
    total: int = 0
    best: Record | None = None
    seconds_left: float | None = None
    message: str = ""


Listener = Callable[[Event], None]


def search(
    space: SearchSpace,
    evaluator: Evaluator,
    settings: Settings,
    costs: CostModels,
    *,
    study_name: str = "",
    screen: Screen | None = None,
    storage: str = DEFAULT_STORAGE,
    listen: Listener = lambda _event: None,
) -> StudyView:
    """Search until the study has `settings.trials` trials, or nothing new is left in the band.

    A study of the same name and settings goes on where it stopped.

    Args:
        space: what is searched.
        evaluator: gives accuracies.
        settings: what is asked for.
        costs: what is kept of every architecture beside the targets' own costs.
        study_name: "" makes one of the settings.
        screen: a cheap evaluator to look through the band with first.
        storage: Optuna URL.
        listen: called with every event.

    Raises:
        NasError: bad settings, a study of something else, or one failure after another.
    """
    return run(plan(space, evaluator, settings, costs, study_name, screen), storage=storage, listen=listen)


def run(planned: Plan, *, storage: str = DEFAULT_STORAGE, listen: Listener = lambda _event: None) -> StudyView:
    """Carry out a plan; see `search`."""
    opened = open_storage(storage)
    with explained(storage):
        study = open_study(opened, planned.study_name, directions(planned.settings.objective), planned.described)
        study.pruner = make_pruner(planned.settings.pruner, planned.settings.epochs)
        searching = _Run(planned, study, listen)
        with searching.interrupts.taken_over():
            searching.run()
        return read_study(opened, planned.study_name)


class _Run:
    """The loop over one study in this process."""

    def __init__(self, planned: Plan, study: optuna.Study, listen: Listener) -> None:
        self.plan = planned
        self.settings = planned.settings
        self.study = study
        self.listen = listen
        self.interrupts = Interrupts()
        self.lease = Lease(study)
        self.proposer = planned.proposer()
        self.screened: Screened | None = None
        self.reward = make_reward("soft" if self._pareto else self.settings.objective, self.settings.w)
        self.tally = Tally()

    @property
    def _pareto(self) -> bool:
        return self.settings.objective == PARETO

    def run(self) -> None:
        self.lease.take()
        try:
            self._prepare()
            self._search()
            with self.interrupts.heeded():
                hand_over(self.study, self.plan, self.screened)
            self._confirm()
            verify(self.study, self._view(), self.settings.targets, self._tell_verifying, self.interrupts.heeded)
        finally:
            self.lease.end()

    def _view(self) -> StudyView:
        return read_study(self.study._storage, self.plan.study_name)

    def _confirm(self) -> None:
        """Further seeds of the best; a front stands as it was read."""
        if self._pareto:
            return
        view = self._view()
        self._settle(view)  # what is known from before counts, whatever becomes of the rest
        best = view.ranked[: min(self.settings.confirm, view.counted // SHARE)]
        if confirm(self.study, best, self.plan.evaluator, self.settings.seed, self._last, self._tell_confirming):
            self._settle(view)

    def _settle(self, view: StudyView) -> None:
        readings = read_confirmed(self.study)
        if readings:
            rows = settle(view, readings, self._score_of)
            keep(self.study, view.counted, {**view.expected, **rows}, readings)

    def _last(self, arch: Architecture, evaluator: Evaluator, epochs: int | None = None) -> float:
        *_, accuracy = self._accuracies(arch, evaluator, epochs)
        return accuracy

    def _score_of(self, record: Record, accuracy: float) -> float:
        """By the costs that the search went by."""
        targets = self.settings.targets
        return score(accuracy, [record.costs[target.kept_as] for target in targets], targets, self.reward)

    def _prepare(self) -> None:
        """What evaluators do once, only now that the study is known to take this search."""
        for evaluator in self.plan.preparing:
            with self.interrupts.heeded():
                evaluator.prepare()
            self.lease.beat()

    def _search(self) -> None:
        killed = kill_running(self.study)
        self._screen()
        self._take_in(self.study.get_trials(deepcopy=False))
        if self.tally.records:
            self._tell("resumed", message=f"{killed} of its trials had been cut short" if killed else "")
        for _, message in self.plan.wanted:
            self._tell("moved", message=message)
        self._evaluate_baseline()
        while self.tally.counted < self.settings.trials:
            with self.interrupts.heeded():
                proposal = self.proposer.propose(self.tally.counted)
            if proposal is None:
                self._tell("exhausted", message="no new architecture was found in the band")
                return
            self._run_trial(proposal)

    def _screen(self) -> None:
        """Have the cheap evaluator look first, where there is one."""
        screen = self.plan.screen
        if screen is None:
            return
        pool = find_pool(self.plan.space, screen.evaluator)
        drawn = screen.draw(self.plan.band, self.settings.seed, self.plan.pool if pool is None else pool)

        def look(picks: Picks) -> float:
            return self._last(self.plan.space.from_picks(picks.tolist()), screen.evaluator, 1)

        self.screened = screen_all(self.study, drawn, look, self._tell_screening)
        self.proposer = self.plan.proposer(self.screened)

    def _take_in(self, trials: Sequence[FrozenTrial]) -> None:
        """Count trials, and let the proposer learn them."""
        records = list(map(read_trial, trials))
        self.tally.add(records)
        lasting = [(t, r.architecture) for t, r in zip(trials, records, strict=True) if r.state != KILLED and r.arch]
        self.proposer.learn([trial for trial, _ in lasting], [arch for _, arch in lasting])

    def _tell(self, kind: str, record: Record | None = None, message: str = "") -> None:
        tally, total = self.tally, self.settings.trials
        self.listen(Event(kind, record, tally.counted, total, tally.best, tally.seconds_left(total), message))

    def _estimates(self, arch: Architecture) -> dict[str, Cost]:
        """Costs by name; a target's own, at its precision, goes before a usual one of the same name."""
        models = dict(self.plan.costs) | {target.kept_as: target.cost for target in self.settings.targets}
        return {name: model.estimate(arch) for name, model in models.items()}

    def _tell_screening(self, done: int) -> None:
        self.lease.beat()
        self._tell("screening", message=f"{done} networks screened")

    def _tell_confirming(self, message: str) -> None:
        self.lease.beat()
        self._tell("confirming", message=message)

    def _tell_verifying(self, message: str) -> None:
        self.lease.beat()
        self._tell("verifying", message=message)

    def _costs(self, arch: Architecture) -> dict[str, float]:
        return {name: cost.value for name, cost in self._estimates(arch).items()}

    def _kept(self, arch: Architecture) -> dict[str, Any]:
        """What a trial keeps from its beginning."""
        described = self.plan.evaluator.describe()
        estimates = self._estimates(arch)
        costs = {name: cost.value for name, cost in estimates.items()}
        return {
            "arch": format_text(arch),
            **costs,
            "costs": costs,
            "cost_sources": {name: cost.source for name, cost in estimates.items()},
            "cost_spreads": _spreads(estimates),
            "seed": self.settings.seed,
            "versions": versions_now(),
            "environment": described.get("environment", {}),
        }

    def _score(self, arch: Architecture, accuracy: float) -> float:
        costs = [target.cost.estimate(arch).value for target in self.settings.targets]
        return score(accuracy, costs, self.settings.targets, self.reward)

    def _evaluate_baseline(self) -> None:
        if self.plan.baseline is None or BASELINE in self.study.user_attrs:
            return
        label, arch = self.plan.baseline
        begun = time.monotonic()
        accuracies: list[float] = []
        arch_text = format_text(canonical(arch))
        try:
            for accuracy in self._accuracies(arch):
                accuracies.append(accuracy)
                self._tell("epoch", Record(-1, "running", arch_text, {}, accuracy, tuple(accuracies), label=label))
        except EvaluationError as error:
            self._tell("baseline", message=f"{label} could not be evaluated: {error.problem}")
            return
        record = Record(
            number=-1,
            state="complete",
            arch=arch_text,
            costs=self._costs(arch),
            spreads=_spreads(self._estimates(arch)),
            accuracy=accuracies[-1],
            accuracies=tuple(accuracies),
            score=None if self._pareto else self._score(arch, accuracies[-1]),
            seconds=time.monotonic() - begun,
            seed=self.settings.seed,
            label=label,
        )
        self.study.set_user_attr(BASELINE, attrs.asdict(record))
        self._tell("baseline", record)

    def _accuracies(
        self, arch: Architecture, evaluator: Evaluator | None = None, epochs: int | None = None
    ) -> Iterator[float]:
        """The evaluator's accuracies by epoch, checked; at least one.

        Raises:
            EvaluationError: whatever goes wrong with this architecture; the next one may do better.
        """
        accuracy = None
        for accuracy in self.interrupts.heed(
            self._evaluate(arch, evaluator or self.plan.evaluator, epochs or self.settings.epochs)
        ):
            if not 0 <= accuracy <= 1:
                raise EvaluationError(f"the evaluator gave accuracy {accuracy}", "an accuracy lies between 0 and 1")
            self.lease.beat()
            yield accuracy
        if accuracy is None:
            raise EvaluationError("the evaluator gave no accuracy")

    def _evaluate(self, arch: Architecture, evaluator: Evaluator, epochs: int) -> Iterator[float]:
        try:
            yield from evaluator.evaluate(arch, epochs)
        except NasError:
            raise
        except Exception as error:
            raise EvaluationError(f"{type(error).__name__}: {error}") from error

    def _template(self, proposal: Proposal) -> FrozenTrial:
        """A running trial that holds all that is known beforehand."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs=self._kept(proposal.arch),
            system_attrs=proposal.system_attrs,
        )
        template.datetime_start = datetime.now()
        return template

    def _run_trial(self, proposal: Proposal) -> None:
        quick = self.settings.epochs == 1 and self.tally.last_seconds < QUICK_S
        begun = time.monotonic()
        trial = (self._at_once if quick else self._step_by_step)(proposal)
        self._take_in([trial])
        self.tally.ended(time.monotonic() - begun)
        self._tell("trial", self.tally.records[-1])
        if self.tally.failures >= MOST_FAILURES:
            reason = self.tally.records[-1].reason
            raise StudyError(
                f"{self.tally.failures} trials failed one after another, the last with: {reason}",
                "mend the cause and give the same command again; finished trials are kept",
            )

    def _at_once(self, proposal: Proposal) -> FrozenTrial:
        """A trial that is over before it could be killed is written when it has ended, in a single transaction."""
        trial, begun = self._template(proposal), time.monotonic()
        accuracies: list[float] = []
        try:
            accuracies.extend(self._accuracies(proposal.arch))
            trial.values, trial.state = self._values(proposal.arch, accuracies[-1]), TrialState.COMPLETE
            if not self._pareto:
                trial.intermediate_values[len(accuracies)] = self._score(proposal.arch, accuracies[-1])
        except EvaluationError as error:
            trial.state = TrialState.FAIL
            trial.set_user_attr("reason", str(error))
        for name, value in self._results(proposal.arch, accuracies, time.monotonic() - begun).items():
            trial.set_user_attr(name, value)
        trial.datetime_complete = datetime.now()
        storage = self.study._storage
        trial._trial_id = storage.create_new_trial(self.study._study_id, template_trial=trial)
        trial.number = storage.get_trial_number_from_id(trial._trial_id)
        return trial

    def _step_by_step(self, proposal: Proposal) -> FrozenTrial:
        """A trial that takes its time is there from its beginning, for all to see."""
        storage = self.study._storage
        with self._guarded(proposal.arch):
            trial_id = storage.create_new_trial(self.study._study_id, template_trial=self._template(proposal))
            trial, begun = optuna.Trial(self.study, trial_id), time.monotonic()
            accuracies: list[float] = []
            state = TrialState.COMPLETE
            try:
                state = self._follow(trial, proposal.arch, accuracies)
            except EvaluationError as error:
                state = TrialState.FAIL
                trial.set_user_attr("reason", str(error))
            for name, value in self._results(proposal.arch, accuracies, time.monotonic() - begun).items():
                trial.set_user_attr(name, value)
            values = self._values(proposal.arch, accuracies[-1]) if state == TrialState.COMPLETE else None
            return self.study.tell(trial, values, state=state)

    def _results(self, arch: Architecture, accuracies: list[float], seconds: float) -> dict[str, Any]:
        """What a trial keeps in the end."""
        evaluator = self.plan.evaluator
        remarks = evaluator.remarks(arch) if accuracies and isinstance(evaluator, Remarking) else {}
        return {"accuracy_by_epoch": accuracies, "seconds": seconds} | ({"remarks": dict(remarks)} if remarks else {})

    def _follow(self, trial: optuna.Trial, arch: Architecture, accuracies: list[float]) -> TrialState:
        """Evaluate epoch by epoch, as long as it is promising."""
        running = Record(trial.number, "running", format_text(arch), self._costs(arch))
        for accuracy in self._accuracies(arch):
            accuracies.append(accuracy)
            self._tell("epoch", attrs.evolve(running, accuracy=accuracy, accuracies=tuple(accuracies)))
            if self._is_unpromising(trial, arch, accuracies):
                return TrialState.PRUNED
        return TrialState.COMPLETE

    def _is_unpromising(self, trial: optuna.Trial, arch: Architecture, accuracies: list[float]) -> bool:
        if self._pareto:  # Optuna compares epochs for single objectives alone.
            return False
        trial.report(self._score(arch, accuracies[-1]), len(accuracies))
        return len(accuracies) < self.settings.epochs and trial.should_prune()

    def _values(self, arch: Architecture, accuracy: float) -> list[float]:
        if self._pareto:
            return [accuracy, self.settings.targets[0].cost.estimate(arch).value]
        return [self._score(arch, accuracy)]

    @contextmanager
    def _guarded(self, arch: Architecture) -> Iterator[None]:
        """A trial that is cut short, even while it begins, is ended as such: it does not count, and comes again."""
        try:
            yield
        except BaseException as error:
            text = format_text(arch)
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get("arch") == text:
                    kill(self.study, trial._trial_id, trial.number, f"cut short by {type(error).__name__}: {error}")
            raise


def _spreads(estimates: Mapping[str, Cost]) -> dict[str, float | None]:
    """Of what is not exact; None where it is not known."""
    return {name: None if isnan(cost.spread) else cost.spread for name, cost in estimates.items() if cost.spread != 0}
