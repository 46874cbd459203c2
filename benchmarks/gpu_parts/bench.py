"""What every item of the GPU benchmark is given, and the environment that is stored with its result."""

import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from attrs import frozen
from packed_images import Packed, read

from gpu_parts.plan import NETWORKS, SMOKE_NETWORKS
from nas.data.base import ImageData, Images, fingerprint, mean_and_std
from nas.version import __version__

if TYPE_CHECKING:
    from plain_training import Encoded

    from nas.arch.spec import Architecture
    from nas.evaluate.table.evaluator import TableEvaluator


class NeedsError(Exception):
    """Something is not there that an item needs, so that it has no result here."""


@frozen
class Sizes:
    """Hold the sizes of the measurements.

    Attributes:
        network: Preset that the self-check compiles, lays out in two ways and trains with too little memory.
        resolution: Side of the images of NAS-Bench-Macro and of the self-check, in pixels.
        photo: Side of the large images, in pixels.
        images: Training images of the speed measurements.
        speed_val: Images that validate there; one image in the plain loop takes as long as many in the other one.
        proxy_images: Training images of the trained proxy.
        val: Largest number of images that validate elsewhere, or None for all.
        epochs: Epochs of the trained proxy.
        supernet_epochs: Epochs of the supernet.
        supernet_batch: Batch size of the supernet.
        networks: Networks that are ranked.
        trials: Trials of the search.
        steps: Steps that are timed.
        oom_side: Side of the images with which memory runs out, in pixels.
        oom_bytes: Memory that is left to the training run then.
        compiled: Variants of `torch.compile` that are compared, as keyword arguments by name.
    """

    network: str = "efficientnet-b0"
    resolution: int = 32
    photo: int = 128
    images: int = 4000
    speed_val: int = 1000
    proxy_images: int = 12_000
    val: int | None = None
    epochs: int = 3
    supernet_epochs: int = 60
    supernet_batch: int = 256
    networks: int = NETWORKS
    trials: int = 40
    steps: int = 50
    oom_side: int = 128
    oom_bytes: int = 2_000_000_000
    compiled: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
        ("compiled", ()),
        ("compiled with CUDA graphs", (("mode", "reduce-overhead"),)),
    )


# Sizes at which every line of code runs within a minute on two CPU cores; the figures mean nothing.
SMOKE = Sizes(
    network="mnasnet-small",
    resolution=16,
    photo=32,
    images=64,
    speed_val=40,
    proxy_images=64,
    val=40,
    epochs=1,
    supernet_epochs=2,
    supernet_batch=64,
    networks=SMOKE_NETWORKS,
    trials=2,
    steps=2,
    oom_side=32,
    # The compiler of a CPU alone takes minutes.
    compiled=(("compiled", (("backend", "aot_eager"),)),),
)


@frozen
class Bench:
    """Hold what every item is given.

    Attributes:
        out: Folder of the results and of what long items continue from.
        data: Folder with the packed images and the table of accuracies, or None.
        device: Device, as torch names it.
        sizes: Sizes of the measurements.
        seed: Seed of all random numbers.
    """

    out: Path
    data: Path | None
    device: str
    sizes: Sizes
    seed: int = 0

    @property
    def is_cuda(self) -> bool:
        """Return whether the device is a GPU of NVIDIA, or one that torch treats like it."""
        return self.device.startswith("cuda")

    def synchronize(self) -> None:
        """Wait until the device has done all work."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def packed(self, name: str) -> Packed:
        """Return the packed images of a data set.

        Raises:
            NeedsError: They are not there.
        """
        return read(self._path(f"{name}.npz"))

    def images(self, name: str, resolution: int, count: int | None, val: int | None = None) -> ImageData:
        """Return images of a data set.

        Args:
            name: Name of the data set.
            resolution: Side of the images, in pixels.
            count: Largest number of images that train; None takes all.
            val: Largest number of images that validate; None takes the number of the sizes.
        """
        data = self.packed(name).data(resolution, count)
        chosen = spread(len(data.val), val or self.sizes.val)
        return attrs.evolve(data, val=Images(data.val.images[chosen], data.val.labels[chosen]))

    def encoded(self, name: str, count: int | None, val: int) -> "dict[str, Encoded]":
        """Return the same images encoded, by split."""
        parts = self.packed(name).encoded(count)
        chosen, held = spread(len(parts["val"].labels), val).tolist(), parts["val"]
        few = attrs.evolve(held, files=[held.files[i] for i in chosen], labels=[held.labels[i] for i in chosen])
        return {**parts, "val": few}

    def made_up(self, resolution: int, count: int, classes: int = 4) -> ImageData:
        """Return images whose brightness depends on their class, for checks that need no real ones."""
        generator = torch.Generator().manual_seed(self.seed)
        splits = []
        for size in (count, max(classes, count // 4)):
            labels = torch.arange(size) % classes
            noise = torch.randint(0, 120, (size, 3, resolution, resolution), generator=generator)
            splits.append(Images((noise + labels.view(-1, 1, 1, 1) * 30).to(torch.uint8), labels))
        names = tuple(f"class {k}" for k in range(classes))
        train, val = splits
        mean, std = mean_and_std(train.images)
        return ImageData("made up", names, train, val, None, mean, std, fingerprint(names, splits))

    def table(self) -> "TableEvaluator":
        """Return the table of NAS-Bench-Macro.

        Raises:
            NeedsError: It is not there.
            ModuleNotFoundError: pandas is not installed.
        """
        path = self._path("nasbench_macro.csv")
        # It needs pandas, which not every machine has.
        from nas.evaluate.table.evaluator import read_table
        from nas.space.files import find_space

        return read_table(path, find_space("nasbench_macro"), "acc_mean", ("op*",))

    def _path(self, name: str) -> Path:
        if self.data is None:
            raise NeedsError("--data with the folder that scripts/gpu-bundle makes")
        if not (self.data / name).is_file():
            raise NeedsError(f"{name} in the folder of --data, which scripts/gpu-bundle makes")
        return self.data / name


def spread(size: int, most: int | None) -> torch.Tensor:
    """Return at most so many indices that are spread evenly over a size, int64 `(N,)`."""
    count = size if most is None else min(most, size)
    return torch.arange(count) * size // count


def environment(device: str) -> dict[str, Any]:
    """Return everything about machine and software that results depend on; what is unknown is None."""
    cuda = device.startswith("cuda")
    properties = torch.cuda.get_device_properties(device) if cuda else None
    return {
        "device": device,
        "gpu": None if properties is None else properties.name,
        "gpu_bytes": None if properties is None else properties.total_memory,
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if cuda else None,
        "cuda": str(torch.version.cuda) if cuda else None,
        "cudnn": str(torch.backends.cudnn.version()) if cuda else None,  # type: ignore[no-untyped-call]
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "nas": __version__,
        "commit": _output("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
    }


def _output(*command: str) -> str | None:
    """Return the first line that a command prints, or None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def small_network() -> "Architecture":
    """Return a network with every kind of layer that training on a GPU may treat differently."""
    from nas.arch.code import parse_text

    return parse_text(
        "net resolution=32 act=silu\n"
        "stem conv k3 s2 c16\n"
        "mbconv k3 s1 e1 c16 se0.25\n"
        "mbconv r2 k5 s2 e4 c24 se0.25\n"
        "fused k3 s2 e4 c32\n"
        "conv k3 s1 c32\n"
        "head conv c64"
    )
