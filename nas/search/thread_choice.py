"""The number of threads of each training run: chosen by a probe when a study starts, and stored in the study.

A search that is resumed on the same machine, with the same number of CPU cores for each training run, uses the stored
number, so that its training runs are computed in the same way as the earlier ones.
"""

import platform

import optuna
from attrs import asdict

from nas.errors import EvaluationError
from nas.evaluate.base import StepTimed
from nas.search.plan import Plan, first_proposal
from nas.search.session import open_session
from nas.workers.base import Here
from nas.workers.threads import ThreadChoice, choose_threads

THREADS = "nas:threads"  # beginning of the attributes of a study; a machine's name and number of CPU cores follow


def find_threads(planned: Plan, study: optuna.Study, cores: int | None) -> ThreadChoice | None:
    """Return the number of threads of each training run of a search; None leaves it to the libraries.

    Args:
        planned: Search whose settings may state the number.
        study: Study that stores the choice, separately for each machine and number of CPU cores.
        cores: Number of CPU cores that each training run may use; None where an engine decides about them.

    Raises:
        KeyboardInterrupt: The user interrupted the probe.
    """
    if cores is None or not needs_probe(planned, cores):
        return choose(planned, cores)
    key = f"{THREADS}:{platform.node()} {cores}"
    stored = study.user_attrs.get(key)
    # The trials of a study without a stored number have used what the libraries chose, and so do the remaining ones.
    if stored is None and not study.get_trials(deepcopy=False):
        choice = choose(planned, cores)
        # Another process may have started the same study and stored its choice meanwhile; both use the first one.
        stored = study.user_attrs.get(key)
        if stored is None and choice is not None:
            stored = asdict(choice)
            study.set_user_attr(key, stored)
    if stored is None:
        return None
    return ThreadChoice(int(stored["threads"]), {int(count): each for count, each in stored["seconds"].items()})


def choose(planned: Plan, cores: int | None) -> ThreadChoice | None:
    """Return the number of threads of each training run of a search without a study; see `find_threads`."""
    stated, evaluator = planned.settings.threads, planned.evaluator
    if stated is not None:
        return ThreadChoice(stated, {})
    if cores is None or not isinstance(evaluator, StepTimed):
        return None
    return ThreadChoice(1, {}) if cores == 1 else _probe(planned, evaluator, cores)


def needs_probe(planned: Plan, cores: int | None) -> bool:
    """Return whether the number of threads is chosen by a probe, which takes a while on a busy machine."""
    is_open = planned.settings.threads is None and cores is not None and cores > 1
    return is_open and isinstance(planned.evaluator, StepTimed)


def _probe(planned: Plan, evaluator: StepTimed, cores: int) -> ThreadChoice | None:
    """Measure a training step of the first network of the search; None where that does not use the CPU, or fails."""
    arch = planned.baseline[1] if planned.baseline else first_proposal(planned.cost_range, planned.settings).arch
    # The session holds the machine lock, so that the probe and latency measurements of other searches do not overlap.
    with open_session(Here()) as session, session.interrupts.interruptible():
        try:
            if evaluator.seconds_per_step(arch) is None:
                return None
            return choose_threads(lambda: evaluator.seconds_per_step(arch) or 0.0, cores)
        except EvaluationError:
            return None  # the training run itself reports the error
