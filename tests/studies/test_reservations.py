"""Reservations: as many as trials were asked for, one for each architecture, and none lost with its process."""

import multiprocessing
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from attrs import evolve
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.optuna_private.identity import storage_of, study_id
from nas.studies.opening import open_storage
from nas.studies.reservation_keys import reservation_key
from nas.studies.reservations import AlreadyReserved, NoneLeft, Reservation, Reservations
from nas.studies.tables import backend

PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nas.db'}"
    url: str = request.getfixturevalue("server").url
    if "demo" in optuna.get_all_study_names(url):
        optuna.delete_study(storage=url, study_name="demo")
    return url


def study_at(url: str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(url), study_name="demo", load_if_exists=True, direction="maximize")


def reservations_of(study: optuna.Study, runner: str = "here 1 1.00") -> Reservations:
    return Reservations(backend(storage_of(study)), study_id(study), runner)


def running(name: str) -> FrozenTrial:
    kinds: dict[str, BaseDistribution] = {"x": CategoricalDistribution((1, 2))}
    trial = create_trial(
        state=TrialState.RUNNING, params={"x": 1}, distributions=kinds, user_attrs={"arch": name, "costs": {"macs": 1}}
    )
    trial.datetime_start = datetime.now()
    return trial


def begin(reservations: Reservations, name: str, total: int = 9) -> FrozenTrial:
    trial = running(name)
    reservations.begin(trial, total)
    return trial


def ended(trial: FrozenTrial, value: float = 0.5) -> FrozenTrial:
    trial.state, trial.values, trial.datetime_complete = TrialState.COMPLETE, [value], datetime.now()
    trial.set_user_attr("seconds", 1.5)
    return trial


def states(study: optuna.Study) -> list[tuple[str, str, bool]]:
    trials = study.get_trials(deepcopy=False)
    return [(t.user_attrs["arch"], t.state.name, "killed" in t.user_attrs) for t in trials]


