"""Training runs with a teacher, and rounds of Noisy Student, on small pictures."""

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.api.networks import to_onnx
from nas.api.train import TrainingResult, train
from nas.errors import DataError, NasError, WeightsError
from nas.train.full.folder import FILES
from tests.train.pictures import CLASSES, TINY_TEXT, write_labeled, write_unlabeled

SETTINGS: dict[str, Any] = {"epochs": 2, "train_on": "cpu", "recipe": "finetune"}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.txt").write_text(TINY_TEXT)
    write_labeled(tmp_path / "photos")
    write_unlabeled(tmp_path / "more")
    return tmp_path


def run(out: str, **settings: Any) -> TrainingResult:
    return train("tiny.txt", "photos", out=out, **{**SETTINGS, **settings})


def weights(result: TrainingResult) -> str:
    return result.network.digest


def test_a_teacher_changes_the_weights_and_belongs_to_the_run(folder: Path) -> None:
    teacher = run("teacher")
    alone, taught = run("alone", seed=1), run("taught", seed=1, teacher=teacher.folder)
    assert weights(alone) != weights(taught)
    assert taught.metrics["run"]["teacher"] == teacher.network.digest
    assert alone.metrics["run"]["teacher"] is None
    with pytest.raises(NasError, match="teacher"):
        run("taught", seed=1)  # the same folder, without the teacher
    network = teacher.network
    model = to_onnx(network.arch, network.tensors, batch=4)
    model.metadata_props.add(key="classes", value=json.dumps(network.classes))
    (folder / "teacher.onnx").write_bytes(model.SerializeToString())
    assert network.normalization is not None
    mean, std = (",".join(map(repr, each)) for each in (network.normalization.mean, network.normalization.std))
    onnx = run("by-file", seed=1, teacher="teacher.onnx", teacher_normalization=f"{mean}/{std}")
    # The logits of both differ by rounding, and with them the losses.
    losses = [[epoch["loss"] for epoch in result.metrics["curve"]] for result in (taught, onnx)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.mark.usefixtures("folder")
def test_each_round_has_a_folder_and_the_test_split_is_used_once() -> None:
    result = run("out", unlabeled="more", rounds=2, confidence=0.0, per_class=5)
    first, second, last = (json.loads(Path("out", f"round-{k}", "metrics.json").read_text()) for k in range(3))
    assert ["test" in metrics for metrics in (first, second, last)] == [False, False, True]
    assert result.metrics["test"] == last["test"]
    assert weights(result) == nas.load_weights("out/round-2").digest != nas.load_weights("out/round-1").digest
    rounds = result.metrics["noisy_student"]
    assert [row["round"] for row in rounds] == [1, 2]
    assert [row["teacher"] for row in rounds] == [str(Path("out", f"round-{k}")) for k in range(2)]
    for row in rounds:
        assert row["unlabeled"] == 20
        assert tuple(row["classes"]) == CLASSES
        assert sum(count["predicted"] for count in row["classes"].values()) == 20
        assert all(count["total"] in (0, 5) for count in row["classes"].values())
    assert json.loads(Path("out", "metrics.json").read_text())["noisy_student"] == rounds
    again = run("out", unlabeled="more", rounds=2, confidence=0.0, per_class=5)
    assert weights(again) == weights(result)
    assert {key: again.metrics[key] for key in result.metrics} == result.metrics


@pytest.mark.usefixtures("folder")
def test_a_student_can_be_larger_than_its_teacher() -> None:
    result = run("out", unlabeled="more", confidence=0.0, grow=2.0, epochs=1)
    teacher, student = nas.load_weights("out/round-0").arch, result.network.arch
    assert student == nas.scale(teacher, 2.0).architecture
    assert student.resolution > teacher.resolution


@pytest.mark.usefixtures("folder")
def test_a_given_teacher_labels_the_images_of_the_first_round() -> None:
    teacher = run("teacher")
    result = run("out", unlabeled="more", confidence=0.0, teacher=teacher.folder, epochs=1)
    assert not Path("out", "round-0").exists()
    assert result.metrics["noisy_student"][0]["teacher"] == "teacher"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"unlabeled": "nothing"}, DataError, "of unlabeled images has no image"),
        ({"unlabeled": "missing"}, DataError, "there is no folder 'missing'"),
        ({"unlabeled": "more", "timeout": "1h", "epochs": None}, NasError, "both unlabeled images and a time limit"),
        ({"unlabeled": "more", "confidence": 1.5}, NasError, "confidence is 1.5"),
        ({"rounds": 2}, NasError, "rounds is 2, which belongs to unlabeled images"),
        ({"unlabeled": "more", "rounds": 0}, NasError, "rounds is 0"),
        ({"unlabeled": "more", "confidence": 1.0}, DataError, "none of the 20 unlabeled images reaches"),
        ({"teacher": "missing.onnx"}, WeightsError, "missing.onnx cannot be read"),
        ({"teacher_normalization": "imagenet"}, NasError, "and no teacher"),
    ],
)
def test_bad_input_is_one_clear_message(
    folder: Path, settings: dict[str, Any], error: type[NasError], message: str
) -> None:
    (folder / "nothing").mkdir()
    with pytest.raises(error, match=message) as raised:
        run("out", **{**SETTINGS, "epochs": 1, **settings})
    assert raised.value.remedy
    assert not Path("out", "weights.safetensors").exists()
    if settings.get("unlabeled") in ("nothing", "missing"):
        assert not Path("out").exists()  # no teacher is trained in vain


@pytest.mark.usefixtures("folder")
def test_another_folder_is_not_overwritten() -> None:
    run("out", epochs=1)
    with pytest.raises(NasError, match=r"has the file weights\.safetensors and no folder round-0"):
        run("out", epochs=1, unlabeled="more")


def test_several_processes_are_refused_before_the_teacher_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NasError, match="2 processes train together, and Noisy Student"):
        run("out", unlabeled="more")
    assert not (folder / "out").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", FILES)
def test_files_of_unknown_origin_are_not_overwritten(name: str) -> None:
    Path("mine").mkdir()
    Path("mine", name).write_text("mine")
    with pytest.raises(NasError, match=f"has the file {name} and no folder round-0"):
        run("mine", epochs=1, unlabeled="more")
    assert Path("mine", name).read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_the_curves_of_a_run_are_in_tensorboard() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run("out", tensorboard="events")
    run("out", tensorboard="events")  # it is complete, and logs nothing again
    events = EventAccumulator("events")
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("accuracy")]
    assert found == [(row["epoch"], pytest.approx(row["accuracy"])) for row in result.metrics["curve"]]
