"""`nas scale --pretrained`: networks that inherit trained weights, as users run the command."""

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import onnxruntime
import pytest
import torch

import nas as library
from tests.cli.conftest import Nas, Ran
from tests.weights.digits import accuracy, digits_network

Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Runs `nas` in this process, in a folder with a trained network in `digits.safetensors`."""
    library.save_weights(digits_network(), nas.folder / "digits.safetensors")
    return lambda *arguments: nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def test_a_deeper_network_has_the_accuracy_of_its_source_and_is_saved(here: Here, tmp_path: Path) -> None:
    deeper = ("scale", "digits.safetensors", "--phi", "1", "--rule", "depth", "--data", "digits")
    row = here(*deeper, "--save", "out", "--onnx", "--json").json
    assert row["base"]["name"] == "digits"
    stem = "out/digits-phi=1"
    assert row["files"] == [f"{stem}.json", f"{stem}.safetensors", f"{stem}.onnx"]
    weights = row["family"][0]["weights"]
    saved = library.load_weights(tmp_path / f"{stem}.safetensors")
    assert saved.arch == library.load_architecture(tmp_path / f"{stem}.json")
    assert (weights["file"], weights["exact"], weights["note"]) == (f"{stem}.safetensors", True, None)
    before = weights["before_training"]
    expected = accuracy(digits_network())
    assert before["source"] == before["network"]
    assert (before["network"]["accuracy"], before["images"], before["difference"]) == (expected, 359, 0)
    assert accuracy(saved) == expected
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (logits,) = onnxruntime.InferenceSession(tmp_path / f"{stem}.onnx").run(None, {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, saved.module()(images), rtol=1e-3, atol=1e-4)
    ran = here(*deeper)
    assert "grayscale images were repeated to 3 channels" in ran.err
    shown = ran.out.splitlines()
    assert shown[5:8] == ["phi=1:", f"  {weights['report'][0]}", f"  {weights['report'][1]}"]
    assert shown[8].startswith(f"  The accuracy before any further training is {100 * expected:.2f}% (")
    here(*deeper, "--save", "out").refused("digits-phi=1.safetensors exists", "choose another folder")


def test_a_network_within_a_budget_is_approximate_and_has_new_statistics(here: Here, tmp_path: Path) -> None:
    ran = here(
        "scale", "--pretrained", "digits.safetensors", "--budget", "flops=0.5M", "--save", "o", "--data", "digits"
    )
    assert "  The network only approximates the function of its source:" in ran.out.splitlines()
    assert (
        "  The batch-norm statistics were estimated again on 1,000 training images of digits." in ran.out.splitlines()
    )
    (path,) = (tmp_path / "o").glob("*.safetensors")
    found = library.load_weights(path)
    assert found.provenance["batch-norm statistics"].startswith("estimated again on 1,000")
    assert f"is {100 * accuracy(found):.2f}% (" in ran.out


def test_a_family_has_a_file_for_each_member(here: Here, tmp_path: Path) -> None:
    row = here("scale", "digits.safetensors", "--family", "--json").json
    files = [Path(member["weights"]["file"]) for member in row["family"]]
    assert [file.name for file in files] == [f"digits-B{number}.safetensors" for number in range(1, 8)]
    assert [path.name for path in sorted((tmp_path / files[0].parent).glob("*.safetensors"))] == [f.name for f in files]
    assert all(member["weights"]["before_training"] is None for member in row["family"])
    assert all("give images to estimate them again" in member["weights"]["note"] for member in row["family"])
    shares = [member["weights"]["share"] for member in row["family"]]
    assert shares == sorted(shares, reverse=True)
    largest = library.load_weights(tmp_path / files[-1])
    assert largest.arch.resolution == row["family"][-1]["resolution"]
    here("scale", "digits.safetensors", "--family", "--json").refused("digits-B1.safetensors exists")


def test_an_architecture_inherits_from_another_network(here: Here) -> None:
    """The name of a preset alone means no weights."""
    plain = here("scale", "mnasnet-small", "--phi", "0", "--json").json
    assert "weights" not in plain["family"][0]
    both = here("scale", "mnasnet-small", "--pretrained", "digits.safetensors", "--phi", "0", "--json").json
    assert both["base"] == plain["base"]
    assert 0 < both["family"][0]["weights"]["share"] < 1


def test_accuracies_are_measured_only_where_the_classes_are_the_same(here: Here) -> None:
    deeper = ("scale", "digits.safetensors", "--phi", "1", "--rule", "depth", "--data", "digits", "--classes", "4")
    assert "  The network has 4 classes and its source 10, so no accuracy can be measured before" in here(*deeper).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits.safetensors", "--pretrained", "x.pth", "--phi", "0"), ("both ARCH", "leave ARCH out")),
        (("timm:resnet18", "--fit"), ("--fit trains from random weights", "name an architecture")),
        (("--pretrained", "digits.safetensors", "--fit"), ("--pretrained has no meaning for --fit",)),
        (("mobilenetv2", "--phi", "0", "--data", "digits"), ("--data is given without weights", "add --pretrained")),
        (("mobilenetv2", "--phi", "0", "--normalization", "imagenet"), ("--normalization is given without weights",)),
        (("digits.safetensors", "--phi", "0", "--images", "9"), ("--images is given without images", "add --data")),
        (("--pretrained", "study:demo:trial=3", "--phi", "0"), ("a study holds no weights", "timm:NAME")),
        (("--pretrained", "mobilenetv2", "--phi", "0"), ("'mobilenetv2' is no source of weights", "timm:NAME")),
        (("absent.safetensors", "--phi", "0"), ("absent.safetensors cannot be read",)),
        (("digits.safetensors", "--phi", "0", "--data", "absent"), ("absent",)),
        (("unknown.pth", "--phi", "0", "--data", "digits"), ("normalization of the images of the source is unknown",)),
        (("unknown.pth", "--phi", "0", "--save", "out"), ("a saved network needs it", "--normalization imagenet")),
        (("digits.safetensors", "--phi", "0", "--save", "digits.safetensors/a"), ("cannot be made",)),
        (("digits.safetensors", "--phi", "0", "--save", "grown.safetensors"), ("names a file", "the name of a folder")),
    ],
)
def test_bad_input_gives_one_message(
    here: Here, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    if arguments[0] == "unknown.pth":
        torch.save(library.to_torch(library.load_architecture("mnasnet-small")).state_dict(), tmp_path / "unknown.pth")
    here("scale", *arguments).refused(*words)
    assert not list(tmp_path.glob("out/*.safetensors"))


def test_a_normalization_that_is_given_is_saved(here: Here, tmp_path: Path) -> None:
    unnamed = attrs.evolve(digits_network(), normalization=None)
    library.save_weights(unnamed, tmp_path / "unnamed.safetensors")
    here("scale", "unnamed.safetensors", "--phi", "0", "--normalization", "0.3/0.3", "--save", "out")
    assert library.load_weights(tmp_path / "out" / "unnamed-phi=0.safetensors").normalization is not None
