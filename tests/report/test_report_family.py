"""The scaled family: costs that are computed, and accuracies only where they were measured."""

import pytest

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.errors import ScalingError
from nas.report.family import Measured, family, family_section
from nas.scaling.grow import scale
from nas.scaling.rules import parse_rule
from tests.report.sections import drawn

BASE = preset("efficientnet-b0")


def grow(phi: float) -> Architecture:
    return scale(BASE, parse_rule("compound"), phi).arch


def test_the_published_b1_to_b7_have_their_published_resolutions_and_parameters() -> None:
    rule = parse_rule("published")
    members = family(lambda phi: scale(BASE, rule, phi).arch, phis=(0, 0.5, 1, 2, 3.5, 5, 6, 7))
    # EfficientNet, arXiv 1905.11946, table 2: parameters in millions; resolutions of its code.
    assert [member.arch.resolution for member in members] == [224, 240, 260, 300, 380, 456, 528, 600]
    assert [round(member.costs.params / 1e6) for member in members] == [5, 8, 9, 12, 19, 30, 43, 66]


def test_costs_are_said_to_be_computed_and_no_accuracy_is_made_up() -> None:
    section = family_section("b0", "compound", family(grow))
    assert "computed from the rule, and not measured" in section.text
    assert "larger is not known to be more accurate" in section.text
    assert [figure.id for figure in section.figures] == ["family-costs"]
    assert {row[-1] for row in section.tables[0].rows} == {"not measured"}


def test_measured_accuracies_are_found_by_the_layers_whatever_images_they_are_of() -> None:
    small = grow(1).adapted(resolution=32, classes=10)
    known = [Measured(small, [0.5, 0.7], "study <fit>", 0.4, 0.8), Measured(grow(3), [0.9], "study <fit>")]
    section = family_section("b0", "compound", family(grow, known), reference=["efficientnet-b0"])
    cells = [row[-1] for row in section.tables[0].rows]
    assert cells[1] == "60.00% (2 seeds, 95% interval 40.00 to 80.00%)"
    assert cells[3] == "90.00% (1 seed)"
    assert {*cells[:1], *cells[2:3], *cells[4:]} == {"not measured"}
    assert "measured for 2 of 8 networks (study <fit>)" in section.text
    bars = drawn(section, 1).data[0].error_y
    assert (bars.array[0], bars.arrayminus[0]) == (pytest.approx(20), pytest.approx(20))
    assert section.commands == ("nas scale efficientnet-b0 --phi 3 --rule compound", "nas scale efficientnet-b0 --fit")


def test_accuracies_of_several_studies_are_said_not_to_be_comparable() -> None:
    known = [Measured(grow(phi), [0.5], f"study {phi}") for phi in (0, 1)]
    assert "not comparable" in family_section("b0", "compound", family(grow, known)).text


def test_a_family_ends_where_no_larger_network_can_be_built() -> None:
    def limited(phi: float) -> Architecture:
        if phi > 2:
            raise ScalingError("too large", "use less")
        return grow(phi)

    assert [member.phi for member in family(limited)] == [0, 1, 2]
    assert family(limited)[2].costs == cost(grow(2))


def test_a_rule_without_larger_networks_says_so() -> None:
    section = family_section("b0", "compound", family(grow, phis=(0,)))
    assert section.missing == "Rule compound gives no larger network of b0."
