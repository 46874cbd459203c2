"""Tests of the variants of graphs: each computes what the standard form computes."""

import numpy as np
import onnx
import onnxruntime
import pytest

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.graph.build import build_graph
from nas.graph.fragment import whole
from nas.graph.variants import STANDARD, VARIANTS

NAMES = ("mnasnet-a1", "mobilenetv3-small", "efficientnet-b0")


@pytest.fixture(name="arch", params=NAMES)
def arch_fixture(request: pytest.FixtureRequest) -> Architecture:
    return preset(request.param).adapted(resolution=32, classes=5)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != STANDARD])
def test_a_variant_has_other_operators_and_the_same_outputs(arch: Architecture, name: str) -> None:
    images = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    graphs = [build_graph(whole(arch), batch=2, operators=VARIANTS[each]) for each in (STANDARD, name)]
    onnx.checker.check_model(graphs[1], full_check=True)
    expected, found = (_run(graph, images) for graph in graphs)
    assert graphs[0].graph.node != graphs[1].graph.node
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_matrix_gates_leave_no_convolution_in_a_gate() -> None:
    graph = build_graph(whole(preset("mnasnet-a1")), operators=VARIANTS["gates by matrix products"]).graph
    gates = [node.op_type for node in graph.node if node.name.endswith(("se_reduce", "se_expand"))]
    assert len(gates) == 2 * 8  # mnasnet-a1 has gates in stages of 3, 2 and 3 layers (arXiv 1807.11626, figure 7)
    assert set(gates) == {"Gemm"}


def _run(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"input": images})[0]
    return found
