"""ONNX files of other programs as networks that classify images, read without trusting them.

A file may come from anywhere. Its size is limited; it has no data in other files, no code of its own and no loops; and
the shape of every tensor is known before anything is computed, so that the memory has a bound.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from attrs import frozen
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from nas.errors import WeightsError
from nas.files import read_bytes

MOST_BYTES = 1_000_000_000
# Number of values of the largest tensor, which has 2 GiB in fp32.
MOST_VALUES = 2**29
# More channels are those of images with their channels behind height and width.
MOST_CHANNELS = 32
# Number of images that are computed together if the file leaves it open.
BATCH = 16
_DOMAINS = ("", "ai.onnx")
_ERRORS_ONLY = 3  # ONNX Runtime's severity level
_REMEDY = "export the network once more, for images (N, C, H, W) and logits (N, classes), into a single file"


@frozen(eq=False)
class OnnxNetwork:
    """Compute the logits of images with the network of an ONNX file, on the CPU.

    Attributes:
        session: Session of ONNX Runtime.
        batch: Number of images of a call of the session.
        input_shape: Shape of an image: channels, height and width.
        classes: Number of classes.
        metadata: Texts by name that the file has beside the network.
        digest: 12 hexadecimal digits that change with the file.
    """

    session: onnxruntime.InferenceSession
    batch: int
    input_shape: tuple[int, int, int]
    classes: int
    metadata: Mapping[str, str]
    digest: str

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits `(N, classes)` of normalized images `(N, C, H, W)`."""
        (name,) = (each.name for each in self.session.get_inputs())
        parts = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        logits = [self.session.run(None, {name: self._padded(part)})[0][: len(part)] for part in parts]
        return np.concatenate(logits) if logits else np.zeros((0, self.classes), np.float32)

    def _padded(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = self.batch - len(images)
        return np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else np.ascontiguousarray(images)


def read_onnx(path: Path, resolution: int, threads: int = 0) -> OnnxNetwork:
    """Return the network of an ONNX file.

    Args:
        path: Path of the file.
        resolution: Height and width of the images in pixels if the file leaves them open.
        threads: Number of threads that compute; 0 takes one for each CPU core.

    Raises:
        WeightsError: The file cannot be read, is no ONNX file, has something that is not allowed, or does not classify
            images.
    """
    try:
        data = read_bytes(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or error
        raise WeightsError(f"{path} cannot be read: {reason}", "give the path of an ONNX file") from None
    try:
        return _network(data, resolution, threads)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.problem}", error.remedy) from None


def _network(data: bytes, resolution: int, threads: int) -> OnnxNetwork:
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # damaged bytes may raise nearly any error
        raise WeightsError(
            "it is not a complete ONNX file: it is damaged, or a file of another kind", _REMEDY
        ) from None
    _check_content(model)
    shape = _fix_input(model, resolution)
    batch = _check_shapes(model)
    session = _open(model, threads)
    classes = int(session.get_outputs()[0].shape[1])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return OnnxNetwork(session, batch, shape, classes, metadata, hashlib.sha256(data).hexdigest()[:12])


def _check_content(model: onnx.ModelProto) -> None:
    """Check that the file needs nothing but itself and the operators of ONNX."""
    graph = model.graph
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise WeightsError(f"the tensor {tensor.name!r:.80} is in another file, which is not read", _REMEDY)
    if model.functions or graph.sparse_initializer:
        raise WeightsError("it has functions or sparse tensors, which are not read", _REMEDY)
    for node in graph.node:
        if node.domain not in _DOMAINS:
            raise WeightsError(
                f"the operator {node.op_type!r:.80} is of the domain {node.domain!r:.80}, and only operators of ONNX "
                "itself are run",
                _REMEDY,
            )
        if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in node.attribute):
            raise WeightsError(f"the operator {node.op_type!r:.80} has a graph of its own, which is not run", _REMEDY)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _fix_input(model: onnx.ModelProto, resolution: int) -> tuple[int, int, int]:
    """Set the sizes of the input that the file leaves open, and return the shape of an image."""
    image = _image_input(model)
    dims = image.type.tensor_type.shape.dim
    if image.type.tensor_type.elem_type != TensorProto.FLOAT or len(dims) != 4:
        raise WeightsError(f"its input {image.name!r:.80} is not an fp32 tensor of the shape (N, C, H, W)", _REMEDY)
    for dim, size in zip(dims, (BATCH, 0, resolution, resolution), strict=True):
        if not dim.HasField("dim_value"):
            dim.dim_value = size
    batch, channels, height, width = (int(dim.dim_value) for dim in dims)
    if min(batch, channels, height, width) < 1 or channels > MOST_CHANNELS:
        shape = (batch, channels, height, width)
        raise WeightsError(f"its input {image.name!r:.80} has the shape {shape}, and images are (N, C, H, W)", _REMEDY)
    # Shapes inside the file are hints, which may be wrong or too open: they are all inferred from the input.
    del model.graph.value_info[:]
    return channels, height, width


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the only input of a network; old files list the weights among the inputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise WeightsError(
            f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs; a classifier has one of each", _REMEDY
        )
    return inputs[0]


def _check_shapes(model: onnx.ModelProto) -> int:
    """Check that all shapes are known and not too large, and return the number of images of a batch."""
    batch = int(_image_input(model).type.tensor_type.shape.dim[0].dim_value)
    output = model.graph.output[0]
    output.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except Exception as error:  # the errors of ONNX have no common base class
        raise WeightsError(f"its shapes contradict each other: {_first_line(error)}", _REMEDY) from None
    shapes = {each.name: _shape(each) for each in (*graph.value_info, *graph.output)}
    names = [name for node in graph.node for name in node.output if name]
    unknown = next((name for name in names if shapes.get(name) is None), None)
    if unknown is not None:
        raise WeightsError(f"the shape of the tensor {unknown!r:.80} is not known before the network runs", _REMEDY)
    for name, shape in shapes.items():
        if shape is not None and math.prod(shape) > MOST_VALUES:
            raise WeightsError(
                f"the tensor {name!r:.80} has the shape {shape}; a tensor has at most {MOST_VALUES:,} values", _REMEDY
            )
    found = shapes[output.name]
    if found is None or len(found) != 2 or found[0] != batch or output.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise WeightsError(f"its output has the shape {found}; logits are fp32 of the shape (N, classes)", _REMEDY)
    return batch


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return the shape of a tensor, or None if a part of it is unknown."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(int(dim.dim_value) for dim in tensor.shape.dim)


def _open(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of ONNX Runtime have no common base class
        raise WeightsError(f"ONNX Runtime rejects it: {_first_line(error)}", _REMEDY) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
