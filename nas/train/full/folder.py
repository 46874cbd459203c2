"""The folder of a training run: its weights, architecture, recipe, metrics and progress."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from nas.arch.code import format_json
from nas.arch.spec import Architecture
from nas.errors import NasError
from nas.files import read_text, write_atomically
from nas.train.full.progress import KIND, NAME
from nas.train.lock import training_lock
from nas.weights.base import TrainedNetwork
from nas.weights.checkpoints import ARCHITECTURE_FILE, LAST_FILE, METRICS_FILE, RECIPE_FILE, WEIGHTS_FILE
from nas.weights.stored import write_network

MOST_BYTES = 50_000_000
# The progress is written before all of them.
FILES = (WEIGHTS_FILE, LAST_FILE, ARCHITECTURE_FILE, RECIPE_FILE, METRICS_FILE)
FORMAT_KEY, FORMAT = "format", "nas-training/1"


@frozen
class TrainingFolder:
    """Represent the folder of one training run.

    Attributes:
        path: Path of the folder.
    """

    path: Path

    @property
    def progress(self) -> Path:
        """Return the path of the progress."""
        return self.path / NAME

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Make the folder, and hold its exclusive lock while the context lasts.

        Raises:
            NasError: Another process trains in the folder, the folder cannot be written to, or it holds files of the
                same names that are not those of a training run.
        """
        KIND.make_folder(self.path)
        with training_lock(self.progress, KIND, self._refuse):
            self._check_content()
            yield

    def _refuse(self, _message: str) -> None:
        raise NasError(
            f"another process is training in folder {self.path}, and only one may",
            "wait until it has ended, or choose another folder with --out",
        )

    def _check_content(self) -> None:
        if self.progress.exists():
            return
        found = [name for name in FILES if (self.path / name).exists()]
        if found:
            raise NasError(
                f"folder {self.path} has the file {found[0]} and no {NAME}, so it is not known which training run "
                "wrote it, and it is not overwritten",
                "choose another folder with --out, or move the files away",
            )

    def write_job(self, arch: Architecture, recipe: str) -> None:
        """Write the architecture, and the recipe as text.

        Raises:
            NasError: A file cannot be written.
        """
        write_atomically(self.path / ARCHITECTURE_FILE, f"{format_json(arch)}\n".encode())
        write_atomically(self.path / RECIPE_FILE, recipe.encode())

    def write_best(self, network: TrainedNetwork) -> None:
        """Write the network of the best epoch.

        Raises:
            NasError: The file cannot be written.
        """
        write_network(network, self.path / WEIGHTS_FILE)

    def write_last(self, network: TrainedNetwork) -> None:
        """Write the network of the last epoch.

        Raises:
            NasError: The file cannot be written.
        """
        write_network(network, self.path / LAST_FILE)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics, as plain JSON values by name.

        Raises:
            NasError: The file cannot be written.
        """
        text = json.dumps({FORMAT_KEY: FORMAT, **metrics}, indent=2, allow_nan=False)
        write_atomically(self.path / METRICS_FILE, f"{text}\n".encode())

    def read_metrics(self) -> Mapping[str, Any]:
        """Return the metrics of the run; they are empty if there are none that can be read."""
        try:
            metrics = json.loads(read_text(self.path / METRICS_FILE, MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return metrics if isinstance(metrics, dict) and metrics.get(FORMAT_KEY) == FORMAT else {}
