"""The types that a user's type checker sees.

No test runs this module: `mypy`, which `scripts/check` starts, checks it strictly. An error in `accepted` fails it, and
so does an error that is missing in `refused`, because strict mode reports every `type: ignore` that is not needed.
"""

from typing import assert_type

from torch import nn

import nas


def _accuracy(arch: nas.Architecture) -> float:
    return 1 / arch.classes


def accepted() -> None:
    study = nas.search("mnasnet", target=["flops=400M", "params=5M"], data="digits", trials=20, timeout="2h")
    assert_type(study, nas.Study)
    best = study.best
    assert best is not None
    assert_type(best.costs["macs"], float)
    assert_type(best.architecture, nas.Architecture)
    assert_type(nas.cost(best.architecture).macs, int)
    assert_type(nas.to_torch(best.architecture), nn.Module)
    assert_type(nas.scale_family(best.architecture)[0].architecture, nas.Architecture)
    assert_type(nas.measure_latency(best.architecture, device="cpu").latency_ms, float)
    space = nas.load_space("mnasnet")
    nas.search(space, "flops=400M", evaluator=_accuracy, start_from=best.architecture)


def refused() -> None:
    nas.search("mnasnet", target="flops=400M", trails=20)  # type: ignore[call-arg]
    nas.cost("efficientnet-b0")  # type: ignore[arg-type]
    nas.serach("mnasnet")  # type: ignore[attr-defined]
