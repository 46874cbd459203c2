"""The search: propose, evaluate, tell, until there are as many trials as asked for."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import optuna
from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.base import CostModels
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator
from nas.objective import PARETO, directions
from nas.optuna_private.identity import storage_of, study_id
from nas.samplers.cost_range import Picks
from nas.samplers.optuna_catalog import make_pruner
from nas.search.final_selection import select_final, store_expected
from nas.search.plan import Plan, find_pool, plan
from nas.search.progress import Progress
from nas.search.retraining import SHARE, combine, read_retrained, retrain
from nas.search.screening import Screen, Screened, screen_all
from nas.search.settings import Settings
from nas.search.trial_loop import Searching
from nas.search.trials import TrialRecorder, spreads
from nas.search.verification import verify
from nas.space.decode import SearchSpace
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.failures import explained
from nas.studies.heartbeats import Heartbeat
from nas.studies.locks import Lock, exclusive
from nas.studies.opening import open_storage
from nas.studies.records import BASELINE, Record, StudyView, to_stored
from nas.studies.reservations import Reservations
from nas.studies.study import open_study, read_study, read_trial
from nas.studies.tables import backend
from nas.workers.base import Call, Single, Workers, outcomes
from nas.workers.interrupts import Interrupts
from nas.workers.machine_lock import MachineLock
from nas.workers.processes import make_workers

_LOG = logging.getLogger(__name__)
APART = (
    "latencies are measured while nothing trains here: this search's workers and others on this machine stop meanwhile"
)


@frozen
class Event:
    """Something that happened in a search.

    Attributes:
        kind: "resumed", "screening", "moved" (a network to start from), "baseline", "epoch", "trial", "lost" (with its
            worker), "exhausted", "ended" (before all trials), "stopping", "stopped", "confirming", "verifying" or
            "waiting".
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


def run(
    planned: Plan,
    *,
    storage: str = DEFAULT_STORAGE,
    listen: Listener = lambda _event: None,
    workers: Workers | None = None,
) -> StudyView:
    """Carry out a plan; see `search`. Others may be carrying out the same one at the same time.

    Args:
        planned: what is to be done.
        storage: Optuna URL.
        listen: called with every event.
        workers: who evaluates; None makes as many processes as the settings say.
    """
    opened = open_storage(storage)
    with explained(storage):
        study = open_study(opened, planned.study_name, directions(planned.settings.objective), planned.described)
        study.pruner = make_pruner(planned.settings.pruner, planned.settings.epochs)
        searching = _Run(planned, study, listen, workers or make_workers(planned.settings.workers))
        with searching.interrupts.handled():
            searching.run()
        return read_study(opened, planned.study_name)


