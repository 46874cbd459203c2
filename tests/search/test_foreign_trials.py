"""Trials that other programs write into the study of a search: counted, named, left out, and never changed."""

import math
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import StudyError
from nas.optuna_private.identity import study_id
from nas.report.frame import trial_frame
from nas.search.events import Event
from nas.search.run import search
from nas.search.settings import Settings
from nas.studies.opening import open_storage
from nas.studies.own_study import describe_foreign, is_own
from nas.studies.records import StudyView
from nas.studies.study import read_study
from tests.search.fakes import FakeEvaluator, make_space, outcome

SPACE = make_space()
CHOICE = SPACE.choices[0].name


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def go(url: str, trials: int = 8, told: list[Event] | None = None, **rest: Any) -> StudyView:
    settings = Settings((parse_target("flops=1.2M"),), trials=trials, epochs=2, band=0.5, **rest)
    listen: Callable[[Event], None] = (lambda _event: None) if told is None else told.append
    return search(SPACE, FakeEvaluator(), settings, COUNTED, study_name="demo", storage=url, listen=listen)


def in_optuna(url: str) -> optuna.Study:
    """The study as a program sees it that does not know nas."""
    return optuna.load_study(storage=RDBStorage(url), study_name="demo")


def add(state: TrialState = TrialState.COMPLETE, value: float | None = None, **given_: Any) -> Callable[..., object]:
    values = [value] if value is not None else None

    def write(study: optuna.Study) -> None:
        trial = create_trial(state=state, values=values, **given_)
        trial.datetime_start = datetime.now()
        study.add_trial(trial)

    return write


def of_nas(study: optuna.Study) -> FrozenTrial:
    return next(trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE)


def copied(value: float, **changed: Any) -> Callable[[optuna.Study], object]:
    """A trial with all that nas writes, one attribute of which was changed."""

    def write(study: optuna.Study) -> None:
        own = of_nas(study)
        attributes = own.user_attrs | changed
        trial = create_trial(value=value, params=own.params, distributions=own.distributions, user_attrs=attributes)
        study.add_trial(trial)

    return write


def enqueue(study: optuna.Study) -> None:
    study.enqueue_trial({CHOICE: "of no space"})


def ask(study: optuna.Study) -> None:
    study.ask().suggest_float("rate", 0, 1)


# Of each of these, one trial more is in the study, and nas has not written it.
KINDS: dict[str, Callable[[optuna.Study], object]] = {
    "without parameters": add(value=0.5),
    "with other parameters": add(value=0.9, params={"rate": 0.5}, distributions={"rate": FloatDistribution(0, 1)}),
    "left running": ask,
    "running since long": add(TrialState.RUNNING),
    "waiting": enqueue,
    "pruned": add(TrialState.PRUNED, 0.9, intermediate_values={1: 1e300}),
    "failed": add(TrialState.FAIL),
    "infinite": add(value=math.inf),
    "minus infinite": add(value=-math.inf),
    "negative": add(value=-1.0),
    "large": add(value=1e300, intermediate_values={1: 1e300, 2: 1e300}),
    "above one": add(value=1.5),
    "with an architecture that is a number": add(value=0.5, user_attrs={"arch": 5}),
    "with an architecture alone": add(value=0.5, user_attrs={"arch": "text"}),
    "with a text for its costs": add(value=0.5, user_attrs={"arch": "text", "costs": "macs"}),
    "called a training run": add(value=0.5, user_attrs={"trained": ["a"], "seed": []}),
    "called killed": add(value=0.5, user_attrs={"killed": True}),
    "with an accuracy above one": copied(0.5, accuracy_by_epoch=[1e300]),
    "with an infinite accuracy": copied(0.5, accuracy_by_epoch=[math.inf]),
    "with an accuracy that is not a number": copied(0.5, accuracy_by_epoch=[math.nan]),
    "with a negative accuracy": copied(0.5, accuracy_by_epoch=[-0.5]),
    "without an accuracy": copied(0.5, accuracy_by_epoch=[]),
    "with an infinite score": copied(math.inf),
    "with an infinite cost": copied(0.5, costs={"macs": math.inf}),
    "with correct images that are no text of nas": copied(0.5, correct="three"),
    "with correct images that are a number": copied(0.5, correct=0),
    "with another cost": copied(0.5, costs={"price": 1}),
}


def stored(study: optuna.Study, numbers: Sequence[int]) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials() if trial.number in numbers]


def same(view: StudyView, whole: StudyView) -> None:
    """The same trials in the same order, whatever numbers they have."""
    assert outcome(view) == outcome(whole)
    assert (view.counted, len(view.front)) == (whole.counted, len(whole.front))
    assert view.best is not None
    assert whole.best is not None
    assert view.best.arch == whole.best.arch
    assert [one.accuracy for one in view.expected.values()] == [one.accuracy for one in whole.expected.values()]


