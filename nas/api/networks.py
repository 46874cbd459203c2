"""Architectures as torch modules and as ONNX graphs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import NasError

# torch and ONNX are optional packages, so they are imported when a function is called.
if TYPE_CHECKING:
    import onnx
    from torch import nn

    from nas.arch.spec import Architecture


@explain_missing()
def to_torch(arch: "Architecture") -> "nn.Module":
    """Build the torch module of an architecture, with fresh weights from torch's global generator.

    Args:
        arch: The architecture.

    Returns:
        A module with input `(N, in_channels, H, W)`, for images of any size, and output `(N, classes)`, the logits.

    Raises:
        MissingPackageError: torch is not installed.

    >>> import nas, torch
    >>> model = nas.to_torch(nas.load_architecture("mobilenetv2"))
    >>> model(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1000])
    """
    from nas.api.architectures import check_architecture
    from nas.models.build import build_model

    check_architecture(arch)
    return build_model(arch)


@check_arguments
@explain_missing()
def to_onnx(
    arch: "Architecture", weights: "Mapping[str, Any] | nn.Module | None" = None, *, batch: int = 1
) -> "onnx.ModelProto":
    """Build the ONNX graph of an architecture; batch normalization is folded into the convolutions.

    Args:
        arch: The architecture.
        weights: A module that `nas.to_torch` made of the same architecture, or its `state_dict()`, as tensors or
            arrays. Without weights they are drawn at random, which is enough for measuring latency.
        batch: Number of images in a batch.

    Returns:
        A model with input `input` of shape `(batch, in_channels, resolution, resolution)` and output `output` of shape
        `(batch, classes)`, the logits.

    Raises:
        ArchitectureError: The weights belong to another architecture, or are too large for one ONNX file.
        MissingPackageError: ONNX is not installed.

    >>> import nas
    >>> model = nas.to_onnx(nas.load_architecture("mobilenetv2"))
    >>> [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim]
    [1, 1000]
    """
    from nas.api.architectures import check_architecture
    from nas.graph.build import build_graph
    from nas.graph.fragment import whole
    from nas.graph.weights import folded_weights

    check_architecture(arch)
    folded = None if weights is None else folded_weights(arch, _arrays(weights))
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise NasError(f"batch is {batch!r}", "give a whole number from 1 upwards")
    return build_graph(whole(arch), folded, batch=batch)


def _arrays(weights: "Mapping[str, Any] | nn.Module") -> dict[str, Any]:
    """Return weights as values that numpy can read: tensors of a GPU are copied to the CPU."""
    state = weights if isinstance(weights, Mapping) else weights.state_dict()
    return {name: value.detach().cpu() if hasattr(value, "detach") else value for name, value in state.items()}
