"""Strategies for random devices, addresses and messages."""

from hypothesis import strategies as st

from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS
from nas.device.machine import Machine
from nas.device.messages import (
    CHUNK_BYTES,
    DTYPES,
    MAX_FILE_BYTES,
    Bounds,
    ChunkReply,
    ErrorReply,
    FetchRequest,
    FileRequest,
    HelloReply,
    HelloRequest,
    KeptFile,
    LocalFileRequest,
    LogitsReply,
    MeasureRequest,
    MissingReply,
    ReceivedReply,
    Reply,
    Request,
    RunRequest,
    TimingsReply,
)
from nas.device.spec import MAX_BATCH, MAX_THREADS, PRECISIONS, PROVIDERS, Address, Device
from nas.device.timing import Aim, Timing, Turns
from nas.graph.fragment import Fragment
from tests.strategies import heads, stages, stems

TIMES = st.floats(1e-6, 1e9)
SHARES = st.floats(0, 1)
COUNTS = st.integers(1, 10**6)
NAMES = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,20}", fullmatch=True)
TEXTS = st.text(max_size=60)
SIDES = st.integers(1, 2**20)
POSITIONS = st.integers(0, MAX_FILE_BYTES)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
DATA = st.binary(max_size=80) | st.sampled_from([bytes(CHUNK_BYTES)])
BOUNDS = st.builds(Bounds, st.floats(1e-3, 86_400), st.integers(1, 2**53))
LINES = TEXTS.map(lambda text: " ".join("".join(char if char.isprintable() else " " for char in text).split()))


def devices() -> st.SearchStrategy[Device]:
    """Generate any device, whether or not a machine has it."""
    return st.builds(
        Device,
        provider=st.sampled_from([*PROVIDERS.values(), "VitisAIExecutionProvider"]),
        threads=st.integers(1, MAX_THREADS),
        batch=st.integers(1, MAX_BATCH),
        precision=st.sampled_from(PRECISIONS),
        cores=st.sets(st.integers(0, 9999), max_size=4).map(lambda cores: tuple(sorted(cores))),
    )


def addresses() -> st.SearchStrategy[Address]:
    """Generate any address, local or remote."""
    users = st.just("") | NAMES.map("{}@".format)
    return st.builds(Address, devices()) | st.builds(
        Address,
        devices(),
        st.builds("{}{}".format, users, NAMES),
        st.integers(0, 2**16 - 1),
        st.from_regex(r"(~[a-z]*/|/)?[A-Za-z0-9_.+-]*[a-z](/[A-Za-z0-9_.+~-]{1,9}){0,3}", fullmatch=True).filter(
            lambda path: path[0] != "-"
        ),
    )


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    """Generate a fragment whose parts are in a valid order."""
    first = draw(st.lists(stems(), max_size=1))
    middle = draw(st.lists(stages(), max_size=3))
    last = draw(st.lists(heads(), max_size=1) if first or middle else heads().map(lambda head: [head]))
    sides = st.integers(1, 512)
    shape = draw(st.builds(Shape, sides, sides, sides))
    return Fragment((*first, *middle, *last), shape, draw(COUNTS), draw(st.sampled_from(PADDINGS)))


def kept_files() -> st.SearchStrategy[KeptFile]:
    """Generate any name of a kept file."""
    return st.builds(KeptFile, DIGESTS, TEXTS, st.none() | st.tuples(SIDES, SIDES))


@st.composite
def measure_requests(draw: st.DrawFn) -> MeasureRequest:
    """Generate a request with one device for all networks, or one for each."""
    networks = draw(st.lists(fragments() | kept_files(), min_size=1, max_size=3))
    rounds = st.integers(5, 100_000)
    return MeasureRequest(
        draw(COUNTS),
        draw(devices()),
        tuple(networks),
        draw(st.builds(Aim, SHARES, rounds, rounds, st.floats(0, 3600))),
        draw(BOUNDS),
        tuple(draw(devices()) for _ in networks) if draw(st.booleans()) else (),
    )


def requests() -> st.SearchStrategy[Request]:
    """Generate any request."""
    shapes = st.tuples(SIDES, SIDES, SIDES, SIDES)
    return (
        st.builds(HelloRequest, devices())
        | st.builds(FileRequest, COUNTS, DIGESTS, st.integers(1, MAX_FILE_BYTES), POSITIONS, DATA)
        | st.builds(LocalFileRequest, COUNTS, DIGESTS, st.integers(1, MAX_FILE_BYTES), st.integers(0, 2**53))
        | measure_requests()
        | st.builds(RunRequest, COUNTS, devices(), kept_files(), DIGESTS, shapes, st.sampled_from(DTYPES), BOUNDS)
        | st.builds(FetchRequest, COUNTS, DIGESTS, POSITIONS)
    )


@st.composite
def timings(draw: st.DrawFn, ratios: st.SearchStrategy[float] = TIMES) -> Timing:
    """Generate a measurement whose times are in order."""
    times = sorted(draw(st.lists(TIMES, min_size=3, max_size=3)))
    return Timing(draw(ratios), draw(SHARES), times[0], times[1], times[2], draw(COUNTS))


@st.composite
def turns(draw: st.DrawFn) -> Turns:
    """Generate any result of a measurement, with the times of its rounds or without them."""
    several = tuple(draw(st.lists(timings(), min_size=1, max_size=4)))
    row = st.lists(TIMES, min_size=1 + len(several), max_size=1 + len(several)).map(tuple)
    rounds = tuple(draw(st.lists(row, max_size=3)))
    return Turns(several, draw(timings(st.just(1.0))), draw(SHARES), draw(COUNTS), rounds)


def machines() -> st.SearchStrategy[Machine]:
    """Generate any machine."""
    return st.builds(Machine, LINES, LINES, st.integers(1, 512), LINES, LINES, LINES)


def replies() -> st.SearchStrategy[Reply]:
    """Generate any reply."""
    versions = st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}(\.[0-9a-z]{1,5})?", fullmatch=True)
    names = st.lists(LINES, min_size=1, max_size=3).map(tuple)
    return (
        st.builds(HelloReply, machines(), names, versions)
        | st.builds(ReceivedReply, COUNTS, st.integers(1, MAX_FILE_BYTES))
        | st.builds(MissingReply, COUNTS, st.lists(DIGESTS, min_size=1, max_size=3).map(tuple))
        | st.builds(TimingsReply, COUNTS, turns())
        | st.builds(LogitsReply, COUNTS, DIGESTS, COUNTS, COUNTS, st.none() | COUNTS, LINES)
        | st.builds(ChunkReply, COUNTS, DATA)
        | st.builds(ErrorReply, st.integers(0, 10**6), TEXTS, TEXTS)
    )
