"""The weights that all networks of a search space share, and the networks that use slices of them."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.func import functional_call

from nas.arch.layers import walk
from nas.arch.spec import Architecture
from nas.evaluate.supernet.places import ChoiceIndices, Key, Places, common_settings
from nas.models.blocks import Classifier, ConvNorm
from nas.models.build import MODULES, Setting, build_model

# A place, the name of a node there, and the name of a parameter of that node.
WeightName = tuple[str, str, str]
# Number of networks whose structure is kept; a space has too many networks to keep all.
CACHED_NETWORKS = 512


@frozen(eq=False)
class NetworkStructure:
    """Hold the structure of one network without weights, and the slices of the shared weights that it uses.

    Attributes:
        model: Model on torch's meta device; its batch normalization uses the statistics of the batch.
        slices: For each parameter of the model the name of the shared weight and the shape of the slice.
    """

    model: nn.Module
    slices: Mapping[str, tuple[WeightName, torch.Size]]


@frozen(eq=False)
class SharedWeights:
    """Hold one tensor for each parameter of the widest node of every place.

    Attributes:
        places: Places of the search space.
        tensors: Weights by name, on one device; those of convolutions are channels last.
    """

    places: Places
    tensors: Mapping[WeightName, Tensor]
    _structures: dict[tuple[int, ...], NetworkStructure] = field(factory=dict, init=False, repr=False)

    def forward(self, indices: ChoiceIndices, images: Tensor) -> Tensor:
        """Return the logits `(N, classes)` of one network, with batch normalization by the batch's own statistics.

        Gradients flow back into the shared weights.

        Args:
            indices: Choice indices of the network.
            images: Normalized images `(N, C, H, W)`.
        """
        structure = self._structure(tuple(indices))
        weights = {name: cut(self.tensors[key], shape) for name, (key, shape) in structure.slices.items()}
        logits: Tensor = functional_call(structure.model, weights, (images,))
        return logits

    def _structure(self, indices: tuple[int, ...]) -> NetworkStructure:
        if indices not in self._structures:
            if len(self._structures) >= CACHED_NETWORKS:
                # A dictionary keeps the order of insertion, so this is the oldest structure.
                self._structures.pop(next(iter(self._structures)))
            arch = without_regularization(self.places.space.from_indices(indices))
            with torch.device("meta"):
                model = build_model(arch)
            # Networks that share weights have different statistics, so running statistics would fit none of them.
            for norm in batch_norms(model):
                norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
                norm.num_batches_tracked = None
            self._structures[indices] = NetworkStructure(model, self.slices(arch, indices, model))
        return self._structures[indices]

    def slices(
        self, arch: Architecture, indices: ChoiceIndices, model: nn.Module
    ) -> dict[str, tuple[WeightName, torch.Size]]:
        """Return for each parameter of a model the name of the shared weight and the shape of its slice.

        Args:
            arch: Architecture of the network, in canonical form or not: its layers have the same order.
            indices: Choice indices of the network.
            model: Model of the architecture.
        """
        places = dict(zip((placed.name for placed in walk(arch)), self.places.of_network(indices), strict=True))
        return {name: (_weight_name(name, places), parameter.shape) for name, parameter in model.named_parameters()}

    def model(self, arch: Architecture, indices: ChoiceIndices) -> nn.Module:
        """Return a separate model with copies of a network's weights; its batch-norm statistics are not set.

        Args:
            arch: Architecture of the network; see `slices`.
            indices: Choice indices of the network.
        """
        with torch.device("meta"):
            model = build_model(arch)
        slices = self.slices(arch, indices, model)
        device = next(iter(self.tensors.values())).device
        # Leaves all values undefined: parameters are copied below, and `re_estimate` sets the statistics.
        model.to_empty(device=device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                key, shape = slices[name]
                parameter.copy_(cut(self.tensors[key], shape))
        return model

    def to(self, device: str) -> "SharedWeights":
        """Return the same weights on a device, as parameters to train."""
        return SharedWeights(self.places, {name: _to_device(tensor, device) for name, tensor in self.tensors.items()})

    def parameters(self) -> nn.ParameterList:
        """Return all weights, for an optimizer."""
        return nn.ParameterList(self.tensors.values())


def _weight_name(parameter: str, places: Mapping[str, str]) -> WeightName:
    """Return the name of the shared weight that a model's parameter is a slice of.

    Args:
        parameter: Name of the parameter, such as "stages.0.1.expand.conv.weight".
        places: Place of each layer by its name in the model.
    """
    words = parameter.split(".")
    depth = 3 if words[0] == "stages" else 1
    return places[".".join(words[:depth])], words[depth], ".".join(words[depth + 1 :])


def cut(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the slice of a weight with the first channels and the middle of the kernel, as a view.

    Args:
        weight: Weight of the widest node: `(O, I, K, K)`, `(O, I)` or `(O,)`.
        shape: Shape of the slice.

    Example:
        >>> cut(torch.arange(25.0).view(1, 1, 5, 5), (1, 1, 3, 3))[0, 0]
        tensor([[ 6.,  7.,  8.],
                [11., 12., 13.],
                [16., 17., 18.]])
    """
    if weight.shape == torch.Size(shape):
        return weight
    # The middle of the kernel and not a corner, so that kernels of all sizes have the same center.
    starts = [0, 0, *((side - small) // 2 for side, small in zip(weight.shape[2:], shape[2:], strict=True))]
    return weight[tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=False))]


def _to_device(tensor: Tensor, device: str) -> Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return nn.Parameter(tensor.detach().to(device, memory_format=layout))


def without_regularization(arch: Architecture) -> Architecture:
    """Return the architecture without dropout and drop path, because shared weights are far from overfitting."""
    head = attrs.evolve(arch.head, dropout=0.0)
    return attrs.evolve(arch, head=head, drop_path=0.0)


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch normalizations of a model."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def initial_weights(places: Places, *, quiet: bool) -> SharedWeights:
    """Return random weights with the initialization of the widest nodes, from torch's global generator.

    Args:
        places: Places of the search space.
        quiet: Whether the classifier starts at zero, and also the last batch normalization of each residual branch; see
            `nas.models.start`. A node that ends a residual branch only in some networks is left as it is: in the other
            networks its whole output would be zero.
    """
    net = common_settings(places.space)
    setting = Setting(net.padding, net.norm, 0.0)
    tensors: dict[WeightName, Tensor] = {}
    for key, node in places.widest.items():
        module = MODULES[node.op](node, setting)
        if quiet:
            _set_to_zero(module, key, places)
        for name, parameter in module.named_parameters():
            tensors[(*key, name)] = parameter
    return SharedWeights(places, tensors)


def _set_to_zero(module: nn.Module, key: Key, places: Places) -> None:
    if isinstance(module, Classifier) and key[1] == "classifier":
        nn.init.zeros_(module.weight)
    if isinstance(module, ConvNorm) and key in places.residual_ends:
        nn.init.zeros_(module.norm.weight)
