"""Tests of connections and pools, with real agents and with fake ones that misbehave."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from nas.device import connection as connections
from nas.device.agent_process import SSH, agent_command, quoted_path
from nas.device.client import Connection, Meter, Pool, connect
from nas.device.machine import this_machine
from nas.device.messages import Bounds
from nas.device.spec import Address, Device, parse_address
from nas.errors import DeviceError, DeviceLostError
from nas.version import __version__
from tests.contracts.meter import MeterContract, check
from tests.device.fakes import Fakes, without_pauses
from tests.device.networks import ENDLESS, LARGE, LONG, QUICK, SMALL
from tests.device.processes import agents, busy, eventually, family, is_gone

SERVE = "while True:\n    send(times(receive()))\n"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class TestConnection(MeterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def meter(cls) -> Iterator[Meter]:
        with Connection(Address()) as connection:
            assert connection.machine
            yield connection


class TestPool(MeterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def meter(cls) -> Iterator[Meter]:
        with Pool([Connection(Address()), Connection(Address())]) as pool:
            yield pool


def test_one_address_is_a_connection_and_several_are_a_pool(fakes: Fakes) -> None:
    with connect([Address()]) as meter:
        assert isinstance(meter, Connection)
        assert meter.machine == this_machine(Device())
    places = [fakes.address("send_hello()\n" + SERVE, name) for name in ("one", "two", "three")]
    with connect(places) as meter:
        assert isinstance(meter, Pool)
        assert meter.machine.cpu == "Cortex-A76"
        check(meter.measure([SMALL], QUICK), 1)
    with pytest.raises(DeviceError, match="at least one"):
        connect([])
    with pytest.raises(DeviceError, match="this machine is given twice"):
        connect([Address(), Address()])


def test_closing_ends_all_processes_and_can_be_repeated() -> None:
    before = set(psutil.Process().children())
    connection = Connection(Address())
    connection.close()
    connection = Connection(Address())
    connection.measure([SMALL], QUICK)
    processes = [process for agent in agents() for process in family(agent)]
    assert len(processes) >= 3
    connection.close()
    connection.close()
    eventually(lambda: all(map(is_gone, processes)))
    assert set(psutil.Process().children()) <= before
    with pytest.raises(DeviceError, match="is closed"):
        connection.measure([SMALL], QUICK)


@pytest.mark.slow
def test_closing_ends_a_measurement_in_another_thread() -> None:
    connection = without_pauses(Address())
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [LARGE], ENDLESS)
        eventually(lambda: any(map(busy, agents())))
        connection.close()
        with pytest.raises(DeviceError):
            waiting.result(60)
    assert not agents()


@pytest.mark.slow
def test_a_killed_agent_is_restarted_and_its_request_repeated() -> None:
    pauses: list[float] = []
    with without_pauses(Address(), pauses) as connection, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [LARGE, SMALL], LONG)
        eventually(lambda: any(map(busy, agents())))
        agents()[0].kill()
        turns = waiting.result(60)
        assert len(turns.timings) == 2
        assert turns.reference.repeats > 5
        assert pauses == [0.5]
        check(connection.measure([SMALL], QUICK), 1)
        assert pauses == [0.5]


def test_an_agent_killed_between_two_requests_is_restarted() -> None:
    with without_pauses(Address()) as connection:
        check(connection.measure([SMALL], QUICK), 1)
        agents()[0].kill()
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    "failure",
    [
        "sys.exit(3)",
        "os.kill(os.getpid(), 9)",
        "send(times(receive())[:-9])\nos._exit(0)",
        "send(times(receive())[:-1])",
    ],
)
def test_a_request_is_tried_three_times(fakes: Fakes, failure: str) -> None:
    pauses: list[float] = []
    with without_pauses(fakes.address(f"start_count()\nsend_hello()\n{failure}\n"), pauses) as connection:
        with pytest.raises(DeviceLostError, match="ssh://board: the connection ended"):
            connection.measure([SMALL], QUICK)
        assert pauses == [0.5, 2.0]
        assert fakes.starts() == 3


def test_a_device_may_come_back_in_the_last_attempt(fakes: Fakes) -> None:
    program = (
        "if start_count() == 2:\n    sys.exit(255)\nsend_hello()\nif start_count() < 4:\n    sys.exit(255)\n" + SERVE
    )
    with without_pauses(fakes.address(program)) as connection:
        check(connection.measure([SMALL], QUICK), 1)


def test_a_device_that_was_never_reached_is_tried_once(fakes: Fakes) -> None:
    pauses: list[float] = []
    address = fakes.address(
        "start_count()\nprint('ssh: connect to host board port 22: No route', file=sys.stderr)\nsys.exit(255)"
    )
    with (
        without_pauses(address, pauses) as connection,
        pytest.raises(DeviceLostError, match="port 22: No route") as caught,
    ):
        connection.measure([SMALL], QUICK)
    assert "ssh board true" in caught.value.remedy
    assert (pauses, fakes.starts()) == ([], 1)


def test_a_reply_after_the_time_limit_is_a_loss(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REPLY_MARGIN", 0.2)
    address = fakes.address("start_count()\nsend_hello()\nreceive()\ntime.sleep(60)\n")
    with Connection(address, Bounds(seconds=0.1), pauses=(0,)) as connection:
        with pytest.raises(DeviceLostError, match=r"no reply came in 0\.3 s"):
            connection.measure([SMALL], QUICK)
        assert fakes.starts() == 2


def test_a_hello_reply_after_the_time_limit_is_an_error(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HELLO_SECONDS", 0.5)
    connection = Connection(fakes.address("time.sleep(60)"))
    with connection, pytest.raises(DeviceLostError, match=r"no reply came in 0\.5 s"):
        _ = connection.machine


def test_a_different_machine_after_a_restart_is_an_error(fakes: Fakes) -> None:
    program = """
