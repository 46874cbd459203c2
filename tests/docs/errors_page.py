"""The page of all errors, made from the exception tree and from the places where errors are raised."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from types import MappingProxyType

import nas.errors
from nas.errors import NasError
from tests.cli.conftest import ROOT
from tests.docs.markdown import code, escape, link, page, table
from tests.docs.messages import UNKNOWN, Message, messages

INTRODUCTION = """\
An error is one message: what is wrong, with the value and the rule that it breaks, and what to do about it. The command
line prints it on standard error and ends with [exit status](cli.md#exit-status) 1; a function of the Python API raises
it, with the two parts as `problem` and `remedy`. With `--json`, it is one line on standard error:

```json
{"error": {"problem": "no search space is called 'nope'", "remedy": "use efficientnet, …", "kind": "SpaceError"}}
```

This page is made from the code. In the tables, a name in ‹ › stands for a value, “/” separates alternatives, and … is a
part that depends on the case. To find a message, search this page for the words between the values.

A traceback is no such message: it is a defect of `nas` that should be reported."""
# What a reader should know of a class beyond its docstring.
NOTES: Mapping[str, str] = MappingProxyType(
    {
        "NasError": "It is the base class of all others: `except nas.NasError` catches each of them. Errors of "
        "options, files and other input that have no class of their own are of this class itself.",
        "EvaluationError": "During a search, the message is stored as the reason of the failed trial, which "
        "`Trial.reason` and `nas report` show. Only where every trial failed does the command end with status 1.",
        "EvaluationLostError": "The trial is started again, as often as `--retries` says.",
        "DeviceLostError": "A search tries the device again, and goes on with the others if there are several.",
        "StudyError": "The study is left as it was.",
        "CostError": "One failed call only fails its network; the search ends when one network after another fails.",
    }
)
# Names of errors in JSON that are no classes of this tree, with their exit status.
OTHERS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "UsageError": (2, "The words of the command line cannot be used. `nas COMMAND --help` explains the options."),
        "OutputError": (1, "The standard output cannot be written, for example because the disk is full."),
        "Interrupted": (130, "Ctrl-C ended the command."),
    }
)
AREAS: Mapping[str, str] = MappingProxyType(
    {
        "api": "Arguments of commands and functions",
        "arch": "Architectures",
        "cli": "Options of commands",
        "cost": "Targets and costs",
        "data": "Images",
        "device": "Devices and measurements",
        "evaluate": "Evaluators",
        "export": "Export",
        "fidelity": "Checks of evaluators",
        "files": "Files",
        "graph": "ONNX graphs",
        "objective": "Objective",
        "report": "Reports",
        "samplers": "Samplers",
        "scaling": "Scaling",
        "search": "Search",
        "space": "Search spaces",
        "studies": "Studies",
        "train": "Training",
        "weights": "Weights",
        "workers": "Workers",
        "zoo": "Known networks",
    }
)


def errors_page() -> str:
    """Return the page."""
    found = collected()
    return page(
        "# Error messages",
        INTRODUCTION,
        table(("Kind", "What it reports"), (_row(name) for name in names())),
        "Three more kinds appear in JSON:",
        table(("Kind", "Exit status", "Meaning"), ((code(n), str(s), escape(t)) for n, (s, t) in OTHERS.items())),
        *(part for name in names() for part in _section(name, [one for one in found if one.kind == name])),
    )


@cache
def collected() -> tuple[Message, ...]:
    """Return all messages of the package, in order."""
    return tuple(messages(ROOT / "nas", names_shown()))


def classes() -> Mapping[str, type[NasError]]:
    """Return the classes of `nas.errors` by name, in their order there."""
    members = vars(nas.errors).items()
    return {name: one for name, one in members if inspect.isclass(one) and issubclass(one, NasError)}


def names() -> list[str]:
    """Return the names of the classes."""
    return list(classes())


def names_shown() -> Mapping[str, str]:
    """Return the name of the nearest class of `nas.errors`, by the name of each class of errors in the package."""
    private = {"RepeatedFailureError": "StudyError", "_RefusedError": "DeviceError"}
    return {**{name: name for name in names()}, **private}


def _row(name: str) -> tuple[str, str]:
    base = classes()[name].__base__
    kind = f" It is a kind of `{base.__name__}`." if base not in (Exception, NasError) and base else ""
    return f"[`{name}`]({link(name)})", f"{_summary(name)}{kind}"


def _summary(name: str) -> str:
    text = re.sub("^Report (that )?", "", (inspect.getdoc(classes()[name]) or "").partition("\n\n")[0])
    return escape(f"{text[0].upper()}{text[1:]}".replace(", or that ", ", or "))


def _section(name: str, found: list[Message]) -> Iterator[str]:
    yield f"## {name}"
    yield " ".join(filter(None, (_summary(name), NOTES.get(name, ""))))
    by_area = sorted(found, key=lambda one: (AREAS[one.package], one.problem, one.remedy))
    for area, some in groupby(by_area, key=lambda one: AREAS[one.package]):
        yield f"**{area}**"
        yield table(("What is wrong", "What to do"), _rows(some))


def _rows(found: Iterable[Message]) -> Iterator[tuple[str, str]]:
    for one in found:
        remedy = {UNKNOWN: "The message says what to do.", "": "–"}.get(one.remedy, escape(one.remedy))
        yield escape(one.problem), remedy
