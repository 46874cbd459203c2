"""Bad input to `nas search`: one clear message, a code that is not 0, and a study that stays as it was."""

from pathlib import Path

import optuna
import pytest

from tests.cli.conftest import Nas
from tests.search.fakes import TINY

SEARCH = ("search", "--space", "tiny.yaml", "--study", "demo")
GOOD = ("--target", "flops=1M")


def use(*arguments: str) -> tuple[str, ...]:
    return (*SEARCH, *GOOD, *arguments)


REFUSED = {
    "unknown target": ((*SEARCH, "--target", "speed=1M"), ("unknown target 'speed'", "flops=400M")),
    "unknown unit": ((*SEARCH, "--target", "flops=1Q"), ("unknown unit 'Q'", "flops=400M")),
    "sampler": ((*SEARCH, "--target", "flops=1.2M", "--sampler", "gp"), ("unknown sampler 'gp'", "surrogate, tpe")),
    "sampler's class": (
        (*SEARCH, "--target", "flops=1.2M", "--sampler", "optuna:Gp"),
        ("Optuna has no sampler 'Gp'", "GPSampler"),
    ),
    "bare number": ((*SEARCH, "--target", "flops=400"), ("a bare number has no unit", "flops=400M")),
    "no number": ((*SEARCH, "--target", "flops"), ("there is no number",)),
    "too small": ((*SEARCH, "--target", "flops=1k"), ("cannot be met", "flops goes from")),
    "too large": ((*SEARCH, "--target", "flops=9G"), ("cannot be met", "flops goes from")),
    "not together": ((*SEARCH, "--target", "flops=2.44M", "--target", "params=6k"), ("no architecture of space tiny",)),
    "twice": (use("--target", "flops=2M"), ("given twice",)),
    "unknown space": (use("--space", "nothere"), ("no search space is called 'nothere'", "mnasnet")),
    "absent file": (use("--space", "absent.yaml"), ("absent.yaml: no such file",)),
    "broken yaml": (use("--space", "broken.yaml"), ("broken.yaml: not YAML",)),
    "unknown key": (use("--space", "key.yaml"), ("key.yaml", "'kernal' is not known")),
    "no choice": (use("--space", "fixed.yaml"), ("has no choice",)),
    "unknown choice": (use("--fix", "stage9.kernel=3"), ("no choice 'stage9.kernel'", "stage1.kernel")),
    "unknown option": (use("--fix", "stage1.kernel=4"), ("stage1.kernel cannot be '4'", "3, 5")),
    "fixed twice": (
        use("--fix", "stage1.kernel=3", "--fix", " stage1.kernel = 5"),
        ("choice stage1.kernel is fixed twice", "to '3' and to '5'", "can have one option", "--fix stage1.kernel=3"),
    ),
    "no option": (use("--fix", "stage1.kernel"), ("is not of the form CHOICE=OPTION",)),
    "band": (use("--band", "1.5"), ("band is 1.5",)),
    "w": (use("--w", "0.5"), ("w is 0.5",)),
    "w for pareto": (use("--w", "-0.1", "--objective", "pareto"), ("w is -0.1",)),
    "precision": (use("--precision", "fp4"), ("unknown precision 'fp4'", "fp32")),
    "absent network": (use("--start-from", "nothere.json"), ("no preset and no file",)),
    "broken network": (use("--start-from", "broken.yaml"), ("broken.yaml: ",)),
    "other stages": (use("--start-from", "mobilenetv2"), ("7 stages", "2 stages of space tiny")),
    "absent study": (use("--start-from", "study:other:best"), ("no study database",)),
    "bad url": (use("--storage", "nonsense"), ("cannot be opened", "sqlite:///nas.db")),
    "url with a secret": (use("--storage", "postgresql://u:hunter2@h:x/d"), ("cannot be opened",)),
    "folder": (use("--storage", "sqlite:///folder"), ("cannot be opened",)),
    "text file": (use("--storage", "sqlite:///broken.yaml"), ("cannot be opened", "not a database")),
    "no such place": (use("--storage", "sqlite:////nowhere/nas.db"), ("cannot be opened",)),
}
USAGE = {
    "no target": (SEARCH, "--target"),
    "device": (use("--train-on", "tpu"), "'tpu'"),
    "objective": (use("--objective", "best"), "'best'"),
    "pruner": (use("--pruner", "asha"), "'asha'"),
    "metric": (use("--metric", "recall"), "'recall'"),
    "no trials": (use("--trials", "0"), "0"),
    "w is no number": (use("--w", "high"), "'high'"),
}


