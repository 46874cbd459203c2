"""A worker process for each request that runs networks, with limits on its time and memory.

It runs native code of ONNX Runtime and of drivers on a network that another machine chose. A crash, an endless loop or
an exhausted memory then ends one worker process, while the agent reports an error and serves the next request.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from nas.device.file_store import FileStore
from nas.device.measurement import measure, run
from nas.device.memory import is_out_of_memory
from nas.device.messages import (
    MAX_FILE_BYTES,
    Bounds,
    ErrorReply,
    KeptFile,
    LogitsReply,
    MeasureRequest,
    Reply,
    RunRequest,
    TimingsReply,
    WorkRequest,
    needed_files,
)
from nas.device.model_file import ModelFile
from nas.device.protocol import encode, parse_reply
from nas.device.spec import PROVIDERS
from nas.device.validation import MAX_LINE
from nas.errors import DeviceError, NasError

Files = Mapping[str, bytes]

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


def work_in_process(request: WorkRequest, files: FileStore) -> Reply:
    """Answer a request in a new process, which has ended when this function returns or raises.

    Args:
        request: The request.
        files: Files of the agent, among them all that the request needs. Logits become another one.
    """
    mp_context = worker_context()
    own, others = mp_context.Pipe()
    process: BaseProcess = mp_context.Process(target=_run_worker, args=(others, request), daemon=True)  # type: ignore[attr-defined]
    try:
        process.start()
        # With this end open here too, the pipe would not report that the worker has died.
        others.close()
        for digest in needed_files(request):
            with files.content(digest) as content, suppress(OSError):  # A worker that has died reads no more.
                own.send_bytes(content)
        return _wait_for_reply(own, process, request, files)
    finally:
        own.close()
        if process.pid is not None:
            process.kill()
            process.join()


def _wait_for_reply(pipe: Connection, process: BaseProcess, request: WorkRequest, files: FileStore) -> Reply:
    if not pipe.poll(request.bounds.seconds):
        return ErrorReply(
            request.id,
            f"the measurement took longer than {request.bounds.seconds:g} s, its time limit, and was ended",
            "measure a smaller network, fewer networks or fewer images at a time",
        )
    try:
        reply = parse_reply(pipe.recv_bytes(MAX_LINE))
        if isinstance(reply, LogitsReply) and files.put(pipe.recv_bytes(MAX_FILE_BYTES)) != reply.digest:
            raise DeviceError("the worker sent other logits than it described", "run the images again")
        return reply
    except (EOFError, OSError):
        # The pipe closes a moment before the process has ended and has an exit code.
        process.join(5)
        return _exit_error(process.exitcode, request)


def _exit_error(code: int | None, request: WorkRequest) -> ErrorReply:
    """Return the error reply for a worker that ended without a reply.

    Args:
        code: Exit code of the process; a negative code is the number of the signal that ended it.
        request: The request that it worked on.
    """
    how = f"ended with code {code}"
    if code is not None and code < 0:
        how = f"was ended by {_SIGNALS.get(-code, f'signal {-code}')}"
    return ErrorReply(request.id, f"the worker process of the measurement {how}", _memory_hint(request.bounds))


def _memory_hint(bounds: Bounds) -> str:
    limit = f"its limit of {bounds.bytes // _MIB} MiB may be too little"
    return (
        f"the machine may be out of memory, or {limit}; give a smaller network, a smaller batch or fewer networks at a "
        "time"
    )


_SIGNALS = {number.value: number.name for number in signal.Signals}


def _run_worker(pipe: Connection, request: WorkRequest) -> None:
    """Work and send the reply; this is the main function of a worker process."""
    _exit_with_agent()
    _limit_memory(request)
    reply, data = _reply(pipe, request)
    pipe.send_bytes(_encode_checked(reply))
    if data:
        pipe.send_bytes(data)


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


def _limit_memory(request: WorkRequest) -> None:
    devices = [request.device, *(request.devices if isinstance(request, MeasureRequest) else ())]
    if any(device.provider not in _MEMORY_LIMITED for device in devices):
        return
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limits, and macOS rejects some values.
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = request.bounds.bytes if hard == resource.RLIM_INFINITY else min(request.bounds.bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reply(pipe: Connection, request: WorkRequest) -> tuple[Reply, bytes]:
    """Return the reply, and the bytes of the logits that belong to it."""
    try:
        files = {digest: pipe.recv_bytes(MAX_FILE_BYTES) for digest in needed_files(request)}
        return _WORK[type(request)](request, files)
    except NasError as error:
        return ErrorReply(request.id, error.problem, error.remedy), b""
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        problem = f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            problem = f"the device has too little memory for the request ({problem})"
        return ErrorReply(request.id, problem, _memory_hint(request.bounds)), b""


def _measured(request: MeasureRequest, files: Files) -> tuple[Reply, bytes]:
    networks = [_model_file(each, files) if isinstance(each, KeptFile) else each for each in request.networks]
    return TimingsReply(request.id, measure(networks, request.device, request.aim, request.devices)), b""


def _ran(request: RunRequest, files: Files) -> tuple[Reply, bytes]:
    if len(files[request.images]) != request.size:
        raise DeviceError(f"images of the shape {request.shape} have other bytes", "send the images again")
    images = np.frombuffer(files[request.images], request.dtype).reshape(request.shape)
    logits, peak_bytes = run(_model_file(request.model, files), images, request.device)
    data, (count, classes) = logits.astype("<f4").tobytes(), logits.shape
    digest = hashlib.sha256(data).hexdigest()
    return LogitsReply(request.id, digest, count, classes, peak_bytes, request.device.provider), data


def _model_file(kept: KeptFile, files: Files) -> ModelFile:
    return ModelFile(kept.name, files[kept.digest], kept.size)


_WORK: Mapping[type[WorkRequest], Callable[[Any, Files], tuple[Reply, bytes]]] = {
    MeasureRequest: _measured,
    RunRequest: _ran,
}


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
