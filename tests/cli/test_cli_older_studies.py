"""Studies that version 0.1.0 made: the present commands list, show, report, resume and restore them.

See tests/golden/studies_0.1/README.md. All expected values are read from the database with plain SQL.
"""

import csv
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from attrs import frozen

from tests.cli.conftest import Nas, Ran

OLDER = Path(__file__).parents[1] / "golden" / "studies_0.1"
COSTS = ("macs", "params", "peak_bytes")
DIGITS = ("--data", "digits", "--epochs", "1", "--proxy-resolution", "16", "--images", "256", "--train-on", "cpu")
MACRO = ("search", "--space", "nasbench_macro")
NARROW = (*MACRO, "--target", "flops=60M", "--band", "0.5", "--trials", "12")
TABLE = ("--evaluator", "table:accuracies.csv")
FINISHED = (*NARROW, *TABLE, "--study", "finished")
KILLED = (*NARROW, "--evaluator", "python:older:accuracy", "--study", "killed")
FRONT = (*MACRO, "--target", "flops=90M", "--objective", "pareto", "--trials", "12", *TABLE, "--study", "front")
TRAINED = ("search", "--target", "flops=100M", "--trials", "4", "--confirm", "1", *DIGITS, "--study", "trained")
SMALL = ("scale", "mnasnet-small", "--seeds", "2", *DIGITS)
FITTED = (*SMALL, "--fit", "--step", "0.4", "--tolerance", "0.3", "--repeat", "2", "--study", "fitted")
RULES = ("--budget", "flops=120M", "--rule", "depth", "--rule", "width")
COMPARED = (*SMALL, "--compare", *RULES, "--study", "compared")
NETWORKS = ("--space", "nasbench_macro", "--networks", "5", "--seeds", "2")
CHECKED = ("check", *NETWORKS, "--evaluator", "train", *DIGITS, "--study", "checked")
SHORT, LONG = (f"checked: train epochs={epochs} resolution=16 images=256" for epochs in (1, 4))

SEARCHES = ("finished", "killed", "front", "trained")
SCORINGS = ("fitted", "compared", SHORT, LONG)
# What this version adds at the end of every search; version 0.1 knew nothing of it.
ADDED = tuple(f"recommended_{word}" for word in ("trial", "architecture", "accuracy", "interval", "reason"))
LOCK = "nas:runner"  # names the process that holds a study, so it is the one attribute that is not kept in a journal


@frozen
class Trial:
    """Holds all that a database has of a trial, as SQL reads it."""

    number: int
    state: str
    times: tuple[str, str | None]
    params: Mapping[str, float]
    values: Sequence[float]
    attributes: Mapping[str, Any]

    @property
    def arch(self) -> str:
        return str(self.attributes["arch"])

    @property
    def accuracy(self) -> float:
        return float(self.attributes["accuracy_by_epoch"][-1])

    @property
    def training_run(self) -> tuple[str, int]:
        """What identifies a training run: the network as it is trained, and the seed."""
        return str(self.attributes["trained"]), int(self.attributes["seed"])


