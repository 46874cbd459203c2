"""The trial loop with workers that report several outcomes at once."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

import optuna
import pytest
from attrs import define, field

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import StudyError
from nas.search.plan import plan
from nas.search.run import run
from nas.search.settings import Settings
from nas.workers.base import Call, Key, Outcome
from tests.search.fakes import FakeEvaluator, make_space

FINISHED = Outcome((0.25,), 0.1)
LOST = Outcome((), 0.1, reason="its worker was killed", lost=True)


@define(eq=False)
class Together:
    """Workers that report all their calls in one poll, after the last of them was started."""

    outcomes: list[Outcome]
    _keys: list[Key] = field(factory=list, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        pass

    @property
    def free(self) -> bool:
        return len(self._keys) < len(self.outcomes)

    def start(self, key: Key, call: Call) -> None:  # noqa: ARG002 -- see `Workers`
        self._keys.append(key)

    def poll(self, seconds: float = 0.0) -> list[tuple[Key, Outcome]]:  # noqa: ARG002 -- see `Workers`
        keys, self._keys = self._keys, []
        return list(zip(keys, self.outcomes, strict=False))

    def answer(self, key: Key, *, go_on: bool) -> None:
        pass

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def test_results_that_arrive_together_with_many_lost_trials_are_stored(url: str) -> None:
    """Five failures in a row end a search, but only after all that arrived with them is stored and counted."""
    settings = Settings([parse_target("flops=1.2M")], trials=9, epochs=1, retries=0, confirm=0)
    planned = plan(make_space(), FakeEvaluator(), settings, COUNTED, "demo")
    run(planned, storage=url, workers=Together([FINISHED, *[LOST] * 5, FINISHED]))
    study = optuna.load_study(storage=url, study_name="demo")
    states = [trial.state.name for trial in study.trials]
    assert states[:7].count("COMPLETE") == 2
    assert states[:7].count("FAIL") == 5
    assert not any("killed" in trial.user_attrs for trial in study.trials)


def test_where_no_worker_gives_a_result_the_fifth_lost_one_ends_the_search(url: str) -> None:
    settings = Settings([parse_target("flops=1.2M")], trials=9, epochs=1, retries=0, confirm=0)
    planned = plan(make_space(), FakeEvaluator(), settings, COUNTED, "demo")
    with pytest.raises(StudyError, match="5 workers were lost, and none has evaluated anything"):
        run(planned, storage=url, workers=Together([LOST] * 5))
    study = optuna.load_study(storage=url, study_name="demo")
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 5
    # Without a further attempt the first four fail; the fifth one is begun again by the same command.
    assert ["killed" in trial.user_attrs for trial in study.trials] == [False] * 4 + [True]


def test_a_result_that_arrives_with_the_fifth_lost_trial_is_stored_and_the_search_goes_on(url: str) -> None:
    settings = Settings([parse_target("flops=1.2M")], trials=6, epochs=1, retries=0, confirm=0)
    planned = plan(make_space(), FakeEvaluator(), settings, COUNTED, "demo")
    run(planned, storage=url, workers=Together([*[LOST] * 5, FINISHED]))
    study = optuna.load_study(storage=url, study_name="demo")
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", *["FAIL"] * 5]
    assert not any("killed" in trial.user_attrs for trial in study.trials)