def test_reservations_are_numbered_in_order_and_limited_to_the_total(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    trials = [begin(reservations, name, 3) for name in "abc"]
    assert [trial.number for trial in trials] == [0, 1, 2]
    with pytest.raises(NoneLeft):
        reservations.begin(running("d"), 3)
    assert states(study) == [("a", "RUNNING", False), ("b", "RUNNING", False), ("c", "RUNNING", False)]
    assert [(slot.number, slot.attempts) for slot in reservations.open()] == [(0, 1), (1, 1), (2, 1)]
    assert begin(reservations, "d", 4).number == 3


def test_an_architecture_is_reserved_once(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    reservations.begin(running("a"), 3)
    for each in (reservations, reservations_of(study, "there 2 2.00")):
        with pytest.raises(AlreadyReserved):
            each.begin(running("a"), 3)
    assert reservations_of(study).count() == len(states(study)) == 1


def test_a_trial_and_its_reservation_end_together(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    trial = begin(reservations, "a")
    assert reservations.end(ended(trial))
    assert reservations.open() == []
    (kept,) = study.get_trials()
    assert (kept.state, kept.value, kept.params) == (TrialState.COMPLETE, 0.5, {"x": 1})
    assert kept.user_attrs == {"arch": "a", "costs": {"macs": 1}, "seconds": 1.5}
    assert kept.datetime_complete is not None
    assert reservations.end(ended(trial, 0.7))  # a database that could not say that it had written it
    assert study_at(url).trials[0].value == 0.5


def test_a_trial_that_has_ended_is_written_with_its_reservation(url: str) -> None:
    study = study_at(url)
    reservations_of(study).begin(ended(running("a")), 1)
    assert (states(study), reservations_of(study).open()) == ([("a", "COMPLETE", False)], [])


def test_a_reservation_is_recognized_after_the_connection_was_lost(url: str) -> None:
    study = study_at(url)
    reservations, lost = reservations_of(study), reservations_of(study)
    number = begin(lost, "a").number
    assert begin(reservations, "a").number == number  # by the same process, which had not heard of it
    assert len(states(study)) == 1


def test_a_reservation_is_taken_over_once(url: str) -> None:
    study = study_at(url)
    reservations_of(study).begin(running("a"), 3)
    (slot,) = reservations_of(study).open()
    first, second = reservations_of(study, "one 1 1.00"), reservations_of(study, "two 2 2.00")
    assert first.take_over(slot, running("a"), "its process ended before it did") is not None
    assert second.take_over(slot, running("a"), "its process ended before it did") is None
    assert states(study) == [("a", "FAIL", True), ("a", "RUNNING", False)]
    assert study.trials[0].user_attrs["reason"] == "its process ended before it did"
    (now,) = first.open()
    assert (now.number, now.process, now.attempts) == (slot.number, "one 1 1.00", 2)


def test_a_process_that_counted_as_ended_cannot_end_its_trial_later(url: str) -> None:
    study = study_at(url)
    slow = reservations_of(study, "slow 1 1.00")
    trial = begin(slow, "a")
    fast = reservations_of(study, "fast 2 2.00")
    again = running("a")
    assert fast.take_over(slow.open()[0], again, "silent") is not None
    assert not slow.end(ended(trial))
    assert fast.end(ended(again))
    assert not slow.end(ended(trial))
    assert states(study) == [("a", "FAIL", True), ("a", "COMPLETE", False)]


def test_a_reservation_that_fails_counts_and_holds_the_reason(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    reservations.begin(running("a"), 1)
    (slot,) = reservations.open()
    assert reservations.fail(slot, "4 times it was begun")
    assert not reservations.fail(slot, "4 times it was begun")
    assert states(study) == [("a", "FAIL", False)]
    assert study.trials[0].user_attrs["reason"] == "4 times it was begun"
    assert (reservations.open(), reservations.count()) == ([], 1)


def test_a_trial_that_has_just_ended_is_left_unchanged(url: str) -> None:
    """Neither a process that releases its trials nor one that takes them over changes it."""
    study = study_at(url)
    reservations = reservations_of(study)
    reservations.begin(running("a"), 1)
    (reservation,) = reservations.open()
    study.tell(0, 0.5)
    assert reservations_of(study, "there 2 2.00").fail(reservation, "silent")
    reservations.release("too late")
    assert (states(study), study.trials[0].value) == ([("a", "COMPLETE", False)], 0.5)


def test_a_released_reservation_is_open_and_has_lost_no_attempt(url: str) -> None:
    study = study_at(url)
    mine, other = reservations_of(study), reservations_of(study, "other 2 2.00")
    mine.begin(running("a"), 3)
    other.begin(running("b"), 3)
    mine.release("cut short")
    assert states(study) == [("a", "FAIL", True), ("b", "RUNNING", False)]
    waiting = mine.open()
    assert [(slot.process, slot.attempts) for slot in waiting] == [("", 0), ("other 2 2.00", 1)]
    assert other.take_over(waiting[0], running("a"), "") is not None
    assert [slot.attempts for slot in mine.open()] == [1, 1]


def test_a_trial_that_another_program_has_ended_is_not_overwritten(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    trial = begin(reservations, "a")
    optuna.load_study(storage=url, study_name="demo").tell(trial.number, 0.25)
    assert not reservations.end(ended(trial))
    assert [kept.value for kept in optuna.load_study(storage=url, study_name="demo").trials] == [0.25]
    (left,) = reservations.open()
    again = running("a")
    assert reservations.take_over(left, again, "it was ended by another program") is not None
    assert reservations.end(ended(again))


def test_reservations_that_lead_to_no_trial_or_to_another_one_are_dropped(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    for name in ("a", "b", "c", "d"):
        reservations.end(ended(begin(reservations, name)))
    with backend(storage_of(study)).engine.begin() as connection:
        connection.execute(sqlalchemy.text("update nas_slots set trial_id = 999 where slot = 0"))
        connection.execute(sqlalchemy.text("update nas_slots set arch = 'another' where slot = 1"))
    reservations.reconcile(foreign=[3])
    assert reservations.count() == 3
    for name in ("a", "b", "c"):
        with pytest.raises(AlreadyReserved):
            reservations.begin(running(name), 9)
    assert begin(reservations, "d").number == 4
    assert reservations.count() == 4


def test_trials_of_other_tools_get_reservations(url: str) -> None:
    study = study_at(url)
    for name in ("a", "b", "a"):
        study.add_trial(ended(running(name)))
    study.add_trial(running("c"))
    reservations = reservations_of(study)
    reservations.reconcile()
    reservations.reconcile()
    assert (reservations.count(), reservations.open()) == (3, [])
    assert states(study)[3] == ("c", "FAIL", True)
    with pytest.raises(AlreadyReserved):
        reservations.begin(running("b"), 9)
    assert begin(reservations, "c").number == 4


def test_reservations_of_a_deleted_study_are_deleted(url: str) -> None:
    study = study_at(url)
    reservations_of(study).begin(running("a"), 1)
    optuna.delete_study(storage=url, study_name="demo")
    again = study_at(url)
    reservations = reservations_of(again)
    # Numbers of studies may come again.
    with backend(storage_of(again)).engine.begin() as connection:
        numbers = {"new": study_id(again), "old": study_id(study)}
        connection.execute(sqlalchemy.text("update nas_slots set study_id = :new where study_id = :old"), numbers)
    reservations.reconcile()
    assert reservations.count() == 0


def _begin_many(url: str, runner: str, names: list[str], total: int) -> None:
    reservations = reservations_of(study_at(url), runner)
    for name in names:
        try:
            reservations.end(ended(begin(reservations, name, total)))
        except AlreadyReserved:
            continue
        except NoneLeft:
            return


def _take_over(url: str, runner: str, slot: Reservation, ready: Any, answers: Any) -> None:
    reservations = reservations_of(study_at(url), runner)
    ready.wait(60)
    answers.put(reservations.take_over(slot, running("a"), "gone") is not None)


@pytest.mark.slow
def test_of_processes_that_take_over_a_reservation_at_once_one_succeeds(url: str) -> None:
    study = study_at(url)
    reservations = reservations_of(study)
    begin(reservations, "a")
    ready, answers = PROCESSES.Barrier(4), PROCESSES.Queue()
    (slot,) = reservations.open()
    processes = [
        PROCESSES.Process(target=_take_over, args=(url, f"host {i} 1.00", slot, ready, answers)) for i in range(4)
    ]
    for process in processes:
        process.start()
    assert sorted(answers.get(timeout=120) for _ in processes) == [False, False, False, True]
    for process in processes:
        process.join(60)
    assert states(study) == [("a", "FAIL", True), ("a", "RUNNING", False)]


def test_a_new_reservation_has_the_number_that_the_database_gave_it(url: str) -> None:
    """Other processes may make reservations between a count and a new reservation."""
    study = study_at(url)
    reservations, other = reservations_of(study), reservations_of(study, "other 2 2.00")
    assert reservations.count() == 0
    begin(other, "b")
    mine = reservations.begin(running("a"), 9)
    assert (mine.number, mine.attempts) == (1, 1)
    stale = evolve(mine, number=0)
    assert reservations.take_over(stale, running("a"), "lost") is None
    again = reservations.take_over(mine, running("a"), "lost")
    assert again is not None
    assert [slot.number for slot in reservations.open()] == [0, 1]
    assert reservations.open()[1].trial_id == again.trial_id


@pytest.mark.slow
def test_processes_share_the_reservations_and_none_is_made_twice(url: str) -> None:
    study_at(url)
    names = [str(number) for number in range(80)]
    orders = [names, names[::-1], names[20:] + names[:20], names[50:] + names[:50]]
    processes = [
        PROCESSES.Process(target=_begin_many, args=(url, f"host {i} 1.00", order, 60)) for i, order in enumerate(orders)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    trials = study_at(url).trials
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": 60}
    assert len({trial.user_attrs["arch"] for trial in trials}) == 60
    assert [trial.number for trial in trials] == list(range(60))


def job(trained: str, seed: int) -> FrozenTrial:
    """A running trial of a fixed list."""
    trial = running("as it is meant")
    for name, value in {"trained": trained, "seed": seed}.items():
        trial.set_user_attr(name, value)
    return trial


def test_the_key_of_a_searchs_trial_is_its_architectures_digest() -> None:
    """As in studies of earlier versions, whose rows hold it."""
    expected = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # SHA-256 of "a", FIPS 180-2
    assert reservation_key({"arch": "a"}) == reservation_key({"arch": "a", "seed": 7, "costs": {}}) == expected


def test_the_key_of_a_job_is_what_it_trains_and_its_seed() -> None:
    keys = {reservation_key(job(trained, seed).user_attrs) for trained in "ab" for seed in (0, 1)}
    assert len(keys | {reservation_key({"arch": "a"})}) == 5
    assert reservation_key({"arch": "x", "trained": "a", "seed": 0}) in keys


def test_a_network_has_a_reservation_for_each_seed(url: str) -> None:
    reservations = reservations_of(study_at(url))
    first = reservations.begin(job("a", 0), None)
    assert reservations.begin(job("a", 1), None).number == 1
    for each in (reservations, reservations_of(study_at(url), "there 2 2.00")):
        with pytest.raises(AlreadyReserved):
            each.begin(job("a", 0), None)
    assert next((one.number, one.key) for one in reservations.open()) == (0, first.key)
    assert first.key == reservation_key({"trained": "a", "seed": 0})


def test_jobs_from_elsewhere_get_reservations_but_for_those_to_repeat(url: str) -> None:
    study = study_at(url)
    for trial in (job("a", 0), job("a", 1), job("b", 0)):
        study.add_trial(ended(trial))
    reservations = reservations_of(study)
    reservations.reconcile([1])
    assert reservations.count() == 2
    for taken in (job("a", 0), job("b", 0)):
        with pytest.raises(AlreadyReserved):
            reservations.begin(taken, None)
    assert reservations.begin(job("a", 1), None).number == 2


def test_what_is_freed_can_be_reserved_again(url: str) -> None:
    """A reservation that has a newer trial by then keeps it."""
    study = study_at(url)
    reservations = reservations_of(study)
    failed, other = job("a", 0), job("b", 0)
    reservations.begin(failed, None)
    reservations.begin(other, None)
    reservations.end(ended(failed))
    reservations.free([failed._trial_id])
    again = job("a", 0)
    assert reservations.begin(again, None).number == 2
    reservations.free([failed._trial_id])
    with pytest.raises(AlreadyReserved):
        reservations.begin(job("a", 0), None)
    assert [one.trial_id for one in reservations.open()] == [other._trial_id, again._trial_id]
