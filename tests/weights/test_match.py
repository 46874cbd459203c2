"""Matching of foreign state dictionaries: every supported network of timm and torchvision, and what fits nothing."""

import random
from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor, nn

from nas.arch.presets import preset
from nas.arch.spec import Architecture, Norm
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.weights.base import TrainedNetwork
from nas.weights.families import candidates
from nas.weights.libraries import timm_library
from nas.weights.match import match, match_names
from nas.weights.sources import logit_difference
from tests.weights import foreign

STATES = foreign.read()
WIDTHS = {"035": "-0.35", "050": "-0.5", "075": "-0.75", "100": "", "140": "-1.4"}


def expected_name(source: str) -> str:
    """The name that a network of timm or torchvision has here, from its own name."""
    library, _, name = source.partition(":")
    name = name.removeprefix("tf_")
    family, _, width = name.rpartition("_")
    if name.startswith("efficientnet"):
        return name.replace("_", "-")
    if name.startswith("resnet"):
        return name.replace("resnet", "resnet-")
    if library == "torchvision":
        first, points, last = name.partition("0_" if "mnasnet0" in name else "1_")
        if points:
            return "mnasnet-b1" + (f"-{points[0]}.{last}" if (points[0], last) != ("1", "0") else "")
        return first.replace("mobilenet_", "mobilenet").replace("_", "-")
    if name in ("fbnetc_100", "mnasnet_small"):
        return {"fbnetc_100": "fbnet-c", "mnasnet_small": "mnasnet-small"}[name]
    families = {"mnasnet": "mnasnet-b1", "semnasnet": "mnasnet-a1"}
    return families.get(family, family.replace("_", "-")) + WIDTHS[width]


@pytest.mark.parametrize("source", STATES)
def test_state_dictionaries_of_timm_and_torchvision_load_exactly(source: str) -> None:
    state = STATES[source]
    library, _, name = source.partition(":")
    found = match(state, timm_library(name) if library == "timm" else library)
    assert found.name == expected_name(source)
    assert (found.account.used, found.account.dropped, found.account.missing) == (len(state), (), ())
    network = TrainedNetwork(found.arch, found.tensors)  # it checks all names and shapes
    assert sum(t.numel() for t in network.tensors.values()) == sum(t.numel() for t in state.values())


def test_the_fixtures_cover_every_family() -> None:
    families = {source.split(":")[1].removeprefix("tf_").split("_")[0] for source in STATES}
    assert {"efficientnet", "mobilenetv2", "mobilenetv3", "mnasnet", "semnasnet", "resnet18", "resnet152"} <= families
    assert {f"timm:efficientnet_b{i}" for i in range(8)} | {f"timm:efficientnet_lite{i}" for i in range(5)} <= {*STATES}


@pytest.mark.parametrize(
    ("source", "padding", "norm"),
    [
        ("timm:tf_efficientnet_b0", "same", Norm(0.01, 1e-3)),
        ("timm:efficientnet_b0", "symmetric", Norm(0.1, 1e-5)),
        ("torchvision:efficientnet_b0", "symmetric", Norm(0.1, 1e-5)),
        ("torchvision:efficientnet_b7", "symmetric", Norm(0.01, 1e-3)),
        ("torchvision:mobilenet_v3_small", "symmetric", Norm(0.01, 1e-3)),
        ("torchvision:mnasnet1_0", "symmetric", Norm(3e-4, 1e-5)),
    ],
)
def test_padding_and_batch_normalization_are_those_of_the_library(source: str, padding: str, norm: Norm) -> None:
    library, _, name = source.partition(":")
    arch = match(STATES[source], timm_library(name) if library == "timm" else library).arch
    assert (arch.padding, arch.norm) == (padding, norm)


def shuffled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = list(state)
    random.Random(0).shuffle(names)  # noqa: S311
    return {name: state[name] for name in names}


@pytest.mark.parametrize("source", ["timm:mobilenetv3_large_100", "torchvision:resnet50", "timm:mnasnet_100"])
def test_the_order_of_the_entries_of_a_file_changes_nothing(source: str) -> None:
    state = {name: torch.full(tensor.shape, float(i)) for i, (name, tensor) in enumerate(STATES[source].items())}
    first, second = match(state), match(shuffled(state))
    assert first.arch == second.arch
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_logits_equal_those_of_efficientnet_pytorch_with_random_weights() -> None:
    pytest.importorskip("efficientnet_pytorch")
    from efficientnet_pytorch import EfficientNet

    published = EfficientNet.from_name("efficientnet-b0", image_size=75, num_classes=7).eval()
    foreign.randomize(published)
    found = match(published.state_dict())
    assert (found.name, found.library, found.arch.classes) == ("efficientnet-b0", "efficientnet_pytorch", 7)
    network = TrainedNetwork(attrs.evolve(found.arch, resolution=75), found.tensors)
    assert logit_difference(network, published) < 1e-5
    other = attrs.evolve(network, arch=attrs.evolve(network.arch, padding="symmetric"))
    assert logit_difference(other, published) > 1e-4  # the comparison sees another padding


