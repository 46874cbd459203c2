"""The live view of a search: what it adds up, its chart, and its lines on terminals of any size."""

from math import inf

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from nas.cli.live.chart import BEST, FRONT, PLAIN, TARGET, TRIAL, UNICODE, Plane, draw_points, plane_of, sparkline
from nas.cli.live.state import MOST_POINTS, Front, SearchState, Snapshot
from nas.cli.live.view import MOST_RUNNING, lines_for, view_lines
from nas.noise import ValidationSplit
from nas.search.events import Event
from nas.studies.records import Record
from tests.clock import Clock

LIMITS, UNITS = {"macs": 400e6, "params": 5e6}, {"macs": "MACs", "params": "params"}
SPLIT = ValidationSplit(images=1000, chance=0.1, effective=1000.0)


def trial(number: int, macs: float, accuracy: float, state: str = "complete", **more: object) -> Record:
    costs = {"macs": macs, "params": 4e6}
    accuracies = () if state == "failed" else (accuracy / 2, accuracy)
    return Record(number, state, "net", costs, accuracies[-1] if accuracies else None, accuracies, **more)  # type: ignore[arg-type]


def ended(record: Record, done: int, best: Record | None = None, **more: object) -> Event:
    return Event("trial", record, done, 50, best, limits=LIMITS, units=UNITS, ended=(record,), **more)  # type: ignore[arg-type]


def shown(*events: Event, width: int = 100, height: int = 30, glyphs: object = UNICODE) -> list[str]:
    known = SearchState.of(*events, clock=Clock().monotonic).snapshot()
    return [line.plain for line in view_lines(known, width, height, glyphs)]  # type: ignore[arg-type]


# The front


