"""Small products for tests: random networks, with made-up measurements where a test needs some."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import attrs
import numpy as np
import onnx

from nas.arch.code import format_text, parse_text
from nas.arch.layers import walk
from nas.arch.spec import Architecture
from nas.device.machine import Machine
from nas.device.spec import Device
from nas.device.timing import Timing, Turns
from nas.export.product import Accuracy, Baseline, Latency, ModelRecord, Product
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.preprocessing import with_preprocessing
from nas.graph.weights import random_weights

TEXT = """net channels={} resolution={} classes={} padding=same bn=0.1/1e-05 drop_path=0 act=relu
stem conv k3 s2 c8
mbconv r1 k3 s2 e2 c8
head pool dropout=0"""
MACHINE = Machine("CPU 9/8/7", "avx2", 2, "", "Linux x86_64", "1.32.0")
TIMING = Timing(2.0, 0.01, 1.9, 2.1, 2.5, 100)
REFERENCE = Timing(1.0, 0.0, 0.9, 1.0, 1.2, 100)


def architecture(channels: int = 3, resolution: int = 16, classes: int = 3) -> Architecture:
    return parse_text(TEXT.format(channels, resolution, classes))


def model_of(
    arch: Architecture, *, preprocessing: bool = True, batch: int | None = None, seed: int = 0
) -> onnx.ModelProto:
    """A model with random weights, whose batch can be open."""
    network = build_graph(whole(arch), random_weights(walk(arch), seed), batch=batch)
    half = [0.5] * arch.in_channels
    return with_preprocessing(network, half, half) if preprocessing else network


def record(file: str, data: bytes, **values: Any) -> ModelRecord:
    given: dict[str, Any] = {"form": "onnx", "precision": "fp32", "params": 100, "macs": 1000} | values
    return ModelRecord(file=file, sha256=sha256(data).hexdigest(), size_bytes=len(data), **given)


def product_of(arch: Architecture, files: Mapping[str, bytes], **values: Any) -> Product:
    half = (0.5,) * arch.in_channels
    classes = tuple(f"class {i}" for i in range(arch.classes))
    given: dict[str, Any] = {
        "classes": classes,
        "batch": None,
        "preprocessing": True,
        "models": tuple(record(name, data) for name, data in files.items()),
    } | values
    return Product(
        name="small",
        architecture=format_text(arch),
        mean=half,
        std=half,
        resolution=arch.resolution,
        channels=arch.in_channels,
        outputs=arch.classes,
        **given,
    )


def small_product(
    *, channels: int = 3, preprocessing: bool = True, batch: int | None = None, **values: Any
) -> tuple[Product, dict[str, bytes]]:
    """A product without measurements, and its files."""
    arch = architecture(channels)
    data = model_of(arch, preprocessing=preprocessing, batch=batch).SerializeToString()
    files = {"model.onnx": data}
    return product_of(arch, files, preprocessing=preprocessing, batch=batch, **values), files


def accuracy(right: int, images: int = 30, classes: int = 3, digest: str = "0" * 64) -> Accuracy:
    labels = np.arange(images) % classes
    return Accuracy.of(np.arange(images) < right, labels, classes, data="photos", split="test", images_digest=digest)


def latency(ratio: float = 2.0) -> Latency:
    turns = Turns((Timing(ratio, 0.01, 1.9, 2.1, 2.5, 100),), REFERENCE, 0.02, 12)
    return Latency.of(turns, 0, Device(), MACHINE)


def measured_product(**values: Any) -> tuple[Product, dict[str, bytes]]:
    """A product with two ONNX files, all kinds of records and a baseline."""
    arch = architecture()
    data = {"model.onnx": model_of(arch).SerializeToString(), "model_int8.onnx": model_of(arch).SerializeToString()}
    first, second = (record(name, each) for name, each in data.items())
    models = (
        attrs.evolve(
            first, accuracy=accuracy(27), latency=latency(), peak_bytes=10**7, agreement={"largest": 1e-6}, graph="17"
        ),
        attrs.evolve(second, precision="int8", accuracy=accuracy(26), latency=latency(1.0)),
    )
    baseline = Baseline("mobilenetv2", 300, 3000, None, accuracy(20), latency(4.0), None)
    given: dict[str, Any] = {
        "baseline": baseline,
        "int8": {"loss": 0.1},
        "provenance": {"source": "test"},
        "notes": ("a note",),
    }
    return product_of(arch, data, **{"models": models, **given, **values}), data
