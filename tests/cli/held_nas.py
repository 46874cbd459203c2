"""The command `nas` with real training runs, each of which waits at a gate after its first step. Run as a module."""

from attrs import evolve

from nas.api import evaluators
from nas.cli.main import main
from nas.evaluate.base import Evaluator
from tests.cli.gate import pass_gate

MAKERS = evaluators.MAKERS


def make_evaluator(rest: str, given: evaluators.Given) -> Evaluator:
    def wait(step: int, steps: int, loss: float) -> None:
        if given.on_batch is not None:
            given.on_batch(step, steps, loss)
        if step == 1:
            pass_gate()

    return MAKERS[evaluators.TRAIN](rest, evolve(given, on_batch=wait))


if __name__ == "__main__":
    vars(evaluators)["MAKERS"] = {**MAKERS, evaluators.TRAIN: make_evaluator}
    main()