def dominated(points: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Return the front by its definition: no other point costs no more and is at least as accurate."""
    return sorted(
        {
            (float(cost), float(accuracy))
            for cost, accuracy in points
            if not any((c <= cost and a >= accuracy) and (c, a) != (cost, accuracy) for c, a in points)
        }
    )


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30))
def test_a_front_that_grows_is_the_front_of_all(points: list[tuple[int, int]]) -> None:
    front = Front()
    for cost, accuracy in points:
        front.add(cost, accuracy)
    assert list(front.places) == dominated(points)


# What is added up


def test_trials_of_earlier_runs_and_of_others_are_on_the_front_and_counted_apart() -> None:
    earlier = tuple(trial(number, 300e6 + number, 0.5) for number in range(3))
    mine, other = trial(4, 200e6, 0.6), trial(5, 100e6, 0.4)
    state = SearchState.of(
        Event("resumed", None, 3, 50, earlier[0], limits=LIMITS, ended=earlier),
        ended(mine, 4, mine),
        Event("begun", trial(6, 1e6, 0.0, "running"), 5, 50, mine, limits=LIMITS, ended=(other,), elsewhere=2),
    )
    known = state.snapshot()
    assert (known.done, known.total, known.others, known.elsewhere) == (5, 50, 1, 2)
    assert known.front == ((100e6, 0.4), (200e6, 0.6))
    assert [each.record.number for each in known.running] == [6]


def test_a_trial_runs_until_it_has_ended_here_or_elsewhere() -> None:
    def running(number: int) -> Event:
        return Event("begun", trial(number, 1e6, 0.0, "running"), 0, 50, limits=LIMITS)

    state = SearchState.of(*map(running, range(4)))
    state.update(ended(trial(0, 1e6, 0.5), 1))
    state.update(Event("left", trial(1, 1e6, 0.5, "running"), 1, 50))
    state.update(Event("lost", trial(2, 1e6, 0.5, "running"), 1, 50, message="the worker died"))
    assert [each.record.number for each in state.snapshot().running] == [3]
    state.update(Event("begun", trial(9, 1e6, 0.0, "running"), 2, 50, ended=(trial(3, 1e6, 0.1, "failed"),)))
    assert [each.record.number for each in state.snapshot().running] == [9]


def test_the_time_left_runs_down_between_events() -> None:
    clock = Clock()
    state = SearchState.of(evolve(ended(trial(0, 1e6, 0.5), 1), seconds_left=60.0), clock=clock.monotonic)
    clock.sleep(45.0)
    assert (state.snapshot().seconds, state.snapshot().seconds_left) == (45.0, 15.0)
    clock.sleep(45.0)
    assert state.snapshot().seconds_left == 0.0


def test_ten_thousand_trials_leave_a_bounded_number_of_points() -> None:
    state = SearchState()
    for number in range(10_000):
        state.update(ended(trial(number, 1e6 * (number % 500), (number % 997) / 1000), number + 1))
    assert len(state.snapshot().trials) == MOST_POINTS
    # The front is that of all trials, not of the latest ones.
    assert state.snapshot().front[-1][1] == 0.996


# Curves and charts


def test_a_curve_rises_from_the_lowest_to_the_highest_character() -> None:
    assert sparkline([0.0, 0.25, 0.5, 0.75, 1.0], UNICODE, 12) == "▁▃▅▆█"
    assert sparkline([0.1] * 30, PLAIN, 12) == "_" * 12
    assert sparkline([0.5], UNICODE, 12, 0.5, 0.5) in UNICODE.levels
    assert sparkline([-3.0, 7.0], PLAIN, 12) == "_^"


def letters(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(letter for letter, _ in row) for row in rows]


def test_a_plain_chart_is_as_drawn_by_hand() -> None:
    plane = Plane((0.0, 10.0), (0.0, 4.0), 11, 5, PLAIN)
    front = [(2.0, 1.0), (6.0, 3.0)]
    rows = draw_points(plane, [(8.0, 0.0), (4.0, 0.0)], front, 9.0, (6.0, 3.0))
    assert letters(rows) == [
        "         | ",
        "      *  | ",
        "      -  | ",
        "  o----  | ",
        "    .   .| ",
    ]
    assert rows[3][2] == ("o", FRONT)
    assert rows[4][4] == (".", TRIAL)
    assert rows[1][6] == ("*", BEST)
    assert rows[0][9] == ("|", TARGET)


def test_dots_of_braille_are_where_unicode_has_them() -> None:
    # U+2800 has no dots. Dot 1 is the upper left one, dot 8 the lower right one (Unicode, Braille Patterns).
    plane = Plane((0.0, 3.0), (0.0, 3.0), 2, 1, UNICODE)
    rows = draw_points(plane, [(0.0, 3.0), (3.0, 0.0)], [], -1.0, None)
    assert [letter for letter, kind in rows[0] if kind == TRIAL] == ["\u2801", "\u2880"]


@given(
    st.lists(st.tuples(st.floats(1, 1e9), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(1, 1e9),
    st.integers(8, 60),
    st.integers(2, 9),
    st.sampled_from([PLAIN, UNICODE]),
)
def test_any_chart_has_its_size_and_shows_the_best(
    points: list[tuple[float, float]], target: float, width: int, height: int, glyphs: object
) -> None:
    front = Front()
    for point in points:
        front.add(*point)
    plane = plane_of(points, front.places, target, (width, height), glyphs)  # type: ignore[arg-type]
    rows = draw_points(plane, points, front.places, target, front.places[-1])
    assert [len(row) for row in rows] == [width] * height
    assert sum(letter == "*" for row in letters(rows) for letter in row) == 1


# Lines

BEST_TRIAL = trial(1, 390e6, 0.75)
EVENTS = (
    ended(trial(0, 300e6, 0.5), 1, split=SPLIT),
    ended(BEST_TRIAL, 2, BEST_TRIAL, split=SPLIT, seconds_left=723.4),
    ended(trial(2, 350e6, 0.0, "failed", reason="no memory\n  use less"), 3, BEST_TRIAL, seconds_left=723.4),
    Event("waiting", None, 3, 50, BEST_TRIAL, 723.4, "other processes work on the study"),
    Event("begun", trial(3, 330e6, 0.4, "running"), 3, 50, BEST_TRIAL, 723.4, limits=LIMITS, units=UNITS, elsewhere=2),
)


def test_a_wide_terminal_shows_everything() -> None:
    lines = shown(*EVENTS)
    assert lines[0].endswith("3/50 trials · 0:00:00 · about 12 min 03 s left · 2 running elsewhere")
    # Agresti and Coull by hand: (0.75·1000 + 2) / 1004 = 0.749, error 0.01368, so that 0.75 ± 0.0268.
    assert lines[1] == "best 75.00% (95%: 72.3–77.7, one run) · trial 1 · 390M of 400M MACs · 4M of 5M params"
    assert lines[2] == "trial 3 ▃▅ 40.00% after epoch 2 · 330M MACs · 4M params"
    assert lines[3:5] == ["failed: trial 2: no memory", "note: other processes work on the study"]
    assert "target 400M MACs" in lines[-1]
    assert len(lines) == 5 + 9 + 1 <= lines_for(30)  # with a chart of nine rows and its axis


def test_a_small_terminal_shows_the_chart_rather_than_a_note_and_any_shows_a_failure() -> None:
    small = shown(*EVENTS, width=100, height=15)
    assert [line.startswith("failed: ") for line in small] == [False, False, False, True] + [False] * 4
    assert "target 400M MACs" in small[-1]
    assert not any(line.startswith("note: ") for line in small)
    smaller = shown(*EVENTS, width=100, height=10)
    assert smaller[3:] == ["failed: trial 2: no memory", "note: other processes work on the study"]


def test_what_is_above_its_target_or_unknown_says_so() -> None:
    over = trial(1, 420e6, 0.75)
    (line,) = [line for line in shown(ended(over, 1, over)) if line.startswith("best")]
    assert line == "best 75.00% (interval unknown) · trial 1 · 420M of 400M MACs (over) · 4M of 5M params"
    assert shown(Event("started", total=50))[0].endswith("0/50 trials · 0:00:00")
    assert shown() == ["──────────── preparing the search · 0:00:00"]


def test_a_training_run_shows_its_step() -> None:
    state = SearchState.of(*EVENTS, clock=Clock().monotonic)
    state.on_batch(3, 20, 1.2345)
    lines = [line.plain for line in view_lines(state.snapshot(), 100, 30, UNICODE)]
    assert "trial 3 ▃▅ 40.00% after epoch 2 · step 3/20 loss 1.234 · 330M MACs · 4M params" in lines
    again = Event("confirming", None, 50, 50, BEST_TRIAL, message="trial 1 with seed 1")
    state = SearchState.of(*EVENTS[:3], again, clock=Clock().monotonic)
    state.on_batch(3, 20, 1.2345)
    assert view_lines(state.snapshot(), 100, 30, UNICODE)[2].plain == "trial 1 with seed 1 · step 3/20 loss 1.234"


@pytest.mark.parametrize(("count", "height"), [(1, 30), (4, 30), (5, 30), (40, 30), (3, 10)])
def test_no_running_trial_is_forgotten(count: int, height: int) -> None:
    begun = [Event("begun", trial(number, 1e6, 0.2, "running"), 0, 50, limits=LIMITS) for number in range(count)]
    lines = shown(*begun, height=height)
    named = [line for line in lines if "trial " in line and "epoch" in line]
    hidden = [int(word) for line in lines if "more" in line for word in line.split() if word.isdecimal()][:1]
    assert len(named) <= MOST_RUNNING
    assert len(named) + sum(hidden) == count


@pytest.mark.parametrize("glyphs", [PLAIN, UNICODE])
@given(width=st.integers(1, 200), height=st.integers(1, 100))
def test_no_terminal_is_too_small(width: int, height: int, glyphs: object) -> None:
    known = SearchState.of(*EVENTS).snapshot()
    lines = view_lines(known, width, height, glyphs)  # type: ignore[arg-type]
    assert len(lines) <= lines_for(height)
    assert all(line.cell_len < max(width, 2) for line in lines)


def test_a_terminal_without_unicode_gets_none() -> None:
    assert all(line.isascii() for line in shown(*EVENTS, glyphs=PLAIN))
    assert any("o" in line and "-" in line for line in shown(*EVENTS, glyphs=PLAIN)[5:-1])


def test_hostile_names_and_messages_are_shown_and_not_obeyed() -> None:
    hostile = "[red]\x1b[2J\x07[/red]\u202e" + "宽" * 80
    failed = trial(2, 350e6, 0.0, "failed", reason=hostile)
    label = Record(-1, "running", "net", {}, label=hostile, accuracies=(0.5,))
    events = (ended(failed, 1), Event("moved", message=hostile), Event("epoch", label))
    known = SearchState.of(*events).snapshot()
    for width in (40, 100):
        lines = view_lines(known, width, 30, UNICODE)
        assert all(line.plain.isprintable() and line.cell_len < width for line in lines)
        assert sum("[red]\\x1b[2J\\x07" in line.plain for line in lines) == 3
        assert all(str(span.style) in ("", "red", "dim", "green", "blue") for line in lines for span in line.spans)


def test_a_snapshot_without_events_has_no_time_left() -> None:
    assert Snapshot().seconds_left is None
    assert Front().add(inf, 0.5)
