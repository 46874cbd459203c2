"""Progress of a search, as it is seen on a terminal of any width and in plain lines."""

import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import click
import optuna
import pytest
from attrs import evolve

from nas.api import progress as bars
from nas.api.durations import format_left
from nas.api.progress import BAR_WIDTH, describe
from nas.api.quiet import quiet_optuna
from nas.cli.shared.progress import BarProgress, PlainProgress, Steps
from nas.errors import NasError
from nas.search.events import Event
from nas.studies.records import Record
from tests.clock import Clock

COSTS = {"macs": 381e6, "params": 3_887_038.0, "latency_ms": 7.9123, "peak_bytes": 6_021_120.0}
RECORD = Record(3, "complete", "net", COSTS, accuracy=0.75, accuracies=(0.5, 0.75), score=0.7512)
EVENT = Event("trial", RECORD, 4, 50, RECORD, 723.4, units={"params": "params"})


def printed(event: Event, capsys: pytest.CaptureFixture[str]) -> str:
    PlainProgress().listen(event)
    return capsys.readouterr().err.strip()


def test_a_trial_is_shown_with_the_costs_of_the_targets(capsys: pytest.CaptureFixture[str]) -> None:
    left = " · best 75.00% · about 12 min 03 s left"
    assert printed(EVENT, capsys) == f"trial 3 (4/50): 75.00% at 3.887M params, score 0.7512{left}"
    both = evolve(EVENT, units={"latency_ms": "ms", "peak_bytes": "bytes"})
    assert printed(both, capsys) == f"trial 3 (4/50): 75.00% at 7.912 ms, 6.02 MB, score 0.7512{left}"


def test_what_is_unknown_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    front = evolve(EVENT, record=evolve(RECORD, score=None), best=None, seconds_left=None)
    assert printed(front, capsys) == "trial 3 (4/50): 75.00% at 3.887M params"
    failed = evolve(EVENT, record=Record(3, "failed", "net", COSTS, reason="no memory"), best=None, seconds_left=0.0)
    assert printed(failed, capsys) == "trial 3 (4/50): - at 3.887M params, failed: no memory"
    assert printed(Event("estimate", total=50, seconds_left=90.0), capsys).startswith("estimate: about 1 min 30 s left")
    assert printed(Event("stopping", None, 4, 50), capsys) == "stopping: 4 of 50 trials are done"
    more = "resumed: 2 trials are done, and no more than 1 asked for; cut"
    assert printed(Event("resumed", None, 2, 1, message="cut"), capsys) == more


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event("started", total=50), "0/50"),
        (
            Event("confirming", None, 50, 50, RECORD, 9.0, "trial 3 with seed 1"),
            "50/50 · trial 3 with seed 1 · best 75.00% · about 9 s left",
        ),
        (evolve(EVENT, kind="epoch", seconds_left=None), "4/50 · trial 3 · epoch 2 75.00% · best 75.00%"),
        (evolve(EVENT, record=evolve(RECORD, accuracy=None), best=None, seconds_left=0.2), "4/50 · trial 3"),
        (
            evolve(EVENT, record=evolve(RECORD, label="mobilenetv2 x0.5"), best=None),
            "4/50 · mobilenetv2 x0.5 · epoch 2 75.00% · about 12 min 03 s left",
        ),
    ],
)
def test_no_field_of_the_live_line_is_empty(event: Event, expected: str) -> None:
    assert describe(event) == expected
    assert describe(event, "step 1/2") == f"{expected} · step 1/2"


@pytest.mark.parametrize("kind", ["begun", "epoch", "left", "stopped"])
def test_how_a_trial_goes_on_has_no_line(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(Event(kind, RECORD, 4, 50), capsys) == ""


def test_no_time_left_is_not_shown_as_zero() -> None:
    assert [format_left(seconds) for seconds in (None, 0, 0.4, -5)] == [""] * 4


def on_terminal(columns: int, show: Callable[[], Any]) -> str:
    """Return what a terminal of this width receives on standard error."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.dup2(side, 2)
            os.environ.update(TERM="xterm", COLUMNS=str(columns))
            sys.stderr = os.fdopen(2, "w", buffering=1)
            show()
            sys.stderr.flush()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # whatever happens, the other tests are not run in this process, too
    os.close(side)
    received = b""
    with open(main, "rb", buffering=0) as terminal:  # noqa: PTH123 -- a number and no path
        while data := _read(terminal):
            received += data
    assert os.waitpid(process, 0)[1] == 0, received.decode()
    return received.decode()


def _read(terminal: Any) -> bytes:
    try:
        return bytes(terminal.read(4096))
    except OSError:  # Linux reports the end of a terminal so
        return b""


def plain_lines(text: str) -> list[str]:
    """Return what is in each line, without colors and movements of the cursor."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]+", text)]


class AlwaysDrawn(bars.Bar):
    """A bar that is drawn anew at every update, and not only ten times a second."""

    def update(self, *given: Any, **named: Any) -> None:
        super().update(*given, **named, refresh=True)


def search() -> None:
    logging.getLogger().handlers.clear()  # those of pytest
    clock = Clock()
    vars(bars)["Bar"] = partial(AlwaysDrawn, get_time=clock.monotonic)  # in the process of this terminal alone
    with quiet_optuna(), BarProgress() as progress:
        progress.listen(Event("epoch", RECORD, 50, 50, RECORD, 9.0, units={"params": "params"}))
        progress.on_batch(3, 20, 1.234)
        click.echo("UserWarning: something", err=True)
        clock.sleep(1.3)
        progress.on_batch(4, 20, 1.234)
        optuna.logging.get_logger("optuna.study").warning("a warning of Optuna")


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_the_bar_keeps_its_width_and_the_time_runs_on(columns: int) -> None:
    lines = plain_lines(on_terminal(columns, search))
    live = [line for line in lines if "50/50" in line]
    assert live
    assert all(line.startswith("━" * BAR_WIDTH) and len(line) <= columns for line in live)
    # All trials are done, and the search goes on.
    assert {line[-7:] for line in live} == {"0:00:00", "0:00:01"}
    assert {"UserWarning: something", "a warning of Optuna"} <= {*lines}


def measure() -> None:
    steps = Steps("measuring")
    steps(1, 3, 90.0)
    click.echo("the machine is noisy", err=True)
    steps(2, 3, 9.0)
    steps(3, 3)


def test_a_warning_is_not_printed_into_the_line_of_steps() -> None:
    lines = plain_lines(on_terminal(80, measure))
    assert "the machine is noisy" in lines
    assert any("measuring: 1 of 3, about 1 min 30 s left" in line for line in lines)
    assert any("measuring: 3 of 3" in line for line in lines)


def test_steps_that_an_error_ends_give_the_cursor_back() -> None:
    def fail() -> None:
        steps = Steps("measuring")
        steps(1, 3)
        raise NasError("the device is gone", "connect it")

    def report() -> None:
        with suppress(NasError):
            fail()

    shown = on_terminal(80, report)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
