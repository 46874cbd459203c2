"""What a network inherited from another one, node by node."""

from collections import Counter

from attrs import frozen

OUTCOMES = ("inherited", "cropped", "grown", "fresh", "dropped")
# How many reasons `describe` prints.
_MOST_REASONS = 12


@frozen
class NodeReport:
    """Hold what happened to the weights of one node.

    Attributes:
        name: Full name of the node in the target network, such as "stages.0.1.expand"; for a dropped node its name in
            the source network.
        outcome: "inherited" (unchanged), "cropped" (channels or a part of the kernel are left out), "grown" (channels
            or zeros around the kernel are added, nothing is left out), "fresh" (not inherited) or "dropped" (a node of
            the source network without a counterpart).
        elements: Number of parameters of the node in the target network; 0 for a dropped node.
        inherited: Number of these parameters that come from the source network.
    """

    name: str
    outcome: str
    elements: int
    inherited: int


@frozen
class Reason:
    """Hold one reason why the target network does not compute the function of the source network.

    Attributes:
        text: Sentence that states the reason.
        places: Names of the parts of the network that it applies to; empty for the whole network.
    """

    text: str
    places: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f" and {len(self.places) - 1} more" if len(self.places) > 1 else ""
        return f"{self.text.removesuffix('.')} ({self.places[0]}{more})." if self.places else self.text


@frozen
class InheritanceReport:
    """Hold what a network inherited from another one.

    Attributes:
        nodes: What happened to each node with weights, and the dropped nodes of the source network at the end.
        reasons: Reasons why the function differs from the one of the source network.
        notes: Other sentences, such as the source of the mean of a gate that was removed.
    """

    nodes: tuple[NodeReport, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Return whether the target network computes the function of the source network in evaluation mode."""
        return not self.reasons

    @property
    def elements(self) -> int:
        """Return the number of parameters of the target network."""
        return sum(node.elements for node in self.nodes)

    @property
    def share(self) -> float:
        """Return the share of the target network's parameters that come from the source network."""
        return sum(node.inherited for node in self.nodes) / self.elements

    def describe(self) -> str:
        """Return the report in a few lines.

        >>> print(InheritanceReport((NodeReport("stem.conv", "inherited", 200, 200),), ()).describe())
        100.0% of the 200 parameters are inherited (nodes: 1 inherited).
        The network computes the same function as its source.
        """
        counts = Counter(node.outcome for node in self.nodes)
        nodes = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if counts[outcome])
        first = f"{self.share:.1%} of the {self.elements:,} parameters are inherited (nodes: {nodes})."
        return "\n".join([first, *self._function(), *self.notes])

    def _function(self) -> list[str]:
        if self.exact:
            return ["The network computes the same function as its source."]
        left_out = len(self.reasons) - _MOST_REASONS
        more = [f"- and {left_out} more reasons"] if left_out > 0 else []
        shown = [f"- {reason}" for reason in self.reasons[:_MOST_REASONS]]
        return ["The network only approximates the function of its source:", *shown, *more]
