"""`nas compare`: networks side by side on a device, with their accuracies on the same images."""

from typing import Any

import click

from nas.api.comparison import LEAST_SECONDS, MOST_SECONDS, PRECISIONS, SECONDS_OF_FILE, SPLITS, ComparisonOptions
from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    PNG_HELP,
    adapting_options,
    device_option_of,
    file_option,
    json_option,
    seconds_option,
    source_option,
    spread_option,
)
from nas.cli.shared.verbs import Verb
from nas.errors import NasError
from nas.output_kinds import COMPARISON, DRAWING, PAGE, PICTURE

BOTH = "both"


@click.command(cls=Verb, epilog=ARCH_HELP)
@click.argument("references", metavar="[NETWORK]...", nargs=-1, shell_complete=complete_architecture)
@option(Group.ARCHITECTURE, "--zoo", is_flag=True, help="Compare all known networks too, from LeNet-5 to MobileNetV4.")
@adapting_options()
@source_option
@device_option_of("Several are compared one after the other, each with the precisions of --precision.")
@option(
    Group.ACCURACY,
    "--data",
    default="",
    metavar="DATA",
    show_default="accuracies are not measured",
    help="Labeled images on which the accuracy of trained networks is measured: digits, a folder, a Parquet file or "
    "folder, or the name of a data set on the Hugging Face hub.",
)
@option(
    Group.ACCURACY,
    "--split",
    type=click.Choice(SPLITS),
    default=SPLITS[0],
    show_default=True,
    help="Split of the images.",
)
@option(
    Group.MEASUREMENT,
    "--precision",
    type=click.Choice([*PRECISIONS, BOTH]),
    default=BOTH,
    show_default=True,
    help="Precision of the files. Untrained networks are quantized with random inputs, which gives their latency and "
    "not their accuracy.",
)
@seconds_option(
    "the rounds on each device. A few rounds are always run.",
    show_default=f"{SECONDS_OF_FILE:g} for each file, from {LEAST_SECONDS:g} to {MOST_SECONDS:g}",
)
@spread_option
@file_option("html", "Write the table and the figures as a page that works offline.", PAGE)
@file_option("png", PNG_HELP, PICTURE)
@file_option("svg", "Write the figure as a drawing, which needs the same programs as --png.", DRAWING)
@file_option("csv", "Write a table with one row for each file on each device.", COMPARISON)
@json_option
def command(references: tuple[str, ...], zoo: bool, precision: str, as_json: bool, **options: Any) -> None:
    """Compare networks side by side: multiply-adds, parameters, size, memory, latency and accuracy.

    \b
    Example:
      nas compare mnasnet-a1 mobilenetv2 zoo:resnet-50 --device cpu:threads=2
      nas compare runs/flowers product/ --data photos/ --html compared.html
      nas compare study:demo:best --zoo --png company.png

    NETWORK is an ARCH, a CHECKPOINT (a folder of `nas train`, or a weights file), a folder of `nas export`, an ONNX
    file, zoo:NAME for a known network, or timm:NAME or torchvision:NAME for a network of an installed library. All
    files take turns with each other in every round. A difference within the noise is named as such. Published
    accuracies are named with their sources, and are not compared with measured ones.
    """
    from nas.api.comparison import compare_networks
    from nas.cli.compare.report import OutputFiles, print_comparison, write_files
    from nas.cli.shared.printing import print_json, say

    files = OutputFiles(**{name: options.pop(name) for name in ("html", "png", "svg", "csv")})
    if not references and not zoo:
        raise NasError("no network is given, and a comparison needs one", "name a network, or give --zoo")
    devices = options.pop("devices")
    precisions = PRECISIONS if precision == BOTH else (precision,)
    found = compare_networks(
        references, ComparisonOptions(devices=devices, precisions=precisions, **options), zoo=zoo, say=say
    )
    if as_json:
        print_json(found.as_json())
    else:
        print_comparison(found)
    write_files(found, files, quiet=as_json)
