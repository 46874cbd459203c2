"""Options and arguments that several verbs share."""

import click

from nas.search.defaults import DEFAULT_STORAGE

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
