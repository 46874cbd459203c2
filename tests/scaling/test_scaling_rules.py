"""Tests of scaling rules: their factors, their texts and their error messages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ScalingError
from nas.scaling.rules import FAMILY_PHIS, RULES, Factors, PowerRule, TableRule, fast, own, parse_rule

COEFFICIENTS = st.floats(0, 1e6, exclude_min=True) | st.floats(0.5, 2.0) | st.integers(1, 10**6)
# Name, phi, then depth, width and resolution (from 224 pixels): the published ones, and those of the paper's formula.
TABLE = [
    ("B1", 0.5, (1.1, 1.0, 240), ("1.095", "1.049", "240.2")),
    ("B2", 1.0, (1.2, 1.1, 260), ("1.200", "1.100", "257.6")),
    ("B3", 2.0, (1.4, 1.2, 300), ("1.440", "1.210", "296.2")),
    ("B4", 3.5, (1.8, 1.4, 380), ("1.893", "1.396", "365.3")),
    ("B5", 5.0, (2.2, 1.6, 456), ("2.488", "1.611", "450.5")),
    ("B6", 6.0, (2.6, 1.8, 528), ("2.986", "1.772", "518.1")),
    ("B7", 7.0, (3.1, 2.0, 600), ("3.583", "1.949", "595.8")),
]


def power(text: str, *, any_product: bool = False) -> PowerRule:
    rule = parse_rule(text, any_product=any_product)
    assert isinstance(rule, PowerRule)
    return rule


@pytest.mark.parametrize(("name", "phi", "published", "formula"), TABLE)
def test_the_published_and_the_formula_factors_of_the_family(
    name: str, phi: float, published: tuple[float, float, int], formula: tuple[str, str, str]
) -> None:
    assert FAMILY_PHIS[name] == phi
    member = parse_rule("published").at(phi)
    assert (member.depth, member.width) == published[:2]
    assert member.resolution * 224 == pytest.approx(published[2], abs=1e-9)
    by_formula = parse_rule("compound").at(phi)
    shown = (f"{by_formula.depth:.3f}", f"{by_formula.width:.3f}", f"{224 * by_formula.resolution:.1f}")
    assert shown == formula


def test_the_published_rule_has_only_the_base_and_the_seven_members() -> None:
    rule = parse_rule("published")
    assert isinstance(rule, TableRule)
    assert rule.phis == (0.0, *(phi for _, phi, _, _ in TABLE))
    assert rule.at(0) == Factors(1.0, 1.0, 1.0, 0.0)
    with pytest.raises(ScalingError, match=r"rule published has no member at phi 1\.5") as caught:
        rule.at(1.5)
    assert "0, 0.5, 1, 2, 3.5, 5, 6, 7" in caught.value.remedy


def test_the_compound_rule_has_the_coefficients_of_the_paper() -> None:
    rule = power("compound")
    assert (rule.alpha, rule.beta, rule.gamma) == (1.2, 1.1, 1.15)
    assert rule.product == pytest.approx(1.9203, abs=5e-5)


@pytest.mark.parametrize("name", ["fast", "fast:0", "fast:0.25", "fast:1", "depth", "width", "resolution"])
def test_a_step_of_phi_doubles_the_cost(name: str) -> None:
    assert power(name).product == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "factors"),
    [("depth", (8, 1, 1)), ("width", (1, math.sqrt(8), 1)), ("resolution", (1, 1, math.sqrt(8)))],
)
def test_rules_of_one_dimension_do_not_change_the_others(name: str, factors: tuple[float, float, float]) -> None:
    at = power(name).at(3)
    assert (at.depth, at.width, at.resolution) == pytest.approx(factors, rel=1e-12)


@given(st.floats(0, 1), st.floats(-3, 8))
def test_the_factors_of_a_fast_rule_are_those_of_its_paper(share: float, phi: float) -> None:
    s, at = 2**phi, fast(share).at(phi)
    expected = (s ** ((1 - share) / 2), s ** (share / 2), s ** ((1 - share) / 4))
    assert (at.depth, at.width, at.resolution) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", RULES)
def test_the_name_of_a_named_rule_is_its_text(name: str) -> None:
    assert parse_rule(name).name == name


@given(COEFFICIENTS, COEFFICIENTS, COEFFICIENTS)
def test_the_name_of_a_rule_of_coefficients_is_parsed_to_the_same_rule(alpha: float, beta: float, gamma: float) -> None:
    rule = own(alpha, beta, gamma)
    assert parse_rule(rule.name, any_product=True) == rule


@given(st.floats(0, 1) | st.integers(0, 1) | st.just(-0.0))
def test_the_name_of_a_fast_rule_is_parsed_to_the_same_rule(share: float) -> None:
    rule = fast(share)
    assert parse_rule(rule.name) == rule


@pytest.mark.parametrize("text", ["1.2,1.1,1.15", " 1.2, 1.10 ,1.15"])
def test_coefficients_may_be_typed_with_spaces_and_zeros(text: str) -> None:
    rule = power(text)
    assert (rule.name, rule.alpha, rule.beta, rule.gamma) == ("1.2,1.1,1.15", 1.2, 1.1, 1.15)
    assert rule.at(2) == power("compound").at(2)


@pytest.mark.parametrize(("text", "name"), [("fast:0.8", "fast"), ("fast:0.80", "fast"), ("fast:0.70", "fast:0.7")])
def test_the_name_of_a_fast_rule_has_the_shortest_share(text: str, name: str) -> None:
    assert parse_rule(text).name == name


@pytest.mark.parametrize("text", ["1.9,1,1", "2.1,1,1", "1,1,1.449"])
def test_products_near_two_are_accepted(text: str) -> None:
    assert abs(power(text).product - 2) <= 0.1 + 1e-9


@pytest.mark.parametrize(("text", "product"), [("1.2,1.2,1.2", "2.488"), ("1.89,1,1", "1.89"), ("2.11,1,1", "2.11")])
def test_products_far_from_two_are_accepted_only_on_request(text: str, product: str) -> None:
    with pytest.raises(ScalingError, match=rf"alpha \* beta\^2 \* gamma\^2 of {text} is {product};") as caught:
        parse_rule(text)
    assert "1.9 to 2.1" in caught.value.remedy
    assert "--any-product" in caught.value.remedy
    assert parse_rule(text, any_product=True).name == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "Compound", "fastest", "fast:", "fast:x", "fast:-1", "fast:nan"),
        *("1.2,1.1", "1.2,1.1,1.15,1", "1.2;1.1;1.15", "a,b,c", "1.2,,1.15"),
        *("-1.2,1.1,1.15", "inf,1,1", "nan,1,1", "1_0,1,1", "1.2,1.1,1.15x"),
    ],
)
def test_an_unknown_rule_raises_an_error_that_lists_all_rules(text: str) -> None:
    with pytest.raises(ScalingError, match="no rule is called") as caught:
        parse_rule(text, any_product=True)
    assert repr(text) in caught.value.problem
    assert all(word in caught.value.remedy for word in (*RULES, "fast:SHARE", "1.2,1.1,1.15"))


@pytest.mark.parametrize("share", [-0.1, 1.01, math.nan, math.inf])
def test_a_share_outside_0_to_1_raises_an_error(share: float) -> None:
    with pytest.raises(ScalingError, match="the share of rule fast is") as caught:
        fast(share)
    assert "from 0 to 1" in caught.value.remedy


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, 1.1e6])
@pytest.mark.parametrize("place", ["alpha", "beta", "gamma"])
def test_an_invalid_coefficient_is_named(place: str, wrong: float) -> None:
    with pytest.raises(ScalingError, match=rf"^{place} is "):
        own(**{"alpha": 1.2, "beta": 1.1, "gamma": 1.15, place: wrong})


@pytest.mark.parametrize(("name", "phi"), [("depth", 21), ("depth", 1e6), ("compound", 100), ("0.5,1,1", -5000)])
def test_a_phi_with_too_large_factors_raises_an_error(name: str, phi: float) -> None:
    with pytest.raises(ScalingError, match="multiplies by more than 1,000,000") as caught:
        power(name, any_product=True).at(phi)
    assert f"phi is {phi:g}" in caught.value.problem
    assert "-10 to 10" in caught.value.remedy