def write_bad_files(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "broken.yaml").write_text("stages: [1, 2\nname: }" + " " * 1000)
    (folder / "key.yaml").write_text(TINY.replace("kernel:", "kernal:"))
    fixed = TINY.replace("[conv, mbconv e3]", "conv").replace("[3, 5]", "3").replace("[8, 16]", "8")
    (folder / "fixed.yaml").write_text(fixed.replace("[16, 24]", "16").replace("[1, 2]", "1"))


# One of each kind in a process of its own, where nothing is caught or captured: options, files, spaces and databases.
AS_PROCESS = ("unknown target", "broken yaml", "not together", "text file")


@pytest.mark.parametrize(
    ("case", "as_process"),
    [
        *(pytest.param(case, False, id=f"{case}-here") for case in REFUSED),
        *(pytest.param(case, True, id=f"{case}-process", marks=pytest.mark.slow) for case in AS_PROCESS),
    ],
)
def test_it_is_told_in_one_message(
    nas: Nas, case: str, as_process: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bad_files(nas.folder)
    before = {path.name: path.read_bytes() for path in nas.folder.iterdir() if path.is_file()}
    arguments, words = REFUSED[case]
    ran = nas.fake(*arguments) if as_process else nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)
    ran.refused(*words)
    assert "hunter2" not in ran.err
    assert {path.name: path.read_bytes() for path in nas.folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_names_the_option(
    nas: Nas, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, word = USAGE[case]
    nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch).refused(word, code=2)
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.slow
def test_a_study_of_something_else_is_left_alone(nas: Nas) -> None:
    assert nas.fake(*use("--trials", "1")).code == 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{nas.folder / 'nas.db'}"
    optuna.create_study(storage=storage, study_name="other").optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
    before = (nas.folder / "nas.db").read_bytes()
    (nas.folder / "wide.yaml").write_text(TINY.replace("[3, 5]", "[3, 5, 7]"))
    nas.fake(*SEARCH, "--target", "flops=2M").refused("study demo was made with", "--study")
    nas.fake(*use("--space", "wide.yaml")).refused("study demo was made with space_sha256", "--study")
    nas.fake(*use("--images", "9")).refused("study demo was made with proxy.images None, not 9")
    nas.fake(*use("--study", "other")).refused("study other was not made by nas")
    assert (nas.folder / "nas.db").read_bytes() == before
    assert [row["study"] for row in nas("studies", "--json").json] == ["demo"]


@pytest.mark.parametrize("verb", [["studies"], ["show", "study:demo:best"], ["pareto", "demo"]])
def test_reading_needs_a_database_and_makes_none(nas: Nas, verb: list[str]) -> None:
    nas(*verb).refused("there is no study database nas.db", "nas search")
    assert not (nas.folder / "nas.db").exists()


def picture(path: Path, shade: int) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new("RGB", (8, 8), (shade, shade, shade)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "word"), [("absent", "absent"), ("empty", "empty"), ("one", "class"), ("bad", "cat/0.png")]
)
def test_images_that_cannot_be_used(nas: Nas, data: str, word: str) -> None:
    (nas.folder / "empty").mkdir()
    for i in range(6):
        picture(nas.folder / "one" / "cat" / f"{i}.png", 20 * i)
        for name in ("cat", "dog"):
            picture(nas.folder / "bad" / name / f"{i}.png", 20 * i)
    (nas.folder / "bad" / "cat" / "0.png").write_bytes(b"no picture")
    nas(*use("--data", data)).refused(word)
    assert not (nas.folder / "nas.db").exists()


@pytest.mark.slow
def test_a_device_that_is_not_here(nas: Nas) -> None:
    torch = pytest.importorskip("torch")
    if torch.backends.mps.is_available():
        pytest.skip("it is here")
    nas(*use("--train-on", "mps")).refused("device 'mps' is not available", "cpu")
