"""The check of an ONNX file from elsewhere, before ONNX Runtime reads it.

A file may come from anywhere. Its size is limited; it has no data in other files, no operators but those of ONNX, no
functions and no loops; and the shape of every tensor is known before anything is computed, so that the memory has a
bound. Teachers, measurements and the agent read files only through this check.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from attrs import field, frozen
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from nas.device.onnx_macs import OnnxCost, count_graph
from nas.device.onnx_shapes import VALUE_FIELDS, known_shapes
from nas.device.onnx_structure import structure_bytes
from nas.device.validation import first_line
from nas.errors import WeightsError
from nas.files import read_bytes

MOST_BYTES = 1_000_000_000
MOST_STRUCTURE_BYTES = 16_000_000
"""Largest size of a file without the numbers of its tensors."""
MOST_VALUES = 2**29
"""Number of values of the largest tensor, which has 2 GiB in fp32."""
MOST_LIVE_VALUES = 2**31
"""Largest number of values that are needed at the same time."""
MOST_SIDE = 2**20
"""Largest height and width of images."""
MOST_CHANNELS = 32
"""More channels are those of images with their channels behind height and width."""
OPEN_BATCH = 16
"""Number of images that run together where a file leaves its batch open."""
INPUT_SIZE = "input_size"
"""Key of the metadata under which an exported file states the size of its network's images."""

_DOMAINS = ("", "ai.onnx")
# Operators of ONNX Runtime in int8 files, each with an operator of ONNX that has outputs of the same shape.
_RUNTIME_OPERATORS: Mapping[tuple[str, str], str] = MappingProxyType({("com.microsoft", "QuickGelu"): "Sigmoid"})
_REMEDY = "export the network once more, for images (N, C, H, W) and logits (N, classes), into a single file"
_BITS: Mapping[int, int] = MappingProxyType(
    {getattr(TensorProto, f"{name}{bits}"): bits for name in ("INT", "UINT") for bits in (4, 8, 16, 32, 64)}
    | {TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16}
    | {TensorProto.BOOL: 8}
)
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_SPARSE = (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS)
_CHANNELS_FIRST: Mapping[int, bool] = MappingProxyType({TensorProto.FLOAT: True, TensorProto.UINT8: False})


@frozen(eq=False)
class CheckedFile:
    """Describe an ONNX file that classifies images and has passed the check.

    Attributes:
        data: Bytes of the file.
        dtype: Type of its images: float32 for normalized images `(N, C, H, W)`, uint8 for `(N, H, W, C)`.
        shape: Shape of one image, with the height and width of the check where the file leaves them open.
        batch: Number of images in a batch, or None where the file leaves it open.
        classes: Number of classes.
        metadata: Texts by name that the file has beside the network.
    """

    data: bytes = field(repr=False)
    dtype: np.dtype[np.generic]
    shape: tuple[int, int, int]
    batch: int | None
    classes: int
    metadata: Mapping[str, str]

    def check_images(self, images: NDArray[np.generic]) -> None:
        """Check that images are in the form that the file takes.

        Raises:
            WeightsError: They have another type or shape.
        """
        if images.dtype != self.dtype or images.shape[1:] != self.shape:
            raise WeightsError(
                f"the network takes {self.dtype} images of the shape {self.shape}, and the given ones are "
                f"{images.dtype} of the shape {images.shape[1:]}",
                "give images of the size and type that the network takes",
            )


