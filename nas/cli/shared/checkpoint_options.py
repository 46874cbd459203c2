"""Options of commands that take a trained network."""

from pathlib import Path

import click

from nas.cli.shared.groups import Group, option
from nas.cli.shared.parameter_types import NumberRange

weights_dir_option = option(
    Group.WEIGHTS,
    "--weights-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    default="nas-weights",
    show_default=True,
    help="Folder in which searches keep the weights of study:NAME.",
)
trained_share_option = option(
    Group.IMAGES,
    "--validation-share",
    type=NumberRange(0, 0.5, min_open=True),
    show_default="0.2, larger for small data sets",
    metavar="SHARE",
    help="Share of the images that validates, as in the training run, where DATA has no validation split.",
)
