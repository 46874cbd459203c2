"""The form of timm: block strings and tensors from which timm rebuilds a network that computes the same logits.

The function `decode_arch_def` of timm reads the block strings, such as `ir_r2_k3_s2_e6_c24_se0.25`, and its classes
`EfficientNet` and `MobileNetV3` build the network. `nas.weights.match` reads the tensors that are written here.
"""

from collections.abc import Mapping
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from nas.arch.layers import Node, PlacedPart, walk
from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, ConvHead, ConvStem, MlpHead, PoolHead, Stage
from nas.errors import ArchitectureError

if TYPE_CHECKING:
    from nas.weights.base import TrainedNetwork

TENSORS_FILE, FORM_FILE = "timm.safetensors", "timm.json"
EFFICIENTNET, MOBILENETV3 = "timm.models.efficientnet.EfficientNet", "timm.models.mobilenetv3.MobileNetV3"
OUTPUT_STRIDE = 32  # where timm turns further strides into dilation
_ACTIVATIONS: Mapping[str, str] = MappingProxyType({"relu": "re", "relu6": "r6", "silu": "sw", "hard_swish": "hs"})


class _Kind:
    """Hold the names of one kind of timm's blocks.

    Args:
        word: Word at the beginning of a block string.
        modules: Names of the convolution and of its batch normalization, by the name of our node.
    """

    def __init__(self, word: str, **modules: tuple[str, str]) -> None:
        self.word, self.modules = word, MappingProxyType(modules)


# The kind of a block, by the names of our nodes that have weights, without gates.
_KINDS: Mapping[tuple[str, ...], _Kind] = MappingProxyType(
    {
        tuple(kind.modules): kind
        for kind in (
            _Kind("cn", conv=("conv", "bn1")),
            _Kind("ds", depthwise=("conv_dw", "bn1"), project=("conv_pw", "bn2")),
            _Kind("dsa", depthwise=("conv_dw", "bn1"), pointwise=("conv_pw", "bn2")),
            _Kind("ir", expand=("conv_pw", "bn1"), depthwise=("conv_dw", "bn2"), project=("conv_pwl", "bn3")),
            _Kind("er", expand=("conv_exp", "bn1"), project=("conv_pwl", "bn2")),
        )
    }
)
_GATE_MODULES: Mapping[str, str] = MappingProxyType({"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"})


def timm_form(arch: Architecture) -> dict[str, Any]:
    """Return what timm needs to build a network, as plain JSON values.

    Raises:
        ArchitectureError: timm cannot express the network; the message names the first part that it cannot express.

    >>> from nas.arch.presets import preset
    >>> form = timm_form(preset("efficientnet-b0"))
    >>> form["blocks"][:2]
    [['ds_r1_k3_s1_e1_c16_se0.25'], ['ir_r2_k3_s2_e6_c24_se0.25']]
    >>> form["settings"]["stem_size"], form["settings"]["pad_type"]
    (32, 'same')
    """
    has_mlp = isinstance(arch.head, MlpHead)
    settings = {
        "num_classes": arch.classes,
        "in_chans": arch.in_channels,
        "num_features": _features(arch),
        "pad_type": "same" if arch.padding == "same" else "",
        "act_layer": _model_activation(arch),
        "drop_rate": arch.head.dropout,
        "drop_path_rate": arch.drop_path,
        **_stem(arch),
    }
    return {
        "class": MOBILENETV3 if has_mlp else EFFICIENTNET,
        "blocks": _blocks(arch),
        "settings": settings if has_mlp else {**settings, "output_stride": max(OUTPUT_STRIDE, _total_stride(arch))},
        "norm": {"momentum": arch.norm.momentum, "eps": arch.norm.eps},
        "gate": _gate(arch),
    }


def _refuse(what: str) -> NoReturn:
    raise ArchitectureError(
        f"{what}, which the blocks of timm do not have", "export another form, such as --format torch or --format onnx"
    )


def _features(arch: Architecture) -> int:
    head = arch.head
    if isinstance(head, PoolHead):
        return 0
    return head.features if isinstance(head, MlpHead) else head.channels


def _model_activation(arch: Architecture) -> str:
    """Return the activation of the stem, which timm also uses in the head."""
    activation = arch.stem.activation
    if activation not in _ACTIVATIONS:
        _refuse(f"the stem has the activation {activation}")
    if isinstance(arch.head, ConvHead | MlpHead) and arch.head.activation != activation:
        _refuse(f"the stem has the activation {activation} and the head {arch.head.activation}")
    return activation


