"""Who is searching a study: one process at a time, and how the next one knows that the last one is gone."""

import time

import optuna
from attrs import define, field

from nas.errors import StudyError
from nas.studies.process_identity import is_alive, runner, shown

RUNNER = "nas:runner"
SHORTEST_S = 600.0
EPOCHS_OF_SILENCE = 5
BEAT_S = 5.0


@define(eq=False)
class Lease:
    """The right to search a study. On this host it ends with the process that has it; elsewhere after a long silence.

    Attributes:
        study: that is searched.
        lasts_s: seconds of silence after which another host may take over.
    """

    study: optuna.Study
    lasts_s: float = field(default=SHORTEST_S, init=False)
    _last: float = field(factory=time.monotonic, init=False)
    _said: float = field(default=float("-inf"), init=False)

    def take(self) -> None:
        """Take the study over.

        Raises:
            StudyError: another process is searching it.
        """
        held = self.study.user_attrs.get(RUNNER) or {}
        token, silent_s = held.get("runner", ""), time.time() - held.get("beat", 0.0)
        alive = bool(token) and token != runner() and is_alive(token)
        if alive or (alive is None and silent_s < held["lasts_s"]):
            raise StudyError(
                f"study {self.study.study_name} is being searched by {shown(token)}, "
                f"last heard of {silent_s:.0f} s ago",
                "wait until it has ended, or choose another name by --study",
            )
        self._say()

    def beat(self) -> None:
        """Say that this process is still at work, every few seconds; called after every epoch.

        The longest epoch sets how long the lease lasts.
        """
        now = time.monotonic()
        known, self.lasts_s = self.lasts_s, max(self.lasts_s, EPOCHS_OF_SILENCE * (now - self._last))
        self._last = now
        if self.lasts_s > known or now - self._said >= BEAT_S:
            self._say()

    def end(self) -> None:
        """Give the study back."""
        self.study.set_user_attr(RUNNER, None)

    def _say(self) -> None:
        self._said = time.monotonic()
        self.study.set_user_attr(RUNNER, {"runner": runner(), "beat": time.time(), "lasts_s": self.lasts_s})
