"""Small networks with weights that are not trivial, and the difference of the logits of two networks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.models.build import build_model
from nas.weights.inheritance import Inherited
from tests.models.test_build import images, randomize_norms_with_statistics


def network(text: str) -> Architecture:
    return parse_text(text.replace(";", "\n"))


def trained(arch: Architecture, seed: int = 0) -> nn.Module:
    """Return a model in double precision whose batch-norm scales, shifts and statistics are not trivial."""
    torch.manual_seed(seed)
    model = build_model(arch).double()
    # Two images of one pixel have no variance that differs between channels, so more images are used.
    randomize_norms_with_statistics(model, images(arch, count=8).double())
    for name, tensor in model.named_parameters():
        if name.endswith(("se_reduce.bias", "se_expand.bias", "classifier.bias", "features.bias")):
            nn.init.normal_(tensor)
    return model.eval()


def with_weights(arch: Architecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    model = build_model(arch).double().eval()
    model.load_state_dict(dict(tensors), strict=True)
    return model


def difference(source: nn.Module, arch: Architecture, inherited: Inherited) -> float:
    """Return the largest difference between the logits of two networks, relative to the source's."""
    inputs = images(arch, count=3).double()
    with torch.no_grad():
        expected = source(inputs)
        return float((with_weights(arch, inherited.tensors)(inputs) - expected).abs().max() / expected.abs().max())
