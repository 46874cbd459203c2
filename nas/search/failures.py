"""Checks for failed trials, before the first trial of a search and after its last one."""

from collections import Counter
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from nas.errors import StudyError
from nas.evaluate.base import Evaluator
from nas.optuna_private.identity import storage_of, study_id, trial_id
from nas.optuna_private.storage import read_again
from nas.studies.failed_trials import reopen_failed
from nas.studies.own_study import OwnStudy
from nas.studies.records import StudyView
from nas.studies.tables import backend


def start_failed_again(study: OwnStudy, tell: Callable[[str], None]) -> None:
    """Let the trials of an earlier run be started again if every one of them failed.

    No other process may work at the study, since it would have counted these trials already.

    Args:
        study: Study of the search.
        tell: Called with a sentence about it.
    """
    count = reopen_failed(backend(storage_of(study)), study_id(study), study.foreign_numbers())
    if count:
        what = "the only trial of the study failed and is" if count == 1 else f"all {count} trials failed and are"
        tell(f"{what} started again")


def read_failed_again(study: OwnStudy) -> None:
    """Have the failed trials read afresh: this process or another one may have let them be started again."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    read_again(storage_of(study), study_id(study), map(trial_id, failed))


def check_any_succeeded(view: StudyView) -> None:
    """Check that some trial of a search has a result.

    Raises:
        StudyError: Every trial failed.
    """
    reasons = [record.reason.partition("\n")[0] for record in view.records if record.state == "failed"]
    if not reasons or len(reasons) < view.counted:
        return
    ((reason, times),) = Counter(reasons).most_common(1)
    count = "the only trial" if len(reasons) == 1 else f"all {len(reasons)} trials"
    most = "" if times == len(reasons) else f", {times} of them"
    raise StudyError(
        f"{count} of study {view.name} failed{most} with: {reason}",
        "correct the cause and run the same command again, which starts these trials again",
    )


def check_script(study: optuna.Study, evaluator: Evaluator) -> None:
    """Check that the trials of a study come from the script that defines the evaluator's function.

    Functions of all scripts have the same module name, so that their full names do not tell them apart.

    Raises:
        StudyError: They come from another script.
    """
    script = _script(evaluator.describe().get("environment"))
    if not script:
        return
    known = next(filter(None, (_script(t.user_attrs.get("environment")) for t in study.get_trials(deepcopy=False))), "")
    if known and script != known:
        raise StudyError(
            f"the function of study {study.study_name} is defined in {known}, not in {script}",
            "choose another name for the study, or define the function in a module that both scripts import",
        )


def _script(environment: object) -> str:
    return str(environment.get("script", "")) if isinstance(environment, dict) else ""
