"""Distillation: a network learns from the outputs of a teacher beside the labels."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.nn import functional

# In fp16 the features take half the memory; the logits are few.
FEATURE_TYPE = torch.float16


@frozen(eq=False)
class TeacherOutputs:
    """Hold the outputs of a teacher for all training images, which are computed once and not in every step.

    Attributes:
        logits: Logits of the images, and of the mirrored images: fp32 `(2, N, classes)`. If the data does not allow
            mirrored images, there is only the first part: `(1, N, classes)`.
        features: Values that the teacher's classifier reads, in the same order: fp16 `(2, N, C)` or `(1, N, C)`.
    """

    logits: Tensor
    features: Tensor

    def to(self, device: str) -> "TeacherOutputs":
        """Return the same outputs on a device."""
        return TeacherOutputs(self.logits.to(device), self.features.to(device))


@frozen(eq=False)
class Distillation:
    """Add what a teacher gives for the images of a step to the loss.

    The loss becomes (1 - share) · loss + share · T² · KL(teacher ‖ student), with the probabilities at temperature T
    (Hinton et al., arXiv 1503.02531). If the features of both have the same number of channels, the squared distance
    of the features is added, relative to the squared length of the teacher's features.

    Attributes:
        outputs: Outputs of the teacher, on the device that trains.
        share: Share of the teacher in the loss, from 0 to 1.
        temperature: Temperature T of the probabilities, above 0.
        feature_weight: Weight of the distance of the features.
    """

    outputs: TeacherOutputs = field(repr=False)
    share: float = 0.5
    temperature: float = 2.0
    feature_weight: float = 0.0

    def loss(self, own: Tensor, logits: Tensor, features: Tensor, batch: Tensor, mirrored: Tensor) -> Tensor:
        """Return the loss of a step.

        Args:
            own: Loss without a teacher, a scalar.
            logits: Logits of the student `(B, classes)`.
            features: Values that the student's classifier reads `(B, C)`.
            batch: Indices of the training images `(B,)`.
            mirrored: Which of the images are mirrored, bool `(B,)`.

        >>> outputs = TeacherOutputs(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]]))
        >>> first, none = torch.tensor([0]), torch.tensor([False])
        >>> distillation = Distillation(outputs, share=0.5, feature_weight=2.0)
        >>> logits, features = torch.tensor([[5.0, 5.0]]), torch.tensor([[0.0, 0.0]])
        >>> distillation.loss(torch.tensor(1.0), logits, features, first, none)  # half of 1, no divergence, twice 1
        tensor(2.5000)
        """
        device = self.outputs.logits.device
        part, batch = mirrored.long().to(device), batch.to(device)
        taught = self.outputs.logits[part, batch]
        loss = (1 - self.share) * own + self.share * divergence(logits, taught, self.temperature)
        if self.feature_weight and features.shape[-1] == self.outputs.features.shape[-1]:
            loss = loss + self.feature_weight * _distance(features, self.outputs.features[part, batch].float())
        return loss


def divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(teacher ‖ student), the mean over images, with the probabilities at temperature T.

    Args:
        logits: Logits of the student `(N, classes)`.
        taught: Logits of the teacher `(N, classes)`.
        temperature: Temperature T.
    """
    student, teacher = ((values / temperature).log_softmax(1) for values in (logits, taught))
    # The gradient is proportional to 1 / T²; the factor makes the share mean the same at every temperature.
    return temperature**2 * functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


def _distance(features: Tensor, taught: Tensor) -> Tensor:
    return (features - taught).square().sum() / taught.square().sum().clamp_min(torch.finfo(torch.float32).tiny)


@contextmanager
def pooled_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which each call of the model appends the values that its classifier reads, `(N, C)`.

    Args:
        model: Model as `build_model` returns it.
    """
    features: list[Tensor] = []
    classifier = model.get_submodule("head.classifier")
    hook = classifier.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0].flatten(1)))
    try:
        yield features
    finally:
        hook.remove()
