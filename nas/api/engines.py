"""Engines: where training runs are done, in processes of this machine or on a Ray cluster."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from nas.api.evaluators import flag
from nas.errors import StudyError
from nas.search.defaults import RETRIES

if TYPE_CHECKING:
    from nas.workers.base import Workers

PROCESSES, RAY = ENGINES = ("processes", "ray")
# Options that only one engine uses.
ENGINE_OPTIONS: Mapping[str, str] = MappingProxyType(
    {"address": RAY, "trial_cpus": RAY, "trial_gpus": RAY, "threads": PROCESSES}
)


@frozen
class EngineOptions:
    """Hold the options of the workers that do training runs.

    Attributes:
        engine: "processes" or "ray".
        workers: Number of training runs at once; None takes 1 for processes, and what the cluster holds for Ray.
        address: Address of the Ray cluster, `HOST:PORT` or "auto".
        trial_cpus: Number of CPU cores of each training run on Ray.
        trial_gpus: Number of GPUs of each training run on Ray.
        threads: Number of threads of each training run on the CPU, in processes of this machine; None chooses it by a
            short probe.
        retries: Number of times that a training run whose process was ended is started again.
        trial_timeout: Longest duration of an evaluation in seconds, after which it is stopped and fails; None sets no
            limit.
    """

    engine: str = PROCESSES
    workers: int | None = None
    address: str = "auto"
    trial_cpus: float = 1.0
    trial_gpus: float = 0.0
    threads: int | None = None
    retries: int = RETRIES
    trial_timeout: float | None = None


def check_engine(engine: str, given: frozenset[str]) -> None:
    """Check that an engine uses all options that a user gave.

    Args:
        engine: Name of the engine.
        given: Names of the options that the user gave, for example "trial_gpus".

    Raises:
        StudyError: The engine does not use one of them.
    """
    for name, user in ENGINE_OPTIONS.items():
        if name in given and user != engine:
            raise StudyError(
                f"{flag(name)} has no effect with --engine {engine}", f"leave it out, or choose --engine {user}"
            )


def check_cluster(engine: str, address: str) -> None:
    """Check that the Ray cluster of an engine answers, if the engine is Ray.

    Raises:
        MissingPackageError: The package ray is not installed.
        StudyError: There is no such cluster.
    """
    if engine == RAY:
        from nas.workers import ray_cluster

        ray_cluster.check_cluster(address)


def make_engine(
    engine: str,
    workers: int | None = None,
    address: str = "auto",
    trial_cpus: float = 1.0,
    trial_gpus: float = 0.0,
    threads: int | None = None,
    *,
    limit_s: float | None = None,
) -> "Workers":
    """Return the workers of an engine, not yet started.

    Args:
        engine: "processes" or "ray".
        workers: Number of evaluations at once; None takes 1 for processes, and what the cluster holds for Ray.
        address: Address of the Ray cluster, `HOST:PORT` or "auto".
        trial_cpus: Number of CPU cores of each evaluation on Ray.
        trial_gpus: Number of GPUs of each evaluation on Ray.
        threads: Number of threads of each worker process; None takes one for each of its CPU cores.
        limit_s: Longest duration of an evaluation, in seconds; None sets no limit.

    Raises:
        StudyError: The number of workers is not possible.
    """
    if engine == RAY:
        from nas.workers.ray_workers import RayWorkers

        return RayWorkers(address, trial_cpus, trial_gpus, workers, limit_s=limit_s)
    from nas.workers.processes import make_workers

    return make_workers(workers or 1, threads, limit_s)


def make_workers(options: EngineOptions) -> "Workers":
    """Return the workers that the options describe, not yet started.

    Raises:
        StudyError: The number of workers is not possible.
    """
    return make_engine(
        options.engine,
        options.workers,
        options.address,
        options.trial_cpus,
        options.trial_gpus,
        options.threads,
        limit_s=options.trial_timeout,
    )


def cores_per_worker(engine: str, workers: int | None = None) -> int | None:
    """Return the number of CPU cores that each evaluation may use; None where the Ray cluster decides."""
    from nas.workers.processes import find_cores

    return None if engine == RAY else max(1, len(find_cores()) // (workers or 1))
