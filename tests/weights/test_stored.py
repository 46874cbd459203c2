"""Saved networks: the metadata reads back as it was, and damage of it is one clear error."""

import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.errors import NasError, WeightsError
from nas.models.build import build_model
from nas.weights.base import Normalization, TrainedNetwork, tensor_shapes
from nas.weights.stored import format_metadata, parse_network, read_network, write_network
from nas.weights.tensor_files import TensorFile, read_tensor_file

TINY = parse_text("net resolution=32 classes=2\nstem conv c8\nmbconv e6 c16\nhead pool")
NORM = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def tiny() -> TrainedNetwork:
    return TrainedNetwork(TINY, build_model(TINY).state_dict(), ("cat", "dog"), NORM, {"source": "a test"})


@st.composite
def networks(draw: st.DrawFn) -> TrainedNetwork:
    # Other tests read the texts of all kinds of architectures; here a small one keeps the tensors few.
    classes, channels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    arch: Architecture = attrs.evolve(TINY, classes=classes, in_channels=channels, drop_path=draw(st.floats(0, 0.9)))
    tensors = {name: torch.empty(shape, device="meta") for name, shape in tensor_shapes(arch).items()}
    names = st.lists(st.text(), min_size=arch.classes, max_size=arch.classes).map(tuple)
    number = st.floats(allow_nan=False, allow_infinity=False)
    values = st.lists(number, min_size=arch.in_channels, max_size=arch.in_channels)
    positive = st.lists(st.floats(1e-9, 1e9), min_size=arch.in_channels, max_size=arch.in_channels)
    norm = draw(st.none() | st.builds(Normalization, values, positive))
    return TrainedNetwork(
        arch, tensors, draw(st.none() | names), norm, draw(st.dictionaries(st.text(), st.text(), max_size=3))
    )


@settings(max_examples=20, deadline=None)
@given(networks())
def test_metadata_reads_back_as_it_was(network: TrainedNetwork) -> None:
    found = parse_network(TensorFile(network.tensors, (), format_metadata(network)))
    for field in ("arch", "classes", "normalization", "provenance"):
        assert getattr(found, field) == getattr(network, field)


def test_a_saved_network_reads_back_as_it_was(tmp_path: Path) -> None:
    path, network = tmp_path / "tiny.safetensors", tiny()
    write_network(network, path)
    found = read_network(path, read_tensor_file(path))
    assert found is not None
    assert (found.arch, found.classes, found.normalization) == (network.arch, network.classes, network.normalization)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in network.tensors.items())
    before = path.read_bytes()
    for _ in range(5):  # safetensors orders the metadata at random
        write_network(found, path)
        assert path.read_bytes() == before
    write_network(attrs.evolve(network, classes=None), path)  # a file of the same kind is replaced
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.module()(images), network.module()(images))


def test_a_file_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("notes")
    with pytest.raises(NasError, match="not overwritten"):
        write_network(tiny(), path)
    assert path.read_text() == "notes"


BAD: Mapping[str, tuple[Mapping[str, str | None], str]] = {
    "format": ({"nas_format": "nas-weights/9"}, "format 'nas-weights/9'"),
    "no architecture": ({"architecture": None}, "no 'architecture'"),
    "architecture": ({"architecture": "net\nstem"}, ""),
    "another architecture": ({"architecture": "net\nstem conv c8\nmbconv e6 c24\nhead pool"}, "has the shape"),
    "huge architecture": (
        {"architecture": "net\nstem conv c2000000000\nconv r1000 c2000000000\nhead pool"},
        "",
    ),
    "classes": ({"classes": '["cat"'}, "the classes"),
    "few classes": ({"classes": '["cat"]'}, "1 names of classes"),
    "numbers as classes": ({"classes": "[1, 2]"}, "the classes"),
    "nan": ({"normalization": json.dumps({"mean": [float("nan")] * 3, "std": [1.0] * 3})}, "give finite numbers|nan"),
    "infinite": ({"normalization": '{"mean": [0, 0, 0], "std": [1e999, 1, 1]}'}, "inf"),
    "zero": ({"normalization": '{"mean": [0, 0, 0], "std": [0, 1, 1]}'}, "standard deviations"),
    "short": ({"normalization": '{"mean": [0], "std": [1]}'}, "1 channels"),
    "texts": ({"normalization": '{"mean": ["a"], "std": [1]}'}, "the normalization"),
    "large number": ({"normalization": f'{{"mean": [{"9" * 400}, 0, 0], "std": [1, 1, 1]}}'}, ""),
    "deep": ({"provenance": "[" * 100_000}, "the provenance"),
    "provenance": ({"provenance": '{"a": 1}'}, "the provenance"),
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_metadata_is_one_clear_error(tmp_path: Path, case: str) -> None:
    change, text = BAD[case]
    network, path = tiny(), tmp_path / "a.safetensors"
    metadata = {key: value for key, value in {**format_metadata(network), **change}.items() if value is not None}
    path.write_bytes(save(dict(network.tensors), metadata))
    with pytest.raises(NasError, match=text or None) as raised:
        read_network(path, read_tensor_file(path))
    assert str(path) in raised.value.problem


def test_tensors_have_exactly_the_names_and_shapes_of_the_architecture() -> None:
    state = dict(build_model(TINY).state_dict())
    for change, text in (
        ({"stem.conv.conv.weight": torch.zeros(9, 3, 3, 3)}, "'stem.conv.conv.weight' has the shape"),
        ({"more": torch.zeros(1)}, "a tensor 'more'"),
    ):
        with pytest.raises(WeightsError, match=text):
            TrainedNetwork(TINY, {**state, **change})
    del state["stages.0.0.depthwise.norm.bias"]
    with pytest.raises(WeightsError, match=r"no tensor 'stages\.0\.0\.depthwise\.norm\.bias'"):
        TrainedNetwork(TINY, state)


def test_training_a_module_does_not_change_the_network() -> None:
    network, generator = tiny(), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in network.tensors.items()}
    module = network.module()
    assert torch.equal(generator, torch.get_rng_state())
    module.train()(torch.randn(4, 3, 32, 32)).sum().backward()
    torch.optim.SGD(module.parameters(), 0.1).step()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.tensors.items())
