"""Files with the weights of the best trials: which are kept, and what is never touched."""

from pathlib import Path

import attrs
import pytest

from nas.search.events import Event
from nas.search.kept_weights import MORE_DURING_SEARCH, KeptWeights
from nas.studies.records import DeviceMeasurement, Record, StudyView

SETTINGS = {"objective": "soft", "targets": ["flops=2M"], "limits": [], "proxy": {"evaluator": "finetune"}}


def record(number: int, accuracy: float, state: str = "complete") -> Record:
    metadata = {"weights": f"digest{number}.safetensors"}
    return Record(number, state, "net\nstem conv c8\nhead pool", {}, accuracy, score=accuracy, metadata=metadata)


def kept_in(folder: Path, count: int) -> tuple[KeptWeights, list[str]]:
    messages: list[str] = []
    (folder / "demo" / "unfinished").mkdir(parents=True, exist_ok=True)
    return KeptWeights(folder / "demo", count, messages.append), messages


def end(kept: KeptWeights, ended: Record) -> None:
    """End a trial whose evaluator wrote its weights."""
    (kept.written / ended.metadata["weights"]).write_text(str(ended.number))
    kept.listen(Event("baseline" if ended.number < 0 else "trial", ended))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_the_best_trials_keep_their_weights_and_the_others_do_not(tmp_path: Path) -> None:
    kept, messages = kept_in(tmp_path, count=2)
    records = [record(number, number / 100) for number in range(3 * MORE_DURING_SEARCH)]
    for each in records:
        end(kept, each)
    # Until the end more are kept: the final selection may prefer another trial than those with the best accuracies.
    assert names(kept.folder) == {f"trial-{number}.safetensors" for number in range(MORE_DURING_SEARCH, 12)}
    assert names(kept.written) == set()
    end(kept, record(-1, 0.5))
    kept.finish(StudyView("demo", SETTINGS, tuple(records)))
    assert names(kept.folder) == {"trial-10.safetensors", "trial-11.safetensors", "baseline.safetensors"}
    assert (kept.folder / "trial-11.safetensors").read_text() == "11"
    assert kept.file(records[11]) == kept.folder / "trial-11.safetensors"
    assert kept.file(records[0]) is None
    assert messages == []


def test_a_recommended_trial_keeps_its_weights_whatever_its_rank_is(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=1)
    records = [record(0, 0.9), record(1, 0.8)]
    for each in records:
        end(kept, each)
    # Trial 1 was re-trained, so it is recommended although the accuracy of trial 0 is higher.
    view = StudyView("demo", SETTINGS, tuple(records), confirmed={1: (0.8, 0.8)})
    assert view.best is not None
    assert view.best.number == 1
    kept.finish(view)
    assert names(kept.folder) == {"trial-1.safetensors"}


def test_weights_of_a_trial_whose_process_was_killed_are_moved_at_the_end(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=3)
    left = record(4, 0.7)
    (kept.written / left.metadata["weights"]).write_text("4")
    kept.finish(StudyView("demo", SETTINGS, (left,)))
    assert names(kept.folder) == {"trial-4.safetensors"}


def test_nothing_is_removed_before_the_ranking_is_final(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=1)
    records = [record(0, 0.9), record(1, 0.8)]
    for each in records:
        end(kept, each)
    kept.finish(StudyView("demo", SETTINGS, tuple(records)), final=False)
    assert names(kept.folder) == {"trial-0.safetensors", "trial-1.safetensors"}


def test_files_of_others_stay(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=1)
    for name in ("mine.safetensors", "trial-x.safetensors", "trial-1.txt"):
        (kept.folder / name).write_text("mine")
    (kept.written / "another-search.safetensors").write_text("running")
    for each in (record(0, 0.9), record(1, 0.1)):
        end(kept, each)
    kept.finish(StudyView("demo", SETTINGS, (record(0, 0.9), record(1, 0.1))))
    assert names(kept.folder) == {"mine.safetensors", "trial-x.safetensors", "trial-1.txt", "trial-0.safetensors"}
    assert names(kept.written) == {"another-search.safetensors"}


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/outside.safetensors", "missing.safetensors"])
def test_a_file_that_is_missing_or_elsewhere_is_reported_and_nothing_is_moved(tmp_path: Path, name: str) -> None:
    kept, messages = kept_in(tmp_path, count=1)
    (tmp_path / "outside.safetensors").write_text("mine")
    kept.listen(Event("trial", attrs.evolve(record(0, 0.9), metadata={"weights": name})))
    assert (tmp_path / "outside.safetensors").read_text() == "mine"
    assert len(messages) == 1
    assert "the weights of trial 0 are lost" in messages[0]


