"""Tests of the table of known networks and of the modules' examples."""

import doctest
import importlib

import pytest

import nas.zoo
from nas.zoo.catalog import zoo_names, zoo_network
from nas.zoo.table import markdown_table


def test_the_table_has_a_line_for_each_network() -> None:
    header, rule, *rows = markdown_table().splitlines()
    columns = header.count("|")
    assert [row.split("`")[1] for row in rows] == list(zoo_names())
    assert {row.count("|") for row in (rule, *rows)} == {columns}


def test_the_table_says_what_is_unknown() -> None:
    lenet = next(row for row in markdown_table().splitlines() if "lenet-5" in row)
    assert lenet.endswith("| unknown |")


def test_the_package_names_every_network() -> None:
    names = (nas.zoo.__doc__ or "").replace("\n", " ")
    titles = [zoo_network(name).title.split(":")[0] for name in zoo_names()]
    assert [
        title for title in titles if title.split(" ")[0].removesuffix("-Large").removesuffix("-Small") not in names
    ] == []


@pytest.mark.parametrize("module", ["catalog", "nodes", "table"])
def test_the_examples_work(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"nas.zoo.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
