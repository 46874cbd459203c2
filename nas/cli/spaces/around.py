"""`nas spaces around`: the search space around a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import arch_argument, file_option, json_option, source_option
from nas.cli.shared.verbs import Verb
from nas.cli.spaces.command import print_spaces, row
from nas.output_kinds import SPACE, write_output

if TYPE_CHECKING:
    from nas.space.decode import SearchSpace


@frozen
class AroundOptions:
    """Hold the parsed options of `nas spaces around`."""

    reference: str
    storage: str
    grow: bool
    choices: bool
    save: Path | None
    as_json: bool


@click.command(cls=Verb)
@arch_argument
@source_option
@option(Group.SPACE, "--grow", is_flag=True, help="Stages may also have a quarter more channels than ARCH.")
@option(Group.OUTPUT, "--choices", is_flag=True, help="Print every choice with its options as well.")
@file_option("save", "Write the space to a .yaml file, which can be changed.", SPACE)
@json_option
def command(**options: Any) -> None:
    """Show the search space around a network, or write it to a file.

    \b
    Example:
      nas spaces around efficientnet-lite0 --choices
      nas spaces around study:demo:best --grow --save my_space.yaml

    Its networks have fewer layers and channels, and smaller kernels, expansions and images than ARCH. A stage may also
    have one layer more. ARCH itself is in the space. `nas search --space around:ARCH` searches the same space.
    """
    from nas.api.spaces import space_text_around
    from nas.cli.shared.printing import next_command, print_json
    from nas.space.schema import parse_space

    given = AroundOptions(**options)
    name, text = space_text_around(given.reference, given.storage, grow=given.grow)
    space = parse_space(text, f"around:{given.reference}", f"around-{name}")
    if given.save is not None:
        write_output(given.save, text.encode(), SPACE)
    if given.as_json:
        print_json(row(space) | {"file": str(given.save) if given.save else None})
        return
    print_spaces([space], choices=given.choices)
    if given.save is not None:
        click.echo(f"wrote {given.save}")
        target = f"flops={_middle(space) / 1e6:.3g}M"
        click.echo(f"next: {next_command('search', '--space', str(given.save), '--target', target)}")


def _middle(space: "SearchSpace") -> float:
    """Return the middle of the MACs that the networks of a space can have."""
    from nas.cost.analytic import MACS
    from nas.samplers.cost_range import space_chain

    return sum(MACS.span(space_chain(space))) / 2
