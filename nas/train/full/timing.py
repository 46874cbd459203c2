"""The number of epochs that end within a time limit, from the measured duration of some steps."""

from collections.abc import Callable

from nas.errors import NasError
from nas.train.device import median_seconds
from nas.train.full.job import TrainingJob
from nas.train.loop import TrainingRun
from nas.train.seeded import epoch_seed, seeded

# Number of steps, and of validated batches, whose median duration is used; one more warms up. Most of them follow the
# step in which CUDA graphs are recorded (see `nas.train.graphs`), so that the median is that of a replay.
STEPS = 9
# Share of the time limit that is planned: durations vary, and the files and the final test take time too.
PLANNED_SHARE = 0.9


def seconds_per_epoch(job: TrainingJob, epochs: int, seconds_to_write: Callable[[TrainingRun], float]) -> float:
    """Return the estimated duration of an epoch with its validation and its files, in seconds.

    Args:
        job: The job.
        epochs: Number of epochs of the run, on which the size of its batches may depend.
        seconds_to_write: Function that writes the files of an epoch for a try, and returns the duration in seconds.
    """
    recipe = job.recipe_for(epochs)
    assert recipe is not None  # noqa: S101 -- no part of a batch is halved
    with seeded(epoch_seed(job.seed, 0), job.device, tf32=job.allows_tf32) as generator:
        run = job.start(recipe)
        batch, val_batches = run.shuffled_batches(generator)[0], run.val_batches()
        # `item` reads a number from the device, and so waits until its work is done.
        step = median_seconds(lambda: run.step(batch, 0.0, generator).item(), STEPS)
        validation = median_seconds(lambda: run.correct(val_batches[0]).sum().item(), STEPS)
        written = seconds_to_write(run)
    return step * run.steps_per_epoch + validation * len(val_batches) + written


def epochs_within(left_s: float, epoch_s: float, timeout_s: float) -> int:
    """Return the largest number of epochs that end within a time limit.

    Args:
        left_s: Time in seconds that is left of the limit.
        epoch_s: Duration of an epoch in seconds.
        timeout_s: The whole limit in seconds, for the message.

    Raises:
        NasError: The time limit is shorter than one epoch.

    >>> epochs_within(100, epoch_s=10, timeout_s=110)
    9
    """
    epochs = int(PLANNED_SHARE * left_s / epoch_s)
    if epochs < 1:
        raise NasError(
            f"the time limit is {timeout_s:g} s, of which {max(0.0, left_s):.3g} s are left after the start, and one "
            f"epoch takes about {epoch_s:.3g} s as measured on this machine; at least one epoch must end in time",
            "raise --timeout, or give fewer --images or a smaller network",
        )
    return epochs
