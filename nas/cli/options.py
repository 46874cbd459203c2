"""Options and arguments that several verbs share."""

from collections.abc import Iterable

import click

from nas.errors import SpaceError
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
