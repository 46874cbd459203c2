"""`nas spaces`: the search spaces."""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.completion import complete_space
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verbs

if TYPE_CHECKING:
    from nas.space.decode import SearchSpace


@frozen
class SpacesOptions:
    """Hold the parsed options of `nas spaces`."""

    names: tuple[str, ...]
    choices: bool
    as_json: bool


class _Spaces(Verbs):
    """Represent a group whose words are names of spaces, unless the first one is a verb."""

    allow_interspersed_args = True

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of a verb if the first word is one, else that of the group."""
        if args[:1] and args[0] in self.verbs:
            command = import_module(self.verbs[args[0]]).command
            context: click.Context = command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
            return context
        return super().make_context(info_name, args, parent, **extra)


class _Names(click.Argument):
    """Represent the names of spaces, which the usage line of the group describes."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return nothing: click would write the names between the group and its verb too."""
        return []


@click.group(
    cls=_Spaces,
    verbs={"around": "nas.cli.spaces.around"},
    invoke_without_command=True,
    subcommand_metavar="[SPACE]... | around ARCH",
)
@click.argument("names", cls=_Names, nargs=-1, shell_complete=complete_space)
@option(Group.OUTPUT, "--choices", is_flag=True, help="Print every choice with its options as well.")
@json_option
def command(**options: Any) -> None:
    """List search spaces with their sizes and ranges of costs.

    \b
    Example:
      nas spaces
      nas spaces my_space.yaml --choices
      nas spaces around efficientnet-lite0 --save my_space.yaml

    SPACE is a name, a .yaml file, or around:ARCH.
    """
    from nas.api.spaces import find_space
    from nas.cli.shared.printing import print_json
    from nas.space.files import space_names

    given = SpacesOptions(**options)
    spaces = [find_space(name) for name in given.names or space_names()]
    if given.as_json:
        print_json([row(space) for space in spaces])
    else:
        print_spaces(spaces, choices=given.choices)


def print_spaces(spaces: "Iterable[SearchSpace]", *, choices: bool) -> None:
    """Print a table of search spaces.

    Args:
        spaces: The spaces.
        choices: Whether to print the choices of each space as well.
    """
    spaces = list(spaces)
    _print([row(space) for space in spaces])
    if choices:
        for space in spaces:
            _print_choices(space)


def row(space: "SearchSpace") -> dict[str, Any]:
    """Return the sizes and the costs of a space, as `--json` prints them."""
    from nas.cost.analytic import MACS
    from nas.samplers.cost_range import space_chain
    from nas.space.count import count_networks

    least, most = MACS.span(space_chain(space))
    return {
        "name": space.name,
        "choices": {choice.name: list(choice.values) for choice in space.choices},
        "combinations": space.size,
        "networks": count_networks(space),
        "macs": [int(least), int(most)],
        "source": space.source,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from nas.cli.shared.printing import millions, print_table

    print_table(
        ("space", "source", "choices", "combinations", "networks", "MACs"),
        [
            (
                row["name"],
                row["source"],
                str(len(row["choices"])),
                _count(row["combinations"]),
                _count(row["networks"]),
                f"{millions(row['macs'][0])} to {millions(row['macs'][1])}",
            )
            for row in rows
        ],
        left=2,
    )


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**7 else f"{number:.2e}"


def _print_choices(space: "SearchSpace") -> None:
    from nas.cli.shared.printing import print_table

    rows = [(choice.name, ", ".join(map(str, choice.values))) for choice in space.choices]
    print_table(("choice", "options"), rows, left=2, title=space.name)
