"""Trackers of training runs: the values of each epoch go to TensorBoard and to MLflow, written by their own libraries.

A tracker is opened before training, so that a missing package or an impossible place is an error at once. After that,
a failure of a tracker never ends a training run.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

from attrs import define, field, frozen

from nas.errors import MissingPackageError, NasError

EXPERIMENT = "nas"
# Tag of a run in MLflow by which the same training run is found when it continues.
_TAG = "nas.run"
_REMEDY = "pip install 'hwnas[tracking]'"
# MLflow's defaults retry a request to a server that does not respond for many minutes, while training would wait.
_FEW_RETRIES: Mapping[str, str] = MappingProxyType(
    {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
)


class Tracker(Protocol):
    """Receive the values of each epoch of a training run.

    The first epoch that a tracker receives may be above 1, because the training run continues. Epochs that an earlier
    process logged may come again after a kill; they must not appear twice.
    """

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log values by name for an epoch, counted from 1."""

    def close(self) -> None:
        """Write what is left; no epoch follows."""


@frozen
class TrackedRun:
    """Describe a training run to trackers.

    Attributes:
        name: Name that people see.
        identity: Text that is the same whenever the same training run continues, and differs for every other run.
        settings: Settings by name, such as those of the recipe.
    """

    name: str
    identity: str
    settings: Mapping[str, Any] = field(factory=dict)


@define(eq=False)
class TensorBoardTracker:
    """Write the values of epochs to an event file of TensorBoard.

    A training run that continues writes a new file, which says that earlier events from its first epoch on are void.

    Attributes:
        folder: Folder of the event files; it is created with the first epoch.

    Raises:
        MissingPackageError: TensorBoard is not installed.
        NasError: The folder is something else.
    """

    folder: Path
    _file: BinaryIO | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        with _needs_package():
            import tensorboard.summary.writer.record_writer  # noqa: F401
        if self.folder.exists() and not self.folder.is_dir():
            raise NasError(
                f"{self.folder} is a file, and TensorBoard reads a folder of event files",
                "give the path of a folder with --tensorboard",
            )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log values; see `Tracker`."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._file is None:
            self._open(epoch)
        rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=epoch, summary=Summary(value=rows))

    def _open(self, first: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (self.folder / name).open("xb")
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **content: Any) -> None:
        """Write an event at once; TensorBoard's `EventFileWriter` would write in a thread, whose errors come later."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file is not None:
            RecordWriter(self._file).write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """Close the event file; see `Tracker`."""
        if self._file is not None:
            self._file.close()


@define(eq=False)
class MlflowTracker:
    """Write the values of epochs to a run of MLflow.

    Attributes:
        uri: Tracking URI: that of a server, or of a database such as "sqlite:///mlflow.db".
        run: Description of the training run.

    Raises:
        MissingPackageError: MLflow is not installed.
        NasError: MLflow cannot use the URI.
    """

    uri: str
    run: TrackedRun
    _client: Any = field(init=False, repr=False)
    _run_id: str = field(default="", init=False)
    _logged: dict[str, set[int]] = field(factory=dict, init=False)

    @_client.default
    def _make_client(self) -> Any:
        for name, value in _FEW_RETRIES.items():
            os.environ.setdefault(name, value)
        with _needs_package():
            from mlflow import MlflowClient
        try:
            return MlflowClient(tracking_uri=self.uri)
        except Exception as error:  # MLflow's stores raise the errors of their libraries too
            raise NasError(
                f"MLflow cannot use the tracking URI {self.uri!r:.200}: {_first_line(error)}",
                "give --mlflow sqlite:///mlflow.db or the URI of a server, such as http://localhost:5000",
            ) from None

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log values; see `Tracker`."""
        from mlflow.entities import Metric

        if not self._run_id:
            self._open()
        now = int(1000 * time.time())
        new = {name: value for name, value in values.items() if epoch not in self._steps(name)}
        self._client.log_batch(self._run_id, [Metric(name, value, now, epoch) for name, value in new.items()])
        for name in new:
            self._logged[name].add(epoch)

    def _steps(self, name: str) -> set[int]:
        """Return the epochs for which the run already has a value."""
        if name not in self._logged:
            history = self._client.get_metric_history(self._run_id, name)
            self._logged[name] = {metric.step for metric in history}
        return self._logged[name]

    def _open(self) -> None:
        """Continue the run with the same identity, or create it."""
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        place = self._client.create_experiment(EXPERIMENT) if experiment is None else experiment.experiment_id
        identity = self.run.identity.replace("'", "-")
        earlier = self._client.search_runs([place], f"tags.`{_TAG}` = '{identity}'", max_results=1)
        if earlier:
            self._run_id = earlier[0].info.run_id
            self._client.update_run(self._run_id, status="RUNNING")
            return
        self._run_id = self._client.create_run(place, tags={_TAG: identity}, run_name=self.run.name).info.run_id
        params = [Param(name, str(value)) for name, value in self.run.settings.items()]
        self._client.log_batch(self._run_id, params=params)

    def close(self) -> None:
        """Mark the run as finished; see `Tracker`."""
        if self._run_id:
            self._client.set_terminated(self._run_id)


@define(eq=False)
class SafeTracker:
    """Pass everything to another tracker until it fails; the first failure is reported, and nothing follows it.

    Attributes:
        tracker: The other tracker.
        name: Name of the tracker for the message.
        warn: Function that is called with a sentence about the failure.
    """

    tracker: Tracker
    name: str
    warn: Callable[[str], None]
    _has_failed: bool = field(default=False, init=False)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log values; see `Tracker`."""
        self._try(lambda: self.tracker.log(epoch, values))

    def close(self) -> None:
        """Close the tracker; see `Tracker`."""
        self._try(self.tracker.close)

    def _try(self, action: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            action()
        except Exception as error:  # whatever a tracker's library raises must not end the training run
            self._has_failed = True
            self.warn(
                f"{self.name} failed and receives nothing more in this run, which continues: {_first_line(error)}"
            )


def open_trackers(
    tensorboard: Path | None, mlflow: str | None, run: TrackedRun, warn: Callable[[str], None]
) -> tuple[Tracker, ...]:
    """Return the trackers that a user asked for.

    Args:
        tensorboard: Folder of the event files of TensorBoard, or None.
        mlflow: Tracking URI of MLflow, or None.
        run: Description of the training run.
        warn: Function that is called with a sentence when a tracker fails.

    Raises:
        MissingPackageError: A package is not installed.
        NasError: The folder or the URI cannot be used.
    """
    trackers: dict[str, Tracker] = {}
    if tensorboard is not None:
        trackers["TensorBoard"] = TensorBoardTracker(tensorboard)
    if mlflow is not None:
        trackers["MLflow"] = MlflowTracker(mlflow, run)
    return tuple(SafeTracker(tracker, name, warn) for name, tracker in trackers.items())


@contextmanager
def closing_all(trackers: Sequence[Tracker]) -> Iterator[None]:
    """Close all trackers when the context ends."""
    with ExitStack() as stack:
        for tracker in trackers:
            stack.callback(tracker.close)
        yield


@contextmanager
def _needs_package() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the package {error.name} is not installed", f"install it with `{_REMEDY}`"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
