"""The number of threads of each training run: stated, stored, probed, or left to the libraries."""

from pathlib import Path

import attrs
import optuna
import pytest
import torch
from attrs import frozen

from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import EvaluationError
from nas.search.events import Event
from nas.search.plan import Plan, plan
from nas.search.run import run
from nas.search.settings import Settings
from nas.search.thread_choice import THREADS, find_threads
from tests.search.fakes import FakeEvaluator, make_space


@frozen
class Stepping(FakeEvaluator):
    """An evaluator whose steps take longer with more threads, as on a busy machine."""

    step_s: float | None = 0.1

    def seconds_per_step(self, arch: Architecture) -> float | None:  # noqa: ARG002 -- see `StepTimed`
        """See `StepTimed`."""
        if self.step_s == 0:
            raise EvaluationError("out of memory", "lower the resolution")
        return None if self.step_s is None else self.step_s * torch.get_num_threads()


def planned(evaluator: FakeEvaluator, threads: int | None = None) -> Plan:
    settings = Settings([parse_target("flops=1.2M")], trials=2, epochs=1, threads=threads, confirm=0)
    return plan(make_space(), evaluator, settings, COUNTED, "demo")


@pytest.fixture(name="study")
def _study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


def test_a_stated_number_is_used_without_a_probe(study: optuna.Study) -> None:
    choice = find_threads(planned(Stepping(), threads=3), study, 2)
    assert choice is not None
    assert (choice.threads, dict(choice.seconds)) == (3, {})
    assert not any(key.startswith(THREADS) for key in study.user_attrs)


def test_a_probe_decides_and_its_choice_is_stored(study: optuna.Study) -> None:
    choice = find_threads(planned(Stepping()), study, 2)
    assert choice is not None
    assert choice.threads == 1
    assert choice.seconds == pytest.approx({1: 0.1, 2: 0.2})
    (stored,) = (value for key, value in study.user_attrs.items() if key.startswith(THREADS))
    assert stored["threads"] == 1
    again = find_threads(planned(attrs.evolve(Stepping(), step_s=0.0)), study, 2)  # a probe would fail now
    assert again == choice


@pytest.mark.parametrize("evaluator", [FakeEvaluator(), Stepping(step_s=None), Stepping(step_s=0.0)])
def test_what_cannot_be_probed_is_left_to_the_libraries(study: optuna.Study, evaluator: FakeEvaluator) -> None:
    assert find_threads(planned(evaluator), study, 2) is None
    assert not any(key.startswith(THREADS) for key in study.user_attrs)


def test_an_engine_that_decides_about_cores_is_not_probed(study: optuna.Study) -> None:
    assert find_threads(planned(Stepping()), study, None) is None


def test_a_single_core_needs_no_probe(study: optuna.Study) -> None:
    choice = find_threads(planned(Stepping(step_s=0.0)), study, 1)
    assert choice is not None
    assert choice.threads == 1


def test_a_search_reports_its_threads_and_uses_them(tmp_path: Path) -> None:
    used: list[int] = []

    def fails(_arch: Architecture) -> bool:
        used.append(torch.get_num_threads())
        return False

    events: list[Event] = []
    before = torch.get_num_threads()
    run(planned(Stepping(fails)), storage=f"sqlite:///{tmp_path / 'nas.db'}", listen=events.append, cores=2)
    assert set(used) == {1}
    assert torch.get_num_threads() == before
    (message,) = [event.message for event in events if event.kind == "threads"]
    assert message.startswith("each training run uses 1 thread; a training step takes 0.1 s with 1 thread, 0.2 s with")
