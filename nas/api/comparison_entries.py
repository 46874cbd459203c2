"""A network of a comparison with its files, which are kept on disk."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, cast

from attrs import define, field, frozen

from nas.api.comparison_forms import ImageForm
from nas.api.comparison_records import ComparedNetwork
from nas.device.model_file import ModelFile, StoredBytes
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.device.onnx_check import CheckedFile

FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)


@frozen(eq=False)
class Entry:
    """Represent a network of a comparison with its files.

    Attributes:
        network: What is known about it.
        files: Checked ONNX file of each precision.
        form: Form of its images; None where labeled images cannot be given to it.
        why_not: Why labeled images cannot be given to it, as the end of a sentence; "" where they can.
        counted_bytes: Weights and activations in memory at the same time, by precision, as far as they are counted.
        judged: Precisions whose files have trained weights and calibrated ranges, so that their accuracy counts.
    """

    network: ComparedNetwork
    files: "Mapping[str, CheckedFile]" = field(repr=False)
    form: ImageForm | None = None
    why_not: str = "its weights are random"
    counted_bytes: Mapping[str, int] = MappingProxyType({})
    judged: tuple[str, ...] = ()

    def model_file(self, precision: str) -> ModelFile:
        """Return the file of a precision as it is sent to a device."""
        return ModelFile(f"{self.network.name} ({precision})", self.files[precision].data, self.network.resolution)


@define(eq=False)
class Spool:
    """Keep the bytes of files on disk and not in memory: all known networks together have gigabytes.

    The files have no names, so that the operating system frees them however the process ends.
    """

    _kept: list[StoredBytes] = field(factory=list, init=False)

    def keep(self, data: bytes) -> bytes:
        """Return the same bytes, which are read from disk when they are used."""
        with self._writing():
            file = self._new()
            file.write(data)
            file.flush()
            return self._stored(file)

    def quantized(self, kept: object, shape: Sequence[int]) -> bytes:
        """Return the int8 form of a file that is kept here, and keep it too.

        Raises:
            WeightsError: The network cannot be quantized.
        """
        from nas.device.quantize_process import quantize_in_process

        assert isinstance(kept, StoredBytes)  # noqa: S101 -- `keep` has returned it
        with self._writing():
            target = self._new()
            quantize_in_process(kept.file, shape, target)
            return self._stored(target)

    def close(self) -> None:
        """Close all files; what still uses them may go on."""
        for each in self._kept:
            each.file.close()
        self._kept.clear()

    def _new(self) -> IO[bytes]:
        return tempfile.TemporaryFile(prefix="nas-")

    def _stored(self, file: IO[bytes]) -> bytes:
        made = StoredBytes(file)
        self._kept.append(made)
        # An `mmap` is no `bytes`, but has the same length, slices, digest and copy, which is all that readers take.
        return cast(bytes, made)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NasError(
                f"there is no room for the files of the networks: {error.strerror or error}",
                "free some space among the temporary files, set TMPDIR to another folder, or compare fewer networks",
            ) from None
