"""A job of a fixed list: one training run of a given network, and its result."""

from collections.abc import Mapping

from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.workers.base import Key


@frozen
class Job:
    """One training run that is to be done.

    Attributes:
        arch: Network at the resolution and with the classes that it is meant for.
        resolution: Pixels of a side of the images that it is trained on.
        seed: Seed of all random numbers.
        params: Parameters that Optuna's tools show for the trial, numbers from 0 to a million.
    """

    arch: Architecture
    resolution: int
    seed: int
    params: Mapping[str, float] = field(factory=dict, eq=False)

    @property
    def key(self) -> Key:
        """What is trained and the seed: equal for two jobs that are the same training run."""
        seen = self.arch.adapted(resolution=self.resolution, classes=self.arch.classes)
        return format_text(canonical(seen)), self.seed


@frozen
class JobResult:
    """Result of a job.

    Attributes:
        accuracy: Accuracy after the last epoch, 0 to 1; None where the job failed.
        seconds: Duration of the training run.
        reason: Why the job failed; "" where it did not.
        number: Number of its trial; -1 where there is none.
        correct: Which validation images were classified correctly, as `nas.noise.pack` writes it; "" where it is not
            known.
    """

    accuracy: float | None
    seconds: float
    reason: str = ""
    number: int = -1
    correct: str = ""
