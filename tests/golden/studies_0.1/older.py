"""Accuracies without training, for searches that need no images."""

import os
import time
from typing import Any


def accuracy(arch: Any) -> float:
    """Return an accuracy that grows with kernel sizes and layers, after a pause of OLDER_SECONDS seconds."""
    time.sleep(float(os.environ.get("OLDER_SECONDS", "0")))
    return 0.6 + float(sum(stage.kernel * stage.channels for stage in arch.stages)) / 30_000
