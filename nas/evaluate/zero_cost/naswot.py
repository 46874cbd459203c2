"""NASWOT (Mellor et al., arXiv 2006.04647): how differently a network with random weights responds to images."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture
from nas.data.augment import normalize
from nas.data.base import ImageData
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.models.blocks import ACTIVATIONS
from nas.models.build import build_model
from nas.train.device import find_device
from nas.train.loader import resize
from nas.train.memory import memory_errors_of_network
from nas.train.seeded import seeded

IMAGES = 32
# Activations whose output is above 0 where their input is. The sigmoids of gates are above 0 everywhere, so their codes
# would be the same for all images.
CODED_ACTIVATIONS = tuple(ACTIVATIONS[name] for name in ("relu", "relu6", "silu", "hard_swish"))


@frozen(eq=False)
class Naswot:
    """Score networks by the binary codes that they give to a few images; it implements `ImageScorer`.

    The code of an image has one bit for each value that enters an activation: whether it is above 0. The paper defines
    this for ReLU; here it also holds for ReLU6, SiLU and h-swish. Entry (i, j) of the kernel is the number of bits in
    which the codes of images i and j agree.

    The score "naswot" is the logarithm of the kernel's determinant, as in the paper; it grows with the number of bits.
    The score "distinctness" is the same after the kernel is divided by the number of bits, so that it says how much the
    codes differ whatever their length; its largest possible value is 0.

    Batch normalization is in training mode. The images are always the same ones of the training split, without
    duplicates. On the same machine the same architecture has the same scores. torch's global random generators are used
    and restored, so two threads must not score at once.

    Args:
        data: Data set of the images.
        seed: Seed of the choice of images and of the weights.
        device: Device name as `find_device` takes it; None chooses the fastest device.
        images: Largest number of images.
        full_resolution: Resolution of the networks that are scored on the images as they are held; None scores all
            networks on them. See `proxy_resolution`.

    Raises:
        NasError: The training split has fewer than two different images.
    """

    data: ImageData
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    images: int = IMAGES
    full_resolution: int | None = None

    def __attrs_post_init__(self) -> None:
        if len(self._chosen) < 2:
            raise NasError(
                f"{self.data.name} has {len(self._chosen)} distinct training image; the score needs at least two",
                "add images",
            )

    @cached_property
    def _chosen(self) -> Tensor:
        """Return the images as they are held, uint8 `(N, C, H, W)`, on the device."""
        images = self.data.train.images
        order = torch.randperm(len(images), generator=Generator().manual_seed(self.seed))
        return images[_first_distinct(images, order.tolist(), self.images)].to(self.device)

    @cached_property
    def batch(self) -> Tensor:
        """Return the normalized images `(N, C, H, W)` as they are held, on the device."""
        return self._batch_at(self.data.resolution)

    def _batch_at(self, resolution: int) -> Tensor:
        images = normalize(resize(self._chosen, resolution), self.data.mean, self.data.std)
        return images.contiguous(memory_format=torch.channels_last)

    def check(self, arch: Architecture) -> None:
        """Check that the architecture takes as many channels as the images have; see `ImageScorer`.

        Raises:
            NasError: It does not.
        """
        if arch.in_channels != self.data.channels:
            raise NasError(
                f"the architecture takes {arch.in_channels} channels, and the images have {self.data.channels}",
                f"use a space with channels={self.data.channels}",
            )

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Return both scores by name.

        Raises:
            EvaluationError: The kernel is singular, so that there are no scores, or memory ran out.
        """
        kernel = self.kernel(arch)
        score, bits = log_determinant(kernel), float(kernel[0, 0])
        # Dividing an (N, N) matrix by a number divides its determinant by the N-th power of the number.
        return {"naswot": score, "distinctness": score - len(kernel) * math.log(bits)}

    def kernel(self, arch: Architecture) -> NDArray[np.float64]:
        """Return the number of bits in which the codes of each pair of images agree, `(N, N)`.

        Raises:
            EvaluationError: Memory ran out.
        """
        resolution = proxy_resolution(self.data.resolution, arch.resolution, self.full_resolution)
        adapted = arch.adapted(resolution=resolution, classes=self.data.num_classes)
        with (
            memory_errors_of_network(f"with {len(self._chosen)} images at once", "lower the resolution"),
            seeded(self.seed, self.device),
            torch.inference_mode(),
        ):
            # Drop path would set whole branches to zero at random.
            model = build_model(attrs.evolve(adapted, drop_path=0.0))
            model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            # In training mode a batch is normalized by itself; the running statistics of a new network are 0 and 1.
            return code_kernel(model.train(), self._batch_at(resolution))

    def to_send(self) -> "Naswot":
        """Return this object, after moving its images to shared memory; see `SendableImageScorer`.

        Raises:
            DataError: The images cannot be shared.
        """
        share(self.data)
        return self

    def describe(self) -> Mapping[str, Any]:
        """Return what the scores depend on, as plain JSON values."""
        return {
            "data": self.data.name,
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            **({} if self.full_resolution is None else {"full_resolution": self.full_resolution}),
            "images": len(self._chosen),
            "seed": self.seed,
            "precision": "fp32",
            "environment": {
                "device": self.device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
        }


def _first_distinct(images: Tensor, order: Iterable[int], most: int) -> list[int]:
    """Return the first indices whose images differ: equal images have equal codes, and make every kernel singular."""
    found: dict[bytes, int] = {}
    for i in order:
        found.setdefault(images[i].cpu().numpy().tobytes(), i)
        if len(found) == most:
            break
    return list(found.values())


def code_kernel(model: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """Return the number of bits in which the model's codes of each pair of images agree, `(N, N)`.

    Args:
        model: Model that is called with the images.
        images: Images `(N, C, H, W)`.

    Example:
        >>> code_kernel(nn.ReLU(), torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        array([[2., 1.],
               [1., 2.]])
    """
    kernel = np.zeros((len(images), len(images)))

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # The kernel of all codes is the sum over activations, so that no code is kept longer than its layer.
        kernel[:] += _agreements(_codes(inputs[0])).double().cpu().numpy()

    with _before_activations(model, add):
        model(images)
    return kernel


def _codes(values: Tensor) -> Tensor:
    """Return codes `(N, bits)` of values `(N, …)`: 1 where a value is above 0, and otherwise 0."""
    # The order of the bits has no effect, so they stay in the order of the memory, which is channels last.
    flat = values.permute(0, 2, 3, 1).flatten(1) if values.ndim == 4 else values
    return torch.gt(flat, 0, out=torch.empty_like(flat))


def _agreements(codes: Tensor) -> Tensor:
    """Return the number of bits in which each pair of codes agrees: both bits are 1, or both are 0."""
    # With b bits, two codes that have p and q ones and share s ones agree in s + (b - p - q + s) bits: one product
    # instead of the two of the paper's code.
    both = codes @ codes.T
    ones = both.diagonal()
    return 2 * both - ones - ones[:, None] + codes.shape[1]


@contextmanager
def _before_activations(model: nn.Module, call: Any) -> Iterator[None]:
    """Call a function with the inputs of every coded activation while the context lasts."""
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, CODED_ACTIVATIONS):
                hooks.callback(module.register_forward_pre_hook(call).remove)
        yield


def log_determinant(kernel: NDArray[np.float64]) -> float:
    """Return the logarithm of the determinant of a kernel of codes `(N, N)`.

    Raises:
        EvaluationError: The kernel is singular, so that its determinant is 0.

    Example:
        >>> round(log_determinant(np.array([[2.0, 1.0], [1.0, 2.0]])), 4)  # ln 3
        1.0986
    """
    rank = int(np.linalg.matrix_rank(kernel, hermitian=True))
    if rank < len(kernel):
        raise EvaluationError(
            f"with random weights the network's codes of {len(kernel)} images have rank {rank}; "
            "the score needs codes that are all independent",
            "use more activations or a larger resolution",
        )
    return float(np.linalg.slogdet(kernel)[1])
