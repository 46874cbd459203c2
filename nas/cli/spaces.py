"""`nas spaces`: the search spaces."""

from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.completion import complete_space
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.space.decode import SearchSpace


@frozen
class SpacesOptions:
    """Hold the parsed options of `nas spaces`."""

    names: tuple[str, ...]
    choices: bool
    as_json: bool


@click.command(cls=Verb)
@click.argument("names", metavar="[SPACE]...", nargs=-1, shell_complete=complete_space)
@option(Group.OUTPUT, "--choices", is_flag=True, help="Print every choice with its options as well.")
@json_option
def command(**options: Any) -> None:
    """List search spaces with their sizes and ranges of costs. SPACE is a name or a .yaml file.

    \b
    Example:
      nas spaces
      nas spaces my_space.yaml --choices
    """
    from nas.cli.shared.printing import print_json
    from nas.space.files import find_space, space_names

    given = SpacesOptions(**options)
    spaces = [find_space(name) for name in given.names or space_names()]
    rows = [_row(space) for space in spaces]
    if given.as_json:
        print_json(rows)
        return
    _print(rows)
    if given.choices:
        for space in spaces:
            _print_choices(space)


def _row(space: "SearchSpace") -> dict[str, Any]:
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
