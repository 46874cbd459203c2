"""Quantization-aware fine-tuning: training of a network while it computes with the roundings of its int8 graph.

The weights stay in fp32. In each step they are folded with their batch normalization, whose statistics are fixed, and
rounded as ONNX Runtime rounds them: symmetrically, with one scale for each output channel. Activations are rounded in
ranges that are fixed too, at the places where the int8 graph rounds them. The gradient passes through a rounding
unchanged, and is 0 where a value was clipped (Jacob et al., arXiv 1712.05877).
"""

from collections.abc import Callable, Collection, Mapping

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.func import functional_call

from nas.data.augment import Scaling
from nas.data.base import ImageData
from nas.models.blocks import Classifier, Conv, ConvNorm
from nas.train.loop import OnBatch, TrainingRun
from nas.train.recipes.files import load_recipe
from nas.train.recipes.schema import TrainingRecipe
from nas.train.seeded import epoch_seed, seeded
from nas.weights.base import TrainedNetwork
from nas.weights.normalizations import with_channels

_LEVELS = 255
_WRAPPED = "rounded_layer"
_GATE = ".clipped"  # The ending of the name of the rounded gate of a hard-swish in the int8 graph.
_RATE_SHARE = 0.1  # The weights are trained already, and only have to move by about a rounding step.
LARGEST_WEIGHT, LARGEST_7_BIT_WEIGHT = 127, 64


@frozen
class Roundings:
    """Say what the int8 graph of a network rounds to 8 bits.

    Attributes:
        ranges: Smallest and largest value of each rounded activation, by the name of the node that computes it, such
            as "stages.2.0.depthwise_act", or "input".
        layers: Names of the convolutions and linear layers with rounded weights.
        largest_weight: Largest magnitude of a rounded weight: 127, or 64 for weights of 7 bits.
    """

    ranges: Mapping[str, tuple[float, float]]
    layers: Collection[str]
    largest_weight: int = LARGEST_WEIGHT


class RoundedOutput:
    """Round the output of a module to 256 values from `low` to `high`, one of which is 0; this is a forward hook."""

    def __init__(self, low: float, high: float) -> None:
        low, high = min(low, 0.0), max(high, 0.0)
        # In fp32, as the scale is stored in the graph.
        self.scale = float(torch.tensor((high - low) / _LEVELS or 1.0, dtype=torch.float32))
        self.zero_point = round(-low / self.scale)

    def __call__(self, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        """Return the rounded values."""
        return self.rounded(output)

    def rounded(self, values: Tensor) -> Tensor:
        """Return the rounded values of a tensor of any shape."""
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, 0, _LEVELS)


def rounded_weight(weight: Tensor, largest: int) -> Tensor:
    """Return a weight `(out, ...)` whose channels have whole multiples of one scale each, at most `largest` of them."""
    scale = weight.detach().flatten(1).abs().amax(1) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -largest, largest)


class RoundedLayer(nn.Module):
    """Compute a layer with folded batch normalization and rounded weights.

    Args:
        layer: The convolution with or without batch normalization, or the linear layer.
        largest_weight: Largest magnitude of a rounded weight; None rounds no weight.
    """

    def __init__(self, layer: nn.Module, largest_weight: int | None) -> None:
        super().__init__()
        self.add_module(_WRAPPED, layer)
        self.largest_weight = largest_weight

    def forward(self, values: Tensor) -> Tensor:
        """Return the output of the layer, which has the shape of the layer's own output."""
        layer = self.get_submodule(_WRAPPED)
        if not isinstance(layer, ConvNorm):
            computed: Tensor = functional_call(layer, {"weight": self._rounded(layer.weight)}, (values,))  # type: ignore[arg-type]
            return computed
        norm = layer.norm
        assert norm.running_var is not None and norm.running_mean is not None  # noqa: S101, PT018 -- always kept
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self._rounded(layer.conv.weight * factor[:, None, None, None])
        convolved: Tensor = functional_call(layer.conv, {"weight": weight}, (values,))
        return convolved + (norm.bias - norm.running_mean * factor)[:, None, None]

    def _rounded(self, weight: Tensor) -> Tensor:
        return weight if self.largest_weight is None else rounded_weight(weight, self.largest_weight)


