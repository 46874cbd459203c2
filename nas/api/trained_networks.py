"""Networks with trained weights, as the public API exposes them; their tensors are those of torch."""

from nas.api.errors import explain_missing

with explain_missing():
    from nas.weights.base import Normalization, TrainedNetwork

__all__ = ["Normalization", "TrainedNetwork"]
