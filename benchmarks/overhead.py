"""What a trial costs beside its evaluation: milliseconds to propose and to store it when a study holds many.

    python benchmarks/overhead.py --json overhead.json [--postgresql postgresql+psycopg://USER@HOST/DATABASE]
    python benchmarks/overhead.py resume

For PostgreSQL, `pip install '.[postgresql]'` and name a database where schemas can be made; what is made is dropped.
Proposing: `nas search` with its own sampler and with Optuna's behind the cost filter, and Optuna's `ask` without it.
Storing: a finished trial as `nas search` stores it, in a single transaction, and the same by Optuna's own calls.
All in: a whole search with a made-up accuracy.
Resume: seconds from the start of a `nas search` that goes on with a study in a SQLite file to its next proposal, and
from there to its end.
Times grow where other programs use the machine, those of a processor less so; compare ratios.
"""

import argparse
import copy
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
import pandas
import sqlalchemy
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, create_trial
from resuming import resuming

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.device.machine import this_machine
from nas.device.words import Device
from nas.evaluate.function import FunctionEvaluator
from nas.samplers.base import distributions
from nas.samplers.filtered import Proposal
from nas.samplers.optuna_catalog import POPULATION
from nas.search.events import Event
from nas.search.plan import check
from nas.search.run import search
from nas.search.sampler_factory import make_sampler
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.space.inverse import Inverse
from nas.studies.bulk_storage import BulkStorage
from nas.studies.opening import open_storage, quiet_optuna
from nas.studies.study import versions_now

SIZES, RESUMED = "100,1000,5000,10000", "1000,10000"
# What is slow is done less often than it should be: until it has taken so long, but not less often than `FEWEST`.
FEWEST, PATIENCE_S = 3, 20.0
LAST = 100  # trials of a whole search that are looked at
SPACE = find_space("mnasnet")
KINDS, INVERSE = distributions(SPACE), Inverse(SPACE)
STORAGES = ("SQLite in memory", "SQLite file", "PostgreSQL")
Step = Callable[[], object]
Row = dict[str, Any]


def settings(sampler: str = "", trials: int = 1) -> Settings:
    """Of a search."""
    return Settings([parse_target("flops=400M")], trials, epochs=1, sampler=sampler, pruner="none")


def picks_of(arch: Architecture) -> list[int]:
    """Its option numbers."""
    picks = INVERSE.picks(arch)
    assert picks is not None
    return list(picks)


def accuracy(arch: Architecture) -> float:
    """Made up: a sum over options, and noise that is a network's own."""
    picks = np.array(picks_of(arch))
    noise = np.random.default_rng(picks).normal(0, 0.01)
    return float(np.clip(0.7 + noise + 0.01 * np.sin(np.arange(len(picks)) + 2.0 * picks).sum(), 0, 1))


def carry_out(url: str, trials: int, listen: Callable[[Event], None] = lambda _: None) -> None:
    """A whole search with the usual sampler."""
    asked, evaluator = settings(trials=trials), FunctionEvaluator(accuracy, "made up")
    search(SPACE, evaluator, asked, COUNTED, study_name="all", storage=url, listen=listen)


def networks(number: int) -> list[Architecture]:
    """Random ones of the band."""
    band, rng = check(SPACE, settings()), np.random.default_rng(0)
    some = SPACE.sample(rng, 1_000 + 20 * number)  # one in eight is let in
    return [SPACE.from_picks(picks.tolist()) for picks in some[band.excess(some) == 0][:number]]


def kept_attributes() -> Row:
    """All that a search keeps with a trial, taken from a search."""
    with tempfile.TemporaryDirectory() as folder:
        carry_out(f"sqlite:///{folder}/one.db", 1)
        study = optuna.load_study(study_name="all", storage=open_storage(f"sqlite:///{folder}/one.db"))
        return study.trials[0].user_attrs


def complete(number: int, arch: Architecture, kept: Row) -> FrozenTrial:
    """A trial that has ended."""
    reading, params = accuracy(arch), SPACE.params(picks_of(arch))
    kept = kept | {"arch": format_text(arch), "accuracy_by_epoch": [reading]}
    trial = create_trial(value=reading, params=params, distributions=KINDS, user_attrs=kept)
    trial.number = number
    return trial


