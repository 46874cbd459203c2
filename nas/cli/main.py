"""The command `nas`: finds its verbs, and turns errors into one message."""

import sys
from collections.abc import Sequence

import click

from nas.api.errors import missing_package
from nas.cli.shared.verbs import Verbs
from nas.errors import NasError
from nas.version import __version__

# The module of each command, which holds it as `command`; in the order of `nas --help`.
VERBS = {
    "search": "nas.cli.search.command",
    "check": "nas.cli.check.command",
    "scale": "nas.cli.scale.command",
    "pareto": "nas.cli.pareto",
    "latency": "nas.cli.latency.command",
    "show": "nas.cli.show",
    "devices": "nas.cli.devices",
    "spaces": "nas.cli.spaces",
    "studies": "nas.cli.studies.command",
}


@click.group(
    cls=Verbs,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="nas")
def nas() -> None:
    """Find the most accurate network for a stated cost, on your own images.

    \b
    Example:
      nas search --target flops=400M --data digits

    FLOPs are multiply-adds, as in the papers: one multiply-add is one.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (an error that is told), 2 (wrong usage) or 130 (interrupted)."""
    try:
        sys.exit(nas.main(arguments, prog_name="nas", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except NasError as error:
        click.echo(f"nas: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        explained = missing_package(error)
        if explained is None:
            raise
        click.echo(f"nas: {explained}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("nas: interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
