"""Connections and pools, over real agents and over some that are not what they should be."""

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
from nas.device.agent_process import SSH, command_for, quoted
from nas.device.client import Connection, Meter, Pool, connect
from nas.device.machine import this_machine
from nas.device.protocol import Bounds
from nas.device.spec import Address, Device, parse_address
from nas.errors import DeviceError, DeviceLostError
from nas.version import __version__
from tests.contracts.meter import MeterContract, check
from tests.device.fakes import Fakes, hasty
from tests.device.networks import ENDLESS, LARGE, LONG, QUICK, SMALL
from tests.device.processes import agents, busy, eventually, family, is_gone

SERVE = "while True:\n    say(times(hear()))\n"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
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
    places = [fakes.address("greet()\n" + SERVE, name) for name in ("one", "two", "three")]
    with connect(places) as meter:
        assert isinstance(meter, Pool)
        assert meter.machine.cpu == "Cortex-A76"
        check(meter.measure([SMALL], QUICK), 1)
    with pytest.raises(DeviceError, match="at least one"):
        connect([])
    with pytest.raises(DeviceError, match="this machine is given twice"):
        connect([Address(), Address()])


def test_closing_leaves_nothing_and_can_be_done_twice() -> None:
    before = set(psutil.Process().children())
    connection = Connection(Address())
    connection.close()
    connection = Connection(Address())
    connection.measure([SMALL], QUICK)
    everyone = [process for agent in agents() for process in family(agent)]
    assert len(everyone) >= 3
    connection.close()
    connection.close()
    eventually(lambda: all(map(is_gone, everyone)))
    assert set(psutil.Process().children()) <= before
    with pytest.raises(DeviceError, match="is closed"):
        connection.measure([SMALL], QUICK)


@pytest.mark.slow
def test_closing_ends_a_measurement_in_another_thread() -> None:
    connection = hasty(Address())
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [LARGE], ENDLESS)
        eventually(lambda: any(map(busy, agents())))
        connection.close()
        with pytest.raises(DeviceError):
            waiting.result(10)
    assert not agents()


@pytest.mark.slow
def test_an_agent_that_is_killed_is_started_again_and_asked_again() -> None:
    pauses: list[float] = []
    with hasty(Address(), pauses) as connection, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [LARGE, SMALL], LONG)
        eventually(lambda: any(map(busy, agents())))
        agents()[0].kill()
        turns = waiting.result(30)
        assert len(turns.timings) == 2
        assert turns.reference.repeats > 5
        assert pauses == [0.5]
        check(connection.measure([SMALL], QUICK), 1)
        assert pauses == [0.5]


def test_an_agent_that_is_killed_between_two_requests_is_not_noticed() -> None:
    with hasty(Address()) as connection:
        check(connection.measure([SMALL], QUICK), 1)
        agents()[0].kill()
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    "death",
    ["sys.exit(3)", "os.kill(os.getpid(), 9)", "say(times(hear())[:-9])\nos._exit(0)", "say(times(hear())[:-1])"],
)
def test_it_is_tried_three_times(fakes: Fakes, death: str) -> None:
    pauses: list[float] = []
    with hasty(fakes.address(f"life()\ngreet()\n{death}\n"), pauses) as connection:
        with pytest.raises(DeviceLostError, match="ssh://board: the connection ended"):
            connection.measure([SMALL], QUICK)
        assert pauses == [0.5, 2.0]
        assert fakes.lives() == 3


def test_it_may_come_back_late(fakes: Fakes) -> None:
    program = "if life() == 2:\n    sys.exit(255)\ngreet()\nif life() < 4:\n    sys.exit(255)\n" + SERVE
    with hasty(fakes.address(program)) as connection:
        check(connection.measure([SMALL], QUICK), 1)


def test_what_was_never_reached_is_not_tried_again(fakes: Fakes) -> None:
    pauses: list[float] = []
    address = fakes.address(
        "life()\nprint('ssh: connect to host board port 22: No route', file=sys.stderr)\nsys.exit(255)"
    )
    with hasty(address, pauses) as connection, pytest.raises(DeviceLostError, match="port 22: No route") as told:
        connection.measure([SMALL], QUICK)
    assert "ssh board true" in told.value.remedy
    assert (pauses, fakes.lives()) == ([], 1)


