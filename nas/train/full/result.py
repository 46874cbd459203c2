"""The result of a training run: its curve, its best epoch, and the accuracy on the test split, which is used once."""

from collections.abc import Callable, Mapping
from typing import Any

from nas.data.base import Images
from nas.errors import DataError
from nas.noise import wilson
from nas.train.assessment.assessment import Assessment, assess
from nas.train.full.folder import TrainingFolder
from nas.train.full.job import TrainingJob
from nas.train.full.progress import Progress
from nas.train.metrics import describe_split
from nas.train.seeded import seeded
from nas.weights.base import TrainedNetwork

RUN, TEST, IS_COMPLETE = "run", "test", "complete"


def running_metrics(job: TrainingJob, progress: Progress) -> dict[str, Any]:
    """Return what is known of a training run before its test, as plain JSON values."""
    best = progress.best_result
    images = describe_split(job.data.val.labels, job.metric).effective
    low, high = wilson(best.accuracy * images, images)
    return {
        IS_COMPLETE: False,
        RUN: dict(job.describe()),
        "data": job.data.name,
        "classes": list(job.data.classes),
        "images": {"train": len(job.data.train), "validation": len(job.data.val)},
        "metric": job.metric,
        "epochs": progress.epochs,
        "best_epoch": best.epoch,
        "validation": {"accuracy": best.accuracy, "low": low, "high": high},
        "curve": [one.as_json() for one in progress.curve],
    }


def final_metrics(
    job: TrainingJob,
    folder: TrainingFolder,
    network: TrainedNetwork,
    metrics: Mapping[str, Any],
    draw: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """Return the metrics of a finished training run with those of the test split, and write them to the folder.

    If the folder has them already, the test split is not used again.

    Args:
        job: The job of the run.
        folder: Folder of the run.
        network: Network of the best epoch.
        metrics: Metrics without the test, as `running_metrics` returns them.
        draw: Function that draws the assessment of the test split, given as JSON values.

    Raises:
        NasError: The metrics cannot be written.
    """
    known = folder.read_metrics()
    assert job.data.test is not None  # noqa: S101 -- a job has a test split
    is_known = known.get(IS_COMPLETE) is True and known.get(RUN) == metrics[RUN]
    if is_known and _is_test(known.get(TEST), len(job.data.test)):
        return {**metrics, IS_COMPLETE: True, TEST: known[TEST]}
    test = _test(job, job.data.test, network)
    # A process that is killed before the metrics are written draws again.
    draw(test["assessment"])
    final = {**metrics, IS_COMPLETE: True, TEST: test}
    folder.write_metrics(final)
    return final


def _test(job: TrainingJob, images: Images, network: TrainedNetwork) -> dict[str, Any]:
    # No random number is drawn; the context makes cuDNN deterministic and switches TF32 off.
    with seeded(0, job.device):
        found = assess(network, images, job.device)
    return _as_test(found)


def _as_test(found: Assessment) -> dict[str, Any]:
    accuracy = found.accuracy
    short = {"images": found.images, "accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
    return {**short, "assessment": found.as_json()}


def _is_test(value: object, images: int) -> bool:
    """Return whether a value of a file, which anyone may have changed, is what a test of so many images gives."""
    try:
        found = Assessment.parse(value["assessment"])  # type: ignore[index]  # anything else raises
    except (DataError, LookupError, TypeError):
        return False
    accuracy = found.accuracy
    is_share = 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    return is_share and found.images == images and value == _as_test(found)
