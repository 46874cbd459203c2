"""Small networks with images that they classify, for tests of int8 graphs."""

import numpy as np
import onnx
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.device.run_model import run_model
from nas.export.quantization.graph import Range, layers_of
from nas.export.quantization.ranges import observe, ranges_by
from nas.export.quantization.records import Labeled, QuantizationInputs
from nas.graph.build import build_graph
from nas.graph.fragment import whole


def architecture(activation: str = "relu", gate: str = "") -> Architecture:
    """Return a network with 24 channels in its depthwise convolutions, which are not a multiple of 16."""
    lines = (
        f"net classes=5 resolution=16 act={activation}",
        "stem conv c8",
        f"mbconv r2 e3 c8 {gate}".strip(),
        "head conv c32",
    )
    return parse_text("\n".join(lines))


def random_images(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return images `(count, 3, 16, 16)` with values around 0."""
    return np.random.default_rng(seed).normal(size=(count, 3, 16, 16)).astype(np.float32)


@frozen(eq=False)
class Problem:
    """A graph, images, and as labels the answers of the graph in fp32."""

    graph: onnx.ModelProto
    images: NDArray[np.float32]

    @property
    def logits(self) -> NDArray[np.float32]:
        return run_model(self.graph, self.images)

    @property
    def nodes(self) -> set[str]:
        """Return the names of all nodes that can be quantized."""
        return {name for names in layers_of(self.graph).values() for name in names}

    @property
    def ranges(self) -> dict[str, Range]:
        return ranges_by("minmax", observe(self.graph, self.images))

    def inputs(self) -> QuantizationInputs:
        """Return a third of the images for each purpose."""
        labels = self.logits.argmax(1)
        third = len(self.images) // 3
        choosing, judging = (slice(third, 2 * third), slice(2 * third, None))
        parts = (Labeled(self.images[part], labels[part]) for part in (choosing, judging))
        return QuantizationInputs(self.images[:third], *parts)


def problem(activation: str = "relu", gate: str = "", images: int = 90) -> Problem:
    """Return a network with random weights and random images."""
    return Problem(build_graph(whole(architecture(activation, gate))), random_images(images))