def read_onnx_file(path: Path) -> bytes:
    """Return the bytes of an ONNX file, whose size has a limit.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        return read_bytes(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or error
        raise WeightsError(f"{path} cannot be read: {reason}", "give the path of an ONNX file") from None


def check_onnx(data: bytes, *, size: tuple[int, int] | None = None, batch: int = OPEN_BATCH) -> CheckedFile:
    """Check an ONNX file and return a description of it.

    Args:
        data: Bytes of the file.
        size: Height and width of the images where the file leaves them open; None takes those of its metadata.
        batch: Number of images in a batch where the file leaves it open.

    Raises:
        WeightsError: It is no ONNX file, has something that is not allowed, or does not classify images.
    """
    return count_onnx(data, size=size, batch=batch)[0]


def count_onnx(
    data: bytes, *, size: tuple[int, int] | None = None, batch: int = OPEN_BATCH
) -> tuple[CheckedFile, OnnxCost]:
    """Check an ONNX file, and return a description of it and what was counted in it; see `check_onnx`.

    Raises:
        WeightsError: It is no ONNX file, has something that is not allowed, or does not classify images.
    """
    model = _parse(data)
    _check_content(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    dtype, own_batch, shape = _fix_input(model, size or _stated_size(metadata), batch)
    classes, shapes = _check_shapes(model)
    checked = CheckedFile(data, dtype, shape, own_batch, classes, metadata)
    return checked, count_graph(model.graph, shapes, own_batch or batch)


def _parse(data: bytes) -> onnx.ModelProto:
    try:
        structure = structure_bytes(data)
    except ValueError as error:
        raise _incomplete(f": {error}") from None
    if len(data) > MOST_BYTES or structure > MOST_STRUCTURE_BYTES:
        raise WeightsError(
            f"it has {len(data):,} bytes, {structure:,} of them beside the numbers of its tensors; at most "
            f"{MOST_BYTES:,} and {MOST_STRUCTURE_BYTES:,} are read",
            "export a smaller network, or store its tensors as raw data",
        )
    try:
        return onnx.load_model_from_string(data)
    except Exception:  # Damaged bytes may raise nearly any error.
        raise _incomplete() from None


def _incomplete(reason: str = "") -> WeightsError:
    return WeightsError(f"it is not a complete ONNX file: it is damaged, or a file of another kind{reason}", _REMEDY)


def _check_content(model: onnx.ModelProto) -> None:
    """Check that the file needs nothing but itself and the operators of ONNX."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise WeightsError("it has functions, graphs for training or sparse tensors, which are not read", _REMEDY)
    for node in graph.node:
        _check_node(node)
    for tensor in _tensors(graph):
        _check_tensor(tensor)


def _check_node(node: onnx.NodeProto) -> None:
    if node.domain not in _DOMAINS and (node.domain, node.op_type) not in _RUNTIME_OPERATORS:
        raise WeightsError(
            f"the operator {node.op_type!r:.80} is of the domain {node.domain!r:.80}, and only operators of ONNX "
            "itself are run",
            _REMEDY,
        )
    # The type of an attribute is a statement of the file, which may be wrong: its content counts too.
    for each in node.attribute:
        if each.type in _GRAPHS or each.HasField("g") or each.graphs:
            raise WeightsError(f"the operator {node.op_type!r:.80} has a graph of its own, which is not run", _REMEDY)
        if each.type in _SPARSE or each.HasField("sparse_tensor") or each.sparse_tensors:
            raise WeightsError(f"the operator {node.op_type!r:.80} has a sparse tensor, which is not read", _REMEDY)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: TensorProto) -> None:
    """Check that a tensor is in the file, and has as many numbers as its shape states."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise WeightsError(f"the tensor {tensor.name!r:.80} is in another file, which is not read", _REMEDY)
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise WeightsError(f"the tensor {tensor.name!r:.80} has no type of numbers that is read", _REMEDY)
    count = math.prod(tensor.dims) if all(dim >= 0 for dim in tensor.dims) else -1
    # Numbers of 4 bits are stored in pairs, and all other numbers that are not raw one by one.
    found = len(tensor.raw_data) or sum(len(getattr(tensor, name)) for name in VALUE_FIELDS[1:])
    wanted = math.ceil(count * bits / 8) if tensor.raw_data else math.ceil(count / 2) if bits < 8 else count
    if count < 0 or found != wanted:
        raise WeightsError(
            f"the tensor {tensor.name!r:.80} states the shape {list(tensor.dims)[:8]}, and the file has another number "
            "of values for it",
            _REMEDY,
        )


def _stated_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the height and width that an exported file states in its metadata as `[C, H, W]`, or None."""
    try:
        found = json.loads(metadata.get(INPUT_SIZE, ""))
    except (ValueError, RecursionError):
        return None
    is_size = isinstance(found, list) and len(found) == 3 and all(type(each) is int for each in found[1:])
    is_size = is_size and all(1 <= side <= MOST_SIDE for side in found[1:])
    return (found[1], found[2]) if is_size else None


