"""One process at a time searches a study; who is gone is found out."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any

import optuna
import psutil
import pytest

from nas.errors import StudyError
from nas.studies.lease import RUNNER, SHORTEST_S, Lease
from nas.studies.process_identity import _start, is_alive, runner


@pytest.fixture(name="process")
def _process() -> Any:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    with contextlib.suppress(ProcessLookupError):
        started.kill()
    started.wait()


def token_of(pid: int) -> str:
    node = runner().rsplit(" ", 2)[0]
    return f"{node} {pid} {_start(pid)}"


def test_this_process_is_alive() -> None:
    assert is_alive(runner())
    assert runner() == token_of(os.getpid())


def test_a_process_is_alive_until_it_ends_even_if_nobody_asks_about_it(process: "subprocess.Popen[bytes]") -> None:
    token = token_of(process.pid)
    assert is_alive(token)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
    assert psutil.pid_exists(process.pid)
    assert not is_alive(token)
    process.wait()
    assert not is_alive(token)


def test_another_process_of_the_same_number_is_not_it() -> None:
    node, pid, start = runner().rsplit(" ", 2)
    assert not is_alive(f"{node} {pid} {int(start) - 100}")


def test_processes_of_other_hosts_cannot_be_seen() -> None:
    assert is_alive("elsewhere 1 1.00") is None
    assert is_alive("a host with spaces 1 1.00") is None


@pytest.mark.parametrize("token", ["", "x", "a b", "host one 2", f"{runner().rsplit(' ', 2)[0]} one 2"])
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert is_alive(token) is (None if token == "host one 2" else False)  # noqa: S105 -- of another host


@pytest.fixture(name="study")
def _study() -> optuna.Study:
    return optuna.create_study(study_name="demo")


def hold(study: optuna.Study, token: str, silent_s: float = 0.0) -> None:
    study.set_user_attr(RUNNER, {"runner": token, "beat": time.time() - silent_s, "lasts_s": SHORTEST_S})


def test_a_study_is_taken_and_given_back(study: optuna.Study) -> None:
    lease = Lease(study)
    lease.take()
    assert study.user_attrs[RUNNER]["runner"] == runner()
    lease.end()
    assert not study.user_attrs[RUNNER]


def test_a_study_that_another_process_searches_is_refused_until_it_ends(
    study: optuna.Study, process: "subprocess.Popen[bytes]"
) -> None:
    hold(study, token_of(process.pid), silent_s=1e6)
    with pytest.raises(StudyError, match=f"is being searched by process {process.pid} on "):
        Lease(study).take()
    process.kill()
    process.wait()
    Lease(study).take()
    assert study.user_attrs[RUNNER]["runner"] == runner()


def test_a_study_of_another_host_is_refused_until_it_has_been_silent_for_long(study: optuna.Study) -> None:
    hold(study, "elsewhere 1 1.00", silent_s=SHORTEST_S / 2)
    with pytest.raises(StudyError, match="process 1 on elsewhere"):
        Lease(study).take()
    hold(study, "elsewhere 1 1.00", silent_s=SHORTEST_S + 1)
    Lease(study).take()
    assert study.user_attrs[RUNNER]["runner"] == runner()


def test_a_lease_is_never_shorter_than_before(study: optuna.Study) -> None:
    lease = Lease(study)
    lease.take()
    lease._last -= 10 * SHORTEST_S  # an epoch that took this long
    lease.beat()
    assert study.user_attrs[RUNNER]["lasts_s"] > 10 * SHORTEST_S
    lease.beat()
    assert study.user_attrs[RUNNER]["lasts_s"] > 10 * SHORTEST_S