def _stem(arch: Architecture) -> dict[str, int]:
    stem, has_mlp = arch.stem, isinstance(arch.head, MlpHead)
    if not isinstance(stem, ConvStem):
        _refuse("the stem has a max pooling")
    if stem.stride != 2:
        _refuse(f"the stem has the stride {stem.stride}")
    if has_mlp and stem.kernel != 3:
        _refuse(f"the stem has the kernel {stem.kernel} and the head has a further linear layer")
    if has_mlp and _total_stride(arch) > OUTPUT_STRIDE:
        _refuse(f"the strides multiply to {_total_stride(arch)} and the head has a further linear layer")
    return {"stem_size": stem.channels} | ({} if has_mlp else {"stem_kernel_size": stem.kernel})


def _total_stride(arch: Architecture) -> int:
    total = arch.stem.stride
    for stage in arch.stages:
        total *= stage.stride
    return total


def _gate(arch: Architecture) -> dict[str, str]:
    """Return the functions of the gates, which timm has in common for the whole network."""
    gates = [(f"stages.{i}", stage.gate) for i, stage in enumerate(arch.stages) if stage.gate]
    for place, gate in gates:
        if gate.activation not in _ACTIVATIONS:
            _refuse(f"{place} has a gate with the activation {gate.activation}")
        if (gate.activation, gate.gate) != (gates[0][1].activation, gates[0][1].gate):
            _refuse(f"{place} has a gate with other functions than {gates[0][0]}")
    return {"force_act_layer": gates[0][1].activation, "gate_layer": gates[0][1].gate} if gates else {}


def _blocks(arch: Architecture) -> list[list[str]]:
    """Return the block strings of each stage."""
    layers = [placed for placed in walk(arch) if isinstance(placed.part, Stage)]
    stages = []
    for stage in arch.stages:
        words = [_words(placed, stage, arch) for placed in layers[: stage.layers]]
        stages.append([f"{kind}_r{len(list(same))}_{rest}" for (kind, rest), same in groupby(words)])
        del layers[: stage.layers]
    if isinstance(arch.head, MlpHead):
        # timm's MobileNetV3 has the convolution of the head as its last block.
        stages.append([f"cn_r1_k1_s1_c{arch.head.channels}"])
    return stages


def _words(placed: PlacedPart, stage: Stage, arch: Architecture) -> tuple[str, str]:
    """Return the kind of a layer, and the words of its block string except the number of repeats.

    timm itself gives all layers of a stage but the first the stride 1, so that they have equal words.
    """
    name, kind = placed.name, _kind(placed)
    if stage.stride > 2:
        _refuse(f"{name} has the stride {stage.stride}")
    if stage.activation not in _ACTIVATIONS:
        _refuse(f"{name} has the activation {stage.activation}")
    nodes = {node.name: node for node in placed.nodes}
    inside = nodes["expand"].shape.channels if "expand" in nodes else placed.shape.channels
    ratio = _expansion(placed, stage, inside) if "expand" in nodes else 1.0
    words = [f"k{stage.kernel}", f"s{stage.stride}"]
    words += [] if kind.word == "cn" else [f"e{_number(ratio)}"]
    words.append(f"c{stage.channels}")
    words += [] if stage.activation == arch.stem.activation else [f"n{_ACTIVATIONS[stage.activation]}"]
    if "se_reduce" in nodes:
        # The ratios of MobileNetV3 refer to the channels inside a block, and others to its input.
        width, expansion = nodes["se_reduce"].shape.channels, 1.0 if isinstance(arch.head, MlpHead) else ratio
        words.append(f"se{_number(_gate_ratio(stage, width, inside, expansion))}")
    return kind.word, "_".join([*words, *_skip(placed, stage, kind)])


def _kind(placed: PlacedPart) -> _Kind:
    names = tuple(node.name for node in placed.nodes if node.weights and not node.name.startswith("se_"))
    computed = next((node.name for node in placed.nodes if node.name.startswith("skip_")), None)
    if computed is not None:
        _refuse(f"{placed.name} has a skip with a {'convolution' if computed == 'skip_conv' else 'pooling'}")
    kind = _KINDS.get(names)
    has_gate = any(node.name == "se_reduce" for node in placed.nodes)
    if kind is None or (kind.word == "cn" and has_gate):
        operator = getattr(placed.part, "operator", "")
        _refuse(f"{placed.name} has the operator {operator}{' with a gate' if kind else ''}")
    return kind