@pytest.fixture(name="whole", scope="module")
def _whole() -> StudyView:
    return go("sqlite://")


# In two halves: what a kind does to the search is not hidden by one of the other half.
@pytest.mark.parametrize("kinds", [list(KINDS)[::2], list(KINDS)[-2::-2]])
def test_a_search_with_trials_of_other_programs_is_the_same_search(
    tmp_path: Path, whole: StudyView, kinds: list[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    go(url, 3)
    other = in_optuna(url)
    for kind in kinds:
        KINDS[kind](other)
    numbers = tuple(range(3, 3 + len(kinds)))
    before, told = stored(other, numbers), list[Event]()
    view = go(url, told=told)
    assert view.foreign == numbers
    assert not {record.number for record in view.records} & {*numbers}
    same(view, whole)
    assert trial_frame(view)["trial"].dropna().tolist() == [record.number for record in view.records]
    assert describe_foreign(numbers) in [event.message for event in told if event.kind == "foreign"]
    assert stored(in_optuna(url), numbers) == before


@pytest.fixture(name="of_two_trials", scope="module")
def _of_two_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a search of two trials, which tests copy."""
    file = tmp_path_factory.mktemp("two-trials") / "nas.db"
    go(f"sqlite:///{file}", 2)
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_them_is_told_from_those_of_nas(tmp_path: Path, of_two_trials: Path, kind: str) -> None:
    url = f"sqlite:///{shutil.copy(of_two_trials, tmp_path)}"
    other = in_optuna(url)
    KINDS[kind](other)
    assert [is_own(trial, ["macs"]) for trial in other.get_trials()] == [True, True, False]
    view = read_study(open_storage(url), "demo")
    assert (view.counted, view.foreign) == (2, (2,))


@pytest.mark.parametrize(
    ("state", "value"), [(TrialState.COMPLETE, 0.99), (TrialState.PRUNED, None), (TrialState.FAIL, None)]
)
def test_a_trial_of_nas_that_another_program_ended_is_evaluated_again(
    tmp_path: Path, state: TrialState, value: float | None
) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"

    def leave(event: Event) -> None:
        if event.kind == "epoch" and event.record is not None and event.record.number == 3:
            in_optuna(url).tell(3, value, state=state, skip_if_finished=True)

    settings = Settings((parse_target("flops=1.2M"),), trials=8, epochs=2, band=0.5)
    view = search(SPACE, FakeEvaluator(), settings, COUNTED, study_name="demo", storage=url, listen=leave)
    assert view.foreign == (3,)
    evaluated = [record.arch for record in view.complete]
    assert len({*evaluated}) == view.counted == 8
    assert in_optuna(url).trials[3].user_attrs["arch"] in evaluated


@pytest.mark.parametrize("kinds", [("failed",), ("left running", "failed"), ("without parameters",)])
def test_failed_trials_are_started_again_beside_those_of_other_programs(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    settings = Settings((parse_target("flops=1.2M"),), trials=2, epochs=2, band=0.5)
    failing = FakeEvaluator(lambda _arch: True)
    with pytest.raises(StudyError, match="all 2 trials"):
        search(SPACE, failing, settings, COUNTED, study_name="demo", storage=url)
    for kind in kinds:
        KINDS[kind](in_optuna(url))
    numbers = tuple(range(2, 2 + len(kinds)))
    before = stored(in_optuna(url), numbers)
    view = go(url, 2)
    assert [record.state for record in view.records] == ["killed", "killed", "complete", "complete"]
    assert view.foreign == numbers
    assert stored(in_optuna(url), numbers) == before


def test_what_is_shown_names_a_few_and_counts_all() -> None:
    assert describe_foreign(()) == ""
    assert describe_foreign((4,)) == "1 trial was written or changed by another program and is left out: 4"
    assert describe_foreign(range(9)).startswith("9 trials were")
    assert describe_foreign(range(9)).endswith(": 0, 1, 2, 3, 4, …")


def test_a_study_that_was_deleted_leaves_no_reservation_to_the_next_one(tmp_path: Path) -> None:
    """SQLite gives the numbers of a deleted study and of its trials to the next ones."""
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    first = go(url, 5)
    kept = in_optuna(url)
    optuna.delete_study(study_name="demo", storage=RDBStorage(url))
    again = optuna.create_study(storage=RDBStorage(url), study_name="demo", direction="maximize")
    assert study_id(again) == study_id(kept)
    again.set_user_attr("nas:settings", dict(first.settings))
    again.add_trials([create_trial(value=0.1) for _ in range(2)])
    view = go(url, 10)
    assert (view.counted, view.foreign) == (10, (0, 1))
    assert outcome(view)[:5] == outcome(first)
