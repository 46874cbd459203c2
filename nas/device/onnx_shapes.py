"""Shapes of the tensors of an ONNX graph whose inputs have fixed sizes, without running it."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx
import onnx.helper
from onnx import TensorProto, numpy_helper

VALUE_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
"""Fields of a tensor that hold its numbers."""
# Shape inference needs the numbers of small tensors only, such as axes and sizes.
_SMALL_VALUES = 1024
_MOST_AXES = 8
_WHOLE = (TensorProto.INT32, TensorProto.INT64)
_MOST_CROPS = 4  # after each other
PartialShape = tuple[int | None, ...]


def known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes that are known in full, and for the result of a slice at most that of its input.

    The numbers of large constants are removed from the model.

    Raises:
        Exception: The shapes contradict each other. The errors of ONNX have no common base class.
    """
    shapes = _infer_shapes(model)
    known = {name: shape for name, shape in shapes.items() if None not in shape}
    for node in model.graph.node:
        if node.op_type == "Slice" and node.output and node.output[0] not in known and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    return {name: tuple(dim or 0 for dim in shape) for name, shape in known.items()}


def _infer_shapes(model: onnx.ModelProto) -> dict[str, PartialShape]:
    """Return the shapes of all tensors, as far as they are known."""
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _SMALL_VALUES:
            for name in VALUE_FIELDS:
                tensor.ClearField(name)  # Otherwise the inference would copy all weights several times.
    shapes = _inferred(model)
    for _ in range(_MOST_CROPS):
        if not (resolved := _resolve_resizes(model.graph, shapes)):
            break
        model.graph.value_info.extend(resolved)
        shapes = _inferred(model)
    return shapes


def _inferred(model: onnx.ModelProto) -> dict[str, PartialShape]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found = {each.name: _shape(each) for each in (*graph.input, *graph.value_info, *graph.output)}
    constants = {each.name: tuple(each.dims) for each in graph.initializer}
    return {name: shape for name, shape in found.items() if shape is not None} | constants


def _shape(info: onnx.ValueInfoProto) -> PartialShape | None:
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(int(dim.dim_value) if dim.HasField("dim_value") else None for dim in tensor.shape.dim)


def _resolve_resizes(graph: onnx.GraphProto, shapes: Mapping[str, PartialShape]) -> list[onnx.ValueInfoProto]:
    """Return the shapes of images that are resized to a constant size after a crop whose size is not known.

    The inference does not compute the corners of a crop from the size of an image, and gives up at the resizing. Only
    shapes that are certain are returned: one that is too large would make the following inference wrong.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = dict(shapes)
    resolved = []
    for node in graph.node:
        rule = _REPLACED_AXES.get(node.op_type)
        if rule is None or len(node.input) < 4 or not node.output or None not in found.get(node.output[0], (None,)):
            continue
        before, replaced = found.get(node.input[0]), rule(node, constants)
        if before and replaced is not None and all(-len(before) <= axis < len(before) for axis in replaced):
            sizes = {axis % len(before): size for axis, size in replaced.items()}
            found[node.output[0]] = tuple(sizes.get(axis, dim) for axis, dim in enumerate(before))
            if None not in found[node.output[0]]:
                dims = list(found[node.output[0]])
                resolved.append(onnx.helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, dims))
    return resolved


def _sliced_axes(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> dict[int, int | None] | None:
    """Return the axes that a slice shortens, to sizes that are not known."""
    axes = _numbers(node.input[3], constants)
    return None if axes is None else dict.fromkeys(axes)


def _resized_axes(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> dict[int, int | None] | None:
    """Return the axes that are resized, with their sizes."""
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    sizes = _numbers(node.input[3], constants)
    if sizes is None or attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return None
    return dict(zip(attributes.get("axes", range(len(sizes))), sizes, strict=False))


def _numbers(name: str, constants: Mapping[str, TensorProto]) -> list[int] | None:
    """Return the numbers of a constant that is small and whole, or None."""
    tensor = constants.get(name)
    if tensor is None or tensor.data_type not in _WHOLE or math.prod(tensor.dims) > _MOST_AXES:
        return None
    return [int(number) for number in numpy_helper.to_array(tensor).ravel()]


_REPLACED_AXES: Mapping[str, Callable[[onnx.NodeProto, Mapping[str, TensorProto]], dict[int, int | None] | None]] = (
    MappingProxyType({"Slice": _sliced_axes, "Resize": _resized_axes})
)