def _skip(placed: PlacedPart, stage: Stage, kind: _Kind) -> list[str]:
    """Return the word about the identity that is added."""
    adds = any(node.op == "add" for node in placed.nodes)
    # Where no identity is possible, the word has no effect, and equal words join the layers of a stage.
    is_possible = getattr(placed.part, "stride", 0) == 1 and stage.channels == placed.shape.channels
    wants = adds if is_possible else stage.skip != "none"
    if kind.word == "dsa":
        if adds:
            _refuse(f"{placed.name} has the operator dsconv with a skip")
        return []
    if kind.word == "cn":
        return ["skip"] if wants else []
    return [] if wants else ["noskip"]


def _expansion(placed: PlacedPart, stage: Stage, inside: int) -> float:
    """Return the expansion from which timm computes the number of channels inside a block."""
    channels = placed.shape.channels
    for ratio in (stage.expansion, inside / channels):
        if round_channels(channels, ratio) == inside:
            return ratio
    _refuse(f"{placed.name} has {inside} channels inside its block and not a multiple of 8")


def _gate_ratio(stage: Stage, width: int, inside: int, expansion: float) -> float:
    """Return the ratio from which timm computes the squeezed width of a gate."""
    assert stage.gate is not None  # noqa: S101 -- the layer has the nodes of one
    stated = stage.gate.ratio
    return stated if round(inside * (stated / expansion)) == width else width * expansion / inside


def _number(value: float) -> str:
    return f"{int(value)}" if value == int(value) else repr(value)


def timm_names(arch: Architecture) -> dict[str, str]:
    """Return timm's name of each module with weights by our name, such as "blocks.0.0.bn1" for its normalization.

    >>> from nas.arch.presets import preset
    >>> names = timm_names(preset("efficientnet-b0"))
    >>> names["stages.1.0.expand.conv"], names["stages.1.0.expand.norm"], names["head.classifier"]
    ('blocks.1.0.conv_pw', 'blocks.1.0.bn1', 'classifier')
    """
    names: dict[str, str] = {}
    for placed in walk(arch):
        for node in placed.nodes:
            if node.weights:
                names |= _module_names(arch, placed, node)
    return names


def _module_names(arch: Architecture, placed: PlacedPart, node: Node) -> dict[str, str]:
    place = f"{placed.name}.{node.name}"
    if isinstance(placed.part, Stage):
        block = f"blocks.{placed.name.removeprefix('stages.')}."
        if node.name in _GATE_MODULES:
            return {place: f"{block}{_GATE_MODULES[node.name]}"}
        conv, norm = _kind(placed).modules[node.name]
        return {f"{place}.conv": f"{block}{conv}", f"{place}.norm": f"{block}{norm}"}
    is_mlp, in_block = isinstance(arch.head, MlpHead), f"blocks.{len(arch.stages)}.0."
    others = {
        "stem.conv": ("conv_stem", "bn1"),
        "head.conv": (f"{in_block}conv", f"{in_block}bn1") if is_mlp else ("conv_head", "bn2"),
        "head.features": ("conv_head",),
        "head.classifier": ("classifier",),
    }
    parts = (f"{place}.conv", f"{place}.norm") if node.norm else (place,)
    return dict(zip(parts, others[place], strict=True))


def timm_bytes(network: "TrainedNetwork") -> bytes:
    """Return the safetensors file with the tensors of a network under timm's names.

    Raises:
        ArchitectureError: timm cannot express the network.
        ModuleNotFoundError: The package safetensors is not installed.
    """
    from safetensors.torch import save

    timm_form(network.arch)
    names = timm_names(network.arch)
    tensors = {}
    for name, tensor in network.tensors.items():
        module, _, word = name.rpartition(".")
        # The linear layer before the classifier is a 1x1 convolution of the pooled image in timm.
        is_conv = module == "head.features" and word == "weight"
        shaped = tensor.reshape(*tensor.shape, 1, 1) if is_conv else tensor
        tensors[f"{names[module]}.{word}"] = shaped.detach().cpu().contiguous()
    # Other programs read this key to learn that the tensors are those of torch.
    return bytes(save(tensors, {"format": "pt"}))
