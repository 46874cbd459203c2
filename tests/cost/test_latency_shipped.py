"""Tests that the shipped tables can be read and have all layers of their spaces."""

from pathlib import Path

import pytest

from nas.cost.table_file import format_table, read_table
from nas.device.reference import REFERENCE_NAME
from nas.files import shipped_folder
from nas.samplers.cost_range import space_chain
from nas.space.files import find_space

TABLES = sorted(shipped_folder("latency_tables").glob("*.csv"))


def test_a_table_is_shipped() -> None:
    assert TABLES


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_shipped_table_has_all_layers_of_its_space(path: Path) -> None:
    table = read_table(path)
    space = find_space(table.origin.space)
    table.check_chain(space_chain(space), space.net["padding"])
    assert table.origin.reference == REFERENCE_NAME
    assert table.correction.error is not None
    assert format_table(table) == path.read_text(encoding="utf-8")
