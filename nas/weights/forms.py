"""The texts that name a source of weights, without anything that reads one."""

from pathlib import Path

from nas.arch.presets import preset_names
from nas.weights.checkpoints import is_checkpoint_folder

FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
LIBRARIES = ("timm", "torchvision", "hub")
STUDY = "study"  # A study may have any name, and holds no weights.


def names_weights(text: str) -> bool:
    """Return whether a text can only be a source of weights, because architectures have other names.

    The name of an EfficientNet-Lite is that of an architecture too, so it is no such text.

    >>> names_weights("timm:resnet18"), names_weights("mine.safetensors"), names_weights("efficientnet-lite0")
    (True, True, False)
    """
    prefix, colon, name = text.partition(":")
    if colon and prefix in (*LIBRARIES, STUDY):
        return bool(name) and prefix != STUDY
    return names_file(text)


def names_file(text: str) -> bool:
    """Return whether a text is the path of a weights file, or of a folder that a training run wrote."""
    return text.lower().endswith(FILE_ENDINGS) or (text not in preset_names() and is_checkpoint_folder(Path(text)))
