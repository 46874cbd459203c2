"""`nas studies delete`: asks first, deletes one study, and says how it comes back."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from tests.cli.conftest import FAKE, OPTIONS, Nas, Ran, surroundings
from tests.cli.forker import Forker
from tests.cli.gate import Gate
from tests.search.fakes import TINY

SEARCH = ("search", "--target", "flops=1.2M", "--space", "tiny.yaml", "--epochs", "1", "--trials", "2")
DELETE = ("studies", "delete", "demo")


@pytest.fixture(name="two_studies", scope="module")
def _two_studies(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Path:
    """A folder with a database of two studies, which tests copy."""
    folder = tmp_path_factory.mktemp("two-studies")
    (folder / "tiny.yaml").write_text(TINY)
    for name in ("demo", "other"):
        assert Nas(folder, forker).fake(*SEARCH, "--study", name).code == 0
    return folder


@pytest.fixture(name="searched")
def _searched(nas: Nas, two_studies: Path) -> Nas:
    shutil.copytree(two_studies, nas.folder, dirs_exist_ok=True)
    return nas


def names(nas: Nas) -> list[str]:
    return [row["study"] for row in nas("studies", "--json").json]


def on_a_terminal(nas: Nas, answer: str, *words: str) -> Ran:
    """A command whose standard input and standard error are a terminal, on which a user types an answer."""
    ours, its = os.openpty()
    with subprocess.Popen(
        [sys.executable, *OPTIONS, "-m", "nas.cli.main", *words],
        cwd=nas.folder,
        env=surroundings({}),
        stdin=its,
        stderr=its,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(its)
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=60)
        shown = b""
        try:
            while part := os.read(ours, 1000):
                shown += part
        except OSError:  # a terminal that no process has open any more
            pass
    os.close(ours)
    return Ran(process.returncode, out, shown.decode())


def test_yes_deletes_without_a_question(searched: Nas) -> None:
    ran = searched(*DELETE, "--yes")
    assert (ran.code, ran.err) == (0, "")
    first, second, command = ran.out.splitlines()
    assert first == "Study demo with 2 trials was deleted from sqlite:///nas.db."
    assert second == "Its journal nas-trials/demo.jsonl is kept. This command brings the study back:"
    assert names(searched) == ["other"]
    restored = searched(*shlex.split(command)[1:])
    assert restored.code == 0, restored.err
    assert "demo: 2 trials" in restored.out


def test_without_a_terminal_nothing_is_deleted(searched: Nas) -> None:
    ran = searched(*DELETE)
    ran.refused("to delete study demo with 2 trials from sqlite:///nas.db needs a confirmation", "--yes")
    assert names(searched) == ["demo", "other"]


@pytest.mark.parametrize(
    ("answer", "left"), [("y\n", ["other"]), ("n\n", ["demo", "other"]), ("\n", ["demo", "other"])]
)
def test_a_terminal_is_asked(searched: Nas, answer: str, left: list[str]) -> None:
    ran = on_a_terminal(searched, answer, *DELETE)
    assert "Delete study demo with 2 trials from sqlite:///nas.db? [y/N]: " in ran.err
    assert names(searched) == left
    assert (ran.code, "Nothing was deleted." in ran.err) == ((0, False) if left == ["other"] else (1, True))
    assert ("was deleted" in ran.out) == (left == ["other"])


def test_a_quiet_command_does_not_ask(searched: Nas) -> None:
    assert "needs a confirmation" in on_a_terminal(searched, "y\n", *DELETE, "-q").err
    assert names(searched) == ["demo", "other"]


def test_the_journal_can_be_deleted_too(searched: Nas) -> None:
    ran = searched(*DELETE, "--yes", "--journal", "--json")
    assert ran.json == {"study": "demo", "storage": "sqlite:///nas.db", "trials": 2, "journal_kept": None}
    assert [path.name for path in (searched.folder / "nas-trials").iterdir()] == ["other.jsonl"]


def test_the_journal_that_is_kept_is_in_the_json(searched: Nas) -> None:
    assert searched(*DELETE, "--yes", "--json").json["journal_kept"] == str(Path("nas-trials", "demo.jsonl"))


def test_the_same_search_can_be_made_anew(searched: Nas) -> None:
    assert searched(*DELETE, "--yes").code == 0
    ran = searched.fake(*SEARCH, "--study", "demo")
    assert ran.code == 0
    assert "belongs to an earlier study of this name; it is kept as demo.jsonl.1" in ran.err


def test_a_study_that_is_being_searched_is_refused(nas: Nas, gate: Gate) -> None:
    gate.let(1)
    process = nas.start(*SEARCH, "--study", "demo", module=FAKE, **gate.environment)
    gate.wait_for(2)
    nas(*DELETE, "--yes").refused(f"process {process.pid} on ", "is using study demo", "wait until it has ended")
    process.kill()
    process.communicate()
    assert nas(*DELETE, "--yes").code == 0


def test_studies_of_other_tools_and_absent_ones_are_refused(searched: Nas) -> None:
    optuna.create_study(storage=f"sqlite:///{searched.folder / 'nas.db'}", study_name="foreign")
    searched("studies", "delete", "foreign", "--yes").refused("was not made by nas", "optuna delete-study")
    searched("studies", "delete", "absent", "--yes").refused("there is no study 'absent'", "demo, other")
