"""Reading files of tensors without running code from them: safetensors files, and files of `torch.save`."""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nas.errors import WeightsError
from nas.files import read_bytes

MOST_BYTES = 2_000_000_000
MOST_ENTRIES = 100_000
BYTES_IN_SINGLE = 4  # of a number in single precision
# A zip archive, as `torch.save` writes it, starts with these bytes; older files are a sequence of pickles.
ZIP_START = b"PK\x03\x04"
# The keys under which scripts for training store the weights, beside the state of the optimizer and other values.
WEIGHT_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
# How a pickle names the functions that make bytes. `weights_only` calls them, and with a large number, or by encoding
# again and again, a small file could fill the memory. Tensors need none of them.
BYTES_MAKERS = (b"\nbytearray\n", b"\nencode\n")
LENGTH_BYTES = 8  # of the number at the start of a safetensors file, the length of its header
METADATA = "__metadata__"  # key of the texts in the header


@frozen(eq=False)
class TensorFile:
    """Hold the content of a file of tensors.

    Attributes:
        tensors: Tensors by name, on the CPU.
        dropped: Names of the other entries, each with what it is.
        metadata: Texts by name that a safetensors file holds beside its tensors.
    """

    tensors: Mapping[str, Tensor]
    dropped: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, str] = {}


def read_tensor_file(path: Path) -> TensorFile:
    """Return the content of a .safetensors, .pth, .pt or .bin file; nothing that the file contains is run.

    Raises:
        WeightsError: The file cannot be read, is too large, is damaged, or holds something other than tensors.
        ModuleNotFoundError: The package safetensors, which the file needs, is not installed.
    """
    try:
        data = read_bytes(path, MOST_BYTES)
    except (OSError, ValueError) as error:  # A ValueError reports a null character in the path.
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path} cannot be read: {reason}", "give a .safetensors, .pth or .pt file") from None
    content = _read_safetensors(path, data) if path.suffix.lower() == ".safetensors" else _read_torch(path, data)
    if not content.tensors:
        raise WeightsError(f"{path} holds no tensors", "give a file with the state_dict() of a network")
    return TensorFile(plain_tensors(content.tensors, str(path)), content.dropped, content.metadata)


def plain_tensors(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return tensors in single precision, or as they are if they hold whole numbers.

    Raises:
        WeightsError: The tensors are too large together, or one of them is quantized or sparse, has complex numbers, or
            has values that are not finite.
    """
    # A view may repeat few stored numbers many times, so the sizes are limited before anything is copied.
    size = sum(tensor.numel() * max(BYTES_IN_SINGLE, tensor.element_size()) for tensor in tensors.values())
    if size > MOST_BYTES:
        raise WeightsError(
            f"the tensors of {source} have {size:,} bytes in single precision, and at most {MOST_BYTES:,} bytes are "
            "read",
            "give a file that holds the state_dict() of one smaller network",
        )
    return {name: _plain_tensor(name, tensor, source) for name, tensor in tensors.items()}


def _plain_tensor(name: str, tensor: Tensor, source: str) -> Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
        raise WeightsError(
            f"tensor {name!r} of {source} is not a plain array of numbers", "give the weights in floating point"
        )
    if not tensor.is_floating_point():
        return tensor.detach().contiguous()
    single = tensor.detach().to("cpu", torch.float32).contiguous()
    if not bool(torch.isfinite(single).all()):
        raise WeightsError(
            f"tensor {name!r} of {source} has values that are infinite or not a number",
            "give weights of a training run that did not diverge",
        )
    return single


def _read_safetensors(path: Path, data: bytes) -> TensorFile:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        metadata = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")])
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        raise _damaged(path, "a safetensors file", error) from None
    return TensorFile(tensors, (), metadata.get(METADATA) or {})


def _read_torch(path: Path, data: bytes) -> TensorFile:
    try:
        values = load_values(data)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes may raise nearly any error
        raise _damaged(path, "a file of torch.save with tensors and plain values alone", error) from None
    return _weights_among(path, values)


def load_values(data: bytes) -> Any:
    """Return the values in the bytes of a file of `torch.save`, with tensors on the CPU; no code in it is run.

    Damaged bytes may raise nearly any error.
    """
    if data.startswith(ZIP_START):
        _check_zip(data)
    if any(name in data for name in BYTES_MAKERS):
        raise pickle.UnpicklingError("it holds bytes, and only tensors and plain values are read")
    with warnings.catch_warnings():
        # torch warns of files that it then refuses; the error says enough.
        warnings.simplefilter("ignore")
        # `weights_only` refuses pickled objects other than tensors and plain values, which could run code.
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _check_zip(data: bytes) -> None:
    # torch.load does not compare the checksums of the archive, so a changed byte would change a weight.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # torch stores parts as they are. A compressed part of a small file could fill the memory.
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise zipfile.BadZipFile("it is compressed")
        # Parts that contain each other could fill the memory as well.
        if sum(part.file_size for part in archive.infolist()) > len(data):
            raise zipfile.BadZipFile("its parts overlap")
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")


def _damaged(path: Path, kind: str, error: Exception) -> WeightsError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    # torch advises to load a file that it refuses without this protection, which would run the code in it.
    detail = "" if "weights_only" in first else f" ({first})"
    return WeightsError(
        f"{path} is not {kind}: it is damaged, cut short, of another kind, or holds objects that could run code"
        f"{detail}",
        "give a complete file; save the state_dict() of a network, not the network itself",
    )


def _weights_among(path: Path, values: Any) -> TensorFile:
    """Return the tensors of a state dictionary, or of the one that a training script has stored among other values."""
    key = None
    if isinstance(values, Mapping):
        key = next((key for key in WEIGHT_KEYS if isinstance(values.get(key), Mapping)), None)
    found = values if key is None else values[key]
    if not isinstance(found, Mapping) or len(found) > MOST_ENTRIES or not all(isinstance(name, str) for name in found):
        raise WeightsError(f"{path} holds no tensors by name", "give a file with the state_dict() of a network")
    others = (
        () if key is None else tuple((str(name), "it is not in the state_dict()") for name in values if name != key)
    )
    dropped = tuple((name, "it is not a tensor") for name, value in found.items() if not isinstance(value, Tensor))
    return TensorFile({name: value for name, value in found.items() if isinstance(value, Tensor)}, others + dropped)
