"""`nas push`: an exported network on the Hugging Face hub."""

from pathlib import Path

import click

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb


@click.command(cls=Verb)
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.argument("repository", metavar="OWNER/NAME")
@option(Group.OUTPUT, "--private", is_flag=True, help="Make a private repository. By default everyone can read it.")
@option(
    Group.OUTPUT,
    "--revision",
    metavar="BRANCH",
    show_default="a new repository",
    help="Branch of a repository that may exist already.",
)
@json_option
def command(folder: Path, repository: str, private: bool, revision: str | None, as_json: bool) -> None:
    """Upload an exported network to the Hugging Face hub.

    \b
    Example:
      nas push product/ me/small
      nas push product/ me/small --revision main

    FOLDER is one that nas export wrote. Only the files that its metrics.json lists are uploaded, in one commit, and the
    model card is the README of the repository. The token is that of `hf auth login`, or HF_TOKEN.
    """
    from nas.api.push import push
    from nas.cli.shared.printing import plain, print_json, say

    found = push(folder, repository, say, private=private, revision=revision)
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(plain(f"{found.upload.url} has the commit {found.upload.commit} on {found.upload.revision}"))
