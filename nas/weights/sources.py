"""Pretrained sources by the texts that users write, matched to architectures and compared with their libraries."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs
import torch
from attrs import frozen
from torch import nn

from nas.errors import WeightsError
from nas.weights.base import TrainedNetwork
from nas.weights.checkpoints import checkpoint_name, find_weights_file
from nas.weights.forms import FILE_ENDINGS, STUDY, names_file
from nas.weights.libraries import LITE, Pretrained, read_hub, read_lite, read_timm, read_torchvision
from nas.weights.match import Account, match, match_names
from nas.weights.normalizations import parse_normalization
from nas.weights.stored import read_network
from nas.weights.tensor_files import plain_tensors, read_tensor_file

# Largest difference of a logit from that of the source library, as a share of the largest logit.
LIMIT = 1e-5
PREFIXES: Mapping[str, Callable[[str], Pretrained]] = MappingProxyType(
    {"timm": read_timm, "torchvision": read_torchvision, "hub": read_hub}
)
FORMS = (
    f"{', '.join(LITE)}, timm:NAME, torchvision:NAME, hub:OWNER/NAME, a file ({', '.join(FILE_ENDINGS)}), or a folder "
    "that `nas train` wrote"
)


@frozen
class LogitCheck:
    """Hold the result of comparing the logits of a network with those of the library that it comes from.

    Attributes:
        library: Name of the library.
        difference: Largest difference of a logit, as a share of the largest logit.
    """

    library: str
    difference: float


@frozen(eq=False)
class LoadedSource:
    """Hold a network that was loaded from a source, and what became of the tensors of the source.

    Attributes:
        name: Name of the architecture, such as "efficientnet-b0", or the name of the file.
        network: The network.
        account: What became of the tensors.
        check: Comparison with the source library, or None if it is not installed or unknown.
    """

    name: str
    network: TrainedNetwork
    account: Account
    check: LogitCheck | None


def load_source(source: str, normalization: str | None = None) -> LoadedSource:
    """Load a network from a source, and compare its logits with those of the source library if that is installed.

    Args:
        source: Text that names the source; see `FORMS`.
        normalization: Normalization of the images that replaces that of the source; see `parse_normalization`.

    Raises:
        WeightsError: There is no such source, it cannot be read, it fits no architecture, or its logits differ.
        MissingPackageError: The source needs a package that is not installed.
    """
    loaded = _network_of(_read(source))
    if normalization is None:
        return loaded
    given = parse_normalization(normalization, loaded.network.arch.in_channels)
    return attrs.evolve(loaded, network=attrs.evolve(loaded.network, normalization=given))


def _read(source: str) -> Pretrained:
    prefix, colon, name = source.partition(":")
    if source in LITE:
        return read_lite(source)
    if colon and name and prefix in PREFIXES:
        return PREFIXES[prefix](name)
    if source.startswith(f"{STUDY}:"):
        raise WeightsError(f"{source!r:.200} is a network of a study, and a study holds no weights", f"use {FORMS}")
    if not names_file(source):
        raise WeightsError(f"{source!r:.200} is no source of weights", f"use {FORMS}")
    path = find_weights_file(Path(source))
    # TensorFlow's weights in timm's names have other settings, which only the name of the file shows.
    library = "timm-tf" if path.name.startswith("tf_") else None
    return Pretrained(read_tensor_file(path), library, provenance={"source": path.name}, path=path)


def _network_of(found: Pretrained) -> LoadedSource:
    own = read_network(found.path, found.content) if found.path is not None else None
    if own is not None and found.path is not None:
        origin = found.provenance.get("source", "")
        # All files on the hub have the same name, so the repository names the network.
        name = origin.rpartition("/")[2] if origin.startswith("hub:") else checkpoint_name(found.path)
        return LoadedSource(name, own, Account(len(own.tensors), found.content.dropped), None)
    label = found.provenance.get("source", "the source")
    tensors = plain_tensors(found.content.tensors, label)
    matched = match_names(tensors) or match(tensors, found.library)
    arch = attrs.evolve(matched.arch, resolution=found.resolution or matched.arch.resolution)
    classes = found.classes if found.classes is not None and len(found.classes) == arch.classes else None
    provenance = {**found.provenance, "matched to": matched.name}
    network = TrainedNetwork(arch, matched.tensors, classes, found.normalization, provenance)
    account = attrs.evolve(matched.account, dropped=(*found.content.dropped, *matched.account.dropped))
    return LoadedSource(matched.name, network, account, _compare(network, found))


def _compare(network: TrainedNetwork, found: Pretrained) -> LogitCheck | None:
    """Return the comparison of the logits with those of the source library, or None if there is no library.

    Raises:
        WeightsError: The logits differ, so the source library computes something else with these weights.
    """
    if found.reference is None:
        return None
    difference = logit_difference(network, found.reference())
    if not difference <= LIMIT:
        raise WeightsError(
            f"the logits differ from those of {found.reference_name} by {difference:.1e} of the largest one, and at "
            f"most {LIMIT:.0e} is allowed, so the network computes something else there",
            "give a plain EfficientNet, MobileNetV2 or V3, MnasNet or ResNet",
        )
    return LogitCheck(found.reference_name, difference)


def logit_difference(network: TrainedNetwork, reference: nn.Module) -> float:
    """Return the largest difference of the logits of two networks, as a share of the largest logit.

    The logits are those of random images in double precision, so that rounding hides no difference of the networks.
    One image has ten times the contrast, so that it also reaches the upper limit of an activation such as ReLU6.
    """
    arch = network.arch
    generator = torch.Generator().manual_seed(0)
    shape = (2, arch.in_channels, arch.resolution, arch.resolution)
    images = torch.randn(shape, dtype=torch.float64, generator=generator)
    images[1] *= 10
    with torch.no_grad():
        expected = reference.double().eval()(images)
        difference = (network.module().double()(images) - expected).abs().max()
    return float(difference / expected.abs().max())
