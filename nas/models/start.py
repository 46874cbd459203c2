"""A start for trainings too short for the papers' initialisation."""

from torch import nn

from nas.models.blocks import Classifier, ConvNorm
from nas.models.build import Nodes


def start_quietly(model: nn.Module) -> None:
    """Make every class equally likely and every branch that ends in a normalisation add nothing to its skip, in place.

    With its last scale at 0 such a layer begins as its skip alone ("zero gamma", arXiv 1706.02677, section 5.1), and
    gradients still reach the scale. A branch that ends in an activation is left as it is, since there they might not.
    """
    for module in model.modules():
        if isinstance(module, Classifier):
            nn.init.zeros_(module.weight)
        elif isinstance(module, Nodes) and (norm := _last_norm(module)):
            nn.init.zeros_(norm.weight)


def _last_norm(nodes: Nodes) -> nn.BatchNorm2d | None:
    branches = [inputs[0] for name, inputs, _ in nodes.steps if name == "add"]
    ends = [nodes.get_submodule(branch) for branch in branches]
    return next((end.norm for end in ends if isinstance(end, ConvNorm)), None)
