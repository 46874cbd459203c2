"""An initialization for training runs that are too short for the papers' initialization."""

from torch import nn

from nas.models.blocks import Classifier, ConvNorm, Scale
from nas.models.build import Nodes


def zero_init_residual(model: nn.Module) -> None:
    """Set the classifier and the last batch normalization of each residual branch to zero, in place.

    All classes then have the same probability, and a layer with a skip starts as its skip ("zero gamma", Goyal et al.,
    arXiv 1706.02677, section 5.1). Gradients still reach the scale that is 0, even through a gate that follows it. A
    branch that ends in an activation does not change, because gradients might not pass the activation.

    >>> import torch
    >>> from nas.arch.presets import preset
    >>> from nas.models.build import build_model
    >>> model = build_model(preset("mobilenetv2").adapted(resolution=32, classes=10)).eval()
    >>> zero_init_residual(model)
    >>> bool(model(torch.ones(1, 3, 32, 32)).any())
    False
    """
    classifiers = [module for module in model.modules() if isinstance(module, Classifier)]
    # Only the last `Classifier` gives the logits; the one before it in an `MlpHead` is a layer like any other.
    for classifier in classifiers[-1:]:
        nn.init.zeros_(classifier.weight)
    for module in model.modules():
        if isinstance(module, Nodes) and (norm := _last_norm(module)):
            nn.init.zeros_(norm.weight)


def _last_norm(nodes: Nodes) -> nn.BatchNorm2d | None:
    """Return the batch normalization at the end of a part's branch, or None if there is no skip or no such end."""
    reads = {name: inputs[0] for name, inputs, _ in nodes.steps}
    if "add" not in reads:
        return None
    end = nodes.get_submodule(reads["add"])
    if isinstance(end, Scale):
        end = nodes.get_submodule(reads[reads["add"]])
    return end.norm if isinstance(end, ConvNorm) else None
