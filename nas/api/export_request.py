"""The request for an export: everything that can be asked for, checked when it is created."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import attrs
from attrs import field, frozen
from attrs.validators import optional

from nas.api.fields import check_not_negative, check_share, check_text, one_of, whole_number
from nas.device.spec import MAX_BATCH, Address, parse_address
from nas.errors import DeviceError, NasError, WeightsError
from nas.studies.defaults import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nas.weights.base import TrainedNetwork

AUTO, ONNX, ONNX_INT8, TIMM, TORCH = "auto", "onnx", "onnx-int8", "timm", "torch"
FORMATS = (AUTO, ONNX, ONNX_INT8, TIMM, TORCH)
DYNAMIC = "dynamic"


def _batch(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value


def _check_batch(_request: object, _attribute: object, value: Any) -> None:
    if value is None or value == DYNAMIC:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_BATCH:
        raise NasError(
            f"batch is {value!r:.80}; a file takes a fixed number of images at a time, or any number",
            f"give a whole number from 1 to {MAX_BATCH:,}, or {DYNAMIC}",
        )


def _check_checkpoint(_request: object, _attribute: object, value: Any) -> None:
    from nas.weights.base import TrainedNetwork

    if not isinstance(value, str | TrainedNetwork):
        raise WeightsError(f"{value!r:.200} is not a checkpoint", "give a folder, a file or a TrainedNetwork")


def _checkpoint(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@frozen
class ExportRequest:
    """Hold what an export is asked for, in the words of the command line.

    Attributes:
        checkpoint: Folder of a training run, a weights file, another source of weights, `study:NAME:best`, or a
            network.
        out: Folder of the product.
        resolution: Height and width of the images that the network takes, in pixels; None takes those of the network.
        data: Source of the images; None takes the one that the training run recorded.
        format: "auto" is an fp32 ONNX file, and an int8 file beside it where it is worth it; "onnx", "onnx-int8",
            "timm" or "torch".
        device: Device on which the files are checked and measured.
        batch: Number of images of one run, or "dynamic"; None takes that of the device.
        preprocess: Whether the ONNX files take uint8 images of any size.
        max_loss: Largest loss of accuracy of the int8 file, in points.
        qat: Whether the network is fine-tuned for int8 where layers have to stay in fp32 for `max_loss`.
        against: Another network that is measured beside it; None for none.
        validation_share: Share of the images that validates, as in the training run.
        weights_dir: Folder in which searches keep weights.
        storage: Optuna URL of the database that holds the study of a network.

    Raises:
        NasError: A value cannot be used.
    """

    checkpoint: Union[str, "TrainedNetwork"] = field(converter=_checkpoint, validator=_check_checkpoint)
    out: Path = field(converter=Path)
    resolution: int | None = whole_number(None, 4, 1024)
    data: str | None = None
    format: str = one_of(FORMATS, AUTO)
    device: str = field(default="cpu", validator=check_text)
    batch: int | str | None = field(default=None, converter=_batch, validator=_check_batch)
    preprocess: bool = True
    max_loss: float = field(default=0.5, validator=check_not_negative)
    qat: bool = False
    against: Union[str, "TrainedNetwork", None] = field(
        default=None, converter=_checkpoint, validator=optional(_check_checkpoint)
    )
    validation_share: float | None = field(default=None, validator=check_share)
    weights_dir: Path = field(default=Path("nas-weights"), converter=Path)
    storage: str = field(default=DEFAULT_STORAGE, validator=check_text)

    def __attrs_post_init__(self) -> None:
        if self.qat and self.format not in (AUTO, ONNX_INT8):
            raise NasError(
                f"fine-tuning for int8 is asked for, and the format {self.format} has no int8 file",
                f"leave --qat out, or give the format {ONNX_INT8}",
            )
        address = parse_address(self.device)
        if address.device.precision != "fp32":
            raise DeviceError(
                f"device {self.device!r:.80} has a precision, and an exported file has its own",
                f"leave the precision out of the device, and give --format {ONNX_INT8} for an int8 file",
            )
        if isinstance(self.batch, int) and address.device.batch not in (1, self.batch):
            raise DeviceError(
                f"device {self.device!r:.80} has batches of {address.device.batch} images, and the file takes "
                f"{self.batch}; both must be the same",
                "give the number of images once",
            )

    @property
    def address(self) -> Address:
        """Return the machine and the device, whose batch is the number of images with which files are measured."""
        found = parse_address(self.device)
        if not isinstance(self.batch, int):
            return found
        return attrs.evolve(found, device=attrs.evolve(found.device, batch=self.batch))

    @property
    def fixed_batch(self) -> int | None:
        """Return the number of images that a file takes at a time; None if it takes any number."""
        return None if self.batch == DYNAMIC else self.address.device.batch
