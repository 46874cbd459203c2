"""A Ray cluster: how this process joins in without a word, and how many tasks the machines hold."""

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
ANSWER_S = 10.0  # for a machine to answer
PAUSES_S = (0.0, 2.0, 5.0)  # before a cluster's head is asked again whether it is there
START = (
    "begin one with `ray start --head`, let further machines join it with `ray start --address=HOST:PORT`, "
    "and name it as HOST:PORT"
)


@frozen
class Need:
    """What a task takes of the machine that it runs on.

    Attributes:
        cpus: processors; a fraction shares one.
        gpus: graphics cards; a fraction shares one.
    """

    cpus: float = field(default=1.0)
    gpus: float = field(default=0.0)

    def __attrs_post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or self.cpus + self.gpus == 0:
            raise StudyError(f"tasks of {self}", "give each a processor, a graphics card or a part of one")
        if self.gpus > 1 and self.gpus % 1:
            raise StudyError(f"tasks of {self}", "give each whole graphics cards, or a part of a single one")

    def __str__(self) -> str:
        return f"{self.cpus:g} processors" + (f" and {self.gpus:g} graphics cards" if self.gpus else "")

    @property
    def threads(self) -> int:
        """Of a task's libraries."""
        return max(1, int(self.cpus))

    def times_in(self, node: Mapping[str, Any]) -> int:
        """How many such tasks a node of `ray.nodes()` holds."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        shares = [node["Resources"].get(name, 0) / each for name, each in wanted.items() if each]
        return int(min(shares) + 1e-6) if node["Alive"] else 0


def import_ray() -> Any:
    """The package.

    Raises:
        MissingPackageError: it is absent.
    """
    try:
        return import_module("ray")
    except ImportError:
        raise MissingPackageError(
            "a cluster is reached through ray, which is absent", "pip install 'hwnas[ray]'"
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The package, connected; a connection that is there already is used and stays.

    Raises:
        MissingPackageError: Ray is absent.
        StudyError: there is no such cluster, or it does not take this machine.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    found = _find(ray, address)
    with _hushed(ray):
        try:
            _connect(ray, found)
            yield ray
        finally:
            ray.shutdown()


def is_here(node: Mapping[str, Any], ray: Any) -> bool:
    """Whether a node is on this process's machine; several may be."""
    own = ray.get_runtime_context().get_node_id()
    names = {each["NodeManagerHostname"] for each in ray.nodes() if each["NodeID"] == own}
    return node["NodeManagerHostname"] in names


def _find(ray: Any, address: str) -> str:
    """A cluster's host and port."""
    try:
        # Ray's own search takes an address from a file that may be older than the cluster's end.
        found = ray._private.services.canonicalize_bootstrap_address(address)
    except ConnectionError:
        raise StudyError("no Ray cluster runs on this machine", START) from None
    except (ValueError, OSError):
        found = None
    if found is None or "://" in found:
        remedy = f"write HOST:PORT, or {AUTO} on a machine of the cluster; what begins with ray:// is no such address"
        raise StudyError(f"{address!r} is not the address of a Ray cluster", remedy)
    if not answers(found):
        raise StudyError(f"no Ray cluster answers at {found if address == AUTO else address}", START)
    return str(found)


def is_there(address: str) -> bool:
    """Whether a cluster still has its head; one that is begun anew is waited for."""
    for pause in PAUSES_S:
        time.sleep(pause)
        if answers(address):
            return True
    return False


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would wait for more than a minute.
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, ValueError):
        return False
    return True


def _connect(ray: Any, address: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what later versions of Ray will do
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise StudyError(
            f"the Ray cluster at {address} does not take this process: {first_line(error)}",
            f"let this machine join it with `ray start --address={address}`, with the same Ray and Python as there",
        ) from None


@contextmanager
def _hushed(ray: Any) -> Iterator[None]:
    """Standard output stays the caller's: Ray would write there what becomes of its machines."""
    worker, logger = ray._private.worker, logging.getLogger("ray")
    usual, level = worker._worker_logs_enabled, logger.level
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = usual
        logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """Of an error of Ray's, which are long."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
