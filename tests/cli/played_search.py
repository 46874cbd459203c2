"""A search that is only played: its events reach a live view, and other output comes between them. Run as a module.

The first argument says what happens, the second how many trials there are.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import click

from nas.cli.live import screen
from nas.cli.shared.progress import LiveProgress
from nas.search.events import Event
from nas.studies.records import Record

LIMITS, UNITS = {"macs": 400e6}, {"macs": "MACs"}


def record(number: int, state: str) -> Record:
    accuracy = 0.3 + 0.6 * (number * 7919 % 1000) / 1000
    done = state == "complete"
    return Record(
        number,
        state,
        "net",
        {"macs": 400e6 - 1e6 * (number * 104729 % 300)},
        accuracy if done else None,
        (accuracy / 2, accuracy) if done else (),
    )


def begin(progress: LiveProgress, number: int, total: int) -> None:
    progress.listen(Event("begun", record(number, "running"), number, total, limits=LIMITS, units=UNITS))


def end(progress: LiveProgress, number: int, total: int) -> None:
    ended = record(number, "complete")
    progress.listen(Event("trial", ended, number + 1, total, ended, limits=LIMITS, units=UNITS, ended=(ended,)))


def calm(progress: LiveProgress, total: int) -> None:
    for number in range(total):
        begin(progress, number, total)
        time.sleep(0.15)
        end(progress, number, total)


def fast(progress: LiveProgress, total: int) -> None:
    for number in range(total):
        end(progress, number, total)


def loud(progress: LiveProgress, total: int) -> None:
    """Write to the standard streams in every way there is, while trials run."""
    for number in range(total):
        begin(progress, number, total)
        sys.stdout.write(f"print {number}\n")
        sys.stdout.flush()
        click.echo(f"echo {number} \x1b[31mred\x1b[0m\x1b[2J", err=True)
        os.write(2, f"descriptor {number}\n".encode())
        subprocess.run(["/bin/sh", "-c", f"echo process {number}; echo 'bar 1%\rbar {number}' >&2"], check=True)
        time.sleep(0.3)
        end(progress, number, total)
    os.write(1, b"without an end")


def bars(_progress: LiveProgress, total: int) -> None:
    """Write a bar that overwrites itself and has no end for long."""
    for number in range(total):
        os.write(2, f"\rdone {number}".encode())
    os.write(2, b"\nready\n")


def broken(progress: LiveProgress, total: int) -> None:
    """A view that cannot be drawn."""
    vars(screen)["_paint"] = lambda *_: 1 / 0
    fast(progress, total)


def waiting(progress: LiveProgress, total: int) -> None:
    for number in range(total):
        begin(progress, number, total)
        progress.say(f"line {number}")
        time.sleep(0.4)
    time.sleep(60)


KINDS: Mapping[str, Callable[[LiveProgress, int], None]] = {
    each.__name__: each for each in (calm, fast, loud, bars, broken, waiting)
}

if __name__ == "__main__":
    try:
        with LiveProgress() as shown:
            KINDS[sys.argv[1]](shown, int(sys.argv[2]))
    except KeyboardInterrupt:
        click.echo("interrupted")
    click.echo("the end")
