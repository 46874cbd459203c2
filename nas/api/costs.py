"""Counted costs of an architecture."""

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from nas.arch.spec import Architecture


@frozen
class ArchitectureCost:
    """Hold the costs of one architecture, for one image.

    Attributes:
        macs: Multiply-adds of convolutions, gates and the classifier; one multiply-add is one FLOP of the papers.
        params: Number of trainable parameters.
        peak_bytes: Peak memory of the activations in bytes, the input image included.
        size_bytes: Size of the weights in bytes, with batch normalization folded into the convolutions.
        activations: Number of values in the outputs of all convolutions (arXiv 2003.13678, section 3.2).
        precision: Precision that `peak_bytes` and `size_bytes` refer to.

    >>> import nas
    >>> nas.cost(nas.load_architecture("mobilenetv2")).params
    3504872
    """

    macs: int
    params: int
    peak_bytes: int
    size_bytes: int
    activations: int
    precision: str


def cost(arch: "Architecture", *, precision: str = "fp32") -> ArchitectureCost:
    """Count what an architecture costs, without torch.

    Args:
        arch: The architecture.
        precision: Precision of weights and activations, "fp32", "fp16", "bf16" or "int8".

    Returns:
        Multiply-adds, parameters, activations, and sizes in bytes, all for one image.

    Raises:
        TargetError: There is no such precision.
        ArchitectureError: The argument is not an `nas.Architecture`.

    >>> import nas
    >>> found = nas.cost(nas.load_architecture("efficientnet-b0"))
    >>> found.macs, found.params
    (385814752, 5288548)
    """
    from nas.api.architectures import check_architecture
    from nas.cost import analytic

    check_architecture(arch)
    counted, size = analytic.cost(arch), analytic.size(precision).estimate(arch)
    return ArchitectureCost(
        macs=counted.macs,
        params=counted.params,
        peak_bytes=counted.peak_bytes(precision),
        size_bytes=int(size.value),
        activations=counted.activations,
        precision=precision,
    )
