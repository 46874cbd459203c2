"""Print exported networks as a table in Markdown: accuracy, latency and size of fp32 and int8.

    python benchmarks/export_table.py product-a/ product-b/

Every folder is one that `nas export` wrote. Losses and speed-ups are paired, with 95% intervals.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.export.product import Product, read_product

HEADERS = (
    "network",
    "px",
    "MMACs",
    "fp32 accuracy",
    "int8 loss in points",
    "fp32 ms",
    "int8 faster by",
    "fp32 MB",
    "int8 MB",
    "fp32 layers in int8",
    "recommended",
)


def main() -> None:
    """Read the products and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="+", type=Path, help="folders that nas export wrote")
    print("\n".join(_lines(parser.parse_args().products)))


def _lines(folders: list[Path]) -> Iterator[str]:
    yield f"| {' | '.join(HEADERS)} |"
    yield "|---" * len(HEADERS) + "|"
    for folder in folders:
        yield f"| {' | '.join(_cells(read_product(folder)))} |"


def _cells(product: Product) -> tuple[str, ...]:
    by_precision = {model.precision: model for model in product.models}
    fp32, int8 = by_precision["fp32"], product.int8
    accuracy, latency = fp32.accuracy, fp32.latency
    assert accuracy is not None, f"{product.name} was not measured"
    assert latency is not None, f"{product.name} was not measured"
    low, high = (100 * each for each in accuracy.interval)
    own = (
        product.name,
        str(product.resolution),
        f"{fp32.macs / 1e6:.0f}",
        f"{100 * accuracy.value:.2f} ({low:.1f} to {high:.1f})",
    )
    size = by_precision["int8"].size_bytes if "int8" in by_precision else None
    return (
        *own,
        _interval(int8, "loss", ".2f"),
        f"{latency.milliseconds:.2f} ± {latency.spread_ms:.2f}",
        _interval(int8, "speed_up", ".2f"),
        f"{fp32.size_bytes / 1e6:.1f}",
        "–" if size is None else f"{size / 1e6:.1f}",
        "–" if int8 is None else f"{len(int8['settings']['kept'])} of {int8['settings']['layers']}",
        "fp32" if int8 is None else str(int8["recommended"]),
    )


def _interval(report: Mapping[str, Any] | None, key: str, form: str) -> str:
    """Return a value of the report on int8 with its interval."""
    if report is None or not report.get(key):
        return "–"
    found = report[key]
    return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


if __name__ == "__main__":
    main()