def test_a_file_that_another_process_has_moved_is_not_missed(tmp_path: Path) -> None:
    kept, messages = kept_in(tmp_path, count=1)
    (kept.folder / "trial-0.safetensors").write_text("0")
    kept.listen(Event("trial", record(0, 0.9)))
    assert messages == []


def test_weights_that_could_not_be_written_are_reported(tmp_path: Path) -> None:
    kept, messages = kept_in(tmp_path, count=1)
    problem = {"weights_problem": "the disk is full"}
    kept.listen(Event("trial", attrs.evolve(record(3, 0.9), metadata=problem)))
    kept.listen(Event("trial", attrs.evolve(record(4, 0.9), metadata=problem)))  # said once for all trials
    assert len(messages) == 1
    assert messages[0].startswith("the weights of trial 3 are not kept")
    assert messages[0].endswith("the disk is full")


def test_weights_of_a_former_study_of_the_same_name_are_set_aside(tmp_path: Path) -> None:
    kept, messages = kept_in(tmp_path, count=1)
    (kept.folder / "trial-0.safetensors").write_text("former")
    kept.listen(Event("started"))
    end_of_new = attrs.evolve(kept)
    (kept.folder / "unfinished").mkdir(parents=True)
    end(end_of_new, record(0, 0.5))
    assert (kept.folder / "trial-0.safetensors").read_text() == "0"
    (former,) = tmp_path.glob("demo-until-*")
    assert (former / "trial-0.safetensors").read_text() == "former"
    assert str(former) in messages[0]


def test_a_file_of_a_trial_that_the_study_does_not_have_stays(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=1)
    (kept.folder / "trial-77.safetensors").write_text("mine")
    end(kept, record(0, 0.9))
    kept.finish(StudyView("demo", SETTINGS, (record(0, 0.9),)))
    assert names(kept.folder) == {"trial-0.safetensors", "trial-77.safetensors"}


def test_networks_that_miss_the_target_on_the_device_make_room_for_those_that_meet_it(tmp_path: Path) -> None:
    kept, _ = kept_in(tmp_path, count=1)
    records = [record(0, 0.9), record(1, 0.8), record(2, 0.7)]
    for each in records:
        end(kept, each)
    measured = DeviceMeasurement("latency_ms", 5.0, 5.0, 6.0, 0.1)
    found = {0: measured, 1: attrs.evolve(measured, measured=4.0), 2: attrs.evolve(measured, measured=4.0)}
    kept.finish(StudyView("demo", SETTINGS, tuple(records), measurements=found))
    assert names(kept.folder) == {"trial-1.safetensors"}


def test_a_search_for_a_front_keeps_the_front(tmp_path: Path) -> None:
    (tmp_path / "demo" / "unfinished").mkdir(parents=True)
    kept = KeptWeights(tmp_path / "demo", 1, print, keeps_all=True)
    limits = [{"cost": "macs", "unit": "MACs", "low": 0.0, "high": 9.0}]
    settings = SETTINGS | {"objective": "pareto", "limits": limits}
    costs = {0: 1.0, 1: 2.0, 2: 3.0, **dict.fromkeys(range(3, 9), 3.0)}
    accuracies = {0: 0.5, 1: 0.6, 2: 0.7, **dict.fromkeys(range(3, 9), 0.1)}
    records = [attrs.evolve(record(n, accuracies[n]), costs={"macs": costs[n]}, score=None) for n in costs]
    for each in records:
        end(kept, each)
    assert len(names(kept.folder)) == 9
    kept.finish(StudyView("demo", settings, tuple(records)))
    assert names(kept.folder) == {f"trial-{number}.safetensors" for number in (0, 1, 2)}


def test_events_without_weights_move_nothing(tmp_path: Path) -> None:
    kept, messages = kept_in(tmp_path, count=1)
    kept.listen(Event("trial", attrs.evolve(record(0, 0.9), metadata={})))
    kept.listen(Event("started"))
    assert messages == []
    assert names(kept.folder) == set()
