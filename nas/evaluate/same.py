"""An evaluator whose verdicts depend on no images and no seed, where evaluators for both are asked for."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from nas.evaluate.base import Evaluator


@frozen
class Same:
    """See `Evaluators`: the same evaluator, whatever is asked for."""

    evaluator: Evaluator

    def at(self, resolution: int, seed: int) -> Evaluator:  # noqa: ARG002 -- it depends on neither
        """See `Evaluators`."""
        return self.evaluator

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluators`."""
        return {key: value for key, value in self.evaluator.describe().items() if key != "environment"}
