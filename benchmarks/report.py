"""Measure the report page of a study of many trials: the time of its command, its size, and its time in Chromium.

    python benchmarks/report.py [--trials 10000] [--repeats 3] [--json report.json] [--keep FOLDER]

The trials are random networks of the space mnasnet with synthetic accuracies, stored in one transaction by the storage
that searches use. In Chromium, the page is usable once a network can be selected, and drawn once all of its figures
are. Durations grow if other programs use the machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
from overhead import complete, fill, networks, run_search

from nas.optuna_private.identity import study_id
from nas.studies.opening import open_storage, quiet_optuna
from nas.studies.records import EXPECTED

STUDY, BROWSERS = "all", ("chromium", "chromium-browser", "google-chrome")
LEADERS = 50  # trials with intervals, as a search stores them
SELECT = """() => new Promise((resolve) => {
  const rows = document.querySelectorAll('[data-choose]');
  rows[rows.length - 1].click();
  requestAnimationFrame(() => setTimeout(() => resolve(rows[rows.length - 1].getAttribute('aria-pressed'))));
})"""


def make_study(url: str, trials: int) -> None:
    """Make a study of so many trials; a search makes the first one, and so the settings."""
    run_search(url, 1)
    storage = open_storage(url)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    kept = study.trials[0].user_attrs
    made = [complete(number, arch, _kept(kept, number)) for number, arch in enumerate(networks(trials))]
    for trial in made:
        trial.user_attrs["costs"] = dict(trial.user_attrs["costs"], macs=360_000_000 + 4_000 * (trial.number % 9_973))
    fill(storage, study_id(study), made)
    values = {trial.number: trial.value for trial in made if trial.value is not None}
    best = sorted(values, key=values.__getitem__, reverse=True)[:LEADERS]
    rows = {str(number): _expected(values[number]) for number in best if number}
    study.set_user_attr(EXPECTED, {"trials": len(made), "rows": rows, "confirmed": {}})


def _kept(kept: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {**kept, "seed": number % 3}


def _expected(accuracy: float) -> dict[str, float]:
    ends = {"low": accuracy - 0.02, "high": min(1.0, accuracy + 0.02)}
    return {"accuracy": accuracy, "spread": 0.01, "score": accuracy, **ends}


def command_seconds(url: str, page: Path) -> float:
    """Return the duration of `nas report` as a process of its own."""
    start = time.perf_counter()
    words = ("-m", "nas", "report", STUDY, "--storage", url, "--out", str(page))
    subprocess.run([sys.executable, *words], check=True, capture_output=True)  # noqa: S603 -- own words
    return time.perf_counter() - start


def browser_seconds(page: Path) -> dict[str, float]:
    """Return the seconds from the start of loading until a network can be selected, and until all is drawn."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        start = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        while tab.evaluate("document.documentElement.dataset.report") != "ready":
            time.sleep(0.01)
        assert tab.evaluate(SELECT) == "true"
        usable = time.perf_counter() - start
        while tab.evaluate("document.documentElement.dataset.figures") != "drawn":
            time.sleep(0.01)
        drawn = time.perf_counter() - start
        browser.close()
    return {"usable_s": usable, "drawn_s": drawn}


def main() -> None:
    """Make the study, and print and store what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--keep", type=Path, help="folder in which the database and the page are kept")
    options = parser.parse_args()
    quiet_optuna()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        url, page = f"sqlite:///{folder / 'nas.db'}", folder / "report.html"
        if not (folder / "nas.db").exists():
            make_study(url, options.trials)
        commands = [command_seconds(url, page) for _ in range(options.repeats)]
        shown = [browser_seconds(page) for _ in range(options.repeats)]
        result = {
            "trials": options.trials,
            "repeats": options.repeats,
            "command_s": median(commands),
            "page_mb": page.stat().st_size / 1e6,
            **{name: median(each[name] for each in shown) for name in shown[0]},
        }
    print("\n".join(f"{name:10} {value:.4g}" for name, value in result.items()))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
