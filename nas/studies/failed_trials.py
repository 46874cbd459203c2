"""Failed trials of a study that has no others: they are started again when the study is continued.

A failed trial counts, so that a search with a broken evaluator ends. Where every trial failed, the cause is most likely
outside the networks and may be corrected by now.
"""

from collections.abc import Collection

from optuna.trial import TrialState
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from nas.optuna_private.tables import TRIALS, USER_ATTRIBUTES, attribute_rows
from nas.studies.bulk_storage import BulkStorage
from nas.studies.records import KILLED
from nas.studies.reservation_rows import ReservationRows
from nas.studies.tables import in_transaction, make_tables


def reopen_failed(storage: BulkStorage, study_id: int, foreign: Collection[int]) -> int:
    """Let the trials of a study count no more and be started again, if every one of them has failed.

    Trials that a cache has read before are not changed there.

    Args:
        storage: Database of the study.
        study_id: Number of the study in the database.
        foreign: Numbers in the study of the trials of other programs, which are left as they are and do not count.

    Returns:
        Number of trials that are started again; 0 where any trial of nas runs or has a result.
    """
    make_tables(storage)
    rows = ReservationRows(study_id)

    def write(session: Session) -> list[int]:
        rows.lock(session)
        failed = _failed(session, study_id, foreign)
        for trial_id in failed:
            session.execute(insert(USER_ATTRIBUTES), [{"trial_id": trial_id, **row} for row in _KILLED_ROWS])
            row = rows.of_trial(session, trial_id)
            # A restored trial may have no reservation, and one that is killed gets none.
            if row is not None:
                rows.change(session, row.slot, runner="", attempts=0, ended=False)
        return failed

    failed = in_transaction(storage, write)
    for trial_id in failed:
        storage.keep(trial_id)
    return len(failed)


_KILLED_ROWS = attribute_rows({KILLED: True})


def _failed(session: Session, study_id: int, foreign: Collection[int]) -> list[int]:
    """Return the numbers in the database of the failed trials that count; none where any trial has not failed."""
    columns = TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state
    rows = session.execute(select(*columns).where(TRIALS.c.study_id == study_id).order_by(TRIALS.c.trial_id)).all()
    own = {trial_id: state for trial_id, number, state in map(tuple, rows) if number not in foreign}
    if any(state != TrialState.FAIL for state in own.values()):
        return []
    of_study = TRIALS.c.study_id == study_id, USER_ATTRIBUTES.c.key == KILLED
    killed = select(USER_ATTRIBUTES.c.trial_id).join(TRIALS, TRIALS.c.trial_id == USER_ATTRIBUTES.c.trial_id)
    ended = {*session.execute(killed.where(*of_study)).scalars()}
    return [trial_id for trial_id in own if trial_id not in ended]
