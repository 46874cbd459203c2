"""`nas scale --phi`, `--family` and `--budget`: networks that a scaling rule makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.architectures import file_stem
from nas.api.inheritance import Inheritance
from nas.api.scaling import Member, make_growth, measure, meet_budget, open_stopwatch, read_budget
from nas.cli.scale.inherit import grow_weights, weights_path
from nas.cli.scale.options import ScaleOptions
from nas.cli.scale.report import base_row, member_files, member_row, print_members, rule_row, write_files
from nas.cli.shared.printing import plain, print_json, say
from nas.errors import ScalingError
from nas.output_kinds import WEIGHTS

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.measured import Stopwatch
    from nas.scaling.budget import Growth


def run(mode: str, name: str, arch: "Architecture", options: ScaleOptions, inheritance: Inheritance | None) -> None:
    """Make the networks, print them and write their files.

    Args:
        mode: "phi", "family" or "budget".
        name: Name of the architecture.
        arch: Architecture to scale.
        options: Options of the command.
        inheritance: What gives the networks their weights; None if they have none.

    Raises:
        NasError: A rule, a phi or a budget cannot be used, the device fails, or a file cannot be written.
    """
    growth = _growth(mode, arch, options)
    with open_stopwatch(arch, options.devices, options.budgets) as watch:
        members = _members(mode, growth, options, watch)
        folder = _folder(mode, name, growth.rule.name, options)
        # Files that exist already are reported before anything is printed.
        onnx = options.onnx and inheritance is None
        files = {} if folder is None else member_files(folder, name, [one.scaled for one in members], onnx=onnx)
        paths = _weights_paths(folder, name, members, inheritance)
        base = base_row(name, arch, measure(arch, watch))
        device = None if watch is None else str(watch.meter.device)
    rule, rows = rule_row(growth.rule), [member_row(one) for one in members]
    grown = [] if inheritance is None else grow_weights([one.scaled for one in members], paths, inheritance, options)
    for row, one in zip(rows, grown, strict=False):  # without weights nothing has grown
        row["weights"] = one.row
    written = [*files, *(path for one in grown for path in one.files)]
    if options.as_json:
        print_json({"base": base, "rule": rule, "device": device, "family": rows, "files": list(map(str, written))})
    else:
        print_members(base, rule, rows)
        for line in (line for one in grown for line in one.lines):
            click.echo(plain(line))
    write_files(files)
    if not options.as_json:
        _print_notes(rows, written, options, random=inheritance is None)


def _weights_paths(
    folder: Path | None, name: str, members: Sequence[Member], inheritance: Inheritance | None
) -> list[Path | None]:
    if folder is None or inheritance is None:
        return [None] * len(members)
    return [weights_path(folder, name, member.scaled, inheritance) for member in members]


def _growth(mode: str, arch: "Architecture", options: ScaleOptions) -> "Growth":
    if len(options.rules) > 1:
        raise ScalingError(
            "several rules are given; a network is scaled by one rule", "give one --rule, or compare them by --compare"
        )
    (rule,) = options.rules or ("published" if mode == "family" else "compound",)
    return make_growth(arch, rule, options.keep, any_product=options.any_product)


def _members(mode: str, growth: "Growth", options: ScaleOptions, watch: "Stopwatch | None") -> list[Member]:
    from nas.scaling.grow import family

    if mode == "budget":
        return [
            meet_budget(growth, read_budget(text, options.precision, watch), watch, free=options.free, say=say)
            for text in options.budgets
        ]
    every = family(growth.base, growth.rule, growth.keep) if mode == "family" else [growth.at(p) for p in options.phis]
    return [Member(scaled, measure(scaled.arch, watch)) for scaled in every]


def _folder(mode: str, name: str, rule: str, options: ScaleOptions) -> Path | None:
    """Return the folder of the files; a family is always written, since seven networks are of use as files alone."""
    if options.save is not None and options.save.suffix.lower() in WEIGHTS.endings:
        raise ScalingError(
            f"--save {options.save} names a file; every network has a file of its own", "give the name of a folder"
        )
    if options.save is not None:
        return options.save
    return Path(file_stem(name, rule)) if mode == "family" or options.onnx else None


def _print_notes(
    rows: Sequence[dict[str, Any]], written: Sequence[Path], options: ScaleOptions, *, random: bool
) -> None:
    for path in written:
        click.echo(f"wrote {path}")
    if options.onnx and random:
        click.echo("the weights in the ONNX files are random: train the architectures first for anything but timing")
    if any(row.get("noisy") for row in rows):
        say("other work disturbed the machine while latencies were measured; `nas latency measure` reports how much")
