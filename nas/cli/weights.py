"""`nas weights`: what a pretrained source holds, and saving it as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import file_option, json_option
from nas.cli.shared.verbs import Verb
from nas.output_kinds import WEIGHTS

if TYPE_CHECKING:
    from nas.weights.base import Normalization
    from nas.weights.sources import LoadedSource


@frozen
class WeightsOptions:
    """Hold the parsed options of `nas weights`."""

    source: str
    normalization: str | None
    save: Path | None
    as_json: bool


@click.command(cls=Verb)
@click.argument("source", metavar="SOURCE")
@option(
    Group.ARCHITECTURE,
    "--normalization",
    metavar="NORM",
    show_default="that of SOURCE",
    help="Normalization of the images: imagenet, 0..1, -1..1, or MEAN/STD of pixel values from 0 to 1, each one number "
    "or one for each channel, such as 0.5,0.5,0.5/0.2,0.2,0.2.",
)
@file_option("save", "Write the network to a .safetensors file, which is a SOURCE too.", WEIGHTS)
@json_option
def command(**options: Any) -> None:
    """Show the network of a pretrained source, and compare its logits with those of the source library.

    \b
    Example:
      nas weights efficientnet-lite0
      nas weights timm:mobilenetv3_large_100 --save large.safetensors
      nas weights weights.pth --normalization imagenet

    SOURCE is efficientnet-lite0, -lite1 or -lite2 (ImageNet weights in hwnas[pretrained]), timm:NAME,
    torchvision:NAME, hub:OWNER/NAME, a file (.safetensors, .pth, .pt), or a folder that `nas train` wrote. Nothing
    that a file contains is run.
    """
    from nas.api.weights import inspect_source, save_weights
    from nas.cli.shared.printing import print_json
    from nas.errors import WeightsError

    given = WeightsOptions(**options)
    found = inspect_source(given.source, given.normalization)
    if given.save is not None:
        if found.network.normalization is None:
            raise WeightsError(
                f"{given.source} does not state the normalization of its images, and a saved network needs it",
                "give --normalization imagenet, 0..1, -1..1 or MEAN/STD",
            )
        save_weights(found.network, given.save)
    if given.as_json:
        print_json(_row(given.source, found))
    else:
        _print(found)


def _row(source: str, found: "LoadedSource") -> dict[str, Any]:
    from nas.api.architectures import summarize
    from nas.arch.code import format_text
    from nas.weights.sources import LIMIT

    network, account, check = found.network, found.account, found.check
    summary, norm = summarize(network.arch), network.normalization
    return {
        "source": source,
        "name": found.name,
        "macs": summary.macs,
        "params": summary.params,
        "resolution": network.arch.resolution,
        "classes": network.arch.classes,
        "class_names": None if network.classes is None else list(network.classes),
        "normalization": None if norm is None else {"mean": list(norm.mean), "std": list(norm.std)},
        "tensors": {"used": account.used, "dropped": dict(account.dropped), "missing": dict(account.missing)},
        "logits": None if check is None else {"library": check.library, "difference": check.difference, "limit": LIMIT},
        "provenance": dict(network.provenance),
        "arch": format_text(network.arch),
    }


def _print(found: "LoadedSource") -> None:
    from nas.api.architectures import summarize
    from nas.cli.shared.printing import millions, plain

    network, account = found.network, found.account
    summary = summarize(network.arch)
    lines = [
        f"{found.name}: {millions(summary.macs)} MACs, {summary.params:,} params, {network.arch.resolution} px, "
        f"{network.arch.classes:,} classes ({_names(network.classes)})",
        f"normalization: {_normalization(network.normalization)}",
        f"tensors: {account.used:,} used, {len(account.dropped):,} dropped, {len(account.missing):,} missing",
        *(f"  dropped: {name}: {reason}" for name, reason in account.dropped),
        *(f"  missing: {name}: {reason}" for name, reason in account.missing),
        f"logits: {_check(found)}",
        *(f"{name}: {_brief(text)}" for name, text in network.provenance.items()),
    ]
    for line in lines:
        click.echo(plain(line))


def _brief(text: str) -> str:
    lines = text.splitlines()
    return text if len(lines) < 2 else f"{len(lines)} lines, which --json shows"


def _names(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "their names are unknown"
    return ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")


def _normalization(norm: "Normalization | None") -> str:
    if norm is None:
        return "unknown; give --normalization"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (norm.mean, norm.std))
    return f"mean {mean} and standard deviation {std} of pixel values from 0 to 1"


def _check(found: "LoadedSource") -> str:
    from nas.weights.sources import LIMIT

    if found.check is None:
        return "not compared, because the library of the weights is unknown or not installed"
    return (
        f"the largest difference from {found.check.library} is {found.check.difference:.1e} of the largest logit "
        f"(limit {LIMIT:.0e})"
    )
