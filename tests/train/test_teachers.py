"""Teachers: the conversion of images, the order of classes, and the agreement of an ONNX file with its network."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.api.networks import to_onnx
from nas.api.teachers import find_teacher
from nas.api.weights import save_weights
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.train.teachers import OtherNetwork, Task, match_classes, teacher_of_file, teacher_of_network
from nas.weights.base import Normalization, TrainedNetwork
from tests.evaluate.colors import TINY

COLORS = ("red", "green", "blue")
OWN = Normalization((0.2, 0.3, 0.4), (0.5, 0.25, 0.125))
STUDENT = Normalization((0.1, 0.5, 0.9), (1.0, 0.5, 0.25))
TASK = Task("colors", COLORS, STUDENT)
ARCH = TINY.adapted(classes=3, resolution=16)


def network(classes: tuple[str, ...] | None = COLORS, norm: Normalization | None = OWN) -> TrainedNetwork:
    torch.manual_seed(0)
    return TrainedNetwork(ARCH, build_model(ARCH).state_dict(), classes, norm)


def pixels(side: int = 16) -> Tensor:
    return torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_a_teacher_gives_the_logits_that_its_own_normalization_gives() -> None:
    trained = network()
    teacher = teacher_of_network("teacher", trained, TASK, "cpu")
    with torch.no_grad():
        expected = trained.module()(OWN.apply(pixels()))
    assert torch.allclose(teacher(STUDENT.apply(pixels())), expected, atol=1e-5)


def test_images_are_resized_to_the_size_of_the_teacher() -> None:
    trained = network()
    teacher = teacher_of_network("teacher", trained, TASK, "cpu")
    flat = torch.tensor([0.2, 0.6, 0.4]).view(1, 3, 1, 1)  # a constant image is the same at every size
    found = [teacher(STUDENT.apply(flat.expand(1, 3, side, side))) for side in (8, 16, 23)]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.allclose(found[2], found[1], atol=1e-5)


def test_the_same_classes_in_another_order_are_mapped() -> None:
    trained = network(("blue", "red", "green"))
    found = teacher_of_network("teacher", trained, TASK, "cpu")(STUDENT.apply(pixels()))
    with torch.no_grad():
        logits = trained.module()(OWN.apply(pixels()))
    assert torch.allclose(found, torch.stack([logits[:, 1], logits[:, 2], logits[:, 0]], 1), atol=1e-5)


def test_a_teacher_does_not_learn() -> None:
    teacher = teacher_of_network("teacher", network(), TASK, "cpu")
    assert not teacher(STUDENT.apply(pixels()).requires_grad_()).requires_grad


@pytest.mark.parametrize(
    ("own", "count", "message"),
    [
        (("red", "lime", "blue"), 3, "the teacher T has no class 'green', which the images have"),
        (("red", "green", "blue", "gray"), 4, "the teacher T has a class 'gray', which no image has"),
        (None, 1000, "the teacher T has 1,000 classes, and the images have 3"),
    ],
)
def test_other_classes_are_an_error_with_the_command_that_helps(
    own: tuple[str, ...] | None, count: int, message: str
) -> None:
    with pytest.raises(WeightsError, match=message) as raised:
        match_classes("T", own, count, TASK)
    assert "`nas train T --pretrained T --data colors`" in raised.value.remedy


def test_classes_without_names_are_taken_in_their_order() -> None:
    assert match_classes("T", None, 3, TASK) == (0, 1, 2)


def test_an_unknown_normalization_and_other_channels_are_errors() -> None:
    with pytest.raises(WeightsError, match="the normalization of the images of the teacher T is unknown"):
        teacher_of_network("T", network(norm=None), TASK, "cpu")
    gray = Task("gray", COLORS, Normalization((0.5,), (0.5,)))
    with pytest.raises(WeightsError, match="takes images with 3 channels, and those of the student have 1"):
        teacher_of_network("T", network(), gray, "cpu")


@pytest.mark.parametrize("batch", [1, 4])
def test_an_onnx_file_equals_its_torch_network(batch: int, tmp_path: Path) -> None:
    trained = network()
    path = tmp_path / "teacher.onnx"
    path.write_bytes(to_onnx(ARCH, trained.tensors, batch=batch).SerializeToString())
    given = "0.2,0.3,0.4/0.5,0.25,0.125"
    onnx = find_teacher(str(path), TASK, "cpu", resolution=16, normalization=given)
    save_weights(trained, tmp_path / "teacher.safetensors")
    torch_ = find_teacher(str(tmp_path / "teacher.safetensors"), TASK, "cpu", resolution=16)
    images = STUDENT.apply(pixels(side=24))
    assert torch.allclose(onnx(images), torch_(images), atol=1e-4)
    assert onnx.digest != torch_.digest


def test_an_onnx_file_without_a_normalization_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    path.write_bytes(to_onnx(ARCH, network().tensors).SerializeToString())
    with pytest.raises(WeightsError, match="is unknown") as raised:
        find_teacher(str(path), TASK, "cpu", resolution=16)
    assert "--teacher-normalization" in raised.value.remedy


def other(**metadata: str) -> OtherNetwork:
    return OtherNetwork(lambda images: images.mean((2, 3)), (3, 4, 4), 3, metadata, "digest")


def test_the_metadata_of_a_file_states_classes_and_normalization() -> None:
    found = other(classes='["blue", "green", "red"]', normalization='{"mean": [0, 0, 0], "std": [1, 1, 1]}')
    teacher = teacher_of_file("T", found, None, TASK)
    images = pixels(4)
    assert torch.allclose(teacher(STUDENT.apply(images)), images.mean((2, 3)).flip(1), atol=1e-5)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"classes": "["}, "states its classes as '\\[', which is not JSON"),
        ({"normalization": '{"mean": [0]}'}, "states its normalization as"),
        ({"normalization": "3"}, "states its normalization as 3"),
    ],
)
def test_metadata_that_cannot_be_read_is_an_error(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        teacher_of_file("T", other(**metadata), None, TASK)


def test_a_source_for_other_classes_is_refused_with_the_command_that_fine_tunes_it() -> None:
    with pytest.raises(WeightsError, match=r"efficientnet-lite0 has (no class|1,000 classes)") as raised:
        find_teacher("efficientnet-lite0", TASK, "cpu", resolution=16)
    assert "nas train efficientnet-lite0 --pretrained efficientnet-lite0 --data colors" in raised.value.remedy
