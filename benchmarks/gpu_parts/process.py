"""The process that works on one part of the GPU benchmark; `gpu.py` starts it, and ends it when its time is over.

    python -m gpu_parts.process '{"part": "speed", "out": "results", "device": "cuda", "until": 1790000000, …}'

A process of its own costs some seconds. In return, an error of the GPU, after which a process can do nothing more with
it, costs one item and not all that follow.
"""

import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gpu_parts.bench import SMOKE, Bench, NeedsError, Sizes, environment
from gpu_parts.plan import Part, find_parts
from gpu_parts.results import Results, read_results
from nas.processes import is_killed_with_parent
from nas.studies.opening import quiet_optuna

Item = Callable[[Bench], Mapping[str, Any]]


def main() -> None:
    """Work on the missing items of a part, in the time that is left."""
    is_killed_with_parent()
    quiet_optuna()
    given = json.loads(sys.argv[1])
    (part,) = find_parts([given["part"]], smoke=given["smoke"])
    out, data = Path(given["out"]), given["data"]
    sizes = SMOKE if given["smoke"] else Sizes()
    bench = Bench(out, None if data is None else Path(data), given["device"], sizes, given["seed"])
    work(part, bench, read_results(out), frozenset(given["skip"]), given["until"])


def work(part: Part, bench: Bench, results: Results, skip: frozenset[str], until: float) -> None:
    """Work on items one after another; each result is written at once.

    Args:
        part: Part to work on.
        bench: What the items are given.
        results: Results so far.
        skip: Items that are left out, because they were tried before in the same run.
        until: Time, in seconds since 1970, at which this process is ended.
    """
    items: Mapping[str, Item] = importlib.import_module(part.module).ITEMS
    around = environment(bench.device)
    for name in results.missing(part):
        # An item that cannot continue is not begun in vain.
        if name in skip or (not part.continues and time.time() + part.items[name] > until):
            continue
        with results.working_on(part.name, name):
            result = one(items[name], bench)
        results.put(part.name, name, {**result, "smoke": bench.sizes == SMOKE, "seed": bench.seed, "on": around})
        print(f"  {name}: {result.get('needs') or result.get('error') or 'done'}", f"({result['seconds']:.1f} s)")
        sys.stdout.flush()


def one(item: Item, bench: Bench) -> dict[str, Any]:
    """Return the values of an item, what it needs, or its error; and when and how long it ran."""
    begun, start = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    try:
        found: dict[str, Any] = {"values": dict(item(bench))}
    except NeedsError as error:
        found = {"needs": str(error)}
    except ModuleNotFoundError as error:
        found = {"needs": f"the package {error.name}"}
    except Exception as error:  # one item must not cost the others
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
        if bench.is_cuda:
            torch.cuda.empty_cache()
    return {**found, "begun": begun, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
