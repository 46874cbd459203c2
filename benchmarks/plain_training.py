"""A training loop in plain PyTorch, with which `training.py` compares the proxy training.

It uses a dataset that decodes and transforms one image at a time, a loader with worker processes, fp32 in torch's
default memory layout, and torch's own convolutions. Network, initial weights, optimizer, schedule, loss, batch size and
images are those of the proxy training.
"""

import io
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from nas.arch.layers import same_padding
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.data.columns import image_column, label_column, read_labels
from nas.data.decode import read_cell
from nas.data.parts import plan
from nas.data.sources import open_source
from nas.models.blocks import Conv
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.train.recipe import Recipe

VAL_BATCH = 250


class PlainConv(Conv):
    """The same convolution without the shortcuts for maps smaller than the kernel."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Convolve as torch does, with the padding of TensorFlow if the network uses it."""
        if not self.same:
            return nn.Conv2d.forward(self, input)
        below, right = (same_padding(side, self.kernel_size[0], self.stride[0]) for side in input.shape[2:])
        padded = functional.pad(input, (right // 2, right - right // 2, below // 2, below - below // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


def plain_network(arch: Architecture, recipe: Recipe) -> nn.Module:
    """Return the network with the initial weights of the proxy training, and with torch's own convolutions."""
    model = build_model(arch)
    if recipe.quiet_start:
        zero_init_residual(model)
    for module in model.modules():
        if isinstance(module, Conv):
            module.__class__ = PlainConv
    return model


@attrs.frozen(eq=False)
class Encoded:
    """Hold the encoded images of one split, and their labels."""

    files: list[bytes]
    labels: list[int]


def read_encoded(source: str, images: int | None) -> dict[str, Encoded]:
    """Return the encoded training and validation images of the proxy training."""
    from datasets import Image as Undecoded

    with tempfile.TemporaryDirectory() as cache:
        opened = open_source(source, cache, test=False)
        features = opened.parts["train"].features
        labels = read_labels(opened.parts, label_column(features))
        column, found = image_column(features), {}
        for part, chosen in plan(labels.codes, labels.classes, images).items():
            if part != "test":
                table = opened.parts[chosen.origin].cast_column(column, Undecoded(decode=False))
                files = [read_cell(cell, opened.root) for cell in table[chosen.indices.tolist()][column]]
                found[part] = Encoded(files, labels.codes[chosen.origin][chosen.indices].tolist())
    return found


class Pictures(Dataset[tuple[Tensor, int]]):
    """Dataset that decodes an image, augments it if it is for training, and normalizes it."""

    def __init__(self, part: Encoded, data: ImageData, shift: int | None) -> None:
        self.part, self.resolution, self.flip, self.shift = part, data.resolution, data.flip, shift
        self.mean, self.std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.part.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image `(3, H, W)` and its label."""
        with Image.open(io.BytesIO(self.part.files[index])) as stored:
            image = stored.convert("RGB")
        if image.size != (self.resolution, self.resolution):
            image = ImageOps.fit(image, (self.resolution, self.resolution), method=Image.Resampling.BILINEAR)
        if self.shift is not None:
            image = self._changed(image, self.shift)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std, self.part.labels[index]

    def _changed(self, image: Image.Image, shift: int) -> Image.Image:
        """Return a random crop of the padded image, mirrored with a probability of one half."""
        left, top = torch.randint(0, 2 * shift + 1, (2,)).tolist()
        side = self.resolution
        image = ImageOps.expand(image, shift).crop((left, top, left + side, top + side))
        return ImageOps.mirror(image) if self.flip and torch.rand(()) < 0.5 else image


@attrs.frozen(eq=False)
class PlainLoop:
    """The training loop.

    Attributes:
        parts: Encoded images by split.
        data: The same images as the proxy training has them, for their mean, standard deviation, size and classes.
        recipe: Recipe of the proxy training.
        device: Device on which to train.
        workers: Number of worker processes of the loader.
    """

    parts: Mapping[str, Encoded]
    data: ImageData
    recipe: Recipe
    device: str
    workers: int

    def epochs(self, arch: Architecture, budget: int, seed: int) -> Iterator[float]:
        """Yield the accuracy after each epoch."""
        torch.manual_seed(seed)
        adapted = self.recipe.adapt(arch.adapted(resolution=self.data.resolution, classes=self.data.num_classes))
        model = plain_network(adapted, self.recipe).to(self.device)
        train, val = self._loader("train"), self._loader("val")
        optimizer = torch.optim.AdamW(_groups(model, self.recipe), lr=self.recipe.learning_rate)
        steps = budget * len(train)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: self.recipe.learning_rate_at(min(1, (step + 0.5) / steps)) / self.recipe.learning_rate,
        )
        for _ in range(budget):
            model.train()
            for images, labels in train:
                logits = model(images.to(self.device))
                loss = functional.cross_entropy(
                    logits, labels.to(self.device), label_smoothing=self.recipe.label_smoothing
                )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            yield self._accuracy(model, val)

    def _loader(self, part: str) -> DataLoader[Any]:
        trains = part == "train"
        shift = round(self.recipe.shift * self.data.resolution) if trains else None
        return DataLoader(
            Pictures(self.parts[part], self.data, shift),
            batch_size=self.recipe.batch_size if trains else VAL_BATCH,
            shuffle=trains,
            drop_last=trains,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.device.startswith("cuda"),
        )

    @torch.no_grad()
    def _accuracy(self, model: nn.Module, val: DataLoader[Any]) -> float:
        model.eval()
        right = sum(int((model(images.to(self.device)).argmax(1).cpu() == labels).sum()) for images, labels in val)
        return right / len(self.parts["val"].labels)


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
