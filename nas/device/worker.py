"""A worker process for each measurement, with limits on its time and memory.

A measurement runs native code of ONNX Runtime and of drivers on a network that another machine chose. A crash, an
endless loop or an exhausted memory then ends one worker process, while the agent reports an error and serves the next
request.
"""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from nas.device.measurement import measure
from nas.device.protocol import ErrorReply, MeasureRequest, Reply, TimingsReply, encode, parse_reply
from nas.device.spec import PROVIDERS
from nas.device.validation import MAX_LINE
from nas.errors import NasError

# GPU drivers reserve far more address space than memory, so that a limit on address space would stop every measurement.
_MEMORY_LIMITED = (PROVIDERS["cpu"], PROVIDERS["xnnpack"])
_MIB = 2**20


def worker_context() -> BaseContext:
    """Return the context that starts workers.

    Where the system allows, a worker is forked from a server process that has imported everything and measured nothing:
    a fork of the agent itself could copy a lock that another thread holds, and a fresh interpreter would import ONNX
    Runtime again for each measurement.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([__name__])
    return forkserver


def measure_in_process(request: MeasureRequest) -> Reply:
    """Measure in a new process, which has ended when this function returns or raises."""
    mp_context = worker_context()
    receiver, sender = mp_context.Pipe(duplex=False)
    process: BaseProcess = mp_context.Process(target=_run_worker, args=(sender, request), daemon=True)  # type: ignore[attr-defined]
    try:
        process.start()
        # With this end open here too, the pipe would not report that the worker has died.
        sender.close()
        return _wait_for_reply(receiver, process, request)
    finally:
        receiver.close()
        if process.pid is not None:
            process.kill()
            process.join()


def _wait_for_reply(receiver: Connection, process: BaseProcess, request: MeasureRequest) -> Reply:
    if not receiver.poll(request.bounds.seconds):
        return ErrorReply(
            request.id,
            f"the measurement took longer than {request.bounds.seconds:g} s, its time limit, and was ended",
            "measure a smaller network or fewer networks at a time",
        )
    try:
        return parse_reply(receiver.recv_bytes(MAX_LINE))
    except (EOFError, OSError):
        # The pipe closes a moment before the process has ended and has an exit code.
        process.join(5)
        return _exit_error(process.exitcode, request)


def _exit_error(code: int | None, request: MeasureRequest) -> ErrorReply:
    """Return the error reply for a worker that ended without a reply.

    Args:
        code: Exit code of the process; a negative code is the number of the signal that ended it.
        request: The request that it worked on.
    """
    how = f"ended with code {code}"
    if code is not None and code < 0:
        how = f"was ended by {_SIGNALS.get(-code, f'signal {-code}')}"
    return ErrorReply(request.id, f"the worker process of the measurement {how}", _memory_hint(request))


def _memory_hint(request: MeasureRequest) -> str:
    limit = f"its limit of {request.bounds.bytes // _MIB} MiB may be too little"
    return f"the machine may be out of memory, or {limit}; measure a smaller network or fewer networks at a time"


_SIGNALS = {number.value: number.name for number in signal.Signals}


def _run_worker(replies: Connection, request: MeasureRequest) -> None:
    """Measure and send the reply; this is the main function of a worker process."""
    _exit_with_agent()
    _limit_memory(request)
    replies.send_bytes(_encode_checked(_reply(request)))


def _exit_with_agent() -> None:
    """End this process as soon as the agent ends.

    An agent that is killed with SIGKILL cannot end its worker. The worker would continue to use CPU cores and would
    disturb the measurement of the next agent on this machine.
    """
    agent = multiprocessing.parent_process()
    if agent is not None:
        threading.Thread(target=_exit_after, args=(agent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _limit_memory(request: MeasureRequest) -> None:
    if request.device.provider not in _MEMORY_LIMITED:
        return
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, and macOS rejects some values.
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = request.bounds.bytes if hard == resource.RLIM_INFINITY else min(request.bounds.bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reply(request: MeasureRequest) -> Reply:
    try:
        return TimingsReply(request.id, measure(request.fragments, request.device, request.aim))
    except NasError as error:
        return ErrorReply(request.id, error.problem, error.remedy)
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        return ErrorReply(request.id, f"{type(error).__name__}: {error}", _memory_hint(request))


def _encode_checked(reply: Reply) -> bytes:
    """Return the line of a reply, or of an error reply where the client would reject it.

    A clock that is too coarse for a tiny network measures a duration of zero, and its ratio is then infinite or NaN.
    """
    try:
        line = encode(reply)
        parse_reply(line)
    except NasError as error:
        problem = f"the measured times are invalid: {error.problem}"
        return encode(ErrorReply(getattr(reply, "id", 0), problem, "measure a larger network or a larger batch"))
    return line
