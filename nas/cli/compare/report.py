"""The report of `nas compare` on standard output."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.api.comparison_text import PRINTED, accuracy_sentences, alike_sentences, device_sentence, table

if TYPE_CHECKING:
    from nas.api.comparison_records import DeviceComparison
    from nas.api.comparison_results import Comparison


@frozen
class OutputFiles:
    """Hold the files to write; None writes none."""

    html: Path | None
    png: Path | None
    svg: Path | None
    csv: Path | None


def print_comparison(found: "Comparison") -> None:
    """Print the table of each device, what cannot be told apart, and what the reader must know."""
    from nas.cli.shared.printing import plain, print_table

    for device in found.devices:
        columns, rows = table(found, device, PRINTED)
        print_table([column.title for column in columns], rows, left=2)
        click.echo(plain(device_sentence(device)))
        for sentence in (*alike_sentences(device), *_refusals(device)):
            click.echo(plain(sentence))
        click.echo()
    for sentence in (*accuracy_sentences(found), *_notes(found)):
        click.echo(plain(sentence))


def _refusals(device: "DeviceComparison") -> Iterator[str]:
    for each in device.refusals:
        yield f"{each.name} ({each.precision}) was not measured: {each.problem}."


def _notes(found: "Comparison") -> Iterator[str]:
    yield from found.notes
    for network in found.networks:
        for note in network.notes:
            yield f"{network.name}: {note}."


def write_files(found: "Comparison", files: OutputFiles, *, quiet: bool) -> None:
    """Write the files that were asked for, after everything is printed, so that a failure loses no results.

    Raises:
        NasError: A file cannot be drawn or written.
    """
    from nas.api.comparison_files import WRITERS

    asked: Mapping[str, Any] = {name: getattr(files, name) for name in WRITERS}
    for name, path in asked.items():
        if path is not None:
            WRITERS[name](found, path)
            if not quiet:
                click.echo(f"wrote {path}")
