"""`nas scale --phi`, `--family` and `--budget`: networks that a rule makes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.devices import connected, stopwatch
from nas.cli.scale.report import base_row, file_stem, member_files, member_row, print_members, rule_row, write_files
from nas.errors import ScalingError, TargetError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.cost.measured import Stopwatch
    from nas.scaling.budget import Budget, Growth
    from nas.scaling.grow import Scaled

Member = tuple["Scaled", "Cost | None"]


def run(mode: str, name: str, arch: "Architecture", options: dict[str, Any], stack: ExitStack) -> None:
    """Make the networks, write and print them.

    Raises:
        NasError: a rule, a phi or a budget cannot be followed, or the device fails.
    """
    from nas.cli.shared.printing import print_json

    growth = read_growth(arch, options, "published" if mode == "family" else "compound")
    watch = open_stopwatch(arch, options, stack)
    members = list(_MAKE[mode](growth, options, watch))
    folder = _folder(mode, name, growth.rule.name, options)
    files = {} if folder is None else member_files(folder, name, [one for one, _ in members], onnx=options["onnx"])
    base = base_row(name, arch, None if watch is None else watch.estimate(arch))
    rule, rows = rule_row(growth.rule), [member_row(scaled, latency) for scaled, latency in members]
    if options["as_json"]:
        device = None if watch is None else str(watch.meter.device)
        print_json({"base": base, "rule": rule, "device": device, "family": rows, "files": list(map(str, files))})
    else:
        print_members(base, rule, rows)
    write_files(files)
    if not options["as_json"]:
        _print_rest(rows, list(files), options)


def _print_rest(rows: Sequence[dict[str, Any]], written: Sequence[Path], options: dict[str, Any]) -> None:
    for path in written:
        click.echo(f"wrote {path}")
    if options["onnx"]:
        click.echo("the weights in the ONNX files are random: train the architectures first for anything but timing")
    if any(row.get("noisy") for row in rows):
        click.echo("other work disturbed the machine while it was measured; nas latency measure says more", err=True)


def read_growth(arch: "Architecture", options: dict[str, Any], usual: str) -> "Growth":
    """Base, rule and the parts that stay.

    Raises:
        ScalingError: several rules, or one that breaks a rule.
    """
    from nas.scaling.budget import Growth
    from nas.scaling.rules import parse_rule

    if len(options["rules"]) > 1:
        raise ScalingError("several rules are given, and one network is made by one", "give one --rule, or --compare")
    rule = parse_rule((options["rules"] or (usual,))[0], any_product=options["any_product"])
    return Growth(arch, rule, frozenset(options["keep"]))


def open_stopwatch(arch: "Architecture", options: dict[str, Any], stack: ExitStack) -> "Stopwatch | None":
    """What measures latencies, None where no device is named.

    Raises:
        NasError: a budget is about a device and none is named, or the device fails.
    """
    from nas.cost.target import needs_device

    if not options["devices"]:
        if needs_device(options["budgets"]):
            raise TargetError("a budget is about a device, and none is named", "name one, like --device cpu")
        return None
    return stopwatch(stack.enter_context(connected(options["devices"])), arch)


def _by_phi(growth: "Growth", options: dict[str, Any], watch: "Stopwatch | None") -> Iterator[Member]:
    yield from _timed([growth.at(phi) for phi in options["phis"]], watch)


def _by_family(growth: "Growth", _options: dict[str, Any], watch: "Stopwatch | None") -> Iterator[Member]:
    from nas.scaling.grow import family

    yield from _timed(family(growth.base, growth.rule, growth.keep), watch)


def _timed(members: "Sequence[Scaled]", watch: "Stopwatch | None") -> Iterator[Member]:
    return ((one, None if watch is None else watch.estimate(one.arch)) for one in members)


def _by_budget(growth: "Growth", options: dict[str, Any], watch: "Stopwatch | None") -> Iterator[Member]:
    for text in options["budgets"]:
        yield meet(growth, read_budget(text, options["precision"], watch), watch, free=options["free"])


_MAKE = {"phi": _by_phi, "family": _by_family, "budget": _by_budget}


def meet(growth: "Growth", budget: "Budget", watch: "Stopwatch | None", *, free: bool, strict: bool = False) -> Member:
    """The largest network below a budget, with its latency where a device is named.

    Args:
        growth: base and rule.
        budget: to keep.
        watch: measures latencies.
        free: use the budget up, a little off the rule.
        strict: but never farther off for that; what stays behind is told.

    Raises:
        NasError: there is none, or the device fails.
    """
    from nas.scaling.budget import ENOUGH, REACHES, largest, nearest_below
    from nas.scaling.measured import largest_measured

    if budget.trial is not None:
        met = largest_measured(growth, budget, budget.trial, free=free)
        return met.scaled, met.measured
    found = nearest_below(growth, budget, REACHES[: 1 if strict else None]) if free else largest(growth, budget)
    if free and budget.of(found.arch) < ENOUGH * budget.limit:
        click.echo(
            f"rule {growth.rule.name} comes only to {budget.amount(found.arch)} of {budget.text}: its members and "
            "rounding allow no more",
            err=True,
        )
    return found, None if watch is None else watch.estimate(found.arch)


def read_budget(text: str, precision: str, watch: "Stopwatch | None") -> "Budget":
    """A budget as it is typed, `NAME=AMOUNT`.

    Raises:
        TargetError: it cannot be read, or is about a device and none is named.
    """
    from nas.cost.analytic import MACS, peak_memory
    from nas.cost.measured import Judge
    from nas.cost.target import parse_target, read_target
    from nas.scaling.budget import Budget, Trial

    peak_memory(precision)  # refuses an unknown one, whatever the budget is
    asked = read_target(text)
    if asked.kind.model is None:
        if watch is None:
            raise TargetError(
                f"budget {asked.text} is about a device, and none is named", "name one, like --device cpu"
            )
        trial = Trial(Judge(watch.meter, watch.reference_ms), MACS)
        return Budget(asked.text, asked.limit, asked.kind.unit, watch, trial)
    target = parse_target(text, precision)
    return Budget(target.text, target.limit, target.unit, target.cost)


def _folder(mode: str, name: str, rule: str, options: dict[str, Any]) -> Path | None:
    """Where files go; a family is written unasked, since seven networks are of use as files alone."""
    if options["save"] is not None:
        return Path(options["save"])
    return Path(file_stem(name, rule)) if mode == "family" or options["onnx"] else None
