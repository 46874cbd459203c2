"""The sections of analyses of a report page, with what a database and folders of latency tables add to a study."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.table import LatencyTable
    from nas.report.family import Measured
    from nas.report.proxy import RankAgreement
    from nas.report.section import Section
    from nas.scaling.rules import Rule
    from nas.studies.job_runs import StoredRuns
    from nas.studies.records import Record, StudyView

RULE = "compound"


def report_sections(view: "StudyView", storage: str = "", runs: "Sequence[StoredRuns]" = ()) -> "dict[str, Section]":
    """Return the sections of analyses of a study by their names.

    The names are "history", "choices", "importance", "network" and "family" (if a network is recommended), "device" and
    "proxy".

    Args:
        view: The study.
        storage: Optuna URL of its database, for commands; "" for the default.
        runs: Training runs of the database's other studies, which may be of the family, or checks of evaluators.
    """
    from nas.report.choices import choices_section
    from nas.report.device import device_section
    from nas.report.history import history_section
    from nas.report.importance import importance_section
    from nas.report.proxy import proxy_section

    table = find_stored_table(view)
    sections = {
        "history": history_section(view),
        "choices": choices_section(view),
        "importance": importance_section(view),
    }
    if view.best is not None:
        sections |= _of_recommended(view, view.best, table, runs, storage)
    return sections | {
        "device": device_section(view, table),
        "proxy": proxy_section(view, list(rank_agreements(view, runs))),
    }


def _of_recommended(
    view: "StudyView", best: "Record", table: "LatencyTable | None", runs: "Sequence[StoredRuns]", storage: str
) -> "dict[str, Section]":
    """Return the sections of the recommended network; another program may have written what is no architecture."""
    from nas.report.network import TITLE, network_section
    from nas.report.section import missing

    name, words = f"Trial {best.number}", _words(view, storage)
    try:
        arch = best.architecture
    except NasError as error:
        return {"network": missing(TITLE, f"{name} holds no architecture that can be read: {error.problem}.")}
    return {
        "network": network_section(arch, name, table, reference=words),
        "family": _family(view, arch, runs, words),
    }


def find_stored_table(view: "StudyView") -> "LatencyTable | None":
    """Return the latency table that predicted the latencies of a study; None if there was none, or it was not found."""
    from nas.api.devices import table_folders
    from nas.cost.table_file import read_table
    from nas.cost.table_lookup import SUFFIX

    for basis in (limit.get("basis", {}) for limit in view.settings["limits"]):
        name = str(basis.get("by", "")).removeprefix("table ")
        # A name from a database may hold anything; only a plain one can be that of a file in a folder.
        if not str(basis.get("by", "")).startswith("table ") or not name or set(name) & set("/\\\0"):
            continue
        for folder in table_folders():
            with suppress(NasError, OSError):
                table = read_table(folder / f"{name}{SUFFIX}")
                if table.origin.date == basis.get("made"):
                    return table
    return None


def _words(view: "StudyView", storage: str) -> tuple[str, ...]:
    """Return the words that name the recommended network on the command line, without the password of the database."""
    from nas.studies.defaults import DEFAULT_STORAGE
    from nas.studies.urls import without_password

    at = ("--storage", without_password(storage)) if storage not in ("", DEFAULT_STORAGE) else ()
    return (f"study:{view.name}:best", *at)


def _family(
    view: "StudyView", arch: "Architecture", runs: "Sequence[StoredRuns]", reference: "Sequence[str]"
) -> "Section":
    from nas.report.family import family, family_section
    from nas.scaling.rules import parse_rule

    rule = parse_rule(RULE)
    members = family(lambda phi: _scaled(arch, rule, phi), [*_measured(runs), *_searched(view)])
    return family_section(reference[0], RULE, members, reference=reference)


def _scaled(arch: "Architecture", rule: "Rule", phi: float) -> "Architecture":
    from nas.scaling.grow import scale

    return scale(arch, rule, phi).arch


def _searched(view: "StudyView") -> "Iterator[Measured]":
    """Yield the recommended network with its accuracies in the search."""
    from nas.report.family import Measured

    best = view.best
    interval = None if best is None else view.interval(best)
    if best is not None and interval is not None and view.accuracy_label == "accuracy":
        yield Measured(best.architecture, view.runs(best), "this search", interval.low, interval.high)


def _measured(runs: "Sequence[StoredRuns]") -> "Iterator[Measured]":
    """Yield the networks that were trained for a fit or a comparison, with intervals of the noise between seeds."""
    from nas.arch.code import parse_text
    from nas.noise import pooled, quantile
    from nas.report.family import Measured

    for one in (one for one in runs if one.kind in ("fit", "compare")):
        groups = [list(by_seed.values()) for by_seed in one.accuracies.values()]
        deviation, degrees = pooled(groups), sum(len(group) - 1 for group in groups)
        for text, accuracies in zip(one.accuracies, groups, strict=True):
            with suppress(NasError):
                low = high = None
                if degrees and not math.isnan(deviation):
                    half = quantile(degrees) * deviation / math.sqrt(len(accuracies))
                    low, high = max(0.0, fmean(accuracies) - half), min(1.0, fmean(accuracies) + half)
                yield Measured(parse_text(text), accuracies, f"study {one.study}", low, high)


def rank_agreements(view: "StudyView", runs: "Sequence[StoredRuns]") -> "Iterator[RankAgreement]":
    """Yield how evaluators such as that of a search agree with others, from the checks of a database.

    Args:
        view: The study of the search.
        runs: Training runs of the studies of jobs.
    """
    checks = [one for one in runs if one.kind == "check" and _is_of_task(view, one)]
    if len(checks) < 2:
        return  # and do not import scipy's statistics, which take half a second
    from nas.fidelity.agreement import FEWEST, kendall
    from nas.report.proxy import RankAgreement

    for first, second in combinations(sorted(checks, key=lambda one: int(one.settings.get("epochs", 0))), 2):
        group, other_group = (one.study.partition(": ")[0] for one in (first, second))
        if group != other_group or not (_is_alike(view, first) or _is_alike(view, second)):
            continue
        common = [text for text in first.accuracies if text in second.accuracies]
        seeds = sorted(set.intersection(*(set(first.accuracies[text]) for text in common))) if common else []
        if len(common) >= FEWEST and seeds:
            guesses = [[first.accuracies[text][seed] for text in common] for seed in seeds]
            tau = kendall(guesses, [fmean(second.accuracies[text].values()) for text in common])
            name, other = (str(one.settings.get("evaluator", one.study)) for one in (first, second))
            yield RankAgreement(name, other, len(common), tau.value, tau.low, tau.high, group)


def _is_of_task(view: "StudyView", runs: "StoredRuns") -> bool:
    """Return whether the networks of a check have the classes and the resolution of a search."""
    from nas.arch.code import parse_text

    with suppress(NasError):
        for text in list(runs.accuracies)[:1]:
            arch = parse_text(text)
            return (arch.classes, arch.resolution) == (view.settings.get("classes"), view.settings.get("resolution"))
    return False


def _is_alike(view: "StudyView", runs: "StoredRuns") -> bool:
    """Return whether a check is of an evaluator of the kind and the images of a search."""
    own, other = view.settings["proxy"], runs.settings.get("proxy", {})
    return all(own.get(key) == other.get(key) for key in ("evaluator", "data", "fingerprint"))
