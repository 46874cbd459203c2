"""The live view of a search in real terminals, as a person sees it: an emulator keeps the screen."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from nas.cli.live.view import lines_for
from tests.cli.conftest import FAKE, Nas
from tests.cli.gate import Gate
from tests.cli.terminal import Terminal, in_terminal
from tests.search.fakes import TINY

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals of this kind", allow_module_level=True)

BAR = "━─"
PLAYED = ("-m", "tests.cli.played_search")
SEARCH = ("search", "--target", "flops=2M", "--space", "tiny.yaml", "--band", "0", "--epochs", "3", "--confirm", "0")


def commands(*more: str) -> list[str]:
    return ["-m", FAKE, *SEARCH, *more]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def view(terminal: Terminal) -> list[str]:
    """Return the lines of the view, which begins with a bar."""
    lines = terminal.lines
    begins = [number for number, line in enumerate(lines) if line[:1] in (*BAR, "#", ".") and "/" in line]
    return lines[begins[-1] :] if begins else []


def is_clean(terminal: Terminal) -> None:
    """Nothing of a view is left on the screen or above it, and the cursor is there."""
    left = [line for line in terminal.all_lines if set(line) & {*BAR, "┊"} or "after epoch" in line]
    assert left == [], terminal.text
    assert terminal.has_cursor


def numbers(terminal: Terminal, pattern: str = r"^trial (\d+) \(") -> list[int]:
    """Return the numbers in lines that stay, in their order; a number is at the beginning, where no line is broken."""
    return [int(found[1]) for line in terminal.all_lines if (found := re.match(pattern, line))]


def wait_for_trial(terminal: Terminal, number: int) -> None:
    terminal.wait_for(lambda: numbers(terminal)[-1:] >= [number])


@pytest.mark.parametrize(("columns", "lines"), [(100, 30), (60, 15), (40, 10), (20, 5)])
def test_lines_stay_whole_and_the_view_fits_below_them(folder: Path, columns: int, lines: int) -> None:
    with in_terminal([*PLAYED, "calm", "12"], folder, columns, lines) as terminal:
        terminal.wait_for(lambda: len(numbers(terminal)) >= 6 and view(terminal))
        shown = view(terminal)
        assert len(shown) <= lines_for(lines)
        assert all(len(line) < columns for line in shown)
        assert "/12" in shown[0]
        assert any(line.startswith("best ") for line in shown)
        assert any("┊" in line for line in shown) == (lines >= 15)
        assert terminal.finish() == 0
        assert numbers(terminal) == list(range(12))
        is_clean(terminal)
        assert terminal.lines[-1] == "the end"


def test_what_others_write_is_printed_above_the_view(folder: Path) -> None:
    with in_terminal([*PLAYED, "loud", "8"], folder) as terminal:
        assert terminal.finish() == 0
        for what in ("print", "process", "descriptor", "bar"):
            assert numbers(terminal, rf"^{what} (\d+)$") == list(range(8)), what
        # Colors and movements of the cursor are left out, and no text is.
        assert [line for line in terminal.all_lines if line.startswith("echo")] == [f"echo {n} red" for n in range(8)]
        assert terminal.lines[-2:] == ["without an end", "the end"]
        is_clean(terminal)


def test_many_quick_trials_share_a_picture(folder: Path) -> None:
    with in_terminal([*PLAYED, "fast", "3000"], folder) as terminal:
        begun = time.monotonic()
        assert terminal.finish() == 0
        pictures = terminal.received.count(b" trials ")
        # Four a second at most, and the first one; a machine that draws slowly may have none before the end.
        assert pictures <= 4 * (time.monotonic() - begun) + 1
        assert numbers(terminal) == list(range(3000))
        is_clean(terminal)


def test_a_bar_of_another_program_leaves_its_last_state(folder: Path) -> None:
    with in_terminal([*PLAYED, "bars", "20000"], folder) as terminal:
        assert terminal.finish() == 0
        assert terminal.lines[-3:] == ["done 19999", "ready", "the end"]
        assert len(terminal.received) < 10_000


def test_a_view_that_cannot_be_drawn_costs_no_line(folder: Path) -> None:
    with in_terminal([*PLAYED, "broken", "20"], folder) as terminal:
        assert terminal.finish() == 0
        assert numbers(terminal) == list(range(20))
        is_clean(terminal)


@pytest.mark.parametrize("sizes", [((60, 12), (120, 40)), ((120, 40), (50, 8), (100, 30))])
def test_the_view_follows_the_size_of_the_terminal(folder: Path, sizes: tuple[tuple[int, int], ...]) -> None:
    with in_terminal([*PLAYED, "calm", "24"], folder) as terminal:
        for number, (columns, lines) in enumerate(sizes, 1):
            wait_for_trial(terminal, 4 * number)
            terminal.resize(columns, lines)
            wait_for_trial(terminal, 4 * number + 3)
            terminal.wait_for(lambda: view(terminal))
            assert len(view(terminal)) <= lines_for(lines)
            assert all(len(line) < columns for line in view(terminal))
        assert terminal.finish() == 0
        found = numbers(terminal)
        # The emulator drops lines when it is resized; those that it has are in order, and none is there twice.
        assert found == sorted(set(found))
        assert found[-1] == 23
        assert terminal.lines[-1] == "the end"


def test_a_shell_may_print_while_the_process_is_stopped(folder: Path) -> None:
    with in_terminal([*PLAYED, "waiting", "3"], folder) as terminal:
        terminal.wait_for(lambda: len(numbers(terminal, r"^line (\d+)$")) == 3 and view(terminal))
        os.kill(terminal.process.pid, signal.SIGSTOP)
        while terminal.read(0.5) and terminal.received[-1:] == b"":
            pass
        terminal.stream.feed(b"\r\n[1]+  Stopped  nas search\r\n$ fg\r\n")
        os.kill(terminal.process.pid, signal.SIGCONT)
        before = terminal.received
        terminal.wait_for(lambda: len(terminal.received) > len(before) and view(terminal))
        terminal.press(b"\x03")
        assert terminal.finish() == 0
        assert "[1]+  Stopped  nas search" in terminal.all_lines
        assert "$ fg" in terminal.all_lines


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGINT"])
def test_an_interrupt_leaves_the_terminal_clean(folder: Path, how: str) -> None:
    with in_terminal([*PLAYED, "waiting", "3"], folder) as terminal:
        terminal.wait_for(lambda: len(numbers(terminal, r"^line (\d+)$")) == 3 and view(terminal))
        if how == "Ctrl-C":
            terminal.press(b"\x03")
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 0
        assert terminal.lines[-2:] == ["interrupted", "the end"]
        is_clean(terminal)


def test_a_terminal_without_colors_gets_none(folder: Path) -> None:
    for colors, environment in ((False, {"NO_COLOR": "1"}), (True, {})):
        with in_terminal([*PLAYED, "calm", "12"], folder, environment=environment) as terminal:
            assert terminal.finish() == 0
            codes = {
                int(code) for codes in re.findall(rb"\x1b\[([\d;]*)m", terminal.received) for code in codes.split(b";")
            }
            # 30 to 37 and 90 to 97 are colors of letters (ECMA-48, SGR).
            assert any(30 <= code <= 39 or 90 <= code <= 97 for code in codes) == colors


def test_a_terminal_without_unicode_gets_a_plain_view(folder: Path) -> None:
    with in_terminal([*PLAYED, "calm", "24"], folder, environment={"PYTHONIOENCODING": "ascii"}) as terminal:
        terminal.wait_for(lambda: len(numbers(terminal)) >= 5 and len(view(terminal)) > 6)
        assert all(line.isascii() for line in view(terminal))
        assert terminal.finish() == 0
        assert numbers(terminal) == list(range(24))


# The command itself


def test_a_search_shows_its_trials_and_ctrl_c_stops_it_after_the_running_ones(folder: Path, gate: Gate) -> None:
    gate.let(6)
    with in_terminal(commands("--trials", "20"), folder, environment=gate.environment) as terminal:
        gate.wait_for(7)
        terminal.wait_for(lambda: view(terminal) and any(line.startswith("trial 6 ") for line in view(terminal)))
        shown = view(terminal)
        assert "6/20 trials" in shown[0]
        assert re.search(r"^best \d+\.\d\d% \(interval unknown\) · trial \d · .* of 2M MACs", "\n".join(shown), re.M)
        assert any("┊" in line for line in shown)
        terminal.press(b"\x03")
        terminal.wait_for(lambda: "finishing 1 trial; press Ctrl-C again to leave at once" in terminal.text)
        gate.let()
        assert terminal.finish() == 130
        assert numbers(terminal) == list(range(7))
        assert terminal.lines[-1].startswith("stopped; the same command goes on with study")
        is_clean(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C twice", "SIGTERM"])
def test_a_search_that_is_ended_at_once_leaves_the_terminal_clean(folder: Path, gate: Gate, how: str) -> None:
    gate.let(3)
    with in_terminal(commands("--trials", "20"), folder, environment=gate.environment) as terminal:
        gate.wait_for(4)
        terminal.wait_for(lambda: len(numbers(terminal)) == 3 and view(terminal))
        if how == "SIGTERM":
            terminal.process.terminate()
        else:
            terminal.press(b"\x03")
            terminal.wait_for(lambda: "press Ctrl-C again" in terminal.text)
            terminal.press(b"\x03")
        assert terminal.finish() == 130
        assert "stopped; the same command goes on with study" in terminal.text
        assert terminal.lines[-1] == "nas: the command was interrupted"
        is_clean(terminal)


@pytest.mark.slow
def test_an_error_is_printed_whole_and_the_view_is_gone(folder: Path) -> None:
    with in_terminal(commands("--trials", "20"), folder, environment={"NAS_FAKE_FAILS": "1"}) as terminal:
        assert terminal.finish() == 1
        assert "nas: 5 trials failed one after another, the last with: made to fail" in terminal.text
        is_clean(terminal)


@pytest.mark.slow
def test_the_result_goes_to_a_file_while_the_view_is_in_the_terminal(folder: Path) -> None:
    with (folder / "out").open("wb") as out, in_terminal(commands("--trials", "3"), folder, out=out) as terminal:
        assert terminal.finish() == 0
        assert numbers(terminal) == [0, 1, 2]
        assert "best:" not in terminal.text
        is_clean(terminal)
    assert "best: trial" in (folder / "out").read_text()
    assert "\x1b" not in (folder / "out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--json"], {}), (["--quiet"], {}), ([], {"TERM": "dumb"}), ([], {"TERM": "unknown"})],
)
def test_no_view_is_drawn_where_none_is_asked_for(
    folder: Path, options: list[str], environment: dict[str, str]
) -> None:
    with in_terminal(commands("--trials", "3", *options), folder, environment=environment) as terminal:
        assert terminal.finish() == 0
        assert b"\x1b" not in terminal.received
        assert numbers(terminal) == ([] if options == ["--quiet"] else [0, 1, 2])


@pytest.mark.slow
def test_trials_of_another_process_are_counted(nas: Nas, gate: Gate) -> None:
    options = ("--trials", "8", "--study", "shared")
    other = nas.start(*SEARCH, *options, module=FAKE, **gate.environment)
    gate.wait_for(1)
    with in_terminal(commands(*options), nas.folder, environment=gate.environment) as terminal:
        gate.wait_for(2)
        terminal.wait_for(lambda: view(terminal) and "1 running elsewhere" in view(terminal)[0])
        gate.let()
        assert terminal.finish() == 0
        _, said = other.communicate()
        theirs = [int(number) for number in re.findall(r"^trial (\d+) \(", said, re.MULTILINE)]
        assert sorted([*numbers(terminal), *theirs]) == list(range(8))
        is_clean(terminal)


@pytest.mark.slow
def test_workers_are_shown_side_by_side_and_what_they_print_stays(folder: Path) -> None:
    (folder / "loud.py").write_text(
        "import os, time\n"
        "def accuracy(arch):\n"
        "    os.write(2, b'from a worker\\n')\n"
        "    time.sleep(0.5)\n"
        "    return 0.5\n"
    )
    options = ("--trials", "6", "--workers", "2", "--evaluator", "python:loud:accuracy")
    arguments = ["-m", "nas", "search", "--target", "flops=2M", "--space", "tiny.yaml", "--band", "0", *options]
    with in_terminal(arguments, folder) as terminal:
        terminal.wait_for(lambda: sum("first epoch" in line for line in view(terminal)) == 2)
        assert terminal.finish() == 0
        assert sorted(numbers(terminal)) == list(range(6))
        assert terminal.text.count("from a worker") >= 6
        is_clean(terminal)
