"""Options of `nas train` about teachers, unlabeled images and trackers."""

from pathlib import Path

import click

from nas.cli.shared.groups import Group, option
from nas.cli.shared.parameter_types import NumberRange

TEACHER_OPTIONS = (
    option(
        Group.TEACHER,
        "--teacher",
        metavar="TEACHER",
        show_default="no teacher",
        help="Network whose outputs ARCH learns beside the labels: a SOURCE as in --pretrained, a folder of "
        "`nas train`, or an .onnx file. The recipe has its share and temperature.",
    ),
    option(
        Group.TEACHER,
        "--teacher-normalization",
        metavar="NORMALIZATION",
        show_default="that of TEACHER",
        help="Normalization of the images, where TEACHER does not say: imagenet, 0..1, -1..1, or MEAN/STD.",
    ),
    option(
        Group.TEACHER,
        "--unlabeled",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        show_default="labeled images alone",
        help="Images without labels, which the teacher labels (Noisy Student). Without TEACHER, ARCH is first trained "
        "on the labeled images and is the teacher.",
    ),
    option(
        Group.TEACHER,
        "--rounds",
        type=click.IntRange(1, 100),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of students; each is the teacher of the next one.",
    ),
    option(
        Group.TEACHER,
        "--confidence",
        type=NumberRange(0, 1),
        default=0.3,
        show_default=True,
        metavar="P",
        help="Smallest probability of the most probable class with which an unlabeled image is used.",
    ),
    option(
        Group.TEACHER,
        "--per-class",
        type=click.IntRange(1),
        metavar="N",
        show_default="the mean of all classes",
        help="Number of unlabeled images of each class: the most confident ones, repeated where there are too few.",
    ),
    option(
        Group.TEACHER,
        "--grow",
        type=NumberRange(0, 10),
        default=0.0,
        show_default=True,
        metavar="PHI",
        help="Compound coefficient by which each student is larger than its teacher, as in `nas scale --phi`.",
    ),
)
TRACKING_OPTIONS = (
    option(
        Group.OUTPUT,
        "--tensorboard",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        show_default="none is written",
        help="Folder for the values of each epoch as an event file of TensorBoard.",
    ),
    option(
        Group.OUTPUT,
        "--mlflow",
        metavar="URI",
        show_default="nothing is sent",
        help="Tracking URI of MLflow for the values of each epoch, such as sqlite:///mlflow.db.",
    ),
)
