"""Strategies for random devices, addresses and messages."""

from hypothesis import strategies as st

from nas.arch.layers import Shape
from nas.arch.spec import PADDINGS
from nas.device.machine import Machine
from nas.device.protocol import Bounds, ErrorReply, HelloReply, HelloRequest, MeasureRequest, TimingsReply
from nas.device.spec import MAX_BATCH, MAX_THREADS, PRECISIONS, PROVIDERS, Address, Device
from nas.device.timing import Aim, Timing, Turns
from nas.graph.fragment import Fragment
from tests.strategies import heads, stages, stems

TIMES = st.floats(1e-6, 1e9)
SHARES = st.floats(0, 1)
COUNTS = st.integers(1, 10**6)
NAMES = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,20}", fullmatch=True)
TEXTS = st.text(max_size=60)
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


def requests() -> st.SearchStrategy[HelloRequest | MeasureRequest]:
    """Generate any request."""
    rounds = st.integers(5, 100_000)
    return st.builds(HelloRequest, devices()) | st.builds(
        MeasureRequest,
        COUNTS,
        devices(),
        st.lists(fragments(), min_size=1, max_size=3).map(tuple),
        st.builds(Aim, SHARES, rounds, rounds, st.floats(0, 3600)),
        st.builds(Bounds, st.floats(1e-3, 86_400), st.integers(1, 2**53)),
    )


@st.composite
def timings(draw: st.DrawFn, ratios: st.SearchStrategy[float] = TIMES) -> Timing:
    """Generate a measurement whose times are in order."""
    times = sorted(draw(st.lists(TIMES, min_size=3, max_size=3)))
    return Timing(draw(ratios), draw(SHARES), times[0], times[1], times[2], draw(COUNTS))


def turns() -> st.SearchStrategy[Turns]:
    """Generate any result of a measurement."""
    several = st.lists(timings(), min_size=1, max_size=4).map(tuple)
    return st.builds(Turns, several, timings(st.just(1.0)), SHARES, COUNTS)


def machines() -> st.SearchStrategy[Machine]:
    """Generate any machine."""
    return st.builds(Machine, LINES, LINES, st.integers(1, 512), LINES, LINES, LINES)


def replies() -> st.SearchStrategy[HelloReply | TimingsReply | ErrorReply]:
    """Generate any reply."""
    versions = st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}(\.[0-9a-z]{1,5})?", fullmatch=True)
    names = st.lists(LINES, min_size=1, max_size=3).map(tuple)
    return (
        st.builds(HelloReply, machines(), names, versions)
        | st.builds(TimingsReply, COUNTS, turns())
        | st.builds(ErrorReply, st.integers(0, 10**6), TEXTS, TEXTS)
    )
