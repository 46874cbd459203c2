"""A search whose device is behind a real OpenSSH server, which goes away in the middle of it."""

import json
import sqlite3
from pathlib import Path

import pytest

from nas.device.agent_process import SSH
from tests.cli.conftest import FAKE, Nas
from tests.cli.gate import Gate
from tests.device.sshd import Sshd, running

pytestmark = pytest.mark.slow
TRIALS = 6


def search(server: Sshd) -> list[str]:
    address = server.address()
    device = f"{address.place}?cpu,python={address.python}"
    options = ["--space", "tiny.yaml", "--target", "latency=1ms", "--band", "0", "--epochs", "1", "--study", "far"]
    return ["search", *options, "--device", device, "--trials", str(TRIALS), "--json"]


def complete(folder: Path) -> int:
    """Finished trials, read beside Optuna."""
    try:
        with sqlite3.connect(f"file:{folder / 'nas.db'}?mode=ro", uri=True) as database:
            return int(database.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(name="folders")
def _folders(tmp_path: Path) -> tuple[Path, Path]:
    """For two servers, one after the other."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def test_a_search_goes_on_where_its_connection_was_cut(nas: Nas, gate: Gate, folders: tuple[Path, Path]) -> None:
    for server in running(folders[0]):
        gate.let(2)
        process = nas.start(*search(server), module=FAKE, **gate.environment, **{SSH: server.command})
        gate.wait_for(3)
        for session in server.sessions():
            session.kill()
        gate.let()
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        found = json.loads(out)
        assert found["trials"] == TRIALS
        assert found["best"]["measurement"]["meets"]
        assert found["targets"] == ["latency=1ms on cpu"]


def test_a_device_that_stays_away_ends_the_search_and_loses_nothing(
    nas: Nas, gate: Gate, folders: tuple[Path, Path]
) -> None:
    for server in running(folders[0]):
        gate.let(2)
        process = nas.start(*search(server), module=FAKE, **gate.environment, **{SSH: server.command})
        gate.wait_for(3)
        server.stop()
        gate.let()
        out, err = process.communicate(timeout=240)
        assert (process.returncode, out) == (1, "")
        assert "Traceback" not in err
        assert f"{server.address().place}" in json.loads(err.splitlines()[-1])["error"]["problem"]
    kept = complete(nas.folder)
    assert kept >= 2
    for server in running(folders[1]):  # The same machine under another port: the study goes on.
        found = nas.fake(*search(server), **{SSH: server.command})
        assert found.code == 0, found.err
        assert found.json["trials"] == TRIALS
        assert f"{kept} of {TRIALS} trials are done" in found.err
