"""The weights that all networks of a space share, and the networks that are cut out of them."""

from collections.abc import Iterable, Mapping, Sequence

import attrs
import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.func import functional_call

from nas.arch.layers import walk
from nas.arch.spec import Architecture
from nas.evaluate.supernet.places import Key, Picks, Places, frame
from nas.models.blocks import Classifier, ConvNorm
from nas.models.build import MODULES, Setting, build_model

Name = tuple[str, str, str]  # a place, a node there, a parameter of that
CACHED = 512


@frozen(eq=False)
class Network:
    """The structure of one network, without weights, and where they come from.

    Attributes:
        model: on torch's meta device; normalises by the batch.
        names: for each parameter of the model what it is cut out of, and its shape.
    """

    model: nn.Module
    names: Mapping[str, tuple[Name, torch.Size]]


@frozen(eq=False)
class SharedWeights:
    """One tensor for each parameter of a widest node.

    Attributes:
        places: where which network finds its own.
        tensors: on one device; those of convolutions channels last.
    """

    places: Places
    tensors: Mapping[Name, Tensor]
    _networks: dict[tuple[int, ...], Network] = field(factory=dict, init=False, repr=False)

    def forward(self, picks: Picks, images: Tensor) -> Tensor:
        """Logits `(N, classes)` of the network of these option numbers, normalised by the batch."""
        network = self._network(tuple(picks))
        weights = {name: cut(self.tensors[key], shape) for name, (key, shape) in network.names.items()}
        logits: Tensor = functional_call(network.model, weights, (images,))
        return logits

    def _network(self, picks: tuple[int, ...]) -> Network:
        if picks not in self._networks:
            if len(self._networks) >= CACHED:
                self._networks.pop(next(iter(self._networks)))
            arch = plain(self.places.space.from_picks(picks))
            with torch.device("meta"):
                model = build_model(arch)
            for norm in norms(model):
                norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
                norm.num_batches_tracked = None
            self._networks[picks] = Network(model, self.names(arch, picks, model))
        return self._networks[picks]

    def names(self, arch: Architecture, picks: Picks, model: nn.Module) -> dict[str, tuple[Name, torch.Size]]:
        """What each parameter of a network's model is cut out of, and its shape.

        Args:
            arch: the network of the options, in whatever form: its layers are in the same order.
            picks: its option numbers.
            model: made of `arch`.
        """
        places = dict(zip((placed.name for placed in walk(arch)), self.places.of(picks), strict=True))
        return {name: (_name(name, places), parameter.shape) for name, parameter in model.named_parameters()}

    def model(self, arch: Architecture, picks: Picks) -> nn.Module:
        """A model of its own with copies of a network's weights; its normalisations know nothing yet.

        Args:
            arch: see `names`.
            picks: its option numbers.
        """
        with torch.device("meta"):
            model = build_model(arch)
        names = self.names(arch, picks, model)
        device = next(iter(self.tensors.values())).device
        model.to_empty(device=device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                key, shape = names[name]
                parameter.copy_(cut(self.tensors[key], shape))
        return model

    def to(self, device: str) -> "SharedWeights":
        """The same weights there, to be trained."""
        moved = {name: _moved(tensor, device) for name, tensor in self.tensors.items()}
        return SharedWeights(self.places, moved)

    def parameters(self) -> nn.ParameterList:
        """All of them, for an optimizer."""
        return nn.ParameterList(self.tensors.values())


def _name(parameter: str, places: Mapping[str, str]) -> Name:
    words = parameter.split(".")
    depth = 3 if words[0] == "stages" else 1
    return places[".".join(words[:depth])], words[depth], ".".join(words[depth + 1 :])


def cut(whole: Tensor, shape: Sequence[int]) -> Tensor:
    """The first channels of each side, and the middle of the kernel."""
    if whole.shape == torch.Size(shape):
        return whole
    ends = [0, 0, *((side - small) // 2 for side, small in zip(whole.shape[2:], shape[2:], strict=True))]
    return whole[tuple(slice(start, start + size) for start, size in zip(ends, shape, strict=False))]


def _moved(tensor: Tensor, device: str) -> Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return nn.Parameter(tensor.detach().to(device, memory_format=layout))


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the normalisations of a model without dropout to the mean statistics of batches `(N, 3, H, W)`."""
    for norm in norms(model):
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    model.train()
    for images in batches:
        model(images)
    model.eval()


def plain(arch: Architecture) -> Architecture:
    """Without what is there to keep a network from learning its images by heart; shared weights are far from that."""
    head = attrs.evolve(arch.head, dropout=0.0)
    return attrs.evolve(arch, head=head, drop_path=0.0)


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch normalisations of a model."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def fresh_weights(places: Places, *, quiet: bool) -> SharedWeights:
    """Weights drawn as those of the widest nodes are, from torch's global generator.

    Args:
        places: of the space.
        quiet: begin with a classifier of zeros, and with branches that add nothing to their skips; see
            `nas.models.start`. A branch that is not added everywhere keeps its scale: it would end in zeros.
    """
    net = frame(places.space)
    setting = Setting(net.padding, net.norm, 0.0)
    tensors: dict[Name, Tensor] = {}
    for key, node in places.widest.items():
        module = MODULES[node.op](node, setting)
        if quiet:
            _quieten(module, key, places)
        for name, parameter in module.named_parameters():
            tensors[(*key, name)] = parameter
    return SharedWeights(places, tensors)


def _quieten(module: nn.Module, key: Key, places: Places) -> None:
    if isinstance(module, Classifier) and key[1] == "classifier":
        nn.init.zeros_(module.weight)
    if isinstance(module, ConvNorm) and key in places.added:
        nn.init.zeros_(module.norm.weight)