class RoundedHardSwish(nn.Module):
    """Compute x · min(max(x + 3, 0), 6) / 6 with a rounded second factor."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = RoundedOutput(0.0, 6.0)

    def forward(self, values: Tensor) -> Tensor:
        """Return the values of a tensor of any shape."""
        return values * self.gate.rounded((values + 3).clamp(0, 6)) / 6


def rounded_model(network: TrainedNetwork, roundings: Roundings) -> nn.Sequential:
    """Return the torch module of a network that computes with the roundings of its int8 graph."""
    model = network.module()
    layers = [name for name, module in model.named_modules() if isinstance(module, (ConvNorm, Conv, Classifier))]
    outer = [name for name in layers if not (name.endswith(".conv") and name.removesuffix(".conv") in layers)]
    for name in outer:
        largest = roundings.largest_weight if name in roundings.layers else None
        _replace(model, name, RoundedLayer(model.get_submodule(name), largest))
    for name in [name for name, module in model.named_modules() if isinstance(module, nn.Hardswish)]:
        if f"{name}{_GATE}" in roundings.ranges:
            _replace(model, name, RoundedHardSwish())
    known = dict(model.named_modules())
    for name, limits in roundings.ranges.items():
        if name in known:
            known[name].register_forward_hook(RoundedOutput(*limits))
    if "input" in roundings.ranges:
        first = RoundedOutput(*roundings.ranges["input"])
        model.register_forward_pre_hook(lambda _module, inputs: (first.rounded(inputs[0]),))
    return model


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    path, _, own = name.rpartition(".")
    model.get_submodule(path).register_module(own, module)


def fine_tune_for_int8(
    network: TrainedNetwork,
    data: ImageData,
    roundings: Roundings,
    *,
    epochs: int,
    seed: int = 0,
    device: str = "cpu",
    on_batch: OnBatch | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainedNetwork:
    """Return the network with weights that are trained for the roundings of its int8 graph.

    The recipe is "finetune" with a tenth of its learning rate, and the network itself in fp32 is the teacher.

    Args:
        network: Network with trained weights and a known normalization.
        data: Images with the classes of the network, at its resolution.
        roundings: What the int8 graph rounds.
        epochs: Number of epochs, at least 1.
        seed: Seed of the order of the images and of their augmentation.
        device: Device that trains.
        on_batch: Callback for every step, or None.
        say: Function that is called with a sentence after each epoch.

    Raises:
        EvaluationError: A loss is not finite.
    """
    model = rounded_model(network, roundings).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = network.module().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = TrainingRun(
        data,
        model,
        int8_recipe(),
        epochs,
        device,
        on_batch,
        scaling=_scaling(network, data, device),
        teacher=_frozen(teacher),
    )
    for epoch in range(1, epochs + 1):
        with seeded(epoch_seed(seed, epoch), device) as generator:
            run.epoch(epoch, generator)
        accuracy = f"an accuracy of {run.validate():.2%} on the validation split"
        say(f"int8: epoch {epoch} of {epochs} of the fine-tuning has {accuracy}")
    trained = model if run.average is None else run.average.model
    tensors = {name.replace(f"{_WRAPPED}.", ""): tensor.cpu() for name, tensor in trained.state_dict().items()}
    return attrs.evolve(network, tensors=tensors)


def int8_recipe() -> TrainingRecipe:
    """Return the recipe of the fine-tuning."""
    recipe = load_recipe("finetune")
    return attrs.evolve(recipe, learning_rate=_RATE_SHARE * recipe.learning_rate, head_rate=1.0)


def _scaling(network: TrainedNetwork, data: ImageData, device: str) -> Scaling:
    if network.normalization is None:
        return Scaling(data.mean, data.std, device)
    own = with_channels(network.normalization, data.channels)
    return Scaling(own.mean, own.std, device)


def _frozen(teacher: nn.Module) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        computed: Tensor = teacher(images)
        return computed

    return logits
