"""Files of trained networks: safetensors files whose metadata holds the architecture and what is known about it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.arch.code import format_text, parse_text
from nas.errors import NasError, WeightsError
from nas.output_kinds import WEIGHTS, write_output
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.tensor_files import LENGTH_BYTES, METADATA, TensorFile

FORMAT_KEY, FORMAT = "nas_format", "nas-weights/1"
ALIGNMENT = 8  # of the tensors in a safetensors file


def write_network(network: TrainedNetwork, path: Path) -> None:
    """Write a network to a safetensors file; an existing file is replaced as a whole.

    Raises:
        NasError: The file cannot be written, or an existing file is of another kind.
        ModuleNotFoundError: The package safetensors is not installed.
    """
    write_output(path, network_bytes(network), WEIGHTS)


def network_bytes(network: TrainedNetwork) -> bytes:
    """Return the safetensors file of a network.

    Raises:
        ModuleNotFoundError: The package safetensors is not installed.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.tensors.items()}
    return _in_order(save(tensors, dict(format_metadata(network))))


def _in_order(data: bytes) -> bytes:
    """Return the bytes of a safetensors file with sorted metadata, whose order safetensors leaves to chance.

    So equal networks have equal files.
    """
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    header = json.loads(data[LENGTH_BYTES:end])
    header[METADATA] = dict(sorted(header[METADATA].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + data[end:]


def format_metadata(network: TrainedNetwork) -> Mapping[str, str]:
    """Return what is stored beside the tensors of a network, as texts by name."""
    # Other programs read the key "format" to learn that the tensors are those of torch.
    return {FORMAT_KEY: FORMAT, "format": "pt", **describe_network(network)}


def describe_network(network: TrainedNetwork) -> Mapping[str, str]:
    """Return everything that is known about a network but its tensors, as texts by name."""
    norm = network.normalization
    return {
        "architecture": format_text(network.arch),
        "classes": json.dumps(network.classes),
        "normalization": json.dumps(None if norm is None else {"mean": norm.mean, "std": norm.std}),
        "provenance": json.dumps(dict(network.provenance)),
    }


def read_network(path: Path, content: TensorFile) -> TrainedNetwork | None:
    """Return the network of a file that `write_network` wrote, or None if another program wrote the file.

    Raises:
        WeightsError: The metadata is of another version, is damaged, or does not fit the tensors.
    """
    form = content.metadata.get(FORMAT_KEY)
    if form is None:
        return None
    if form != FORMAT:
        raise WeightsError(f"{path} has the format {form!r:.80}", f"this version reads {FORMAT}")
    try:
        return parse_network(content)
    except NasError as error:
        raise WeightsError(f"{path}: {error.problem}", error.remedy) from None


def parse_network(content: TensorFile) -> TrainedNetwork:
    """Return the network that tensors and their metadata describe; the inverse of `format_metadata`.

    Raises:
        NasError: The metadata is damaged or does not fit the tensors.
    """
    norm = _value(content.metadata, "normalization", lambda value: value is None or _is_normalization(value))
    classes = _value(content.metadata, "classes", lambda value: value is None or _are_texts(value))
    return TrainedNetwork(
        parse_text(_text(content.metadata, "architecture")),
        content.tensors,
        None if classes is None else tuple(classes),
        None if norm is None else Normalization(norm["mean"], norm["std"]),
        _value(content.metadata, "provenance", lambda value: isinstance(value, dict) and _are_texts([*value.values()])),
    )


def _text(metadata: Mapping[str, str], key: str) -> str:
    if key not in metadata:
        raise WeightsError(f"the metadata has no {key!r}", "give a complete file of nas.save_weights")
    return metadata[key]


def _value(metadata: Mapping[str, str], key: str, is_right: Any) -> Any:
    """Return a value that is stored as JSON."""
    text = _text(metadata, key)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value, is_right = None, lambda _: False
    if not is_right(value):
        raise WeightsError(f"the metadata has the {key} {text!r:.80}", "give a complete file of nas.save_weights")
    return value


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_normalization(value: object) -> bool:
    return isinstance(value, dict) and all(_are_numbers(value.get(key)) for key in ("mean", "std"))


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
