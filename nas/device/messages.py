"""The messages between a client and an agent as records; `nas.device.protocol` reads and writes them."""

import math

from attrs import field, frozen

from nas.device.machine import Machine
from nas.device.spec import Device
from nas.device.timing import Aim, Turns
from nas.device.validation import printable
from nas.graph.fragment import Fragment

PROTOCOL = 3
# These limits bound the memory of a request before anything of it is built; `Limits` then checks the sizes of networks.
MAX_NETWORKS = 1024
MAX_PARTS = 2000
MAX_NAME = 200
MAX_FILE_BYTES = 1_000_000_000
CHUNK_BYTES = 2**20
"""Largest number of bytes of a file in one message; in base64 it is a third more."""
DTYPES = ("uint8", "float32")


@frozen
class Bounds:
    """Limit the resources of one measurement.

    Attributes:
        seconds: Wall-clock time in seconds, which includes building the graphs.
        bytes: Address space in bytes; it applies to providers that do not reserve far more than they use.
    """

    seconds: float = 600.0
    bytes: int = 16 * 2**30


def _end_of_name(name: str) -> str:
    return printable(name)[-MAX_NAME:].strip()


@frozen
class KeptFile:
    """Name an ONNX file that the agent keeps.

    Attributes:
        digest: SHA-256 of its bytes.
        name: Name for messages.
        size: Height and width of the images where the file leaves them open.
    """

    digest: str
    name: str = field(converter=_end_of_name)
    size: tuple[int, int] | None = None


Network = Fragment | KeptFile


@frozen
class HelloRequest:
    """Ask for the description of the machine."""

    device: Device


@frozen
class FileRequest:
    """Send a part of a file, which the agent keeps under its digest; the parts come in order, the first at offset 0.

    Attributes:
        digest: SHA-256 of the whole file.
        size: Number of bytes of the whole file.
        offset: Position of the part in the file.
        data: The part.
    """

    id: int
    digest: str
    size: int
    offset: int
    data: bytes = field(repr=False)


@frozen
class LocalFileRequest:
    """Name an open file of the process that started the agent, which keeps it under its digest.

    The number of a descriptor and not a path: a client elsewhere has no open files here, so that it cannot ask for any.
    The file must not change any more.

    Attributes:
        digest: SHA-256 of the file.
        size: Number of bytes of the file.
        descriptor: Number of the file descriptor in the process of the client.
    """

    id: int
    digest: str
    size: int
    descriptor: int


@frozen
class MeasureRequest:
    """Ask for the times of networks; see `nas.device.measurement.measure`."""

    id: int
    device: Device
    networks: tuple[Network, ...]
    aim: Aim
    bounds: Bounds = Bounds()
    devices: tuple[Device, ...] = ()


@frozen
class RunRequest:
    """Ask for the logits of images; see `nas.device.measurement.run`.

    Attributes:
        model: The ONNX file.
        images: Digest of the bytes of the images, in the order of C.
        shape: Shape of the images, with their number first.
        dtype: Type of their numbers.
    """

    id: int
    device: Device
    model: KeptFile
    images: str
    shape: tuple[int, int, int, int]
    dtype: str
    bounds: Bounds = Bounds()

    @property
    def size(self) -> int:
        """Return the number of bytes of the images."""
        return math.prod(self.shape) * (1 if self.dtype == "uint8" else 4)


@frozen
class FetchRequest:
    """Ask for a part of a file that the agent keeps."""

    id: int
    digest: str
    offset: int


@frozen
class HelloReply:
    """Describe the machine, its execution providers, the version of this package and the protocol."""

    machine: Machine
    providers: tuple[str, ...]
    version: str
    protocol: int = PROTOCOL


@frozen
class ReceivedReply:
    """State how many bytes of a file have come, all of them together."""

    id: int
    received: int


@frozen
class MissingReply:
    """Name the files that the agent does not keep, and that the request with this `id` needs."""

    id: int
    digests: tuple[str, ...]


@frozen
class TimingsReply:
    """Hold the measurement for the request with this `id`."""

    id: int
    turns: Turns


@frozen
class LogitsReply:
    """Describe the logits of images, which the agent keeps as a file of fp32 numbers `(count, classes)`.

    Attributes:
        digest: Digest of the file.
        count: Number of images.
        classes: Number of classes.
        peak_bytes: Growth of the peak resident memory by loading the file and running one batch; None if unknown.
        provider: Execution provider that the network ran on.
    """

    id: int
    digest: str
    count: int
    classes: int
    peak_bytes: int | None
    provider: str


@frozen
class ChunkReply:
    """Hold a part of a file."""

    id: int
    data: bytes = field(repr=False)


@frozen
class ErrorReply:
    """Explain why the request with this `id` failed; the `id` is 0 for a hello or an unreadable request."""

    id: int
    problem: str = field(converter=printable)
    remedy: str = field(default="", converter=printable)


WorkRequest = MeasureRequest | RunRequest
Request = HelloRequest | FileRequest | LocalFileRequest | MeasureRequest | RunRequest | FetchRequest
Reply = HelloReply | ReceivedReply | MissingReply | TimingsReply | LogitsReply | ChunkReply | ErrorReply


def needed_files(request: WorkRequest) -> tuple[str, ...]:
    """Return the digests of the files that a request needs, each once."""
    if isinstance(request, RunRequest):
        return (request.model.digest, request.images)
    return tuple(dict.fromkeys(each.digest for each in request.networks if isinstance(each, KeptFile)))
