"""Measure the overhead of a trial besides its evaluation: the duration of its suggestion and of storing it.

    python benchmarks/overhead.py --json overhead.json [--postgresql postgresql+psycopg://USER@HOST/DATABASE]
    python benchmarks/overhead.py suggestions
    python benchmarks/overhead.py resume

For PostgreSQL, run `pip install '.[postgresql]'` and name a database in which schemas can be made; they are dropped at
the end; `suggestions` leaves out storing. The parts are, for studies of several sizes:

- proposing: a suggestion of `nas search` with its own sampler and with samplers of Optuna behind the cost filter, and
  Optuna's `ask` without the filter;
- storing: a finished trial, stored in a single transaction as `nas search` does it, and by the calls of Optuna;
- all in: a whole search with a synthetic accuracy;
- resume: a `nas search` that resumes a study in a SQLite file, from its start to its next suggestion, and from there to
  its end.

Durations grow if other programs use the machine, CPU times less than wall times; compare ratios.
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
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, create_trial
from resuming import resuming

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.device.machine import this_machine
from nas.device.spec import Device
from nas.evaluate.function import FunctionEvaluator
from nas.optuna_private.identity import study_id
from nas.optuna_private.in_memory import generation_key
from nas.optuna_private.storage import CachedStorage, backend_of, transaction
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
# Slow steps are repeated less often: until they have taken `PATIENCE_S` seconds in total, but at least `FEWEST` times.
FEWEST, PATIENCE_S = 3, 20.0
LAST = 100  # number of trials before each size whose durations are reported
SPACE = find_space("mnasnet")
KINDS, INVERSE = distributions(SPACE), Inverse(SPACE)
STORAGES = ("SQLite in memory", "SQLite file", "PostgreSQL")
Step = Callable[[], object]
Row = dict[str, Any]


def settings(sampler: str = "", trials: int = 1) -> Settings:
    """Return the settings of a search."""
    return Settings([parse_target("flops=400M")], trials, epochs=1, sampler=sampler, pruner="none")


def picks_of(arch: Architecture) -> list[int]:
    """Return the choice indices of an architecture."""
    indices = INVERSE.indices(arch)
    assert indices is not None
    return list(indices)


def accuracy(arch: Architecture) -> float:
    """Return a synthetic accuracy: a sum over choices, and noise that is always the same for the same network."""
    indices = np.array(picks_of(arch))
    noise = np.random.default_rng(indices).normal(0, 0.01)
    return float(np.clip(0.7 + noise + 0.01 * np.sin(np.arange(len(indices)) + 2.0 * indices).sum(), 0, 1))


def run_search(url: str, trials: int, listen: Callable[[Event], None] = lambda _: None) -> None:
    """Run a whole search with the default sampler."""
    search_settings, evaluator = settings(trials=trials), FunctionEvaluator(accuracy, "made up")
    search(SPACE, evaluator, search_settings, COUNTED, study_name="all", storage=url, listen=listen)


def networks(number: int) -> list[Architecture]:
    """Return random networks of the cost range."""
    cost_range, rng = check(SPACE, settings()), np.random.default_rng(0)
    some = SPACE.sample(rng, 1_000 + 20 * number)  # about one in eight is inside the cost range
    return [SPACE.from_indices(indices.tolist()) for indices in some[cost_range.excess(some) == 0][:number]]


def kept_attributes() -> Row:
    """Return the user attributes that a search stores with a trial, taken from a search."""
    with tempfile.TemporaryDirectory() as folder:
        run_search(f"sqlite:///{folder}/one.db", 1)
        study = optuna.load_study(study_name="all", storage=open_storage(f"sqlite:///{folder}/one.db"))
        return study.trials[0].user_attrs


def complete(number: int, arch: Architecture, kept: Row) -> FrozenTrial:
    """Return a complete trial."""
    reading, params = accuracy(arch), SPACE.params(picks_of(arch))
    kept = kept | {"arch": format_text(arch), "accuracy_by_epoch": [reading]}
    trial = create_trial(value=reading, params=params, distributions=KINDS, user_attrs=kept)
    trial.number = number
    return trial


def time_in_turns(steps: Mapping[str, Step], repeats: int) -> dict[str, list[float] | str]:
    """Return the milliseconds of each step, or why it failed.

    The first run of a step warms it up. If a step returns a function, that is called without timing it.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    failed: dict[str, str] = {}
    for _ in range(1 + repeats):
        for name, step in steps.items():
            if name in failed or (len(taken[name]) > FEWEST and sum(taken[name]) > 1e3 * PATIENCE_S):
                continue
            try:
                start = time.perf_counter()
                after = step()
                taken[name].append(1e3 * (time.perf_counter() - start))
                if callable(after):
                    after()
            except Exception as error:  # the other steps continue
                failed[name] = f"{type(error).__name__}: {error}"[:80]
    return taken | failed