if start_count() > 1:
    send_hello(Machine("Cortex-A53", "", 4, "", "Linux aarch64", "1.20.0"))
send_hello()
receive()
sys.exit(1)
"""
    with without_pauses(fakes.address(program)) as connection:
        with pytest.raises(DeviceError, match=r"another device than before: Cortex-A53.*, not Cortex-A76") as caught:
            connection.measure([SMALL], QUICK)
        assert not isinstance(caught.value, DeviceLostError)
        assert connection.machine.cpu == "Cortex-A76"
        assert fakes.starts() == 2


def test_a_different_number_of_cores_is_the_same_machine(fakes: Fakes) -> None:
    program = (
        "import attrs\nnow = start_count()\nsend_hello(attrs.evolve(machine, cores=now))\n"
        "if now < 2:\n    sys.exit(1)\n" + SERVE
    )
    with without_pauses(fakes.address(program)) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("send_hello(version='0.0.9')", ["hwnas 0.0.9 (protocol 3)", f"here is {__version__} (protocol 3)"]),
        ("send_hello(version='1.1.0')", ["hwnas 1.1.0"]),
        (
            'receive()\nsend(\'{"reply":"hello","protocol":3,"version":"9.9.9","box":{}}\\n\')',
            ["hwnas 9.9.9 (protocol 3)"],
        ),
    ],
)
def test_another_version_is_an_error(fakes: Fakes, hello: str, words: list[str]) -> None:
    with without_pauses(fakes.address(hello)) as connection, pytest.raises(DeviceError) as caught:
        _ = connection.machine
    for word in words:
        assert word in caught.value.problem
    series = ".".join(__version__.split(".")[:2])
    assert f"-m pip install 'hwnas[latency]=={series}.*'" in caught.value.remedy


def test_another_patch_version_is_accepted(fakes: Fakes) -> None:
    series = ".".join(__version__.split(".")[:2])
    with without_pauses(fakes.address(f"send_hello(version='{series}.77')\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    "before", ["Welcome!\n" * 199, "{}\n[]\n{'reply'\n", "no line's end", "\x00\xff\n", '{"a": 1}\n']
)
def test_output_of_the_shell_before_the_reply_is_skipped(fakes: Fakes, before: str) -> None:
    with without_pauses(fakes.address(f"send({before!r})\nsend_hello()\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("send('Welcome!\\n' * 300)\nsend_hello()", "something else than a reply: 'Welcome!"),
        ("receive()\nsend('{\"reply\":1}\\n')", "reply is 1"),
        ("receive()\nsend('{\"reply\":\\n')", "not one line of JSON"),
        ("send('y' * 5_000_000)\ntime.sleep(60)", "more than 4194304 bytes"),
        (
            "receive()\nsend(encode(ErrorReply(0, 'no such \\x1b[31mthing', 'buy one')))",
            r"ssh://board: no such \[31mthing",
        ),
        ("receive()\nsend(encode(TimingsReply(1, Turns((timing,), timing, 0.0, 6))))", "answers a hello with times"),
    ],
)
def test_an_invalid_hello_reply_is_an_error(fakes: Fakes, hello: str, words: str) -> None:
    with without_pauses(fakes.address(f"start_count()\n{hello}\ntime.sleep(60)")) as connection:
        with pytest.raises(DeviceError, match=words) as caught:
            connection.measure([SMALL], QUICK)
        assert caught.value.remedy
        assert str(caught.value).replace("\n", "").isprintable()
        assert not isinstance(caught.value, DeviceLostError)
        assert fakes.starts() == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("send('hello?\\n')", "something else than a reply: 'hello"),
        ("send('\\n')", "something else"),
        ("send('\\x00' * 5_000_000)", "more than 4194304 bytes"),
        ("send(' ' + times(receive()).decode())", "something else"),
        ("send(times(receive(), 1))", "times of 1 networks, and 2 were asked for"),
        ("send(times(receive(), 3))", "times of 3 networks"),
        ("send(times(receive()).replace(b'\"id\":1', b'\"id\":2'))", "a reply to another request"),
        ("send(encode(ErrorReply(7, 'x', 'y')))", "a reply to another request"),
        ("send(times(receive()).replace(b'1.0', b'0.0'))", "is 0.0, not a number above 0"),
        ("send(times(receive()).replace(b'2.0', b'NaN'))", "NaN is not a finite number"),
        ("send(times(receive()).replace(b'3.0', b'1e999'))", "is inf"),
        ("send(times(receive()).replace(b'3.0', b'-3.0'))", "is -3.0"),
        ("send(encode(HelloReply(machine, ('x',), '0.1.0')))", "a reply to another request"),
    ],
)
def test_an_invalid_reply_is_an_error(fakes: Fakes, answer: str, words: str) -> None:
    program = f"start_count()\nsend_hello()\n{answer}\ntime.sleep(60)"
    with without_pauses(fakes.address(program)) as connection:
        with pytest.raises(DeviceError, match=words) as caught:
            connection.measure([SMALL, LARGE], QUICK)
        assert not isinstance(caught.value, DeviceLostError)
        assert fakes.starts() == 1


def test_much_output_on_stderr_does_not_block(fakes: Fakes) -> None:
    with without_pauses(fakes.address(f"send_hello()\nsys.stderr.write('noise\\n' * 100_000)\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


def test_a_missing_agent_is_reported_with_the_install_command(fakes: Fakes) -> None:
    without = fakes.script(f'exec {sys.executable} -I -S "$@"', "without")
    cases: list[tuple[str, Callable[[Address], str]]] = [
        (without, lambda address: f"{address.python} -m pip install 'hwnas[latency]=="),
        ("/nowhere/python", lambda _: "name an interpreter"),
    ]
    for python, remedy in cases:
        address = Address(host="board", python=python)
        with without_pauses(address) as connection, pytest.raises(DeviceError) as caught:
            _ = connection.machine
        assert remedy(address) in caught.value.remedy
        assert not isinstance(caught.value, DeviceLostError)
    assert "cannot run /nowhere/python" in caught.value.problem


def test_a_missing_package_is_named(fakes: Fakes) -> None:
    said = "ModuleNotFoundError: No module named 'onnxruntime'"
    address = fakes.address(f"sys.stderr.write({said!r})\nsys.exit(1)\n")
    with (
        without_pauses(address) as connection,
        pytest.raises(DeviceError, match="No module named 'onnxruntime'") as caught,
    ):
        _ = connection.machine
    assert "onnx and onnxruntime" in caught.value.remedy


@pytest.mark.parametrize(("ssh", "words"), [("/nowhere/ssh", "cannot be run"), ("ssh 'x", "No closing quotation")])
def test_an_invalid_ssh_command_is_reported(monkeypatch: pytest.MonkeyPatch, ssh: str, words: str) -> None:
    monkeypatch.setenv(SSH, ssh)
    with Connection(Address(host="board")) as connection, pytest.raises(DeviceError, match=words) as caught:
        _ = connection.machine
    assert SSH in caught.value.remedy


def test_a_missing_provider_is_reported() -> None:
    with connect([parse_address("qnn")]) as meter, pytest.raises(DeviceError, match="no QNNExecutionProvider here"):
        _ = meter.machine


OPTIONS = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3"


@pytest.mark.parametrize(
    ("address", "environment", "command"),
    [
        ("ssh://me@board", {}, f"ssh {OPTIONS} -- me@board 'python3 -m nas.device'"),
        ("ssh://board:22", {SSH: ""}, f"ssh {OPTIONS} -p 22 -- board 'python3 -m nas.device'"),
        (
            "ssh://board?cpu,python=~/nas/bin/python",
            {SSH: "/opt/ssh -F 'my file'"},
            f"/opt/ssh -F 'my file' {OPTIONS} -- board '~/nas/bin/python -m nas.device'",
        ),
    ],
)
def test_the_command_for_ssh(address: str, environment: dict[str, str], command: str) -> None:
    assert agent_command(parse_address(address), environment) == shlex.split(command)


def test_the_command_for_this_machine() -> None:
    assert agent_command(Address(python="other"), {SSH: "x"}) == [sys.executable, "-m", "nas.device"]


@pytest.mark.parametrize(
    "path", ["a b", "$(touch x)", "`x`", "a;b", "'", '"', "-c", "~/a b", "~x/$(y)", "~$(x)/y", "~"]
)
def test_the_path_of_an_interpreter_is_always_one_word(path: str) -> None:
    words = subprocess.check_output(["sh", "-c", f"printf '%s\\n' {quoted_path(path)}"], text=True).splitlines()
    expected = path.replace("~", os.path.expanduser("~"), 1) if path.startswith("~/") else path  # noqa: PTH111
    assert words == [expected]


def test_a_pool_of_different_machines_is_rejected(fakes: Fakes) -> None:
    one = fakes.address("send_hello()\n" + SERVE, "one")
    two = fakes.address("send_hello(Machine('Cortex-A53', '', 4, '', 'Linux aarch64', '1.20.0'))\n" + SERVE, "two")
    with pytest.raises(DeviceError, match=r"ssh://one \(Cortex-A76.*ssh://two \(Cortex-A53.* differ"):
        connect([one, two])
    batched = Address(Device(batch=2), "three", python=fakes.address("send_hello()\n" + SERVE, "three").python)
    with pytest.raises(DeviceError, match=r"batch=2.* differ"):
        connect([one, batched])


def test_a_pool_with_an_unreachable_device_is_rejected(fakes: Fakes) -> None:
    with pytest.raises(DeviceError, match="ssh to ssh://two failed"):
        connect([fakes.address("send_hello()\n" + SERVE, "one"), fakes.address("sys.exit(255)", "two")])


FAILING = """
send_hello()
if start_count() > 1:
    sys.exit(1)