@frozen
class Database:
    """Reads a study from a database without the code under test."""

    path: Path

    def select(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()

    def study_id(self, name: str) -> int:
        ((study_id,),) = self.select("select study_id from studies where study_name = ?", name)
        return int(study_id)

    def attributes(self, name: str) -> dict[str, Any]:
        query = "select key, value_json from study_user_attributes where study_id = ?"
        return {key: json.loads(text) for key, text in self.select(query, self.study_id(name))}

    def trials(self, name: str) -> list[Trial]:
        columns = "trial_id, number, state, datetime_start, datetime_complete"
        rows = self.select(f"select {columns} from trials where study_id = ? order by number", self.study_id(name))  # noqa: S608 -- a constant
        return [
            Trial(number, state, (begun, ended), self._params(key), self._values(key), self._attributes(key))
            for key, number, state, begun, ended in rows
        ]

    def complete(self, name: str) -> list[Trial]:
        return [trial for trial in self.trials(name) if trial.state == "COMPLETE"]

    def states(self, name: str) -> Counter[str]:
        return Counter(trial.state for trial in self.trials(name))

    def _params(self, trial_id: int) -> dict[str, float]:
        return dict(self.select("select param_name, param_value from trial_params where trial_id = ?", trial_id))

    def _values(self, trial_id: int) -> list[float]:
        query = "select value from trial_values where trial_id = ? order by objective"
        return [value for (value,) in self.select(query, trial_id)]

    def _attributes(self, trial_id: int) -> dict[str, Any]:
        query = "select key, value_json from trial_user_attributes where trial_id = ?"
        return {key: json.loads(text) for key, text in self.select(query, trial_id)}


KEPT = Database(OLDER / "studies.sqlite")


@pytest.fixture(name="present")
def _present(nas: Nas) -> Database:
    """A copy of the studies where the commands look for them."""
    shutil.copy(KEPT.path, nas.folder / "nas.db")
    shutil.copytree(OLDER / "journals", nas.folder / "nas-trials")
    for name in ("accuracies.csv", "older.py"):
        shutil.copy(OLDER / name, nas.folder)
    return Database(nas.folder / "nas.db")


def good(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    return ran.json


def best_of(name: str) -> Trial:
    """The best trial: by expected scores where the study has these, else by the first value that was maximized."""
    expected = KEPT.attributes(name).get("nas:expected", {}).get("rows", {})
    scores = {int(number): row["score"] for number, row in expected.items()}
    return max(KEPT.complete(name), key=lambda trial: scores.get(trial.number, -1) if scores else trial.values[0])


def front_of(name: str) -> list[int]:
    """Trials that no other one beats in accuracy and MACs, the cheapest first."""
    points = {trial.number: (trial.accuracy, -trial.attributes["macs"]) for trial in KEPT.complete(name)}
    beaten = {
        a for a, of_a in points.items() for b in points.values() if b != of_a and b[0] >= of_a[0] and b[1] >= of_a[1]
    }
    return sorted(points.keys() - beaten, key=lambda number: -points[number][1])


def score_of(name: str, trial: Trial) -> float | None:
    return None if name == "front" else trial.values[0]


def unchanged(database: Database, name: str) -> list[Trial]:
    """The trials that have come since, after a check that those that had ended are as they were."""
    numbers = {trial.number for trial in KEPT.complete(name)}
    trials = database.trials(name)
    assert [trial for trial in trials if trial.number in numbers] == KEPT.complete(name)
    return [trial for trial in trials if trial.number not in numbers]


def untouched(database: Database, *names: str) -> None:
    """No trial was added or changed, and what was kept of the studies beside their trials stayed, too."""
    for name in names:
        assert database.trials(name) == KEPT.trials(name)
        assert {**database.attributes(name), LOCK: None} == {**KEPT.attributes(name), LOCK: None}


def test_the_kept_studies_are_what_the_tests_need() -> None:
    states = {name: KEPT.states(name) for name in (*SEARCHES, *SCORINGS)}
    assert states == {
        "finished": {"COMPLETE": 12},
        "killed": {"COMPLETE": 5, "RUNNING": 1},
        "front": {"COMPLETE": 12},
        "trained": {"COMPLETE": 4},
        "fitted": {"COMPLETE": 3, "RUNNING": 1},
        "compared": {"COMPLETE": 6},
        SHORT: {"COMPLETE": 10},
        LONG: {"COMPLETE": 10},
    }
    ((running, heartbeat),) = KEPT.select(
        "select count(*), count(nas_runners.runner) from nas_slots left join nas_runners using (runner) where not ended"
    )
    assert (running, heartbeat) == (1, 1)
    assert KEPT.attributes("fitted")[LOCK]["runner"].startswith("laptop/")
    assert {*KEPT.attributes("trained")} >= {"nas:baseline", "nas:confirmed"}
    assert KEPT.select("select library_version from version_info") == [("5.0.0",)]
    assert {trial.attributes["versions"]["nas"] for name in states for trial in KEPT.trials(name)} == {"0.1.0"}


def test_all_studies_are_listed(nas: Nas, present: Database) -> None:
    rows = {row["study"]: row for row in good(nas("studies", "--json"))}
    assert tuple(rows) == SEARCHES
    for name, row in rows.items():
        settings, best = KEPT.attributes(name)["nas:settings"], best_of(name)
        assert {key: row[key] for key in ("space", "targets", "objective")} == {
            key: settings[key] for key in ("space", "targets", "objective")
        }
        assert (row["trials"], row["killed"]) == (len(KEPT.complete(name)), 0)
        further = KEPT.attributes(name).get("nas:confirmed", {}).get(str(best.number), {})
        assert row["best_accuracy"] == pytest.approx(fmean([best.accuracy, *further.values()]))
        expected = KEPT.attributes(name).get("nas:expected", {"rows": {}})["rows"].get(str(best.number))
        assert row["best_score"] == (expected["score"] if expected else score_of(name, best))
    listed = nas("studies")
    assert listed.code == 0, listed.err
    assert all(name in listed.out for name in (*SEARCHES, *SCORINGS))
    untouched(present, *SEARCHES, *SCORINGS)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_best_and_any_trial_are_shown(nas: Nas, present: Database, name: str) -> None:
    chosen = {"best": best_of(name), "trial=1": KEPT.trials(name)[1], "pareto=1": KEPT.trials(name)[front_of(name)[0]]}
    for which, trial in chosen.items():
        shown = good(nas("show", f"study:{name}:{which}", "--json"))
        assert shown["arch"] == trial.arch
        assert {cost: shown[cost] for cost in COSTS} == {cost: trial.attributes[cost] for cost in COSTS}
    untouched(present, name)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_front_is_reported(nas: Nas, present: Database, name: str) -> None:
    found = good(nas("pareto", name, "--csv", "all.csv", "--json"))
    assert (found["study"], found["cost"], found["front"]) == (name, "macs", front_of(name))
    trials = KEPT.complete(name)
    rows = [row for row in found["rows"] if row["trial"] is not None and row["state"] == "complete"]
    assert [row["trial"] for row in rows] == [trial.number for trial in trials]
    for row, trial in zip(rows, trials, strict=True):
        assert (row["arch"], row["accuracy"], row["seed"]) == (trial.arch, trial.accuracy, trial.attributes["seed"])
        assert {cost: row[cost] for cost in COSTS} == {cost: trial.attributes[cost] for cost in COSTS}
        assert (row["score"], row["seconds"]) == (score_of(name, trial), trial.attributes["seconds"])
        assert row["front"] == (trial.number in found["front"])
    with (nas.folder / "all.csv").open(newline="") as file:
        written = [row for row in csv.DictReader(file) if row["trial"] and row["state"] == "complete"]
    assert [(row["arch"], float(row["accuracy"]), float(row["macs"])) for row in written] == [
        (trial.arch, trial.accuracy, trial.attributes["macs"]) for trial in trials
    ]
    untouched(present, name)


def test_a_page_is_drawn_with_the_baseline(nas: Nas, present: Database) -> None:
    ran = nas("pareto", "trained", "--html", "front.html")
    assert ran.code == 0, ran.err
    baseline = KEPT.attributes("trained")["nas:baseline"]
    assert f"baseline {baseline['label']}" in ran.out
    assert baseline["label"] in (nas.folder / "front.html").read_text()
    untouched(present, "trained")


@pytest.mark.parametrize("name", ["fitted", "compared"])
def test_training_runs_for_scaling_are_no_search(nas: Nas, present: Database, name: str) -> None:
    command = {"fitted": "`nas scale --fit`", "compared": "`nas scale --compare`"}[name]
    nas("show", f"study:{name}:best").refused(name, command)
    nas("pareto", name).refused(name, command)
    untouched(present, name)


@pytest.mark.parametrize(("name", "command"), [("finished", FINISHED), ("front", FRONT)])
def test_a_finished_search_ends_at_once(nas: Nas, present: Database, name: str, command: tuple[str, ...]) -> None:
    told = good(nas(*command, "--json"))
    best = best_of(name)
    assert (told["study"], told["trials"]) == (name, 12)
    assert (told["best"]["trial"], told["best"]["arch"]) == (best.number, best.arch)
    assert [row["trial"] for row in told["front"]] == front_of(name)
    assert present.trials(name) == KEPT.trials(name)
    now, before = (dict(each.attributes(name)) for each in (present, KEPT))
    assert now["recommended_trial"] == best.number
    now = {key: value for key, value in now.items() if key not in ADDED}
    # What is expected has an interval now; all else stays.
    expected, known = (each.pop("nas:expected")["rows"] for each in (now, before))
    assert now | {LOCK: None} == before | {LOCK: None}
    assert list(expected) == list(known)
    for row, old in zip(expected.values(), known.values(), strict=True):
        assert row["low"] < old["accuracy"] < row["high"]
        # The terms of the model have other weights than when the study was made, within 0.02 points.
        assert (row["accuracy"], row["score"]) == pytest.approx((old["accuracy"], old["score"]), abs=2e-4)
        assert row["spread"] == pytest.approx(old["spread"], rel=0.05)


def test_a_finished_search_takes_more_trials(nas: Nas, present: Database) -> None:
    assert good(nas(*FINISHED, "--trials", "15", "--json"))["trials"] == 15
    new = unchanged(present, "finished")
    assert [(trial.number, trial.state) for trial in new] == [(number, "COMPLETE") for number in (12, 13, 14)]
    assert len({trial.arch for trial in present.trials("finished")}) == 15


def test_another_setting_is_refused_for_an_older_study(nas: Nas, present: Database) -> None:
    nas(*FINISHED, "--seed", "1").refused("finished", "seed")
    untouched(present, "finished")


def all_twelve(database: Database) -> None:
    """The killed search is whole: the five trials that had ended are as they were, and no network came twice."""
    unchanged(database, "killed")
    complete = database.complete("killed")
    assert (len(complete), database.states("killed")["RUNNING"]) == (12, 0)
    assert len({trial.arch for trial in complete}) == 12


@pytest.mark.slow  # a process of another host counts as ended when its heartbeat has not moved for a minute
def test_a_killed_search_goes_on(nas: Nas, present: Database) -> None:
    told = good(nas(*KILLED, "--json"))
    assert told["trials"] == 12
    all_twelve(present)
    (interrupted,) = (trial for trial in KEPT.trials("killed") if trial.state == "RUNNING")
    assert present.states("killed") == {"COMPLETE": 12, "FAIL": 1}
    assert interrupted.arch in {trial.arch for trial in present.complete("killed")}
    assert told["best"]["accuracy"] == next(
        trial.accuracy for trial in present.trials("killed") if trial.number == told["best"]["trial"]
    )


@pytest.mark.slow
def test_a_search_with_training_goes_on_and_trains_nothing_again(nas: Nas, present: Database) -> None:
    told = good(nas(*TRAINED, "--json"))
    best, kept = best_of("trained"), KEPT.attributes("trained")
    assert (told["trials"], told["best"]["trial"], told["best"]["accuracy"]) == (4, best.number, best.accuracy)
    assert told["best"]["further_accuracies"] == [*kept["nas:confirmed"][str(best.number)].values()]
    assert told["baseline"]["accuracy"] == kept["nas:baseline"]["accuracy"]
    assert present.trials("trained") == KEPT.trials("trained")
    # Only the baseline, which earlier versions did not re-train, is compared over as many seeds as the best now.
    assert len(told["baseline"]["further_accuracies"]) == len(told["best"]["further_accuracies"])
    assert good(nas(*TRAINED, "--trials", "5", "--json"))["trials"] == 5
    assert [(trial.number, trial.state) for trial in unchanged(present, "trained")] == [(4, "COMPLETE")]
    attributes = present.attributes("trained")
    # What version 0.1 did not store, and what is known of more training runs now; all else stays.
    renewed = {*ADDED, LOCK, "nas:validation_split", "nas:confirmed_correct", "nas:confirmed", "nas:expected"}
    assert {**attributes, **dict.fromkeys(renewed)} == {**kept, **dict.fromkeys(renewed)}
    assert attributes["nas:expected"]["trials"] == 5
    assert attributes["nas:confirmed"].items() >= kept["nas:confirmed"].items()


def fit_is_whole(database: Database, told: Mapping[str, Any]) -> None:
    """Four networks, the best two with a second seed: six training runs, of which three had been done."""
    (fit,) = told["fits"]
    unchanged(database, "fitted")
    complete = database.complete("fitted")
    assert (len(complete), database.states("fitted")["RUNNING"]) == (6, 0)
    assert len({trial.training_run for trial in complete}) == 6
    assert [len(row["accuracies"]) for row in fit["networks"]] == [2, 2, 1, 1]
    first = {tuple(row[name] for name in ("alpha", "beta", "gamma")): row["accuracies"][0] for row in fit["networks"]}
    for trial in KEPT.complete("fitted"):
        assert first[tuple(trial.params[name] for name in ("alpha", "beta", "gamma"))] == trial.accuracy


@pytest.mark.slow
def test_a_killed_fit_goes_on(nas: Nas, present: Database) -> None:
    fit_is_whole(present, good(nas(*FITTED, "--json")))


@pytest.mark.slow
def test_a_finished_comparison_trains_nothing_again(nas: Nas, present: Database) -> None:
    told = good(nas(*COMPARED, "--json"))
    accuracies = readings("compared", "arch")
    assert len(accuracies) == 3
    for row in (told["base"], *told["compared"]):
        assert row["accuracies"] == accuracies[row["arch"]]
    untouched(present, "compared")


def readings(name: str, attribute: str) -> dict[str, list[float]]:
    """Accuracies of a study by network, in the order of their seeds."""
    found: dict[str, list[float]] = {}
    for trial in sorted(KEPT.complete(name), key=lambda one: int(one.attributes["seed"])):
        found.setdefault(trial.attributes[attribute], []).append(trial.accuracy)
    return found


@pytest.mark.slow
def test_a_check_trains_nothing_again_and_takes_more_networks(nas: Nas, present: Database) -> None:
    told = good(nas(*CHECKED, "--json"))
    short, true = readings(SHORT, "arch"), readings(LONG, "arch")
    assert len(told["networks"]) == len(short) == len(true) == 5
    for row in told["networks"]:
        assert (row["verdicts"]["train"], row["truth"]) == (short[row["arch"]], true[row["arch"]])
    untouched(present, SHORT, LONG)
    more = good(nas(*CHECKED, "--networks", "6", "--json"))
    assert more["networks"][:5] == told["networks"]
    assert [len(unchanged(present, name)) for name in (SHORT, LONG)] == [2, 2]


def restored(nas: Nas, *journals: str) -> Database:
    """A new database of the journals; the old one is gone, as one that was lost."""
    (nas.folder / "nas.db").unlink()
    told = good(nas("studies", "restore", *journals, "--into", "new.db", "--json"))
    new = Database(nas.folder / "new.db")
    for row in told["studies"]:
        name = row["study"]
        assert (row["trials"], row["passed_over"]) == (len(KEPT.complete(name)), [])
        assert new.trials(name) == KEPT.complete(name)
        kept = KEPT.attributes(name)
        assert new.attributes(name) == {key: kept[key] for key in kept if key != LOCK}
    names = {row["study"] for row in told["studies"]}
    assert names == {name for (name,) in new.select("select study_name from studies")}
    return new


NEW = ("--storage", "sqlite:///new.db", "--json")


@pytest.mark.usefixtures("present")
def test_all_studies_are_restored_and_go_on(nas: Nas) -> None:
    new = restored(nas)
    assert {name for (name,) in new.select("select study_name from studies")} == {*SEARCHES, *SCORINGS}
    assert {row["study"] for row in good(nas("studies", *NEW))} == {*SEARCHES}
    told = good(nas(*FINISHED, *NEW))
    assert (told["trials"], told["best"]["trial"]) == (12, best_of("finished").number)
    assert new.trials("finished") == KEPT.trials("finished")
    assert good(nas(*KILLED, *NEW))["trials"] == 12
    all_twelve(new)


@pytest.mark.usefixtures("present")
def test_one_study_is_restored(nas: Nas) -> None:
    restored(nas, "nas-trials/front.jsonl")
    shown = good(nas("show", "study:front:best", *NEW))
    assert shown["arch"] == best_of("front").arch


@pytest.mark.slow
@pytest.mark.usefixtures("present")
def test_restored_training_runs_are_not_done_again(nas: Nas) -> None:
    new = restored(nas)
    fit_is_whole(new, good(nas(*FITTED, *NEW)))
    for command, names in ((COMPARED, ("compared",)), (CHECKED, (SHORT, LONG)), (TRAINED, ("trained",))):
        good(nas(*command, *NEW))
        for name in names:
            assert new.trials(name) == KEPT.trials(name)
