"""What one process brings into a study: workers and signal handlers, and its heartbeat and reservations there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self

import optuna
from attrs import frozen
from optuna.trial import FrozenTrial

from nas.optuna_private.identity import storage_of
from nas.optuna_private.identity import study_id as id_of
from nas.studies.bulk_storage import BulkStorage
from nas.studies.heartbeats import Heartbeat
from nas.studies.own_study import OwnStudy
from nas.studies.reservations import Reservation, Reservations
from nas.studies.tables import backend
from nas.workers.base import Workers
from nas.workers.interrupts import Interrupts
from nas.workers.machine_lock import MachineLock


@frozen(eq=False)
class Session:
    """Workers, signal handlers and the machine lock of this process; they serve one study after another.

    Attributes:
        workers: Workers that evaluate networks.
        interrupts: Handlers of SIGINT and SIGTERM.
        machine_lock: Lock that keeps training and measurements on this machine apart.
    """

    workers: Workers
    interrupts: Interrupts
    machine_lock: MachineLock


@contextmanager
def open_session(workers: Workers) -> Iterator[Session]:
    """Start workers and handle interrupts while the context lasts.

    Args:
        workers: Workers that have not been started.

    Raises:
        NasError: The workers cannot be started.
    """
    interrupts = Interrupts()
    machine_lock = MachineLock(workers, interrupts.check)
    with interrupts.handled(), workers, machine_lock:
        interrupts.install_again()  # Ray installs its own handlers when it connects
        yield Session(workers, interrupts, machine_lock)


@frozen(eq=False)
class SharedStudy:
    """A study that several processes may work on, with the heartbeat and the reservations of this one.

    Attributes:
        study: The study.
        storage: Database that keeps it.
        heartbeat: Heartbeat of this process, not yet started.
        reservations: Reservations of the study.
    """

    study: OwnStudy
    storage: BulkStorage
    heartbeat: Heartbeat
    reservations: Reservations

    @classmethod
    def of(cls, study: OwnStudy, session: Session, say: Callable[[str], None]) -> Self:
        """Return this process's part in a study; `say` receives messages on the state of its database."""
        storage = backend(storage_of(study))
        storage.say, storage.check_interrupts = say, session.interrupts.check
        heartbeat = Heartbeat(storage)
        return cls(study, storage, heartbeat, Reservations(storage, id_of(study), heartbeat.token))

    @property
    def study_id(self) -> int:
        """Optuna's number of the study."""
        return id_of(self.study)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of nas, running ones too, in order."""
        return self.study.get_trials(deepcopy=False)

    def trial(self, trial_id: int) -> FrozenTrial:
        """Return one trial by the number that the database gave it."""
        return storage_of(self.study).get_trial(trial_id)

    def handle(self, trial_id: int) -> optuna.Trial:
        """Return Optuna's handle of a running trial, which takes reports by epoch."""
        return optuna.Trial(self.study, trial_id)

    def living_others(self, reservations: Iterable[Reservation]) -> set[str]:
        """Return the processes other than this one that have some of the reservations and are still alive."""
        others = {reservation.process for reservation in reservations} - {"", self.heartbeat.token}
        return others - self.heartbeat.dead(others)
