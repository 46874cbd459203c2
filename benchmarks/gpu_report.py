"""Make the page of what was measured on a GPU from the results of `gpu.py`.

    python benchmarks/gpu_report.py gpu-results --out experiments/gpu

The folder receives the page and a copy of the results. What has not been measured is shown as missing.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
from gpu_parts.plan import PARTS, Part
from gpu_parts.results import FILE, Results, read_results
from supernet import tau

MISSING = "not measured yet"
DRAWS, DRAWN = 2000, 40  # random selections of as many networks as the search has trials
Lines = Iterator[str]
HEAD = """# What only a GPU can show

    scripts/gpu-bundle gpu-bundle
    python benchmarks/gpu.py --minutes 9 --out gpu-results --data gpu-bundle
    python benchmarks/gpu_report.py gpu-results --out experiments/gpu

The first command runs on a machine with a network, and the second one on the machine with the GPU. It continues with
what is missing whenever it is run again. The third command makes this page.
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the page")
    options = parser.parse_args()
    results = read_results(options.results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(page(results), encoding="utf-8")
    if results.items:
        replace(results, path=options.out / FILE, current="").write()


def page(results: Results) -> str:
    """Return the page."""
    lines = [HEAD, *_environments(results)]
    for part in PARTS:
        done = sum(results.is_done(part, item) for item in part.items)
        lines += ["", f"## {part.title}", "", f"{done} of {len(part.items)} measurements are there.", ""]
        lines += [*SECTIONS[part.name](part, results)] if done else [f"**{MISSING.capitalize()}.**"]
        lines += _problems(part, results)
    return "\n".join(lines) + "\n"


def _environments(results: Results) -> Lines:
    """Yield a line for each machine and version that results are from."""
    seen = dict[str, int]()
    for item in results.items.values():
        around = item.get("on")
        if "values" in item and around:
            gpu = around["gpu"] or f"no GPU ({around['device']})"
            text = (
                f"{gpu}, driver {around['driver'] or 'unknown'}, CUDA {around['cuda'] or 'none'}, cuDNN "
                f"{around['cudnn'] or 'none'}, torch {around['torch']}, Python {around['python']}, "
                f"{around['cores']} CPU cores, nas {around['nas']} (commit {(around['commit'] or 'unknown')[:10]}), "
                f"seed {item['seed']}"
            )
            seen[text] = seen.get(text, 0) + 1
    if any(item.get("smoke") for item in results.items.values()):
        yield "**These are results of a smoke run, at sizes at which the figures mean nothing.**"
        yield ""
    yield from (f"- {count} measurements: {text}" for text, count in seen.items())
    if not seen:
        yield "**No part has run on a GPU so far.**"


def _problems(part: Part, results: Results) -> Lines:
    for item in part.items:
        found = results.items.get(f"{part.name}/{item}", {})
        if "error" in found or "needs" in found:
            yield ""
            yield f"- `{item}` " + (f"failed: {found['error']}" if "error" in found else f"needs {found['needs']}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Lines:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _checks(part: Part, results: Results) -> Lines:
    rows = []
    for item in part.items:
        values = results.values(part.name, item)
        if values is None:
            rows.append((item, MISSING, ""))
            continue
        shown = {name: value for name, value in values.items() if name != "passed"}
        rows.append((item, "passed" if values["passed"] else "**failed**", _shown(shown)))
    yield from _table(("check", "result", "figures"), rows)


def _shown(values: Mapping[str, Any]) -> str:
    """Return values as text; the values of a mapping follow its name in brackets."""
    texts = []
    for name, value in values.items():
        if isinstance(value, list):
            continue
        shown = f"({_shown(value)})" if isinstance(value, Mapping) else _number(value)
        texts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(texts)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _speeds(part: Part, results: Results) -> Lines:
    header = (
        *("network", "px", "batch", "images/s", "plain loop", "times faster (goal 4)"),
        *("ms per step", "not recorded", "times faster", "card busy", "precision"),
    )
    rows = []
    for item in part.items:
        network, side, batch = item.rsplit("-", 2)
        values = results.values(part.name, item)
        sizes = (network, side.removesuffix("px"), batch.removeprefix("batch"))
        if values is None:
            rows.append((*sizes, *[MISSING] * (len(header) - len(sizes))))
            continue
        steps = values["steps"]
        rate, plain = (values["images_a_second"][side]["median"] for side in ("proxy", "plain"))
        rows.append(
            (
                *sizes,
                f"{rate:,.0f}",
                f"{plain:,.0f} ({values['plain_workers']} workers)",
                _ratio(values["times_faster"]),
                *(f"{steps[name]['median']:.2f}" for name in ("recorded_milliseconds", "computed_milliseconds")),
                _ratio(steps["times_faster"]),
                "unknown" if steps["busy_share"] is None else f"{steps['busy_share']:.0%}",
                values["precision"],
            )
        )
    yield from _table(header, rows)
    yield ""
    yield "Speeds are medians of epochs that both loops train in turn, with their validation; brackets hold the range."
    yield "The slowest epoch is the first one of a network, in which kernels are loaded and steps are recorded."
    yield "Steps are recorded as CUDA graphs; beside them stand the same steps that are not recorded, timed in turn."


def _ratio(values: Mapping[str, float]) -> str:
    return f"{values['median']:.1f} ({values['min']:.1f} to {values['max']:.1f})"


def _proxy(part: Part, results: Results) -> Lines:
    found = [values for item in part.items if (values := results.values(part.name, item)) is not None]
    seconds = sorted(values["evaluation_seconds"] for values in found)
    first = found[0]
    yield (
        f"{len(found)} random networks, {first['epochs']} epochs of {first['images']:,} images of "
        f"{first['resolution']} px, batches of {first['batch_size']}, {first['val_images']:,} images to validate: "
        f"{_tau([values['true'] for values in found], [values['accuracy'] for values in found])}, "
        f"{median(seconds):.2f} s per evaluation ({seconds[0]:.2f} to {seconds[-1]:.2f})."
    )


def _tau(true: Sequence[float], measured: Sequence[float]) -> str:
    if len(true) < 5 or len(set(measured)) < 2 or len(set(true)) < 2:
        return "Kendall's τ cannot be computed from so few different values"
    found = tau(true, measured)
    if any(math.isnan(value) for value in found.values()):
        return "Kendall's τ is not defined"
    middle, low, high = (
        f"{found[name]:.2f}".replace("0.", ".", 1).replace("-", "−") for name in ("tau", "low", "high")
    )
    return f"Kendall's τ {middle} ({low} to {high})"


def _supernet(part: Part, results: Results) -> Lines:
    training, ranking = (results.values(part.name, item) for item in ("training", "ranking"))
    if training is not None:
        yield (
            f"Training: {training['training_seconds'] / 60:.1f} minutes, {training['epochs']} epochs of "
            f"{training['images']:,} images of {training['resolution']} px, batches of {training['batch_size']}."
        )
        yield ""
    if ranking is None:
        yield f"Ranking (goal τ .80 after 15 minutes): {MISSING}."
        return
    yield (
        f"Ranking of {len(ranking['true'])} networks (goal τ .80 after 15 minutes): "
        f"{_tau(ranking['true'], ranking['accuracies'])}, {ranking['evaluation_seconds']:.2f} s per evaluation."
    )


def _search(part: Part, results: Results) -> Lines:
    values = results.values(part.name, "trials")
    assert values is not None
    best = values["best_by_proxy"]
    yield (
        f"{values['trials']} trials. The best network by the proxy has a recorded accuracy of {best['true']:.2%}; the "
        f"best of all trials has {max(values['true']):.2%}."
    )
    yield ""
    yield _random(results)


def _random(results: Results) -> str:
    """Return what random networks reach, of which the proxy chooses the best."""
    (part,) = (part for part in PARTS if part.name == "proxy")
    found = [values for item in part.items if (values := results.values(part.name, item)) is not None]
    if len(found) <= DRAWN:
        return f"Random networks beside it: {MISSING} ({len(found)} are evaluated, and {DRAWN + 1} are needed)."
    accuracy, true = (np.array([values[name] for values in found]) for name in ("accuracy", "true"))
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(found), DRAWN, replace=False) for _ in range(DRAWS)]
    chosen = [float(true[each][accuracy[each].argmax()]) for each in drawn]
    low, high = np.quantile(chosen, (0.025, 0.975))
    return (
        f"Of {DRAWN} random networks, the one that the proxy ranks first has a recorded accuracy of "
        f"{np.mean(chosen):.2%} on average ({low:.2%} to {high:.2%} in 95% of {DRAWS:,} selections from {len(found)})."
    )


def _latency(part: Part, results: Results) -> Lines:
    for item in part.items:
        values = results.values(part.name, item)
        yield f"- {item}: {MISSING if values is None else _shown(_plain(values))}"
    networks = results.values(part.name, "networks")
    if networks is not None:
        yield ""
        rows = [
            (row["name"], f"{row['macs'] / 1e6:.0f}", f"{row['latency_ms']:.3f} ± {row['spread_ms']:.3f}")
            for row in networks["networks"]
        ]
        yield from _table(("network", "MMACs", "latency, ms"), rows)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != "" and not isinstance(value, list | dict)}


SECTIONS: Mapping[str, Callable[[Part, Results], Lines]] = MappingProxyType(
    {
        "self-check": _checks,
        "speed": _speeds,
        "proxy": _proxy,
        "supernet": _supernet,
        "search": _search,
        "latency": _latency,
    }
)

if __name__ == "__main__":
    main()
