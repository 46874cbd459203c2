"""`nas show` and `nas spaces`: networks and spaces as tables, text and JSON."""

import json
from pathlib import Path

import pytest

from nas.arch.code import format_json, format_text, parse_json, parse_text
from nas.arch.presets import preset, preset_names
from nas.cli.main import main
from nas.cost.analytic import cost
from nas.space.files import space_names
from tests.cli.conftest import Nas


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["show", *arguments])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_adds_up(capsys: pytest.CaptureFixture[str], name: str) -> None:
    summary = json.loads(shown(capsys, name, "--json"))
    whole = cost(preset(name))
    assert summary["name"] == name
    assert (summary["params"], summary["macs"]) == (whole.params, whole.macs)
    assert summary["peak_bytes"] == whole.peak_bytes()
    assert summary["resolution"] == preset(name).resolution
    for figure in ("params", "macs"):
        assert sum(row[figure] for row in summary["stages"]) == summary[figure]
    for before, after in zip(summary["stages"], summary["stages"][1:], strict=False):
        assert before["output"] == after["input"]
    assert parse_text(summary["arch"]) == preset(name)
    assert parse_text(shown(capsys, name, "--text")) == preset(name)
    assert f"{whole.params:,} params" in shown(capsys, name)


def test_a_published_figure(nas: Nas) -> None:
    ran = nas("show", "efficientnet-b0", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["params"] == 5_288_548
    assert round(ran.json["macs"] / 1e6, 2) == 385.81


@pytest.mark.parametrize("file", ["net.txt", "net.json"])
def test_what_is_saved_is_read_back(capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    shown(capsys, "mnasnet-a1", "--resolution", "96", "--classes", "7", "--save", str(path))
    saved = path.read_text()
    arch = preset("mnasnet-a1").adapted(resolution=96, classes=7)
    assert saved == (format_text(arch) if file == "net.txt" else format_json(arch)) + "\n"
    assert (parse_text if file == "net.txt" else parse_json)(saved) == arch
    again = json.loads(shown(capsys, str(path), "--json"))
    assert (again["name"], again["resolution"], again["classes"]) == ("net", 96, 7)
    assert (again["params"], again["macs"]) == (cost(arch).params, cost(arch).macs)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("efficientnet-b9", "no preset and no file"),
        ("x" * 300, "no preset and no file"),
        (".", "is a folder, and not one that `nas train` wrote"),
        ("broken.txt", "broken.txt: "),
        ("broken.json", "broken.json: "),
        ("binary.txt", "cannot be read"),
        ("study:none:best", "no study database nas.db"),
    ],
)
def test_what_is_no_architecture_is_told(
    nas: Nas, reference: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (nas.folder / "broken.txt").write_text("stem conv k3\nhead\n")
    (nas.folder / "broken.json").write_text('{"stem": ')
    (nas.folder / "binary.txt").write_bytes(b"\xff\xfe\x00")
    nas.here("show", reference, capsys=capsys, monkeypatch=monkeypatch).refused(words)
    assert not (nas.folder / "nas.db").exists()


def test_a_file_that_cannot_be_written_is_told(nas: Nas) -> None:
    nas("show", "mnasnet-a1", "--save", "nowhere/net.txt").refused("nowhere/net.txt cannot be written")
    nas("show", "mnasnet-a1", "--save", "net.yaml").refused("net.yaml has no known form")


def test_all_spaces_with_their_ranges(nas: Nas) -> None:
    ran = nas("spaces", "--json")
    assert ran.code == 0
    assert [row["name"] for row in ran.json] == list(space_names())
    for row in ran.json:
        assert 1 < row["networks"] <= row["combinations"]
        assert 0 < row["macs"][0] < row["macs"][1]
    macro = next(row for row in ran.json if row["name"] == "nasbench_macro")
    assert (macro["combinations"], macro["networks"]) == (6561, 3969)


def test_a_space_of_ones_own_with_its_choices(nas: Nas) -> None:
    ran = nas("spaces", "tiny.yaml", "--choices")
    assert ran.code == 0
    assert "stage2.channels  16, 24" in ran.out
    nas("spaces", "absent.yaml").refused("absent.yaml", "no such file")


def test_a_diagram_is_written_as_svg(nas: Nas, tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    ran = nas("show", "mnasnet-a1", "--svg", str(path))
    assert (ran.code, ran.err) == (0, "")
    assert path.read_text(encoding="utf-8").startswith("<svg ")
    assert "Diagram of mnasnet-a1" in path.read_text(encoding="utf-8")
    # A drawing is replaced by another one, and nothing else is.
    assert nas("show", "mobilenetv2", "--svg", str(path)).code == 0
    assert "Diagram of mobilenetv2" in path.read_text(encoding="utf-8")


def test_a_diagram_never_replaces_a_file_of_another_kind(nas: Nas, tmp_path: Path) -> None:
    path = tmp_path / "notes.svg"
    path.write_text("my notes", encoding="utf-8")
    ran = nas("show", "mnasnet-a1", "--svg", str(path))
    assert ran.code != 0
    assert "Traceback" not in ran.err
    assert "is not overwritten" in ran.err
    assert path.read_text(encoding="utf-8") == "my notes"
    assert nas("show", "mnasnet-a1", "--svg", str(tmp_path / "net.png")).code != 0
