"""How well a network with fresh weights tells images apart: NASWOT (Mellor et al., arXiv 2006.04647)."""

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

from nas.arch.spec import Architecture
from nas.data.augment import normalise
from nas.data.base import ImageData
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.models.blocks import ACTIVATIONS
from nas.models.build import build_model
from nas.train.device import find_device
from nas.train.memory import memory_errors_of_network
from nas.train.seeded import seeded

IMAGES = 32
# Those whose output is above 0 where their input is; the sigmoids of gates are above 0 everywhere.
CODED = tuple(ACTIVATIONS[name] for name in ("relu", "relu6", "silu", "hard_swish"))


@frozen(eq=False)
class Naswot:
    """Scores from the binary codes that a network with fresh weights gives to a few images; a `Measure`.

    An image's code has a bit for each number that enters an activation: whether it is above 0. That is the paper's code
    for ReLU, and is taken for ReLU6, SiLU and h-swish too. Entry i, j of the kernel counts the bits in which the codes
    of images i and j agree. "naswot" is the logarithm of the kernel's determinant, as in the paper. It grows with the
    number of bits; "distinctness" is the same with the kernel divided by that number, so that it tells how different
    codes are, however long: 0 is the most.

    Batch normalisation is in training mode; the images are always the same ones, of the train part, all of them
    different. The same architecture gets the same scores again on the same machine. torch's global generators are left
    as they were, but used meanwhile: not for two threads at once.

    Args:
        data: where the images come from.
        seed: of the choice of images and of the weights.
        device: as `find_device` gives it.
        images: how many at most.

    Raises:
        NasError: the train part does not have two different images.
    """

    data: ImageData
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    images: int = IMAGES

    def __attrs_post_init__(self) -> None:
        if len(self.batch) < 2:
            raise NasError(
                f"{self.data.name} has {len(self.batch)} different image to tell apart", "give it at least two"
            )

    @cached_property
    def batch(self) -> Tensor:
        """The images `(N, 3, H, W)`, normalised, on the device."""
        images = self.data.train.images
        order = torch.randperm(len(images), generator=Generator().manual_seed(self.seed))
        chosen = images[_first_different(images, order.tolist(), self.images)].to(self.device)
        return normalise(chosen, self.data.mean, self.data.std).contiguous(memory_format=torch.channels_last)

    def check(self, arch: Architecture) -> None:
        """See `Measure`.

        Raises:
            NasError: it does not take colour images.
        """
        if arch.in_channels != 3:
            raise NasError(f"the architecture takes {arch.in_channels} channels", "images have 3; set channels=3")

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        """Both by their names; the larger, the better images are told apart.

        Raises:
            EvaluationError: the images cannot all be told apart, so that there are none, or memory ran out.
        """
        kernel = self.kernel(arch)
        found, bits = log_determinant(kernel), float(kernel[0, 0])
        return {"naswot": found, "distinctness": found - len(kernel) * math.log(bits)}

    def kernel(self, arch: Architecture) -> NDArray[np.float64]:
        """In how many bits the codes of two images agree, `(N, N)`."""
        adapted = arch.adapted(resolution=self.data.resolution, classes=self.data.num_classes)
        with (
            memory_errors_of_network(f"with {len(self.batch)} images at once", "lower the resolution"),
            seeded(self.seed, self.device),
            torch.inference_mode(),
        ):
            model = build_model(attrs.evolve(adapted, drop_path=0.0))
            model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return code_kernel(model.train(), self.batch)

    def to_send(self) -> "Naswot":
        """Itself; see `SendableMeasure`.

        Raises:
            DataError: the images cannot be shared.
        """
        share(self.data)
        return self

    def describe(self) -> Mapping[str, Any]:
        """What the scores depend on, as plain JSON values."""
        return {
            "data": self.data.name,
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            "images": len(self.batch),
            "seed": self.seed,
            "precision": "fp32",
            "environment": {
                "device": self.device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
        }


def _first_different(images: Tensor, order: Iterable[int], most: int) -> list[int]:
    """The first few of these indices whose images differ: equal ones have equal codes in every network."""
    found: dict[bytes, int] = {}
    for i in order:
        found.setdefault(images[i].cpu().numpy().tobytes(), i)
        if len(found) == most:
            break
    return list(found.values())


def code_kernel(model: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """In how many bits the codes of two images `(N, C, H, W)` agree, `(N, N)`."""
    kernel = np.zeros((len(images), len(images)))

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kernel[:] += _agreeing(_codes(inputs[0])).double().cpu().numpy()

    with _before_activations(model, add):
        model(images)
    return kernel


def _codes(values: Tensor) -> Tensor:
    """`(N, …)` to `(N, bits)`, 1 above 0 and else 0; in the order that they lie in memory, as any will do."""
    flat = values.permute(0, 2, 3, 1).flatten(1) if values.ndim == 4 else values
    return torch.gt(flat, 0, out=torch.empty_like(flat))


def _agreeing(codes: Tensor) -> Tensor:
    """In how many bits each two codes agree: where both are 1, and where both are 0."""
    both = codes @ codes.T
    ones = both.diagonal()
    return 2 * both - ones - ones[:, None] + codes.shape[1]


@contextmanager
def _before_activations(model: nn.Module, call: Any) -> Iterator[None]:
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, CODED):
                hooks.callback(module.register_forward_pre_hook(call).remove)
        yield


def log_determinant(kernel: NDArray[np.float64]) -> float:
    """Of a kernel of codes `(N, N)`.

    Raises:
        EvaluationError: it is singular: there is no such number.
    """
    rank = int(np.linalg.matrix_rank(kernel, hermitian=True))
    if rank < len(kernel):
        raise EvaluationError(
            f"with fresh weights the network tells {len(kernel)} images apart in {rank} directions only",
            "it has too few activations for this score",
        )
    return float(np.linalg.slogdet(kernel)[1])
