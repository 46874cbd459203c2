"""The examples of the page on file formats are read by the real readers, and its lists are complete."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

import nas
from nas.arch import spec
from nas.arch.code import format_json, parse_json, parse_text
from nas.cli.main import nas as command
from nas.cost.table_file import HEADER, OPTIONAL_HEADER, parse_table
from nas.evaluate.table.evaluator import read_table
from nas.export.records import ModelRecord, Product
from nas.space.decode import SearchSpace
from nas.space.schema import parse_space
from nas.studies.journal_text import Attribute, Head, parse_line
from tests.docs.pages import DOCS

PAGE = (DOCS / "formats.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading up to the next heading of its level."""
    level = re.findall(rf"^(#+) {title}$", PAGE, re.MULTILINE)[0]
    return re.split(rf"^#{{2,{len(level)}}} ", PAGE.partition(f"\n{level} {title}\n")[2], flags=re.MULTILINE)[0]


def block(title: str, language: str, index: int = 0) -> str:
    """Return a block of code below a heading."""
    return str(re.findall(rf"^```{language}\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)[index])


def keys(title: str) -> set[str]:
    """Return the names in the first columns of the tables below a heading."""
    rows = re.findall(r"^\| (`[^|]*?) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall("`([^`]*)`", row)}


def space() -> SearchSpace:
    return parse_space(block("Search space", "yaml"), "tiny.yaml", "tiny")


def test_both_forms_of_the_architecture_are_the_same() -> None:
    arch = parse_text(block("Text", "text"))
    assert parse_json(block("JSON", "json")) == arch
    assert format_json(arch) == block("JSON", "json").strip()


def test_all_words_of_architectures_are_named() -> None:
    words = {*spec.OPERATORS, *spec.ACTIVATIONS, *spec.PADDINGS, *spec.GATES, *spec.GATE_WIDTHS}
    text = section("Text")
    assert {word for word in words if not re.search(rf"[`:]{word}[`:]|={word}`", text)} == set()


def test_the_search_space_and_its_table_are_read(tmp_path: Path) -> None:
    file = tmp_path / "accuracies.csv"
    file.write_text(block("Table of accuracies", "csv"), encoding="utf-8")
    assert len(read_table(file, space()).rows) == space().size == 4


def test_the_latency_table_is_read_and_its_keys_are_named() -> None:
    table = parse_table(block("Latency table", "csv"), "table.csv")
    assert len(table.layers_ms) == 3
    assert {*HEADER, *OPTIONAL_HEADER} - {"format"} == keys("Latency table")


def test_the_lines_of_the_journal_are_read() -> None:
    found = [parse_line(json.dumps(json.loads(block("Journal", "json", index))).encode()) for index in range(3)]
    assert isinstance(found[0], Head)
    assert found[0].name == "tiny"
    assert isinstance(found[2], Attribute)
    trial = found[1]
    assert not isinstance(trial, Head | Attribute)
    arch = space().architecture(trial.params)
    assert parse_text(trial.user_attrs["arch"]) == arch


def test_a_study_has_the_attributes_that_the_page_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(block("Search space", "yaml"), encoding="utf-8")
    Path("accuracies.csv").write_text(block("Table of accuracies", "csv"), encoding="utf-8")
    nas.search("tiny.yaml", "params=25k", trials=3, band=0.2, evaluator="table:accuracies.csv", study="tiny")
    named = set(re.findall("`([^`]*)`", section("Study")))
    with closing(sqlite3.connect("nas.db")) as database:
        for table, private in (("study", "nas:"), ("trial", "")):
            stored = {key for (key,) in database.execute(f"select key from {table}_user_attributes")}  # noqa: S608
            public = {key for key in stored if not (private and key.startswith(private))}
            assert public
            assert public <= named
        tables = {name for (name,) in database.execute("select name from sqlite_master where name like 'nas_%'")}
    assert tables <= named


def test_the_example_of_json_is_what_the_command_prints(tmp_path: Path) -> None:
    file = tmp_path / "tiny.txt"
    file.write_text(block("Text", "text"), encoding="utf-8")
    ran = CliRunner().invoke(command, ["show", str(file), "--json"])
    assert json.loads(ran.stdout) == json.loads(block("JSON output", "json"))


def test_a_recipe_is_read() -> None:
    recipes = pytest.importorskip("nas.train.recipes.files")
    recipe = recipes.parse_recipe(block("Recipe", "yaml"), "mine.yaml")
    assert (recipe.epochs, recipe.learning_rate) == (30, 5e-4)


def test_all_keys_of_a_product_are_named() -> None:
    assert {one.name for one in attrs.fields(Product)} == keys("Product folder")
    assert len(attrs.fields(ModelRecord)) >= 10


def test_the_examples_of_json_are_json() -> None:
    assert set(json.loads(block("JSON output", "json", 1))["error"]) == {"problem", "remedy", "kind"}