def in_turn(steps: Mapping[str, Step], repeats: int) -> dict[str, list[float] | str]:
    """Milliseconds of each step, the first to warm up, or why it failed; what a step returns is called untimed."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    failed: dict[str, str] = {}
    for _ in range(1 + repeats):
        for name, step in steps.items():
            if name in failed or (len(taken[name]) > FEWEST and sum(taken[name]) > 1e3 * PATIENCE_S):
                continue
            try:
                begun = time.perf_counter()
                after = step()
                taken[name].append(1e3 * (time.perf_counter() - begun))
                if callable(after):
                    after()
            except Exception as error:  # the others go on
                failed[name] = f"{type(error).__name__}: {error}"[:80]
    return taken | failed


def summary(name: str, taken: Sequence[float]) -> Row:
    """Of milliseconds."""
    low, middle, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
    return {f"{name}_ms": middle, f"{name}_ms_q1": low, f"{name}_ms_q3": high, f"{name}_ms_mean": mean(taken)}


def result(name: str, taken: list[float] | str, own: list[float] | str = "") -> Row:
    """Of one step, the warm-up apart; in pairs of the same turn, how many times as long as ours."""
    if isinstance(taken, str):
        return {"failed": taken}
    row = summary(name, taken[1:]) | {"warm_up_ms": taken[0], "repeats": len(taken) - 1}
    pairs = [] if isinstance(own, str) else zip(taken[1:], own[1:], strict=False)
    ratios = [theirs / ours for theirs, ours in pairs]
    return row | ({"times_ours": median(ratios)} if ratios else {})


def filtered(sampler: str, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> Step:
    """One more proposal of `nas search`, learnt before the next one."""
    made, numbers = make_sampler(check(SPACE, settings()), settings(sampler), COUNTED), count(len(trials))
    made.learn(of_generations(trials, POPULATION) if sampler == "nsga2" else trials, archs)

    def learn(number: int, proposal: Proposal) -> None:
        trial = complete(number, proposal.arch, {})
        trial.params = proposal.params
        trial.system_attrs.update(proposal.system_attrs)
        made.learn([trial], [proposal.arch])

    def step() -> object:
        number = next(numbers)
        proposal = made.suggest(number)
        assert proposal is not None
        return lambda: learn(number, proposal)

    return step


def asked(sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> Step:
    """One more `ask` of Optuna's, told before the next one."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)

    def step() -> object:
        trial = study.ask(KINDS)
        return lambda: study.tell(trial, accuracy(SPACE.architecture(trial.params)))

    return step


