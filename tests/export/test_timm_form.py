"""Tests of the form of timm: against the reader of timm's weights, stored names and shapes, and timm itself."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from torch import Tensor, nn

from nas.arch.code import format_text, parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, MlpHead, Norm, PoolHead, Stage
from nas.errors import ArchitectureError
from nas.export.card import model_card
from nas.export.product import ModelRecord, write_product
from nas.export.timm_form import timm_bytes, timm_form, timm_names
from nas.models.build import build_model
from nas.weights.base import TrainedNetwork
from nas.weights.families import candidates
from nas.weights.match import match
from tests.export.products import product_of
from tests.weights.foreign import randomize, read

TIMM = {name.removeprefix("timm:"): tensors for name, tensors in read().items() if name.startswith("timm:")}
BUILT_OTHERWISE = re.compile("resnet.*")


def random_network(arch: Architecture) -> TrainedNetwork:
    module = build_model(arch)
    randomize(module)
    return TrainedNetwork(arch, module.state_dict())


@pytest.mark.parametrize("name", [name for name in TIMM if not BUILT_OTHERWISE.fullmatch(name)])
def test_names_and_shapes_are_those_of_timm(name: str) -> None:
    """The state dictionaries that timm itself wrote, matched to architectures, get their own names back."""
    theirs = TIMM[name]
    found = match(theirs, "timm-tf" if name.startswith("tf_") else "timm")
    words = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = timm_names(found.arch)
    ours = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in found.tensors}
    assert ours == theirs.keys()
    assert all(name.endswith(words) for name in ours)


# From timm's functions `_gen_efficientnet`, `_gen_mnasnet_a1`, `_gen_mobilenet_v2`, `_gen_fbnetc` and
# `_gen_mobilenet_v3`; words that change nothing are left out.
BLOCKS = {
    "efficientnet-b0": [
        "ds_r1_k3_s1_e1_c16_se0.25",
        "ir_r2_k3_s2_e6_c24_se0.25",
        "ir_r2_k5_s2_e6_c40_se0.25",
        "ir_r3_k3_s2_e6_c80_se0.25",
        "ir_r3_k5_s1_e6_c112_se0.25",
        "ir_r4_k5_s2_e6_c192_se0.25",
        "ir_r1_k3_s1_e6_c320_se0.25",
    ],
    "mnasnet-a1": [
        "ds_r1_k3_s1_e1_c16_noskip",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k5_s2_e3_c40_se0.25",
        "ir_r4_k3_s2_e6_c80",
        "ir_r2_k3_s1_e6_c112_se0.25",
        "ir_r3_k5_s2_e6_c160_se0.25",
        "ir_r1_k3_s1_e6_c320",
    ],
    "mobilenetv2": [
        "ds_r1_k3_s1_e1_c16",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k3_s2_e6_c32",
        "ir_r4_k3_s2_e6_c64",
        "ir_r3_k3_s1_e6_c96",
        "ir_r3_k3_s2_e6_c160",
        "ir_r1_k3_s1_e6_c320",
    ],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_strings_are_those_of_timm(name: str) -> None:
    assert [block for stage in timm_form(preset(name))["blocks"] for block in stage] == BLOCKS[name]


@pytest.mark.parametrize("name", ["efficientnet-b0", "mnasnet-a1", "mobilenetv3-small", "fbnet-c"])
def test_the_reader_of_weights_reads_the_file_back(name: str) -> None:
    network = random_network(attrs.evolve(preset(name), padding="symmetric", classes=7))
    found = match(load(timm_bytes(network)), "timm")
    assert found.name == name
    assert found.tensors.keys() == network.tensors.keys()
    assert all(torch.equal(found.tensors[key], tensor) for key, tensor in network.tensors.items())


def test_equal_networks_have_equal_files() -> None:
    first, second = (timm_bytes(random_network(preset("mnasnet-small"))) for _ in range(2))
    assert first == second


LAYER = Stage("mbconv", 16, expansion=3)


def arch_of(*stages: Stage, **values: Any) -> Architecture:
    given = {"stem": ConvStem(16), "head": PoolHead(), "resolution": 32, "classes": 5} | values
    return Architecture(stages=stages, **given)


@pytest.mark.parametrize(
    ("arch", "told"),
    [
        (preset("resnet-18"), "the stem has a max pooling"),
        (arch_of(LAYER, stem=ConvStem(16, stride=1)), "the stem has the stride 1"),
        (arch_of(LAYER, stem=ConvStem(16, activation="linear")), "the stem has the activation linear"),
        (
            arch_of(LAYER, head=ConvHead(32, activation="silu")),
            "the stem has the activation relu and the head silu",
        ),
        (arch_of(LAYER, stem=ConvStem(16, kernel=5), head=MlpHead(32, 32)), "the stem has the kernel 5"),
        (arch_of(LAYER, attrs.evolve(LAYER, skip="pool")), "stages.1.0 has a skip with a pooling"),
        (
            arch_of(LAYER, attrs.evolve(LAYER, channels=24, skip="projection")),
            "stages.1.0 has a skip with a convolution",
        ),
        (arch_of(Stage("basic", 16)), "stages.0.0 has the operator basic"),
        (arch_of(Stage("bottleneck", 16, expansion=2)), "stages.0.0 has the operator bottleneck"),
        (arch_of(Stage("dsconv", 16)), "stages.0.0 has the operator dsconv with a skip"),
        (arch_of(Stage("conv", 16, gate=Gate(0.25))), "stages.0.0 has the operator conv with a gate"),
        (arch_of(Stage("conv", 16, stride=3)), "stages.0.0 has the stride 3"),
        (arch_of(attrs.evolve(LAYER, activation="linear")), "stages.0.0 has the activation linear"),
        (arch_of(Stage("mbconv", 16, expansion=1.25)), "stages.0.0 has 20 channels inside its block"),
        (
            arch_of(attrs.evolve(LAYER, gate=Gate(0.25)), attrs.evolve(LAYER, gate=Gate(0.25, activation="silu"))),
            "stages.1 has a gate with other functions than stages.0",
        ),
        (arch_of(attrs.evolve(LAYER, gate=Gate(0.25, activation="linear"))), "stages.0 has a gate with the activation"),
    ],
)
def test_the_first_part_that_timm_cannot_express_is_named(arch: Architecture, told: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        timm_form(arch)
    assert error.value.problem.startswith(told)
    assert error.value.problem.endswith("which the blocks of timm do not have")
    with pytest.raises(ArchitectureError):
        timm_bytes(random_network(arch.adapted(resolution=32, classes=5)))


@st.composite
def stages(draw: st.DrawFn, gate: tuple[str, str]) -> Stage:
    operator = draw(st.sampled_from(["conv", "dsconv", "mbconv", "inverted", "fused"]))
    expands = operator in ("mbconv", "inverted", "fused")
    squeeze = st.builds(
        Gate,
        ratio=st.sampled_from([0.05, 0.25, 0.3, 1.0]),
        of=st.sampled_from(["input", "expanded"]),
        activation=st.just(gate[0]),
        gate=st.just(gate[1]),
        divisor=st.sampled_from([1, 8]),
    )
    return Stage(
        operator,
        draw(st.sampled_from([3, 8, 16, 20])),
        layers=draw(st.integers(1, 3)),
        kernel=draw(st.sampled_from([1, 3, 5, 7])),
        stride=draw(st.sampled_from([1, 1, 2])),
        expansion=draw(st.sampled_from([1.0, 2.0, 3.0, 4.5])) if expands else 1.0,
        gate=draw(st.none() | squeeze) if operator != "conv" else None,
        skip=draw(st.sampled_from(["identity", "none"])),
        activation=draw(st.sampled_from(["relu", "relu6", "silu", "hard_swish"])),
        divisor=8 if expands else 1,
    )


@st.composite
def expressible(draw: st.DrawFn) -> Architecture:
    gate = draw(st.sampled_from(["relu", "silu"])), draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
    activation = draw(st.sampled_from(["relu", "silu", "hard_swish", "relu6"]))
    heads = [PoolHead(0.2), ConvHead(24, activation=activation), MlpHead(24, 40, activation=activation)]
    head = draw(st.sampled_from(heads))
    arch = arch_of(
        *draw(st.lists(stages(gate), min_size=1, max_size=5)),
        stem=ConvStem(
            12, kernel=3 if isinstance(head, MlpHead) else draw(st.sampled_from([3, 5])), activation=activation
        ),
        head=head,
        in_channels=draw(st.sampled_from([1, 3])),
        padding=draw(st.sampled_from(["same", "symmetric"])),
        norm=draw(st.sampled_from([Norm(), Norm(0.01, 1e-3)])),
    )
    try:
        timm_form(arch)
    except ArchitectureError:
        assume(False)
    return arch


@pytest.fixture(scope="module")
def timm() -> Iterator[Any]:
    """The library, if it is installed; it needs operators that a torchvision for another torch does not declare."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed, and no extra needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = declare_operators()
        yield import_module("timm")
    del library


