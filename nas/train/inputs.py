"""The inputs of a training step: augmented images, their targets, and the logits of a teacher."""

from collections.abc import Callable

import attrs
import torch
from attrs import field, frozen
from torch import Generator, Tensor

from nas.data.augment import Scaling, send
from nas.data.base import ImageData
from nas.train.augmentation import Augmentation
from nas.train.loader import BatchLoader, augment_batch
from nas.train.mixing import mix
from nas.train.recipes.schema import TrainingRecipe
from nas.train.resolutions import side_of_epoch

Teacher = Callable[[Tensor], Tensor]

# Seed of which images are mirrored in odd epochs, with flips that alternate. It belongs to no training run, so that an
# image is mirrored in the same epochs however often a run is continued.
_FLIP_SEED = 0


@frozen(eq=False)
class TrainingInputs:
    """Make the inputs of a step from the indices of its images.

    Attributes:
        data: Data set of the images, with their mean and whether they may be mirrored.
        recipe: Recipe of the training run.
        epochs: Number of epochs in all.
        loader: Loader of the training split.
        scaling: Conversion of pixels from 0 to 255 to normalized floats.
        teacher: Function that returns logits `(N, classes)` of normalized images `(N, C, H, W)`, or None.
        targets: Probabilities of the classes for each training image `(images, classes)`, or None for the labels.
        augmentation: Strong augmentation.
        mirrored_first: Which training images are mirrored in odd epochs, as bool `(images,)`, if flips alternate.
    """

    data: ImageData
    recipe: TrainingRecipe
    epochs: int
    loader: BatchLoader
    scaling: Scaling
    teacher: Teacher | None = None
    targets: Tensor | None = None
    augmentation: Augmentation = field(init=False)
    mirrored_first: Tensor | None = field(init=False)

    @augmentation.default
    def _make_augmentation(self) -> Augmentation:
        return Augmentation(self.recipe, self.data.channels)

    @mirrored_first.default
    def _draw_mirrored(self) -> Tensor | None:
        if self.recipe.flip != "alternating" or not self.data.flip:
            return None
        drawn = torch.randint(0, 2, (len(self.loader),), generator=Generator().manual_seed(_FLIP_SEED))
        return drawn.bool().to(self.loader.device)

    def make(self, batch: Tensor, number: int, generator: Generator) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the inputs of a step, and which of its images are mirrored, bool `(N,)`.

        The inputs are the targets, which are labels `(N,)` or probabilities `(N, classes)`; the logits of the teacher
        `(N, classes)`, which are empty without a teacher; and normalized images `(N, C, H, W)` of each view.

        Args:
            batch: Indices `(N,)` of training images.
            number: Number of the epoch, counted from 1.
            generator: Generator of shifts and flips; all else uses the global generators.
        """
        images, labels = self._sized(number).take(batch)
        augmented, mirrored = self._augment(images, batch, number, generator)
        first, *others = self._views(augmented)
        mixed, targets = mix(first, self._targets(batch, labels), self.recipe, self.data.num_classes)
        # Augmentation may return other memory layouts; a convolution needs channels last to be fast.
        views = tuple(each.contiguous(memory_format=torch.channels_last) for each in (mixed, *others))
        return (targets, self._taught(views[0]), *views), mirrored

    def normalized(self, images: Tensor) -> Tensor:
        """Return normalized floats of images `(N, C, H, W)` from 0 to 255, with channels last in memory."""
        return self.scaling(images.contiguous(memory_format=torch.channels_last))

    def _sized(self, number: int) -> BatchLoader:
        """Return the loader of an epoch, whose images may be smaller than those of the last epochs."""
        side = self.loader.resolution or self.loader.images.shape[-1]
        small = side_of_epoch(self.recipe, side, number, self.epochs)
        return self.loader if small == side else attrs.evolve(self.loader, resolution=small)

    def _augment(self, images: Tensor, batch: Tensor, number: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return uint8 images `(N, C, H, W)`, shifted and mirrored, and which of them are mirrored, bool `(N,)`.

        As floats the images would take four times the memory.
        """
        mirrored = None
        if self.mirrored_first is not None:
            mirrored = self.mirrored_first[send(batch, self.mirrored_first.device)] ^ bool(number % 2)
        flips = self.recipe.flip != "none"
        return augment_batch(images, self.data, self.recipe.shift, generator, flips=flips, mirrored=mirrored)

    def _views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the normalized views `(N, C, H, W)` of uint8 images."""
        if self.augmentation.needs_floats:
            views = tuple(self.normalized(255 * view) for view in self.augmentation.views(images.float() / 255))
        else:
            views = (self.normalized(images),)
        erase = self.augmentation.erase
        return views if erase is None else tuple(map(erase, views))

    def _targets(self, batch: Tensor, labels: Tensor) -> Tensor:
        return labels if self.targets is None else self.targets[send(batch, self.targets.device)].to(labels.device)

    @torch.no_grad()
    def _taught(self, images: Tensor) -> Tensor:
        return images.new_empty(0) if self.teacher is None else self.teacher(images).float()
