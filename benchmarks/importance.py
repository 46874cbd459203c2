"""Compare estimators of the importance of choices with importances that are known.

    python benchmarks/importance.py --runs 4 --out experiments/importance/result.json

NAS-Bench-Macro (read from NAS_TEST_DATA) has the accuracies of all 6,561 combinations of its eight choices, so that the
share of the variance between the means of the options of a choice is known exactly, without noise of sampling. Every
estimator receives the same random networks, with the accuracy of one seed: the one of `nas.report.importance`, and
Optuna's fANOVA and PED-ANOVA. All are divided by their sums, because PED-ANOVA has no scale of its own.

An estimator is better the higher Spearman's correlation with the known importances and the smaller the mean absolute
error of the shares. For intervals, the share that contains the known importance is counted; 95% would be right.
"""

import argparse
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas.report.importance import importances
from nas.report.options import Column

Floats = NDArray[np.float64]
Codes = NDArray[np.int16]
CHOICES, OPTIONS = 8, 3
NETWORKS = (50, 100, 200, 1000)


def known(codes: Codes, accuracies: Floats) -> Floats:
    """Return the share of the variance between the options of each choice, over all networks, `(choices,)`."""
    means = [[accuracies[codes[:, choice] == option].mean() for option in range(OPTIONS)] for choice in range(CHOICES)]
    return np.asarray(np.var(means, axis=1) / accuracies.var())


def own(codes: Codes, accuracies: Floats) -> Floats:
    """Return share, lower and upper end of each choice by the estimator of the report, `(choices, 3)`."""
    columns = [Column(str(i), tuple("012"), codes[:, i].astype(np.int16)) for i in range(CHOICES)]
    found = importances(columns, accuracies)
    rows = {} if found is None else {row.choice: (row.share, row.low, row.high) for row in found.rows}
    return np.array([rows.get(str(i), (0.0, 0.0, 0.0)) for i in range(CHOICES)])


def by_optuna(evaluator: Any) -> Callable[[Codes, Floats], Floats]:
    """Return a function that computes importances by an evaluator of Optuna, `(choices,)`."""

    def estimate(codes: Codes, accuracies: Floats) -> Floats:
        study = optuna.create_study(direction="maximize")
        kinds: dict[str, optuna.distributions.BaseDistribution] = {
            str(i): optuna.distributions.CategoricalDistribution(range(OPTIONS)) for i in range(CHOICES)
        }
        trials = [
            optuna.trial.create_trial(
                params={str(i): int(code) for i, code in enumerate(row)}, distributions=kinds, value=float(accuracy)
            )
            for row, accuracy in zip(codes, accuracies, strict=True)
        ]
        study.add_trials(trials)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return np.array([found[str(i)] for i in range(CHOICES)])

    return estimate


def compare(codes: Codes, truth: Floats, accuracies: Floats, networks: int, runs: int) -> dict[str, Any]:
    """Return what each estimator reaches with so many networks, as means over runs."""
    makers: Mapping[str, Callable[[Codes, Floats], Floats]] = {
        "nas": lambda some, values: own(some, values)[:, 0],
        "fANOVA": by_optuna(optuna.importance.FanovaImportanceEvaluator(seed=0)),
        "PED-ANOVA": by_optuna(optuna.importance.PedAnovaImportanceEvaluator()),
    }
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    held = []
    for run in range(runs):
        which = np.random.default_rng(run).choice(len(codes), networks, replace=False)
        ends = own(codes[which], accuracies[which])
        held.append(float(np.mean((ends[:, 1] <= truth) & (truth <= ends[:, 2]))))
        for name, make in makers.items():
            found = make(codes[which], accuracies[which])
            error = float(np.abs(found / found.sum() - truth / truth.sum()).mean())
            rows[name].append((float(spearmanr(found, truth).statistic), error))
    figures = ("spearman", "mean_error")
    return {
        "networks": networks,
        "estimators": {
            name: {what: round(fmean(row[i] for row in some), 4) for i, what in enumerate(figures)}
            for name, some in rows.items()
        },
        "intervals_that_hold": round(fmean(held), 3),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Optuna's estimators are marked as experimental.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = pd.read_parquet(Path(os.environ["NAS_TEST_DATA"]) / "nasbench_macro.parquet")
    codes = table[[f"op{i}" for i in range(CHOICES)]].to_numpy().astype(np.int16)
    truth = known(codes, table["acc_mean"].to_numpy())
    single = table["acc_seed0"].to_numpy() / 100
    rows = [compare(codes, truth, single, networks, options.runs) for networks in NETWORKS]
    result = {"known": truth.round(4).tolist(), "runs": options.runs, "results": rows}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
