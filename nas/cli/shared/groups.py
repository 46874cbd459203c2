"""Options that belong to groups, and the help pages that list them so."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import click

NAME_WIDTH = 24  # columns; a longer name has a line of its own


class Group(StrEnum):
    """List the headings of options, in the order in which help pages show them."""

    MODE = "Networks to make"
    RULE = "Scaling rule"
    ARCHITECTURE = "Architecture"
    WEIGHTS = "Weights"
    STUDY = "Study"
    DEVICE = "Device"
    TARGET = "Target"
    SPACE = "Search space"
    ACCURACY = "Accuracy"
    EVALUATORS = "Evaluators"
    FIT = "Fit of the coefficients"
    TRAINING = "Training runs"
    TEACHER = "Teacher and unlabeled images"
    MEASUREMENT = "Measurement"
    SEARCH = "Search"
    CHECK = "Check"
    IMAGES = "Images"
    EXPORT = "Export"
    ROBUSTNESS = "Robustness"
    WORKERS = "Workers"
    OUTPUT = "Output"
    GENERAL = "General"


class GroupedOption(click.Option):
    """Represent an option that belongs to a group of its command's help page.

    Args:
        group: Heading under which the option is listed.
        settings: Settings of `click.Option`. A `show_default` that is a text is shown as it is.
    """

    def __init__(self, *declarations: Any, group: Group, **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return what stands in brackets behind the help; click would put a described default in parentheses."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        return extra


def option(group: Group, *declarations: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds an option of a group; otherwise as `click.option`."""
    return click.option(*declarations, cls=GroupedOption, group=group, **settings)


def group_of(parameter: click.Parameter) -> Group | None:
    """Return an option's group, None where it has none."""
    return parameter.group if isinstance(parameter, GroupedOption) else None


def write_groups(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write a section for each group of a command's options, with their texts in one column."""
    records: dict[Group, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            records.setdefault(group_of(parameter) or Group.GENERAL, []).append(record)
    names = [name for rows in records.values() for name, _ in rows]
    width = max(len(name) for name in names if len(name) <= NAME_WIDTH)
    for group in filter(records.__contains__, Group):
        with formatter.section(group):
            formatter.write_dl([(name.ljust(width), text) for name, text in records[group]], width)
