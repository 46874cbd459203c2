"""Tests of the agent as a process that receives requests line by line."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from attrs import define, field

from nas.device.machine import this_machine
from nas.device.messages import (
    Bounds,
    ErrorReply,
    HelloReply,
    HelloRequest,
    MeasureRequest,
    Reply,
    Request,
    TimingsReply,
)
from nas.device.protocol import encode, parse_reply
from nas.device.spec import Device
from nas.device.timing import Aim
from nas.device.validation import MAX_LINE
from nas.graph.fragment import Fragment
from nas.version import __version__
from tests.device.networks import ENDLESS, HUGE, LARGE, QUICK, SMALL
from tests.device.processes import busy, eventually, family, is_gone, workers

# Packages that a device does not need.
ABSENT = ("torch", "optuna", "pandas", "plotly", "click", "rich", "yaml", "psutil", "sqlalchemy", "datasets", "PIL")
CPU, BOUNDS = Device(), Bounds()


@define
class Agent:
    """Represent a running agent."""

    process: "subprocess.Popen[bytes]"
    asked: int = field(default=0, init=False)

    @property
    def psutil_process(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self) -> Reply:
        assert self.process.stdout is not None
        return parse_reply(self.process.stdout.readline())

    def ask(self, line: bytes | Request) -> Reply:
        self.send(line if isinstance(line, bytes) else encode(line))
        return self.receive()

    def send_measure(
        self, fragments: Sequence[Fragment], aim: Aim = QUICK, device: Device = CPU, bounds: Bounds = BOUNDS
    ) -> None:
        self.asked += 1
        self.send(encode(MeasureRequest(self.asked, device, tuple(fragments), aim, bounds)))

    def assert_measures(self) -> None:
        """Check that the agent still measures."""
        self.send_measure([SMALL])
        reply = self.receive()
        assert isinstance(reply, TimingsReply), reply
        assert reply.id == self.asked

    def assert_rejected(self, line: bytes | Request, *words: str) -> None:
        self.assert_error(self.ask(line), *words)

    def assert_error(self, reply: Reply, *words: str) -> None:
        assert isinstance(reply, ErrorReply), reply
        assert reply.remedy
        for word in words:
            assert word in reply.problem + reply.remedy


def start(**environment: str) -> Agent:
    return Agent(
        subprocess.Popen(
            [sys.executable, "-m", "nas.device"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
    )


@pytest.fixture(name="agent")
def _agent() -> Iterator[Agent]:
    agent = start()
    yield agent
    end(agent)


def end(agent: Agent) -> None:
    """Close the pipes of an agent and check that all its processes end."""
    processes = family(agent.psutil_process) if agent.process.poll() is None else []
    for pipe in (agent.process.stdin, agent.process.stdout, agent.process.stderr):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    agent.process.wait(60)
    eventually(lambda: all(map(is_gone, processes)))


def test_a_hello_reply_describes_the_machine(agent: Agent) -> None:
    reply = agent.ask(HelloRequest(Device()))
    assert isinstance(reply, HelloReply)
    assert reply.machine == this_machine(Device())
    assert (reply.version, reply.protocol) == (__version__, 3)
    assert "CPUExecutionProvider" in reply.providers
    agent.assert_rejected(HelloRequest(Device("TPUExecutionProvider")), "no TPUExecutionProvider here")
    agent.assert_rejected(HelloRequest(Device(threads=1024)), "1024 threads")


def test_networks_are_timed_together(agent: Agent) -> None:
    agent.send_measure([SMALL, LARGE])
    reply = agent.receive()
    assert isinstance(reply, TimingsReply)
    small, large = reply.turns.timings
    assert small.ratio < large.ratio
    assert {small.repeats, large.repeats, reply.turns.reference.repeats} == {5}
    for timing in reply.turns.timings:
        assert timing.median_ms / reply.turns.reference.median_ms == pytest.approx(timing.ratio, rel=0.9)


def test_invalid_lines_get_error_replies_and_change_nothing(agent: Agent) -> None:
    for line, words in (
        (b"\n", "not one line of JSON"),
        (b"import os\n", "not one line of JSON"),
        (b"\xff\x00\n", "not one line of JSON"),
        (b"x" * (2 * MAX_LINE) + b"\n", "more than"),
        (b'{"request":"stop"}\n', "not one of hello, file, local, measure"),
        (b'{"request":"hello","device":"tpu"}\n', "is no device"),
        (b'{"request":"measure","id":1}\n', "no key"),
    ):
        agent.assert_rejected(line, words)
    agent.assert_measures()
    for _ in range(3):
        agent.send(b"x\n")
    agent.send_measure([SMALL])
    assert [type(agent.receive()) for _ in range(4)] == [ErrorReply, ErrorReply, ErrorReply, TimingsReply]


def test_a_network_that_is_too_large_is_rejected_and_not_built(agent: Agent) -> None:
    agent.send_measure([SMALL, HUGE], bounds=Bounds(seconds=20))
    agent.assert_error(agent.receive(), "in one activation", "are allowed")
    agent.send_measure([SMALL], device=Device(batch=4096, threads=1024))
    agent.assert_error(agent.receive(), "threads")
    agent.assert_measures()


def test_a_memory_limit_that_is_too_small_is_reported(agent: Agent) -> None:
    agent.send_measure([LARGE], bounds=Bounds(bytes=2**20))
    agent.assert_error(agent.receive(), "MiB may be too little")
    agent.assert_measures()


def test_the_time_limit_ends_the_measurement(agent: Agent) -> None:
    agent.send_measure([LARGE], ENDLESS, bounds=Bounds(seconds=2))
    eventually(lambda: busy(agent.psutil_process))
    (worker,) = workers(agent.psutil_process)
    agent.assert_error(agent.receive(), "took longer than 2 s, its time limit, and was ended")
    assert is_gone(worker)
    agent.assert_measures()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_measurement_is_reported_and_the_next_one_works(agent: Agent, number: signal.Signals) -> None:
    agent.send_measure([LARGE], ENDLESS)
    eventually(lambda: busy(agent.psutil_process))
    workers(agent.psutil_process)[0].send_signal(number)
    agent.assert_error(agent.receive(), f"was ended by {number.name}", "out of memory")
    agent.assert_measures()


def close_stdout(agent: Agent) -> None:
    assert agent.process.stdin is not None
    assert agent.process.stdout is not None
    agent.process.stdout.close()


def send_signal(number: signal.Signals) -> Callable[[Agent], None]:
    return lambda agent: agent.process.send_signal(number)


ENDINGS = {"stdout": close_stdout} | {
    number.name: send_signal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_end_of_the_agent_ends_the_measurement(agent: Agent, how: str) -> None:
    agent.send_measure([LARGE], ENDLESS)
    eventually(lambda: busy(agent.psutil_process))
    processes = family(agent.psutil_process)
    assert len(processes) >= 3
    ENDINGS[how](agent)
    eventually(lambda: all(map(is_gone, processes)))
    agent.process.wait(60)
    assert agent.process.stderr is not None
    assert b"Traceback" not in agent.process.stderr.read()


def test_the_end_of_stdin_ends_the_agent_after_the_last_reply() -> None:
    lines = encode(HelloRequest(Device())) + encode(MeasureRequest(3, Device(), (SMALL,), QUICK)) + b'{"request":'
    agent = start()
    processes = family(agent.psutil_process)
    with agent.process as process:
        out, err = process.communicate(lines, timeout=60)
    assert process.returncode == 0
    assert [type(parse_reply(line)) for line in out.splitlines()] == [HelloReply, TimingsReply, ErrorReply]
    assert err == b""
    eventually(lambda: all(map(is_gone, processes)))


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_agent_needs_only_the_runtime_and_writes_only_replies_to_stdout(tmp_path: Path, precision: str) -> None:
    """Every process of the agent prints, from Python and from native code, and cannot import the absent packages."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        "if '-c' in sys.orig_argv or 'nas.device' in sys.orig_argv:\n"
        "    import atexit\n"
        "    atexit.register(lambda: os.write(1, b'native\\n'))\n"
        "    import threading\n"
        "    threading.Timer(0.2, lambda: (print('noise', flush=True), os.system('echo noise'))).start()\n"
    )
    agent = start(PYTHONPATH=str(tmp_path))
    device = Device(precision=precision)
    lines = encode(MeasureRequest(1, device, (SMALL,), QUICK)) * 2
    with agent.process as process:
        out, err = process.communicate(lines, timeout=60)
    replies = [parse_reply(line) for line in out.splitlines()]
    assert [type(reply) for reply in replies] == [TimingsReply, TimingsReply], replies
    assert b"noise" in err
