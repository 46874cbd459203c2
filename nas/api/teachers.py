"""Teachers by the texts that users write: sources of weights, trained networks, and ONNX files."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.api.errors import explain_missing

if TYPE_CHECKING:
    from nas.train.teachers import Task, Teacher

ONNX_ENDING = ".onnx"


@explain_missing()
def find_teacher(
    source: str, task: "Task", device: str, *, resolution: int, normalization: str | None = None
) -> "Teacher":
    """Return the teacher that a user names.

    Args:
        source: Source of weights as `nas.load_weights` takes it, folder or file of a trained network, or ONNX file.
        task: What the student is trained on.
        device: Device that computes; ONNX files are computed on the CPU.
        resolution: Height and width of the student's images in pixels, for ONNX files that leave the size open.
        normalization: Normalization of the teacher's images that replaces the one that the source states.

    Raises:
        WeightsError: There is no such teacher, it cannot be read, or it does not fit the task.
        MissingPackageError: It needs a package that is not installed.
    """
    from nas.train.teachers import teacher_of_network

    if Path(source).suffix.lower() == ONNX_ENDING:
        return _teacher_of_onnx(source, task, resolution, normalization)
    from nas.api.weights import inspect_source

    return teacher_of_network(source, inspect_source(source, normalization).network, task, device)


def _teacher_of_onnx(source: str, task: "Task", resolution: int, normalization: str | None) -> "Teacher":
    from nas.device.onnx_file import read_onnx
    from nas.train.teachers import OtherNetwork, teacher_of_file
    from nas.weights.normalizations import parse_normalization

    found = read_onnx(Path(source), resolution)
    given = None if normalization is None else parse_normalization(normalization, found.input_shape[0])
    other = OtherNetwork(found, found.input_shape, found.classes, found.metadata, found.digest)
    return teacher_of_file(source, other, given, task)