DECLARE = """
import torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def declare_operators() -> Any:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return library


def rebuilt(form: Mapping[str, Any]) -> nn.Module:
    """The network that timm builds, as the model card says."""
    builder = import_module("timm.models._efficientnet_builder")
    blocks = import_module("timm.models._efficientnet_blocks")
    module, _, name = form["class"].rpartition(".")
    network: nn.Module = getattr(import_module(module), name)(
        builder.decode_arch_def(form["blocks"]),
        norm_layer=partial(nn.BatchNorm2d, **form["norm"]),
        se_layer=partial(blocks.SqueezeExcite, **form["gate"]),
        round_chs_fn=int,
        **form["settings"],
    )
    return network


def assert_same_logits(network: TrainedNetwork, side: int = 37) -> None:
    """An odd side shows the padding; in fp64 nothing but rounding of 1e-16 differs."""
    theirs = rebuilt(json.loads(json.dumps(timm_form(network.arch))))
    theirs.load_state_dict(load(timm_bytes(network)))
    images = torch.randn(2, network.arch.in_channels, side, side, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        found, expected = theirs.double().eval()(images), network.module().double()(images)
    spread = float((expected[0] - expected[1]).abs().max())
    assert spread > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@settings(max_examples=60, deadline=None)
@given(arch=expressible())
def test_timm_rebuilds_random_networks_to_the_same_logits(timm: Any, arch: Architecture) -> None:
    assert timm is not None
    assert_same_logits(random_network(arch))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, arch in candidates() if not name.startswith("resnet")])
def test_timm_rebuilds_published_networks_to_the_same_logits(timm: Any, name: str) -> None:
    assert timm is not None
    if re.fullmatch("efficientnet-b[3-7]|.*lite[2-4]", name):
        pytest.skip("the larger networks have the same blocks")
    arch = dict(candidates())[name]
    assert_same_logits(random_network(arch.adapted(resolution=64, classes=10)), 65)


def test_the_card_rebuilds_the_network(timm: Any, tmp_path: Path) -> None:
    assert timm is not None
    network = random_network(arch_of(LAYER, attrs.evolve(LAYER, gate=Gate(0.25)), head=MlpHead(16, 24)))
    data = timm_bytes(network)
    record = ModelRecord("timm.safetensors", "timm", "fp32", sha256(data).hexdigest(), len(data), 1, 1)
    product = product_of(network.arch, {}, models=(record,), preprocessing=False)
    write_product(product, {"timm.safetensors": data}, tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", model_card(product), re.DOTALL)
    asked = f"{DECLARE}{program}\nprint(model(torch.ones(1, 3, 32, 32)).tolist())"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    expected: Tensor = network.module()(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(torch.tensor(json.loads(found.stdout)), expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_form_belongs_to_the_architecture_of_the_product(tmp_path: Path) -> None:
    arch = parse_text(format_text(arch_of(LAYER)))
    data = timm_bytes(random_network(arch))
    record = ModelRecord("timm.safetensors", "timm", "fp32", sha256(data).hexdigest(), len(data), 1, 1)
    write_product(product_of(arch, {}, models=(record,)), {"timm.safetensors": data}, tmp_path)
    assert json.loads((tmp_path / "timm.json").read_text()) == timm_form(arch)
