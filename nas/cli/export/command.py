"""`nas export`: a trained network as files that are checked and measured on their device."""

from pathlib import Path
from typing import Any

import click

from nas.api.export_request import AUTO, FORMATS, ExportRequest
from nas.cli.shared.checkpoint_options import trained_share_option, weights_dir_option
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option, source_option
from nas.cli.shared.parameter_types import NumberRange
from nas.cli.shared.verbs import Verb

CHECKPOINT_HELP = (
    "CHECKPOINT is a folder that nas train wrote, a weights file, any other SOURCE of nas weights, or study:NAME with "
    ":best, :trial=17 or :pareto=2."
)


@click.command(cls=Verb, epilog=CHECKPOINT_HELP)
@click.argument("checkpoint", metavar="CHECKPOINT")
@weights_dir_option
@source_option
@option(
    Group.DEVICE,
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="Device on which the files are checked and measured: cpu, cpu:threads=4, cuda, an ONNX Runtime provider's "
    "name, or ssh://user@host?cpu.",
)
@option(
    Group.DEVICE,
    "--batch",
    metavar="N|dynamic",
    show_default="that of DEVICE, else 1",
    help="Number of images that the file takes at a time, or dynamic for any number.",
)
@option(
    Group.IMAGES,
    "--data",
    metavar="DATA",
    show_default="that of the training run",
    help="Labeled images: digits, a folder, a Parquet file or folder, or the name of a data set on the Hugging Face "
    "hub. Training images calibrate int8, validation images check the files, and test images measure the accuracy.",
)
@option(
    Group.IMAGES,
    "--resolution",
    type=click.IntRange(4, 1024),
    metavar="N",
    show_default="that of CHECKPOINT",
    help="Height and width of the images that the network takes, in pixels.",
)
@trained_share_option
@option(
    Group.IMAGES,
    "--against",
    metavar="OTHER",
    show_default="none",
    help="Another CHECKPOINT, which is measured beside the files.",
)
@option(
    Group.EXPORT,
    "--format",
    type=click.Choice(FORMATS),
    default=AUTO,
    show_default=True,
    help="Files to write. auto: an fp32 ONNX file, and an int8 file where it is within --max-loss and at least 1.2 "
    "times as fast; onnx: the fp32 file alone; onnx-int8: the int8 file in any case; timm or torch: a file of tensors.",
)
@option(
    Group.EXPORT,
    "--no-preprocess",
    "preprocess",
    flag_value=False,
    default=True,
    help="Take normalized fp32 images of the network's size, and not uint8 images of any size, as the input.",
)
@option(
    Group.EXPORT,
    "--max-loss",
    type=NumberRange(0, 100),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Largest loss of accuracy of the int8 file, in points.",
)
@option(
    Group.EXPORT,
    "--qat",
    is_flag=True,
    help="Fine-tune the network for int8 for a few epochs where layers have to stay in fp32 for --max-loss.",
)
@option(
    Group.OUTPUT,
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder for the files. An earlier export in it is replaced if nobody changed it.",
)
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Export a trained network as files for a device, after checking and measuring them there.

    \b
    Example:
      nas export photos-trained/ --out product/
      nas export photos-trained/ --out product/ --device ssh://me@board
      nas export study:demo:best --data photos/ --format onnx --out product/

    The logits of the file on the device must be those of the trained network on all validation images, but for
    rounding; otherwise nothing is written. Accuracies have 95% confidence intervals.
    """
    from nas.api.export import run_export
    from nas.cli.export.report import print_export
    from nas.cli.shared.printing import print_json, say

    exported = run_export(ExportRequest(**options), say)
    if as_json:
        print_json(exported.as_json())
    else:
        print_export(exported)
