"""Pretrained networks: loading from sources, saving, and what a source holds."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Union

from attrs import evolve, frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import WeightsError

# torch is an optional package, so what needs it is imported when a function is called.
if TYPE_CHECKING:
    from nas.weights.base import TrainedNetwork
    from nas.weights.sources import LoadedSource


@check_arguments
@explain_missing()
def load_weights(source: str | Path, *, normalization: str | None = None) -> "TrainedNetwork":
    """Load a network with pretrained weights, matched to an architecture of `nas`.

    Args:
        source: "efficientnet-lite0", "-lite1" or "-lite2", "timm:NAME", "torchvision:NAME", "hub:OWNER/NAME", the
            path of a .safetensors, .pth or .pt file with a state dictionary, or a folder that `nas.train` wrote.
            Nothing that a file contains is run.
        normalization: Normalization of the images, which replaces that of the source: "imagenet", "0..1", "-1..1", or
            MEAN/STD of pixel values from 0 to 1.

    Returns:
        The network: its architecture, tensors, names of classes, normalization and provenance. Where the library that
        the weights come from is installed, its logits have been compared with those of the library.

    Raises:
        WeightsError: There is no such source, it cannot be read, or it fits no architecture.
        MissingPackageError: The source needs a package that is not installed.

    >>> import nas
    >>> network = nas.load_weights("efficientnet-lite0")
    >>> network.arch.resolution, network.arch.classes, network.provenance["trained on"]
    (224, 1000, 'ImageNet')
    """
    return inspect_source(str(source), normalization).network


@check_arguments
@explain_missing()
def save_weights(network: "TrainedNetwork", path: str | Path) -> None:
    """Save a network as a safetensors file that `load_weights` and every command read.

    The metadata of the file holds the architecture, the names of the classes, the normalization and the provenance.

    Args:
        network: The network.
        path: Path of the file; its name ends in ".safetensors".

    Raises:
        WeightsError: The network is something else.
        NasError: The file cannot be written, or an existing file is of another kind.
        MissingPackageError: The package safetensors is not installed.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small")
    >>> nas.save_weights(nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict()), "small.safetensors")
    >>> nas.load_weights("small.safetensors").arch == arch
    True
    """
    from nas.weights.base import TrainedNetwork
    from nas.weights.stored import write_network

    if not isinstance(network, TrainedNetwork):
        raise WeightsError(f"{network!r:.200} is not a TrainedNetwork", "get one with nas.load_weights")
    write_network(network, Path(path))


@explain_missing()
def inspect_source(source: str, normalization: str | None = None) -> "LoadedSource":
    """Return the network of a source, what became of its tensors, and the comparison with the source library.

    Raises:
        NasError: As `load_weights` raises it.
    """
    from nas.weights.sources import load_source

    return load_source(source, normalization)


@frozen(eq=False)
class PretrainedSource:
    """Hold a pretrained network that a search starts from.

    Attributes:
        name: Name of the network, such as "efficientnet-lite0".
        network: The network.
    """

    name: str
    network: "TrainedNetwork"


@lru_cache(maxsize=1)
def cached_source(source: str, normalization: str | None = None) -> "TrainedNetwork":
    """Return the network of a source as `load_weights` does, and keep the last one in memory.

    Raises:
        NasError: As `load_weights` raises it.
    """
    return inspect_source(source, normalization).network


@explain_missing()
def find_source(pretrained: Union[str, "TrainedNetwork"], normalization: str | None = None) -> PretrainedSource:
    """Return the pretrained network of a source, or one that was loaded already.

    Args:
        pretrained: A source, or a network.
        normalization: Normalization of the images that replaces that of the source.

    Raises:
        NasError: As `load_weights` raises it.
    """
    from nas.weights.normalizations import parse_normalization
    from nas.weights.tensor_files import plain_tensors

    if isinstance(pretrained, str):
        loaded = inspect_source(pretrained, normalization)
        return PretrainedSource(loaded.name, loaded.network)
    plain_tensors(pretrained.tensors, "the pretrained network")  # Files are checked in the same way when they are read.
    if normalization is not None:
        given = parse_normalization(normalization, pretrained.arch.in_channels)
        pretrained = evolve(pretrained, normalization=given)
    # The architecture that weights of another program were matched to; the origin of other weights names no network.
    return PretrainedSource(pretrained.provenance.get("matched to", "pretrained"), pretrained)
