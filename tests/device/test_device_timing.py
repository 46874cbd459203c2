"""Tests of the timing protocol on simulated machines whose true times are known."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from nas.device import timing as protocol
from nas.device.timing import BLOCKS, Aim, Turns, joined, summarize, time_in_turn, warm_up
from nas.errors import DeviceError

REFERENCE_SECONDS = 0.003
RATIOS = (2.0, 0.25, 1.0, 1.013)


@define
class FakeMachine:
    """Simulate a machine whose clock advances only during runs; `factor(now, rng)` is its current slowdown."""

    factor: Callable[[float, np.random.Generator], float]
    now: float = 100.0
    rng: np.random.Generator = field(factory=lambda: np.random.default_rng(7))
    runs: int = 0

    def run(self, seconds: float) -> Callable[[], float]:
        def once() -> float:
            took = seconds * self.factor(self.now - 100, self.rng)
            self.now += took
            self.runs += 1
            return took

        return once

    def measure(self, aim: Aim, ratios: Sequence[float] = RATIOS) -> Turns:
        candidates = [self.run(REFERENCE_SECONDS * ratio) for ratio in ratios]
        return time_in_turn(self.run(REFERENCE_SECONDS), candidates, aim, clock=lambda: self.now)


def steady(_now: float, _rng: np.random.Generator) -> float:
    return 1.0


def jitter(_now: float, rng: np.random.Generator) -> float:
    return float(1 + abs(rng.normal(0, 0.02)))


def drift(now: float, rng: np.random.Generator) -> float:
    """Slow down by 30% within two seconds, and stay at that speed."""
    return (1 + 0.3 * min(now / 2, 1)) * jitter(now, rng)


def spikes(now: float, rng: np.random.Generator) -> float:
    """Make one run in ten take three to twenty times as long."""
    return jitter(now, rng) * (float(rng.uniform(3, 20)) if rng.random() < 0.1 else 1)


def phases(now: float, rng: np.random.Generator) -> float:
    """Simulate another program that takes half the machine in every other tenth of a second."""
    return jitter(now, rng) * (2 if int(now * 10) % 2 else 1)


@pytest.mark.parametrize("factor", [steady, jitter, drift, spikes, phases])
def test_ratios_are_recovered_under_drift_and_noise(
    factor: Callable[[float, np.random.Generator], float],
) -> None:
    turns = FakeMachine(factor).measure(Aim(spread=0, seconds=2))
    assert [timing.ratio for timing in turns.timings] == pytest.approx(RATIOS, rel=0.01)
    assert (turns.reference.ratio, turns.reference.spread) == (1, 0)
    for ratio, timing in zip(RATIOS, turns.timings, strict=True):
        assert timing.spread < 0.01
        assert timing.min_ms >= REFERENCE_SECONDS * ratio * 1e3 * (1 - 1e-9)
        assert timing.min_ms <= timing.median_ms <= timing.p95_ms


def test_drift_changes_the_times_and_not_the_ratios() -> None:
    turns = FakeMachine(drift).measure(Aim(spread=0, seconds=2))
    assert turns.reference.median_ms > 1.1 * REFERENCE_SECONDS * 1e3
    assert turns.timings[0].ratio == pytest.approx(2, rel=0.005)


@pytest.mark.parametrize("factor", [jitter, spikes, phases])
def test_the_standard_error_predicts_the_error_of_a_ratio(
    factor: Callable[[float, np.random.Generator], float],
) -> None:
    found = [
        FakeMachine(factor, rng=np.random.default_rng(seed)).measure(Aim(spread=0, seconds=0, least=50), [1.5])
        for seed in range(60)
    ]
    ratios = np.array([turns.timings[0].ratio for turns in found])
    caught = np.array([turns.timings[0].spread for turns in found])
    assert 0.4 < np.median(caught) / (ratios.std() / 1.5) < 2.5


@pytest.mark.parametrize(("factor", "noisy"), [(steady, False), (jitter, False), (drift, False), (phases, True)])
def test_a_disturbed_machine_is_reported_as_noisy(
    factor: Callable[[float, np.random.Generator], float], noisy: bool
) -> None:
    assert FakeMachine(factor).measure(Aim(spread=0, seconds=2)).noisy == noisy


@pytest.mark.parametrize(
    ("times", "runs"),
    [
        ([1.0] * 60, 6),
        ([9, 5, 3, 2, 1.5, 1.2, *[1.0] * 60], 10),
        ([1, 1, 1, 2, 2, 2], 6),
        ([2, 2, 2, 1.99, 1.99, 1.99], 6),
        ([2, 2, 2, 1.9, 1.9, 1.9, 1.9], 7),
        ([0.9**i for i in range(100)], 60),
    ],
)
def test_warm_up_ends_when_times_stop_decreasing(times: list[float], runs: int) -> None:
    source = iter(times)
    assert warm_up(lambda: next(source)) == runs


def test_warm_up_runs_are_counted_and_in_no_result() -> None:
    machine = FakeMachine(lambda now, _: 50.0 if now < 0.4 else 1.0)
    turns = machine.measure(Aim(spread=0, seconds=0.5), [1.0])
    assert turns.reference.p95_ms == pytest.approx(REFERENCE_SECONDS * 1e3)
    assert turns.warmups == machine.runs - 2 * turns.reference.repeats
    assert turns.warmups >= 12


@pytest.mark.parametrize(
    ("factor", "aim", "rounds"),
    [
        (steady, Aim(), 15),
        (steady, Aim(least=5), 5),
        (steady, Aim(least=17), 20),
        (steady, Aim(spread=0, seconds=60), 15),
        (jitter, Aim(spread=0, most=40, seconds=60), 40),
        (jitter, Aim(spread=0, least=30, most=5, seconds=60), 30),
        (jitter, Aim(spread=0, seconds=0), 15),
        (jitter, Aim(spread=0, seconds=0, least=7), 7),
    ],
)
def test_a_measurement_stops_after_the_expected_rounds(
    factor: Callable[[float, np.random.Generator], float], aim: Aim, rounds: int
) -> None:
    turns = FakeMachine(factor).measure(aim, [1.0])
    assert {turns.reference.repeats, turns.timings[0].repeats} == {rounds}


def test_a_measurement_stops_at_its_time_limit() -> None:
    machine = FakeMachine(jitter)
    turns = machine.measure(Aim(spread=0, most=100_000, seconds=3), [1.0])
    assert turns.reference.repeats * 2 * REFERENCE_SECONDS == pytest.approx(3, rel=0.05)


def test_a_measurement_stops_when_the_standard_error_is_small() -> None:
    turns = FakeMachine(jitter).measure(Aim(spread=0.002, most=100_000, seconds=600))
    assert max(timing.spread for timing in turns.timings) <= 0.002
    assert 15 < turns.reference.repeats < 2000
    assert turns.reference.repeats % BLOCKS == 0


@pytest.mark.parametrize(
    ("name", "low", "high"), [("spread", 0, 1), ("least", 5, 100_000), ("most", 5, 100_000), ("seconds", 0, 3600)]
)
def test_the_values_of_an_aim_are_limited(name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(Aim(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in (low - 0.1, high + 0.1, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(DeviceError, match=f"timing {name} is"):
            Aim(**{name: value})  # type: ignore[arg-type]


@given(
    st.lists(st.lists(st.floats(1e-4, 1), min_size=3, max_size=3), min_size=BLOCKS, max_size=30),
    st.floats(0.1, 10),
    st.randoms(use_true_random=True),
)
def test_ratios_do_not_depend_on_the_speed_of_each_round(
    times: list[list[float]], scale: float, rng: random.Random
) -> None:
    seconds = np.array(times)
    speeds = np.array([scale * rng.uniform(0.5, 2) for _ in times])
    one, other = summarize(seconds), summarize(seconds * speeds[:, None])
    assert [t.ratio for t in one.timings] == pytest.approx([t.ratio for t in other.timings])
    assert [t.spread for t in one.timings] == pytest.approx([t.spread for t in other.timings], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("factor", [steady, jitter, drift, spikes, phases])
def test_the_ratio_of_two_candidates_is_recovered(factor: Callable[[float, np.random.Generator], float]) -> None:
    turns = FakeMachine(factor).measure(Aim(spread=0, seconds=2))
    for one, other in ((0, 1), (3, 2), (2, 2)):
        ratio = turns.ratio(one, other)
        assert ratio.value == pytest.approx(RATIOS[one] / RATIOS[other], rel=0.01)
        assert ratio.spread < 0.01


def test_a_paired_ratio_leaves_out_what_disturbs_whole_rounds() -> None:
    """The reference is noisy here and the candidates are not, so that only their own ratio is exact."""
    rng = np.random.default_rng(0)
    speeds = rng.uniform(1, 2, (50, 1))
    seconds = np.hstack([rng.uniform(1, 2, (50, 1)), speeds, 1.5 * speeds])
    turns = summarize(seconds)
    assert turns.ratio(1, 0).value == pytest.approx(1.5, rel=1e-6)
    assert turns.ratio(1, 0).spread < 1e-6 < turns.timings[0].spread
    assert (turns.ratio(0, 0).value, turns.ratio(0, 0).spread) == (1, 0)


def test_the_standard_error_predicts_the_error_of_a_paired_ratio() -> None:
    found = [
        FakeMachine(jitter, rng=np.random.default_rng(seed))
        .measure(Aim(spread=0, seconds=0, least=50), [1.5, 1.0])
        .ratio(0, 1)
        for seed in range(60)
    ]
    values = np.array([ratio.value for ratio in found])
    assert 0.4 < np.median([ratio.spread for ratio in found]) / (values.std() / 1.5) < 2.5


def test_several_measurements_are_one_measurement_of_all_rounds() -> None:
    seconds = np.random.default_rng(0).uniform(1, 2, (30, 3))
    whole = summarize(seconds, 6)
    parts = joined([summarize(seconds[:10], 1), summarize(seconds[10:], 5)])
    assert (parts.warmups, parts.reference.repeats) == (6, 30)
    for one, other in zip((*parts.timings, parts.reference), (*whole.timings, whole.reference), strict=True):
        assert one.ratio == pytest.approx(other.ratio, rel=1e-5)
        assert one.median_ms == pytest.approx(other.median_ms, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_each_round_begins_with_another_candidate(count: int) -> None:
    order: list[int] = []

    def runner(number: int) -> Callable[[], float]:
        def run() -> float:
            order.append(number)
            return 1.0 + number

        return run

    turns = time_in_turn(
        runner(0), [runner(1 + each) for each in range(count)], Aim(least=15, most=15), clock=lambda: 0
    )
    rounds = np.array(order[turns.warmups :]).reshape(15, 1 + count)
    assert not rounds[:, 0].any()
    assert rounds[:, 1].tolist() == [1 + number % count for number in range(15)]
    assert np.array_equal(np.sort(rounds), np.tile(np.arange(1 + count), (15, 1)))
    assert turns.rounds_ms == (tuple(1e3 * (1 + each) for each in range(1 + count)),) * 15


def test_a_measurement_stops_at_its_largest_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_TIMES", 100)
    turns = FakeMachine(jitter).measure(Aim(spread=0, most=100_000, seconds=3600), [1.0] * 3)
    assert turns.reference.repeats == 25
