"""`nas completion`: the script that completes the words of `nas` in a shell."""

import click

from nas.cli.shared.completion import PROGRAM, VARIABLE
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def command(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script with which a shell completes commands, options and their values.

    \b
    Example:
      nas completion bash > ~/.local/share/bash-completion/completions/nas
      nas completion zsh > ~/.zfunc/_nas
      nas completion fish > ~/.config/fish/completions/nas.fish

    \b
    To install it without a file, add one line to ~/.bashrc or ~/.zshrc:
      eval "$(nas completion bash)"
      eval "$(nas completion zsh)"
    """
    from click.shell_completion import get_completion_class

    from nas.cli.shared.printing import print_json

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 -- click has a class for each of these shells
    script = kind(context.find_root().command, {}, PROGRAM, VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
