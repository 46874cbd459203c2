"""Verification of an exported network: everything that its folder states is measured again, later or elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import NasError

# torch, ONNX and ONNX Runtime are optional packages, so what needs them is imported when a function is called.
if TYPE_CHECKING:
    from nas.device.model_file import ModelFile
    from nas.device.spec import Address
    from nas.export.records import Product
    from nas.export.verification import Check

__all__ = ["Verification", "verify_product"]

Say = Callable[[str], None]
FIGURES = ("accuracy", "memory", "latency")


@frozen(eq=False)
class Verification:
    """Represent the comparison of what an exported network's folder states with what was measured now.

    Attributes:
        folder: The folder.
        name: Name of the network.
        device: Device on which the files were measured.
        machine: Machine that has the device.
        checks: Each file and figure that was checked.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> exported = nas.export_model(network, "product", format="onnx")
    >>> found = nas.verify_product("product", skip=["latency"])
    >>> found.holds, found.checks[0].file, found.checks[0].outcome
    (True, 'model.onnx', 'same')
    """

    folder: Path
    name: str
    device: str
    machine: str
    checks: "tuple[Check, ...]"

    @property
    def holds(self) -> bool:
        """Return whether no figure differs, and every figure of this device and these images was measured."""
        from nas.export.verification import DIFFERS, NOT_MEASURED

        return not any(check.outcome in (DIFFERS, NOT_MEASURED) for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "folder": str(self.folder),
            "network": self.name,
            "device": self.device,
            "machine": self.machine,
            "holds": self.holds,
            "checks": [attrs.asdict(check) for check in self.checks],
        }


@check_arguments
@explain_missing()
def verify_product(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    device: str | None = None,
    skip: Sequence[str] = (),
) -> Verification:
    """Measure again what the folder of an exported network states.

    The folder may come from anywhere: its files are checked before anything reads them, and nothing in it is run but
    its models. The digests of all files are compared, then the accuracy on the same split of the same source, the
    latency and the peak memory. Latencies and memory of another kind of device are measured and not compared.

    Args:
        folder: Folder that `nas.export_model` wrote.
        data: Source of the images; by default the one that the folder names, if it is on this machine.
        device: Device, for example "cpu" or "ssh://me@board"; by default the settings with which it was measured, on
            this machine.
        skip: What is not measured: "accuracy", "latency" or "memory".

    Returns:
        An outcome for each file and each figure.

    Raises:
        NasError: The folder is not that of an exported network, or an argument cannot be used.
        DataError: The given images cannot be read, or their classes differ from those of the network.
        DeviceError: The device cannot be reached.
        MissingPackageError: A package that is needed is not installed.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> exported = nas.export_model(network, "product", data="digits", format="onnx")
    >>> [check.what for check in nas.verify_product("product").checks if check.file == "model.onnx"]
    ['content', 'accuracy', 'memory', 'latency']
    """
    return verify(Path(folder), None if data is None else str(data), device, skip, lambda _message: None)


@explain_missing()
def verify(folder: Path, data: str | None, device: str | None, skip: Sequence[str], say: Say) -> Verification:
    """Verify a folder; see `verify_product`.

    Args:
        folder: The folder.
        data: Source of the images, or None.
        device: Device, or None.
        skip: What is not measured.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `verify_product` raises it.
    """
    from nas.device.connection import Connection
    from nas.export.product import read_product
    from nas.export.verification import describe_machine

    unknown = next((each for each in skip if each not in FIGURES), None)
    if unknown is not None:
        raise NasError(f"skip is {unknown!r:.80}", f"use {', '.join(FIGURES)}")
    product = read_product(folder)
    contents, files = _contents(product, folder)
    # It imports torch, which takes seconds that a refusal does not need.
    from nas.api.verification_figures import Figures

    address = _address(product, device)
    with Connection(address) as connection:
        # The first contact: a device that cannot be reached is an error, and not a figure that differs.
        machine = describe_machine(connection.machine)
        figures = Figures(product, files, connection, say)
        measured = tuple(figures.checks(data, skip))
    return Verification(folder, product.name, address.short, machine, (*contents, *measured))


def _address(product: "Product", device: str | None) -> "Address":
    """Return the device on which the files run, with the batch that they have."""
    from nas.device.spec import parse_address

    stored = next((model.latency.device.short for model in product.models if model.latency), "cpu")
    address = parse_address(stored if device is None else device)
    batch = product.batch or address.device.batch
    return attrs.evolve(address, device=attrs.evolve(address.device, batch=batch, precision="fp32"))


def _contents(product: "Product", folder: Path) -> "tuple[list[Check], Mapping[str, ModelFile]]":
    """Return whether each file is as it was written, and the ONNX files that may be run."""
    from nas.export.card import CARD
    from nas.export.model_reading import read_model
    from nas.export.product import changed_files
    from nas.export.verification import CONTENT, DIFFERS, NOT_COMPARED, SAME, Check

    problems = dict(changed_files(product, folder))
    files: dict[str, ModelFile] = {}
    for model in product.models:
        if model.file not in problems:
            try:
                file = read_model(product, model, folder)
            except NasError as error:
                problems[model.file] = error.problem
            else:
                files |= {} if file is None else {model.file: file}
    # A user may add to the card, such as a license, and no figure depends on it.
    outcomes = {CARD: NOT_COMPARED}
    checks = [
        Check(name, CONTENT, outcomes.get(name, DIFFERS) if name in problems else SAME, note=problems.get(name, ""))
        for name in product.digests
    ]
    return checks, files
