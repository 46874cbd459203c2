"""The number of epochs that end within a time limit, from the measured duration of some steps."""

from nas.errors import NasError
from nas.train.device import median_seconds
from nas.train.full.job import TrainingJob
from nas.train.seeded import epoch_seed, seeded

# Number of steps, and of validated batches, whose median duration is used; one more warms up.
STEPS = 5
# Share of the time limit that is planned: durations vary, and the files and the final test take time too.
PLANNED_SHARE = 0.9


def seconds_per_epoch(job: TrainingJob) -> float:
    """Return the estimated duration of an epoch with its validation, in seconds."""
    with seeded(epoch_seed(job.seed, 0), job.device, tf32=job.allows_tf32) as generator:
        run = job.start(job.recipe, 1)
        batch, val_batches = run.shuffled_batches(generator)[0], run.val_batches()
        # `item` reads a number from the device, and so waits until its work is done.
        step = median_seconds(lambda: run.step(batch, 0.0, generator).item(), STEPS)
        validation = median_seconds(lambda: run.correct(val_batches[0]).sum().item(), STEPS)
    return step * run.steps_per_epoch + validation * len(val_batches)


def epochs_within(timeout_s: float, epoch_s: float) -> int:
    """Return the largest number of epochs that end within a time limit.

    Args:
        timeout_s: Time limit in seconds.
        epoch_s: Duration of an epoch in seconds.

    Raises:
        NasError: The time limit is shorter than one epoch.

    >>> epochs_within(100, epoch_s=10)
    9
    """
    epochs = int(PLANNED_SHARE * timeout_s / epoch_s)
    if epochs < 1:
        raise NasError(
            f"the time limit is {timeout_s:g} s, and one epoch takes about {epoch_s:.3g} s as measured on this "
            f"machine; at least one epoch must end within {PLANNED_SHARE:.0%} of the limit",
            "raise --timeout, or give fewer --images or a smaller network",
        )
    return epochs
