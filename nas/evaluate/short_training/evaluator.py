"""An evaluator that trains a network for a few epochs on the user's images."""

from collections.abc import Mapping
from typing import Any

import torch
from attrs import frozen

from nas.arch.spec import Architecture
from nas.evaluate.short_training.epochs import EpochEvaluator
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe


@frozen
class TrainEvaluator(EpochEvaluator):
    r"""Give the accuracy on the validation split after each epoch of a training run on the training split.

    On the same machine the same evaluator gives the same accuracies: the weights, the order and augmentation of images
    and dropout follow from `seed`. torch's global random generators are used while an epoch runs and restored after it.
    Two evaluations may therefore take turns epoch by epoch in one thread, but must not run in two threads at once.

    When memory runs out, the training run starts again with half the batch; `metadata` reports the batch size.

    Args:
        data: Images; they are kept as uint8 on the device during a training run.
        seed: Seed of all random numbers.
        device: Device name as `find_device` takes it; None chooses the fastest device.
        recipe: Hyperparameters of the training run.
        on_batch: Callback for every step, or None; see `OnBatch`.
        metric: "accuracy", or "balanced" for the mean over classes of the share of correctly classified images.
        checkpoints: Folder in which training runs are saved after their epochs, so that an interrupted run continues
            with the same accuracies, also in another process; `CheckpointFolder` says how long a file exists. None
            saves nothing.
        checkpoint_s: Duration of training in seconds below which nothing is saved.
        notify: Callback for messages about the checkpoints.
        full_resolution: Resolution of the networks that are trained on the images as they are held. Networks of other
            resolutions are trained on images that are smaller or larger in proportion; see `proxy_resolution`. None
            trains all networks on the images as they are held.

    Raises:
        NasError: The training split has fewer than two images, the metric is unknown, or the device does not support
            the recipe's precision.

    Example:
        >>> import torch
        >>> from nas.arch.code import parse_text
        >>> from nas.data.base import ImageData, Images
        >>> images = torch.zeros(32, 3, 8, 8, dtype=torch.uint8)
        >>> images[::2] = 255  # every second image is white, the others are black
        >>> split = Images(images, torch.arange(32) % 2)
        >>> data = ImageData("made up", ("white", "black"), split, split, None, (0.5,) * 3, (0.5,) * 3, "")
        >>> evaluator = TrainEvaluator(data, seed=0, device="cpu", recipe=Recipe(batch_size=8))
        >>> arch = parse_text("net\nstem conv k3 s2 c8\nconv k3 s2 c8\nhead pool")
        >>> accuracies = list(evaluator.evaluate(arch, budget=4))
        >>> len(accuracies), accuracies[-1]
        (4, 1.0)
    """

    def describe(self) -> Mapping[str, Any]:
        """Return everything that the accuracies depend on, as plain JSON values."""
        return {"evaluator": "train", **self._describe_training()}

    def _adapted(self, arch: Architecture) -> Architecture:
        """Return the architecture for its images' resolution and classes, with the recipe's batch-norm momentum."""
        self._check_channels(arch)
        return self.recipe.adapt(arch.adapted(resolution=self._pixels(arch), classes=self.data.num_classes))

    def _start(self, arch: Architecture, budget: int, recipe: Recipe) -> TrainingRun:
        model = build_model(arch)
        if recipe.quiet_start:
            zero_init_residual(model)
        # A step takes 1.4 to 1.6 times as long with channels first on a CPU (docs/short_training.md).
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        val_batch = self._val_batch(recipe, arch.resolution)
        return TrainingRun(
            self.data, model, recipe, budget, self.device, self.on_batch, self.metric, val_batch, arch.resolution
        )
