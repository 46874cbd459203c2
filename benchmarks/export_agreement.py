"""Compare an exported network with the trained one on every image of a source, and time its preprocessing.

    python benchmarks/export_agreement.py lite0-trained/ product/ --data "$NAS_TEST_DATA/hand_digits" --files
    python benchmarks/export_agreement.py lite0-trained/ product/ --data "$NAS_TEST_DATA/cifar10" --splits val test

`nas export` makes the first comparison itself, on the validation split. This benchmark makes it on all splits. With
`--files`, it also compares `predict.py` of the product, and the graph that resizes each file, with `nas predict`.
The last lines give the time of the preprocessing: the file with it and without it in turn, on images of the network's
size and of 640 x 480 pixels.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from PIL import Image, ImageOps

import nas
from nas.api.evaluation import predictions
from nas.api.export_check import reference_logits
from nas.data.image_files import find_image_files
from nas.data.load import load_split
from nas.device.run_model import run_model
from nas.device.session import load_network
from nas.device.spec import Device
from nas.device.timing import Aim, time_in_turn
from nas.export.agreement import compare_logits
from nas.export.graph import export_graph
from nas.export.inputs import InputForm
from nas.export.predict import load, predict
from nas.export.product import read_product

FP32_FILE = "model.onnx"
CAMERA = (480, 640)  # height and width of an image, in pixels


def main() -> None:
    """Make the comparisons, and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="trained network, as nas export takes it")
    parser.add_argument("product", type=Path, help="folder that nas export wrote of it")
    parser.add_argument("--data", required=True, help="source of images")
    parser.add_argument("--splits", nargs="+", default=["train", "val", "test"], help="splits of the source")
    parser.add_argument("--files", action="store_true", help="compare the image files of the folder too")
    given = parser.parse_args()
    loaded, side = nas.load_weights(given.checkpoint), read_product(given.product).resolution
    network = attrs.evolve(loaded, arch=loaded.arch.adapted(resolution=side, classes=loaded.arch.classes))
    model = (given.product / FP32_FILE).read_bytes()
    found: dict[str, Any] = {"splits": {name: _of_split(network, model, given.data, name) for name in given.splits}}
    if given.files:
        files = find_image_files([Path(given.data)])
        found["files"] = _of_files(given.checkpoint, given.product, model, files)
    found["preprocessing"] = _times(network)
    print(json.dumps(found, indent=1))


def _of_split(network: nas.TrainedNetwork, model: bytes, data: str, name: str) -> dict[str, Any]:
    arch = network.arch
    images = load_split(data, name, resolution=arch.resolution, channels=arch.in_channels).images
    logits = run_model(model, InputForm(network, preprocess=True).inputs(images))
    agreement = compare_logits(reference_logits(network, images), logits)
    return {"images": agreement.images, "largest": agreement.largest, "changed": len(agreement.changed)}


def _of_files(checkpoint: str, product: Path, model: bytes, files: list[Path]) -> dict[str, Any]:
    """Return how many files `predict.py`, and the graph that resizes them, classify differently than `nas predict`."""
    expected = [each.classes[0] for each in predictions(checkpoint, files)]
    classifier = load(product, ("fp32",))
    by_script = [label for _, label, _ in predict(classifier, files)]
    logits = [run_model(model, np.asarray(_upright(path))[None])[0] for path in files]
    by_graph = [classifier.labels[int(each.argmax())] for each in logits]
    margins = [_margin(each) for each, own, other in zip(logits, by_graph, expected, strict=True) if own != other]
    return {
        "files": len(files),
        "changed_by_predict.py": sum(own != other for own, other in zip(by_script, expected, strict=True)),
        "changed_by_resizing_in_the_graph": len(margins),
        "their_margins": margins,
    }


def _upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _margin(logits: Any) -> float:
    """Return the difference of the two largest logits as a share of the largest magnitude."""
    low, high = np.sort(logits)[-2:]
    return float((high - low) / np.abs(logits).max())


def _times(network: nas.TrainedNetwork) -> dict[str, Any]:
    arch = network.arch
    bare, whole = (export_graph(network, 1, preprocessing=each) for each in (False, True))
    sizes = ((arch.resolution, arch.resolution), CAMERA)
    reference = load_network(bare, Device())
    runs = [load_network(whole, Device(), (1, *size, arch.in_channels)) for size in sizes]
    turns = time_in_turn(reference, runs, Aim(spread=0.001, seconds=10.0, most=2000))
    return {
        "without_ms": turns.reference.median_ms,
        **{
            f"ratio_with_images_of_{height}x{width}": [timing.ratio, timing.spread]
            for (height, width), timing in zip(sizes, turns.timings, strict=True)
        },
    }


if __name__ == "__main__":
    main()
