"""The agent as a process of its own, spoken to line by line."""

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
from nas.device.protocol import Bounds, Hello, Measure, Refusal, Reply, Request, Timed, Welcome, encode, parse_reply
from nas.device.spec import Device
from nas.device.timing import Aim
from nas.device.validation import MAX_LINE
from nas.graph.fragment import Fragment
from nas.version import __version__
from tests.device.networks import ENDLESS, HUGE, LARGE, QUICK, SMALL
from tests.device.processes import busy, eventually, family, is_gone, workers

# What a device need not have.
ABSENT = ("torch", "optuna", "pandas", "plotly", "click", "rich", "yaml", "psutil", "sqlalchemy", "datasets", "PIL")
CPU, BOUNDS = Device(), Bounds()


@define
class Agent:
    """An agent under way."""

    process: "subprocess.Popen[bytes]"
    asked: int = field(default=0, init=False)

    @property
    def seen(self) -> psutil.Process:
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

    def begin(
        self, fragments: Sequence[Fragment], aim: Aim = QUICK, device: Device = CPU, bounds: Bounds = BOUNDS
    ) -> None:
        self.asked += 1
        self.send(encode(Measure(self.asked, device, tuple(fragments), aim, bounds)))

    def measures(self) -> None:
        """It still works."""
        self.begin([SMALL])
        reply = self.receive()
        assert isinstance(reply, Timed), reply
        assert reply.id == self.asked

    def refuses(self, line: bytes | Request, *words: str) -> None:
        self.told(self.ask(line), *words)

    def told(self, reply: Reply, *words: str) -> None:
        assert isinstance(reply, Refusal), reply
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
    """Its stdin ends, and nothing of it is left."""
    everyone = family(agent.seen) if agent.process.poll() is None else []
    for pipe in (agent.process.stdin, agent.process.stdout, agent.process.stderr):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    agent.process.wait(10)
    eventually(lambda: all(map(is_gone, everyone)))


def test_a_hello_tells_the_machine(agent: Agent) -> None:
    reply = agent.ask(Hello(Device()))
    assert isinstance(reply, Welcome)
    assert reply.machine == this_machine(Device())
    assert (reply.version, reply.protocol) == (__version__, 1)
    assert "CPUExecutionProvider" in reply.providers
    agent.refuses(Hello(Device("TPUExecutionProvider")), "no TPUExecutionProvider here")
    agent.refuses(Hello(Device(threads=1024)), "1024 threads")


def test_networks_are_timed_together(agent: Agent) -> None:
    agent.begin([SMALL, LARGE])
    reply = agent.receive()
    assert isinstance(reply, Timed)
    small, large = reply.turns.timings
    assert small.ratio < large.ratio
    assert {small.repeats, large.repeats, reply.turns.reference.repeats} == {5}
    for timing in reply.turns.timings:
        assert timing.median_ms / reply.turns.reference.median_ms == pytest.approx(timing.ratio, rel=0.9)


def test_bad_lines_are_answered_and_change_nothing(agent: Agent) -> None:
    for line, words in (
        (b"\n", "not one line of JSON"),
        (b"import os\n", "not one line of JSON"),
        (b"\xff\x00\n", "not one line of JSON"),
        (b"x" * (2 * MAX_LINE) + b"\n", "more than"),
        (b'{"request":"stop"}\n', "not one of hello, measure"),
        (b'{"request":"hello","device":"tpu"}\n', "is no device"),
        (b'{"request":"measure","id":1}\n', "no key"),
    ):
        agent.refuses(line, words)
    agent.measures()
    for _ in range(3):
        agent.send(b"x\n")
    agent.begin([SMALL])
    assert [type(agent.receive()) for _ in range(4)] == [Refusal, Refusal, Refusal, Timed]


def test_what_is_too_large_is_refused_and_not_built(agent: Agent) -> None:
    agent.begin([SMALL, HUGE], bounds=Bounds(seconds=20))
    agent.told(agent.receive(), "in one activation", "are let in")
    agent.begin([SMALL], device=Device(batch=4096, threads=1024))
    agent.told(agent.receive(), "threads")
    agent.measures()


def test_too_little_memory_is_told(agent: Agent) -> None:
    agent.begin([LARGE], bounds=Bounds(bytes=2**20))
    agent.told(agent.receive(), "MiB may be too little")
    agent.measures()


def test_a_limit_of_time_ends_the_measurement(agent: Agent) -> None:
    agent.begin([LARGE], ENDLESS, bounds=Bounds(seconds=2))
    eventually(lambda: busy(agent.seen))
    (worker,) = workers(agent.seen)
    agent.told(agent.receive(), "took longer than 2 s and was ended")
    assert is_gone(worker)
    agent.measures()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_measurement_that_is_killed_is_told_and_the_next_one_works(agent: Agent, number: signal.Signals) -> None:
    agent.begin([LARGE], ENDLESS)
    eventually(lambda: busy(agent.seen))
    workers(agent.seen)[0].send_signal(number)
    agent.told(agent.receive(), f"was ended by {number.name}", "out of memory")
    agent.measures()


def close_stdout(agent: Agent) -> None:
    assert agent.process.stdin is not None
    assert agent.process.stdout is not None
    agent.process.stdout.close()


def by_signal(number: signal.Signals) -> Callable[[Agent], None]:
    return lambda agent: agent.process.send_signal(number)


ENDS = {"stdout": close_stdout} | {
    number.name: by_signal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
}


@pytest.mark.parametrize("how", ENDS)
def test_whatever_ends_it_ends_the_measurement_too(agent: Agent, how: str) -> None:
    agent.begin([LARGE], ENDLESS)
    eventually(lambda: busy(agent.seen))
    everyone = family(agent.seen)
    assert len(everyone) >= 3
    ENDS[how](agent)
    eventually(lambda: all(map(is_gone, everyone)))
    agent.process.wait(5)
    assert agent.process.stderr is not None
    assert b"Traceback" not in agent.process.stderr.read()


def test_the_end_of_stdin_ends_it_after_the_last_answer() -> None:
    lines = encode(Hello(Device())) + encode(Measure(3, Device(), (SMALL,), QUICK)) + b'{"request":'
    agent = start()
    everyone = family(agent.seen)
    with agent.process as process:
        out, err = process.communicate(lines, timeout=60)
    assert process.returncode == 0
    assert [type(parse_reply(line)) for line in out.splitlines()] == [Welcome, Timed, Refusal]
    assert err == b""
    eventually(lambda: all(map(is_gone, everyone)))


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_nothing_is_needed_but_the_runtime_and_nothing_else_gets_onto_stdout(tmp_path: Path, precision: str) -> None:
    """Every process of the agent prints, in Python and below it, and finds none of the absent packages."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        "if '-c' in sys.orig_argv or 'nas.device' in sys.orig_argv:\n"
        "    import atexit\n"
        "    atexit.register(lambda: os.write(1, b'below\\n'))\n"
        "    import threading\n"
        "    threading.Timer(0.2, lambda: (print('noise', flush=True), os.system('echo noise'))).start()\n"
    )
    agent = start(PYTHONPATH=str(tmp_path))
    device = Device(precision=precision)
    lines = encode(Measure(1, device, (SMALL,), QUICK)) * 2
    with agent.process as process:
        out, err = process.communicate(lines, timeout=60)
    replies = [parse_reply(line) for line in out.splitlines()]
    assert [type(reply) for reply in replies] == [Timed, Timed], replies
    assert b"noise" in err
