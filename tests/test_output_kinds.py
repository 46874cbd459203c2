"""Kinds of files: an existing file of another kind is never overwritten."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from nas.api.architectures import save_architecture
from nas.arch.presets import preset, preset_names
from nas.cost.table_file import COLUMNS
from nas.errors import ArchitectureError, NasError
from nas.files import shipped_folder
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.output_kinds import (
    ARCHITECTURE,
    HEAD_BYTES,
    LATENCIES,
    NETWORK,
    PAGE,
    PICTURE,
    SPACE,
    TRIALS,
    WEIGHTS,
    OutputKind,
    check_output,
    write_output,
)
from nas.space.around import around_text
from nas.space.files import space_names

KINDS: Mapping[str, OutputKind] = {
    "trials": TRIALS,
    "latencies": LATENCIES,
    "page": PAGE,
    "picture": PICTURE,
    "architecture": ARCHITECTURE,
    "network": NETWORK,
    "weights": WEIGHTS,
    "space": SPACE,
}


def write_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE a (b)")
        database.commit()


def files(folder: Path) -> dict[str, Path]:
    """Files of all kinds, as other programs and nas itself write them, by the name of their kind."""
    found = {name: folder / name for name in (*KINDS, "database", "accuracies", "note", "json")}
    found["trials"].write_text("trial,state,accuracy\n0,complete,0.5\n")
    found["page"].write_text("\n<!doctype HTML><p>")
    Image.new("RGB", (2, 2)).save(found["picture"], "PNG")
    save_architecture(preset("mobilenetv2"), folder / "a.json")
    (folder / "a.json").rename(found["architecture"])
    found["network"].write_bytes(build_graph(whole(preset("mnasnet-small"))).SerializeToString())
    found["latencies"].write_bytes(next(shipped_folder("latency_tables").glob("*.csv")).read_bytes())
    found["weights"].write_bytes(save({"a": torch.zeros(2)}))
    found["space"].write_text(around_text(preset("mobilenetv2")))
    write_database(found["database"])
    found["accuracies"].write_text("arch,acc_seed0\n0,0.5\n")
    found["note"].write_text("trial and error\n")
    found["json"].write_text('{"format": "something"}')
    return found


@pytest.mark.parametrize("name", KINDS)
def test_only_a_file_of_the_same_kind_is_overwritten(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    for held, file in files(tmp_path).items():
        path = file.rename(file.with_name(f"out{kind.endings[0]}"))
        before = path.read_bytes()
        if held == name:
            write_output(path, b"new", kind)
            assert path.read_bytes() == b"new"
            continue
        with pytest.raises(kind.error, match=f"and not {kind.name}; a file of another kind is not overwritten"):
            write_output(path, b"new", kind)
        assert path.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_endings_are_checked_whatever_their_case(tmp_path: Path, kind: OutputKind) -> None:
    for ending in kind.endings:
        check_output(tmp_path / f"a{ending}", kind)
        check_output(tmp_path / f"a{ending.upper()}", kind)
    for wrong in ("a", "a.db", "a.py", f"a{kind.endings[0]}.bak"):
        with pytest.raises(kind.error, match="has no known form"):
            check_output(tmp_path / wrong, kind)


def test_an_empty_file_is_of_every_kind(tmp_path: Path) -> None:
    for kind in KINDS.values():
        path = tmp_path / f"empty{kind.endings[0]}"
        path.touch()
        check_output(path, kind)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("ending", ARCHITECTURE.endings)
def test_every_architecture_that_was_saved_can_be_saved_again(tmp_path: Path, name: str, ending: str) -> None:
    file = tmp_path / f"a{ending}"
    save_architecture(preset(name), file)
    save_architecture(preset("mobilenetv2"), file)


def test_an_architecture_that_was_written_by_hand_is_one(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("\ufeff# my network\n\n  net resolution=32 classes=10\nstem conv c8\n", encoding="utf-8")
    check_output(file, ARCHITECTURE)
    file.write_text("network of mine\n")
    with pytest.raises(ArchitectureError):
        check_output(file, ARCHITECTURE)


def test_a_missing_folder_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="there is no folder"):
        check_output(tmp_path / "no/page.html", PAGE)
    check_output(tmp_path / "no/table.csv", LATENCIES, makes_folder=True)
    with pytest.raises(NasError, match="is a folder"):
        check_output(tmp_path, PAGE)


def test_the_header_of_a_latency_table_is_no_header_of_trials() -> None:
    assert not TRIALS.recognizes(COLUMNS.encode())


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_search_space_is_recognized(name: str) -> None:
    head = (shipped_folder("search_spaces") / f"{name}.yaml").read_bytes()[:HEAD_BYTES]
    assert SPACE.recognizes(head)
    assert not SPACE.recognizes(b"services:\n  net: host\n  stem: none\n")
