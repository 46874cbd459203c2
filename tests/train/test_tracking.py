"""Trackers of training runs: their curves are read back with the libraries that people look at them with."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas.errors import MissingPackageError, NasError
from nas.train.tracking import (
    EXPERIMENT,
    MlflowTracker,
    SafeTracker,
    TensorBoardTracker,
    TrackedRun,
    closing_all,
    open_trackers,
)

RUN = TrackedRun("colors", "colors-1", {"epochs": 4, "optimizer": "sgd"})


@pytest.fixture(autouse=True)
def _libraries_may_warn() -> Iterator[None]:
    """MLflow uses parts of SQLAlchemy that are deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(name="uri")
def _uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """The curve that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, round(event.value, 4)) for event in accumulator.Scalars(name)]


def history(uri: str, name: str) -> dict[str, list[tuple[int, float]]]:
    """The curves of a metric that MLflow has, by the name of the run."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return {
        run.info.run_id: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        for run in client.search_runs([experiment.experiment_id])
    }


def test_tensorboard_reads_the_values_of_every_epoch(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path / "new" / "events")
    with closing_all([tracker]):
        tracker.log(1, {"loss": 2.5, "accuracy": 0.25})
        tracker.log(2, {"loss": 1.5, "accuracy": 0.5})
    assert curve(tmp_path / "new" / "events", "loss") == [(1, 2.5), (2, 1.5)]
    assert curve(tmp_path / "new" / "events", "accuracy") == [(1, 0.25), (2, 0.5)]


def test_a_run_that_continues_has_every_epoch_once_in_tensorboard(tmp_path: Path) -> None:
    killed = TensorBoardTracker(tmp_path)
    for epoch in (1, 2, 3):
        killed.log(epoch, {"loss": float(epoch)})
    again = TensorBoardTracker(tmp_path)  # the third epoch was logged, but its checkpoint was not written
    for epoch in (3, 4):
        again.log(epoch, {"loss": float(epoch)})
    again.close()
    killed.close()
    assert curve(tmp_path, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_folder_for_tensorboard_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="is a file, and TensorBoard reads a folder"):
        TensorBoardTracker(tmp_path / "file")


@pytest.mark.slow
def test_a_run_that_continues_has_every_epoch_once_in_mlflow(uri: str) -> None:
    from mlflow import MlflowClient

    killed = MlflowTracker(uri, RUN)
    for epoch in (1, 2, 3):
        killed.log(epoch, {"loss": float(epoch)})
    again = MlflowTracker(uri, RUN)
    for epoch in (3, 4):
        again.log(epoch, {"loss": float(epoch)})
    again.close()
    ((run_id, values),) = history(uri, "loss").items()
    assert values == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    run = MlflowClient(tracking_uri=uri).get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("colors", "FINISHED")
    assert run.data.params == {"epochs": "4", "optimizer": "sgd"}
    other = MlflowTracker(uri, TrackedRun("colors", "colors-2"))
    other.log(1, {"loss": 9.0})
    assert sorted(history(uri, "loss").values()) == [[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)], [(1, 9.0)]]


@pytest.mark.slow
def test_a_uri_that_mlflow_cannot_use_is_an_error() -> None:
    with pytest.raises(NasError, match="MLflow cannot use the tracking URI 'nonsense://x'") as raised:
        MlflowTracker("nonsense://x", RUN)
    assert "sqlite:///mlflow.db" in raised.value.remedy


@pytest.mark.parametrize(("package", "arguments"), [("tensorboard", ("folder", None)), ("mlflow", (None, "sqlite://"))])
def test_a_missing_package_is_an_error_that_names_the_extra(
    package: str, arguments: tuple[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises ModuleNotFoundError
    folder, uri = arguments
    with pytest.raises(MissingPackageError, match=rf"the package {package}\S* is not installed") as raised:
        open_trackers(None if folder is None else Path(folder), uri, RUN, print)
    assert "hwnas[tracking]" in raised.value.remedy


class Broken:
    """A tracker whose server is gone from an epoch on."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.calls: list[Any] = []

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self.calls.append((epoch, dict(values)))
        if epoch > self.last:
            raise ConnectionError("the server is gone\nand more lines")

    def close(self) -> None:
        self.calls.append("close")


def test_a_tracker_that_fails_is_reported_once_and_left_alone() -> None:
    messages: list[str] = []
    broken = Broken(last=1)
    tracker = SafeTracker(broken, "MLflow", messages.append)
    with closing_all([tracker]):
        for epoch in (1, 2, 3):
            tracker.log(epoch, {"loss": 1.0})
    assert broken.calls == [(1, {"loss": 1.0}), (2, {"loss": 1.0})]
    assert messages == ["MLflow failed and receives nothing more in this run, which continues: the server is gone"]


def test_a_full_disk_is_a_failure_of_the_tracker(tmp_path: Path) -> None:
    messages: list[str] = []
    (tracker,) = open_trackers(tmp_path / "events", None, RUN, messages.append)
    tracker.log(1, {"loss": 1.0})
    (file,) = (tmp_path / "events").iterdir()
    inner = tracker.tracker  # type: ignore[attr-defined]
    inner._file.close()
    with Path("/dev/full").open("wb", buffering=0) as inner._file:
        tracker.log(2, {"loss": 1.0})
        tracker.log(3, {"loss": 1.0})
    assert len(messages) == 1
    assert "TensorBoard failed" in messages[0]
    assert "No space left on device" in messages[0]
    assert curve(tmp_path / "events", "loss") == [(1, 1.0)]
    assert file.exists()


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_no_training_run() -> None:
    messages: list[str] = []
    (tracker,) = open_trackers(None, "http://127.0.0.1:9", RUN, messages.append)
    tracker.log(1, {"loss": 1.0})
    tracker.close()
    assert len(messages) == 1
    assert messages[0].startswith("MLflow failed")
