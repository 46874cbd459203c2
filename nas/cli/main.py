"""The command `nas`: its verbs, and how errors are reported."""

import sys
from collections.abc import Sequence
from io import StringIO

import click
from attrs import frozen

from nas.api.errors import missing_memory, missing_package
from nas.cli.shared.completion import PROGRAM, VARIABLE
from nas.cli.shared.exits import FAILED, INTERRUPTED
from nas.cli.shared.groups import Group, GroupedOption
from nas.cli.shared.printing import say
from nas.cli.shared.streams import discard_output, escaped_output, is_output_error, json_text, prepare_streams
from nas.cli.shared.verbs import Verbs
from nas.errors import NasError
from nas.version import __version__

# Each verb with the module that holds its `command`, in the order of `nas --help`.
VERBS = {
    "search": "nas.cli.search.command",
    "check": "nas.cli.check.command",
    "evaluate": "nas.cli.evaluate.command",
    "predict": "nas.cli.predict",
    "export": "nas.cli.export.command",
    "verify": "nas.cli.verify",
    "push": "nas.cli.push",
    "scale": "nas.cli.scale.command",
    "train": "nas.cli.train.command",
    "report": "nas.cli.report",
    "pareto": "nas.cli.pareto.command",
    "compare": "nas.cli.compare.command",
    "latency": "nas.cli.latency.command",
    "show": "nas.cli.show",
    "weights": "nas.cli.weights",
    "explain": "nas.cli.explain",
    "devices": "nas.cli.devices",
    "spaces": "nas.cli.spaces.command",
    "studies": "nas.cli.studies.command",
    "completion": "nas.cli.completion",
}


@click.group(
    cls=Verbs,
    verbs=VERBS,
    context_settings={"max_content_width": 100},
)
@click.version_option(
    __version__, prog_name="nas", cls=GroupedOption, group=Group.GENERAL, help="Print the version and exit."
)
def nas() -> None:
    """Find the most accurate network for a stated cost, on your own images.

    \b
    Example:
      nas search --target flops=400M --data digits

    FLOPs are multiply-adds, as in the papers: one multiply-add counts as one.
    """


@frozen
class Failure:
    """Hold what is reported when a command fails.

    Attributes:
        problem: What is wrong.
        remedy: What the user can do about it; "" if there is nothing to say.
        kind: Name of the error's class.
        status: Exit status of the command.
    """

    problem: str
    remedy: str
    kind: str
    status: int = FAILED


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> None:
    """Run the command line and exit with 0 or one of the statuses in `nas.cli.shared.exits`.

    Errors are reported on standard error: as text, or as one line of JSON if `--json` is among the arguments. When the
    program that reads the standard output ends first, as in `nas spaces | head -1`, the status is 1 without a message.

    Args:
        arguments: Words of the command line; None takes those of this process.
        program: Name of the command in usage and messages.
    """
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        prepare_streams()
        with escaped_output():
            sys.exit(nas.main(arguments, prog_name=program, complete_var=VARIABLE, standalone_mode=False) or 0)
    except click.ClickException as error:
        if as_json:
            _report_json(_usage_failure(error))
        else:
            usage = StringIO()
            error.show(usage)
            say(usage.getvalue().removesuffix("\n"))
        sys.exit(error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        failure = _failure(error)
        if failure is None:
            raise
        if as_json:
            _report_json(failure)
        else:
            say("\n  ".join(filter(None, (f"{program}: {failure.problem}", failure.remedy))))
        sys.exit(failure.status)


def _usage_failure(error: click.ClickException) -> Failure:
    context = error.ctx if isinstance(error, click.UsageError) else None
    remedy = f"`{context.command_path} --help` explains the options" if context else ""
    return Failure(error.format_message(), remedy, "UsageError", error.exit_code)


def _failure(error: BaseException) -> Failure | None:
    """Return what to report of an error, None where it is a defect of nas."""
    if isinstance(error, NasError):
        return Failure(error.problem, error.remedy, type(error).__name__)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure("the command was interrupted", "", "Interrupted", INTERRUPTED)
    if isinstance(error, OSError) and is_output_error(error):
        discard_output()
        return Failure(f"the standard output cannot be written: {error.strerror}", "make room for it", "OutputError")
    explained = missing_package(error) or missing_memory(error)
    return None if explained is None else _failure(explained)


def _report_json(failure: Failure) -> None:
    """Print a failure as the last line of standard error, behind the notes of the command."""
    error = {"problem": failure.problem, "remedy": failure.remedy, "kind": failure.kind}
    click.echo(json_text({"error": error}, sys.stderr), err=True)


if __name__ == "__main__":
    main()
