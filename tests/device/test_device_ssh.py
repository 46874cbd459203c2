"""Tests of measurements over a real OpenSSH connection to this machine."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas.device.agent_process import SSH
from nas.device.client import Connection, Meter, connect
from nas.device.machine import this_machine
from nas.device.spec import Address, Device, parse_address
from nas.errors import DeviceError, DeviceLostError
from tests.contracts.meter import MeterContract, check
from tests.device.fakes import without_pauses
from tests.device.networks import LARGE, LONG, QUICK, SMALL
from tests.device.processes import agents, busy, eventually, family, is_gone
from tests.device.sshd import Sshd, make_key, running


@pytest.fixture(name="sshd", scope="module")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with pytest.MonkeyPatch.context() as patch:
        for server in running(tmp_path_factory.mktemp("sshd")):
            patch.setenv(SSH, server.command)
            yield server


@pytest.fixture(name="own_sshd")
def _own_sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """Provide a server that a test may stop."""
    for server in running(tmp_path):
        monkeypatch.setenv(SSH, server.command)
        yield server


@pytest.mark.slow
class TestOverSsh(MeterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def meter(cls, sshd: Sshd) -> Iterator[Meter]:
        with Connection(sshd.address()) as connection:
            yield connection


def test_a_remote_device_is_measured_like_a_local_one(sshd: Sshd) -> None:
    address = sshd.address()
    with connect([parse_address(f"{address.place}?cpu,python={address.python}")]) as meter:
        assert meter.machine == this_machine(Device())
        check(meter.measure([SMALL, LARGE], QUICK), 2)
        remote = [process for agent in agents() for process in family(agent)]
    assert len(remote) >= 3
    eventually(lambda: all(map(is_gone, remote)))
    eventually(lambda: not sshd.sessions())


@pytest.mark.slow
def test_a_connection_that_breaks_during_a_measurement_is_restored(sshd: Sshd) -> None:
    pauses: list[float] = []
    with without_pauses(sshd.address(), pauses) as connection, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.measure, [LARGE, SMALL], LONG)
        eventually(lambda: any(map(busy, agents())))
        remote = [process for agent in agents() for process in family(agent)]
        for session in sshd.sessions():
            session.kill()
        eventually(lambda: all(map(is_gone, remote)))
        turns = waiting.result(60)
        assert len(turns.timings) == 2
        assert turns.reference.repeats > 5
        assert pauses == [0.5]
        check(connection.measure([SMALL], QUICK), 1)


def test_a_stopped_server_is_one_error(own_sshd: Sshd) -> None:
    pauses: list[float] = []
    with without_pauses(own_sshd.address(), pauses) as connection:
        check(connection.measure([SMALL], QUICK), 1)
        own_sshd.stop()
        with pytest.raises(DeviceLostError, match="Connection refused"):
            connection.measure([SMALL], QUICK)
        assert pauses == [0.5, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_unreachable_host_is_reported_quickly(host: str) -> None:
    begun = time.monotonic()
    with Connection(Address(host=host)) as connection, pytest.raises(DeviceError, match=f"ssh to ssh://{host} failed"):
        connection.measure([SMALL], QUICK)
    assert time.monotonic() - begun < 100  # ssh waits for 10 seconds, TCP alone for more than 120


def test_the_message_of_ssh_is_reported(own_sshd: Sshd) -> None:
    cases = (
        (own_sshd.address(python="/nowhere/python"), "cannot run /nowhere/python: .*not found|No such file"),
        (Address(host="127.0.0.1", port=1), "Connection refused"),
    )
    for address, words in cases:
        with Connection(address) as connection, pytest.raises(DeviceError, match=words):
            _ = connection.machine


def test_a_rejected_key_is_reported(own_sshd: Sshd) -> None:
    (own_sshd.folder / "authorized").write_text(make_key(own_sshd.folder / "other") + "\n")
    with Connection(own_sshd.address()) as connection, pytest.raises(DeviceError, match="Permission denied"):
        _ = connection.machine


def test_a_changed_host_key_is_reported(own_sshd: Sshd) -> None:
    other = make_key(own_sshd.folder / "other")
    (own_sshd.folder / "known").write_text(f"[127.0.0.1]:{own_sshd.port} {other}\n")
    with Connection(own_sshd.address()) as connection, pytest.raises(DeviceError, match="verification failed"):
        _ = connection.machine
