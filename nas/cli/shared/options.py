"""Options and arguments that several verbs share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from nas.api.durations import parse_duration
from nas.errors import NasError, SpaceError
from nas.search.defaults import EPOCHS
from nas.studies.defaults import DEFAULT_STORAGE
from nas.train.defaults import METRIC_NAMES

Command = Callable[..., Any]
INTERRUPTED = 130  # the code of a command that Ctrl-C has ended


class Span(click.ParamType[float]):
    """A span of time with its unit, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        try:
            return parse_duration(value)
        except NasError as error:
            self.fail(f"{error.problem}; {error.remedy}", param, ctx)


ARCH_HELP = "ARCH is a preset (efficientnet-b0), a file, or study:NAME with :best, :trial=17 or :pareto=2."

storage_option = click.option(
    "--storage",
    default=DEFAULT_STORAGE,
    show_default=True,
    metavar="URL",
    help="Where studies are kept: any Optuna URL.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
arch_argument = click.argument("reference", metavar="ARCH")
metric_option = click.option(
    "--metric",
    type=click.Choice(METRIC_NAMES),
    default=METRIC_NAMES[0],
    show_default=True,
    help="What a training is scored by: the share of images told right, or the mean of that over classes.",
)


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options, in the order of the help."""

    def applied(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return applied


def training_options(resolution_help: str = "Pixels of a side in a training.") -> Callable[[Command], Command]:
    """What short trainings are of: images, epochs, pixels and a device."""
    return all_of(
        click.option(
            "--data",
            default="digits",
            show_default=True,
            help="Images: digits, a folder, a Parquet file or folder, or a Hugging Face hub name.",
        ),
        click.option("--epochs", type=click.IntRange(1), default=EPOCHS, show_default=True, help="Of a training."),
        click.option(
            "--proxy-resolution", type=click.IntRange(4, 1024), default=32, show_default=True, help=resolution_help
        ),
        click.option("--images", type=click.IntRange(2), help="Training images.  [default: all]"),
        click.option(
            "--train-on", type=click.Choice(["cpu", "cuda", "mps"]), help="Where to train.  [default: what is there]"
        ),
    )


supernet_options = all_of(
    click.option(
        "--supernet-epochs", type=click.IntRange(1), metavar="N", help="Of the supernet's one training.  [default: 60]"
    ),
    click.option(
        "--supernet-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default="nas-supernets",
        show_default=True,
        help="Where supernets are kept; one of the same space, data and seed is used again.",
    ),
)
space_options = all_of(
    click.option("--space", default="mnasnet", show_default=True, help="A search space's name or a .yaml file."),
    click.option("--fix", "fixes", multiple=True, metavar="CHOICE=OPTION", help="Make a choice: stage1.kernel=3."),
)
target_task_options = all_of(
    click.option(
        "--resolution",
        type=click.IntRange(1, 10_000),
        help="Pixels of a side of the target's images.  [default: the space's]",
    ),
    click.option(
        "--classes", type=click.IntRange(2, 10_000_000), help="Classes of the target's task.  [default: the space's]"
    ),
)


def file_option(name: str, what: str) -> Callable[[Command], Command]:
    """A file to write."""
    return click.option(f"--{name}", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=what)


figure_options = all_of(
    file_option("html", "Write the figure as a page."),
    file_option("png", "Write the figure as a picture; needs hwnas[png] and Chrome or Chromium."),
)


def read_fixes(texts: Iterable[str]) -> dict[str, str]:
    """What `--fix` makes fast, by choice.

    Raises:
        SpaceError: a text is no CHOICE=OPTION, or a choice is given twice.
    """
    fixed: dict[str, str] = {}
    for name, option in map(_read_fix, texts):
        if name in fixed:
            raise SpaceError(
                f"a choice can be fixed once, and {name} is given {fixed[name]!r} and {option!r}",
                f"keep one of them, like --fix {name}={fixed[name]}",
            )
        fixed[name] = option
    return fixed


def _read_fix(text: str) -> tuple[str, str]:
    name, equals, option = text.partition("=")
    if not equals or not option:
        raise SpaceError(f"--fix {text!r} is not CHOICE=OPTION", "write one like stage1.kernel=3")
    return name.strip(), option.strip()
