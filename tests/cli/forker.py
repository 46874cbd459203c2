"""Commands as processes that are forked off one that has loaded what `nas` needs of others, and nothing of `nas`.

Most of a command's second would go into an interpreter's start and into optuna. `Forker` is pytest's side; the other
one is this module, run: it is told each command as a line of JSON and answers with a process id, then with a code.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

# What several commands load, without a thread of its own and without regard for the environment: datasets and
# huggingface_hub read it. torch itself loads torch._dynamo when an optimizer is made.
LOADED = (
    *("alembic.context", "attrs", "click", "jinja2", "numpy", "optuna", "pandas", "PIL.PngImagePlugin", "rich.live"),
    *("scipy.optimize", "scipy.stats", "sklearn.datasets", "sqlalchemy.dialects.sqlite", "sqlalchemy.orm", "torch"),
    *("torch._dynamo", "torchmetrics.functional.classification", "yaml"),
    "optuna.storages._rdb.models",  # which optuna loads when a database is opened
    "pytest",  # which modules of the tests load
)
# The allocator of pyarrow, which pandas loads, would have a thread, and a fork has only the thread that forks.
NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


@frozen
class Command:
    """A module to be run as `python -m` runs it, and the files for what it says."""

    module: str
    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    out: str
    err: str


@frozen
class Forker:
    """The process that commands are forked off."""

    process: "subprocess.Popen[bytes]"

    def run(self, command: Command, seconds: float) -> int:
        """A command's code, once it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(attrs.asdict(command)).encode() + b"\n")
        self.process.stdin.flush()
        child = self._hear(60)
        try:
            return self._hear(seconds)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            self._hear(60)
            raise

    def _hear(self, seconds: float) -> int:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"nothing was heard for {seconds:g} s")
        return int(self.process.stdout.readline())


@contextmanager
def forking(options: Sequence[str], environment: Mapping[str, str]) -> Iterator[Forker]:
    """A forker with an interpreter's options, until all is done."""
    with subprocess.Popen(
        [sys.executable, *options, "-m", "tests.cli.forker"],
        env={**environment, **NO_THREADS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        preexec_fn=heed_interrupts,
    ) as process:
        yield Forker(process)


def heed_interrupts() -> None:
    """A shell's background jobs have them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def serve() -> Command:
    """Forks for every command; only children come back from here, each with its own."""
    for name in LOADED:
        importlib.import_module(name)
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lack the threads of its parent"
    gc.freeze()  # A fork's last search for garbage would copy all of it: 1.5 s.
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return Command(**json.loads(line))
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
    sys.exit()


def become(command: Command) -> dict[str, Any]:
    """Be this command, to its end."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, command.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, command.err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    sys.path[0] = str(Path.cwd())
    sys.argv[1:] = command.arguments
    assert "nas" not in sys.modules
    return runpy.run_module(command.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(serve())
