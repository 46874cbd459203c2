"""Folders of training runs as sources of weights and as architectures."""

from pathlib import Path

import pytest
import torch

from nas.api.architectures import find_architecture, save_architecture
from nas.api.spaces import find_space
from nas.arch.presets import preset
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.weights.base import TrainedNetwork
from nas.weights.checkpoints import ARCHITECTURE_FILE, LAST_FILE, WEIGHTS_FILE, checkpoint_name, find_weights_file
from nas.weights.forms import names_weights
from nas.weights.sources import load_source
from nas.weights.stored import write_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small-trained"
    folder.mkdir()
    arch = preset("mnasnet-small").adapted(resolution=32, classes=10)
    for name in (WEIGHTS_FILE, LAST_FILE):
        write_network(TrainedNetwork(arch, build_model(arch).state_dict()), folder / name)
    save_architecture(arch, folder / ARCHITECTURE_FILE)
    return folder


def test_a_folder_stands_for_its_best_weights(folder: Path) -> None:
    assert find_weights_file(folder) == folder / WEIGHTS_FILE
    loaded, best = load_source(str(folder)), load_source(str(folder / WEIGHTS_FILE))
    assert loaded.name == best.name == "small-trained"
    assert loaded.network.digest == best.network.digest
    assert names_weights(str(folder))


def test_a_file_in_the_folder_is_a_source_too(folder: Path) -> None:
    last = folder / LAST_FILE
    assert find_weights_file(last) == last
    assert checkpoint_name(last) == "small-trained"
    assert not torch.equal(
        load_source(str(last)).network.tensors["stem.conv.conv.weight"],
        load_source(str(folder)).network.tensors["stem.conv.conv.weight"],
    )


def test_a_folder_is_an_architecture_and_the_middle_of_a_space(folder: Path) -> None:
    name, arch = find_architecture(str(folder), "sqlite:///none.db")
    assert (name, arch.classes) == ("small-trained", 10)
    assert find_architecture(str(folder / LAST_FILE), "sqlite:///none.db") == (name, arch)
    assert find_space(f"around:{folder}").name == find_space(f"around:{folder / WEIGHTS_FILE}").name


@pytest.mark.parametrize("name", ["", "more"])
def test_a_folder_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "more").mkdir()
    path = tmp_path / name
    with pytest.raises(WeightsError, match=r"has no file weights\.safetensors"):
        find_weights_file(path)
    with pytest.raises(WeightsError, match="is no source of weights"):
        load_source(str(path))


@pytest.mark.parametrize("path", ["x" * 5_000, "null\0", "nothing"])
def test_a_path_of_nothing_is_no_source(path: str) -> None:
    assert not names_weights(path)
    with pytest.raises(WeightsError, match="is no source of weights"):
        load_source(path)
