"""A Ray cluster: a connection to it that prints nothing, and the number of tasks that its machines hold."""

import logging
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from attrs import field, frozen

from nas.errors import MissingPackageError, StudyError

AUTO = "auto"
ANSWER_S = 10.0  # longest time to wait for a connection
PAUSES_S = (0.0, 2.0, 5.0)  # before each attempt to reach the head node of a cluster
START = (
    "start one with `ray start --head`, add further machines with `ray start --address=HOST:PORT`, "
    "and name it as HOST:PORT"
)


@frozen
class Need:
    """Describe what a task needs of the machine that it runs on.

    Attributes:
        cpus: Number of CPU cores; a fraction shares a core.
        gpus: Number of GPUs; a fraction shares a GPU.
    """

    cpus: float = field(default=1.0)
    gpus: float = field(default=0.0)

    def __attrs_post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or self.cpus + self.gpus == 0:
            raise StudyError(f"each task needs {self}", "give it a CPU core, a GPU, or a part of one")
        if self.gpus > 1 and self.gpus % 1:
            raise StudyError(f"each task needs {self}", "give it whole GPUs, or a part of a single GPU")

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU cores" + (f" and {self.gpus:g} GPUs" if self.gpus else "")

    @property
    def threads(self) -> int:
        """Return the number of threads of a task's libraries."""
        return max(1, int(self.cpus))

    def times_in(self, node: Mapping[str, Any]) -> int:
        """Return how many such tasks a node of `ray.nodes()` holds."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        shares = [node["Resources"].get(name, 0) / each for name, each in wanted.items() if each]
        # A ratio such as 0.3 / 0.1 is slightly below the whole number.
        return int(min(shares) + 1e-6) if node["Alive"] else 0


def import_ray() -> Any:
    """Return the package `ray`.

    Raises:
        MissingPackageError: The package is not installed.
    """
    try:
        return import_module("ray")
    except ImportError:
        raise MissingPackageError(
            "a Ray cluster needs the package ray, which is not installed", "pip install 'hwnas[ray]'"
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield the package, connected to a cluster; a connection that exists already is used and stays open.

    Raises:
        MissingPackageError: The package ray is not installed.
        StudyError: There is no such cluster, or it does not accept this machine.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    found = _find(ray, address)
    with _silenced(ray):
        try:
            _connect(ray, found)
            yield ray
        finally:
            ray.shutdown()


def check_cluster(address: str) -> None:
    """Check that a cluster answers, before long work is done for it.

    Raises:
        MissingPackageError: The package ray is not installed.
        StudyError: There is no such cluster.
    """
    ray = import_ray()
    if not ray.is_initialized():
        _find(ray, address)


def is_here(node: Mapping[str, Any], ray: Any) -> bool:
    """Return whether a node runs on this machine, which may have several nodes."""
    own = ray.get_runtime_context().get_node_id()
    names = {each["NodeManagerHostname"] for each in ray.nodes() if each["NodeID"] == own}
    return node["NodeManagerHostname"] in names


def _find(ray: Any, address: str) -> str:
    """Return the host and port of a cluster."""
    try:
        # Ray reads the address from a file that may be left over from a cluster that has ended.
        found = ray._private.services.canonicalize_bootstrap_address(address)
    except ConnectionError:
        raise StudyError("no Ray cluster runs on this machine", START) from None
    except (ValueError, OSError):
        found = None
    if found is None or "://" in found:
        remedy = f"write HOST:PORT, or {AUTO} on a machine of the cluster; an address with ray:// is not accepted"
        raise StudyError(f"{address!r} is not the address of a Ray cluster", remedy)
    if not answers(found):
        raise StudyError(f"no Ray cluster answers at {found if address == AUTO else address}", START)
    return str(found)


def is_there(address: str) -> bool:
    """Return whether the head node of a cluster answers; wait a few seconds for one that restarts."""
    for pause in PAUSES_S:
        time.sleep(pause)
        if answers(address):
            return True
    return False


def answers(address: str) -> bool:
    """Return whether a server listens at an address."""
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try for more than a minute.
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, ValueError):
        return False
    return True


def _connect(ray: Any, address: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):  # announcements of later versions of Ray
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise StudyError(
            f"the Ray cluster at {address} does not accept this process: {first_line(error)}",
            f"add this machine to it with `ray start --address={address}`, with the same Ray and Python as there",
        ) from None


@contextmanager
def _silenced(ray: Any) -> Iterator[None]:
    """Keep standard output for the caller: Ray would print messages about its machines there."""
    worker, logger = ray._private.worker, logging.getLogger("ray")
    usual, level = worker._worker_logs_enabled, logger.level
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = usual
        logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """Return the first line of an error; those of Ray have dozens."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
