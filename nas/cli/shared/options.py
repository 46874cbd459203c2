"""Options and arguments that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from nas.api.evaluators import ACCURACY_UNITS
from nas.api.latency import SPREAD
from nas.cli.shared.completion import complete_architecture, complete_space
from nas.cli.shared.groups import Group, option
from nas.cli.shared.parameter_types import NumberRange, OutputFile
from nas.errors import SpaceError
from nas.output_kinds import PAGE, PICTURE, OutputKind
from nas.search.defaults import EPOCHS
from nas.studies.defaults import DEFAULT_STORAGE
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from attrs import AttrsInstance

Command = Callable[..., Any]
Record = TypeVar("Record", bound="AttrsInstance")


_DEVICE_FORMS = (
    "The target device: cpu, cpu:threads=4,batch=8, cuda, cpu:precision=int8, an ONNX Runtime provider's name, or "
    "ssh://user@host?cpu."
)
_SHARED_WORK = "Several equal ones share the work."
DEVICE_HELP = f"{_DEVICE_FORMS} {_SHARED_WORK}"


ARCH_HELP = (
    "ARCH is a preset (efficientnet-b0), a file, a folder of `nas train`, or study:NAME with :best, :trial=17 or "
    ":pareto=2."
)


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return the decorator that adds several options, in the order of the help page."""

    def applied(command: Command) -> Command:
        for each in reversed(options):
            command = each(command)
        return command

    return applied


def storage_option_of(group: Group, what: str) -> Callable[[Command], Command]:
    """Return the decorator that adds `--storage`.

    Args:
        group: Heading on the help page.
        what: What the database is to the command, as the beginning of a sentence.
    """
    return option(
        group,
        "--storage",
        default=DEFAULT_STORAGE,
        show_default=True,
        metavar="URL",
        help=f"{what}, as any storage URL of Optuna.",
    )


storage_option = storage_option_of(Group.OUTPUT, "Database in which the study is kept")
studies_option = storage_option_of(Group.STUDY, "Database in which the studies are kept")
source_option = storage_option_of(Group.ARCHITECTURE, "Database in which study:NAME is looked up")
json_option = option(
    Group.OUTPUT, "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else."
)


def device_option_of(several: str) -> Callable[[Command], Command]:
    """Return the decorator that adds `--device`.

    Args:
        several: Sentence about several devices.
    """
    return option(
        Group.DEVICE,
        "--device",
        "devices",
        multiple=True,
        default=["cpu"],
        show_default=True,
        metavar="DEVICE",
        help=f"{_DEVICE_FORMS} {several}",
    )


device_option = device_option_of(_SHARED_WORK)
arch_argument = click.argument("reference", metavar="ARCH", shell_complete=complete_architecture)


def metric_option(group: Group) -> Callable[[Command], Command]:
    """Return the decorator that adds the measure of accuracy."""
    return option(
        group,
        "--metric",
        type=click.Choice(METRIC_NAMES),
        default=METRIC_NAMES[0],
        show_default=True,
        help="Measure of accuracy: the share of correctly classified images (accuracy), or the mean of that share over "
        "the classes (balanced).",
    )


def _data_option(group: Group) -> Callable[[Command], Command]:
    return option(
        group,
        "--data",
        default="digits",
        show_default=True,
        metavar="DATA",
        help="Images to train and validate on: digits, a folder, a Parquet file or folder, or the name of a data "
        "set on the Hugging Face hub.",
    )


def _split_options(group: Group) -> Callable[[Command], Command]:
    return all_of(
        option(
            group,
            "--images",
            type=click.IntRange(2),
            show_default="all",
            metavar="N",
            help="Number of images to train on.",
        ),
        option(
            group,
            "--validation-share",
            type=NumberRange(0, 0.5, min_open=True),
            show_default="0.2, larger for small data sets",
            metavar="SHARE",
            help="Share of the images to validate on, where DATA has no validation split.",
        ),
        option(
            group,
            "--train-on",
            type=click.Choice(["cpu", "cuda", "mps"]),
            show_default="cuda or mps where available, else cpu",
            help="Device on which networks are trained.",
        ),
    )


