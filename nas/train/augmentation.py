"""Strong augmentation of batches on the device by kornia: random crops, policies, erasing and AugMix.

All random numbers are those of torch's global generators, which the caller seeds for each epoch.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor

from nas.errors import MissingPackageError, NasError
from nas.train.recipes.schema import TrainingRecipe

Operation = Callable[[Tensor], Tensor]

# kornia draws the operations of a policy once for all images that it gets. A batch is therefore divided into groups
# with operations of their own: more groups are more varied, and take longer.
_MOST_GROUPS, _GROUP_SIZE = 8, 8
# A policy on color needs red, green and blue.
_COLORS = 3
# Range of the width of a crop, relative to its height, before the image is resized.
_RATIO = (3 / 4, 4 / 3)
AUGMIX = "augmix"
# The weakest operation of AugMix has this level, the strongest the level 10.
_LOWEST_LEVEL, _HIGHEST_LEVEL = 0.1, 10.0


@frozen(eq=False)
class Augmentation:
    """Change images at random as a recipe asks for.

    Attributes:
        recipe: Recipe of the training run.
        channels: Number of channels of the images.
        policy: Operation of the recipe's policy on images `(N, C, H, W)` from 0 to 1, or None.
        erase: Operation on normalized images, or None.

    Raises:
        NasError: The policy cannot be applied to images with so many channels.
        MissingPackageError: The recipe asks for an operation of kornia, which is not installed.
    """

    recipe: TrainingRecipe
    channels: int
    policy: Operation | None = field(init=False)
    erase: Operation | None = field(init=False)

    @policy.default
    def _make_policy(self) -> Operation | None:
        name, _, table = self.recipe.policy.partition("-")
        if name not in _POLICIES:
            return None
        if self.channels != _COLORS and name != AUGMIX:
            raise NasError(
                f"policy of the recipe is {self.recipe.policy}, and the images have {self.channels} channels; its "
                "operations on colors need images with 3 channels",
                "set policy to none or augmix, or use images with 3 channels",
            )
        return _POLICIES[name](self.recipe, table)

    @erase.default
    def _make_erase(self) -> Operation | None:
        if not self.recipe.erasing:
            return None
        # Erased pixels of a normalized image get the mean color, which is 0.
        erase: Operation = load_kornia().RandomErasing(p=self.recipe.erasing)
        return erase

    def __attrs_post_init__(self) -> None:
        # The user learns of a missing package before the first batch.
        if self.recipe.crop < 1 or self.recipe.cutmix:
            load_kornia()

    @property
    def needs_floats(self) -> bool:
        """Return whether `views` changes anything."""
        return self.policy is not None or self.recipe.crop < 1

    @torch.no_grad()
    def views(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the views of images that the network sees: one, or a clean one and two mixed ones with AugMix.

        Args:
            pixels: Images `(N, C, H, W)` from 0 to 1.

        Returns:
            Images of the same shape and range.
        """
        if self.recipe.crop < 1:
            pixels = self._crop(pixels)
        if self.policy is None:
            return (pixels,)
        if self.recipe.policy == AUGMIX:
            return pixels, _by_groups(self.policy, pixels), _by_groups(self.policy, pixels)
        return (_by_groups(self.policy, pixels),)

    def _crop(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        # By default kornia crops in a loop over the images; one call for all of them is faster.
        crop = load_kornia().RandomResizedCrop(
            (height, width), scale=(self.recipe.crop, 1.0), ratio=_RATIO, cropping_mode="resample"
        )
        cropped: Tensor = crop(pixels)
        return cropped


def load_kornia(module: str = "kornia.augmentation") -> Any:
    """Return a module of kornia.

    Raises:
        MissingPackageError: kornia is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"the package kornia cannot be imported, and the augmentation of the recipe needs it: {error}",
            "pip install 'hwnas[train]'",
        ) from error


def _by_groups(operation: Operation, images: Tensor) -> Tensor:
    groups = images.tensor_split(max(1, min(_MOST_GROUPS, len(images) // _GROUP_SIZE)))
    return torch.cat([operation(group) for group in groups]).clamp(0, 1)


def _randaugment(recipe: TrainingRecipe, _table: str) -> Operation:
    operation: Operation = load_kornia("kornia.augmentation.auto").RandAugment(
        recipe.randaugment_operations, recipe.randaugment_magnitude, transformation_matrix_mode="skip"
    )
    return operation


def _autoaugment(_recipe: TrainingRecipe, table: str) -> Operation:
    operation: Operation = load_kornia("kornia.augmentation.auto").AutoAugment(table, transformation_matrix_mode="skip")
    return operation


def _augmix(recipe: TrainingRecipe, _table: str) -> Operation:
    return partial(mix_chains, recipe=recipe, operations=augmix_operations(recipe.augmix_severity))


_POLICIES: Mapping[str, Callable[[TrainingRecipe, str], Operation]] = MappingProxyType(
    {"randaugment": _randaugment, "autoaugment": _autoaugment, AUGMIX: _augmix}
)


def mix_chains(images: Tensor, recipe: TrainingRecipe, operations: Sequence[Operation]) -> Tensor:
    """Return images that are mixed with chains of operations, as AugMix does (arXiv 1912.02781, algorithm 1).

    Args:
        images: Images `(N, C, H, W)` from 0 to 1.
        recipe: Recipe of the training run, with the number and the length of the chains.
        operations: Operations that a chain is made of.
    """
    count, device = len(images), images.device
    # Dirichlet(1, …, 1) weighs the chains, and Beta(1, 1), which is uniform, weighs their mixture.
    weights = torch.distributions.Dirichlet(torch.ones(recipe.augmix_width)).sample((count,)).to(device)
    share = torch.rand(count, 1, 1, 1).to(device)
    mixed = torch.zeros_like(images)
    for chain in range(recipe.augmix_width):
        view = images
        for _ in range(int(torch.randint(recipe.augmix_depth, ())) + 1):
            view = operations[int(torch.randint(len(operations), ()))](view)
        mixed += weights[:, chain, None, None, None] * view
    return images.lerp(mixed, share)


def augmix_operations(severity: float) -> tuple[Operation, ...]:
    """Return the operations of AugMix, each with a random strength for each image.

    These are the operations and strengths of the paper's code. None of them is among the corruptions of ImageNet-C.

    Args:
        severity: Largest level, up to 10.
    """
    operations = load_kornia("kornia.augmentation.auto.operations")

    def strengths(largest: float) -> tuple[float, float]:
        return largest * _LOWEST_LEVEL / _HIGHEST_LEVEL, largest * severity / _HIGHEST_LEVEL

    low, high = strengths(4.0)
    # The paper keeps 4 bits and takes away the whole part of the strength; kornia rounds to the nearest number.
    bits = (max(1.0, 4.5 - high), 4.5 - low)
    thresholds = tuple(1 - value for value in reversed(strengths(1.0)))
    # A shear of .3 is the tangent of the angle; kornia multiplies the number that it gets by 180 degrees.
    shears = tuple(math.atan(value) / math.pi for value in strengths(0.3))
    return (
        operations.AutoContrast(1.0),
        operations.Equalize(1.0),
        operations.Posterize(None, 1.0, magnitude_range=bits),
        operations.Rotate(None, 1.0, magnitude_range=strengths(30.0)),
        operations.Solarize(None, 1.0, magnitude_range=thresholds),
        operations.ShearX(None, 1.0, magnitude_range=shears),
        operations.ShearY(None, 1.0, magnitude_range=shears),
        operations.TranslateX(None, 1.0, magnitude_range=strengths(1 / 3)),
        operations.TranslateY(None, 1.0, magnitude_range=strengths(1 / 3)),
    )
