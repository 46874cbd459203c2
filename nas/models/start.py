"""A start for trainings too short for the papers' initialisation."""

from torch import nn

from nas.models.blocks import Classifier, ConvNorm, Scale
from nas.models.build import Nodes


def start_quietly(model: nn.Module) -> None:
    """Make every class equally likely and every branch that ends in a normalisation add nothing to its skip, in place.

    With its last scale at 0 such a layer begins as its skip alone ("zero gamma", arXiv 1706.02677, section 5.1), and
    gradients still reach the scale, through a gate after it too. A branch that ends in an activation is left as it is,
    since there they might not.
    """
    classifiers = [module for module in model.modules() if isinstance(module, Classifier)]
    for classifier in classifiers[-1:]:  # a matrix before it is a layer like others
        nn.init.zeros_(classifier.weight)
    for module in model.modules():
        if isinstance(module, Nodes) and (norm := _last_norm(module)):
            nn.init.zeros_(norm.weight)


def _last_norm(nodes: Nodes) -> nn.BatchNorm2d | None:
    reads = {name: inputs[0] for name, inputs, _ in nodes.steps}
    if "add" not in reads:
        return None
    end = nodes.get_submodule(reads["add"])
    if isinstance(end, Scale):
        end = nodes.get_submodule(reads[reads["add"]])
    return end.norm if isinstance(end, ConvNorm) else None
