"""`nas search --pretrained`: candidates inherit weights, the source is the baseline, and the best weights are kept."""

import json
import shlex
from functools import partial
from pathlib import Path

import attrs
import pytest
import torch

import nas as nas_package
from nas.arch.code import parse_text
from nas.data.load import load_images
from nas.train.metrics import METRICS
from nas.weights.base import Normalization, TrainedNetwork
from tests.cli.conftest import Nas, Ran

SOURCE = """net channels=3 resolution=16 classes=4 padding=same bn=0.01/0.001 act=relu6
stem conv k3 s2 c8
mbconv r1 k3 s1 e1 c8
mbconv r2 k5 s2 e6 c16
mbconv r2 k3 s2 e6 c24
head conv c32"""
SPACE = """name: near
source: around the network of this test
baselines: []
resolution: [8, 16]
net: channels=3 classes=4 padding=same bn=0.01/0.001 act=relu6
stem: conv k3 s2 c8
head: conv c32
stages:
  - {operator: mbconv, kernel: 3, stride: 1, expansion: 1, channels: 8, layers: 1}
  - {operator: mbconv, kernel: [3, 5], stride: 2, expansion: [3, 6], channels: 16, layers: [1, 2]}
  - {operator: [mbconv e6, conv], kernel: 3, stride: 2, channels: 24, layers: [1, 2]}
"""
SEARCH = ("search", "--target", "params=50k", "--band", "0", "--data", "digits", "--pretrained", "source.safetensors")
SHORT = ("--images", "100", "--epochs", "1", "--study", "demo", "--space", "near.yaml", "--threads", "1")


@pytest.fixture(autouse=True)
def _source(nas: Nas) -> None:
    arch = parse_text(SOURCE)
    torch.manual_seed(0)
    state = nas_package.to_torch(arch).state_dict()
    network = TrainedNetwork(arch, state, tuple("abcd"), Normalization((0.5,) * 3, (0.5,) * 3), {"source": "made up"})
    nas_package.save_weights(network, nas.folder / "source.safetensors")
    (nas.folder / "near.yaml").write_text(SPACE)


def trials(ran: Ran) -> list[dict[str, object]]:
    return list(ran.json["front"])


def test_the_source_is_the_baseline_and_the_best_weights_are_kept(nas: Nas) -> None:
    ran = nas(*SEARCH, *SHORT, "--trials", "5", "--confirm", "1", "--keep-weights", "2", "--json")
    assert ran.code == 0, ran.err
    assert "stage3.operator=conv" in ran.err  # it begins with random weights
    result = ran.json
    assert result["baseline"]["name"] == "source"
    assert parse_text(result["baseline"]["arch"]).resolution == 16
    against = result["against_source"]
    assert against["cost"] == "params"
    assert against["change"] == pytest.approx(result["best"]["params"] / result["baseline"]["params"] - 1)
    assert against["low"] <= against["difference"] <= against["high"]
    assert 0 < result["best"]["remarks"]["inherited"] <= 1
    # The two best trials, and the recommended one, which was re-trained.
    files = result["weights"]
    assert 2 <= len(set(files) - {"baseline"}) <= 3
    assert str(result["best"]["trial"]) in files
    assert "baseline" in files
    assert {Path(path).parent for path in files.values()} == {Path(files["baseline"]).parent}
    assert not (Path(files["baseline"]).parent / "unfinished").exists()
    shown = nas(*SEARCH, *SHORT, "--trials", "5", "--confirm", "1", "--keep-weights", "2")
    assert "whose weights it inherited" in shown.out
    assert "against source" in shown.out
    assert f"its fine-tuned weights are in {files[str(result['best']['trial'])]}" in shown.out
    assert shlex.split(shown.out.splitlines()[-1])[:5] == ["nas", "train", "study:demo:best", "--data", "digits"]


def test_kept_weights_give_the_accuracy_of_their_trial(nas: Nas) -> None:
    ran = nas(*SEARCH, *SHORT, "--trials", "3", "--confirm", "0", "--fix", "resolution=16", "--json")
    assert ran.code == 0, ran.err
    best = ran.json["best"]
    network = nas_package.load_weights(ran.json["weights"][str(best["trial"])])
    assert network.classes == tuple("0123456789")
    assert network.arch == attrs.evolve(parse_text(best["arch"]), classes=10)
    data = load_images("digits", resolution=network.arch.resolution, images=100)
    assert network.normalization is not None
    logits = network.module()(network.normalization.apply(data.val.images.float() / 255))
    accuracy = METRICS["accuracy"](logits.argmax(1) == data.val.labels, data.val.labels)
    assert accuracy == pytest.approx(best["accuracy"], abs=0.005)


