"""Predict the class of image files with the ONNX model beside this file.

    python predict.py holiday.jpg
    python predict.py photos/ --int8

Each line has a file, a class and its probability, separated by tabs. A file that cannot be decoded is reported on
standard error, the others are predicted, and the exit status is 1. Of a folder, all image files below it are read.
This file needs the packages onnxruntime, numpy and Pillow, and reads `metrics.json` and `labels.txt` in its folder.
"""

import argparse
import io
import json
import os
import signal
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import onnxruntime
    from PIL import Image, ImageOps
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. Install the packages with `pip install -r requirements.txt`.") from None

OPEN_BATCH = 16  # images that run together where the model leaves their number open
MOST_BYTES = 1 << 30
MODES = {1: "L", 3: "RGB"}
MODES_OF_16_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# Formats that Pillow recognizes although it cannot decode them, or only with a program that can be absent.
NOT_DECODED = frozenset({"AVIF", "BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MCIDAS", "MPEG", "WMF"})
# A broken file makes a decoder raise nearly any error. MemoryError is not among them: it says nothing about the file.
DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Classifier:
    """Hold a loaded model and what its images must look like.

    Attributes:
        session: Session of ONNX Runtime.
        labels: Name of each class, in the order of the logits.
        resolution: Height and width of the images, in pixels.
        channels: Number of channels of the images.
        scaling: Factor and offset of each channel, `(2, C, 1, 1)`; None for a model that normalizes images itself.
    """

    session: Any
    labels: Sequence[str]
    resolution: int
    channels: int
    scaling: Any

    @property
    def batch(self) -> int:
        """Return the number of images that run together."""
        fixed = self.session.get_inputs()[0].shape[0]
        return fixed if isinstance(fixed, int) else OPEN_BATCH

    def probabilities(self, images: Sequence[Any]) -> Any:
        """Return the probability of each class `(N, classes)` for at most `batch` uint8 images `(R, R, C)`."""
        pixels = np.stack(images)
        if self.scaling is not None:
            factor, offset = self.scaling
            pixels = pixels.transpose(0, 3, 1, 2).astype(np.float32) * factor + offset
        model_input = self.session.get_inputs()[0]
        if isinstance(model_input.shape[0], int):
            pixels = np.pad(pixels, [(0, self.batch - len(images)), (0, 0), (0, 0), (0, 0)])
        (logits,) = self.session.run(None, {model_input.name: np.ascontiguousarray(pixels)})
        powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        return (powers / powers.sum(1, keepdims=True))[: len(images)]


def load(folder: Path, precisions: Sequence[str] = ("fp32", "int8")) -> Classifier:
    """Load the model of a folder that has the first of these precisions."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    models = [(model["precision"], model["file"]) for model in metrics["models"] if model["form"] == "onnx"]
    files = [file for precision in precisions for found, file in models if found == precision]
    if not files:
        raise SystemExit(f"This folder has no {' or '.join(precisions)} model.")
    labels = (folder / "labels.txt").read_text(encoding="utf-8").split("\n")[: metrics["outputs"]]
    # In fp64, and rounded to fp32 once, as in training.
    mean, std = (np.array(metrics[name], np.float64).reshape(-1, 1, 1) for name in ("mean", "std"))
    scaling = None if metrics["preprocessing"] else np.stack([1 / (255 * std), -mean / std]).astype(np.float32)
    session = onnxruntime.InferenceSession(str(folder / files[0]), providers=["CPUExecutionProvider"])
    return Classifier(session, labels, metrics["resolution"], metrics["channels"], scaling)


def read_image(path: Path, resolution: int, channels: int) -> Any:
    """Return the uint8 pixels `(R, R, C)` of an image file.

    Raises:
        ValueError: The file is not a regular file, is too large, or is no image that can be decoded.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if not path.is_file() or size > MOST_BYTES:
        raise ValueError(f"is not a file of at most {MOST_BYTES:,} bytes")
    encoded = path.read_bytes()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return decode(image, resolution, channels)
    except DECODER_ERRORS:
        raise ValueError("is not an image that can be decoded, or is damaged") from None


