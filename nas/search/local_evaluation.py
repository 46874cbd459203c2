"""Evaluations that are no trials: screening, the baseline, and re-training of the best trials."""

from collections.abc import Iterator

from attrs import evolve, frozen

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator
from nas.search.plan import Plan
from nas.search.session import Session
from nas.workers.base import Call, Outcome, Single, outcomes

POLL_S = 1.0
_NO_TRIAL = -1  # in the place of a trial's number in the key of a call


@frozen(eq=False)
class LocalEvaluation:
    """Evaluates architectures as a search does, one after another.

    It does so in this process, unless each evaluation has a time limit, which only the workers can keep.

    Attributes:
        plan: The search.
        session: Workers, signal handlers and the machine lock of this process. An evaluation can be interrupted at any
            moment, and waits after an epoch while another search measures.
    """

    plan: Plan
    session: Session

    def last(self, arch: Architecture, evaluator: Evaluator, epochs: int | None = None) -> float:
        """Return the accuracy of an architecture after the last epoch.

        Args:
            arch: The architecture.
            evaluator: Evaluator to ask.
            epochs: Number of epochs, at most; None takes that of the search.

        Raises:
            EvaluationError: Something is wrong with this architecture; others can be evaluated.
        """
        return self.outcome(arch, evaluator, epochs).accuracies[-1]

    def outcome(self, arch: Architecture, evaluator: Evaluator, epochs: int | None = None) -> Outcome:
        """Return the result of an evaluation after the last epoch; see `last`."""
        *_, outcome = self.outcomes(arch, evaluator, epochs)
        return outcome

    def outcomes(
        self, arch: Architecture, evaluator: Evaluator | None = None, epochs: int | None = None
    ) -> Iterator[Outcome]:
        """Yield the result so far after each epoch, and once more when the evaluation has ended; see `last`."""
        settings = self.plan.settings
        single = Single(evaluator or self.plan.evaluator)
        call = Call(single, arch, arch.resolution, settings.seed, epochs or settings.epochs)
        limited = settings.trial_timeout_s is not None
        for outcome in self.session.interrupts.iterate(self._outcomes_of_workers(call) if limited else outcomes(call)):
            if outcome.reason:
                problem, _, remedy = outcome.reason.partition("\n  ")
                raise EvaluationError(problem, remedy)
            yield outcome
            # Between epochs, since another search on this machine waits for this one before it measures a latency.
            if not outcome.ended:
                self.session.machine_lock.yield_to_measurement()

    def _outcomes_of_workers(self, call: Call) -> Iterator[Outcome]:
        """Yield the outcomes of a call that the workers evaluate; they evaluate nothing else meanwhile."""
        workers, key = self.session.workers, (format_text(call.arch), _NO_TRIAL)
        while not workers.free:
            workers.poll(POLL_S)
        workers.start(key, evolve(call, by_epoch=True))
        while True:
            for _, outcome in workers.poll(POLL_S):
                yield outcome
                if outcome.ended:
                    return
                workers.answer(key, go_on=True)
