"""Progressive resolution: smaller images in the first epochs (arXiv 2104.00298, section 4)."""

from nas.train.recipes.schema import TrainingRecipe


def side_of_epoch(recipe: TrainingRecipe, side: int, number: int, epochs: int) -> int:
    """Return the side of the images of an epoch, in pixels.

    It grows linearly from `initial_resolution` to 1 of the side, and is a multiple of `resolution_multiple` until it
    has the side itself. The last epoch always has it, however short the training run is: the statistics of batch
    normalization must be those of the images that the network is for.

    Args:
        recipe: Recipe of the training run.
        side: Side of the network's images in pixels.
        number: Number of the epoch, counted from 1.
        epochs: Number of epochs in all.

    >>> recipe = TrainingRecipe(initial_resolution=0.5, full_resolution_from=0.8, resolution_multiple=8)
    >>> [side_of_epoch(recipe, 64, number, 5) for number in range(1, 6)]
    [32, 40, 48, 56, 64]
    """
    if number == epochs:
        return side
    grown = min(1.0, (number - 1) / (recipe.full_resolution_from * epochs))
    share = recipe.initial_resolution + (1 - recipe.initial_resolution) * grown
    if share >= 1:
        return side
    multiple = recipe.resolution_multiple
    return min(side, max(1, round(share * side / multiple)) * multiple)