class _Run:
    """The part of this process in one study."""

    def __init__(self, planned: Plan, study: optuna.Study, listen: Listener, workers: Workers) -> None:
        self.plan = planned
        self.settings = planned.settings
        self.study = study
        self.listen = listen
        self.workers = workers
        self.interrupts = Interrupts()
        self.storage = backend(storage_of(study))
        self.storage.say = lambda message: self._tell("waiting", message=message)
        self.storage.check_interrupts = self.interrupts.check
        self.machine_lock = MachineLock(workers, self.interrupts.check)
        self.heartbeat = Heartbeat(self.storage)
        self.reservations = Reservations(self.storage, study_id(study), self.heartbeat.token)
        self.recorder = TrialRecorder(planned)
        self.screened: Screened | None = None
        self.progress = Progress(self.settings.targets[0].kept_as if self._pareto else "")

    @property
    def _pareto(self) -> bool:
        return self.settings.objective == PARETO

    def run(self) -> None:
        with self.heartbeat, self.workers, self.machine_lock:  # who cannot evaluate says so before anything is done
            self.interrupts.install_again()  # Ray has handlers of its own
            self._prepare()
            with self._alone("beginning"):
                self._begin()
            self._search()
            if self.interrupts.stopping and self._others_at_work():
                self._tell("stopped")
                return
            with self._alone("end"):
                self._end()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        lock = Lock(self.heartbeat, study_id(self.study), name)
        with exclusive(lock, lambda message: self._tell("waiting", message=message), self._deliver):
            yield

    def _deliver(self) -> None:
        """While another process of the study is waited for."""
        self.interrupts.check()
        self.machine_lock.yield_to_measurement()

    def _prepare(self) -> None:
        """What evaluators do once, only now that the study is known to take this search."""
        for evaluator in self.plan.preparing:
            with self.interrupts.interruptible():
                evaluator.prepare()
            _LOG.debug("Prepared %s.", type(evaluator).__name__)

    def _begin(self) -> None:
        """What comes before the first trial; what the study has of it is not done again."""
        self.reservations.reconcile()
        self._screen()
        trials = self.study.get_trials(deepcopy=False)
        if self.plan.measures_here:
            self._tell("waiting", message=APART)
        self.progress.add([read_trial(trial) for trial in trials if trial.state.is_finished()])
        if self.progress.records:
            cut = len(self.heartbeat.dead({slot.process for slot in self.reservations.open()}))
            self._tell("resumed", message=f"{cut} of its processes had been ended" if cut else "")
        for _, message in self.plan.wanted:
            self._tell("moved", message=message)
        self._evaluate_baseline()

    def _screen(self) -> None:
        """Have the cheap evaluator look first, where there is one."""
        screen = self.plan.screen
        if screen is None:
            return
        pool = find_pool(self.plan.space, screen.evaluator)
        drawn = screen.draw(self.plan.cost_range, self.settings.seed, self.plan.pool if pool is None else pool)

        def look(picks: Picks) -> float:
            return self._last(self.plan.space.from_picks(picks.tolist()), screen.evaluator, 1)

        def tell(done: int) -> None:
            self._tell("screening", message=f"{done} networks screened")

        self.screened = screen_all(self.study, drawn, look, tell)

    def _search(self) -> None:
        sampler = self.plan.sampler(self.screened)
        searching = Searching(
            self.plan,
            self.study,
            self.recorder,
            self.reservations,
            self.heartbeat,
            sampler,
            self.workers,
            self.machine_lock,
            self.progress,
            self.interrupts,
            self._tell,
        )
        with self.interrupts.stopping_first(lambda: self._tell("stopping", message=searching.still_running())):
            searching.run()

    def _end(self) -> None:
        with self.interrupts.interruptible():
            select_final(self.study, self.plan, self.screened)
        if self.interrupts.stopping:
            if not self._pareto:
                self._settle(self._view())  # what other processes have confirmed stays
            self._tell("stopped")
            return
        if self._others_at_work():
            self._tell("waiting", message="others are at work on the study; who ends last confirms its best")
            return
        self._confirm()
        tell = partial(self._tell, "verifying", None)
        verify(self.study, self._view(), self.settings.targets, tell, self._undisturbed)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Nothing trains here while the best are measured once more."""
        with self.machine_lock.measuring(idle=True), self.interrupts.interruptible():
            yield

    def _others_at_work(self) -> bool:
        """Where this process was the first to end, by its time limit."""
        others = {slot.process for slot in self.reservations.open()} - {"", self.heartbeat.token}
        return bool(others - self.heartbeat.dead(others))

    def _view(self) -> StudyView:
        return read_study(storage_of(self.study), self.plan.study_name)

    def _confirm(self) -> None:
        """Further seeds of the best; a front stands as it was read."""
        if self._pareto:
            return
        view = self._view()
        self._settle(view)  # what is known from before counts, whatever becomes of the rest
        best = view.ranked[: min(self.settings.confirm, view.counted // SHARE)]
        tell = partial(self._tell, "confirming", None)
        if retrain(self.study, best, self.plan.evaluator, self.settings.seed, self._last, tell):
            self._settle(view)

    def _settle(self, view: StudyView) -> None:
        readings = read_retrained(self.study)
        if readings:
            rows = combine(view, readings, self._score_of)
            store_expected(self.study, view.counted, {**view.expected, **rows}, readings)

    def _score_of(self, record: Record, accuracy: float) -> float:
        """By the costs that the search went by."""
        return self.recorder.score_at(accuracy, [record.costs[target.kept_as] for target in self.settings.targets])

    def _tell(self, kind: str, record: Record | None = None, message: str = "") -> None:
        progress, total = self.progress, self.settings.trials
        left = progress.seconds_left(total, self.settings.workers)
        self.listen(Event(kind, record, progress.counted, total, progress.best, left, message))

    def _evaluate_baseline(self) -> None:
        if self.plan.baseline is None or BASELINE in self.study.user_attrs:
            return
        label, arch = self.plan.baseline
        costs, text, begun = self.recorder.estimates(arch), format_text(canonical(arch)), time.monotonic()
        record = Record(-1, "running", text, {name: cost.value for name, cost in costs.items()}, label=label)
        try:
            for accuracy in self._accuracies(arch):
                record = attrs.evolve(record, accuracy=accuracy, accuracies=(*record.accuracies, accuracy))
                self._tell("epoch", record)
        except EvaluationError as error:
            self._tell("baseline", message=f"{label} could not be evaluated: {error.problem}")
            return
        record = attrs.evolve(
            record,
            state="complete",
            spreads=spreads(costs),
            score=None if self._pareto else self.recorder.score(arch, record.accuracies[-1]),
            seconds=time.monotonic() - begun,
            seed=self.settings.seed,
        )
        self.study.set_user_attr(BASELINE, to_stored(record))
        _LOG.debug("Evaluated baseline %s: accuracy %s.", label, record.accuracy)
        self._tell("baseline", record)

    def _last(self, arch: Architecture, evaluator: Evaluator, epochs: int | None = None) -> float:
        *_, accuracy = self._accuracies(arch, evaluator, epochs)
        return accuracy

    def _accuracies(
        self, arch: Architecture, evaluator: Evaluator | None = None, epochs: int | None = None
    ) -> Iterator[float]:
        """The evaluator's accuracies by epoch, in this process; at least one.

        Raises:
            EvaluationError: whatever goes wrong with this architecture; the next one may do better.
        """
        single = Single(evaluator or self.plan.evaluator)
        call = Call(single, arch, arch.resolution, self.settings.seed, epochs or self.settings.epochs)
        for outcome in self.interrupts.iterate(outcomes(call)):
            if outcome.reason:
                problem, _, remedy = outcome.reason.partition("\n  ")
                raise EvaluationError(problem, remedy)
            if not outcome.ended:
                yield outcome.accuracies[-1]
