"""Labels of bubbles do not cover each other and stay inside the plot."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from nas.report.label_places import Bubble, Label, place_labels
from nas.zoo.catalog import zoo_names, zoo_network

WIDTH, HEIGHT = 750.0, 430.0


def overlapping(labels: list[Label]) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one, other in itertools.combinations(range(len(labels)), 2)
        if labels[one].overlaps(labels[other])
    ]


bubbles = st.builds(
    Bubble,
    st.floats(40, WIDTH - 40),
    st.floats(40, HEIGHT - 40),
    st.floats(3, 35),
    st.sampled_from([*zoo_names(), "net", "n"]),
    st.booleans(),
)


@given(st.lists(bubbles, min_size=1, max_size=27))
@settings(max_examples=25, deadline=None)
def test_no_label_covers_another_one_and_all_are_inside(drawn: list[Bubble]) -> None:
    labels = place_labels(drawn, WIDTH, HEIGHT)
    assert len(labels) == len(drawn)
    assert overlapping(labels) == []
    for label in labels:
        assert label.half_width <= label.x <= WIDTH - label.half_width
        assert label.half_height <= label.y <= HEIGHT - label.half_height


def test_a_lone_bubble_has_its_label_at_its_side_or_inside() -> None:
    [beside] = place_labels([Bubble(100, 100, 30, "net")], WIDTH, HEIGHT)
    [inside] = place_labels([Bubble(100, 100, 30, "net", takes_text=True)], WIDTH, HEIGHT)
    assert beside.is_near
    assert beside.x - beside.half_width > 130
    assert (inside.x, inside.y) == (100, 100)


def test_bubbles_at_one_place_have_labels_at_different_ones() -> None:
    labels = place_labels([Bubble(300, 200, 20, f"network-{n}") for n in range(20)], WIDTH, HEIGHT)
    assert overlapping(labels) == []
    assert sum(label.is_near for label in labels) < len(labels)


def test_the_names_used_here_are_those_of_known_networks() -> None:
    assert all(zoo_network(name).name == name for name in zoo_names())


def test_a_name_without_a_line_is_nearest_to_its_own_bubble() -> None:
    """Two small bubbles side by side have bars, so that their names are above and below."""
    bubbles = [
        Bubble(320.0, 190.0, 8.0, "mobilenetv3-large", bar=(295.0, 345.0)),
        Bubble(345.0, 190.0, 7.0, "mnasnet-a1", bar=(325.0, 372.0)),
    ]
    for at, label in enumerate(place_labels(bubbles, 800.0, 440.0)):
        own, other = bubbles[at], bubbles[1 - at]
        assert not label.is_near or label.gap(own) < label.gap(other)
