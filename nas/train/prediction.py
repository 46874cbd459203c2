"""Networks with trained weights on images: which ones they classify correctly, and their batch-norm statistics."""

from collections.abc import Iterable, Iterator

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.data.augment import Scaling
from nas.data.base import Images
from nas.noise import Correct
from nas.train.loader import BatchLoader, make_loader, val_batch_size
from nas.weights.base import Normalization
from nas.weights.statistics import gate_means, re_estimate, spread_batches

# Number of images for the batch-norm statistics and the means of gates.
MOST_IMAGES = 1000


@frozen(eq=False)
class Predictor:
    """Apply networks to images without training them.

    Attributes:
        normalization: Normalization that the networks were trained with.
        device: Device name as `find_device` returns it.
    """

    normalization: Normalization
    device: str

    def correct(self, model: nn.Module, images: Images) -> Correct:
        """Return which images a model classifies correctly, as bool `(N,)`."""
        return (self.logits(model, images).argmax(1) == images.labels.cpu()).numpy()

    def logits(self, model: nn.Module, images: Images, resolution: int | None = None) -> Tensor:
        """Return the logits of a model for all images, float32 `(N, classes)`, in the host's memory.

        Args:
            model: The model.
            images: The images.
            resolution: Height and width to which the images are resized, in pixels; None leaves them as they are.
        """
        loader = make_loader(images, self.device, resolution)
        size = val_batch_size(resolution or images.images.shape[-1])
        batches = (slice(start, start + size) for start in range(0, len(loader), size))
        model = self._prepared(model)
        with torch.inference_mode():
            return torch.cat([model(pixels).float().cpu() for pixels, _ in self._take(loader, batches)])

    def re_estimate(self, model: nn.Module, images: Images) -> int:
        """Set the batch-norm statistics of a model to those of at most `MOST_IMAGES` images, and return their number.

        Raises:
            DataError: There are fewer than two images.
        """
        re_estimate(self._prepared(model), self._calibration(images))
        return min(MOST_IMAGES, len(images))

    def gate_means(self, model: nn.Module, images: Images) -> dict[str, Tensor]:
        """Return the mean of every channel of each gate over images; see `nas.weights.statistics.gate_means`."""
        return gate_means(self._prepared(model), self._calibration(images))

    def _calibration(self, images: Images) -> Iterator[Tensor]:
        """Yield batches of normalized images that are spread evenly over the split."""
        size = val_batch_size(images.images.shape[-1])
        # A batch of a single image has no variance.
        batches = spread_batches(len(images), MOST_IMAGES, size) if len(images) > 1 else ()
        return (pixels for pixels, _ in self._take(make_loader(images, self.device), batches))

    def _prepared(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]

    def _take(self, loader: BatchLoader, batches: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalized images `(B, C, H, W)` with their labels `(B,)`."""
        scaling = Scaling(self.normalization.mean, self.normalization.std, self.device)
        for batch in batches:
            images, labels = loader.take(batch)
            yield scaling(images.contiguous(memory_format=torch.channels_last)), labels
