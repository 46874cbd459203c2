"""A search by the trained proxy in the space of NAS-Bench-Macro; its study continues after an end."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gpu_parts.bench import Bench
from gpu_parts.macro import proxy
from nas.arch.code import parse_text
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.space.files import find_space

STUDY = "gpu-benchmark"


def search(bench: Bench) -> dict[str, Any]:
    """Search without a limit of the cost, and look the networks up in the table."""
    table = bench.table()
    # These need scipy, which not every machine has.
    from nas.search.run import search as run
    from nas.search.settings import Settings

    settings = Settings(
        (parse_target("flops=1G"),),  # more than any network of the space has
        trials=bench.sizes.trials,
        epochs=bench.sizes.epochs,
        seed=bench.seed,
        objective="hard",
        band=0.0,
        confirm=0,
    )
    start = time.perf_counter()
    view = run(
        find_space("nasbench_macro"),
        proxy(bench),
        settings,
        COUNTED,
        study_name=STUDY,
        storage=f"sqlite:///{bench.out / 'nas.db'}",
    )
    found = [record for record in view.records if record.accuracy is not None]
    true = {record.arch: next(table.evaluate(parse_text(record.arch), 1)) for record in found}
    best = max(found, key=lambda record: record.accuracy or 0.0)
    return {
        "trials": len(found),
        "seconds_of_the_last_part": time.perf_counter() - start,
        "proxy_accuracies": [record.accuracy for record in found],
        "true": [true[record.arch] for record in found],
        "best_by_proxy": {"architecture": best.arch, "accuracy": best.accuracy, "true": true[best.arch]},
    }


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType({"trials": search})
