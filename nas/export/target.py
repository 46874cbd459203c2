"""Exported files on their device: logits, latencies and peak memory."""

import hashlib
from collections import OrderedDict
from typing import Any

import attrs
import numpy as np
import onnx
from attrs import field, frozen
from numpy.typing import NDArray

from nas.data.base import Images
from nas.device.connection import Connection
from nas.device.model_file import ModelFile
from nas.device.onnx_check import check_onnx
from nas.device.timing import BLOCKS, Aim, Turns, joined
from nas.export.graph import as_file
from nas.export.inputs import InputForm, generated_images, image_parts

# One session of a file can be a few percent slower than another one, because of where its memory is. The sessions are
# therefore made several times: once for each block of rounds from which the standard error is estimated.
SESSIONS = BLOCKS
AIM = Aim(spread=0.0, seconds=1.0, most=10_000)  # without a spread at which it ends, so that sessions are alike
# How long copies of the weights live while a session is made depends on chance: the peaks of ten processes of one file
# were 26 (six times), 37 (three times) and 44 MB. The smallest of several is nearly always the same.
PROCESSES = 5
# Of the inputs that are made at once: those of all images may not fit into the memory.
MOST_BYTES = 64_000_000
MOST_KNOWN_BYTES = 256_000_000


@frozen(eq=False)
class Target:
    """Run files on a device.

    Logits that are known already are not computed again: the same images choose int8, judge it and give its accuracy.
    Those that were not used for longest are forgotten.

    Attributes:
        connection: Connection to the device.
    """

    connection: Connection
    _known: "OrderedDict[tuple[str, str], NDArray[np.float32]]" = field(factory=OrderedDict, init=False)

    def run(self, model: onnx.ModelProto, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits `(N, classes)` of a model for its inputs of N images.

        Raises:
            DeviceError: The device fails, or rejects the model or the images.
        """
        return self.run_file(as_file(model), inputs)

    def run_file(self, file: ModelFile, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits `(N, classes)` of a file for its inputs; see `run`."""
        count = _images_of_part(inputs[:1].nbytes)
        parts = (inputs[start : start + count] for start in range(0, len(inputs), count))
        return np.concatenate([self._part(file, np.ascontiguousarray(part)) for part in parts])

    def _part(self, file: ModelFile, inputs: NDArray[Any]) -> NDArray[np.float32]:
        key = (file.digest, hashlib.sha256(inputs.data).hexdigest())
        if key not in self._known:
            self._known[key] = self.connection.logits(file, inputs).logits
        self._known.move_to_end(key)
        while sum(each.nbytes for each in self._known.values()) > MOST_KNOWN_BYTES and len(self._known) > 1:
            self._known.popitem(last=False)
        return self._known[key]

    def logits(self, file: ModelFile, form: InputForm, images: Images) -> NDArray[np.float32]:
        """Return the logits `(N, classes)` of a file for images of the network's size.

        Raises:
            DeviceError: The device fails, or rejects the file or the images.
        """
        count = _images_of_part(form.inputs(generated_images(form.network, 1)).nbytes)
        return np.concatenate([self.run_file(file, form.inputs(part)) for part in image_parts(images, count)])

    def peak_bytes(self, file: ModelFile, form: InputForm) -> int | None:
        """Return the peak memory of a file; see `smallest_peak`.

        This also tells whether the device runs the file at all.

        Raises:
            WeightsError: A batch is larger than any that a device runs.
            DeviceError: The device fails, rejects an operator of the file, or has too little memory.
        """
        batch, side = self.connection.device.batch, form.network.arch.resolution
        check_onnx(file.data, size=(side, side), batch=batch)  # Before a huge batch takes the memory of this machine.
        images = generated_images(form.network, batch)
        return smallest_peak(self.connection, file, form.inputs(images))

    def measure(self, files: list[ModelFile]) -> Turns:
        """Return the latencies of files that are measured in turn, in several sessions.

        Raises:
            DeviceError: The device fails, or rejects a file.
        """
        sessions = [self.connection.measure(files, AIM) for _ in range(SESSIONS)]
        # As many rounds of each, so that the blocks of the standard error are the sessions.
        rounds = min(len(turns.rounds_ms) for turns in sessions)
        return joined([attrs.evolve(turns, rounds_ms=turns.rounds_ms[:rounds]) for turns in sessions])


def smallest_peak(connection: Connection, file: ModelFile, inputs: NDArray[Any]) -> int | None:
    """Return the growth of the peak memory of a fresh process that loads a file and runs one batch, in bytes.

    It is the smallest one of several processes, or None if the device does not report it.

    Raises:
        DeviceError: The device fails, rejects an operator of the file, or has too little memory.
    """
    peaks = [connection.logits(file, inputs).peak_bytes for _ in range(PROCESSES)]
    known = [peak for peak in peaks if peak is not None]
    return min(known) if len(known) == PROCESSES else None


def _images_of_part(image_bytes: int) -> int:
    return max(1, MOST_BYTES // max(1, image_bytes))