def test_words_of_wrappers_in_front_of_all_names_are_ignored() -> None:
    state = STATES["timm:mobilenetv2_100"]
    wrapped = match({f"module._orig_mod.{name}": tensor for name, tensor in state.items()})
    assert (wrapped.name, wrapped.account.used) == ("mobilenetv2", len(state))


def test_missing_counters_of_batches_are_reported_and_start_at_0() -> None:
    state = {name: t for name, t in STATES["torchvision:resnet18"].items() if "num_batches_tracked" not in name}
    found = match(state)
    assert {name.rpartition(".")[2] for name, _ in found.account.missing} == {"num_batches_tracked"}
    assert len(found.account.missing) + found.account.used == len(found.tensors)
    assert int(found.tensors["stem.conv.norm.num_batches_tracked"]) == 0


def test_the_own_names_of_a_preset_are_recognized() -> None:
    arch: Architecture = attrs.evolve(preset("mobilenetv3-small"), classes=7, in_channels=1)
    found = match_names(build_model(arch).state_dict())
    assert found is not None
    assert found.arch == arch
    assert match_names(STATES["timm:resnet18"]) is None


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "mnasnet-small",
            {"stages.0.0.project.conv.weight": (9, 8, 1, 1)},
            r"is \(9, 8, 1, 1\) and needs to be \(8, 8",
        ),
        ("mobilenetv2-0.75", {"stages.3.0.depthwise.norm.bias": None}, "is absent and needs to be"),
        ("resnet-18", {"stages.9.0.expand.conv.weight": (1, 1, 1, 1)}, r"is \(1, 1, 1, 1\) and needs to be absent"),
        ("efficientnet-b0", {"head.classifier.weight": ()}, r"is \(\) and needs to be"),
    ],
)
def test_own_names_with_other_tensors_name_the_first_difference(
    name: str, change: dict[str, tuple[int, ...] | None], words: str
) -> None:
    state = build_model(dict(candidates())[name]).state_dict()
    ((tensor, shape),) = change.items()
    state = {key: value for key, value in state.items() if key != tensor or shape is not None}
    if shape is not None:
        state[tensor] = torch.zeros(shape)
    with pytest.raises(WeightsError, match=f"nearest is {name}: tensor '{tensor}' {words}") as raised:
        match_names(state)
    assert "nas.save_weights" in raised.value.remedy


B0 = "timm:efficientnet_b0"
Change = Callable[[dict[str, Tensor]], object]


def narrow(state: dict[str, Tensor]) -> None:
    state["blocks.2.0.conv_dw.weight"] = torch.empty(144, 1, 9, 9)


BAD: dict[str, tuple[Change, str]] = {
    "shape": (narrow, r"nearest is efficientnet-b0: .*'blocks\.2\.0\.conv_dw\.weight' is \(144, 1, 9, 9\)"),
    "missing layer": (
        lambda s: s.pop("blocks.6.0.conv_pwl.weight"),
        r"nearest is efficientnet-b0: tensor 'blocks\.6\.0\.conv_dw\.weight'",
    ),
    "missing classifier": (
        lambda s: [s.pop(f"classifier.{word}") for word in ("weight", "bias")],
        "no tensor for its layer head.classifier",
    ),
    "missing statistics": (lambda s: s.pop("bn1.running_var"), r"no tensor 'bn1\.running_var'"),
    "missing bias": (lambda s: s.pop("classifier.bias"), "'classifier' has no bias"),
    "a further bias": (lambda s: s.update({"conv_stem.bias": torch.empty(32)}), "'conv_stem' has a bias"),
    "a further layer": (
        lambda s: s.update({"aux.weight": torch.empty(10, 5), "aux.bias": torch.empty(10)}),
        "the weights fit no architecture",
    ),
    "scales": (lambda s: s.update({"blocks.0.0.gamma": torch.empty(8)}), r"'blocks\.0\.0\.gamma' of shape \(8,\)"),
    "attention": (lambda s: s.update({"q.weight": torch.empty(8, 8, 3)}), r"'q\.weight' of shape \(8, 8, 3\) belongs"),
    "wrong norm": (
        lambda s: s.update({"blocks.0.0.bn1.running_mean": torch.empty(31)}),
        r"'blocks\.0\.0\.bn1\.running_mean' is \(31,\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_weights_of_another_structure_are_refused_with_the_first_difference(case: str) -> None:
    change, text = BAD[case]
    state = dict(STATES[B0])
    change(state)
    with pytest.raises(WeightsError, match=text):
        match(state)


@pytest.mark.parametrize(
    "network", [nn.Linear(4, 4), nn.LayerNorm(4), nn.LSTM(4, 4), nn.Sequential(nn.Conv1d(3, 8, 3), nn.Linear(8, 2))]
)
def test_other_networks_are_refused(network: nn.Module) -> None:
    with pytest.raises(WeightsError):
        match(network.state_dict())
