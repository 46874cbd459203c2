"""Networks with trained weights on images: which ones they classify correctly, and their batch-norm statistics."""

from collections.abc import Iterable, Iterator

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.data.augment import Scaling
from nas.data.base import Images
from nas.noise import Correct
from nas.train.loader import BatchLoader, make_loader
from nas.weights.base import Normalization
from nas.weights.statistics import gate_means, re_estimate

# Number of images for the batch-norm statistics and the means of gates.
MOST_IMAGES = 1000
# Number of pixels of a batch: 64 images of 224 pixels. The activations of more would not fit into a small memory.
_PIXELS = 64 * 224**2
# Fewer images have no useful statistics.
_FEWEST_IMAGES = 8


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
        loader = make_loader(images, self.device)
        size = _batch_size(images)
        batches = (slice(start, start + size) for start in range(0, len(loader), size))
        model = self._prepared(model)
        with torch.inference_mode():
            found = [model(pixels).argmax(1) == labels for pixels, labels in self._take(loader, batches)]
        return torch.cat(found).cpu().numpy()

    def re_estimate(self, model: nn.Module, images: Images, seed: int = 0) -> int:
        """Set the batch-norm statistics of a model to those of random images, and return the number of these images.

        Raises:
            DataError: There are fewer than two images.
        """
        re_estimate(self._prepared(model), self._calibration(images, seed))
        return min(MOST_IMAGES, len(images))

    def gate_means(self, model: nn.Module, images: Images, seed: int = 0) -> dict[str, Tensor]:
        """Return the mean of every channel of each gate over random images; see `nas.weights.statistics.gate_means`."""
        return gate_means(self._prepared(model), self._calibration(images, seed))

    def _calibration(self, images: Images, seed: int) -> Iterator[Tensor]:
        """Yield batches of normalized random images."""
        count = min(MOST_IMAGES, len(images))
        # Images of a folder are ordered by class, and a batch of one class has a smaller variance.
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
        # Batches differ by at most one image, since `re_estimate` gives all of them the same weight.
        batches = chosen.tensor_split(max(1, count // _batch_size(images))) if count > 1 else ()
        return (pixels for pixels, _ in self._take(make_loader(images, self.device), batches))

    def _prepared(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]

    def _take(self, loader: BatchLoader, batches: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalized images `(B, C, H, W)` with their labels `(B,)`."""
        scaling = Scaling(self.normalization.mean, self.normalization.std, self.device)
        for batch in batches:
            images, labels = loader.take(batch)
            yield scaling(images.contiguous(memory_format=torch.channels_last)), labels


def _batch_size(images: Images) -> int:
    height, width = images.images.shape[-2:]
    return max(_FEWEST_IMAGES, _PIXELS // (height * width))