def summary(name: str, taken: Sequence[float]) -> Row:
    """Return the quartiles and the mean of milliseconds."""
    low, middle, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
    return {f"{name}_ms": middle, f"{name}_ms_q1": low, f"{name}_ms_q3": high, f"{name}_ms_mean": mean(taken)}


def result(name: str, taken: list[float] | str, own: list[float] | str = "") -> Row:
    """Return the results of one step without its warm-up, and its median ratio to the step of nas in the same turn."""
    if isinstance(taken, str):
        return {"failed": taken}
    row = summary(name, taken[1:]) | {"warm_up_ms": taken[0], "repeats": len(taken) - 1}
    pairs = [] if isinstance(own, str) else zip(taken[1:], own[1:], strict=False)
    ratios = [theirs / ours for theirs, ours in pairs]
    return row | ({"times_ours": median(ratios)} if ratios else {})


def suggestion_step(sampler: str, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> Step:
    """Return a step that makes a suggestion as `nas search` does; the trial is learned after the step."""
    made, numbers = make_sampler(check(SPACE, settings()), settings(sampler), COUNTED), count(len(trials))
    made.learn(with_generations(trials, POPULATION) if sampler == "nsga2" else trials, archs)

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


def ask_step(sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> Step:
    """Return a step that calls `ask` of Optuna; the result is told after the step."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)

    def step() -> object:
        trial = study.ask(KINDS)
        return lambda: study.tell(trial, accuracy(SPACE.architecture(trial.params)))

    return step


def with_generations(trials: Sequence[FrozenTrial], population: int) -> list[FrozenTrial]:
    """Return the trials with the generations of NSGA-II, which uses no other trials."""
    own = list(map(copy.copy, trials))
    for number, trial in enumerate(own):
        trial.system_attrs = {generation_key(NSGAIISampler): number // population}
    return own


def proposing(trials: Sequence[FrozenTrial], archs: Sequence[Architecture], repeats: int) -> list[Row]:
    """Measure suggestions by every sampler, for a study of these trials."""
    nsga2 = NSGAIISampler(seed=0)
    assert nsga2.population_size is not None
    steps = {name: suggestion_step(name, trials, archs) for name in ("surrogate", "tpe", "nsga2")}
    steps["tpe, ask alone"] = ask_step(TPESampler(seed=0), trials)
    steps["nsga2, ask alone"] = ask_step(nsga2, with_generations(trials, nsga2.population_size))
    taken = time_in_turns(steps, repeats)
    return [{"trials": len(trials), "sampler": name, **result("propose", taken[name])} for name in steps]


def fill(storage: BaseStorage, study: int, trials: Sequence[FrozenTrial]) -> None:
    """A study up to these trials; quickly, those that are missing in one transaction."""
    bulk, backend = BulkStorage("sqlite://"), backend_of(storage)
    assert isinstance(backend, RDBStorage)
    known = backend.get_n_trials(study)
    with transaction(backend) as session:
        for trial in trials[known:]:
            bulk.insert_trial(session, study, trial)


def call_by_call(study: optuna.Study, known: FrozenTrial) -> None:
    """Store a trial as an objective function of Optuna does, with random suggestions, which take almost no time."""
    trial = study.ask()
    for choice in SPACE.choices:
        trial.suggest_categorical(choice.name, choice.values)
    for name, value in known.user_attrs.items():
        trial.set_user_attr(name, value)
    study.tell(trial, known.value)


@contextmanager
def databases(storage: str, postgresql: str) -> Iterator[list[str]]:
    """Return the URLs of two new databases, which are removed at the end of the context."""
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
        for name in names:  # one transaction for each, because a transaction can hold only a limited number of locks
            with engine.begin() as connection:
                connection.execute(sqlalchemy.schema.DropSchema(name, cascade=True, if_exists=True))


def storing(storage: str, url: str, trials: Sequence[FrozenTrial], sizes: Sequence[int], repeats: int) -> Iterator[Row]:
    """In every way, into studies that grow; ratios are of pairs of one turn."""
    with databases(storage, url) as (own_url, optunas_url):
        own, plain, trial = open_storage(own_url), RDBStorage(optunas_url), trials[0]
        assert isinstance(own, CachedStorage)
        own_id = study_id(optuna.create_study(storage=own, direction="maximize"))
        study = optuna.create_study(storage=plain, direction="maximize", sampler=RandomSampler(0))
        ways: dict[str, Step] = {
            "nas": lambda: own.create_new_trial(own_id, template_trial=trial),
            "optuna, call by call": lambda: call_by_call(study, trial),
            "optuna, add_trial": lambda: study.add_trial(trial),
        }
        for size in sizes:
            fill(own, own_id, trials[:size])
            fill(plain, study_id(study), trials[:size])
            taken = time_in_turns(ways, repeats)
            for way, each in taken.items():
                yield {"storage": storage, "trials": size, "way": way, **result("store", each, taken["nas"])}


def all_in(sizes: Sequence[int], trials: int) -> Row:
    """Measure a whole search in a SQLite file, and the duration of resuming it."""
    ends, events = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        url, path = f"sqlite:///{folder}/all.db", Path(folder) / "all.db"
        run_search(url, trials, lambda event: ends.append(time.perf_counter()) if event.kind == "trial" else None)
        ended, file_bytes = time.perf_counter(), path.stat().st_size
        run_search(url, trials + 1, lambda _: events.append(time.perf_counter()))
    each_ms = 1e3 * np.diff(ends)
    rows = [
        {"trials": n, **summary("trial", each_ms[max(0, n - 1 - LAST) : n - 1].tolist())} for n in sizes if n <= trials
    ]
    durations = {"trials_s": ends[-1] - ends[0], "end_s": ended - ends[-1], "reopen_s": events[0] - ended}
    return {"rows": rows, "whole": {"trials": trials, **durations, "file_mb": file_bytes / 1e6}}


def resume(sizes: Sequence[int]) -> list[Row]:
    """Measure the duration of resuming studies of several sizes."""
    archs, kept = networks(max(sizes)), kept_attributes()
    trials = [complete(number, arch, kept) for number, arch in enumerate(archs)]

    def grow(url: str, size: int) -> None:
        storage = open_storage(url)
        fill(storage, storage.get_study_id_from_name("all"), trials[:size])

    return resuming(sorted(sizes), grow)


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    print(pandas.DataFrame(rows).to_string(index=False, float_format="%.1f", na_rep=""), end="\n\n", flush=True)


def measure(sizes: Sequence[int], repeats: int, all_in_trials: int, storages: Sequence[str], postgresql: str) -> Row:
    """Measure suggestions, storing in some storages and a whole search, and print each result at once."""
    archs, kept = networks(max(sizes)), kept_attributes()
    trials = [complete(number, arch, kept) for number, arch in enumerate(archs)]
    report: Row = {"proposing": [], "storing": [], "left_out": [] if postgresql else ["PostgreSQL: no --postgresql"]}
    for size in sizes:
        report["proposing"] += (rows := proposing(trials[:size], archs[:size], repeats))
        show(rows)
    for storage in storages:
        report["storing"] += (rows := list(storing(storage, postgresql, trials, sizes, repeats)))
        show(rows)
    if all_in_trials:
        report["all_in"] = all_in(sizes, all_in_trials)
        for rows in (report["all_in"]["rows"], [report["all_in"]["whole"]]):
            show(rows)
    return report


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "suggestions", "resume"), default="all")
    parser.add_argument("--sizes", help=f"numbers of trials in a study; by default {SIZES}, for resume {RESUMED}")
    parser.add_argument(
        "--all-in", type=int, help="number of trials of a whole search; by default 10000, and 0 omits this part"
    )
    parser.add_argument(
        "--postgresql",
        default="",
        metavar="URL",
        help="database for the rows of PostgreSQL, which are omitted without it",
    )
    parser.add_argument(
        "--quick", action="store_true", help="use sizes 100 and 1000, 5 repeats, and a search of 200 trials"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    quiet_optuna()
    default = RESUMED if options.what == "resume" else SIZES
    sizes = sorted(map(int, (options.sizes or ("100,1000" if options.quick else default)).split(",")))
    all_in_trials = (200 if options.quick else 10_000) if options.all_in is None else options.all_in
    machine, versions = this_machine(Device()), {"sqlalchemy": sqlalchemy.__version__, "numpy": np.__version__}
    report: Row = {"space": "mnasnet", "target": "flops=400M", "versions": versions | versions_now()}
    report |= {"machine": {"cpu": machine.cpu, "cores": machine.cores}}
    print(report, end="\n\n")
    if options.what == "resume":
        show(rows := resume(sizes))
        report["resume"] = rows
    else:
        storages = STORAGES if options.postgresql else STORAGES[:2]
        stored = storages if options.what == "all" else ()
        report |= measure(sizes, 5 if options.quick else 20, all_in_trials, stored, options.postgresql)
        print(*report["left_out"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