def data_options(group: Group) -> Callable[[Command], Command]:
    """Return the decorator that adds the images, their number and split, and the device that trains.

    Args:
        group: Heading on the help page.
    """
    return all_of(_data_option(group), _split_options(group))


def training_options(
    group: Group,
    resolution_help: str = "Height and width of the images in a training run, in pixels. A network below the largest "
    "resolution of its space is trained on smaller ones.",
    resolution: int | None = 32,
) -> Callable[[Command], Command]:
    """Return the decorator that adds the images, epochs, resolution and device of short training runs.

    Args:
        group: Heading on the help page.
        resolution_help: Help text of the resolution.
        resolution: Default resolution; None for 32 or, with a pretrained network, that of the network.
    """
    return all_of(
        _data_option(group),
        option(
            group,
            "--epochs",
            type=click.IntRange(1),
            default=EPOCHS,
            show_default=True,
            metavar="N",
            help="Number of epochs for each training run.",
        ),
        option(
            group,
            "--proxy-resolution",
            type=click.IntRange(4, 1024),
            default=resolution,
            show_default="32, or with --pretrained that of the network" if resolution is None else True,
            metavar="N",
            help=resolution_help,
        ),
        _split_options(group),
    )


def accuracy_unit_option(group: Group) -> Callable[[Command], Command]:
    """Return the decorator that adds the unit of the accuracies in tables."""
    return option(
        group,
        "--accuracy-unit",
        type=click.Choice(ACCURACY_UNITS),
        default=ACCURACY_UNITS[0],
        show_default=True,
        help="Unit of the accuracies in a table; auto is share if all of them are at most 1, and percent if none is.",
    )


def pretrained_options(group: Group) -> Callable[[Command], Command]:
    """Return the decorator that adds the pretrained network whose weights candidates inherit."""
    return all_of(
        option(
            group,
            "--pretrained",
            metavar="SOURCE",
            show_default="random weights",
            help="Pretrained network whose weights the candidates inherit: efficientnet-lite0, -lite1 or -lite2, "
            "timm:NAME, torchvision:NAME, hub:OWNER/NAME, a file or a folder of `nas train`, as in `nas weights "
            "SOURCE`.",
        ),
        option(
            group,
            "--normalization",
            metavar="NORMALIZATION",
            show_default="that of SOURCE",
            help="Normalization of the images, where SOURCE does not say: imagenet, 0..1, -1..1, or MEAN/STD.",
        ),
        option(
            group,
            "--no-distill",
            "distill",
            flag_value=False,
            default=True,
            help="Do not train candidates on the predictions of SOURCE as well, which is fine-tuned once for that.",
        ),
        option(
            group,
            "--weights-dir",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            default="nas-weights",
            show_default=True,
            help="Folder for fine-tuned weights.",
        ),
    )


def supernet_options(group: Group) -> Callable[[Command], Command]:
    """Return the decorator that adds the options of the evaluator `supernet`."""
    return all_of(
        option(
            group,
            "--supernet-epochs",
            type=click.IntRange(1),
            metavar="N",
            show_default="60, or 3 with --pretrained",
            help="Number of epochs for which a supernet is trained.",
        ),
        option(
            group,
            "--supernet-dir",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            default="nas-supernets",
            show_default=True,
            help="Folder in which trained supernets are kept. A supernet of the same space, data and seed is used "
            "again.",
        ),
    )


def space_option_of(default: str | None = None) -> Callable[[Command], Command]:
    """Return the decorator that adds the search space.

    Args:
        default: Description of a default that depends on other options; None for "mnasnet".
    """
    return option(
        Group.SPACE,
        "--space",
        default="mnasnet" if default is None else None,
        show_default=default or True,
        metavar="SPACE",
        shell_complete=complete_space,
        help="Search space: a name that `nas spaces` lists, a .yaml file, or around:ARCH for the networks around one.",
    )


def space_options_of(default: str | None = None) -> Callable[[Command], Command]:
    """Return the decorator that adds the search space and its fixed choices; see `space_option_of`."""
    return all_of(
        space_option_of(default),
        option(
            Group.SPACE,
            "--fix",
            "fixes",
            multiple=True,
            metavar="CHOICE=OPTION",
            help="Fix one choice of the space, such as stage1.kernel=3. May be repeated.",
        ),
    )


