"""The command line as a process of its own."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
from attrs import define, field, frozen

from nas.api import evaluators
from nas.cli.main import main
from tests.cli.fake_nas import MAKERS
from tests.cli.forker import Command, Forker, forking, heed_interrupts
from tests.cli.gate import Gate
from tests.search.fakes import SMALLEST, TINY

ROOT = Path(__file__).parents[2]
REAL, FAKE, HELD = "nas.cli.main", "tests.cli.fake_nas", "tests.cli.held_nas"
OPTIONS = ("-W", "error::DeprecationWarning:nas")
SECONDS = 240


@frozen
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str, code: int = 1) -> None:
        """It ended with one message that holds these words, and printed nothing else."""
        assert self.code == code, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        message = self._json_message() or self.err[self.err.rindex("nas: " if code == 1 else "Error: ") :]
        for word in words:
            assert word in message
        if code == 1:
            problem, *remedy = message.splitlines()
            assert len(remedy) >= 1, "the message has no remedy"
            assert all(line.startswith("  ") for line in remedy)
            assert len(problem) < 400

    def _json_message(self) -> str:
        """The error that a command with `--json` ended with, in the form of the text; "" where there is none."""
        last = (self.err.splitlines() or [""])[-1]
        if not last.startswith('{"error": '):
            return ""
        error = json.loads(last)["error"]
        return "\n  ".join(filter(None, (f"nas: {error['problem']}", error["remedy"])))


@define
class Nas:
    """Runs `nas` in a folder."""

    folder: Path
    forker: Forker
    started: list["subprocess.Popen[str]"] = field(factory=list)

    def __call__(self, *arguments: str, module: str = REAL, **environment: str) -> Ran:
        """The real command, to its end."""
        with TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            told = Command(module, arguments, str(self.folder), surroundings(environment), str(out), str(err))
            code = self.forker.run(told, SECONDS)
            return Ran(code, out.read_text(), err.read_text())

    def fake(self, *arguments: str, **environment: str) -> Ran:
        """The command with accuracies that are made up."""
        return self(*arguments, module=FAKE, **environment)

    def here(self, *arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ran:
        """What `fake` does, in this process: the same code without the time that a process takes to start."""
        monkeypatch.chdir(self.folder)
        monkeypatch.setattr(evaluators, "MAKERS", MAKERS)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    def start(self, *arguments: str, module: str = REAL, **environment: str) -> "subprocess.Popen[str]":
        """A command under way, in an interpreter of its own."""
        process = subprocess.Popen(
            [sys.executable, *OPTIONS, "-m", module, *arguments],
            cwd=self.folder,
            env=surroundings(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        self.started.append(process)
        return process


def hear(process: "subprocess.Popen[str]", words: str, seconds: float = 60) -> str:
    """Read standard error of a command under way until it holds these words, and return what was read."""
    assert process.stderr is not None
    heard, end = b"", monotonic() + seconds
    while words not in heard.decode(errors="replace"):
        if not select.select([process.stderr], [], [], max(0.0, end - monotonic()))[0]:
            raise TimeoutError(f"{words!r} was not heard in {seconds:g} s, but {heard!r}")
        # Not through the stream, whose buffer would keep what `communicate` has to return.
        part = os.read(process.stderr.fileno(), 4096)
        assert part, f"the command ended with {heard!r}"
        heard += part
    return heard.decode(errors="replace")


def surroundings(more: dict[str, str]) -> dict[str, str]:
    """A command's environment."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


@pytest.fixture(name="forker", scope="package")
def _forker() -> Iterator[Forker]:
    with forking(OPTIONS, surroundings({})) as forker:
        yield forker


@pytest.fixture(name="gate")
def _gate(tmp_path: Path) -> Gate:
    """A closed gate for training runs."""
    return Gate(tmp_path / "gate")


@pytest.fixture(name="nas")
def _nas(tmp_path: Path, forker: Forker) -> Iterator[Nas]:
    """`nas` in a folder that holds two small spaces."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "smallest.yaml").write_text(SMALLEST)
    runner = Nas(tmp_path, forker)
    yield runner
    for process in runner.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