def of_generations(trials: Sequence[FrozenTrial], population: int) -> list[FrozenTrial]:
    """As if NSGA-II had asked for them: it looks at no others."""
    own = list(map(copy.copy, trials))
    for number, trial in enumerate(own):
        trial.system_attrs = {NSGAIISampler._get_generation_key(): number // population}
    return own


def proposing(trials: Sequence[FrozenTrial], archs: Sequence[Architecture], repeats: int) -> list[Row]:
    """By every sampler, in a study of so many trials."""
    nsga2 = NSGAIISampler(seed=0)
    assert nsga2.population_size is not None
    steps = {name: filtered(name, trials, archs) for name in ("surrogate", "tpe", "nsga2")}
    steps["tpe, ask alone"] = asked(TPESampler(seed=0), trials)
    steps["nsga2, ask alone"] = asked(nsga2, of_generations(trials, nsga2.population_size))
    taken = in_turn(steps, repeats)
    return [{"trials": len(trials), "sampler": name, **result("propose", taken[name])} for name in steps]


def fill(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """A study up to these trials; quickly, those that are missing in one transaction."""
    bulk, known = BulkStorage("sqlite://"), storage.get_n_trials(study_id)
    with storage.scoped_session.session_factory() as session, session.begin():
        for trial in trials[known:]:
            bulk._get_prepared_new_trial(study_id, trial, session)


def call_by_call(study: optuna.Study, known: FrozenTrial) -> None:
    """As an objective function does; what is suggested is random, which costs next to nothing."""
    trial = study.ask()
    for choice in SPACE.choices:
        trial.suggest_categorical(choice.name, choice.values)
    for name, value in known.user_attrs.items():
        trial.set_user_attr(name, value)
    study.tell(trial, known.value)


@contextmanager
def databases(storage: str, postgresql: str) -> Iterator[list[str]]:
    """URLs of two new, empty ones; gone at the end."""
    with tempfile.TemporaryDirectory() as folder:
        if storage != "PostgreSQL":
            memory = storage == "SQLite in memory"
            yield ["sqlite://" if memory else f"sqlite:///{folder}/{name}.db" for name in ("own", "optunas")]
            return
    engine, names = sqlalchemy.create_engine(postgresql), [f"nas_overhead_{uuid.uuid4().hex[:9]}" for _ in range(2)]
    try:
        with engine.begin() as connection:
            for name in names:
                connection.execute(sqlalchemy.schema.CreateSchema(name))
        urls = [engine.url.update_query_dict({"options": f"-csearch_path={name}"}) for name in names]
        yield [url.render_as_string(hide_password=False) for url in urls]
    finally:
        for name in names:  # each by itself: a transaction holds a limited number of locks
            with engine.begin() as connection:
                connection.execute(sqlalchemy.schema.DropSchema(name, cascade=True, if_exists=True))


def storing(storage: str, url: str, trials: Sequence[FrozenTrial], sizes: Sequence[int], repeats: int) -> Iterator[Row]:
    """In every way, into studies that grow; ratios are of pairs of one turn."""
    with databases(storage, url) as (own_url, optunas_url):
        own, plain, trial = open_storage(own_url), RDBStorage(optunas_url), trials[0]
        assert isinstance(own, _CachedStorage)
        own_id = optuna.create_study(storage=own, direction="maximize")._study_id
        study = optuna.create_study(storage=plain, direction="maximize", sampler=RandomSampler(0))
        ways: dict[str, Step] = {
            "nas": lambda: own.create_new_trial(own_id, template_trial=trial),
            "optuna, call by call": lambda: call_by_call(study, trial),
            "optuna, add_trial": lambda: study.add_trial(trial),
        }
        for size in sizes:
            fill(own._backend, own_id, trials[:size])
            fill(plain, study._study_id, trials[:size])
            taken = in_turn(ways, repeats)
            for way, each in taken.items():
                yield {"storage": storage, "trials": size, "way": way, **result("store", each, taken["nas"])}


def all_in(sizes: Sequence[int], trials: int) -> Row:
    """A whole search in a file, and what it takes to go on with it."""
    ends, events = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        url, path = f"sqlite:///{folder}/all.db", Path(folder) / "all.db"
        carry_out(url, trials, lambda event: ends.append(time.perf_counter()) if event.kind == "trial" else None)
        ended, file_bytes = time.perf_counter(), path.stat().st_size
        carry_out(url, trials + 1, lambda _: events.append(time.perf_counter()))
    each_ms = 1e3 * np.diff(ends)
    rows = [
        {"trials": n, **summary("trial", each_ms[max(0, n - 1 - LAST) : n - 1].tolist())} for n in sizes if n <= trials
    ]
    spans = {"trials_s": ends[-1] - ends[0], "end_s": ended - ends[-1], "reopen_s": events[0] - ended}
    return {"rows": rows, "whole": {"trials": trials, **spans, "file_mb": file_bytes / 1e6}}


def resume(sizes: Sequence[int]) -> list[Row]:
    """What it takes to go on with studies of so many trials."""
    archs, kept = networks(max(sizes)), kept_attributes()
    trials = [complete(number, arch, kept) for number, arch in enumerate(archs)]

    def grow(url: str, size: int) -> None:
        storage = open_storage(url)
        assert isinstance(storage, _CachedStorage)
        fill(storage._backend, storage.get_study_id_from_name("all"), trials[:size])

    return resuming(sorted(sizes), grow)


def show(rows: Sequence[Row]) -> None:
    """As a table."""
    print(pandas.DataFrame(rows).to_string(index=False, float_format="%.1f", na_rep=""), end="\n\n", flush=True)


def measure(sizes: Sequence[int], repeats: int, all_in_trials: int, postgresql: str) -> Row:
    """All of it, told as it comes."""
    archs, kept = networks(max(sizes)), kept_attributes()
    trials = [complete(number, arch, kept) for number, arch in enumerate(archs)]
    report: Row = {"proposing": [], "storing": [], "left_out": [] if postgresql else ["PostgreSQL: no --postgresql"]}
    for size in sizes:
        report["proposing"] += (rows := proposing(trials[:size], archs[:size], repeats))
        show(rows)
    for storage in STORAGES if postgresql else STORAGES[:2]:
        report["storing"] += (rows := list(storing(storage, postgresql, trials, sizes, repeats)))
        show(rows)
    if all_in_trials:
        report["all_in"] = all_in(sizes, all_in_trials)
        for rows in (report["all_in"]["rows"], [report["all_in"]["whole"]]):
            show(rows)
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "resume"), default="all")
    parser.add_argument("--sizes", help=f"trials in a study, {SIZES}; of resume {RESUMED}")
    parser.add_argument("--all-in", type=int, help="trials of a whole search, 10000; 0 leaves it out")
    parser.add_argument("--postgresql", default="", metavar="URL", help="without it those rows are left out")
    parser.add_argument("--quick", action="store_true", help="sizes 100 and 1000, 5 repeats, a search of 200 trials")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    quiet_optuna()
    usual = RESUMED if given.what == "resume" else SIZES
    sizes = sorted(map(int, (given.sizes or ("100,1000" if given.quick else usual)).split(",")))
    all_in_trials = (200 if given.quick else 10_000) if given.all_in is None else given.all_in
    machine, versions = this_machine(Device()), {"sqlalchemy": sqlalchemy.__version__, "numpy": np.__version__}
    report: Row = {"space": "mnasnet", "target": "flops=400M", "versions": versions | versions_now()}
    report |= {"machine": {"cpu": machine.cpu, "cores": machine.cores}}
    print(report, end="\n\n")
    if given.what == "resume":
        show(rows := resume(sizes))
        report["resume"] = rows
    else:
        report |= measure(sizes, 5 if given.quick else 20, all_in_trials, given.postgresql)
        print(*report["left_out"])
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