def _fix_input(
    model: onnx.ModelProto, size: tuple[int, int] | None, batch: int
) -> tuple[np.dtype[np.generic], int | None, tuple[int, int, int]]:
    """Set the sizes that the file leaves open; return the type of its images, its batch and the shape of an image."""
    image = _image_input(model)
    name, kind = f"its input {image.name!r:.80}", image.type.tensor_type.elem_type
    dims = image.type.tensor_type.shape.dim
    if kind not in _CHANNELS_FIRST or len(dims) != 4:
        raise WeightsError(
            f"{name} is neither an fp32 tensor of the shape (N, C, H, W) nor a uint8 tensor (N, H, W, C)", _REMEDY
        )
    own_batch = int(dims[0].dim_value) if dims[0].HasField("dim_value") else None
    sides = (2, 3) if _CHANNELS_FIRST[kind] else (1, 2)
    if size is None and not all(dims[side].HasField("dim_value") for side in sides):
        raise WeightsError(f"{name} takes images of any size, and none is stated", "state one with --resolution")
    for at, side in ((0, batch), *zip(sides, size or (0, 0), strict=True)):
        if not dims[at].HasField("dim_value"):
            dims[at].dim_value = side
    shape = tuple(int(dim.dim_value) for dim in dims)
    if min(shape) < 1 or shape[1 if _CHANNELS_FIRST[kind] else 3] > MOST_CHANNELS:
        raise WeightsError(
            f"{name} has the shape {shape}, and fp32 images are (N, C, H, W), uint8 (N, H, W, C)", _REMEDY
        )
    # Shapes inside the file are hints, which may be wrong or too open: they are all inferred from the input.
    del model.graph.value_info[:]
    return np.dtype(np.float32 if _CHANNELS_FIRST[kind] else np.uint8), own_batch, (shape[1], shape[2], shape[3])


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the only input of a network; old files list the weights among the inputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise WeightsError(
            f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs; a classifier has one of each", _REMEDY
        )
    return inputs[0]


def _check_shapes(model: onnx.ModelProto) -> tuple[int, Mapping[str, tuple[int, ...]]]:
    """Check that all shapes are known and not too large; return the number of classes, and the shapes."""
    image, output = _image_input(model), model.graph.output[0]
    output.type.tensor_type.ClearField("shape")
    _replace_runtime_operators(model.graph)
    try:
        shapes = known_shapes(model)
    except Exception as error:  # The errors of ONNX have no common base class.
        raise WeightsError(f"its shapes contradict each other: {first_line(error)}", _REMEDY) from None
    names = [name for node in model.graph.node for name in node.output if name]
    unknown = next((name for name in names if name not in shapes), None)
    if unknown is not None:
        raise WeightsError(f"the shape of the tensor {unknown!r:.80} is not known before the network runs", _REMEDY)
    values = {name: math.prod(shape) for name, shape in shapes.items()}
    for name, count in values.items():
        if count > MOST_VALUES:
            raise WeightsError(
                f"the tensor {name!r:.80} has the shape {shapes[name]}; a tensor has at most {MOST_VALUES:,} values",
                "give smaller images, or a smaller batch or network",
            )
    _check_live(model.graph, values, values[image.name])
    found, batch = shapes.get(output.name), image.type.tensor_type.shape.dim[0].dim_value
    if found is None or len(found) != 2 or found[0] != batch or output.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise WeightsError(f"its output has the shape {found}; logits are fp32 of the shape (N, classes)", _REMEDY)
    return found[1], shapes


def _replace_runtime_operators(graph: onnx.GraphProto) -> None:
    """Replace operators of ONNX Runtime by those of ONNX with the same shapes: the inference knows no others."""
    for node in graph.node:
        if node.domain not in _DOMAINS:
            node.op_type, node.domain = _RUNTIME_OPERATORS[node.domain, node.op_type], ""
            del node.attribute[:]


def _check_live(graph: onnx.GraphProto, values: Mapping[str, int], live: int) -> None:
    """Check the number of values that are needed at the same time, when the operators run in their order.

    What is computed from constants alone counts until the end: ONNX Runtime computes it once and keeps it.

    Args:
        graph: The operators.
        values: Number of values of each tensor.
        live: Number of values of the images.
    """
    last = {name: at for at, node in enumerate(graph.node) for name in node.input}
    kept = {"", *(tensor.name for tensor in graph.initializer)}
    for at, node in enumerate(graph.node):
        live += sum(values[name] for name in node.output if name)
        if live > MOST_LIVE_VALUES:
            raise WeightsError(
                f"its operators need {live:,} values at the same time, and at most {MOST_LIVE_VALUES:,} are allowed",
                "give smaller images, or a smaller batch or network",
            )
        if kept.issuperset(node.input):
            kept.update(node.output)
        live -= sum(values.get(name, 0) for name in {*node.input, *node.output} - kept if last.get(name, at) == at)
