"""The search: architectures are suggested, evaluated and learned from, until there are as many trials as asked for."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import attrs

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.cost.base import CostModels
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator, StepTimed, Validating
from nas.noise import ValidationSplit
from nas.objective import PARETO, directions, metric_names
from nas.optuna_private.identity import storage_of
from nas.outlook import Outlook
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.history import TrialHistory
from nas.samplers.optuna_catalog import make_pruner
from nas.search.duration import describe_work, evaluations_left, first_estimate
from nas.search.events import Event, Listener
from nas.search.failures import check_any_succeeded, check_script, read_failed_again, start_failed_again
from nas.search.final_selection import select_final
from nas.search.local_evaluation import LocalEvaluation
from nas.search.plan import Plan, find_pool, plan
from nas.search.progress import Progress
from nas.search.recorder import TrialRecorder, spreads
from nas.search.reserving import TrialReserver
from nas.search.retraining import SEEDS, SHARE, read_retrained, retrain
from nas.search.screening import Screen, Screened, describe_unused, screen_all
from nas.search.session import Session, SharedStudy, open_session
from nas.search.settings import Settings
from nas.search.suggested import SuggestedTrials
from nas.search.thread_choice import find_threads
from nas.search.trial_loop import TrialLoop
from nas.search.trials import Evaluation, Limits
from nas.search.verification import verify
from nas.space.decode import SearchSpace
from nas.studies.dashboard import store_dashboard
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import explained
from nas.studies.locks import Lock, claimed, exclusive, living_searches, search_name, work_name
from nas.studies.opening import open_storage
from nas.studies.own_study import OwnStudy, describe_foreign
from nas.studies.recommendation import store_recommendation
from nas.studies.records import BASELINE, COUNTED_STATES, FURTHER_W, OUTLOOK, SETTINGS, Record, StudyView, to_stored
from nas.studies.study import open_study, read_split, read_study, store_split
from nas.studies.trial_records import read_trial
from nas.studies.urls import is_in_memory
from nas.workers.base import Single, Workers
from nas.workers.processes import make_workers
from nas.workers.threads import limited_threads

_LOG = logging.getLogger(__name__)
# A trial of one epoch is likely to take as long as the one before it.
QUICK_S = 0.1
OLDER_RULE = "as an earlier version made the study, costs below the targets after the first change the score here"
APART = (
    "networks are measured while nothing trains here: this search's workers and others on this machine stop meanwhile"
)


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
    """Search until the study has `settings.trials` trials, or nothing new is left in the cost range.

    A study of the same name and settings continues where it stopped.

    Args:
        space: Space to search.
        evaluator: Evaluator that gives accuracies.
        settings: What is asked for.
        costs: Costs that are kept of every architecture beside the targets' own.
        study_name: Name of the study; "" makes one from the settings.
        screen: Cheap evaluator that looks through the cost range first; None for none.
        storage: Optuna URL.
        listen: Called with every event.

    Raises:
        NasError: A setting breaks a rule, the study is of something else, or one trial after another failed.
    """
    return run(plan(space, evaluator, settings, costs, study_name, screen), storage=storage, listen=listen)


def run(
    planned: Plan,
    *,
    storage: str = DEFAULT_STORAGE,
    listen: Listener = lambda _event: None,
    workers: Workers | None = None,
    engine: Callable[[int | None], Workers] | None = None,
    cores: int | None = None,
    draw: Callable[[StudyView], str] | None = None,
) -> StudyView:
    """Carry out a plan; see `search`. Other processes may carry out the same one at the same time.

    Args:
        planned: What is to be done.
        storage: Optuna URL.
        listen: Called with every event.
        workers: Workers that evaluate; None takes those of the engine.
        engine: Returns the workers, given the number of threads of each training run; None starts as many processes as
            the settings say.
        cores: Number of CPU cores that each training run may use, for the choice of its threads; None chooses none.
        draw: Returns a figure of the study as JSON of plotly, which is stored for optuna-dashboard; None stores none.
    """
    opened = open_storage(storage)
    with explained(storage):
        objective, cost = planned.settings.objective, planned.settings.targets[0].kept_as
        names = metric_names(objective, cost)
        study = open_study(opened, planned.study_name, directions(objective), planned.described, metrics=names)
        check_script(study, planned.evaluator)
        planned = _as_begun(planned, study.user_attrs[SETTINGS])
        if not study.get_trials(deepcopy=False):
            listen(Event("started", total=planned.settings.trials, message=describe_work(planned, cores)))
        study.pruner = make_pruner(planned.settings.pruner, planned.settings.epochs)
        choice = find_threads(planned, study, cores)
        threads = None if choice is None else choice.threads
        engine = engine or partial(make_workers, planned.settings.workers, limit_s=planned.settings.trial_timeout_s)
        # Workers that cannot evaluate report so here, before anything is done.
        with limited_threads(threads), open_session(workers or engine(threads)) as session:
            is_training = choice is not None and isinstance(planned.evaluator, StepTimed)
            _Run(planned, study, listen, session).run(str(choice) if is_training else "")
        view = read_study(opened, planned.study_name)
        if draw is not None and not is_in_memory(storage):
            store_dashboard(study, view, draw)
        return view


def _as_begun(planned: Plan, stored: Mapping[str, Any]) -> Plan:
    """Return the plan with the scoring rule of its study: scores of two rules cannot be compared."""
    is_older = FURTHER_W in planned.described and FURTHER_W not in stored
    return attrs.evolve(planned, settings=attrs.evolve(planned.settings, rewards_slack=True)) if is_older else planned


class _Run:
    """This process's part in one search."""

    def __init__(self, planned: Plan, study: OwnStudy, listen: Listener, session: Session) -> None:
        self.plan = planned
        self.settings = planned.settings
        self.study = study
        self.listen = listen
        self.session = session
        self.interrupts = session.interrupts
        self.shared = SharedStudy.of(study, session, lambda message: self._tell("waiting", message=message))
        self.recorder = TrialRecorder(planned)
        self.local = LocalEvaluation(planned, session)
        self.screened: Screened | None = None
        self.progress = Progress(self.settings.targets[0].kept_as if self._pareto else "")
        self._later = evaluations_left(planned, study)
        self._split: ValidationSplit | None = None

    @property
    def _pareto(self) -> bool:
        return self.settings.objective == PARETO

    def run(self, threads: str) -> None:
        # The lock of its own name excludes nobody. It shows that this process works at the study before it has trials,
        # while a supernet is trained for example.
        token = self.shared.heartbeat.token
        own = Lock(self.shared.heartbeat, self.shared.study_id, work_name(token))
        with claimed(own), self.shared.heartbeat, ExitStack() as begun:
            self._prepare()
            # The screening is done once for all processes of the study; the others wait here.
            with self._alone("beginning"):
                self._start_failed_again()
                self._begin(threads)
                # No other process takes this one either; those that begin later see it.
                begun.enter_context(self._alone(search_name(token)))
            self._search()
            # The other processes make the final selection, so an interrupted process need not wait for the lock.
            if self.interrupts.stopping and self._others_at_work():
                self._tell("stopped")
                return
            with self._alone("end"):
                self._end()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        lock = Lock(self.shared.heartbeat, self.shared.study_id, name)
        with exclusive(lock, lambda message: self._tell("waiting", message=message), self._deliver):
            yield

    def _deliver(self) -> None:
        """Check for interrupts and measurements while another process of the study is waited for."""
        self.interrupts.check()
        self.session.machine_lock.yield_to_measurement()

    def _prepare(self) -> None:
        """Have evaluators do what they do once, only now that the study is known to accept this search."""
        counted = sum(read_trial(trial).state in COUNTED_STATES for trial in self.shared.trials())
        if counted >= self.settings.trials and not self._later:
            return  # nothing is evaluated any more
        for evaluator in self.plan.preparing:
            with self.interrupts.interruptible():
                evaluator.prepare()
            _LOG.debug("Prepared %s.", type(evaluator).__name__)

    def _start_failed_again(self) -> None:
        """Start trials again if all have failed, unless a living process has counted them."""
        if not living_searches(self.shared.heartbeat, self.shared.study_id):
            start_failed_again(self.study, lambda message: self._tell("waiting", message=message))
        read_failed_again(self.study)

    def _begin(self, threads: str) -> None:
        """Do what comes before the first trial, unless the study has it already."""
        foreign = self.study.foreign_numbers()
        self.shared.reservations.reconcile(foreign=foreign)
        if foreign:
            self._tell("foreign", message=describe_foreign(foreign))
        if self.settings.rewards_slack:
            self._tell("objective", message=OLDER_RULE)
        self._screen()
        trials = self.shared.trials()
        if self.plan.measures_here:
            self._tell("waiting", message=APART)
        self.progress.add([read_trial(trial) for trial in trials if trial.state.is_finished()])
        if self.progress.records:
            processes = {reservation.process for reservation in self.shared.reservations.open()} - {""}
            cut = len(self.shared.heartbeat.dead(processes))
            self._tell("resumed", message=f"{cut} of its processes had been ended" if cut else "")
        if threads:
            self._tell("threads", message=threads)
        for _, message in self.plan.wanted:
            self._tell("moved", message=message)
        if isinstance(self.plan.evaluator, Validating):
            store_split(self.study, self.plan.evaluator.validation_split())
        self._split = read_split(self.study)
        if not self.progress.records:
            self._estimate()

    def _estimate(self) -> None:
        """Report how long the search will take, before its first trial can show it."""
        with self.interrupts.interruptible():
            seconds = first_estimate(self.plan)
        if seconds is not None:
            self.listen(Event("estimate", total=self.settings.trials, seconds_left=seconds))

    def _screen(self) -> None:
        """Have the cheap evaluator look through the cost range first, where there is one."""
        screen = self.plan.screen
        if screen is None:
            return
        pool = find_pool(self.plan.space, screen.evaluator)
        drawn = screen.draw(self.plan.cost_range, self.settings.seed, self.plan.pool if pool is None else pool)

        def look(indices: ChoiceIndices) -> float:
            return self.local.last(self.plan.space.from_indices(indices.tolist()), screen.evaluator, epochs=1)

        def tell(done: int) -> None:
            self._tell("screening", message=f"{done} networks screened")

        self.screened = screen_all(self.study, drawn, look, tell)
        if unused := describe_unused(self.study):
            self._tell("screened", message=unused)

    def _search(self) -> None:
        further = {number: retrained.accuracies for number, retrained in read_retrained(self.study).items()}
        trial_history = TrialHistory(self.plan.space, read_split(self.study), further)
        sampler = self.plan.sampler(self.screened, trial_history)
        source = SuggestedTrials(sampler, self.recorder, self._suggesting, self._tell)
        reserver = TrialReserver(
            self.session, self.shared, source, self.recorder, self._limits(source), self.progress, self._tell
        )
        loop = TrialLoop(reserver, Evaluation(Single(self.plan.evaluator), self.settings.epochs, by_epoch=True))
        with self.interrupts.stopping_first(lambda: self._tell("stopping", message=loop.still_running())):
            loop.run()
        if self.progress.counted < self.settings.trials and (reason := loop.why_ended()):
            self._tell("ended", message=reason)
        if not self.interrupts.stopping:
            self._store_outlook(source.outlook())

    def _store_outlook(self, outlook: Outlook | None) -> None:
        """Store what is still to be expected, with the number of trials that it is known of."""
        known = None if outlook is None else attrs.asdict(outlook) | {"trials": self.progress.counted}
        if known is not None or OUTLOOK in self.study.user_attrs:
            self.study.set_user_attr(OUTLOOK, known)

    def _limits(self, source: SuggestedTrials) -> Limits:
        settings, begun = self.settings, time.monotonic()

        def is_late() -> bool:
            return settings.timeout_s is not None and time.monotonic() - begun >= settings.timeout_s

        # Each of several epochs is reported to the pruner, and only a stored trial can take reports.
        quick_s = QUICK_S if settings.epochs == 1 else 0.0
        return Limits(settings.retries, settings.trials, settings.patience, is_late, quick_s, outlook=source.outlook)

    @contextmanager
    def _suggesting(self) -> Iterator[None]:
        """Let the sampler be interrupted; train nothing on the CPU while it measures latencies there."""
        apart = self.session.machine_lock.measuring() if self.plan.measures_here else nullcontext()
        with apart, self.interrupts.interruptible():
            yield

    def _end(self) -> None:
        self.interrupts.check()
        # The selection reads and writes the study. An interrupt in the middle could leave the database locked for this
        # process itself, which then could not release its lock on the end.
        self._select()
        if self.interrupts.stopping:
            if self.progress.counted < self.settings.trials or self._later > 0:
                self._tell("stopped")
            return
        # Re-training waits until no reservation is open, so that it chooses among all trials of the study.
        if self._others_at_work():
            message = "other processes work on the study; the last one to finish re-trains the best trials"
            self._tell("waiting", message=message)
            return
        check_any_succeeded(self._view())
        # After the trials: a first trial shows far earlier that the search works, and how long it takes.
        self._evaluate_baseline()
        # Networks that miss their target on the device are not re-trained.
        tell = partial(self._tell, "verifying", None)
        verify(self.study, self._view(), self.settings.targets, tell, self._undisturbed)
        if not self._pareto:  # a front stays as it was evaluated
            self._confirm()
        self._select()

    def _select(self) -> None:
        """Store what is expected of the best trials, and which one is recommended."""
        select_final(self.study, self.plan, self.screened)
        store_recommendation(self.study, self._view())

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Train nothing here while the best trials are verified on the device."""
        with self.session.machine_lock.measuring(idle=True), self.interrupts.interruptible():
            yield

    def _others_at_work(self) -> bool:
        """Return whether this process is not the last one to end, because of its time limit or an interrupt."""
        return bool(self.shared.living_others(self.shared.reservations.open()))

    def _view(self) -> StudyView:
        return read_study(storage_of(self.study), self.plan.study_name)

    def _confirm(self) -> None:
        """Re-train the best trials and the baseline, and then what is expected to be best until it was re-trained."""
        view = self._view()
        count = min(self.settings.confirm, view.counted // SHARE)
        trained = sum(number >= 0 and len(further) >= SEEDS for number, further in view.confirmed.items())
        if not count:
            return
        # A search that is repeated re-trains no more, unless something else is expected to be best by now.
        best = view.meeting(view.promising)[: count if trained < count else 1]
        if best and view.baseline is not None:  # its lead or lag would otherwise have the noise of a single run
            best = (*best, view.baseline)
        # At most as many again: then the best of those that were re-trained is selected.
        for _ in range(count + 1):
            if not self._retrain(best):
                return
            view = self._view()
            best = view.meeting(view.promising)[:1]

    def _retrain(self, best: Sequence[Record]) -> bool:
        tell = partial(self._tell, "confirming", None)
        try:
            return retrain(
                self.study, best, self.plan.evaluator, self.settings.seed, self.local.outcome, tell, self._count
            )
        finally:
            self._select()

    def _count(self) -> None:
        """Note that an evaluation after the trials has ended."""
        self._later -= 1

    def _tell(self, kind: str, record: Record | None = None, message: str = "") -> None:
        progress, total = self.progress, self.settings.trials
        left = progress.seconds_left(total, self.settings.workers, self._later)
        self.listen(
            Event(
                kind,
                record,
                progress.counted,
                total,
                progress.best,
                left,
                message,
                units={target.kept_as: target.unit for target in self.settings.targets},
                limits={target.kept_as: target.limit for target in self.settings.targets},
                ended=progress.news(),
                elsewhere=progress.elsewhere,
                split=self._split,
            )
        )

    def _evaluate_baseline(self) -> None:
        if self.plan.baseline is None or BASELINE in self.study.user_attrs:
            return
        label, arch = self.plan.baseline
        estimates, text, begun = self.recorder.estimates(arch), format_text(canonical(arch)), time.monotonic()
        # A pretrained network may be one that the device or the function of a cost refuses; its cost is then unknown.
        costs = {name: cost for name, cost in estimates.items() if math.isfinite(cost.value)}
        record = Record(-1, "running", text, {name: cost.value for name, cost in costs.items()}, label=label)
        try:
            for outcome in self.local.outcomes(arch):
                accuracies = outcome.accuracies
                record = attrs.evolve(
                    record,
                    accuracy=accuracies[-1],
                    accuracies=accuracies,
                    correct=outcome.correct,
                    metadata=outcome.metadata,
                )
                if not outcome.ended:
                    self._tell("epoch", record)
        except EvaluationError as error:
            self._count()
            self._tell("baseline", message=f"{label} could not be evaluated: {error.problem}")
            return
        record = attrs.evolve(
            record,
            state="complete",
            spreads=spreads(costs),
            score=None if self._pareto or len(costs) < len(estimates) else self.recorder.score(arch, accuracies[-1]),
            seconds=time.monotonic() - begun,
            seed=self.settings.seed,
        )
        self.study.set_user_attr(BASELINE, to_stored(record))
        self._count()
        _LOG.debug("Evaluated baseline %s: accuracy %s.", label, record.accuracy)
        self._tell("baseline", record)
