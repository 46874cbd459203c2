"""Names of tensors in the state dictionaries of other libraries: their libraries, their modules and their order.

A file does not always keep the order of a state dictionary (safetensors sorts names as texts), so the order of modules
is derived from their names: numbers are compared as numbers, and `RANKS` holds the words whose order in a network is
another one than that of the alphabet.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

# A word of each naming scheme that the other schemes do not have, by the library. ResNets of timm have the names and
# the settings of torchvision.
SCHEMES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "efficientnet_pytorch": re.compile(r"_conv_stem\."),
        "timm": re.compile(r"conv_stem\."),
        "torchvision": re.compile(r"(features|layers)\.0\.|layer1\."),
    }
)
# Position of a word among the words beside it: within the network or within a block. Words without a row have
# `MIDDLE`, and are in alphabetical order.
MIDDLE = 5
RANKS: Mapping[str, int] = MappingProxyType(
    {
        # efficientnet_pytorch
        "_conv_stem": 0,
        "_bn0": 0,
        "_expand_conv": 1,
        "_depthwise_conv": 2,
        "_se_reduce": 3,
        "_se_expand": 4,
        "_fc": 9,
        # timm
        "conv_stem": 0,
        "bn1": 0,
        "conv_pw": 1,
        "conv_dw": 2,
        "se": 3,
        "conv_reduce": 1,
        # timm and torchvision
        "classifier": 9,
        "fc": 9,
    }
)
# Wrappers of modules, which put a word in front of each name.
WRAPPERS = ("module.", "_orig_mod.", "model.")


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return the names without the words that wrappers put in front of all of them, by the complete names.

    >>> unwrapped(["module._orig_mod.fc.weight", "module._orig_mod.fc.bias"])
    {'module._orig_mod.fc.weight': 'fc.weight', 'module._orig_mod.fc.bias': 'fc.bias'}
    """
    short = {name: name for name in names}
    while short and (prefix := next((w for w in WRAPPERS if all(v.startswith(w) for v in short.values())), "")):
        short = {name: value.removeprefix(prefix) for name, value in short.items()}
    return short


def library_of(names: Iterable[str]) -> str | None:
    """Return the library whose naming scheme the tensors follow, or None if it is unknown.

    >>> library_of(["_conv_stem.weight", "_bn0.weight"]), library_of(["layer1.0.conv1.weight"])
    ('efficientnet_pytorch', 'torchvision')
    """
    known = list(names)
    return next((library for library, word in SCHEMES.items() if any(map(word.match, known))), None)


def in_order(modules: Iterable[str]) -> list[str]:
    """Return the names of modules in the order of the network.

    >>> in_order(["classifier", "blocks.10.0.conv_pwl", "blocks.10.0.conv_pw", "blocks.2.0.conv_dw", "conv_stem"])
    ['conv_stem', 'blocks.2.0.conv_dw', 'blocks.10.0.conv_pw', 'blocks.10.0.conv_pwl', 'classifier']
    """
    known = set(modules)
    return sorted(known, key=lambda name: tuple(map(_word_key, _projecting(name, known).split("."))))


def _projecting(name: str, known: set[str]) -> str:
    # In a depthwise separable block of timm `conv_pw` is the convolution after the depthwise one, which is called
    # `conv_pwl` in a block that expands first.
    block, _, word = name.rpartition(".")
    return f"{block}.conv_pwl" if word == "conv_pw" and f"{block}.conv_pwl" not in known else name


def _word_key(word: str) -> tuple[int, int, str]:
    return (MIDDLE, int(word), "") if re.fullmatch("[0-9]{1,9}", word) else (RANKS.get(word, MIDDLE), 0, word)
