"""ARCH on the command line ► Architecture."""

import re
from pathlib import Path

from nas.arch.code import parse_json, parse_text
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture
from nas.errors import ArchitectureError, StudyError
from nas.files import read_small

MOST_BYTES = 2_000_000
# A study's own name may hold colons.
_WHICH = re.compile(r":(best|trial=[^:]*|pareto=[^:]*)?$")


def find_architecture(reference: str, storage: str) -> tuple[str, Architecture]:
    """A name and the architecture of a preset, a file, or `study:NAME:which`.

    Raises:
        NasError: there is no such thing, or it breaks a rule.
    """
    if reference.startswith("study:"):
        return reference, _from_study(reference, storage)
    if reference in preset_names():
        return reference, preset(reference)
    path = Path(reference)
    if not _is_file(path):
        raise ArchitectureError(
            f"{reference!r} is no preset and no file",
            f"presets are {', '.join(preset_names())}; a study's networks are study:NAME:best and so on",
        )
    return path.stem, _from_file(path)


def latest_winner(storage: str) -> str:
    """The best of the study that was begun last, as a reference.

    Raises:
        StudyError: there is no study.
    """
    from nas.studies.opening import open_storage
    from nas.studies.study import study_names

    names = study_names(open_storage(storage, create=False))
    if not names:
        raise StudyError("there is no study whose best could be taken", "name an ARCH, or run `nas search` first")
    return f"study:{names[-1]}:best"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name
        return False


def _from_study(reference: str, storage: str) -> Architecture:
    from nas.studies.opening import open_storage
    from nas.studies.records import find_trial
    from nas.studies.study import read_study

    words = reference.removeprefix("study:")
    name, _, which = words.rpartition(":") if _WHICH.search(words) else words.partition(":")
    view = read_study(open_storage(storage, create=False), name)
    return find_trial(view, which or "best").architecture


def _from_file(path: Path) -> Architecture:
    try:
        text = read_small(path, MOST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise ArchitectureError(f"{path} cannot be read: {error}", "give a text or JSON file") from None
    try:
        return parse_json(text) if text.lstrip().startswith("{") else parse_text(text)
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}: {error.problem}", error.remedy) from None