def test_no_answer_in_time_is_a_loss(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ALLOWANCE", 0.2)
    address = fakes.address("life()\ngreet()\nhear()\ntime.sleep(60)\n")
    with Connection(address, Bounds(seconds=0.1), pauses=(0,)) as connection:
        with pytest.raises(DeviceLostError, match=r"no answer came in 0\.3 s"):
            connection.measure([SMALL], QUICK)
        assert fakes.lives() == 2


def test_no_hello_in_time_is_an_error(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HELLO_SECONDS", 0.5)
    connection = Connection(fakes.address("time.sleep(60)"))
    with connection, pytest.raises(DeviceLostError, match=r"no answer came in 0\.5 s"):
        _ = connection.machine


def test_another_machine_than_before_is_an_error(fakes: Fakes) -> None:
    program = """
if life() > 1:
    greet(Machine("Cortex-A53", "", 4, "", "Linux aarch64", "1.20.0"))
greet()
hear()
sys.exit(1)
"""
    with hasty(fakes.address(program)) as connection:
        with pytest.raises(DeviceError, match=r"another device than before: Cortex-A53.*, not Cortex-A76") as told:
            connection.measure([SMALL], QUICK)
        assert not isinstance(told.value, DeviceLostError)
        assert connection.machine.cpu == "Cortex-A76"
        assert fakes.lives() == 2


def test_more_or_fewer_cores_are_no_other_machine(fakes: Fakes) -> None:
    program = (
        "import attrs\nnow = life()\ngreet(attrs.evolve(machine, cores=now))\nif now < 2:\n    sys.exit(1)\n" + SERVE
    )
    with hasty(fakes.address(program)) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("greet(version='0.0.9')", ["hwnas 0.0.9 (protocol 1)", f"here is {__version__} (protocol 1)"]),
        ("greet(version='1.1.0')", ["hwnas 1.1.0"]),
        (
            'hear()\nsay(\'{"reply":"hello","protocol":2,"version":"9.9.9","box":{}}\\n\')',
            ["hwnas 9.9.9 (protocol 2)"],
        ),
    ],
)
def test_another_version_is_an_error(fakes: Fakes, hello: str, words: list[str]) -> None:
    with hasty(fakes.address(hello)) as connection, pytest.raises(DeviceError) as told:
        _ = connection.machine
    for word in words:
        assert word in told.value.problem
    series = ".".join(__version__.split(".")[:2])
    assert f"-m pip install 'hwnas[latency]=={series}.*'" in told.value.remedy


