"""The weights that one network inherits from another, trained one."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.arch.layers import Node, PlacedPart
from nas.arch.spec import Architecture
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.weights.base import check_tensors
from nas.weights.branches import add_gate, begin_as_skip, gate_of, gate_value, gated_channels, scale_branch
from nas.weights.channels import IMAGE, ChannelSets, channel_sets, importance, is_depthwise, select
from nas.weights.exactness import find_reasons
from nas.weights.pairing import Pair, Pairing, pair_nodes, pair_parts
from nas.weights.report import InheritanceReport, NodeReport, Reason
from nas.weights.transfer import Channels, spread_image_channels, transfer

CLASSIFIERS = ("fresh", "slice", "reset")
_RESET = "The classifier is not inherited."
_STEM = "stem.conv.conv.weight"
_FOLDED = "Gates that are removed are replaced by their values for an input of 0."
_FOLDED_MEASURED = "Gates that are removed are replaced by their measured means."
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@frozen(eq=False)
class Inherited:
    """Hold the weights of a network that inherited from another one.

    Attributes:
        tensors: State dictionary of the target network.
        report: What was inherited, and whether the function is the same.
    """

    tensors: Mapping[str, Tensor]
    report: InheritanceReport


def inherit(
    source: Architecture,
    weights: Mapping[str, Tensor],
    target: Architecture,
    *,
    seed: int = 0,
    classifier: str = "fresh",
    gate_means: Mapping[str, Tensor] | None = None,
) -> Inherited:
    """Return weights for a network that are inherited from a network with another architecture.

    Kernels are cropped to their center or padded by zeros, and the most important channels are kept, the same ones in
    all layers of a residual stream. New channels have random weights, and what reads them has zeros, so the function is
    kept and gradients still flow. New layers begin as identities where a skip leads around them. A gate that is added
    begins near 1, and one that is removed is replaced by its mean. Operators that change begin with fresh weights.

    After channels, layers or kernels were removed, the batch-norm statistics are those of another network; see
    `nas.weights.statistics.re_estimate`. The function is pure: torch's global generators do not change.

    Args:
        source: Architecture of the trained network.
        weights: State dictionary of the trained network.
        target: Architecture to make weights for.
        seed: Seed of the fresh weights.
        classifier: "fresh" for a classifier of zeros, or "slice" to inherit the rows of the first classes, where the
            number of classes changes. With an equal number of classes both inherit the classifier, and "reset" gives a
            classifier of zeros, for classes that differ from those of the source.
        gate_means: Mean of each channel of the gates of the source by layer, as `nas.weights.statistics.gate_means`
            measures it. A gate that is removed is replaced by it; without it, by the gate's value for an input of 0.

    Raises:
        WeightsError: The weights do not belong to the source, or `classifier` is not allowed.

    >>> from nas.arch.code import parse_text
    >>> text = "net classes=2;stem conv c8;mbconv r{} e6 c8;head pool".replace(";", chr(10))
    >>> source, target = parse_text(text.format(1)), parse_text(text.format(2))
    >>> inherited = inherit(source, build_model(source).state_dict(), target)
    >>> inherited.report.exact, round(inherited.report.share, 2)
    (True, 0.54)
    """
    if classifier not in CLASSIFIERS:
        raise WeightsError(f"the classifier is {classifier!r}", f"use one of {', '.join(CLASSIFIERS)}")
    check_tensors(source, weights)
    pairing = pair_parts(source, target)
    maker = _Maker(_for_images(weights, source, target), channel_sets(source), source, target, classifier)
    tensors = maker.fresh_tensors(seed)
    nodes = [report for pair in pairing.pairs for report in maker.inherit_part(tensors, pair)]
    notes = [note for pair in pairing.pairs for note in maker.adapt_branch(tensors, pair, gate_means or {})]
    report = InheritanceReport(
        (*nodes, *_dropped_nodes(pairing)),
        (*find_reasons(source, target, pairing), *((Reason(_RESET),) if classifier == "reset" else ())),
        tuple(dict.fromkeys(notes)),
    )
    return Inherited(MappingProxyType(tensors), report)


def _for_images(weights: Mapping[str, Tensor], source: Architecture, target: Architecture) -> Mapping[str, Tensor]:
    if source.in_channels == target.in_channels:
        return weights
    return {**weights, _STEM: spread_image_channels(weights[_STEM], target.in_channels)}


def _dropped_nodes(pairing: Pairing) -> Iterator[NodeReport]:
    for layer in pairing.dropped:
        yield from (NodeReport(f"{layer.name}.{node.name}", "dropped", 0, 0) for node in layer.nodes if node.weights)
    for pair in pairing.pairs:
        if pair.source is not None:
            kept = {node.name for node in pair.target.nodes}
            gone = [node for node in pair.source.nodes if node.weights and node.name not in kept]
            yield from (NodeReport(f"{pair.source.name}.{node.name}", "dropped", 0, 0) for node in gone)


class _Maker:
    """Make the tensors of a target network, part by part."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        sets: ChannelSets,
        source: Architecture,
        target: Architecture,
        classifier: str,
    ) -> None:
        self.weights = weights
        self.sets = sets
        self.target = target
        self.scores = importance(source, weights)
        keeps_equal = classifier == "fresh" and source.classes == target.classes
        self.keeps_classifier = classifier == "slice" or keeps_equal

    def fresh_tensors(self, seed: int) -> dict[str, Tensor]:
        """Return the state dictionary of the target network without inherited weights, of the type of the source's."""
        like = self.weights[_STEM]
        # The initialization of torch's modules takes no generator, so the global one is set and restored.
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            model = build_model(self.target)
        # Large random logits would disturb the inherited weights in the first steps of a training run.
        nn.init.zeros_(model.get_parameter("head.classifier.weight"))
        return {
            name: tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)
            for name, tensor in model.state_dict().items()
        }

    def inherit_part(self, tensors: dict[str, Tensor], pair: Pair) -> Iterator[NodeReport]:
        """Replace the tensors of a part by those that it inherits, and yield a report for each of its nodes."""
        sources = pair_nodes(pair)
        for node in pair.target.nodes:
            old = sources.get(node.name)
            if node.name == "classifier" and not self.keeps_classifier:
                old = None
            if node.weights:
                yield self._inherit_node(tensors, pair, node, old)

    def _inherit_node(self, tensors: dict[str, Tensor], pair: Pair, node: Node, old: Node | None) -> NodeReport:
        name, counts = f"{pair.target.name}.{node.name}", [0, 0]
        for key in [key for key in tensors if key.startswith(f"{name}.")]:
            ending, copied = key.removeprefix(name), 0
            if old is not None and pair.source is not None:
                before = self.weights[f"{pair.source.name}.{old.name}{ending}"]
                tensors[key], copied = transfer(before, tensors[key], self._channels(pair.source, old, node))
            if not ending.endswith(_STATISTICS):
                counts = [counts[0] + tensors[key].numel(), counts[1] + copied]
        return NodeReport(name, _outcome(old, node), *counts)

    def _channels(self, placed: PlacedPart, old: Node, new: Node) -> Channels:
        name = f"{placed.name}.{old.name}"
        rows = self._select(self.sets.writes[name], old.shape.channels, new.shape.channels)
        if is_depthwise(new):
            return Channels(rows, torch.arange(1))
        if self.sets.reads[name] == IMAGE:
            return Channels(rows, torch.arange(new.in_channels))
        return Channels(rows, self._select(self.sets.reads[name], old.in_channels, new.in_channels))

    def _select(self, channel_set: str, old: int, new: int) -> Tensor:
        return select(self.scores.get(channel_set), old, new)

    def adapt_branch(self, tensors: dict[str, Tensor], pair: Pair, gate_means: Mapping[str, Tensor]) -> Iterator[str]:
        """Let a new branch begin as its skip, and make up for a gate that comes or goes; yield notes for the report."""
        if pair.source is None or not pair.is_same_operator:
            begin_as_skip(tensors, pair.target)
            return
        old, new = gate_of(pair.source), gate_of(pair.target)
        if new and not old:
            add_gate(tensors, pair.target, new)
        if old and not new:
            measured = gate_means.get(pair.source.name)
            bias = self.weights[f"{pair.source.name}.se_expand.bias"]
            factors = gate_value(old, bias) if measured is None else measured.to(bias)
            self._fold_gate(tensors, pair.source, pair.target, factors)
            yield _FOLDED if measured is None else _FOLDED_MEASURED

    def _fold_gate(self, tensors: dict[str, Tensor], source: PlacedPart, target: PlacedPart, factors: Tensor) -> None:
        """Multiply the channels that the gate of the source scaled by its factors, in place."""
        channel_set = self.sets.writes[f"{source.name}.se_scale"]
        index = self._select(channel_set, len(factors), gated_channels(target))
        scale_branch(tensors, target, torch.where(index < 0, 1.0, factors.flatten()[index]))


def _outcome(old: Node | None, new: Node) -> str:
    if old is None:
        return "fresh"
    sizes = [(one.kernel, one.in_channels, one.shape.channels) for one in (old, new)]
    if any(before > after for before, after in zip(*sizes, strict=True)):
        return "cropped"
    return "inherited" if sizes[0] == sizes[1] else "grown"
