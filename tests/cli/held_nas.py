"""The real command `nas`, whose work waits at a gate. Run as a module.

A training run arrives at the gate after its first step, and a latency table after each batch that is kept.
"""

from typing import Any

from attrs import evolve

from nas.api import evaluators
from nas.cli.main import main
from nas.cost import table_builder
from nas.cost.table import LatencyTable
from nas.evaluate.base import Evaluator
from tests.cli.gate import pass_gate

MAKERS, MAKE_TABLE = evaluators.MAKERS, table_builder.make_table


def make_evaluator(rest: str, given: evaluators.Given) -> Evaluator:
    def wait(step: int, steps: int, loss: float) -> None:
        if given.on_batch is not None:
            given.on_batch(step, steps, loss)
        if step == 1:
            pass_gate()

    return MAKERS[evaluators.TRAIN](rest, evolve(given, on_batch=wait))


def make_table(*arguments: Any, listen: table_builder.Listener, **named: Any) -> LatencyTable:
    def wait(progress: table_builder.Progress) -> None:
        listen(progress)
        pass_gate()

    return MAKE_TABLE(*arguments, listen=wait, **named)


if __name__ == "__main__":
    vars(evaluators)["MAKERS"] = {**MAKERS, evaluators.TRAIN: make_evaluator}
    vars(table_builder)["make_table"] = make_table
    main()
