"""The option --patience: what it accepts, and when a search ends by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.search.patience import LEAST_TRIALS, Patience, parse_patience


@given(count=st.integers(1, 10**9 - 1))
def test_a_number_is_a_number_of_trials(count: int) -> None:
    assert parse_patience(count) == parse_patience(f" {count} ") == Patience(count)


@given(thousandths=st.integers(1, 99_999))
def test_a_percentage_is_a_chance(thousandths: int) -> None:
    percent = thousandths / 1000
    found = parse_patience(f"{percent}%")
    assert found.trials == LEAST_TRIALS
    assert found.chance == pytest.approx(percent / 100)
    assert parse_patience(found) is found


@given(value=st.text(st.sampled_from("0123456789.%-+ aeinotuxx²٣")))
def test_a_text_is_read_or_refused_with_what_to_give(value: str) -> None:
    try:
        found = parse_patience(value)
    except nas.NasError as error:
        complete = repr(value) in error.problem and "auto" in error.remedy
    else:
        complete = found.trials >= 1 and (found.chance is None or 0 < found.chance < 1)
    assert complete


@pytest.mark.parametrize("value", [0, -1, True, 0.01, "0", "0%", "100%", "1.%", "%", "nan%", "AUTO", "", "1e3", None])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(nas.NasError, match="patience is"):
        parse_patience(value)
