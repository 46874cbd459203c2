"""Smaller images in the first epochs of a training run."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nas.train.recipes.schema import TrainingRecipe
from nas.train.resolutions import side_of_epoch


def test_the_side_grows_linearly_in_multiples() -> None:
    recipe = TrainingRecipe(initial_resolution=128 / 224, full_resolution_from=0.75, resolution_multiple=16)
    sides = [side_of_epoch(recipe, 224, number, 8) for number in range(1, 9)]
    # From 128 by 16 pixels an epoch; 6 of 8 epochs are below the full size.
    assert sides == [128, 144, 160, 176, 192, 208, 224, 224]


@given(
    initial=st.floats(0.01, 1),
    full_from=st.floats(0.01, 1),
    multiple=st.integers(1, 64),
    side=st.integers(1, 256),
    epochs=st.integers(1, 30),
)
def test_sides_rise_to_that_of_the_network(
    initial: float, full_from: float, multiple: int, side: int, epochs: int
) -> None:
    recipe = TrainingRecipe(initial_resolution=initial, full_resolution_from=full_from, resolution_multiple=multiple)
    sides = [side_of_epoch(recipe, side, number, epochs) for number in range(1, epochs + 1)]
    assert all(1 <= earlier <= later <= side for earlier, later in itertools.pairwise([*sides, side]))
    assert all(each % multiple == 0 or each == side for each in sides)
    assert sides[-1] == side


def test_all_epochs_have_the_full_size_by_default() -> None:
    assert {side_of_epoch(TrainingRecipe(), 33, number, 5) for number in range(1, 6)} == {33}
