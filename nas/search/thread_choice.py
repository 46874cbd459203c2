"""The number of threads of each training run: chosen by a probe when a study starts, and stored in the study.

A resumed search uses the stored number, so that its training runs are computed in the same way as the earlier ones.
"""

import platform

import optuna
from attrs import asdict

from nas.errors import EvaluationError
from nas.evaluate.base import StepTimed
from nas.search.plan import Plan, first_proposal
from nas.workers.threads import ThreadChoice, choose_threads

THREADS = "nas:threads"  # attribute of a study: for each machine, the number of threads and the measured seconds


def find_threads(planned: Plan, study: optuna.Study, cores: int | None) -> ThreadChoice | None:
    """Return the number of threads of each training run of a search; None leaves it to the libraries.

    Args:
        planned: Search whose settings may state the number.
        study: Study that stores the choice, separately for each machine.
        cores: Number of CPU cores that each training run may use; None where an engine decides about them.
    """
    stated = planned.settings.threads
    if stated is not None:
        return ThreadChoice(stated, {})
    if cores is None or not isinstance(planned.evaluator, StepTimed):
        return None
    if cores == 1:
        return ThreadChoice(1, {})
    stored = dict(study.user_attrs.get(THREADS, {}))
    # Machines of one study can differ in speed and in cores, so each has its own choice.
    place = f"{platform.node()} {cores}"
    if place not in stored:
        choice = _probe(planned, planned.evaluator, cores)
        if choice is None:
            return None
        stored[place] = asdict(choice)
        study.set_user_attr(THREADS, stored)
    found = stored[place]
    return ThreadChoice(int(found["threads"]), {int(count): each for count, each in found["seconds"].items()})


def _probe(planned: Plan, evaluator: StepTimed, cores: int) -> ThreadChoice | None:
    """Measure a training step of the first network of the search; None where that does not use the CPU, or fails."""
    arch = planned.baseline[1] if planned.baseline else first_proposal(planned.cost_range, planned.settings).arch
    try:
        if evaluator.seconds_per_step(arch) is None:
            return None
        return choose_threads(lambda: evaluator.seconds_per_step(arch) or 0.0, cores)
    except EvaluationError:
        return None  # the training run itself reports the error