space_option = space_option_of()
space_options = space_options_of()


OF_DATA = "that of the data; with the embedded digits {}"


def task_options(group: Group, classes: str = "that of the space") -> Callable[[Command], Command]:
    """Return the decorator that adds the image size and the classes of the target task, else those of the space.

    Args:
        group: Heading on the help page.
        classes: Description of the default number of classes.
    """
    return all_of(
        option(
            group,
            "--resolution",
            type=click.IntRange(1, 10_000),
            metavar="N",
            show_default="that of the space",
            help="Height and width of the target task's images, in pixels.",
        ),
        option(
            group,
            "--classes",
            type=click.IntRange(2, 10_000_000),
            metavar="N",
            show_default=classes,
            help="Number of classes of the target task.",
        ),
    )


def adapting_options(group: Group = Group.ARCHITECTURE, classes: str = "that of ARCH") -> Callable[[Command], Command]:
    """Return the decorator that adds the image size and the classes of an architecture, else its own.

    Args:
        group: Heading on the help page.
        classes: Description of the default number of classes.
    """
    return all_of(
        option(
            group,
            "--resolution",
            type=click.IntRange(1, 10_000),
            metavar="N",
            show_default="that of ARCH",
            help="Height and width of the input images, in pixels.",
        ),
        option(
            group,
            "--classes",
            type=click.IntRange(1, 10_000_000),
            metavar="N",
            show_default=classes,
            help="Number of classes.",
        ),
    )


def file_option(name: str, what: str, kind: OutputKind, default: str = "not written") -> Callable[[Command], Command]:
    """Return the decorator that adds a file of a kind to write."""
    return option(
        Group.OUTPUT,
        f"--{name}",
        type=OutputFile(kind),
        metavar="FILE",
        show_default=default,
        help=what,
    )


spread_option = option(
    Group.MEASUREMENT,
    "--spread",
    type=NumberRange(0.0005, 1),
    default=SPREAD,
    show_default=True,
    metavar="SHARE",
    help="Standard error at which a measurement ends, as a share of the latency.",
)


def seconds_option(
    of: str, default: float | None = None, show_default: str | bool = True
) -> Callable[[Command], Command]:
    """Return the decorator that adds the time limit of a measurement.

    Args:
        of: What the time limit is of, and sentences about it.
        default: Number of seconds by default; None where it depends on the networks.
        show_default: What the help says about the default.
    """
    return option(
        Group.MEASUREMENT,
        "--seconds",
        type=NumberRange(0.1, 3600),
        default=default,
        show_default=show_default,
        metavar="SECONDS",
        help=f"Time limit in seconds of {of}",
    )


PNG_HELP = "Write the figure as a picture, which needs hwnas[png] and Chrome or Chromium."
figure_options = all_of(file_option("html", "Write the figure as a page.", PAGE), file_option("png", PNG_HELP, PICTURE))


def take(record: type[Record], options: dict[str, Any]) -> Record:
    """Return a record of the options that are its fields, and remove them from the others.

    Args:
        record: Class of the record. A field without an option keeps its default.
        options: Options as click has parsed them, by name.
    """
    names = [field.name for field in attrs.fields(record) if field.name in options]
    return record(**{name: options.pop(name) for name in names})


def read_fixes(texts: Iterable[str]) -> dict[str, str]:
    """Return the choices that `--fix` decides, each with its option.

    Raises:
        SpaceError: A text is not of the form CHOICE=OPTION, or a choice is given twice.
    """
    fixed: dict[str, str] = {}
    for name, value in map(_read_fix, texts):
        if name in fixed:
            raise SpaceError(
                f"choice {name} is fixed twice, to {fixed[name]!r} and to {value!r}; a choice can have one option",
                f"keep one of them, like --fix {name}={fixed[name]}",
            )
        fixed[name] = value
    return fixed


def _read_fix(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise SpaceError(f"--fix {text!r} is not of the form CHOICE=OPTION", "write one like --fix stage1.kernel=3")
    return name.strip(), value.strip()
