"""Data as users have it: what costs count, and what the commands say about images and tables."""

from collections.abc import Callable
from typing import Any

import pytest

import nas as api
from nas.api import training
from nas.api.request import SearchRequest
from nas.arch.code import parse_text
from nas.cost.analytic import cost
from nas.errors import NasError, StudyError
from tests.cli.conftest import Nas, Ran
from tests.cli.fake_nas import make_evaluators
from tests.data.test_data_load import write_folder
from tests.search.fakes import TINY

SEARCH = ("search", "--space", "tiny.yaml", "--target", "params=20k", "--band", "0", "--trials", "2", "--json")
FIT = ("scale", "mnasnet-small", "--fit", "--step", "0.4", "--tolerance", "0.3", "--seeds", "1", "--epochs", "1")
CHECK = ("check", "--space", "tiny.yaml", "--networks", "5", "--seeds", "1", "--epochs", "1", "--proxy-resolution", "8")
Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """The command in this process, with made-up training runs, in a folder with images of three classes."""
    monkeypatch.setattr(training, "make_evaluators", make_evaluators)
    write_folder(nas.folder / "photos")

    def run(*arguments: str) -> Ran:
        ran = nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)
        assert ran.code == 0, ran.err
        return ran

    return run


def classes_of(result: dict[str, Any]) -> int:
    """The classes of the best network; its costs are those of a head of so many classes."""
    arch = parse_text(result["best"]["arch"])
    assert result["best"]["params"] == cost(arch).params
    return arch.classes


class TestClasses:
    @pytest.mark.parametrize(
        ("options", "classes", "said"),
        [
            (("--data", "photos"), 3, "costs count 3 classes, as in the data"),
            (("--data", "photos", "--classes", "7"), 7, "costs count 7 classes, as --classes says"),
            ((), 10, "costs count 10 classes, as in space tiny, since the data are the embedded digits"),
            (("--evaluator", "zero-cost:params"), 10, ""),
        ],
    )
    def test_costs_count_the_classes_of_the_data(
        self, here: Here, options: tuple[str, ...], classes: int, said: str
    ) -> None:
        ran = here(*SEARCH, *options)
        assert classes_of(ran.json) == classes
        assert said in ran.err
        assert ("costs count" in ran.err) == bool(said)

    @pytest.mark.parametrize("name", [(), ("--study", "mine")])
    def test_a_study_of_an_older_version_keeps_its_classes(self, here: Here, name: tuple[str, ...]) -> None:
        # Older versions counted the classes of the space, and stored the same settings as this command.
        older = here(*SEARCH, *name, "--data", "photos", "--classes", "10").json
        ran = here(*SEARCH, *name, "--data", "photos", "--trials", "3")
        assert (ran.json["study"], ran.json["trials"]) == (older["study"], 3)
        assert f"costs count 10 classes, as in study {older['study']}, which is continued" in ran.err

    def test_a_plan_shows_them(self, here: Here) -> None:
        assert here(*SEARCH, "--data", "photos", "--dry-run").json["target_task"]["classes"] == 3

    def test_a_fit_counts_them_and_an_older_one_is_continued(self, here: Here) -> None:
        new = here(*FIT, "--data", "photos", "--study", "new", "--json")
        assert "costs count 3 classes, as in the data" in new.err
        older = here(*FIT, "--data", "photos", "--classes", "1000", "--json")
        again = here(*FIT, "--data", "photos", "--json")
        assert again.json["fits"] == older.json["fits"] != new.json["fits"]
        study = older.json["fits"][0]["study"]
        assert f"costs count 1,000 classes, as in study {study}, which is continued" in again.err

    def test_a_comparison_counts_them(self, here: Here) -> None:
        compare = ("scale", "mnasnet-small", "--compare", "--budget", "flops=120M", "--rule", "depth", "--seeds", "1")
        few, many = (here(*compare, *of, "--json").json["base"]["params"] for of in (("--data", "photos"), ()))
        assert many - few == (1000 - 3) * (1280 + 1)  # MnasNet-small has a head of 1,280 channels

    def test_a_check_counts_them_and_an_older_one_is_continued(self, here: Here) -> None:
        images = (*CHECK, "--data", "photos", "--json", "--study", "mine")
        assert "costs count 10 classes, as --classes says" in here(*images, "--classes", "10").err
        assert "costs count 10 classes, as in study mine, which is continued" in here(*images).err
        assert "costs count 3 classes, as in the data" in here(*images[:-2]).err


class TestChannels:
    def test_a_network_of_one_channel_is_searched_on_gray_images(self, nas: Nas) -> None:
        (nas.folder / "gray.yaml").write_text(TINY.replace("channels=3", "channels=1"))
        short = ("--epochs", "1", "--proxy-resolution", "8", "--images", "50", "--confirm", "0", "--threads", "1")
        ran = nas(*SEARCH, *short, "--space", "gray.yaml")
        assert ran.code == 0, ran.err
        assert parse_text(ran.json["best"]["arch"]).in_channels == 1
        assert "repeated to 3 channels" not in ran.err


class TestTables:
    @pytest.mark.parametrize(("unit", "accuracy"), [("auto", 0.93), ("percent", 0.0093), ("share", 0.93)])
    def test_the_unit_can_be_given(self, nas: Nas, unit: str, accuracy: float) -> None:
        first, second = ([f"stage{stage}.{key}" for key in ("operator", "kernel", "channels")] for stage in (1, 2))
        header = [*first, *second, "stage2.layers", "accuracy"]
        row = ["conv", "3", "8", "conv", "3", "16", "1", "0,93"]
        (nas.folder / "t.csv").write_text(f"\ufeff{';'.join(header)}\n{';'.join(row)}\n")
        ran = nas(*SEARCH, "--evaluator", "table:t.csv", "--accuracy-unit", unit, "--trials", "1")
        assert ran.code == 0, ran.err
        assert ran.json["best"]["accuracy"] == pytest.approx(accuracy)


def test_data_that_is_nowhere_is_refused_at_once(nas: Nas) -> None:
    ran = nas(*SEARCH, "--data", "nowhere", HF_HUB_OFFLINE="0")
    ran.refused("there is no file or folder 'nowhere'", "owner/name")
    assert "is asked for it" not in ran.err  # see the next test
    assert not (nas.folder / "nas.db").exists()


def test_the_hub_is_announced_before_it_is_asked(nas: Nas) -> None:
    ran = nas(*SEARCH[:-1], "--data", "owner/nowhere")
    assert ran.code == 1
    said, *rest = ran.err.splitlines()
    assert said == "'owner/nowhere' is no local file or folder: the Hugging Face hub is asked for it"
    assert "cannot be loaded from the Hugging Face hub" in rest[0]


@pytest.mark.parametrize(
    "wrong",
    [{"data": 5}, {"data": None}, {"space": 5}, {"storage": 5}, {"study": 5}, {"accuracy_unit": "per mille"}],
)
def test_a_value_of_another_type_is_named(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(NasError, match=f"{name} is {value!r}") as raised:
        api.search(**({"target": "flops=100M", "evaluator": "zero-cost:depth"} | wrong))
    assert raised.value.remedy


def test_a_study_name_that_is_not_utf8_is_refused_in_one_sentence() -> None:
    with pytest.raises(StudyError, match=r"the name of the study is 'd\\udce9m', which is not UTF-8 text"):
        SearchRequest(targets=("flops=100M",), study="d\udce9m")
