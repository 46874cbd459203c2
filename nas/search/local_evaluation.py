"""Evaluations in this process, which are no trials: screening, the baseline, and re-training of the best trials."""

from collections.abc import Iterator

from attrs import frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator
from nas.search.plan import Plan
from nas.workers.base import Call, Outcome, Single, outcomes
from nas.workers.interrupts import Interrupts


@frozen(eq=False)
class LocalEvaluation:
    """Evaluates architectures as a search does, in this process and one after another.

    Attributes:
        plan: The search.
        interrupts: Handlers of this process; an evaluation can be interrupted at any moment.
    """

    plan: Plan
    interrupts: Interrupts

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
        for outcome in self.interrupts.iterate(outcomes(call)):
            if outcome.reason:
                problem, _, remedy = outcome.reason.partition("\n  ")
                raise EvaluationError(problem, remedy)
            yield outcome
