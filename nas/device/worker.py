"""One measurement in a process of its own, which may use up so much time and memory and no more."""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from nas.device.measurement import measure
from nas.device.protocol import Measure, Refusal, Reply, Timed, encode, parse_reply
from nas.device.spec import SHORT
from nas.device.validation import MAX_LINE
from nas.errors import NasError

# Drivers of accelerators reserve far more addresses than memory, so that a limit would stop all of them.
_LIMITED = (SHORT["cpu"], SHORT["xnnpack"])
_MIB = 2**20


def context() -> BaseContext:
    """How workers are begun: where it can be, forked from a process that has loaded everything and run nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([__name__])
    return found


def measure_apart(request: Measure) -> Reply:
    """Measure in a new process, and end it whatever happens."""
    begin = context()
    ours, theirs = begin.Pipe(duplex=False)
    process: BaseProcess = begin.Process(target=_work, args=(theirs, request), daemon=True)  # type: ignore[attr-defined]
    try:
        process.start()
        theirs.close()
        return _await(ours, process, request)
    finally:
        ours.close()
        if process.pid is not None:
            process.kill()
            process.join()


def _await(ours: Connection, process: BaseProcess, request: Measure) -> Reply:
    if not ours.poll(request.bounds.seconds):
        return Refusal(
            request.id,
            f"the measurement took longer than {request.bounds.seconds:g} s and was ended",
            "give a smaller network, fewer at a time, or more time",
        )
    try:
        return parse_reply(ours.recv_bytes(MAX_LINE))
    except (EOFError, OSError):
        process.join(5)
        return _death(process.exitcode, request)


def _death(code: int | None, request: Measure) -> Refusal:
    """What a worker's end without an answer says; below 0 it is the signal that ended it."""
    how = f"ended with code {code}"
    if code is not None and code < 0:
        how = f"was ended by {_SIGNALS.get(-code, f'signal {-code}')}"
    return Refusal(request.id, f"the process that measured {how}", _more_memory(request))


def _more_memory(request: Measure) -> str:
    given = f"{request.bounds.bytes // _MIB} MiB may be too little"
    return f"the machine may be out of memory, or {given}; give a smaller network or fewer at a time"


_SIGNALS = {number.value: number.name for number in signal.Signals}


def _work(replies: Connection, request: Measure) -> None:
    """What a worker does."""
    _end_with_the_agent()
    _limit_memory(request)
    replies.send_bytes(_checked(_answer(request)))


def _end_with_the_agent() -> None:
    """Nobody wants the answer of an agent that was killed, and the next one is not to be disturbed."""
    agent = multiprocessing.parent_process()
    if agent is not None:
        threading.Thread(target=_wait_and_end, args=(agent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _limit_memory(request: Measure) -> None:
    if request.device.provider not in _LIMITED:
        return
    with suppress(ImportError, ValueError, OSError):  # not every system has such limits
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        wanted = request.bounds.bytes if most == resource.RLIM_INFINITY else min(request.bounds.bytes, most)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _answer(request: Measure) -> Reply:
    try:
        return Timed(request.id, measure(request.fragments, request.device, request.aim))
    except NasError as error:
        return Refusal(request.id, error.problem, error.remedy)
    except Exception as error:  # the runtime's own exceptions have no common class
        return Refusal(request.id, f"{type(error).__name__}: {error}", _more_memory(request))


def _checked(reply: Reply) -> bytes:
    """A reply's line; times that are none, of a clock too coarse, are a refusal."""
    try:
        line = encode(reply)
        parse_reply(line)
    except NasError as error:
        return encode(Refusal(getattr(reply, "id", 0), f"the times are none: {error.problem}", "measure again"))
    return line
