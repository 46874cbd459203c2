"""Networks of timm and torchvision as ONNX files, with random weights: to compare what they cost on a device.

A library is imported only when one of its networks is named. Weights are never downloaded.
"""

import difflib
import math
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from attrs import field, frozen
from torch import nn

from nas.errors import MissingPackageError, NasError, WeightsError, describe_error
from nas.graph.form import OPSET
from nas.weights.libraries import import_library

RESOLUTION, CHANNELS = 224, 3
_NAMED = 5  # close names in a message


@frozen(eq=False)
class LibraryNetwork:
    """Hold a network of another library as an ONNX file.

    Attributes:
        name: Name of the network in its library.
        library: Name of the library, with its version.
        data: Bytes of the ONNX file, with random weights.
        params: Number of trainable parameters of the library's module.
    """

    name: str
    library: str
    data: bytes = field(repr=False)
    params: int


def library_network(library: str, name: str, *, batch: int = 1) -> LibraryNetwork:
    """Return a network of a library as an ONNX file.

    Args:
        library: "timm" or "torchvision".
        name: Name of the network in the library.
        batch: Number of images in a batch.

    Raises:
        MissingPackageError: The library, or the package onnxscript, is not installed.
        WeightsError: The library cannot be imported, has no such network, or the network cannot be exported.
    """
    source = f"{library}:{name}"
    _check_installed((library, "onnxscript"), source)
    build, version = _LIBRARIES[library](name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Libraries warn about options of their own networks.
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module, resolution = build()
                data = _export(module.eval(), (batch, CHANNELS, resolution, resolution))
        except (MemoryError, NasError):
            raise
        except Exception as error:  # errors of networks and of the exporter are of many classes
            raise WeightsError(
                f"{source} cannot be turned into an ONNX file: {describe_error(error)}"[:600], "compare another network"
            ) from None
    params = sum(math.prod(each.shape) for each in module.parameters())
    return LibraryNetwork(name, f"{library} {version}".strip(), data, params)


def _check_installed(packages: Sequence[str], source: str) -> None:
    """Check all packages at once, so that a user installs them with one command; none is imported."""
    missing = [each for each in packages if not _is_installed(each)]
    if missing:
        several = len(missing) > 1
        raise MissingPackageError(
            f"the package{'s' * several} {' and '.join(missing)} {'are' if several else 'is'} not installed; "
            f"{source} needs {'both' if several else 'it'}",
            f"install {'them' if several else 'it'} with `pip install {' '.join(missing)}`",
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # The module was made in this process, and has no file.
        return True


def _export(module: nn.Module, shape: tuple[int, int, int, int]) -> bytes:
    program = torch.onnx.export(module, (torch.zeros(shape),), dynamo=True, opset_version=OPSET, verbose=False)
    if program is None:
        raise WeightsError("torch returned no ONNX program", "use another version of torch")
    return bytes(program.model_proto.SerializeToString())


Built = tuple[Callable[[], tuple[nn.Module, int]], str]


def _timm(name: str) -> Built:
    timm = import_library("timm", f"timm:{name}")
    # A name with a colon would make timm load a network from a folder or from somebody's account on the hub.
    if ":" in name or not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())

    def build() -> tuple[nn.Module, int]:
        module: nn.Module = timm.create_model(name, pretrained=False)
        size = (getattr(module, "pretrained_cfg", None) or {}).get("input_size")
        return module, int(size[1]) if isinstance(size, list | tuple) and len(size) == CHANNELS else RESOLUTION

    return build, str(getattr(timm, "__version__", ""))


# Auxiliary heads are used in training alone, and these two classes fill their weights slowly.
_WITHOUT_HEADS = ("googlenet", "inception_v3")


def _torchvision(name: str) -> Built:
    torchvision = import_library("torchvision", f"torchvision:{name}")
    models = import_library("torchvision.models", f"torchvision:{name}")
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known)

    def build() -> tuple[nn.Module, int]:
        options = {"aux_logits": False, "init_weights": False} if name in _WITHOUT_HEADS else {}
        module: nn.Module = models.get_model(name, weights=None, **options)
        return module, _crop(models, name)

    return build, str(getattr(torchvision, "__version__", ""))


def _crop(models: Any, name: str) -> int:
    """Return the height and width of the images that a network of torchvision was trained on."""
    try:
        crop = models.get_model_weights(name).DEFAULT.transforms().crop_size
    except (AttributeError, ValueError):  # The network has no trained weights.
        return RESOLUTION
    return int(crop[0] if isinstance(crop, list | tuple) else crop)


_LIBRARIES: dict[str, Callable[[str], Built]] = {"timm": _timm, "torchvision": _torchvision}


def _unknown(library: str, name: str, known: Sequence[str]) -> WeightsError:
    close = difflib.get_close_matches(name, known, _NAMED, 0.5)
    remedy = f"close names are {', '.join(close)}" if close else f"see the list of the networks of {library}"
    return WeightsError(f"{library} has no network {name!r:.100}", remedy)
