"""`nas verify`: an exported network, measured again later or elsewhere."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from nas.api.verification import FIGURES
from nas.cli.shared.exits import FAILED
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.api.verification import Verification
    from nas.export.verification import Check


@click.command(cls=Verb)
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@option(
    Group.DEVICE,
    "--device",
    metavar="DEVICE",
    show_default="as stated, on this machine",
    help="Device: cpu, cpu:threads=4, cuda, an ONNX Runtime provider's name, or ssh://user@host?cpu.",
)
@option(
    Group.IMAGES,
    "--data",
    metavar="DATA",
    show_default="as stated, if it is on this machine",
    help="Labeled images: digits, a folder, a Parquet file or folder, or the name of a data set on the Hugging Face "
    "hub.",
)
@option(
    Group.CHECK,
    "--skip",
    type=click.Choice(FIGURES),
    multiple=True,
    help="Figure that is not measured. The option can be repeated.",
)
@json_option
@click.pass_context
def command(
    context: click.Context, folder: Path, device: str | None, data: str | None, skip: tuple[str, ...], as_json: bool
) -> None:
    """Verify the folder of an exported network: measure again what it states.

    \b
    Example:
      nas verify product/
      nas verify product/ --device ssh://me@board --data photos/

    FOLDER is one that nas export wrote; it may come from anywhere. The digests of its files are compared, then the
    accuracy on the same images, the peak memory and the latency. Figures of other images or of another kind of device
    are measured and not compared. The exit status is 1 if a file or a figure differs, or could not be measured.
    """
    from nas.api.verification import verify
    from nas.cli.shared.printing import print_json, say

    found = verify(folder, data, device, skip, say)
    if as_json:
        print_json(found.as_json())
    else:
        _print(found)
    if not found.holds:
        context.exit(FAILED)


def _print(found: "Verification") -> None:
    from nas.cli.shared.printing import plain, print_table

    print_table(("file", "check", "stated", "now", "change", "outcome"), map(_row, found.checks), left=2)
    for check in found.checks:
        if check.note:
            click.echo(plain(f"{check.file}, {check.what}: {check.note}"))
    click.echo(plain(f"device: {found.device} on {found.machine}"))
    if any(check.what == "latency" and check.change is not None for check in found.checks):
        click.echo(
            "the change of a latency is that of its multiple of a reference network's, which ran in turn with it"
        )
    click.echo(plain(f"{found.name}: {_outcome(found)}"))


def _outcome(found: "Verification") -> str:
    if found.holds:
        return "everything that was compared holds"
    counts = Counter(check.outcome for check in found.checks)
    parts = ((counts["differs"], "differs", "differ"), (counts["not measured"], *["could not be measured"] * 2))
    said = (f"{n} {one if n == 1 else several}" for n, one, several in parts if n)
    return f"of {len(found.checks)} checks, {' and '.join(said)}"


def _row(check: "Check") -> tuple[str, ...]:
    show = _FIGURES.get(check.what, str)
    figures = ("" if value is None else show(value) for value in (check.stored, check.found))
    return (check.file, check.what, *figures, _change(check), check.outcome)


def _change(check: "Check") -> str:
    """Return a difference of accuracies in points, or a ratio, with its interval where it is known."""
    if check.change is None:
        return ""
    show = _CHANGES[check.what]
    interval = "" if check.low is None or check.high is None else f" ({show(check.low)} to {show(check.high)})"
    return f"{show(check.change)}{interval}"


_FIGURES: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {
        "accuracy": lambda share: f"{100 * share:.2f}%",
        "latency": lambda ms: f"{ms:.3f} ms",
        "memory": lambda count: f"{count / 1e6:.2f} MB",
    }
)
_CHANGES: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {
        "accuracy": lambda share: f"{100 * share:+.2f}",
        "latency": lambda ratio: f"×{ratio:.3f}",
        "memory": lambda ratio: f"×{ratio:.3f}",
    }
)