send(times(receive()))
receive()
sys.exit(1)
"""


def test_a_lost_device_leaves_the_pool_and_another_measures_its_batch(fakes: Fakes) -> None:
    """The good device answers only after the other one is lost, so that it does not measure everything before."""
    waiting = """
send_hello()
other = folder.parent / "failing" / "starts"
while True:
    request = receive()
    while not other.exists() or len(other.read_text()) < 3:
        time.sleep(0.01)
    send(times(request))
"""
    good, failing = fakes.address(waiting, "good"), fakes.address(FAILING, "failing")
    counts = [1, 2, 3, 1, 2, 3, 1, 2]
    with Pool([without_pauses(failing), without_pauses(good)]) as pool:
        for _ in range(2):
            each = list(pool.measure_each([[SMALL] * n for n in counts], QUICK))
            assert [len(turns.timings) for turns in each] == counts
    assert fakes.starts("failing") == 3


def test_the_loss_of_all_devices_is_one_error(fakes: Fakes) -> None:
    with Pool([without_pauses(fakes.address(FAILING, name)) for name in ("one", "two")]) as pool:
        each = pool.measure_each([[SMALL]] * 6, QUICK)
        assert len(list(zip(range(2), each, strict=False))) == 2
        with pytest.raises(
            DeviceLostError, match=r"no device of the pool is left.*ssh://(one|two): the connection ended"
        ):
            list(each)
        with pytest.raises(DeviceLostError, match="no device of the pool is left"):
            pool.measure([SMALL], QUICK)


def test_the_devices_of_a_pool_work_in_parallel(fakes: Fakes) -> None:
    """Each device waits until the other one has received a request too."""
    program = """
send_hello()
while True:
    request = receive()
    (folder.parent / f"{folder.name}.asked").touch()
    while len(list(folder.parent.glob("*.asked"))) < 2:
        time.sleep(0.01)
    send(times(request))
"""
    with Pool([without_pauses(fakes.address(program, name)) for name in ("one", "two")]) as pool:
        assert len(list(pool.measure_each([[SMALL]] * 4, QUICK))) == 4


@pytest.mark.slow
def test_a_killed_agent_of_a_pool_is_restarted() -> None:
    with Pool([without_pauses(Address()), without_pauses(Address())]) as pool, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(lambda: list(pool.measure_each([[SMALL], [LARGE], [SMALL] * 3], LONG)))
        eventually(lambda: any(map(busy, agents())))
        next(agent for agent in agents() if busy(agent)).kill()
        assert [len(turns.timings) for turns in waiting.result(60)] == [1, 1, 3]