def test_the_same_command_continues_and_another_source_is_another_study(nas: Nas) -> None:
    first = nas(*SEARCH, *SHORT, "--trials", "2", "--confirm", "0", "--json")
    assert first.code == 0, first.err
    more = nas(*SEARCH, *SHORT, "--trials", "4", "--confirm", "0", "--json")
    assert more.code == 0, more.err
    assert more.json["trials"] == 4
    assert "is used again as the teacher" in more.err
    network = nas_package.load_weights(nas.folder / "source.safetensors")
    changed = {name: tensor + (tensor.ndim == 4) * 0.01 for name, tensor in network.tensors.items()}
    nas_package.save_weights(attrs.evolve(network, tensors=changed), nas.folder / "source.safetensors")
    nas(*SEARCH, *SHORT, "--trials", "4", "--json").refused("demo")


def test_a_search_without_a_space_is_around_the_source(nas: Nas) -> None:
    ran = nas(*SEARCH, "--images", "100", "--dry-run", "--json", "--threads", "1")
    assert ran.code == 0, ran.err
    assert ran.json["space"] == "around-source"
    assert ran.json["proxy_task"]["evaluator"] == "finetune"
    assert ran.json["proxy_task"]["resolution"] == 16
    assert ran.json["baseline"] == "source"


def test_workers_share_one_teacher(nas: Nas) -> None:
    ran = nas(*SEARCH, *SHORT, "--trials", "4", "--confirm", "0", "--workers", "2", "--json")
    assert ran.code == 0, ran.err
    assert ran.err.count("is fine-tuned for") == 1
    assert len(ran.json["weights"]) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--evaluator", "train"), ("only --evaluator finetune or supernet uses --pretrained",)),
        (("--evaluator", "zero-cost:depth", "--normalization", "imagenet"), ("only --evaluator",)),
        (("--normalization", "5/0"), ("normalization",)),
        (("--pretrained", "nothing"), ("is no source of weights", "efficientnet-lite0")),
        (("--pretrained", "missing.safetensors"), ("missing.safetensors",)),
    ],
)
def test_options_that_do_not_fit_are_refused(
    nas: Nas,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    nas.here(*SEARCH, *SHORT, *options, capsys=capsys, monkeypatch=monkeypatch).refused(*words)
    assert not (nas.folder / "nas.db").exists()


def test_what_needs_a_source_is_refused_without_one(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(nas.here, "search", "--target", "flops=300M", capsys=capsys, monkeypatch=monkeypatch)
    run("--evaluator", "finetune").refused("has no network whose weights", "--pretrained efficientnet-lite0")
    run("--evaluator", "supernet", "--normalization", "imagenet").refused("a normalization belongs to")


def test_a_source_without_a_normalization_asks_for_it(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nas_package.load_weights(nas.folder / "source.safetensors")
    torch.save(dict(network.tensors), nas.folder / "source.pth")
    small = ("--pretrained", "source.pth")
    ran = nas.here(*SEARCH, *SHORT, *small, capsys=capsys, monkeypatch=monkeypatch)
    ran.refused()


def test_a_few_photographs_are_proposed_a_pretrained_network(nas: Nas) -> None:
    (nas.folder / "photos").mkdir()
    for name in ("cat", "dog"):
        (nas.folder / "photos" / name).mkdir()
    from PIL import Image

    for i in range(20):
        for k, name in enumerate(("cat", "dog")):
            Image.new("RGB", (16, 16), (10 * i, 100 * k, 0)).save(nas.folder / "photos" / name / f"{i}.png")
    options = ("--data", "photos", "--space", "near.yaml", "--target", "params=50k", "--band", "0", "--dry-run")
    ran = nas("search", *options, "--threads", "1", "--json")
    assert ran.code == 0, ran.err
    assert "Add --pretrained efficientnet-lite0" in ran.err
    assert (
        "Add --pretrained"
        not in nas("search", *options, "--threads", "1", "--json", "--pretrained", "source.safetensors").err
    )


def test_a_check_compares_fine_tuning_with_the_others(nas: Nas) -> None:
    evaluators = ("finetune:epochs=1", "supernet:epochs=1", "train:epochs=1", "zero-cost:naswot")
    chosen = [word for name in evaluators for word in ("--evaluator", name)]
    ran = nas(
        "check", *chosen, "--truth", "finetune:epochs=2", "--networks", "5", "--seeds", "1", "--images", "100",
        "--pretrained", "source.safetensors", "--space", "near.yaml", "--threads", "1", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert {row["evaluator"] for row in json.loads(ran.out)["evaluators"]} == set(evaluators)