def decode(image: Any, resolution: int, channels: int) -> Any:
    """Return the uint8 pixels `(R, R, C)` of an image: upright, its center as a square, resized to the resolution."""
    # A JPEG decoder halves an image far faster than a resize does. It stops at twice the resolution, so that the resize
    # that follows still averages pixels.
    image.draft(image.mode, (2 * resolution, 2 * resolution))
    ImageOps.exif_transpose(image, in_place=True)
    upright = with_channels(image, channels)
    if upright.size != (resolution, resolution):
        side = min(upright.size)
        left, top = ((length - side) // 2 for length in upright.size)
        square = upright.crop((left, top, left + side, top + side))
        upright = square.resize((resolution, resolution), Image.Resampling.BILINEAR)
    return np.array(upright).reshape(resolution, resolution, channels)


def with_channels(image: Any, channels: int) -> Any:
    """Return an image of 8 bits with so many channels."""
    if channels in MODES:
        return opaque(image).convert(MODES[channels])
    if len(image.getbands()) != channels:
        raise ValueError(f"the network takes {channels} channels")
    return image


def opaque(image: Any) -> Any:
    """Return an image of 8 bits on a white background."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in MODES_OF_16_BITS:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image.convert("RGBA"))
    return image


def find_images(path: Path) -> list[Path]:
    """Return the path of a file itself, or the image files below a folder in the order of their names."""
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(each for each in found if each.is_file() and is_image(each))


def is_image(path: Path) -> bool:
    """Return whether a file has the name or the content of an image that Pillow decodes."""
    form = Image.registered_extensions().get(path.suffix.lower())
    if form in Image.OPEN and form not in NOT_DECODED:
        return True
    try:
        with Image.open(path) as image:
            return image.format not in NOT_DECODED
    except DECODER_ERRORS:
        return False


def shown(text: str | Path) -> str:
    """Return a text in one line and without control characters; bytes that are not UTF-8 become escapes."""
    text = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def predict(classifier: Classifier, paths: Sequence[Path]) -> Iterator[tuple[Path, str, float | None]]:
    """Yield each file with its class and its probability, or with what is wrong with it and None."""
    for start in range(0, len(paths), classifier.batch):
        images, results = [], []
        for path in paths[start : start + classifier.batch]:
            try:
                images.append(read_image(path, classifier.resolution, classifier.channels))
                results.append("")
            except OSError as error:
                results.append(f"cannot be read: {error.strerror or error}")
            except ValueError as error:
                results.append(str(error))
        rows = iter(classifier.probabilities(images) if images else ())
        for path, problem in zip(paths[start:], results, strict=False):
            if problem:
                yield path, problem, None
            else:
                row = next(rows)
                yield path, classifier.labels[int(row.argmax())], float(row.max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict the images of a command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Predict the class of image files.")
    parser.add_argument("images", metavar="IMAGE|FOLDER", nargs="+", type=Path)
    parser.add_argument("--int8", action="store_true", help="use the int8 model of this folder")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal with another encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    precisions = ("int8",) if options.int8 else ("fp32", "int8")
    try:
        classifier = load(Path(__file__).resolve().parent, precisions)
    except Exception as error:  # the errors of ONNX Runtime have no common base class
        raise SystemExit(f"The model cannot be loaded: {error}") from None
    found = [(path, find_images(path)) for path in options.images]
    failed = 0
    for path in [path for path, files in found if not files]:
        failed += report(path, "is a folder without images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an image that can still be decoded
        for path, text, probability in predict(classifier, [file for _, files in found for file in files]):
            if probability is None:
                failed += report(path, text)
            else:
                sys.stdout.write(f"{shown(path)}\t{shown(text)}\t{probability:.4f}\n")
    return 1 if failed else 0


def report(path: Path, problem: str) -> int:
    """Report a file that is left out, and return 1."""
    sys.stderr.write(f"{shown(path)} {problem}; the other images are predicted\n")
    return 1


if __name__ == "__main__":
    # The reader of the output may end first, as `head` does, and a user may press Ctrl-C: neither is an error to trace.
    for name in ("SIGPIPE", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        status = main()
        sys.stdout.flush()
    except OSError as error:  # the output cannot be written; at the end, Python would try to write it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(f"The program ended early: {error}") from None
    sys.exit(status)
