"""State dictionaries of timm and torchvision: names and shapes, kept in a file for environments without the libraries.

Run as a module in an environment that has both libraries, it writes the file and compares logits with random weights:

    python -m tests.weights.foreign
"""

import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

FILE = Path(__file__).parents[1] / "golden" / "state_dicts.json.gz"
SIDE = 97  # pixels: an odd number shows the padding
Shapes = Mapping[str, list[int]]
# Names of torchvision by their beginnings; those of timm are in `nas.weights.families`.
TORCHVISION = ("efficientnet_b", "mobilenet_", "mnasnet", "resnet")


def read() -> dict[str, dict[str, Tensor]]:
    """State dictionaries by "LIBRARY:NAME", with tensors that have shapes and no values."""
    shapes: dict[str, Shapes] = json.loads(gzip.decompress(FILE.read_bytes()))
    return {
        source: {name: torch.empty(shape, device="meta") for name, shape in named.items()}
        for source, named in shapes.items()
    }


def networks() -> Iterator[tuple[str, nn.Module]]:
    from nas.weights.families import TIMM_NAMES

    timm, models = import_module("timm"), import_module("torchvision.models")
    for name in filter(TIMM_NAMES.fullmatch, timm.list_models()):
        yield f"timm:{name}", timm.create_model(name)
    for name in models.list_models(module=models):
        if name.startswith(TORCHVISION):
            yield f"torchvision:{name}", models.get_model(name)


@torch.no_grad()
def randomize(network: nn.Module) -> None:
    """Draw all weights and statistics so that every tensor changes the logits."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low in ((module.weight, 0.5), (module.bias, -0.2), (module.running_mean, -0.2)):
                values.copy_(torch.rand(values.shape, generator=generator) + low)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            scale = module.weight[0].numel() ** -0.5
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * scale)
            if module.bias is not None:
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)


def write() -> None:
    import attrs

    from nas.weights.base import TrainedNetwork
    from nas.weights.libraries import timm_library
    from nas.weights.match import match
    from nas.weights.sources import logit_difference

    shapes: dict[str, Shapes] = {}
    for source, network in networks():
        randomize(network.eval())
        state = network.state_dict()
        library, _, name = source.partition(":")
        found = match(state, timm_library(name) if library == "timm" else library)
        trained = TrainedNetwork(attrs.evolve(found.arch, resolution=SIDE), found.tensors)
        sys.stdout.write(f"{source} is {found.name}: difference {logit_difference(trained, network):.1e}\n")
        shapes[source] = {name: list(tensor.shape) for name, tensor in state.items()}
    FILE.write_bytes(gzip.compress(json.dumps(shapes).encode(), mtime=0))


if __name__ == "__main__":
    write()
