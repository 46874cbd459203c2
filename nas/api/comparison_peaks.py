"""The peak memory of the files of a comparison, each in a process of its own."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from attrs import frozen

from nas.api.comparison_entries import Entry
from nas.api.comparison_records import Refusal
from nas.api.several import most_at_once, several_at_once
from nas.device.client import Connection, Pool
from nas.device.model_file import ModelFile
from nas.device.spec import PROVIDERS
from nas.errors import DeviceError, DeviceLostError

Say = Callable[[str], None]
# Memory of a process that runs a file once, in sizes of the file: the file itself, the copy that the check reads, and
# the session with its prepared weights. What activations take is small for files that are large.
_COPIES = 4
_OF_HOST = (PROVIDERS["cpu"], PROVIDERS["xnnpack"])


@frozen(eq=False, slots=False)
class Part:
    """Represent one file of one network.

    Attributes:
        entry: The network.
        precision: Precision of the file.
    """

    entry: Entry
    precision: str

    @property
    def name(self) -> str:
        """Return the name of the network."""
        return self.entry.network.name

    @cached_property
    def file(self) -> ModelFile:
        """Return the file as it is sent to a device; it keeps the digest of its bytes."""
        return self.entry.model_file(self.precision)


@frozen(eq=False)
class Peak:
    """Hold the peak memory of a file.

    Attributes:
        part: The file.
        bytes: Growth of the memory of a fresh process by loading and running the file; None if it is unknown.
    """

    part: Part
    bytes: int | None


def find_peaks(connection: Connection, parts: Sequence[Part], say: Say) -> tuple[list[Peak], list[Refusal]]:
    """Return the peak memory of each file that the device runs, and the refusals of the others, in their order.

    The memory of a process does not depend on what other processes do, so that the cores of this machine run several
    files at a time. Another machine, and a GPU, whose memory they would share, run one after the other.

    Args:
        connection: Connection to the device.
        parts: The files.
        say: Function that is called with a sentence about the progress.

    Raises:
        DeviceLostError: The device is lost.
    """
    say(f"running {len(parts)} files once for their peak memory")
    found = list(_found(connection, parts))
    return [each for each in found if isinstance(each, Peak)], [each for each in found if isinstance(each, Refusal)]


def _found(connection: Connection, parts: Sequence[Part]) -> Iterator[Peak | Refusal]:
    count = _most_at_once(connection, parts)
    if count == 1:  # Without threads, which an interrupt would wait for until the device has replied.
        yield from (_peak(connection, part) for part in parts)
        return
    # The pool is closed before the threads are waited for: they end when their agents do.
    with several_at_once(count) as threads, Pool([Connection(connection.address) for _ in range(count)]) as pool:
        yield from threads.map(lambda part: _peak(pool, part), parts)


def _most_at_once(connection: Connection, parts: Sequence[Part]) -> int:
    if connection.address.host or connection.device.provider not in _OF_HOST:
        return 1
    return min(len(parts), most_at_once(_COPIES * max(len(part.file.data) for part in parts)))


def _peak(runner: Connection | Pool, part: Part) -> Peak | Refusal:
    from nas.device.session import random_images

    checked = part.entry.files[part.precision]
    images = random_images((runner.device.batch, *checked.shape), checked.dtype)
    try:
        return Peak(part, runner.logits(part.file, images).peak_bytes)
    except DeviceLostError:
        raise
    except DeviceError as error:
        return Refusal(part.name, part.precision, error.problem)