def test_another_patch_version_is_none(fakes: Fakes) -> None:
    series = ".".join(__version__.split(".")[:2])
    with hasty(fakes.address(f"greet(version='{series}.77')\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    "before", ["Welcome!\n" * 199, "{}\n[]\n{'reply'\n", "no line's end", "\x00\xff\n", '{"a": 1}\n']
)
def test_what_a_shell_prints_first_is_passed_over(fakes: Fakes, before: str) -> None:
    with hasty(fakes.address(f"say({before!r})\ngreet()\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("say('Welcome!\\n' * 300)\ngreet()", "something else: 'Welcome!"),
        ("hear()\nsay('{\"reply\":1}\\n')", "reply is 1"),
        ("hear()\nsay('{\"reply\":\\n')", "not one line of JSON"),
        ("say('y' * 5_000_000)\ntime.sleep(9)", "more than 4194304 bytes"),
        ("hear()\nsay(encode(Refusal(0, 'no such \\x1b[31mthing', 'buy one')))", r"ssh://board: no such \[31mthing"),
        ("hear()\nsay(encode(Timed(1, Turns((timing,), timing, 0.0, 6))))", "answers a hello with times"),
    ],
)
def test_a_hello_that_is_none_is_an_error(fakes: Fakes, hello: str, words: str) -> None:
    with hasty(fakes.address(f"life()\n{hello}\ntime.sleep(60)")) as connection:
        with pytest.raises(DeviceError, match=words) as told:
            connection.measure([SMALL], QUICK)
        assert told.value.remedy
        assert str(told.value).replace("\n", "").isprintable()
        assert not isinstance(told.value, DeviceLostError)
        assert fakes.lives() == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("say('hello?\\n')", "something else: 'hello"),
        ("say('\\n')", "something else"),
        ("say('\\x00' * 5_000_000)", "more than 4194304 bytes"),
        ("say(' ' + times(hear()).decode())", "something else"),
        ("say(times(hear(), 1))", "times of 1 networks, and 2 were asked for"),
        ("say(times(hear(), 3))", "times of 3 networks"),
        ("say(times(hear()).replace(b'\"id\":1', b'\"id\":2'))", "something else than was asked"),
        ("say(encode(Refusal(7, 'x', 'y')))", "something else than was asked"),
        ("say(times(hear()).replace(b'1.0', b'0.0'))", "is 0.0, not a number above 0"),
        ("say(times(hear()).replace(b'2.0', b'NaN'))", "NaN is no number"),
        ("say(times(hear()).replace(b'3.0', b'1e999'))", "is inf"),
        ("say(times(hear()).replace(b'3.0', b'-3.0'))", "is -3.0"),
        ("say(encode(Welcome(machine, ('x',), '0.1.0')))", "something else than was asked"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_no_time(fakes: Fakes, answer: str, words: str) -> None:
    program = f"life()\ngreet()\n{answer}\ntime.sleep(60)"
    with hasty(fakes.address(program)) as connection:
        with pytest.raises(DeviceError, match=words) as told:
            connection.measure([SMALL, LARGE], QUICK)
        assert not isinstance(told.value, DeviceLostError)
        assert fakes.lives() == 1


def test_much_on_stderr_stops_nobody(fakes: Fakes) -> None:
    with hasty(fakes.address(f"greet()\nsys.stderr.write('noise\\n' * 100_000)\n{SERVE}")) as connection:
        check(connection.measure([SMALL], QUICK), 1)


def test_an_agent_that_is_not_there_is_told_with_what_to_install(fakes: Fakes) -> None:
    without = fakes.script(f'exec {sys.executable} -I -S "$@"', "without")
    cases: list[tuple[str, Callable[[Address], str]]] = [
        (without, lambda address: f"{address.python} -m pip install 'hwnas[latency]=="),
        ("/nowhere/python", lambda _: "name an interpreter"),
    ]
    for python, remedy in cases:
        address = Address(host="board", python=python)
        with hasty(address) as connection, pytest.raises(DeviceError) as told:
            _ = connection.machine
        assert remedy(address) in told.value.remedy
        assert not isinstance(told.value, DeviceLostError)
    assert "cannot run /nowhere/python" in told.value.problem


def test_a_missing_package_is_named(fakes: Fakes) -> None:
    said = "ModuleNotFoundError: No module named 'onnxruntime'"
    address = fakes.address(f"sys.stderr.write({said!r})\nsys.exit(1)\n")
    with hasty(address) as connection, pytest.raises(DeviceError, match="No module named 'onnxruntime'") as told:
        _ = connection.machine
    assert "onnx and onnxruntime" in told.value.remedy


@pytest.mark.parametrize(("ssh", "words"), [("/nowhere/ssh", "cannot be run"), ("ssh 'x", "No closing quotation")])
def test_a_bad_command_for_ssh_is_told(monkeypatch: pytest.MonkeyPatch, ssh: str, words: str) -> None:
    monkeypatch.setenv(SSH, ssh)
    with Connection(Address(host="board")) as connection, pytest.raises(DeviceError, match=words) as told:
        _ = connection.machine
    assert SSH in told.value.remedy


def test_a_device_that_is_not_there_is_told() -> None:
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
    assert command_for(parse_address(address), environment) == shlex.split(command)


def test_the_command_for_this_machine() -> None:
    assert command_for(Address(python="other"), {SSH: "x"}) == [sys.executable, "-m", "nas.device"]


@pytest.mark.parametrize(
    "path", ["a b", "$(touch x)", "`x`", "a;b", "'", '"', "-c", "~/a b", "~x/$(y)", "~$(x)/y", "~"]
)
def test_an_interpreter_is_one_word_whatever_it_is(path: str) -> None:
    words = subprocess.check_output(["sh", "-c", f"printf '%s\\n' {quoted(path)}"], text=True).splitlines()
    expected = path.replace("~", os.path.expanduser("~"), 1) if path.startswith("~/") else path  # noqa: PTH111
    assert words == [expected]


def test_a_pool_of_other_machines_is_refused(fakes: Fakes) -> None:
    one = fakes.address("greet()\n" + SERVE, "one")
    two = fakes.address("greet(Machine('Cortex-A53', '', 4, '', 'Linux aarch64', '1.20.0'))\n" + SERVE, "two")
    with pytest.raises(DeviceError, match=r"ssh://one \(Cortex-A76.*ssh://two \(Cortex-A53.* differ"):
        connect([one, two])
    batched = Address(Device(batch=2), "three", python=fakes.address("greet()\n" + SERVE, "three").python)
    with pytest.raises(DeviceError, match=r"batch=2.* differ"):
        connect([one, batched])


def test_a_pool_without_one_of_its_devices_is_refused(fakes: Fakes) -> None:
    with pytest.raises(DeviceError, match="ssh to ssh://two failed"):
        connect([fakes.address("greet()\n" + SERVE, "one"), fakes.address("sys.exit(255)", "two")])


DYING = """
greet()
if life() > 1:
    sys.exit(1)
say(times(hear()))
hear()
sys.exit(1)
"""


def test_a_device_that_stays_dead_is_left_out_and_its_batch_done_by_another(fakes: Fakes) -> None:
    good, dying = (
        fakes.address(
            "greet()\nwhile True:\n    request = hear()\n    time.sleep(0.05)\n    say(times(request))\n", "good"
        ),
        fakes.address(DYING, "dying"),
    )
    counts = [1, 2, 3, 1, 2, 3, 1, 2]
    with Pool([hasty(dying), hasty(good)]) as pool:
        for _ in range(2):
            each = list(pool.measure_each([[SMALL] * n for n in counts], QUICK))
            assert [len(turns.timings) for turns in each] == counts
    assert fakes.lives("dying") == 3


def test_all_dead_is_one_error(fakes: Fakes) -> None:
    with Pool([hasty(fakes.address(DYING, name)) for name in ("one", "two")]) as pool:
        each = pool.measure_each([[SMALL]] * 6, QUICK)
        assert len(list(zip(range(2), each, strict=False))) == 2
        with pytest.raises(
            DeviceLostError, match=r"no device of the pool is left.*ssh://(one|two): the connection ended"
        ):
            list(each)
        with pytest.raises(DeviceLostError, match="no device of the pool is left"):
            pool.measure([SMALL], QUICK)


def test_a_pool_works_at_the_same_time(fakes: Fakes) -> None:
    """Each waits until the other has been asked too."""
    program = """
greet()
while True:
    request = hear()
    (folder.parent / f"{folder.name}.asked").touch()
    while len(list(folder.parent.glob("*.asked"))) < 2:
        time.sleep(0.01)
    say(times(request))
"""
    with Pool([hasty(fakes.address(program, name)) for name in ("one", "two")]) as pool:
        assert len(list(pool.measure_each([[SMALL]] * 4, QUICK))) == 4


@pytest.mark.slow
def test_an_agent_of_a_pool_that_is_killed_is_started_again() -> None:
    with Pool([hasty(Address()), hasty(Address())]) as pool, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(lambda: list(pool.measure_each([[SMALL], [LARGE], [SMALL] * 3], LONG)))
        eventually(lambda: any(map(busy, agents())))
        next(agent for agent in agents() if busy(agent)).kill()
        assert [len(turns.timings) for turns in waiting.result(60)] == [1, 1, 3]
