"""Files of tensors: what is read, and hostile files, which run nothing and give one clear error."""

import codecs
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn
from torch.autograd.profiler import profile

from nas.errors import WeightsError
from nas.weights import tensor_files
from nas.weights.tensor_files import read_tensor_file

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, 2.0], dtype=torch.float16)}


class Bomb:
    """Write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.safetensors", save(WEIGHTS)),
        ("a.pth", saved(WEIGHTS)),
        ("old.pt", saved(WEIGHTS, _use_new_zipfile_serialization=False)),
    ],
)
def test_tensors_are_read_in_single_precision(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found = read_tensor_file(tmp_path / name)
    assert found.dropped == ()
    assert {key: tensor.tolist() for key, tensor in found.tensors.items()} == {
        "a.weight": [[0, 1, 2], [3, 4, 5]],
        "a.bias": [1, 2],
    }
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}


def test_the_weights_among_the_values_of_a_training_run_are_found(tmp_path: Path) -> None:
    path = tmp_path / "run.pth"
    path.write_bytes(saved({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": {**WEIGHTS, "version": 2}}))
    found = read_tensor_file(path)
    assert set(found.tensors) == set(WEIGHTS)
    assert dict(found.dropped) == {
        "epoch": "it is not in the state_dict()",
        "optimizer": "it is not in the state_dict()",
        "version": "it is not a tensor",
    }


class Call:
    """Call a function with arguments when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def doubled(times: int) -> Call:
    """Bytes that are written as hexadecimal digits again and again, each time twice as many."""
    call = Call(codecs.encode, b"0123456789", "hex")
    for _ in range(times):
        call = Call(codecs.encode, call, "hex")
    return call


def compressed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(WEIGHTS))) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    return buffer.getvalue()


def overlapping() -> bytes:
    """An archive of two stored parts, the second of which lies inside the first."""
    inner, buffer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b", b"\0" * 500)
        (part,) = archive.infolist()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", inner.getvalue())
        part.header_offset = buffer.getvalue().index(inner.getvalue())
        archive.filelist.append(part)
    return buffer.getvalue()


def flipped(data: bytes) -> bytes:
    """The data with a changed byte of a weight: 5.0 in little-endian single precision becomes another number."""
    place = data.index(b"\x00\x00\xa0\x40")
    return data[:place] + b"\x01" + data[place + 1 :]


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


# Each view is small enough, and all of them are not.
VIEWS = {f"layer{i}": torch.zeros(1).expand(30_000_000) for i in range(20)}

BAD: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.pth", b"", "is not a file of torch.save"),
    "text": ("a.pth", b"hello world", "is not a file of torch.save"),
    "cut zip": ("a.pth", saved(WEIGHTS)[:-100], "is not a file of torch.save"),
    "cut pickle": ("a.pt", saved(WEIGHTS, _use_new_zipfile_serialization=False)[:-10], "is not a file of torch.save"),
    "compressed": ("a.pth", compressed(), "it is compressed"),
    "many bytes": ("a.pth", saved({"a": torch.zeros(2), "b": Call(bytearray, 3 * 10**9)}), "it holds bytes"),
    "old form of many bytes": (
        "a.pt",
        saved({"b": Call(bytearray, 3 * 10**9)}, _use_new_zipfile_serialization=False),
        "it holds bytes",
    ),
    "doubled bytes": ("a.pth", saved({"a": torch.zeros(2), "b": doubled(30)}), "it holds bytes"),
    "overlapping": ("a.pth", overlapping(), "its parts overlap"),
    "changed byte": ("a.pth", flipped(saved(WEIGHTS)), "checksum"),
    "network": ("a.pth", saved(nn.Linear(2, 2)), "objects that could run code"),
    "number": ("a.pth", saved(3), "holds no tensors by name"),
    "list": ("a.pth", saved([torch.zeros(2)]), "holds no tensors by name"),
    "names of numbers": ("a.pth", saved({1: torch.zeros(2)}), "holds no tensors by name"),
    "no tensors": ("a.pth", saved({"epoch": 1}), "holds no tensors"),
    "nan": ("a.pth", saved({"a": torch.tensor([float("nan")])}), "not a number"),
    "complex": ("a.pth", saved({"a": torch.zeros(2, dtype=torch.complex64)}), "not a plain array"),
    "sparse": ("a.pth", saved({"a": torch.eye(2).to_sparse()}), "not a plain array"),
    "repeated number": (
        "a.pth",
        saved({"a": torch.zeros(1).expand(10**10)}),
        "40,000,000,000 bytes in single precision, and at most",
    ),
    "many repeated numbers": ("a.pth", saved(VIEWS), "2,400,000,000 bytes in single precision, and at most"),
    "repeated small numbers": (
        "a.pth",
        saved({"a": torch.zeros(1, dtype=torch.float8_e4m3fn).expand(6 * 10**8)}),
        "2,400,000,000 bytes in single precision, and at most",
    ),
    "wrong kind": ("a.safetensors", saved(WEIGHTS), "is not a safetensors file"),
    "cut safetensors": ("a.safetensors", save(WEIGHTS)[:-1], "is not a safetensors file"),
    "long header": ("a.safetensors", (2**60).to_bytes(8, "little") + b"{", "is not a safetensors file"),
    "deep header": ("a.safetensors", header(b'{"a":' * 5000), "is not a safetensors file"),
    "negative offsets": (
        "a.safetensors",
        header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'),
        "is not a safetensors file",
    ),
    "no content": ("a.safetensors", header(b"{}"), "holds no tensors"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_file_gives_one_clear_error(tmp_path: Path, case: str) -> None:
    name, data, text = BAD[case]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=text) as raised:
        read_tensor_file(path)
    assert str(path) in raised.value.problem
    assert raised.value.remedy


def test_views_of_few_numbers_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "views.pth"
    path.write_bytes(saved(VIEWS))
    assert path.stat().st_size < 10_000
    with profile(profile_memory=True) as profiled, pytest.raises(WeightsError):
        read_tensor_file(path)
    assert sum(max(0, event.cpu_memory_usage) for event in profiled.key_averages()) < 100_000


WHOLE = {
    "a.safetensors": save(WEIGHTS),
    "a.pth": saved(WEIGHTS),
    "b.pt": saved(WEIGHTS, _use_new_zipfile_serialization=False),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damage_is_an_error_or_leaves_the_names(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    whole = bytearray(WHOLE[name])
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / name
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])
    try:
        found = read_tensor_file(path)
    except WeightsError:  # any other error fails the test
        return
    assert found.tensors


@pytest.mark.parametrize("old", [True, False])
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path: Path, old: bool) -> None:
    path, mark = tmp_path / "bomb.pth", tmp_path / "ran"
    path.write_bytes(saved({"a": torch.zeros(2), "b": Bomb(mark)}, _use_new_zipfile_serialization=not old))
    with pytest.raises(WeightsError, match="could run code"):
        read_tensor_file(path)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(WeightsError, match="could run code") as raised:
        read_tensor_file(path)
    assert "weights_only" not in str(raised.value)  # torch advises to run the code
    assert not mark.exists()


def test_only_regular_files_of_a_limited_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "link.pth").symlink_to("/dev/zero")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "large.pth").write_bytes(saved(WEIGHTS))
    monkeypatch.setattr(tensor_files, "MOST_BYTES", 100)
    for name in ("pipe.pth", "link.pth", "folder.pth", "large.pth", "absent.pth", "nul\x00.pth"):
        with pytest.raises(WeightsError, match="cannot be read"):
            read_tensor_file(tmp_path / name)
