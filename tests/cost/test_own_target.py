"""Tests of targets for costs of a user's own: any unit, and names that stand for nothing else."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cost.own_target import TAKEN, check_cost_name, read_own_target
from nas.cost.target import KINDS
from nas.errors import TargetError
from nas.report.frame import COLUMNS

UNITS = ("mJ", "J", "µJ", "%", "kB", "ms", "€/day", "mJ/image", "W·h", "°C", "eV", "")


@given(st.decimals("0.000001", 10**9, places=6), st.sampled_from(UNITS), st.sampled_from(["", " "]))
def test_a_limit_is_its_number_in_any_unit(number: Decimal, unit: str, space: str) -> None:
    target = read_own_target(f"energy={number}{space}{unit}")
    assert target.limit == pytest.approx(float(number))
    assert (target.name, target.unit) == ("energy", unit)


@given(st.decimals("0.000001", 10**9, places=6), st.sampled_from(UNITS))
def test_equal_targets_have_equal_texts_that_are_read_back(number: Decimal, unit: str) -> None:
    target = read_own_target(f"energy= {number} {unit} ")
    assert read_own_target(target.text) == target
    assert read_own_target(f"energy={number:.8f}{unit}") == target


@pytest.mark.parametrize(
    ("text", "limit", "unit", "canonical"),
    [
        ("cycles=1.5k", 1500.0, "", "cycles=1500"),
        ("cycles=3M", 3e6, "", "cycles=3000000"),
        ("flash=3MB", 3.0, "MB", "flash=3MB"),
        ("energy=1.2e-6J", 1.2e-6, "J", "energy=0.0000012J"),
        ("energy=2eV", 2.0, "eV", "energy=2eV"),
        ("energy=012.50mJ", 12.5, "mJ", "energy=12.5mJ"),
    ],
)
def test_a_single_letter_of_a_count_multiplies_and_all_else_is_a_unit(
    text: str, limit: float, unit: str, canonical: str
) -> None:
    target = read_own_target(text)
    assert (target.limit, target.unit, target.text) == (limit, unit, canonical)


@pytest.mark.parametrize(
    ("amount", "problem"),
    [
        ("", "no number"),
        ("mJ", "'mJ' is not a number"),
        ("-3mJ", "'-3mJ' is not a number"),
        ("nan", "'nan' is not a number"),
        ("0mJ", "not above zero"),
        ("0.0", "not above zero"),
        ("3 m J", "'m J' cannot be a unit"),
        ("3<b>", "'<b>' cannot be a unit"),
        ("3,5mJ", "',5mJ' cannot be a unit"),
        ("3mJ\n", "is not a number"),
        (f"3{'m' * 17}", "cannot be a unit"),
    ],
)
def test_what_is_wrong_with_an_amount_is_said_with_the_right_form(amount: str, problem: str) -> None:
    with pytest.raises(TargetError) as caught:
        read_own_target(f"energy={amount}")
    assert problem in caught.value.problem
    assert "mJ" in caught.value.remedy


@pytest.mark.parametrize("name", ["energy", "flash_kb", "e", "t2", "a" * 30])
def test_a_plain_word_can_be_a_name(name: str) -> None:
    check_cost_name(name)


@pytest.mark.parametrize("name", ["", "Energy", "2t", "_e", "my-cost", "énergie", "a" * 31, "a b", "a.b"])
def test_another_text_cannot_be_a_name(name: str) -> None:
    with pytest.raises(TargetError, match="cannot be the name of a cost"):
        check_cost_name(name)


def test_names_of_targets_and_columns_are_taken() -> None:
    assert {*KINDS, *(kind.kept_as for kind in KINDS.values())} <= TAKEN
    for name in (*KINDS, *COLUMNS, "energy_spread", "energy_measured", "energy_measured_spread"):
        with pytest.raises(TargetError, match="of your own"):
            check_cost_name(name)
