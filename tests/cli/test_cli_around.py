"""`nas spaces around`, and the spaces around networks and of several resolutions in other commands."""

import json

import pytest

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.cost.analytic import MACS
from nas.space.around import around
from nas.space.inverse import Inverse
from tests.cli.conftest import Nas, Ran
from tests.search.fakes import TINY

LITE = "efficientnet-lite0"
DEPTH = ("--evaluator", "zero-cost:depth", "--trials", "3", "--sampler", "random")


def found(ran: Ran) -> Ran:
    assert ran.code == 0, ran.err
    return ran


def test_a_saved_space_is_the_space_around_the_network(nas: Nas) -> None:
    ran = found(nas("spaces", "around", LITE, "--save", "my.yaml"))
    assert "wrote my.yaml\n" in ran.out
    assert "search --space my.yaml" in ran.out
    saved = found(nas("spaces", "my.yaml", "--json")).json
    assert saved == found(nas("spaces", f"around:{LITE}", "--json")).json
    (row,) = saved
    assert (row["name"], row["combinations"]) == (f"around-{LITE}", around(preset(LITE)).size)
    shown = found(nas("spaces", "around", LITE, "--json")).json
    assert shown == row | {"file": None}
    assert "resolution         128, 160, 192, 224\n" in found(nas("spaces", "my.yaml", "--choices")).out


def test_growth_is_an_option(nas: Nas) -> None:
    grown = found(nas("spaces", "around", LITE, "--grow", "--save", "grown.yaml", "--json")).json
    assert grown["choices"]["stage3.channels"] == [32, 40, 48]
    assert grown["file"] == "grown.yaml"
    assert found(nas("spaces", "--json", "grown.yaml")).json[0]["choices"] == grown["choices"]


def test_a_file_of_another_kind_is_kept(nas: Nas) -> None:
    path = nas.folder / "other.yaml"
    path.write_text("services: {}\n")
    nas("spaces", "around", LITE, "--save", "other.yaml").refused("other.yaml holds something else and not a search")
    nas("spaces", "around", LITE, "--save", "my.txt").refused("my.txt has no known form")
    nas("spaces", "around", LITE, "--save", "none/my.yaml").refused("there is no folder none")
    assert path.read_text() == "services: {}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("spaces", "around", "nosuch"),
        ("spaces", "around:nosuch"),
        ("search", "--space", "around:nosuch", "--target", "flops=200M"),
        ("check", "--space", "around:nosuch", "--target", "flops=200M"),
        ("latency", "table", "--space", "around:nosuch"),
    ],
)
def test_an_unknown_network_is_told(
    nas: Nas, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nas.here(*words, capsys=capsys, monkeypatch=monkeypatch).refused("'nosuch' is no preset and no file", "presets are")


def test_a_network_of_an_unknown_study_is_told(nas: Nas) -> None:
    nas("spaces", "around:study:nosuch:best").refused("nas.db")


def test_words_after_names_are_options(nas: Nas) -> None:
    assert "Usage" in found(nas("spaces", "around", "--help")).out
    nas("spaces", "around").refused("Missing argument 'ARCH'", code=2)
    nas("spaces", "--choices", "nosuch").refused("no search space is called 'nosuch'")


@pytest.mark.slow
def test_a_search_around_a_network_and_around_what_it_found(nas: Nas) -> None:
    found(nas("spaces", "around", LITE, "--save", "my.yaml"))
    target = ("--target", "flops=200M", *DEPTH)
    ran = found(nas("search", "--space", f"around:{LITE}", *target, "--json")).json
    best = parse_text(ran["best"]["arch"])
    assert ran["best"]["macs"] == MACS.estimate(best).value <= 200e6
    assert Inverse(around(preset(LITE))).indices(canonical(best)) is not None
    # The saved file is the same space, so the same search continues the same study.
    again = found(nas("search", "--space", "my.yaml", *target, "--json")).json
    assert (again["study"], again["best"]["arch"]) == (ran["study"], ran["best"]["arch"])
    reference = f"study:{ran['study']}:best"
    (row,) = found(nas("spaces", f"around:{reference}", "--json")).json
    assert row["macs"][0] < ran["best"]["macs"] <= row["macs"][1]
    assert max(row["choices"].get("resolution", [best.resolution])) == best.resolution


@pytest.mark.slow
def test_the_resolution_of_the_target_task_can_be_fixed(nas: Nas) -> None:
    (nas.folder / "sizes.yaml").write_text(TINY.replace("resolution=32 ", "") + "resolution: [24, 32]\n")
    words = ("search", "--space", "sizes.yaml", "--target", "flops=1M", *DEPTH, "--dry-run", "--json")
    whole = found(nas(*words)).json
    assert whole["target_task"] == {"resolution": 32, "classes": 10, "resolutions": [24, 32]}
    fixed = found(nas(*words, "--fix", "resolution=24")).json
    other = found(nas(*words, "--resolution", "28")).json
    assert fixed["target_task"] == {"resolution": 32, "classes": 10}
    assert other["target_task"] == {"resolution": 28, "classes": 10}
    nas(*words, "--fix", "resolution=25").refused("resolution cannot be '25'", "24, 32")
    nas(*words, "--resolution", "28", "--fix", "resolution=24").refused("has no choice 'resolution'")
    assert len({json.dumps(each["study"]) for each in (whole, fixed, other)}) == 3


@pytest.mark.slow
def test_training_runs_and_checks_have_images_of_each_resolution(nas: Nas) -> None:
    (nas.folder / "sizes.yaml").write_text(TINY.replace("resolution=32 ", "") + "resolution: [16, 32]\n")
    images = ("--data", "digits", "--images", "60", "--proxy-resolution", "8", "--epochs", "1", "--train-on", "cpu")
    ran = nas("check", "--space", "sizes.yaml", *images, "--networks", "5", "--truth", "train:epochs=2", "--json")
    assert len(found(ran).json["networks"]) == 5
    searched = nas(
        "search", "--space", "sizes.yaml", "--target", "flops=1M", *images, "--trials", "2", "--confirm", "0"
    )
    assert "2 trials are in study" in found(searched).out
