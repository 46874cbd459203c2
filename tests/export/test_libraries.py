"""Networks of timm and torchvision: through stand-ins of the libraries, which the test environment need not have."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from nas.device.onnx_check import count_onnx
from nas.errors import MissingPackageError, WeightsError
from nas.export.libraries import library_network


class Small(nn.Module):
    """A convolution, a normalization and a linear layer for images of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 32, 32)}
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


class Asked(list[tuple[str, dict[str, Any]]]):
    """What a library was asked for."""

    def build(self, name: str, **options: Any) -> nn.Module:
        self.append((name, options))
        return Small()


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    names = ["small", "small_large", "resnet50"]
    timm = ModuleType("timm")
    vars(timm).update(create_model=asked.build, is_model=names.__contains__, list_models=lambda: names)
    timm.__version__ = "1.0"  # type: ignore[attr-defined]
    crop = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: SimpleNamespace(crop_size=[32])))
    models = ModuleType("torchvision.models")
    vars(models).update(
        get_model=asked.build,
        list_models=lambda module: [*names, "googlenet"] if module is models else [],
        get_model_weights=lambda _name: crop,
    )
    torchvision = ModuleType("torchvision")
    vars(torchvision).update(models=models, __version__="0.9")
    for module in (timm, torchvision, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


@pytest.mark.parametrize(("library", "options"), [("timm", {"pretrained": False}), ("torchvision", {"weights": None})])
def test_a_network_becomes_a_file_with_its_own_counts_and_no_weights_are_loaded(
    library: str, options: dict[str, Any], asked: Asked
) -> None:
    found = library_network(library, "small", batch=2)
    assert asked == [("small", options)]
    checked, cost = count_onnx(found.data)
    assert (checked.shape, checked.batch, checked.classes) == ((3, 32, 32), 2, 5)
    assert cost.known_macs == 16 * 16 * 8 * 27 + 8 * 5
    assert found.params == 8 * 27 + 16 + 8 * 5 + 5
    assert found.library.split()[0] == library


def test_the_weights_are_the_same_every_time_and_others_random_numbers_do_not_change(asked: Asked) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other = (library_network("timm", "small").data for _ in range(2))
    assert one == other
    assert torch.rand(1) == expected
    assert len(asked) == 2


def test_auxiliary_heads_are_left_out(asked: Asked) -> None:
    library_network("torchvision", "googlenet")
    assert asked[0][1] == {"weights": None, "aux_logits": False, "init_weights": False}


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_an_unknown_network_is_refused_with_close_names(library: str, asked: Asked) -> None:
    with pytest.raises(WeightsError, match=f"{library} has no network 'resnet5o'\n  close names are resnet50"):
        library_network(library, "resnet5o")
    assert asked == []


def test_timm_is_not_asked_for_a_network_from_elsewhere(asked: Asked) -> None:
    with pytest.raises(WeightsError, match="has no network 'hf-hub:somebody/model'"):
        library_network("timm", "hf-hub:somebody/model")
    assert asked == []


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_not_installed_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingPackageError, match=f"pip install {library}"):
        library_network(library, "resnet50")


def test_all_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm", "onnxscript"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"packages timm and onnxscript .*\n  .*pip install timm onnxscript"):
        library_network("timm", "resnet50")


def test_a_library_that_does_not_fit_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="timm is installed and cannot be imported"):
        library_network("timm", "resnet50")
